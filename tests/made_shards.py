"""Shards written by hand, for machines without RDKit: random trees of C, N and O with labels.

Labels of molecules, atoms, bonds and pairs follow from structure and geometry, so that they can be
learnt.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from molnb.files import write_json, writing_array
from molnb.paths import MANIFEST
from molnb.shards import ARRAYS, FORMAT, Shards, load_shards
from molnb.vocabulary import N_ATOM_FEATURE, N_BOND_FEATURE

ELEMENTS = np.array([6, 7, 8])
BOND_ANGSTROM = 1.5
LEVELS = ("molecule", "atom", "bond", "pair")
N_TRAIN = 24
N_VAL = 8  # the rest is test


class Molecule(NamedTuple):
    """Atoms of a tree, the earlier atom that each but the first is bound to, and where they lie."""

    numbers: np.ndarray
    neighbour: np.ndarray
    orders: np.ndarray
    coords: np.ndarray

    @property
    def bonds(self) -> np.ndarray:
        return np.stack([self.neighbour, np.arange(1, len(self.numbers))], 1)


def make_molecule(rng: np.random.Generator, n_atom: int) -> Molecule:
    """A random tree whose atoms are 1.5 Å from their neighbours."""
    neighbour = np.array([rng.integers(max(0, i - 2), i) for i in range(1, n_atom)], int)
    coords = np.zeros((n_atom, 3))
    for atom, earlier in enumerate(neighbour, 1):
        direction = rng.normal(size=3)
        coords[atom] = coords[earlier] + BOND_ANGSTROM * direction / np.linalg.norm(direction)
    return Molecule(
        numbers=rng.choice(ELEMENTS, n_atom, p=[0.6, 0.2, 0.2]),
        neighbour=neighbour,
        orders=rng.choice(2, n_atom - 1, p=[0.8, 0.2]),
        coords=coords - coords.mean(0),
    )


def make_shards(folder: Path, n: int = 40, seed: int = 0, n_atom: int | None = None) -> Shards:
    """Shards of n molecules of 3 to 12 heavy atoms, or of `n_atom`, in a new folder."""
    rng = np.random.default_rng(seed)
    molecules = [make_molecule(rng, n_atom or int(rng.integers(3, 13))) for _ in range(n)]
    arrays = atom_arrays(molecules) | bond_arrays(molecules)
    parts = np.repeat([0, 1, 2], [N_TRAIN, N_VAL, n - N_TRAIN - N_VAL])
    arrays["split_random"] = rng.permutation(parts).astype(np.int8)
    tasks = {}
    for level in LEVELS:
        arrays |= label_arrays(level, molecules)
        label = {"name": f"{level}_label", "quantity": level, "unit": "eV"}
        declared = {"level": level, "kind": "regression", "loss": "mae", "fold": None}
        tasks[f"of_{level}"] = declared | {"labels": [label]}
    for name, values in arrays.items():
        with writing_array(folder / ARRAYS / f"{name}.npy", values.dtype, values.shape) as append:
            append(values)
    manifest = {
        "format": FORMAT,
        "name": "trees",
        "n_kept": n,
        "tasks": tasks,
        "splits": {"random": {}},
        "default_split": "random",
        "files": {
            f"{ARRAYS}/{file.name}": file.stat().st_size for file in (folder / ARRAYS).iterdir()
        },
    }
    write_json(manifest, folder / MANIFEST)
    return load_shards(folder)


def atom_arrays(molecules: list[Molecule]) -> dict[str, np.ndarray]:
    """What shards keep of atoms, with where each molecule begins."""
    sizes = np.array([len(molecule.numbers) for molecule in molecules])
    feats = []
    for molecule in molecules:
        of_molecule = np.zeros((len(molecule.numbers), N_ATOM_FEATURE), np.uint8)
        of_molecule[:, 1] = np.bincount(molecule.bonds.ravel(), minlength=len(of_molecule))
        of_molecule[:, 2] = 5  # no charge
        of_molecule[:, 5] = 2  # SP3
        of_molecule[:, 9] = 4  # valence
        feats.append(of_molecule)
    return {
        "n_heavy": sizes.astype(np.int32),
        "atom_offset": np.concatenate([[0], np.cumsum(sizes)]),
        "numbers": np.concatenate([molecule.numbers for molecule in molecules]).astype(np.uint8),
        "atom_feats": np.concatenate(feats),
        "coords": np.concatenate([molecule.coords for molecule in molecules]).astype(np.float32),
        "parent": np.concatenate([np.arange(size) for size in sizes]).astype(np.uint16),
    }


def bond_arrays(molecules: list[Molecule]) -> dict[str, np.ndarray]:
    """What shards keep of bonds, with where each molecule begins."""
    sizes = np.array([len(molecule.orders) for molecule in molecules])
    orders = np.concatenate([molecule.orders for molecule in molecules])
    return {
        "n_heavy_bond": sizes.astype(np.int32),
        "bond_offset": np.concatenate([[0], np.cumsum(sizes)]),
        "bonds": np.concatenate([molecule.bonds for molecule in molecules]).astype(np.uint16),
        "bond_feats": np.stack([orders, *[0 * orders] * (N_BOND_FEATURE - 1)], 1).astype(np.uint8),
    }


def label_arrays(level: str, molecules: list[Molecule]) -> dict[str, np.ndarray]:
    """The arrays of a task that every molecule has a label of."""
    values = [label_values(level, molecule) for molecule in molecules]
    dtype = np.float64 if level == "molecule" else np.float32
    return {
        f"of_{level}.index": np.arange(len(molecules)),
        f"of_{level}.offset": np.concatenate([[0], np.cumsum([len(v) for v in values])]),
        f"of_{level}.values": np.concatenate(values).astype(dtype)[:, None],
    }


def label_values(level: str, molecule: Molecule) -> np.ndarray:
    """Made-up labels (eV): of elements, bond orders and distances."""
    numbers = molecule.numbers.astype(float)
    if level == "molecule":
        return np.array([numbers.sum() / 10])
    if level == "atom":
        return numbers - 6 + np.bincount(molecule.bonds.ravel(), minlength=len(numbers))
    if level == "bond":
        return molecule.orders + 0.1 * numbers[molecule.bonds].sum(1)
    ends = molecule.coords[np.stack(np.triu_indices(len(numbers), 1))]  # both ends of each pair
    return np.linalg.norm(ends[0] - ends[1], axis=1)
