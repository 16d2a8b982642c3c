"""Molecules made ready for an encoder: standardized, featurized, with one geometry.

A molecule is treated as in curation (neutral parent, canonical SMILES, one conformer seeded by it),
so any spelling and any numbering of its atoms gives the same result. What cannot be used becomes
the text of its error. Many molecules go in chunks, on many processes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem

from ..chemistry.conformer import make_conformer
from ..chemistry.failures import MoleculeError, guarded
from ..chemistry.features import molecule_arrays
from ..chemistry.parsing import numbered, parse_smiles
from ..chemistry.plausibility import check_geometry, checked_coords
from ..chemistry.standardization import StandardizedMolecule, standardize
from ..data.batch import MolBatch
from ..errors import InputError
from ..processes import Pool
from ..shapes import Float, Int

CONFORMERS = ("new", "given")
MAX_HEAVY_ATOMS = 64
CHUNK = 512  # rows featurized and answered together
_PIECE = 64  # rows that a worker featurizes in one call
_CHUNKS_AHEAD = 2

# A MoleculeError is a row that could not even be read.
MoleculeInput = str | Chem.Mol | MoleculeError | None

# Arrays of a molecule by what they belong to; of atoms and bonds the heavy ones come first.
_ATOM_ARRAYS = ("numbers", "atom_feats")
_BOND_ARRAYS = ("bonds", "bond_feats")


class FeaturizedMolecule(NamedTuple):
    """A molecule ready for an encoder.

    `input_position` is each canonical atom's number among the `n_input` heavy atoms of the input;
    `arrays` are those of `chemistry.features.molecule_arrays`; `coords` (Å) may lack the hydrogens.
    """

    smiles: str
    input_position: Int[np.ndarray, " heavy"]
    n_input: int
    arrays: dict
    coords: Float[np.ndarray, "atom 3"]

    @property
    def n_heavy(self) -> int:
        return self.arrays["n_heavy"]


def featurize(
    molecule: MoleculeInput,
    max_heavy_atoms: int = MAX_HEAVY_ATOMS,
    conformer: str = "new",
    metals: str = "drop",
) -> FeaturizedMolecule:
    """Standardize and embed one molecule; raises MoleculeError with its step and reason.

    A SMILES or an RDKit molecule gets the conformer that curation would give it. With
    ``conformer="given"`` an RDKit molecule keeps the coordinates of its first conformer, which must
    be 3D; its stereo is taken as drawn, and not compared with them. Hydrogens then have coordinates
    only if they all stand in the molecule. `metals` is as in a recipe.
    """
    mol = _as_mol(molecule)
    n_heavy_before = np.cumsum([atom.GetAtomicNum() != 1 for atom in mol.GetAtoms()])
    standard = standardize(mol, max_heavy_atoms, metals)
    arrays = molecule_arrays(standard.mol)
    if conformer == "given":
        coords = _given_coords(mol, standard, arrays)
    else:
        coords = make_conformer(standard.smiles).coords
    return FeaturizedMolecule(
        smiles=standard.smiles,
        input_position=n_heavy_before[np.asarray(standard.order)] - 1,
        n_input=int(n_heavy_before[-1]),
        arrays=arrays,
        coords=np.asarray(coords, np.float32),
    )


def _as_mol(molecule: MoleculeInput) -> Chem.Mol:
    """The RDKit molecule of an input, each atom knowing its index."""
    if isinstance(molecule, MoleculeError):
        raise molecule
    if isinstance(molecule, Chem.Mol):
        return _sanitized(molecule)
    if molecule is None or isinstance(molecule, str):
        return parse_smiles(molecule or "")
    raise MoleculeError(
        "unreadable structure", f"neither a SMILES nor an RDKit molecule: {molecule!r:.80}"
    )


@guarded("sanitisation failed")
def _sanitized(mol: Chem.Mol) -> Chem.Mol:
    copy = Chem.Mol(mol)
    Chem.SanitizeMol(copy)
    return numbered(copy)


def _given_coords(
    mol: Chem.Mol, standard: StandardizedMolecule, arrays: Mapping
) -> Float[np.ndarray, "atom 3"]:
    """Coordinates (Å, centred) that a molecule came with, in canonical order.

    Those of all atoms if its hydrogens are there, else of heavy ones. Raises MoleculeError where
    they are a drawing in the plane, whatever they are called, or cannot be a molecule.
    """
    if not mol.GetNumConformers():
        raise MoleculeError("no 3D coordinates", "the molecule has no conformer")
    conformer = mol.GetConformer()
    if not conformer.Is3D():
        raise MoleculeError("no 3D coordinates", "its conformer is a drawing in two dimensions")
    positions = checked_coords(conformer.GetPositions(), "no 3D coordinates")
    order = np.asarray(standard.order, int)
    coords = positions[order]
    hydrogens = [_hydrogens_of(mol.GetAtomWithIdx(int(index))) for index in order]
    owners = arrays["parent"][arrays["n_heavy"] :]
    n_expected = np.bincount(owners, minlength=len(order)).tolist()
    if [len(indices) for indices in hydrogens] == n_expected:
        of_hydrogens = positions[list(itertools.chain(*hydrogens))].reshape(-1, 3)
        coords = np.concatenate([coords, of_hydrogens])
    with_coords = standard.mol if len(coords) == len(order) else Chem.AddHs(standard.mol)
    check_geometry(with_coords, coords, flat_reason="no 3D coordinates")
    return coords - coords.mean(axis=0)


def _hydrogens_of(atom: Chem.Atom) -> list[int]:
    return [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1]


def featurize_all(
    molecules: Sequence[MoleculeInput],
    max_heavy_atoms: int = MAX_HEAVY_ATOMS,
    conformer: str = "new",
    metals: str = "drop",
) -> list[FeaturizedMolecule | str]:
    """`featurize` for a list; what fails is its error message."""
    featurized: list[FeaturizedMolecule | str] = []
    for molecule in molecules:
        try:
            featurized.append(featurize(molecule, max_heavy_atoms, conformer, metals))
        except MoleculeError as error:
            featurized.append(str(error))
    return featurized


def flat_batch(molecules: Sequence[FeaturizedMolecule], hydrogens: bool) -> MolBatch:
    """Featurized molecules as one flat batch, with hydrogens if the model sees them."""

    if hydrogens:
        n_atoms = [len(molecule.arrays["numbers"]) for molecule in molecules]
        n_bonds = [len(molecule.arrays["bonds"]) for molecule in molecules]
    else:
        n_atoms = [molecule.n_heavy for molecule in molecules]
        n_bonds = [molecule.arrays["n_heavy_bonds"] for molecule in molecules]

    def joined(arrays: list[np.ndarray], sizes: list[int]) -> torch.Tensor:
        """The first rows of each molecule's array, of all molecules in a row."""
        pieces = [array[:size] for array, size in zip(arrays, sizes, strict=True)]
        return torch.from_numpy(np.concatenate(pieces))

    atom = {
        name: joined([molecule.arrays[name] for molecule in molecules], n_atoms)
        for name in _ATOM_ARRAYS
    }
    atom["coords"] = joined([molecule.coords for molecule in molecules], n_atoms)
    bond = {
        name: joined([molecule.arrays[name] for molecule in molecules], n_bonds)
        for name in _BOND_ARRAYS
    }
    bond["bonds"] = bond["bonds"].to(torch.int64)
    per_molecule = {
        "ids": torch.arange(len(molecules)),
        "n_atoms": torch.tensor(n_atoms),
        "n_bonds": torch.tensor(n_bonds),
    }
    return MolBatch(per_molecule, atom, bond, labels={}, longest=max(n_atoms))


class FeaturizedChunk(NamedTuple):
    """Some input molecules, and what became of each."""

    molecules: list[MoleculeInput]
    featurized: list[FeaturizedMolecule | str]


def check_conformer(conformer: str) -> None:
    """Raise InputError for a source of coordinates that does not exist."""
    if conformer not in CONFORMERS:
        raise InputError(f"unknown conformer {conformer!r}: choose one of {', '.join(CONFORMERS)}")


def featurize_chunks(
    molecules: Iterable[MoleculeInput],
    workers: int = 0,
    conformer: str = "new",
    max_heavy_atoms: int = MAX_HEAVY_ATOMS,
    metals: str = "drop",
) -> Iterator[FeaturizedChunk]:
    """Chunks of input and what became of it, in order; a few chunks are under way at a time.

    `workers` processes featurize them; 0 does it here.
    """
    check_conformer(conformer)
    work = functools.partial(
        featurize_all, max_heavy_atoms=max_heavy_atoms, conformer=conformer, metals=metals
    )
    source = iter(molecules)
    chunks = iter(lambda: list(itertools.islice(source, CHUNK)), [])
    if workers == 0:
        for chunk in chunks:
            yield FeaturizedChunk(chunk, work(chunk))
        return
    first = next(chunks, [])
    if len(first) < CHUNK:  # that is all: more processes than pieces would start for nothing
        workers = min(workers, max(1, math.ceil(len(first) / _PIECE)))
    with Pool(workers) as pool:
        under_way: list[_UnderWay] = []
        for chunk in itertools.chain([first], chunks):
            under_way.append(_begin(pool, chunk, work))
            if len(under_way) > _CHUNKS_AHEAD:
                yield _collect(pool, under_way.pop(0))
        for started in under_way:
            yield _collect(pool, started)


class _UnderWay(NamedTuple):
    """A chunk in the hands of workers, in pieces."""

    chunk: list[MoleculeInput]
    pieces: list[list[MoleculeInput]]
    futures: list[Future]
    work: Callable[[list[MoleculeInput]], list[FeaturizedMolecule | str]]


def _begin(pool: Pool, chunk: list[MoleculeInput], work: Callable) -> _UnderWay:
    """Hand a chunk to the workers."""
    pieces = [chunk[start : start + _PIECE] for start in range(0, len(chunk), _PIECE)]
    return _UnderWay(chunk, pieces, [pool.submit(work, piece) for piece in pieces], work)


def _collect(pool: Pool, started: _UnderWay) -> FeaturizedChunk:
    """What the workers made of a chunk, once all of its pieces are done."""
    featurized: list[FeaturizedMolecule | str] = []
    for piece, future in zip(started.pieces, started.futures, strict=True):
        try:
            featurized += future.result()
        except BrokenExecutor:  # RDKit took a worker with it, and with it whatever was under way
            featurized += _retry(pool, piece, started.work)
    return FeaturizedChunk(started.chunk, featurized)


def _retry(
    pool: Pool, piece: list[MoleculeInput], work: Callable
) -> list[FeaturizedMolecule | str]:
    """A piece whose worker died, once more with nothing beside it; halved to find the one row."""
    pool.restart()
    try:
        return pool.submit(work, piece).result()
    except BrokenExecutor:
        if len(piece) == 1:
            return ["worker died (machine-dependent)"]
        middle = len(piece) // 2
        return [
            *_retry(pool, piece[:middle], work),
            *_retry(pool, piece[middle:], work),
        ]
