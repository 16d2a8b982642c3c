"""Reduce a structure to its neutral parent, whose canonical SMILES decides all that follows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from .failures import MoleculeError, guarded
from .parsing import INPUT_INDEX, atoms, with_explicit_hydrogens, without_hydrogens
from .salts import INORGANIC_CARBON, SALTS_AND_SOLVENTS


class StandardizedMolecule(NamedTuple):
    """The neutral parent of a structure, in the atom order of its canonical isomeric SMILES."""

    smiles: str
    order: np.ndarray  # int32 [n_heavy]: input index of each atom
    mol: Chem.Mol  # MolFromSmiles(smiles)
    charge: int  # what no proton could neutralise
    cleared_isotopes: int  # atoms that carried an isotope label
    removed: tuple[str, ...]  # other fragments of the input: salts, solvents, ions, further copies


# Metals are disconnected from what binds them as ions do. Bonds to carbon stay: cut, ferrocene
# would leave radicals.
_METALS = "Al,Sc,Ti,V,Cr,Mn,Fe,Co,Ni,Cu,Zn,Y,Zr,Nb,Mo,Tc,Ru,Rh,Pd,Ag,Cd,Hf,Ta,W,Re,Os,Ir,Pt,Au"
_METAL_BONDS = f"[{_METALS}]~[P,As,Sb,S,Se,Te,Cl,Br,I]"
# RDKit writes a sulfoxide as S+-O-; most databases, and MMFF94's paper, draw it with a double bond.
_SULFOXIDE = "Sulfoxide to S=O\t[!O:1][S+1;X3:2]([O-1:3])[!O:4]>>[*:1][S+0:2](=[O+0:3])[*:4]"


@functools.cache
def _cleaning_steps() -> tuple[Callable, ...]:
    """RDKit's Cleanup with its tables read once: disconnect metals, normalise groups, reionise."""
    disconnector = rdMolStandardize.MetalDisconnector()
    disconnector.SetMetalNon(Chem.MolFromSmarts(_METAL_BONDS))
    sulfoxide = rdMolStandardize.NormalizerFromData(
        _SULFOXIDE, rdMolStandardize.CleanupParameters()
    )
    return (  # in place, because only so the atoms keep their properties
        disconnector.DisconnectInPlace,
        rdMolStandardize.Normalizer().normalizeInPlace,
        sulfoxide.normalizeInPlace,
        rdMolStandardize.Reionizer().reionizeInPlace,
    )


@functools.cache
def _canonical(smiles: tuple[str, ...]) -> frozenset[str]:
    """The same molecules as canonical SMILES without stereo."""
    return frozenset(flat_smiles(Chem.MolFromSmiles(text)) for text in smiles)


@functools.cache
def uncharger() -> rdMolStandardize.Uncharger:
    """RDKit's neutraliser, made once."""
    return rdMolStandardize.Uncharger()


def flat_smiles(mol: Chem.Mol) -> str:
    """Canonical SMILES without stereo."""
    return Chem.MolToSmiles(mol, isomericSmiles=False)


@guarded("standardisation failed")
def standardize(mol: Chem.Mol, max_heavy_atoms: int = 64) -> StandardizedMolecule:
    """Reduce a structure to its neutral parent fragment, in canonical order.

    Isotope labels and atom maps are cleared, metals disconnected, groups normalised; counter-ions,
    solvents and inorganic fragments removed, identical copies counted once; charges neutralised by
    protons where they can be (a quaternary ammonium stays charged, a nitro group or a betaine
    zwitterionic).
    """
    n_heavy = mol.GetNumHeavyAtoms()
    if n_heavy == 0:
        raise MoleculeError("no heavy atoms", f"{mol.GetNumAtoms()} atoms, all hydrogen")
    if n_heavy > max(1000, max_heavy_atoms):  # standardising these would take seconds
        raise MoleculeError(
            "over the size limit",
            f"{n_heavy} heavy atoms in all fragments, limit {max_heavy_atoms}",
        )
    if any(atom.GetAtomicNum() == 0 for atom in atoms(mol)):
        raise MoleculeError("dummy atom", "an atom * stands for no element")
    mol, cleared_isotopes = _clear_labels(mol)
    mol, _ = reread(mol)  # from here on nothing depends on how the input was written
    for clean in _cleaning_steps():
        clean(mol)
    parent, removed = _parent(mol)
    parent, smiles = fixed_point(without_hydrogens(parent))
    if any(atom.GetAtomicNum() == 1 for atom in atoms(parent)):
        raise MoleculeError("hydrogen that cannot be implicit", smiles)
    if parent.GetNumAtoms() > max_heavy_atoms:
        raise MoleculeError(
            "over the size limit", f"{parent.GetNumAtoms()} heavy atoms, limit {max_heavy_atoms}"
        )
    order = np.array([atom.GetIntProp(INPUT_INDEX) for atom in atoms(parent)], dtype=np.int32)
    return StandardizedMolecule(
        smiles, order, parent, Chem.GetFormalCharge(parent), cleared_isotopes, removed
    )


def _clear_labels(mol: Chem.Mol) -> tuple[Chem.Mol, int]:
    """The molecule without isotope labels and atom maps, and how many atoms had an isotope."""
    mol = Chem.Mol(mol)
    n_isotope = 0
    for atom in atoms(mol):
        atom.SetAtomMapNum(0)
        if atom.GetIsotope():
            atom.SetIsotope(0)
            n_isotope += 1
    return without_hydrogens(mol), n_isotope


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


def _parent(mol: Chem.Mol) -> tuple[Chem.Mol, tuple[str, ...]]:
    """The one fragment that the structure is about, neutral, and the SMILES of the others."""
    parts = list(Chem.GetMolFrags(mol, asMols=True))
    for part in parts:
        uncharger().unchargeInPlace(part)
    smiles = [Chem.MolToSmiles(part) for part in parts]
    distinct = dict(zip(reversed(smiles), reversed(parts), strict=True))  # the first copy stays
    parent = _most_organic(distinct) if len(distinct) > 1 else smiles[0]
    removed = list(smiles)
    removed.remove(parent)
    return distinct[parent], tuple(sorted(removed))


def _most_organic(distinct: dict[str, Chem.Mol]) -> str:
    """SMILES of the one fragment that is organic and no salt or solvent.

    Where all are salts or solvents, the one organic fragment; where none is organic, the one with
    carbon.
    """
    salts = _canonical(tuple(SALTS_AND_SOLVENTS))
    inorganic = _canonical(tuple(INORGANIC_CARBON))
    flat = {smiles: flat_smiles(part) for smiles, part in distinct.items()}
    carbon = [
        smiles
        for smiles, part in distinct.items()
        if any(atom.GetAtomicNum() == 6 for atom in atoms(part))
    ]
    organic = [s for s in carbon if flat[s] not in inorganic] or carbon
    chosen = [s for s in organic if flat[s] not in salts] or organic
    if not chosen:
        raise MoleculeError("no parent fragment", "only inorganic: " + ".".join(sorted(distinct)))
    if len(chosen) > 1:
        raise MoleculeError("two organic parents", ".".join(sorted(chosen)))
    return chosen[0]
