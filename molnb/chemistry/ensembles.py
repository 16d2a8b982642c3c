"""Conformers of one molecule: made in any number, laid over each other, told apart, ordered by
energy.

A conformer is a shape that a molecule reaches by turning about single bonds. Energies are those of
the force field in kcal/mol above the lowest of the same molecule; between molecules they mean
nothing, and nothing here compares them. Shapes are compared by heavy atoms, over all
symmetry-equivalent ways to lay one over the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolAlign, rdMolDescriptors, rdMolTransforms
from rdkit.Numerics import rdAlignment

from ..errors import InputError
from ..shards import Shards
from .conformer import EV_PER_KCAL_MOL, make_conformer
from .failures import MoleculeError

# Equivalent ways to lay a molecule over itself that are tried: phenyl has 2, tert-butyl 6, six CF3
# 46,656. Beyond this many an RMSD is an upper bound; with hydrogens, which are left out, a fatty
# acid alone would need millions.
MAX_MATCHES = 2_000
SAME_ANGSTROM = (
    0.5  # heavy-atom RMSD below which two relaxed geometries count as one conformer here
)


@dataclass(frozen=True)
class Ensemble:
    """Conformers of one stereoisomer, lowest energy first: `mol` has all atoms and one RDKit
    conformer for each.

    `energies` are in kcal/mol above the lowest one here, whose own number is `zero` (of use only to
    compare ensembles of the same molecule); `seeds` say how each was drawn: seed 0 is the stored
    one.
    """

    smiles: str
    mol: Chem.Mol
    energies: np.ndarray
    seeds: np.ndarray
    force_field: str
    converged: np.ndarray
    zero: float
    failed: int = 0

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def stored(self) -> int | None:
        """Place of the conformer that curation stores for this SMILES; None where it is not
        among them.
        """
        found = np.flatnonzero(self.seeds == 0)
        return int(found[0]) if len(found) else None

    def coords(self, index: int) -> np.ndarray:
        """Positions of all atoms of a conformer (Å)."""
        return self.mol.GetConformer(int(index)).GetPositions()

    def subset(self, indices: Sequence[int]) -> Ensemble:
        """Some of the conformers, in this order; energies keep their zero."""
        kept = [int(i) for i in indices]
        arrays = {name: getattr(self, name)[kept] for name in ("energies", "seeds", "converged")}
        return replace(self, mol=with_coords(self.mol, [self.coords(i) for i in kept]), **arrays)


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


def stored_geometry(shards: Shards, index: int) -> Chem.Mol:
    """A molecule of a corpus with all its atoms in the geometry that is stored; `index` is its
    place in the corpus.
    """
    mol = Chem.AddHs(Chem.MolFromSmiles(shards.smiles()[int(index)]))
    offset = shards.array("atom_offset")
    coords = shards.array("coords")[offset[index] : offset[index + 1]]
    return with_coords(mol, [np.asarray(coords, float)])


def make_ensemble(
    smiles: str, n: int = 50, seed: int = 0, relax: bool = True, isomer: bool = True
) -> Ensemble:
    """Draw n conformers with seeds `seed`, `seed` + 1, ...: the same ones every time, ETKDGv3 and
    then MMFF94.

    With seed 0 the first is the geometry that curation stores. Where stereo is left open, all of
    them are the isomer that the first one is (`isomer=False`: each its own). Draws that fail are
    counted; raises chemistry.Failure when all do. Without `relax` energies are those of the
    unrelaxed geometries.
    """
    if n < 1:
        raise InputError(f"{n} conformers asked for: give a number of at least 1")
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise InputError(
            f"RDKit cannot read the SMILES {smiles!r}: check it, or draw the molecule anew"
        )
    smiles = Chem.MolToSmiles(mol)
    found, failure = [], None
    for number in range(seed, seed + n):
        try:
            one = make_conformer(smiles, seed=number, relax=relax)
        except MoleculeError as error:
            failure = error
            continue
        if isomer and not found and one.smiles_3d != smiles:
            return make_ensemble(one.smiles_3d, n, seed, relax, isomer=False)
        found.append((number, one))
    if not found:
        raise failure
    return _ordered(smiles, found, failed=n - len(found))


def _ordered(smiles: str, found: list, failed: int) -> Ensemble:
    """Drawn conformers by energy."""
    energies = np.array([one.energy for _, one in found]) / EV_PER_KCAL_MOL
    order = np.argsort(energies, kind="stable")
    complete = Chem.AddHs(Chem.MolFromSmiles(smiles))
    return Ensemble(
        smiles,
        with_coords(complete, [found[i][1].coords for i in order]),
        (energies - energies.min())[order].round(4),  # minimisers stop at about 1e-4 kcal/mol
        np.array([found[i][0] for i in order]),
        found[0][1].force_field,
        np.array([found[i][1].converged for i in order]),
        float(energies.min()),
        failed,
    )


def heavy(mol: Chem.Mol) -> Chem.Mol:
    """The heavy atoms of a molecule with all its conformers; stereo marks are gone, so that
    mirror images match.
    """
    seen = Chem.RemoveAllHs(Chem.Mol(mol), sanitize=False)
    Chem.RemoveStereochemistry(seen)
    Chem.FastFindRings(seen)
    return seen


def rmsd_matrix(ensemble: Ensemble) -> np.ndarray:
    """RMSD of every conformer to every other after best superposition (Å): heavy atoms,
    symmetry-aware.
    """
    n = len(ensemble)
    matrix = np.zeros((n, n))
    if n > 1:
        matrix[np.tril_indices(n, -1)] = rdMolAlign.GetAllConformerBestRMS(
            heavy(ensemble.mol), maxMatches=MAX_MATCHES
        )
    return matrix + matrix.T


def best_rmsd(
    mol: Chem.Mol, other: Chem.Mol, index: int = 0, other_index: int = 0, mirror: bool = False
) -> float:
    """RMSD of two geometries of the same constitution (Å): heavy atoms, symmetry-aware; `mirror`
    reflects the first.
    """
    return best_alignment(mol, other, index, other_index, mirror)[0]


def best_alignment(
    moving: Chem.Mol, fixed: Chem.Mol, index: int = 0, fixed_index: int = 0, mirror: bool = False
):
    """RMSD (Å), 4x4 transform of the first, and pairs of atoms, of the best superposition over
    all symmetries.
    """
    try:
        return rdMolAlign.GetBestAlignmentTransform(
            heavy(moving),
            heavy(fixed),
            prbCid=int(index),
            refCid=int(fixed_index),
            maxMatches=MAX_MATCHES,
            reflect=mirror,
        )
    except RuntimeError as error:
        raise InputError(
            f"these two cannot be laid over each other ({error}): give geometries of one molecule"
        ) from None


def superposed(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Coordinates laid over others of the same atoms in the same order: least squares, a mirror
    image stays one.
    """
    moving, fixed = (np.asarray(one, float) for one in (moving, fixed))
    _, turn = rdAlignment.GetAlignmentTransform(fixed, moving)
    return moving @ turn[:3, :3].T + turn[:3, 3]


def overlaid(ensemble: Ensemble, onto: int = 0) -> tuple[Ensemble, np.ndarray]:
    """The conformers laid over one of them, and the RMSD of each to it (Å); hydrogens move
    along.
    """
    seen, placed, rmsds = heavy(ensemble.mol), [], []  # once, not in every turn of the loop
    for index in range(len(ensemble)):
        rmsd, turn, _ = best_alignment(seen, seen, index, onto)
        placed.append(ensemble.coords(index) @ turn[:3, :3].T + turn[:3, 3])
        rmsds.append(rmsd)
    return replace(ensemble, mol=with_coords(ensemble.mol, placed)), np.array(rmsds)


def distinct(matrix: np.ndarray, angstrom: float = SAME_ANGSTROM) -> np.ndarray:
    """Which conformer stands for each: itself, or an earlier one within `angstrom`.

    In order of the matrix (by energy, so the lowest of a group stands for it): what is near no
    earlier representative becomes one. Number of different conformers:
    ``len(set(distinct(matrix)))``.
    """
    chosen: list[int] = []
    owner = np.empty(len(matrix), int)
    for index, row in enumerate(matrix):
        near = [one for one in chosen if row[one] < angstrom]
        owner[index] = min(near, key=lambda one: row[one]) if near else index
        if not near:
            chosen.append(index)
    return owner


def discovery(
    ensemble: Ensemble, matrix: np.ndarray, angstrom: float = SAME_ANGSTROM
) -> list[dict[str, float]]:
    """What the first 1, 2, 3, ... draws had found: distinct conformers, and the lowest energy so far.

    Energies are in kcal/mol above the lowest of all draws.
    """
    order = np.argsort(ensemble.seeds)
    rows = []
    for n in range(1, len(order) + 1):
        drawn = np.sort(order[:n])  # by energy again
        kinds = len(set(distinct(matrix[np.ix_(drawn, drawn)], angstrom)))
        rows.append(
            {
                "draws": n,
                "distinct": kinds,
                "lowest_kcal_mol": float(ensemble.energies[drawn].min()),
            }
        )
    return rows


def n_rotatable(smiles: str) -> int:
    """Single bonds about which a molecule can turn into another shape (RDKit's strict
    definition).
    """
    return rdMolDescriptors.CalcNumRotatableBonds(Chem.MolFromSmiles(smiles))


def torsion(ensemble: Ensemble, atoms: Sequence[int]) -> np.ndarray:
    """The torsion angle (degrees, -180 to 180) about the middle two of four atoms, in each
    conformer.
    """
    if len(set(atoms)) != 4 or not set(atoms) <= set(range(ensemble.mol.GetNumAtoms())):
        n = ensemble.mol.GetNumAtoms()
        raise InputError(
            f"atoms {list(atoms)}: give four different atoms of {ensemble.smiles}, numbered 0 to {n - 1}"
        )
    four = [int(i) for i in atoms]
    return np.array(
        [rdMolTransforms.GetDihedralDeg(c, *four) for c in ensemble.mol.GetConformers()]
    )
