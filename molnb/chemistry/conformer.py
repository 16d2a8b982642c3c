"""One relaxed 3D geometry of a molecule, the same for any spelling of it.

What fails raises ``MoleculeError`` with a reason from a short fixed list. RDKit's own log is
silenced only while a function runs. Everything is single threaded: curation is parallel over
molecules.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ..shapes import Float, Int
from ..units import EV_PER_KCAL_MOL
from .failures import MoleculeError, guarded
from .parsing import INPUT_INDEX, atoms, numbered, without_hydrogens
from .standardization import fixed_point

MAX_ITERATIONS = 5000  # of the minimiser; the share of molecules that needs more is reported
MAX_TRIALS = 50  # distance geometry trials in one attempt
TIMEOUT_SECONDS = 60  # backstop far above what MAX_TRIALS take
CLASH_ANGSTROM = 0.5  # no two nuclei of a real molecule are closer (H2: 0.74)
TETRAHEDRAL = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
CIS_TRANS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOE)


class Conformer(NamedTuple):
    """A relaxed 3D geometry: heavy atoms in SMILES order, then hydrogens as AddHs appends them."""

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
    """One relaxed conformer: ETKDGv3, then MMFF94, or UFF where MMFF94 has no parameters.

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
    source, smiles, atom_map = _first_enantiomer(mol, smiles)
    properties = _mmff_properties(source)
    failure = MoleculeError("embedding failed", "no attempt allowed")
    for attempt in range(attempts):
        try:
            _embed(source, f"{seed} {attempt} {smiles}", random_start=attempt > 0)
            energy, converged = _relax(source, properties, MAX_ITERATIONS if relax else 0)
            coords = checked_coords(source.GetConformer().GetPositions(), "force field failed")
            complete = Chem.AddHs(mol)
            if atom_map is not None:
                coords = _reflected(coords, source, complete, atom_map)
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
    """The molecule or its mirror image, whichever SMILES sorts first, with hydrogens; its SMILES.

    For the mirror image also the atom of the molecule that each of its heavy atoms is; else None.
    """
    if "@" in smiles:
        image, image_smiles = fixed_point(_mirrored(mol))
        if image_smiles < smiles:
            atom_map = np.array([atom.GetIntProp(INPUT_INDEX) for atom in atoms(image)])
            return Chem.AddHs(image), image_smiles, atom_map
    return Chem.AddHs(mol), smiles, None


def _embed(mol: Chem.Mol, key: str, random_start: bool) -> None:
    """Set a distance geometry conformer on a molecule with hydrogens, drawn by the key."""
    params = rdDistGeom.ETKDGv3()
    params.maxIterations = MAX_TRIALS
    params.timeout = TIMEOUT_SECONDS
    params.numThreads = 1
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    params.randomSeed = int.from_bytes(digest, "little") >> 1  # RDKit takes 31 bits
    params.useRandomCoords = random_start
    start = time.monotonic()
    detail = f"{MAX_TRIALS} trials"
    try:
        if rdDistGeom.EmbedMolecule(mol, params) == 0:
            return
    except (RuntimeError, ValueError) as error:
        detail = _one_line(error)  # for instance "bad lower bound": another start may do
    if time.monotonic() - start >= TIMEOUT_SECONDS:
        raise MoleculeError(
            "embedding timed out (machine-dependent)", f"{TIMEOUT_SECONDS} s in one attempt"
        )
    raise MoleculeError("embedding failed", detail)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _mmff_properties(mol: Chem.Mol) -> Any:
    """MMFF94's atom types and charges, or None where only UFF knows the atoms."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    if properties is None and not rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        raise MoleculeError("no force field parameters", "neither MMFF94 nor UFF knows all atoms")
    return properties


def _relax(mol: Chem.Mol, properties: Any, iterations: int) -> tuple[float, bool]:
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
        raise MoleculeError("force field failed", _one_line(error)) from error


def checked_coords(coords: Float[np.ndarray, "atom xyz"], reason: str) -> np.ndarray:
    """Coordinates (Å) as they are; raises MoleculeError of this reason where they are no geometry.

    That is where they are not finite, or two nuclei coincide.
    """
    squared = np.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
    np.fill_diagonal(squared, np.inf)
    if not np.isfinite(coords).all() or squared.min(initial=np.inf) < CLASH_ANGSTROM**2:
        raise MoleculeError(reason, "coordinates are not finite, or two atoms coincide")
    return coords


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


def _read_back(mol: Chem.Mol, complete: Chem.Mol, coords: np.ndarray) -> str:
    """SMILES of the stereoisomer that the geometry is; drawn stereo must still be there."""
    if not Chem.FindPotentialStereo(mol):
        return Chem.MolToSmiles(mol)
    isomer = Chem.Mol(complete)
    isomer.RemoveAllConformers()
    conformer = Chem.Conformer(isomer.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(coords))
    isomer.AddConformer(conformer, assignId=True)
    Chem.AssignStereochemistryFrom3D(isomer)
    for atom in atoms(isomer):
        # Square planar and beyond: a snapshot, not an isomer.
        if atom.GetChiralTag() not in TETRAHEDRAL:
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    inverted = _inverted_stereo(mol, isomer)
    if any(inverted):
        raise MoleculeError(
            "stereo not kept",
            f"{sum(inverted)} centres or bonds of {len(inverted)} were turned over",
        )
    isomer = without_hydrogens(isomer)
    isomer.RemoveAllConformers()
    return Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(isomer)))


def _inverted_stereo(drawn: Chem.Mol, isomer: Chem.Mol) -> list[bool]:
    """For every centre and double bond defined in both molecules: whether they differ.

    The isomer may have hydrogens after the atoms that are drawn.
    """
    inverted = []
    for atom, isomer_atom in zip(atoms(drawn), atoms(isomer), strict=False):
        tags = (atom.GetChiralTag(), isomer_atom.GetChiralTag())
        if all(tag in TETRAHEDRAL for tag in tags):
            inverted.append(tags[0] != tags[1])
    for bond, isomer_bond in zip(drawn.GetBonds(), isomer.GetBonds(), strict=False):
        sides = (bond.GetStereo(), isomer_bond.GetStereo())
        if all(side in CIS_TRANS for side in sides):
            inverted.append(sides[0] != sides[1])
    return inverted
