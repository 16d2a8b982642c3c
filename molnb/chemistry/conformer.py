"""RDKit leaf functions: read a structure, reduce it to its neutral parent, name it, give it a 3D
geometry.

Every function works on one molecule and raises ``MoleculeError`` with a reason from a short fixed
list; none returns None. RDKit's own log is silenced only while a function runs. Everything is
single threaded: curation is parallel over molecules.
"""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ..shapes import Float, Int
from .failures import MoleculeError, guarded
from .parsing import INPUT_INDEX, atoms, numbered, without_hydrogens
from .standardization import fixed_point

EV_PER_KCAL_MOL = 0.0433641043  # CODATA 2018: 4184 / (N_A e)
MAX_ITERATIONS = (
    5000  # of the force field's minimiser; the share that needs more is reported, not hidden
)
MAX_TRIALS = 50  # distance geometry trials in one attempt
TIMEOUT_SECONDS = 60  # backstop far above what MAX_TRIALS take
CLASH_ANGSTROM = 0.5  # no two nuclei of a real molecule are closer (H2: 0.74)


class Conformer(NamedTuple):
    """A relaxed 3D geometry of all atoms: heavy atoms in SMILES order, then hydrogens as AddHs
    appends them.
    """

    coords: Float[np.ndarray, "atom xyz"]  # Å, centroid at the origin
    force_field: str  # "MMFF94", or "UFF" where MMFF94 has no parameters
    converged: bool
    energy: float  # eV, of the force field
    smiles_3d: str  # the stereoisomer this geometry is
    attempts: int


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
def make_conformer(
    molecule: str | Chem.Mol, seed: int = 0, attempts: int = 4, relax: bool = True
) -> Conformer:
    """Give a molecule one relaxed conformer: ETKDGv3, then MMFF94, or UFF where MMFF94 has no
    parameters.

    The random seed comes from the canonical SMILES, so any spelling of a molecule gets the same
    geometry. Of two enantiomers only the one whose SMILES sorts first is embedded; the other gets
    its exact mirror image. Each further attempt starts from random coordinates. Without `relax` the
    geometry stays as ETKDGv3 made it. Sources: Wang, Witek, Landrum & Riniker, J. Chem. Inf. Model.
    60, 2044 (2020); Halgren, J. Comput. Chem. 17, 490 (1996); Rappé et al., J. Am. Chem. Soc. 114,
    10024 (1992).
    """
    smiles = Chem.MolToSmiles(molecule) if isinstance(molecule, Chem.Mol) else molecule
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or "." in smiles:
        raise MoleculeError("embedding failed", f"not one readable fragment: {smiles[:80]}")
    source, smiles, placed = _first_enantiomer(mol, smiles)
    properties = _mmff_properties(source)
    failure = MoleculeError("embedding failed", "no attempt allowed")
    for attempt in range(attempts):
        try:
            _place(source, f"{seed} {attempt} {smiles}", random_start=attempt > 0)
            energy, converged = _relax(source, properties, MAX_ITERATIONS if relax else 0)
            coords = _checked(source.GetConformer().GetPositions())
            complete = Chem.AddHs(mol)
            if placed is not None:
                coords = _reflected(coords, source, complete, placed)
            smiles_3d = _read_back(mol, complete, coords)
        except MoleculeError as error:
            if "timed out" in error.reason:
                raise
            failure = error
            continue
        coords = (coords - coords.mean(axis=0)).astype(np.float32)
        force_field = "UFF" if properties is None else "MMFF94"
        return Conformer(
            coords, force_field, converged, energy * EV_PER_KCAL_MOL, smiles_3d, attempt + 1
        )
    raise MoleculeError(failure.reason, f"{failure.detail}, in the last of {attempts} attempts")


def _first_enantiomer(mol: Chem.Mol, smiles: str) -> tuple[Chem.Mol, str, np.ndarray | None]:
    """With hydrogens, the molecule or its mirror image, whichever SMILES sorts first; then also
    where its atoms go.
    """
    if "@" in smiles:
        image, image_smiles = fixed_point(_mirrored(mol))
        if image_smiles < smiles:
            placed = np.array([atom.GetIntProp(INPUT_INDEX) for atom in atoms(image)])
            return Chem.AddHs(image), image_smiles, placed
    return Chem.AddHs(mol), smiles, None


def _place(mol: Chem.Mol, key: str, random_start: bool) -> None:
    """Set a distance geometry conformer on a molecule with hydrogens; its random numbers are
    decided by the key.
    """
    params = rdDistGeom.ETKDGv3()
    params.maxIterations, params.timeout, params.numThreads = MAX_TRIALS, TIMEOUT_SECONDS, 1
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    params.randomSeed = int.from_bytes(digest, "little") >> 1  # RDKit takes 31 bits
    params.useRandomCoords = random_start
    start, detail = time.monotonic(), f"{MAX_TRIALS} trials"
    try:
        if rdDistGeom.EmbedMolecule(mol, params) == 0:
            return
    except (
        RuntimeError,
        ValueError,
    ) as error:  # for instance "bad lower bound": another start may do
        detail = " ".join(str(error).split())[:120]
    if time.monotonic() - start >= TIMEOUT_SECONDS:
        raise MoleculeError(
            "embedding timed out (machine-dependent)", f"{TIMEOUT_SECONDS} s in one attempt"
        )
    raise MoleculeError("embedding failed", detail)


def _mmff_properties(mol: Chem.Mol):
    """MMFF94's atom types and charges, or None where only UFF knows the atoms."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    if properties is None and not rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        raise MoleculeError("no force field parameters", "neither MMFF94 nor UFF knows all atoms")
    return properties


def _relax(mol: Chem.Mol, properties, iterations: int) -> tuple[float, bool]:
    """Minimise the conformer in place: energy in kcal/mol, converged."""
    if properties is None:
        field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol)
    else:
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
    try:
        field.Initialize()
        converged = field.Minimize(maxIts=iterations) == 0
        return field.CalcEnergy(), converged
    except RuntimeError as error:
        raise MoleculeError("force field failed", " ".join(str(error).split())[:120]) from error


def _checked(coords: np.ndarray) -> np.ndarray:
    """Refuse coordinates that are no geometry: not finite, or with nuclei on top of each other."""
    squared = np.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
    np.fill_diagonal(squared, np.inf)
    if not np.isfinite(coords).all() or squared.min(initial=np.inf) < CLASH_ANGSTROM**2:
        raise MoleculeError(
            "force field failed", "coordinates are not finite, or two atoms coincide"
        )
    return coords


def _hydrogens(mol: Chem.Mol) -> list[list[int]]:
    heavy = [atom for atom in atoms(mol) if atom.GetAtomicNum() != 1]
    return [[n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1] for atom in heavy]


def _reflected(
    coords: np.ndarray, source: Chem.Mol, target: Chem.Mol, placed: Int[np.ndarray, " atom"]
) -> np.ndarray:
    """The mirror image of a geometry, in the atom order of the other enantiomer."""
    image = np.empty_like(coords)
    image[placed] = coords[: len(placed)]
    there = _hydrogens(target)
    for atom, indices in enumerate(_hydrogens(source)):
        image[there[placed[atom]]] = coords[indices]
    image[:, 0] *= -1
    return image


def _read_back(mol: Chem.Mol, complete: Chem.Mol, coords: np.ndarray) -> str:
    """SMILES of the stereoisomer that the geometry is; drawn stereo must still be there."""
    if not Chem.FindPotentialStereo(mol):
        return Chem.MolToSmiles(mol)
    seen = Chem.Mol(complete)
    seen.RemoveAllConformers()
    conformer = Chem.Conformer(seen.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(coords))
    seen.AddConformer(conformer, assignId=True)
    Chem.AssignStereochemistryFrom3D(seen)
    none = Chem.ChiralType.CHI_UNSPECIFIED
    handed = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
    for atom in atoms(seen):
        if atom.GetChiralTag() not in handed:  # square planar and beyond: a snapshot, not an isomer
            atom.SetChiralTag(none)
    tags = [
        (a.GetChiralTag(), b.GetChiralTag()) for a, b in zip(atoms(mol), atoms(seen), strict=False)
    ]
    turned = [drawn != found for drawn, found in tags if drawn in handed and found in handed]
    ends = [
        (a.GetStereo(), b.GetStereo())
        for a, b in zip(mol.GetBonds(), seen.GetBonds(), strict=False)
    ]
    cis_trans = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOE)
    turned += [drawn != found for drawn, found in ends if drawn in cis_trans and found in cis_trans]
    if any(turned):
        raise MoleculeError(
            "stereo not kept", f"{sum(turned)} centres or bonds of {len(turned)} were turned over"
        )
    seen = without_hydrogens(seen)
    seen.RemoveAllConformers()
    return Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(seen)))
