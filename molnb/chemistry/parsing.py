"""SMILES and mol blocks as RDKit molecules whose atoms know their index in the input."""

from __future__ import annotations

import functools

from rdkit import Chem

from .failures import MoleculeError, guarded

INPUT_INDEX = "molnb_input_index"  # atom property: index in the input, explicit hydrogens counted


def atoms(mol: Chem.Mol) -> list[Chem.Atom]:
    """All atoms in order, several times faster than ``mol.GetAtoms()``, which checks each step."""
    return [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]


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
    """Read a SMILES string; each atom remembers its index in it through standardisation."""
    if not smiles or not smiles.strip():
        raise MoleculeError("empty structure")
    mol = Chem.MolFromSmiles(smiles, with_explicit_hydrogens())
    if mol is None:
        unsanitised = Chem.MolFromSmiles(smiles, sanitize=False)
        raise _unreadable(unsanitised, repr(smiles[:80]))
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
    return numbered(mol)


def has_3d_coords(mol: Chem.Mol) -> bool:
    """Whether a molecule came with coordinates that say they are in space."""
    return mol.GetNumConformers() > 0 and mol.GetConformer().Is3D()


def numbered(mol: Chem.Mol) -> Chem.Mol:
    """The same molecule, each atom carrying its index."""
    if mol.GetNumAtoms() == 0:
        raise MoleculeError("empty structure")
    for i, atom in enumerate(atoms(mol)):
        atom.SetIntProp(INPUT_INDEX, i)
    return mol


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
