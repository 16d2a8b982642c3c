"""SMILES and mol blocks as RDKit molecules whose atoms know their index in the input."""

from __future__ import annotations

import functools

from rdkit import Chem

from .failures import MoleculeError, guarded

INPUT_INDEX = "molnb_input_index"  # atom property: index in the input, explicit hydrogens counted


def atoms(mol: Chem.Mol) -> list[Chem.Atom]:
    """All atoms in order; several times faster than iterating over ``mol.GetAtoms()``, which
    checks every step.
    """
    return [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]


@functools.cache
def _with_hydrogens() -> Chem.SmilesParserParams:
    """Explicit hydrogens stay atoms: they count in the input's numbering."""
    params = Chem.SmilesParserParams()
    params.removeHs = False
    return params


@functools.cache
def _hydrogens_to_remove() -> Chem.RemoveHsParameters:
    params = Chem.RemoveHsParameters()
    params.removeDefiningBondStereo = (
        True  # of an imine C=N-H, written with its hydrogen in many databases
    )
    params.removeNontetrahedralNeighbors = True
    return params


def without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with all hydrogens implicit that can be; an imine loses the stereo that only
    its N-H defines.
    """
    return Chem.RemoveHs(mol, _hydrogens_to_remove())


@guarded("unreadable structure")
def parse_smiles(smiles: str) -> Chem.Mol:
    """Read a SMILES string; each atom remembers its index in it through standardisation."""
    if not smiles or not smiles.strip():
        raise MoleculeError("empty structure")
    mol = Chem.MolFromSmiles(smiles, _with_hydrogens())
    if mol is None:
        raise _why_unreadable(Chem.MolFromSmiles(smiles, sanitize=False), repr(smiles[:80]))
    return numbered(mol)


@guarded("unreadable structure")
def parse_molblock(block: str) -> Chem.Mol:
    """Read an MDL mol block (one record of an SD file), likewise."""
    if not block or not block.strip():
        raise MoleculeError("empty structure")
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None:
        raise _why_unreadable(
            Chem.MolFromMolBlock(block, removeHs=False, sanitize=False), "mol block"
        )
    return numbered(mol)


def numbered(mol: Chem.Mol) -> Chem.Mol:
    """The same molecule, each atom carrying its index."""
    if mol.GetNumAtoms() == 0:
        raise MoleculeError("empty structure")
    for i, atom in enumerate(atoms(mol)):
        atom.SetIntProp(INPUT_INDEX, i)
    return mol


def _why_unreadable(unsanitised: Chem.Mol | None, given: str) -> MoleculeError:
    if unsanitised is None:
        return MoleculeError("unreadable structure", given)
    reasons = {"AtomValenceException": "impossible valence", "KekulizeException": "no Kekulé form",
               "AtomKekulizeException": "no Kekulé form"}  # fmt: skip
    for problem in Chem.DetectChemistryProblems(unsanitised):
        return MoleculeError(
            reasons.get(problem.GetType(), "sanitisation failed"), problem.Message()
        )
    return MoleculeError("sanitisation failed", given)
