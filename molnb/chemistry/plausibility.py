"""Whether coordinates can be a molecule in space: bond lengths, near misses, centres in a plane.

The bounds were set beside 30,000 QM9 geometries and 2,000 of PCQM4Mv2 (both B3LYP) and 3,100
conformers made here of nci, wehi, Tox21 and QM9; the extremes seen there stand at each of them.
Lengths are compared with the sum of two covalent radii (Cordero et al., Dalton Trans. 2832 (2008),
as RDKit has them).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from rdkit import Chem

from ..shapes import Float
from .failures import MoleculeError
from .parsing import atoms

UNREASONABLE = "unreasonable geometry"
CLASH_ANGSTROM = 0.5  # no two nuclei of a real molecule are closer (H2: 0.74)
# A bond, over the sum of the covalent radii. Seen: 0.78 (a nitrile) to 1.28 (a long N-O); F2 has
# 1.24, H2 1.19.
SHORTEST_BOND = 0.70
LONGEST_BOND = 1.35
# Force fields stretch no bond so far. Seen: 1.13, 1.15 in tetra-tert-butylmethane, 1.17 in a
# four-membered cumulene; in camphor with its bridge inside out, which cannot be, 1.31.
LONGEST_RELAXED_BOND = 1.25
# Two atoms without a bond, likewise. Seen: 1.15, in a cage of three- and four-membered rings.
SHORTEST_CONTACT = 1.05
# Six times the volume between the four directions from a tetrahedral centre to its neighbours: 3.08
# in methane. Seen: 1.79 and more, in cages of three- and four-membered rings. A centre that a
# force field half turned over has less.
LEAST_SPREAD = 1.3
# Energy an atom of a force field, in eV, to either side. Seen: -1.4 (pyrophosphate, its charges)
# to 0.7 (C60, its strain). Bonds are worth 2 to 4 eV an atom: at 5 there would be no molecule.
MOST_ENERGY_EV = 5.0
# Distance from the best plane. A tetrahedral centre and its four neighbours (root mean square)
# are seen at 0.38 Å and more, a centre over three neighbours at 0.28, a drawing at 0.
FLAT_CENTRE_ANGSTROM = 0.1
# Largest distance of a ring atom. Seen in the rings that `_flat_rings` looks at: 0.157 and more.
FLAT_RING_ANGSTROM = 0.05
# A ring atom's neighbour this far off tells the sides of the ring: a flat pentagon of a cage, or
# the six-membered ring of its epoxides, is no drawing.
OUT_OF_PLANE_ANGSTROM = 0.5

SP3 = Chem.HybridizationType.SP3
# Elements that are tetrahedral with four neighbours (B, C, N, Si, P, S, Ge, As, Se); metals and
# xenon may be square planar.
TETRAHEDRAL_ELEMENTS = (5, 6, 7, 14, 15, 16, 32, 33, 34)
RING_ELEMENTS = (6, 7, 8, 16)  # (SiO)3 and its like are flat


@functools.cache
def covalent_radius(number: int) -> float:
    """Covalent radius (Å) of an element by its atomic number."""
    return Chem.GetPeriodicTable().GetRcovalent(number)


def checked_coords(coords: Float[np.ndarray, "atom xyz"], reason: str) -> np.ndarray:
    """Coordinates (Å) as they are; raises MoleculeError of this reason where they are no geometry.

    That is where they are not finite, or two nuclei coincide.
    """
    squared = np.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
    np.fill_diagonal(squared, np.inf)
    if not np.isfinite(coords).all() or squared.min(initial=np.inf) < CLASH_ANGSTROM**2:
        raise MoleculeError(reason, "coordinates are not finite, or two atoms coincide")
    return coords


def check_geometry(
    mol: Chem.Mol,
    coords: Float[np.ndarray, "atom xyz"],
    flat_reason: str = UNREASONABLE,
    longest_bond: float = LONGEST_BOND,
    computed: bool = False,
) -> None:
    """Raise MoleculeError where coordinates (Å) of all atoms of a molecule cannot be a molecule.

    Hydrogens may be atoms, or implicit and without coordinates. Of a molecule drawn in the plane
    the reason is `flat_reason`; `longest_bond` is in sums of the covalent radii. Of a geometry that
    quantum chemistry has `computed` a centre may have its neighbours on one side: of 128,744 of QM9
    one has, in a fenestrane.
    """
    for finding in (*_flat_centres(mol, coords), *_flat_rings(mol, coords)):
        raise MoleculeError(flat_reason, f"{finding}: it is a drawing in the plane")
    _check_distances(mol, coords, longest_bond)
    if not computed:
        _check_spread(mol, coords)


def check_energy(energy_ev: float, n_atom: int) -> None:
    """Raise MoleculeError where a force field's energy (eV) is none of a molecule of n atoms."""
    per_atom = energy_ev / n_atom
    if not abs(per_atom) <= MOST_ENERGY_EV:  # nan as well
        raise MoleculeError(
            UNREASONABLE, f"{per_atom:.3g} eV an atom, limit {MOST_ENERGY_EV:g} either way"
        )


def _name(mol: Chem.Mol, index: int) -> str:
    return f"{mol.GetAtomWithIdx(int(index)).GetSymbol()}{index}"


def _check_distances(mol: Chem.Mol, coords: np.ndarray, longest_bond: float) -> None:
    """Raise MoleculeError for a bond too short or too long, or atoms too close without a bond."""
    radii = np.array([covalent_radius(atom.GetAtomicNum()) for atom in atoms(mol)])
    distances = np.linalg.norm(coords[:, None] - coords[None], axis=-1)
    ratios = distances / (radii[:, None] + radii[None])
    bonded = Chem.GetAdjacencyMatrix(mol).astype(bool)
    apart = ~bonded
    np.fill_diagonal(apart, False)
    wrong = (
        ("bond", "shorter than", SHORTEST_BOND, bonded & (ratios < SHORTEST_BOND)),
        ("bond", "longer than", longest_bond, bonded & (ratios > longest_bond)),
        ("no bond", "closer than", SHORTEST_CONTACT, apart & (ratios < SHORTEST_CONTACT)),
    )
    for kind, relation, limit, where in wrong:
        for i, j in np.argwhere(where)[:1]:
            raise MoleculeError(
                UNREASONABLE,
                f"{kind} {_name(mol, i)}-{_name(mol, j)} of {distances[i, j]:.2f} Å, {relation} "
                f"{limit:g} times the covalent radii ({limit * (radii[i] + radii[j]):.2f} Å)",
            )


def _check_spread(mol: Chem.Mol, coords: np.ndarray) -> None:
    """Raise MoleculeError for a tetrahedral centre whose neighbours crowd on one side of it."""
    for atom in atoms(mol):
        if atom.GetHybridization() != SP3 or atom.GetAtomicNum() not in TETRAHEDRAL_ELEMENTS:
            continue
        neighbours = [n.GetIdx() for n in atom.GetNeighbors()]
        if len(neighbours) != 4:
            continue
        rays = coords[neighbours] - coords[atom.GetIdx()]
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        spread = abs(np.linalg.det(rays[1:] - rays[0]))
        if spread < LEAST_SPREAD:
            raise MoleculeError(
                UNREASONABLE,
                f"the four neighbours of {_name(mol, atom.GetIdx())} crowd on one side of it: "
                f"they span {spread:.2f}, at least {LEAST_SPREAD:g} of a tetrahedron's 3.08",
            )


def _flat_centres(mol: Chem.Mol, coords: np.ndarray) -> Iterator[str]:
    """Every tetrahedral centre that lies in one plane with three or four neighbours.

    With three of the four where the last is a hydrogen: one that was added to a drawing stands
    upright on it.
    """
    for atom in atoms(mol):
        if atom.GetHybridization() != SP3:
            continue
        neighbours = [n.GetIdx() for n in atom.GetNeighbors()]
        heavy = [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() != 1]
        if len(neighbours) == 4 and atom.GetAtomicNum() in TETRAHEDRAL_ELEMENTS:
            off_plane = _off_plane(coords[[atom.GetIdx(), *neighbours]])
            angstrom = float(np.sqrt(np.mean(off_plane**2)))
            if angstrom >= FLAT_CENTRE_ANGSTROM and len(heavy) == 3 and not _in_cage(mol, atom):
                neighbours = heavy
                angstrom = _height(coords[atom.GetIdx()], coords[heavy])
        elif len(neighbours) == 3 and _is_pyramid(mol, atom):
            angstrom = _height(coords[atom.GetIdx()], coords[neighbours])
        else:
            continue
        if angstrom < FLAT_CENTRE_ANGSTROM:
            yield (
                f"{_name(mol, atom.GetIdx())} and its {len(neighbours)} neighbours lie in one "
                f"plane ({angstrom:.2f} Å off it, a tetrahedral centre over "
                f"{FLAT_CENTRE_ANGSTROM:g})"
            )


def _in_cage(mol: Chem.Mol, atom: Chem.Atom) -> bool:
    """Whether an atom is part of several rings, which may spread its neighbours flat."""
    return mol.GetRingInfo().NumAtomRings(atom.GetIdx()) > 1


def _is_pyramid(mol: Chem.Mol, atom: Chem.Atom) -> bool:
    """Whether an sp3 atom cannot lie in the plane of the three neighbours it has."""
    number = atom.GetAtomicNum()
    in_cage = _in_cage(mol, atom)
    if atom.GetTotalDegree() == 4:  # the fourth is a hydrogen without coordinates
        # At a bridgehead the three others may be spread flat; a drawing shows in its rings.
        return number in TETRAHEDRAL_ELEMENTS and not in_cage
    if number in (15, 33):  # phosphines
        return atom.GetTotalValence() == 3
    if number in (16, 34):  # sulfoxides and sulfonium
        return atom.GetTotalValence() + atom.GetFormalCharge() == 4
    # Amines: not beside atoms that take up the lone pair, nor where a cage presses them flat.
    return (
        number == 7
        and not in_cage
        and all(
            n.GetAtomicNum() == 1
            or (n.GetAtomicNum() == 6 and n.GetHybridization() == SP3 and n.GetFormalCharge() == 0)
            for n in atom.GetNeighbors()
        )
    )


def _flat_rings(mol: Chem.Mol, coords: np.ndarray) -> Iterator[str]:
    """Every ring that lies in a plane though its sp3 atoms would pucker it.

    Five-membered rings that are saturated, larger ones with two sp3 carbons side by side.
    """
    info = mol.GetRingInfo()
    for ring in info.AtomRings():
        if not _puckers(mol, ring):
            continue
        centre, normal = _plane(coords[list(ring)])
        angstrom = np.abs((coords[list(ring)] - centre) @ normal).max()
        if angstrom >= FLAT_RING_ANGSTROM:
            continue
        fused = any(info.NumAtomRings(index) > 1 for index in ring)
        around = [
            n.GetIdx()
            for index in ring
            for n in mol.GetAtomWithIdx(index).GetNeighbors()
            if n.GetIdx() not in ring and n.GetAtomicNum() != 1
        ]
        sideways = np.abs((coords[around] - centre) @ normal).max(initial=0)
        if not fused or sideways < OUT_OF_PLANE_ANGSTROM:
            names = "-".join(_name(mol, index) for index in ring)
            yield f"the ring {names} lies in one plane ({angstrom:.2f} Å off it)"


def _puckers(mol: Chem.Mol, ring: tuple[int, ...]) -> bool:
    """Whether a ring cannot be flat unless it is part of a cage."""
    members = [mol.GetAtomWithIdx(index) for index in ring]
    sp3 = [atom.GetHybridization() == SP3 for atom in members]
    if len(ring) == 5:
        return all(sp3) and all(atom.GetAtomicNum() in RING_ELEMENTS for atom in members)
    sp3_carbon = [
        flag and atom.GetAtomicNum() == 6 for flag, atom in zip(sp3, members, strict=True)
    ]
    beside = [*sp3_carbon[1:], sp3_carbon[0]]
    return len(ring) > 5 and any(
        left and right for left, right in zip(sp3_carbon, beside, strict=True)
    )


def _plane(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centroid and normal of the plane that fits points best."""
    centre = points.mean(axis=0)
    return centre, np.linalg.svd(points - centre)[2][2]


def _off_plane(points: np.ndarray) -> np.ndarray:
    centre, normal = _plane(points)
    return (points - centre) @ normal


def _height(apex: np.ndarray, base: np.ndarray) -> float:
    """Distance of a point from the plane through three others; of points in a line 0."""
    normal = np.cross(base[1] - base[0], base[2] - base[0])
    length = np.linalg.norm(normal)
    return float(abs((apex - base[0]) @ normal) / length) if length > 0 else 0.0
