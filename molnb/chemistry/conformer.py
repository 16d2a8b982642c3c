"""One relaxed 3D geometry of a molecule, the same for any spelling of it.

What fails raises ``MoleculeError`` with a reason from a short fixed list. RDKit's own log is
silenced only while a function runs. Everything is single threaded: curation is parallel over
molecules.
"""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ..shapes import Float, Int
from ..units import EV_PER_KCAL_MOL
from .failures import MoleculeError, guarded
from .isomers import read_back
from .parsing import INPUT_INDEX, atoms, numbered
from .plausibility import (
    LONGEST_RELAXED_BOND,
    check_energy,
    check_geometry,
    checked_coords,
)
from .standardization import fixed_point

MAX_ITERATIONS = 5000  # of the minimiser; the share of molecules that needs more is reported
MAX_TRIALS = 50  # distance geometry trials in one attempt
LARGE = 60  # atoms; a trial takes 0.02 s at 50 atoms, 0.3 s at 140
TIMEOUT_SECONDS = 60  # backstop far above what MAX_TRIALS take
ETKDG = "ETKDGv3"
DISTANCES = "distance geometry alone"
FIELD_FAILURES = ("force field failed", "unreasonable geometry")
# Where RDKit counts trials that the terms for torsions and flat groups could not mend.
TORSION_FAILURE = int(rdDistGeom.EmbedFailureCauses.ETK_MINIMIZATION)


class Attempt(NamedTuple):
    """One way to get a geometry."""

    embedded_by: str = ETKDG  # or DISTANCES: without what is known of torsions and flat groups
    random_start: bool = True
    checked_centres: bool = True  # False: the isomer is only read back at the end
    # 0: the first that knows all atoms. 1: the next, where the first has made nonsense; where it
    # has turned a centre over, the drawing asks for what cannot be.
    force_field: int = 0


# The first four are what most molecules need: their order and seeds decide stored coordinates.
# A cage's centres often lie outside of their neighbours, which RDKit's checks refuse: of 63 QM9
# molecules that ETKDGv3 failed on, 56 embed at once without them, 6 with them.
ATTEMPTS = (
    Attempt(random_start=False),
    Attempt(),
    Attempt(),
    Attempt(),
    Attempt(DISTANCES, checked_centres=False),
    Attempt(DISTANCES),
    Attempt(DISTANCES, checked_centres=False),
    Attempt(DISTANCES, checked_centres=False, force_field=1),
)


class HopelessError(MoleculeError):
    """An attempt from a random start that spent all its trials, so that others would too.

    That is where every trial ended at what ETKDGv3 holds for the right torsions (each one of
    helicenes and fullerenes does), and where the molecule is so large that fifty more trials take
    seconds. Of 3,100 molecules none that a later attempt embedded met either.
    """


class Conformer(NamedTuple):
    """A relaxed 3D geometry: heavy atoms in SMILES order, then hydrogens as AddHs appends them."""

    coords: Float[np.ndarray, "atom xyz"]  # Å, centroid at the origin
    force_field: str  # "MMFF94", or "UFF" where MMFF94 gives none
    converged: bool
    energy: float  # eV, of the force field
    smiles_3d: str  # the stereoisomer this geometry is
    attempts: int
    embedded_by: str = ETKDG  # or DISTANCES


@guarded("standardisation failed")
def mirror(smiles: str) -> str:
    """Canonical SMILES of the mirror image; the same SMILES for an achiral molecule."""
    return fixed_point(_mirrored(Chem.MolFromSmiles(smiles)))[1]


def _mirrored(mol: Chem.Mol) -> Chem.Mol:
    mol = numbered(Chem.Mol(mol))
    for atom in atoms(mol):
        atom.InvertChirality()
    return mol


@guarded("embedding failed")
def make_conformer(molecule: str | Chem.Mol, seed: int = 0, relax: bool = True) -> Conformer:
    """One relaxed conformer: ETKDGv3, then MMFF94, or UFF where MMFF94 has no parameters.

    The random seed comes from the canonical SMILES, so any spelling of a molecule gets the same
    geometry. Of two enantiomers only the one whose SMILES sorts first is embedded; the other gets
    its exact mirror image. What ETKDGv3 cannot fold in four attempts (cages, helicenes) is embedded
    by distance geometry alone. No geometry is taken that `check_geometry` refuses, or that is
    another isomer than the one drawn. Without `relax` the geometry stays as it was embedded.
    Sources: Wang, Witek, Landrum & Riniker, J. Chem. Inf. Model. 60, 2044 (2020); Halgren, J.
    Comput. Chem. 17, 490 (1996); Rappé et al., J. Am. Chem. Soc. 114, 10024 (1992).
    """
    smiles = Chem.MolToSmiles(molecule) if isinstance(molecule, Chem.Mol) else molecule
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or "." in smiles:
        raise MoleculeError("embedding failed", f"not one readable fragment: {smiles[:80]}")
    twin = _first_enantiomer(mol, smiles)
    force_fields = _force_fields(twin.mol)
    iterations = MAX_ITERATIONS if relax else 0
    failures: list[MoleculeError] = []
    for number, attempt in enumerate(ATTEMPTS):
        if _is_pointless(attempt, failures):
            continue
        force_field = force_fields[min(attempt.force_field, len(force_fields) - 1)]
        try:
            _embed(twin.mol, f"{seed} {number} {twin.smiles}", attempt)
            energy_ev, converged = _relax(twin.mol, force_field, iterations)
            coords = _coords_of(mol, twin)
            smiles_3d = read_back(mol, coords)
        except MoleculeError as error:
            if "timed out" in error.reason:
                raise
            failures.append(error)
            continue
        coords = (coords - coords.mean(axis=0)).astype(np.float32)
        made_by = (number + 1, attempt.embedded_by)
        return Conformer(coords, force_field, converged, energy_ev, smiles_3d, *made_by)
    last = failures[-1]
    raise MoleculeError(last.reason, f"{last.detail}, in the last of {len(failures)} attempts")


def _is_pointless(attempt: Attempt, failures: list[MoleculeError]) -> bool:
    """Whether an attempt would end as those before it did."""
    if attempt.embedded_by == ETKDG:
        return any(isinstance(failure, HopelessError) for failure in failures)
    return attempt.force_field > 0 and failures[-1].reason not in FIELD_FAILURES


class _Twin(NamedTuple):
    """The molecule or its mirror image, with hydrogens: the one of both that is embedded."""

    mol: Chem.Mol
    smiles: str
    # Of the mirror image: the atom of the molecule that each of its heavy atoms is.
    atom_map: Int[np.ndarray, " atom"] | None


def _first_enantiomer(mol: Chem.Mol, smiles: str) -> _Twin:
    """The molecule or its mirror image, whichever SMILES sorts first."""
    if "@" in smiles:
        image, image_smiles = fixed_point(_mirrored(mol))
        if image_smiles < smiles:
            atom_map = np.array([atom.GetIntProp(INPUT_INDEX) for atom in atoms(image)])
            return _Twin(Chem.AddHs(image), image_smiles, atom_map)
    return _Twin(Chem.AddHs(mol), smiles, None)


def _coords_of(mol: Chem.Mol, twin: _Twin) -> Float[np.ndarray, "atom xyz"]:
    """Coordinates (Å) of a molecule, from the conformer of the enantiomer that was embedded."""
    coords = twin.mol.GetConformer().GetPositions()
    if twin.atom_map is None:
        return coords
    return _reflected(coords, twin.mol, Chem.AddHs(mol), twin.atom_map)


def _embed(mol: Chem.Mol, key: str, attempt: Attempt) -> None:
    """Set a distance geometry conformer on a molecule with hydrogens, drawn by the key."""
    params = _parameters(attempt)
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    params.randomSeed = int.from_bytes(digest, "little") >> 1  # RDKit takes 31 bits
    start = time.monotonic()
    try:
        if rdDistGeom.EmbedMolecule(mol, params) == 0:
            return
    except (RuntimeError, ValueError) as error:
        # For instance "bad lower bound": another start may do.
        raise MoleculeError("embedding failed", _one_line(error)) from error
    if time.monotonic() - start >= TIMEOUT_SECONDS:
        raise MoleculeError(
            "embedding timed out (machine-dependent)", f"{TIMEOUT_SECONDS} s in one attempt"
        )
    failures = list(params.GetFailureCounts())[TORSION_FAILURE:]
    by_torsions = bool(failures) and failures[0] >= MAX_TRIALS
    hopeless = attempt.random_start and (by_torsions or mol.GetNumAtoms() > LARGE)
    error = HopelessError if hopeless else MoleculeError
    raise error("embedding failed", f"{MAX_TRIALS} trials")


def _parameters(attempt: Attempt) -> rdDistGeom.EmbedParameters:
    """RDKit's parameters of an attempt, all but its seed."""
    params = rdDistGeom.ETKDGv3()
    params.maxIterations = MAX_TRIALS
    params.timeout = TIMEOUT_SECONDS
    params.numThreads = 1
    params.trackFailures = True
    params.useRandomCoords = attempt.random_start
    params.enforceChirality = attempt.checked_centres
    if attempt.embedded_by != ETKDG:
        params.useExpTorsionAnglePrefs = False
        params.useBasicKnowledge = False
    return params


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _force_fields(mol: Chem.Mol) -> list[str]:
    """Names of the force fields that know all atoms, the better one first."""
    force_fields = []
    # MMFF94 has no types for five and more neighbours: RDKit then takes those of a tetrahedron.
    crowded = any(atom.GetDegree() > 4 for atom in atoms(mol))
    if not crowded and rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        force_fields.append("MMFF94")
    if rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        force_fields.append("UFF")
    if not force_fields:
        raise MoleculeError("no force field parameters", "neither MMFF94 nor UFF knows all atoms")
    return force_fields


def _relax(mol: Chem.Mol, force_field: str, iterations: int) -> tuple[float, bool]:
    """Minimise the conformer in place: energy in eV, converged.

    Raises MoleculeError where what it ends in cannot be a molecule. A geometry that is left as it
    was embedded (no iterations) need only keep its atoms apart.
    """
    if force_field == "UFF":
        field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol)
    else:
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
    try:
        field.Initialize()
        converged = field.Minimize(maxIts=iterations) == 0
        energy_ev = field.CalcEnergy() * EV_PER_KCAL_MOL
    except RuntimeError as error:
        raise MoleculeError("force field failed", _one_line(error)) from error
    coords = checked_coords(mol.GetConformer().GetPositions(), "force field failed")
    if iterations > 0:
        check_geometry(mol, coords, longest_bond=LONGEST_RELAXED_BOND)
        check_energy(energy_ev, len(coords))
    return energy_ev, converged


def _hydrogens(mol: Chem.Mol) -> list[list[int]]:
    """The hydrogens of each heavy atom."""
    heavy = [atom for atom in atoms(mol) if atom.GetAtomicNum() != 1]
    return [[n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1] for atom in heavy]


def _reflected(
    coords: np.ndarray, source: Chem.Mol, target: Chem.Mol, atom_map: Int[np.ndarray, " atom"]
) -> np.ndarray:
    """The mirror image of a geometry, in the atom order of the other enantiomer."""
    image = np.empty_like(coords)
    image[atom_map] = coords[: len(atom_map)]
    target_hydrogens = _hydrogens(target)
    for atom, source_hydrogens in enumerate(_hydrogens(source)):
        image[target_hydrogens[atom_map[atom]]] = coords[source_hydrogens]
    image[:, 0] *= -1
    return image
