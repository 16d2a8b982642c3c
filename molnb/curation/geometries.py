"""The geometries of a row: those that its source gives, or conformers made as the recipe says."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDepictor

from ..chemistry.conformer import Conformer, make_conformer
from ..chemistry.failures import NO_GEOMETRY, MoleculeError, guarded
from ..chemistry.given_geometry import from_bonds, from_distances, from_smiles, same_molecule
from ..chemistry.parsing import parse_molblock, parse_smiles
from ..recipes.schema import Conformers, Recipe
from ..shapes import Float


class ReadGeometry(NamedTuple):
    """The molecule of a row with its geometries.

    `drawn` says that its stereo is that of a SMILES, `perceived` that its bonds are those which the
    distances tell.
    """

    mol: Chem.Mol
    drawn: bool
    perceived: bool = False


def read_given(row: dict[str, Any], recipe: Recipe) -> ReadGeometry:
    """The molecule of a row of the snapshot with the geometries that its source gives.

    Raises MoleculeError where there are none, or none of the row's SMILES.
    """
    columns = recipe.columns
    if columns.geometry is None:
        if columns.smiles is None:
            return ReadGeometry(parse_molblock(row["structure"] or ""), drawn=False)
        return ReadGeometry(parse_smiles(row["structure"]), drawn=True)
    numbers = row["geometry_numbers"]
    if numbers is None:
        raise MoleculeError(NO_GEOMETRY, "the row has no coordinates")
    coords = np.array(row["geometry_coords"], float).reshape(-1, len(numbers), 3)
    charge = sum(row["geometry_charges"] or ())
    bonds = row["geometry_bonds"]
    if bonds is not None:
        bonds = np.array(bonds, float).reshape(-1, 3)
    if columns.smiles is None:
        if bonds is None:
            return ReadGeometry(from_distances(numbers, coords, charge), False, perceived=True)
        mol = from_bonds(numbers, bonds, row["geometry_charges"], coords)
        return ReadGeometry(mol, drawn=False)
    drawn = parse_smiles(row["structure"])
    if bonds is not None:
        mol = _with_bonds(drawn, numbers, bonds, row["geometry_charges"], coords)
        if mol is not None:
            return ReadGeometry(mol, drawn=False)
    try:
        # Where bonds were listed, and are those of no molecule, the stereo is the geometry's too.
        return ReadGeometry(from_smiles(drawn, numbers, coords), drawn=bonds is None)
    except MoleculeError:
        if columns.geometry.disagreeing == "drop":
            raise
    return ReadGeometry(from_distances(numbers, coords, charge), drawn=False, perceived=True)


def _with_bonds(
    drawn: Chem.Mol, numbers: list[int], bonds: np.ndarray, charges: list | None, coords: np.ndarray
) -> Chem.Mol | None:
    """A molecule by its bonds; None where they are not those of the row's SMILES.

    Files leave out bonds to hydrogen, and the charges of nitro groups.
    """
    try:
        mol = from_bonds(numbers, bonds, charges, coords)
    except MoleculeError:
        return None
    return mol if same_molecule(mol, drawn) else None


class MadeConformers(NamedTuple):
    """The first conformer of a molecule, and the coordinates of all that were made."""

    first: Conformer
    coords: Float[np.ndarray, "conformer atom xyz"]  # Å, the first conformer's first


def make_conformers(smiles: str, settings: Conformers) -> MadeConformers:
    """As many conformers as a recipe asks for, less those that fail after the first.

    All are the isomer that the first one is. A drawing in the plane, where one is asked for, comes
    last: its bonds are those of a drawing, 1.5 Å.
    """
    first = make_conformer(smiles, settings.seed)
    coords = [first.coords]
    for seed in range(settings.seed + 1, settings.seed + settings.n):
        try:
            conformer = make_conformer(smiles, seed)
        except MoleculeError:
            continue
        if conformer.smiles_3d == first.smiles_3d:
            coords.append(conformer.coords)
    if settings.flat:
        coords.append(flat_coords(smiles))
    return MadeConformers(first, np.stack(coords))


@guarded("embedding failed")
def flat_coords(smiles: str) -> Float[np.ndarray, "atom xyz"]:
    """RDKit's drawing of a molecule with its hydrogens, centred, in the plane z = 0."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDepictor.Compute2DCoords(mol)
    coords = mol.GetConformer().GetPositions()
    return (coords - coords.mean(axis=0)).astype(np.float32)
