"""Curated molecules one by one, as other programs want them: structure, geometries, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Geometry import Point3D

from ...errors import InputError
from ...shards import SPLIT_VALUES, Shards

_STRUCTURE = ["id", "smiles", "numbers", "coords", "bonds", "n_heavy"]


class ExportedRow(NamedTuple):
    """A molecule: coordinates (Å) of all atoms, in the order of ``numbers``, of each conformer."""

    identifier: str
    smiles: str
    numbers: np.ndarray
    coords: np.ndarray  # [conformer, atom, 3], float32
    bonds: np.ndarray  # [bond, 2]
    n_heavy: int
    labels: dict[str, float | None]
    splits: dict[str, str | None]

    @property
    def symbols(self) -> list[str]:
        """Symbols of all atoms, hydrogens included."""
        table = Chem.GetPeriodicTable()
        return [table.GetElementSymbol(int(number)) for number in self.numbers]


def molecule_labels(shards: Shards) -> dict[str, str]:
    """The labels of molecules and the unit of each, in the order of the shards."""
    units = {}
    for field in shards.schema:
        metadata = field.metadata or {}
        if metadata.get(b"level") == b"molecule":
            units[field.name] = metadata[b"unit"].decode()
    return units


def exported_rows(shards: Shards) -> Iterator[ExportedRow]:
    """Every molecule in sample order, read in pieces."""
    labels = list(molecule_labels(shards))
    splits = {name: f"split_{name}" for name in shards.manifest["splits"]}
    for row in shards.rows([*_STRUCTURE, *labels, *splits.values()]):
        n_atom = len(row["numbers"])
        yield ExportedRow(
            row["id"] or "",
            row["smiles"],
            np.array(row["numbers"], np.uint8),
            np.array(row["coords"], np.float32).reshape(-1, n_atom, 3),
            np.array(row["bonds"], np.int64).reshape(-1, 2),
            row["n_heavy"],
            {name: row[name] for name in labels},
            {name: _part(row[column]) for name, column in splits.items()},
        )


def _part(value: int | None) -> str | None:
    """The part of a split by its number; None for a molecule that is in none."""
    return None if value is None or value < 0 else SPLIT_VALUES[value]


def with_hydrogens(row: ExportedRow) -> Chem.Mol:
    """The molecule with all hydrogens, its atoms in the order of the row's arrays.

    Raises InputError where its SMILES gives another molecule than the arrays hold.
    """
    mol = Chem.MolFromSmiles(row.smiles)
    full = Chem.AddHs(mol)
    neighbours: dict[int, list[int]] = {}
    for begin, end in np.sort(row.bonds, axis=1).tolist():
        if end >= row.n_heavy:
            neighbours.setdefault(begin, []).append(end)
    order = list(range(full.GetNumAtoms()))
    is_same = mol.GetNumAtoms() == row.n_heavy and len(order) == len(row.numbers)
    for atom in full.GetAtoms():
        if atom.GetIdx() >= row.n_heavy and is_same:
            places = neighbours.get(atom.GetNeighbors()[0].GetIdx())
            is_same = bool(places)
            if places:
                order[places.pop(0)] = atom.GetIdx()
    if is_same:
        full = Chem.RenumberAtoms(full, order)
        is_same = [atom.GetAtomicNum() for atom in full.GetAtoms()] == row.numbers.tolist()
    if not is_same:
        raise InputError(
            f"{row.smiles} gives other atoms than its arrays hold: the shards are damaged. "
            "Curate them again."
        )
    return full


def with_coords(mol: Chem.Mol, coords: np.ndarray) -> Chem.Mol:
    """A copy of a molecule with one conformer of these coordinates (Å), and its stereo."""
    copy = Chem.Mol(mol)
    copy.RemoveAllConformers()
    conformer = Chem.Conformer(copy.GetNumAtoms())
    conformer.Set3D(True)
    for k, place in enumerate(coords.tolist()):
        conformer.SetAtomPosition(k, Point3D(*place))
    copy.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(copy)
    return copy
