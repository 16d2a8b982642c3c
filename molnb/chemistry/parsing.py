"""SMILES and mol blocks as RDKit molecules whose atoms know their index in the input."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np
from rdkit import Chem

from .failures import MoleculeError, guarded

INPUT_INDEX = "molnb_input_index"  # atom property: index in the input, explicit hydrogens counted
_NO_ORDER = (Chem.BondType.UNSPECIFIED, Chem.BondType.ZERO)
# Substance groups of the CTfile format of which there is an unknown number, or a choice.
_POLYMERS = ("SRU", "MON", "MER", "COP", "CRO", "MOD", "GRA", "ANY")


def atoms(mol: Chem.Mol) -> list[Chem.Atom]:
    """All atoms in order, several times faster than ``mol.GetAtoms()``, which checks each step."""
    return [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]


def bonds(mol: Chem.Mol) -> list[Chem.Bond]:
    """All bonds in order, as `atoms` gives the atoms."""
    return [mol.GetBondWithIdx(i) for i in range(mol.GetNumBonds())]


@functools.cache
def with_explicit_hydrogens() -> Chem.SmilesParserParams:
    """Parameters by which hydrogens that are written stay atoms: they count in the numbering."""
    params = Chem.SmilesParserParams()
    params.removeHs = False
    return params


@functools.cache
def _hydrogens_to_remove() -> Chem.RemoveHsParameters:
    params = Chem.RemoveHsParameters()
    # Of an imine C=N-H, written with its hydrogen in many databases.
    params.removeDefiningBondStereo = True
    params.removeNontetrahedralNeighbors = True
    return params


def without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with all hydrogens implicit that can be.

    An imine loses the stereo that only its N-H defines.
    """
    return Chem.RemoveHs(mol, _hydrogens_to_remove())


@guarded("unreadable structure")
def parse_smiles(smiles: str) -> Chem.Mol:
    """Read a SMILES string; each atom remembers its index in it through standardisation.

    The extension of a CXSMILES is read, and so are its stereo groups and axes.
    """
    if not smiles or not smiles.strip():
        raise MoleculeError("empty structure")
    mol = Chem.MolFromSmiles(smiles, with_explicit_hydrogens())
    if mol is None:
        unsanitised = Chem.MolFromSmiles(smiles, sanitize=False)
        raise _unreadable(unsanitised, repr(smiles[:80]))
    if any(mark in smiles for mark in "~:|"):
        _refuse_queries(mol)
    return numbered(mol)


@guarded("unreadable structure")
def parse_molblock(block: str) -> Chem.Mol:
    """Read an MDL mol block (one record of an SD file), likewise."""
    if not block or not block.strip():
        raise MoleculeError("empty structure")
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None:
        unsanitised = Chem.MolFromMolBlock(block, removeHs=False, sanitize=False)
        raise _unreadable(unsanitised, "mol block")
    _refuse_queries(mol)
    _refuse_abbreviations(mol)
    return numbered(mol)


def has_3d_coords(mol: Chem.Mol) -> bool:
    """Whether a molecule came with coordinates that say they are in space."""
    return mol.GetNumConformers() > 0 and mol.GetConformer().Is3D()


def with_coords(mol: Chem.Mol, coords: Sequence[np.ndarray]) -> Chem.Mol:
    """A copy of a molecule with these geometries (Å) as its conformers, numbered from 0."""
    mol = Chem.Mol(mol)
    mol.RemoveAllConformers()
    for number, positions in enumerate(coords):
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetId(number)
        conformer.SetPositions(np.ascontiguousarray(positions, dtype=float))
        mol.AddConformer(conformer)
    return mol


def numbered(mol: Chem.Mol) -> Chem.Mol:
    """The same molecule, each atom carrying its index."""
    if mol.GetNumAtoms() == 0:
        raise MoleculeError("empty structure")
    for i, atom in enumerate(atoms(mol)):
        atom.SetIntProp(INPUT_INDEX, i)
    return mol


def _refuse_queries(mol: Chem.Mol) -> None:
    """Raise MoleculeError for a bond of no known order, and for a repeating unit.

    Read as they are drawn, they would become another molecule.
    """
    for bond in mol.GetBonds():
        kind = bond.GetBondType()
        open_aromatic = kind == Chem.BondType.AROMATIC and not bond.IsInRing()
        if bond.HasQuery() or kind in _NO_ORDER or open_aromatic:
            ends = f"{bond.GetBeginAtomIdx() + 1} and {bond.GetEndAtomIdx() + 1}"
            raise MoleculeError("bond of no known order", f"between atoms {ends}")
    for group in Chem.GetMolSubstanceGroups(mol):
        if group.GetProp("TYPE") in _POLYMERS:
            raise MoleculeError("polymer", f"a group of type {group.GetProp('TYPE')} repeats")


def _refuse_abbreviations(mol: Chem.Mol) -> None:
    """Raise MoleculeError for an atom of a mol block that stands for a group (alias "COOH").

    The atom alone would be read. Aliases that number atoms or repeat the element are harmless.
    """
    for atom in atoms(mol):
        if atom.HasProp("molFileAlias"):
            alias = atom.GetProp("molFileAlias").strip()
            if not re.fullmatch(rf"({atom.GetSymbol()})?(H\d*)?\d*[+-]?[a-z']?", alias):
                number = atom.GetIdx() + 1
                raise MoleculeError("abbreviated group", f"atom {number} stands for {alias[:40]!r}")


def _unreadable(unsanitised: Chem.Mol | None, text: str) -> MoleculeError:
    """Why RDKit did not read a structure, as far as it can tell."""
    if unsanitised is None:
        return MoleculeError("unreadable structure", text)
    reasons = {
        "AtomValenceException": "impossible valence",
        "KekulizeException": "no Kekulé form",
        "AtomKekulizeException": "no Kekulé form",
    }
    for problem in Chem.DetectChemistryProblems(unsanitised):
        return MoleculeError(
            reasons.get(problem.GetType(), "sanitisation failed"), problem.Message()
        )
    return MoleculeError("sanitisation failed", text)
