"""Conformers of one molecule: drawn in any number, superposed, told apart, ordered by energy.

A conformer is a shape that a molecule reaches by turning about single bonds. Energies are those of
the force field in kcal/mol above the lowest of the same molecule; between molecules they mean
nothing, and nothing here compares them. Shapes are compared by heavy atoms, over all
symmetry-equivalent ways to lay one over the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from rdkit import Chem
from rdkit.Chem import rdMolAlign, rdMolDescriptors, rdMolTransforms
from rdkit.Numerics import rdAlignment

from ..errors import InputError
from ..shards import Shards
from ..units import EV_PER_KCAL_MOL
from .conformer import Conformer, make_conformer
from .failures import MoleculeError
from .parsing import with_coords

# Equivalent ways to lay a molecule over itself that are tried: phenyl has 2, tert-butyl 6, six CF3
# 46,656. Beyond this many an RMSD is an upper bound; with hydrogens, which are left out, a fatty
# acid alone would need millions.
MAX_MATCHES = 2_000
# Heavy-atom RMSD below which two relaxed geometries count as one conformer.
SAME_ANGSTROM = 0.5


@dataclass(frozen=True)
class Ensemble:
    """Conformers of one stereoisomer, lowest energy first.

    `mol` has all atoms and one RDKit conformer for each. `energies` are in kcal/mol above the
    lowest one, whose own number is `zero` (of use only to compare ensembles of the same molecule);
    `seeds` say how each was drawn: seed 0 is the one that curation stores. `failed` counts draws
    that gave no geometry, or none by this force field.
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
        """Index of the conformer that curation stores for this SMILES; None if it is not drawn."""
        indices = np.flatnonzero(self.seeds == 0)
        return int(indices[0]) if len(indices) else None

    def coords(self, index: int) -> np.ndarray:
        """Positions of all atoms of a conformer (Å)."""
        return self.mol.GetConformer(int(index)).GetPositions()


def stored_geometry(shards: Shards, index: int) -> Chem.Mol:
    """A molecule of a corpus, by its row, with all its atoms in the geometry that is stored."""
    mol = Chem.AddHs(Chem.MolFromSmiles(shards.smiles()[int(index)]))
    offset = shards.array("atom_offset")
    coords = shards.array("coords")[offset[index] : offset[index + 1]]
    return with_coords(mol, [np.asarray(coords, float)])


def make_ensemble(
    smiles: str, n: int = 50, seed: int = 0, relax: bool = True, isomer: bool = True
) -> Ensemble:
    """n conformers of a molecule with seeds `seed`, `seed` + 1, ...: ETKDGv3, then MMFF94.

    They are the same every time, in any spelling. With seed 0 the first is the geometry that
    curation stores. Where stereo is left open, all of them are the isomer that the first one is
    (`isomer=False`: each its own). Draws that fail are counted; raises
    chemistry.failures.MoleculeError when all do. Without `relax` energies are those of the
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
    conformers = {}
    failure = None
    for draw in range(seed, seed + n):
        try:
            conformer = make_conformer(smiles, seed=draw, relax=relax)
        except MoleculeError as error:
            failure = error
            continue
        if isomer and not conformers and conformer.smiles_3d != smiles:
            # Stereo was left open: start again with the isomer that the first draw became.
            return make_ensemble(conformer.smiles_3d, n, seed, relax, isomer=False)
        conformers[draw] = conformer
    if not conformers:
        raise failure
    # A draw that another force field had to relax cannot be compared with the rest.
    force_field = next(iter(conformers.values())).force_field
    conformers = {
        draw: conformer
        for draw, conformer in conformers.items()
        if conformer.force_field == force_field
    }
    return _by_energy(smiles, conformers, failed=n - len(conformers))


def _by_energy(smiles: str, conformers: Mapping[int, Conformer], failed: int) -> Ensemble:
    """An ensemble of drawn conformers (seed -> conformer), lowest energy first."""
    seeds = np.array(list(conformers))
    drawn = list(conformers.values())
    energies = np.array([conformer.energy for conformer in drawn]) / EV_PER_KCAL_MOL
    converged = np.array([conformer.converged for conformer in drawn])
    order = np.argsort(energies, kind="stable")
    complete = Chem.AddHs(Chem.MolFromSmiles(smiles))
    zero = energies.min()
    return Ensemble(
        smiles=smiles,
        mol=with_coords(complete, [drawn[i].coords for i in order]),
        energies=(energies - zero)[order].round(4),  # minimisers stop at about 1e-4 kcal/mol
        seeds=seeds[order],
        force_field=drawn[0].force_field,
        converged=converged[order],
        zero=float(zero),
        failed=failed,
    )


def heavy(mol: Chem.Mol) -> Chem.Mol:
    """The heavy atoms of a molecule with all its conformers.

    Stereo marks are gone, so that mirror images match.
    """
    skeleton = Chem.RemoveAllHs(Chem.Mol(mol), sanitize=False)
    Chem.RemoveStereochemistry(skeleton)
    Chem.FastFindRings(skeleton)
    return skeleton


def rmsd_matrix(ensemble: Ensemble) -> np.ndarray:
    """RMSD (Å) of every conformer to every other after best superposition.

    Of heavy atoms, over all symmetry-equivalent assignments.
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
    """RMSD (Å) of two geometries of the same constitution after best superposition.

    Of heavy atoms, over all symmetry-equivalent assignments; `mirror` reflects the first.
    """
    rmsd, _, _ = best_alignment(mol, other, index, other_index, mirror)
    return rmsd


def best_alignment(
    moving: Chem.Mol, fixed: Chem.Mol, index: int = 0, fixed_index: int = 0, mirror: bool = False
) -> tuple[float, np.ndarray, Sequence[tuple[int, int]]]:
    """The best superposition of two geometries: RMSD (Å), 4x4 transform of the first, atom pairs.

    Of heavy atoms, over all symmetry-equivalent assignments. Raises InputError where they are not
    of one constitution.
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
    """Coordinates moved onto others of the same atoms in the same order, by least squares.

    Only turned and shifted: a mirror image stays one.
    """
    moving = np.asarray(moving, float)
    fixed = np.asarray(fixed, float)
    _, turn = rdAlignment.GetAlignmentTransform(fixed, moving)
    return moving @ turn[:3, :3].T + turn[:3, 3]


def overlaid(ensemble: Ensemble, onto: int = 0) -> tuple[Ensemble, np.ndarray]:
    """The conformers laid over one of them, hydrogens too, and the RMSD (Å) of each to it."""
    skeleton = heavy(ensemble.mol)  # once, not in every turn of the loop
    coords = []
    rmsds = []
    for index in range(len(ensemble)):
        rmsd, turn, _ = best_alignment(skeleton, skeleton, index, onto)
        coords.append(ensemble.coords(index) @ turn[:3, :3].T + turn[:3, 3])
        rmsds.append(rmsd)
    return replace(ensemble, mol=with_coords(ensemble.mol, coords)), np.array(rmsds)


def distinct(matrix: np.ndarray, angstrom: float = SAME_ANGSTROM) -> np.ndarray:
    """The representative of each conformer: itself, or an earlier one within `angstrom`.

    In order of the matrix (by energy, so the lowest of a group represents it): what is near no
    earlier representative becomes one. Number of different conformers:
    ``len(set(distinct(matrix)))``.
    """
    representatives: list[int] = []
    owner = np.empty(len(matrix), int)
    for index, row in enumerate(matrix):
        near = [other for other in representatives if row[other] < angstrom]
        if near:
            owner[index] = min(near, key=lambda other: row[other])
        else:
            representatives.append(index)
            owner[index] = index
    return owner


def discovery(
    ensemble: Ensemble, matrix: np.ndarray, angstrom: float = SAME_ANGSTROM
) -> pd.DataFrame:
    """Distinct conformers and the lowest energy of the first 1, 2, 3, ... draws, a row each.

    Columns: draws, distinct, lowest_kcal_mol (above the lowest of all draws).
    """
    order = np.argsort(ensemble.seeds)
    rows = []
    for n in range(1, len(order) + 1):
        drawn = np.sort(order[:n])  # by energy again
        representatives = distinct(matrix[np.ix_(drawn, drawn)], angstrom)
        rows.append(
            {
                "draws": n,
                "distinct": len(set(representatives)),
                "lowest_kcal_mol": float(ensemble.energies[drawn].min()),
            }
        )
    return pd.DataFrame(rows)


def n_rotatable(smiles: str) -> int:
    """Number of single bonds about which a molecule can turn (RDKit's strict definition)."""
    return rdMolDescriptors.CalcNumRotatableBonds(Chem.MolFromSmiles(smiles))


def torsion(ensemble: Ensemble, atoms: Sequence[int]) -> np.ndarray:
    """The torsion angle (degrees, -180 to 180) about the middle two of four atoms, by conformer."""
    n = ensemble.mol.GetNumAtoms()
    if len(set(atoms)) != 4 or not set(atoms) <= set(range(n)):
        raise InputError(
            f"atoms {list(atoms)}: give four different atoms of {ensemble.smiles}, "
            f"numbered 0 to {n - 1}"
        )
    four = [int(i) for i in atoms]
    conformers = ensemble.mol.GetConformers()
    return np.array([rdMolTransforms.GetDihedralDeg(x, *four) for x in conformers])
