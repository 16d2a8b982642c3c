"""Molecules made ready for the encoder: standardised, featurised, with one geometry, in chunks and
on many processes.

A molecule is treated as in curation (neutral parent, canonical SMILES, one conformer seeded by it),
so any spelling and any numbering of its atoms gives the same answer. What cannot be used becomes
the text of its error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem

from ..chemistry.conformer import CLASH_ANGSTROM, make_conformer
from ..chemistry.failures import MoleculeError, guarded
from ..chemistry.features import molecule_arrays
from ..chemistry.parsing import numbered, parse_smiles
from ..chemistry.standardization import StandardizedMolecule, standardize
from ..data.batch import MolBatch
from ..errors import InputError
from ..processes import Pool

CONFORMERS = ("new", "given")
CHUNK = 512  # rows prepared and answered together
_PIECE = 64  # rows that a worker prepares in one call

MoleculeInput = (
    str | Chem.Mol | MoleculeError | None
)  # a Failure is a row that could not even be read


class FeaturizedMolecule(NamedTuple):
    """A molecule ready for the encoder; `place` is each canonical atom's number among the
    input's heavy atoms.
    """

    smiles: str
    place: np.ndarray
    n_input: int
    arrays: dict
    coords: np.ndarray


def featurize(
    molecule: MoleculeInput, max_heavy_atoms: int = 64, conformer: str = "new"
) -> FeaturizedMolecule:
    """Standardise and embed one molecule; raises Failure with its step and reason.

    A SMILES or an RDKit molecule gets the conformer that curation would give it. With
    ``conformer="given"`` an RDKit molecule keeps the coordinates of its first conformer, which must
    be 3D; its stereo is taken as drawn, and not compared with them. Hydrogens then have coordinates
    only if they all stand in the molecule.
    """
    given = _opened(molecule)
    heavy = np.cumsum([a.GetAtomicNum() != 1 for a in given.GetAtoms()])
    standard = standardize(given, max_heavy_atoms)
    arrays = molecule_arrays(standard.mol)
    if conformer == "given":
        coords = _own_coords(given, standard, arrays)
    else:
        coords = make_conformer(standard.smiles).coords
    place = heavy[np.asarray(standard.order)] - 1
    return FeaturizedMolecule(
        standard.smiles, place, int(heavy[-1]), arrays, np.asarray(coords, np.float32)
    )


def _opened(molecule: MoleculeInput) -> Chem.Mol:
    """The molecule of whatever was given, each atom knowing its index."""
    if isinstance(molecule, MoleculeError):
        raise molecule
    if isinstance(molecule, Chem.Mol):
        return _sanitised(molecule)
    if molecule is None or isinstance(molecule, str):
        return parse_smiles(molecule or "")
    raise MoleculeError(
        "unreadable structure", f"neither a SMILES nor an RDKit molecule: {molecule!r:.80}"
    )


@guarded("sanitisation failed")
def _sanitised(mol: Chem.Mol) -> Chem.Mol:
    copy = Chem.Mol(mol)
    Chem.SanitizeMol(copy)
    return numbered(copy)


def _own_coords(given: Chem.Mol, standard: StandardizedMolecule, arrays: dict) -> np.ndarray:
    """Coordinates (Å, centred) that the molecule came with: all atoms if its hydrogens are
    there, else heavy ones.
    """
    if not given.GetNumConformers():
        raise MoleculeError("no 3D coordinates", "the molecule has no conformer")
    conformer = given.GetConformer()
    if not conformer.Is3D():
        raise MoleculeError("no 3D coordinates", "its conformer is a drawing in two dimensions")
    positions, order = conformer.GetPositions(), np.asarray(standard.order, int)
    squared = np.sum((positions[:, None] - positions[None]) ** 2, axis=-1)
    np.fill_diagonal(squared, np.inf)
    if not np.isfinite(positions).all() or squared.min(initial=np.inf) < CLASH_ANGSTROM**2:
        raise MoleculeError(
            "no 3D coordinates", "coordinates are not finite, or two atoms coincide"
        )
    coords = positions[order]
    hydrogens = [
        [n.GetIdx() for n in given.GetAtomWithIdx(int(i)).GetNeighbors() if n.GetAtomicNum() == 1]
        for i in order
    ]
    owners = arrays["parent"][arrays["n_heavy"] :]
    if [len(h) for h in hydrogens] == np.bincount(owners, minlength=len(order)).tolist():
        coords = np.concatenate(
            [coords, positions[[i for h in hydrogens for i in h]].reshape(-1, 3)]
        )
    return coords - coords.mean(axis=0)


def featurize_all(
    molecules: Sequence[MoleculeInput], max_heavy_atoms: int = 64, conformer: str = "new"
) -> list[FeaturizedMolecule | str]:
    """`featurize` for a list; what fails is its error message."""
    found: list[FeaturizedMolecule | str] = []
    for molecule in molecules:
        try:
            found.append(featurize(molecule, max_heavy_atoms, conformer))
        except MoleculeError as failure:
            found.append(str(failure))
    return found


def flat_batch(molecules: Sequence[FeaturizedMolecule], hydrogens: bool) -> MolBatch:
    """Prepared molecules as one flat batch, with hydrogens if the model sees them."""

    def join(name: str, count: str) -> torch.Tensor:
        kept = [
            m.arrays[name] if hydrogens else m.arrays[name][: m.arrays[count]] for m in molecules
        ]
        return torch.from_numpy(np.concatenate(kept))

    def counts(name: str, count: str) -> torch.Tensor:
        return torch.tensor(
            [len(m.arrays[name]) if hydrogens else m.arrays[count] for m in molecules]
        )

    n_atoms = counts("numbers", "n_heavy")
    coords = [m.coords if hydrogens else m.coords[: m.arrays["n_heavy"]] for m in molecules]
    return MolBatch(
        ids=torch.arange(len(molecules)),
        n_atoms=n_atoms,
        n_bonds=counts("bonds", "n_heavy_bonds"),
        numbers=join("numbers", "n_heavy"),
        feats=join("atom_feats", "n_heavy"),
        coords=torch.from_numpy(np.concatenate(coords)),
        bonds=join("bonds", "n_heavy_bonds").to(torch.int64),
        bond_feats=join("bond_feats", "n_heavy_bonds"),
        labels={},
        longest=int(n_atoms.max()),
    )


def featurize_chunks(
    molecules: Iterable[MoleculeInput], workers: int = 0, conformer: str = "new"
) -> Iterator[tuple[list[MoleculeInput], list[FeaturizedMolecule | str]]]:
    """Chunks of input and what became of it, in order; a few chunks are under way at a time.

    `workers` processes prepare them; 0 does it here.
    """
    if conformer not in CONFORMERS:
        raise InputError(f"unknown conformer {conformer!r}: choose one of {', '.join(CONFORMERS)}")
    source = iter(molecules)
    chunks = iter(lambda: list(itertools.islice(source, CHUNK)), [])
    if workers == 0:
        yield from ((chunk, featurize_all(chunk, conformer=conformer)) for chunk in chunks)
        return
    with Pool(workers) as pool:
        under_way: list = []
        for chunk in chunks:
            pieces = [(chunk[i : i + _PIECE], 64, conformer) for i in range(0, len(chunk), _PIECE)]
            under_way.append(
                (chunk, pieces, [pool.submit(featurize_all, *piece) for piece in pieces])
            )
            if len(under_way) > 2:
                yield _collect(pool, under_way)
        while under_way:
            yield _collect(pool, under_way)


def _collect(
    pool: Pool, under_way: list
) -> tuple[list[MoleculeInput], list[FeaturizedMolecule | str]]:
    chunk, pieces, futures = under_way.pop(0)
    found: list[FeaturizedMolecule | str] = []
    for piece, future in zip(pieces, futures):
        try:
            found += future.result()
        except BrokenExecutor:  # RDKit took a worker with it, and with it whatever was under way
            found += _again(pool, *piece)
    return chunk, found


def _again(pool: Pool, piece: list, *settings) -> list[FeaturizedMolecule | str]:
    """A piece whose worker died, once more with nothing beside it; halved until the one row is
    found.
    """
    pool.restart()
    try:
        return pool.submit(featurize_all, piece, *settings).result()
    except BrokenExecutor:
        if len(piece) == 1:
            return ["worker died (machine-dependent)"]
        middle = len(piece) // 2
        return _again(pool, piece[:middle], *settings) + _again(pool, piece[middle:], *settings)
