"""Reduce a structure to its neutral parent, whose canonical SMILES decides all that follows."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from .composition import as_formula, composition_of
from .failures import MoleculeError, guarded
from .metals import (
    METALLOIDS,
    METALS,
    refuse_complex,
    refuse_metalloid_salt,
    refuse_salt,
)
from .parsing import (
    INPUT_INDEX,
    atoms,
    with_explicit_hydrogens,
    without_hydrogens,
)
from .salts import INORGANIC_CARBON, SALTS_AND_SOLVENTS, SOLVENTS
from .stereo_groups import StereoMarks, canonical_isomer, stereo_marks, stereo_text


class StandardizedMolecule(NamedTuple):
    """The neutral parent of a structure, in the atom order of its canonical isomeric SMILES."""

    smiles: str
    order: np.ndarray  # int32 [n_heavy]: input index of each atom
    mol: Chem.Mol  # MolFromSmiles(smiles)
    charge: int  # what no proton could neutralise
    cleared_isotopes: int  # atoms that carried an isotope label
    removed: tuple[str, ...]  # other fragments of the input: salts, solvents, ions, further copies
    stereo_groups: str = ""  # racemic and "or" centres, axes: extension of a CXSMILES of `smiles`


# Metals are disconnected from what binds them as ions do. Bonds to carbon stay: cut, ferrocene
# would leave radicals.
_COUNTER_IONS = "Li,Na,K,Rb,Cs,Fr,Be,Mg,Ca,Sr,Ba,Ra"  # of N, O and F RDKit knows these itself
_METALS = "Al,Sc,Ti,V,Cr,Mn,Fe,Co,Ni,Cu,Zn,Y,Zr,Nb,Mo,Tc,Ru,Rh,Pd,Ag,Cd,Hf,Ta,W,Re,Os,Ir,Pt,Au"
_METAL_BONDS = f"[{_COUNTER_IONS},{_METALS}]~[P,As,Sb,S,Se,Te,Cl,Br,I]"
# RDKit writes a sulfoxide as S+-O-; most databases, and MMFF94's paper, draw it with a double bond.
_SULFOXIDE = "Sulfoxide to S=O\t[!O:1][S+1;X3:2]([O-1:3])[!O:4]>>[*:1][S+0:2](=[O+0:3])[*:4]"


@functools.cache
def _disconnector() -> rdMolStandardize.MetalDisconnector:
    """RDKit's disconnector of metals, made once."""
    disconnector = rdMolStandardize.MetalDisconnector()
    disconnector.SetMetalNon(Chem.MolFromSmarts(_METAL_BONDS))
    return disconnector


@functools.cache
def _cleaning_steps() -> tuple[Callable, ...]:
    """The rest of RDKit's Cleanup with its tables read once: normalise groups, reionise."""
    sulfoxide = rdMolStandardize.NormalizerFromData(
        _SULFOXIDE, rdMolStandardize.CleanupParameters()
    )
    return (  # in place, because only so the atoms keep their properties
        rdMolStandardize.Normalizer().normalizeInPlace,
        sulfoxide.normalizeInPlace,
        rdMolStandardize.Reionizer().reionizeInPlace,
    )


@functools.cache
def flat_set(smiles: tuple[str, ...]) -> frozenset[str]:
    """The same molecules as canonical SMILES without stereo."""
    return frozenset(flat_smiles(_read(text)) for text in smiles)


@functools.cache
def uncharger() -> rdMolStandardize.Uncharger:
    """RDKit's neutraliser, made once."""
    return rdMolStandardize.Uncharger()


def flat_smiles(mol: Chem.Mol) -> str:
    """Canonical SMILES without stereo."""
    return Chem.MolToSmiles(mol, isomericSmiles=False)


@guarded("standardisation failed")
def standardize(
    mol: Chem.Mol, max_heavy_atoms: int = 64, metals: Literal["drop", "remove"] = "drop"
) -> StandardizedMolecule:
    """Reduce a structure to its neutral parent fragment, in canonical order.

    Isotope labels and atom maps are cleared, groups normalised; counter-ions, solvents and
    inorganic fragments removed, identical copies counted once; charges neutralised by protons where
    they can be (a quaternary ammonium stays charged, a nitro group or a betaine zwitterionic).
    Stereo groups and axes that CXSMILES and V3000 carry are kept as text. Metal complexes,
    organometallic compounds and salts of metals that carry the activity are refused
    (`chemistry.metals`); with ``metals="remove"`` every metal is disconnected as an ion is, and
    what is organic of its ligands is the molecule. No atom, hydrogen or charge comes or goes in
    silence: a step that would change the molecule is left out, or the molecule refused.
    """
    numbers = {atom.GetAtomicNum() for atom in atoms(mol)}
    _check_size(mol, numbers, max_heavy_atoms)
    has_metal = not METALS.isdisjoint(numbers)
    if has_metal and metals == "drop":
        refuse_complex(mol)
    if not METALLOIDS.isdisjoint(numbers) and metals == "drop":
        refuse_metalloid_salt(mol)
    made_of = composition_of(mol)
    marks = stereo_marks(mol)
    mol, cleared_isotopes = clear_labels(mol)
    # From here on nothing depends on how the input was written.
    mol, _ = reread(without_hydrogens(mol))
    if has_metal:
        _disconnector().DisconnectInPlace(mol)
        made_of = composition_of(mol)
        if metals == "drop":
            refuse_salt(mol)
    reduced = _reduce(mol, made_of, marks)
    parent, smiles, groups = _isomer(reduced, marks)
    if parent.GetNumAtoms() > max_heavy_atoms:
        raise MoleculeError(
            "over the size limit", f"{parent.GetNumAtoms()} heavy atoms, limit {max_heavy_atoms}"
        )
    order = np.array([atom.GetIntProp(INPUT_INDEX) for atom in atoms(parent)], dtype=np.int32)
    charge = Chem.GetFormalCharge(parent)
    removed = tuple(sorted([*reduced.removed, *reduced.n_copy * [smiles]]))
    return StandardizedMolecule(smiles, order, parent, charge, cleared_isotopes, removed, groups)


def _check_size(mol: Chem.Mol, numbers: set[int], max_heavy_atoms: int) -> None:
    """Refuse what has no heavy atom, one that is no element, or far too many."""
    n_heavy = mol.GetNumHeavyAtoms()
    if n_heavy == 0:
        raise MoleculeError("no heavy atoms", f"{mol.GetNumAtoms()} atoms, all hydrogen")
    if n_heavy > max(1000, max_heavy_atoms):  # standardising these would take seconds
        raise MoleculeError(
            "over the size limit",
            f"{n_heavy} heavy atoms in all fragments, limit {max_heavy_atoms}",
        )
    if 0 in numbers:
        raise MoleculeError("dummy atom", "an atom * stands for no element")


def clear_labels(mol: Chem.Mol) -> tuple[Chem.Mol, int]:
    """The molecule without isotope labels and atom maps, and how many atoms had an isotope."""
    mol = Chem.Mol(mol)
    n_isotope = 0
    for atom in atoms(mol):
        atom.SetAtomMapNum(0)
        if atom.GetIsotope():
            atom.SetIsotope(0)
            n_isotope += 1
    return mol, n_isotope


def reread(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """The molecule as its own SMILES is read, atoms with their input index, and that SMILES."""
    smiles = Chem.MolToSmiles(mol)
    copy = Chem.MolFromSmiles(smiles, with_explicit_hydrogens())
    if copy is None or copy.GetNumAtoms() != mol.GetNumAtoms():
        raise MoleculeError("no stable SMILES", f"RDKit cannot read {smiles}, which it wrote")
    # RDKit notes as text in which order it wrote the atoms: "[2,0,1,]".
    order = mol.GetProp("_smilesAtomOutputOrder")[1:-1].strip(",").split(",")
    for atom, index in zip(atoms(copy), order, strict=True):
        atom.SetIntProp(INPUT_INDEX, mol.GetAtomWithIdx(int(index)).GetIntProp(INPUT_INDEX))
    return copy, smiles


def fixed_point(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """Reread until the SMILES no longer changes: writing and reading once is not always enough."""
    for _ in range(10):
        mol, smiles = reread(mol)
        if Chem.MolToSmiles(mol) == smiles:
            return mol, smiles
    raise MoleculeError("no stable SMILES", smiles)


class _Reduced(NamedTuple):
    """A structure taken apart: its parent, and everything else that was drawn."""

    parent: Chem.Mol
    smiles: str
    removed: list[str]  # without further copies of the parent
    n_copy: int  # of those

    @property
    def removed_mols(self) -> list[Chem.Mol]:
        """The removed fragments as their SMILES are read."""
        return [_read(text) for text in self.removed]

    def composition(self) -> Counter:
        """Of all fragments together."""
        return composition_of(*(1 + self.n_copy) * [self.parent], *self.removed_mols)


def _read(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles, with_explicit_hydrogens())
    if mol is None:
        raise MoleculeError("no stable SMILES", f"RDKit cannot read {smiles}, which it wrote")
    return mol


def _reduce(mol: Chem.Mol, made_of: Counter, marks: StereoMarks) -> _Reduced:
    """The parent and the rest of a structure, which together are made of the same as before.

    Normalisation puts charges together that no formula without charges has place for (mesoionic
    rings), and reionisation makes a chloride of a bare chlorine. Where that happens, the steps are
    taken one by one, and those that change the molecule are left out.
    """
    try:
        cleaned = Chem.Mol(mol)
        for clean in _cleaning_steps():
            clean(cleaned)
        parts = list(Chem.GetMolFrags(cleaned, asMols=True))
        for part in parts:
            uncharger().unchargeInPlace(part)
        reduced = _parent(parts, marks)
        if reduced.composition() == made_of:
            return reduced
    except (MoleculeError, RuntimeError, ValueError):
        pass  # the careful way says what is wrong, if anything is
    for clean in _cleaning_steps():
        mol = _unless_changed(clean, mol)
    parts = Chem.GetMolFrags(mol, asMols=True)
    neutralise = uncharger().unchargeInPlace
    reduced = _parent([_unless_changed(neutralise, part) for part in parts], marks)
    if reduced.composition() != made_of:
        before = as_formula(made_of)
        after = as_formula(reduced.composition())
        raise MoleculeError(
            "standardisation would change the molecule",
            f"{before} would become {after} (H: hydrogens minus charge)",
        )
    return reduced


def _unless_changed(step: Callable, mol: Chem.Mol) -> Chem.Mol:
    """The molecule after a step, or as it was if the step changes what it is made of."""
    attempt = Chem.Mol(mol)
    try:
        step(attempt)
        attempt, _ = reread(attempt)
    except (MoleculeError, RuntimeError, ValueError):
        return mol
    return attempt if composition_of(attempt) == composition_of(mol) else mol


def _isomer(reduced: _Reduced, marks: StereoMarks) -> tuple[Chem.Mol, str, str]:
    """The parent, its SMILES, and its stereo groups and axes as text."""
    parent = reduced.parent
    smiles = reduced.smiles
    if not marks:
        return parent, smiles, ""
    isomer, marks = canonical_isomer(parent, marks)
    parent, smiles = fixed_point(isomer)
    return parent, smiles, stereo_text(parent, smiles, marks)


def _parent(parts: list[Chem.Mol], marks: StereoMarks) -> _Reduced:
    """The one fragment of these that the structure is about, and the SMILES of the others."""
    smiles = [Chem.MolToSmiles(part) for part in parts]
    names = smiles
    if marks and len(parts) > 1:  # a racemate is no further copy of its enantiomer
        names = [_with_groups(part, marks) for part in parts]
    distinct = dict(zip(reversed(names), reversed(parts), strict=True))  # the first copy stays
    chosen = _most_organic(distinct) if len(distinct) > 1 else names[0]
    parent, parent_smiles = fixed_point(without_hydrogens(distinct[chosen]))
    if any(atom.GetAtomicNum() == 1 for atom in atoms(parent)):
        raise MoleculeError("hydrogen that cannot be implicit", parent_smiles)
    # Of a racemic salt former the isomer that stands for both, for any spelling.
    removed = [name.partition(" ")[0] for name in names if name != chosen]
    return _Reduced(parent, parent_smiles, removed, len(parts) - len(removed) - 1)


def _with_groups(part: Chem.Mol, marks: StereoMarks) -> str:
    """The canonical SMILES of a fragment and its stereo groups."""
    isomer, marks = canonical_isomer(part, marks)
    mol, smiles = fixed_point(isomer)
    return f"{smiles} |{stereo_text(mol, smiles, marks)}|"


def _most_organic(distinct: dict[str, Chem.Mol]) -> str:
    """SMILES of the one fragment that is organic and no salt or solvent.

    Where all are salts or solvents, the one that is no solvent, or the one organic fragment; where
    none is organic, the one with carbon.
    """
    salts = flat_set(tuple(SALTS_AND_SOLVENTS))
    solvents = flat_set(tuple(SOLVENTS))
    inorganic = flat_set(tuple(INORGANIC_CARBON))
    flat = {smiles: flat_smiles(part) for smiles, part in distinct.items()}
    carbon = [
        smiles
        for smiles, part in distinct.items()
        if any(atom.GetAtomicNum() == 6 for atom in atoms(part))
    ]
    organic = [s for s in carbon if flat[s] not in inorganic] or carbon
    no_solvent = [s for s in organic if flat[s] not in solvents] or organic
    chosen = [s for s in no_solvent if flat[s] not in salts] or no_solvent
    if not chosen:
        raise MoleculeError("no parent fragment", "only inorganic: " + ".".join(sorted(distinct)))
    if len(chosen) > 1:
        raise MoleculeError("two organic parents", ".".join(sorted(chosen)))
    return chosen[0]
