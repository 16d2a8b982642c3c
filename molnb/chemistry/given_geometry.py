"""A molecule with the geometry that its source gives: taken as it is, checked, put in stored order.

Nothing is standardised: charges, protons, tautomer and fragments stay as they were drawn, since
the geometry and its labels belong to just this structure. Isotopes and atom maps are cleared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

from ..recipes.readers.xyz import bonded_by_distances
from ..shapes import Float
from .failures import NO_GEOMETRY, MoleculeError, guarded
from .isomers import isomer_of_geometry, read_back
from .parsing import (
    INPUT_INDEX,
    atoms,
    numbered,
    with_coords,
    without_hydrogens,
)
from .plausibility import check_geometry, checked_coords, covalent_radius
from .standardization import clear_labels, fixed_point

DISAGREES = "geometry of another molecule"
PLACED = -1  # index in the input of a hydrogen that was placed here
MAX_MATCHES = 1_000  # ways to lay a molecule over a geometry that are tried
_SHORTENED = {1.5: 0.91, 2.0: 0.87, 3.0: 0.78}  # a bond's length by its order, over a single bond's
DECIMALS = 4  # of an Å, to which two geometries are told apart
_BOND_TYPES = {
    1.0: Chem.BondType.SINGLE,
    1.5: Chem.BondType.AROMATIC,
    2.0: Chem.BondType.DOUBLE,
    3.0: Chem.BondType.TRIPLE,
    4.0: Chem.BondType.AROMATIC,  # as mol blocks number it
}


class GivenMolecule(NamedTuple):
    """A molecule and its geometries, heavy atoms in canonical order, then hydrogens."""

    smiles: str
    mol: Chem.Mol  # MolFromSmiles(smiles)
    order: np.ndarray  # int32 [atom]: index in the input, PLACED for a hydrogen it does not have
    coords: Float[np.ndarray, "conformer atom xyz"]  # Å, as given
    smiles_3d: str  # the stereoisomer of the first geometry
    cleared_isotopes: int

    @property
    def charge(self) -> int:
        """In e."""
        return Chem.GetFormalCharge(self.mol)

    @property
    def geometry_key(self) -> str:
        """Sixteen hex digits that tell geometries of one molecule apart."""
        rounded = np.round(self.coords * 10**DECIMALS).astype(np.int64)
        return hashlib.blake2b(rounded.tobytes(), digest_size=8).hexdigest()


@guarded("unreadable structure")
def given_molecule(mol: Chem.Mol, max_heavy_atoms: int, drawn: bool) -> GivenMolecule:
    """A molecule as it was drawn, with its conformers, whose atoms know their index in the input.

    Where its stereo is `drawn`, as in a SMILES, the geometry must be that isomer; else the isomer
    is that of the first geometry, or left open in cages of which RDKit can write none. Hydrogens
    without coordinates are placed by their neighbours. Raises MoleculeError where there is no
    geometry in space, and where it cannot be of this molecule (bonds too long or too short, atoms
    without a bond too near, those of two fragments too).
    """
    mol, cleared_isotopes = clear_labels(mol)
    _check(mol, max_heavy_atoms)
    complete = _with_all_hydrogens(mol)
    if drawn:
        return _in_stored_order(complete, cleared_isotopes)
    isomer = isomer_of_geometry(complete)
    try:
        return _in_stored_order(isomer, cleared_isotopes)
    except MoleculeError as error:
        if error.reason not in ("no stable SMILES", "stereo not kept"):
            raise
    Chem.RemoveStereochemistry(isomer)
    return _in_stored_order(isomer, cleared_isotopes)


def _in_stored_order(complete: Chem.Mol, cleared_isotopes: int) -> GivenMolecule:
    """A molecule with all its hydrogens and conformers, put in the order of its own SMILES."""
    heavy = without_hydrogens(complete)
    heavy.RemoveAllConformers()
    parent, smiles = fixed_point(heavy)
    if any(atom.GetAtomicNum() == 1 for atom in atoms(parent)):
        raise MoleculeError("hydrogen that cannot be implicit", smiles)
    positions = _stored_positions(parent, complete)
    coords = np.stack(
        [conformer.GetPositions()[positions] for conformer in complete.GetConformers()]
    )
    with_hydrogens = Chem.AddHs(parent)
    for number, conformer in enumerate(coords):
        checked_coords(conformer, "unreasonable geometry")
        # A drawing behind the geometries is one that is meant, as Uni-Mol's last conformer.
        if number == 0 or np.any(conformer[:, 2]):
            _check_in_space(with_hydrogens, conformer)
    stored = atoms(complete)
    order = [_input_index(stored[position]) for position in positions]
    return GivenMolecule(
        smiles=smiles,
        mol=parent,
        order=np.array(order, np.int32),
        coords=coords.astype(np.float32),
        smiles_3d=read_back(parent, coords[0]),
        cleared_isotopes=cleared_isotopes,
    )


def _check(mol: Chem.Mol, max_heavy_atoms: int) -> None:
    n_heavy = mol.GetNumHeavyAtoms()
    if n_heavy == 0:
        raise MoleculeError("no heavy atoms", f"{mol.GetNumAtoms()} atoms, all hydrogen")
    if n_heavy > max_heavy_atoms:
        raise MoleculeError(
            "over the size limit", f"{n_heavy} heavy atoms, limit {max_heavy_atoms}"
        )
    if any(atom.GetAtomicNum() == 0 for atom in atoms(mol)):
        raise MoleculeError("dummy atom", "an atom * stands for no element")
    if not mol.GetNumConformers():
        raise MoleculeError(NO_GEOMETRY, "the structure has no coordinates")
    is_flat = not np.any(mol.GetConformer().GetPositions()[:, 2])
    if is_flat and any(atom.GetTotalNumHs() for atom in atoms(mol)):
        raise MoleculeError(NO_GEOMETRY, "its coordinates are a drawing in the plane")


def _check_in_space(mol: Chem.Mol, coords: np.ndarray) -> None:
    """Raise MoleculeError for coordinates of all atoms that cannot be a geometry."""
    try:
        check_geometry(mol, coords, flat_reason=NO_GEOMETRY, computed=True)
    except MoleculeError as error:
        if not np.any(coords[:, 2]):  # water is flat, and a drawing of it has bonds of 1.5 Å
            raise MoleculeError(NO_GEOMETRY, f"a drawing in the plane: {error.detail}") from None
        raise


def _with_all_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with its missing hydrogens as atoms, placed in every conformer."""
    n_implicit = sum(atom.GetTotalNumHs() for atom in atoms(mol))
    return Chem.AddHs(mol, addCoords=True) if n_implicit else mol


def _input_index(atom: Chem.Atom) -> int:
    return atom.GetIntProp(INPUT_INDEX) if atom.HasProp(INPUT_INDEX) else PLACED


def _stored_positions(parent: Chem.Mol, complete: Chem.Mol) -> list[int]:
    """Which atom of the complete molecule stands at each stored place.

    Heavy atoms are in the parent's order, then the hydrogens of each, as they were drawn.
    """
    position_of_input = {_input_index(atom): atom.GetIdx() for atom in atoms(complete)}
    heavy = [position_of_input[atom.GetIntProp(INPUT_INDEX)] for atom in atoms(parent)]
    hydrogens = []
    for position, atom in zip(heavy, atoms(parent), strict=True):
        neighbours = complete.GetAtomWithIdx(position).GetNeighbors()
        of_atom = sorted(n.GetIdx() for n in neighbours if n.GetAtomicNum() == 1)
        if len(of_atom) != atom.GetTotalNumHs():
            raise MoleculeError(
                "hydrogen that cannot be implicit",
                f"{len(of_atom)} hydrogens are drawn where {atom.GetTotalNumHs()} would be implied",
            )
        hydrogens += of_atom
    return heavy + hydrogens


# ------------------------------------------------------------- structures from columns of numbers


@guarded("unreadable structure")
def from_bonds(
    numbers: Sequence[int],
    bonds: Sequence[tuple[int, int, float]],
    charges: Sequence[int] | None,
    coords: Float[np.ndarray, "conformer atom xyz"],
) -> Chem.Mol:
    """A molecule of these atoms and bonds (i, j, order) in these geometries (Å).

    Orders are 1, 2, 3, and 1.5 or 4 for an aromatic bond.
    """
    mol = Chem.RWMol()
    charges = [0] * len(numbers) if charges is None else charges
    for number, charge in zip(numbers, charges, strict=True):
        atom = Chem.Atom(int(number))
        atom.SetFormalCharge(int(charge))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for i, j, order in bonds:
        if float(order) not in _BOND_TYPES:
            raise MoleculeError("bond of no known order", f"order {order:g} of atoms {i} and {j}")
        mol.AddBond(int(i), int(j), _BOND_TYPES[float(order)])
        if _BOND_TYPES[float(order)] == Chem.BondType.AROMATIC:
            for end in (int(i), int(j)):
                mol.GetAtomWithIdx(end).SetIsAromatic(True)
    molecule = with_coords(mol.GetMol(), coords)
    Chem.SanitizeMol(molecule)
    return numbered(molecule)


@guarded("unreadable structure")
def from_distances(
    numbers: Sequence[int], coords: Float[np.ndarray, "conformer atom xyz"], charge: int = 0
) -> Chem.Mol:
    """A molecule of these atoms, its bonds perceived from the distances of the first geometry."""
    mol = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    molecule = with_coords(mol.GetMol(), coords[:1])
    try:
        bonded = bonded_by_distances(molecule, charge)
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise MoleculeError("no bonds could be perceived", text[:160]) from None
    bonded = with_coords(bonded, coords)
    Chem.SanitizeMol(bonded)
    return numbered(bonded)


@guarded("unreadable structure")
def from_smiles(
    mol: Chem.Mol, numbers: Sequence[int], coords: Float[np.ndarray, "conformer atom xyz"]
) -> Chem.Mol:
    """The molecule of a SMILES in a geometry of atoms without bonds, numbered as the geometry is.

    Atoms are taken in the order of the SMILES with its hydrogens behind, where the elements agree
    and all bonds are of a possible length; else by the bonds that the distances tell. A geometry
    has all hydrogens or none: two fewer are another molecule, as 1 in 10 of PCQM4Mv2 is.
    """
    target = Chem.AddHs(mol) if 1 in numbers else Chem.RemoveAllHs(mol)
    elements = [atom.GetAtomicNum() for atom in atoms(target)]
    if sorted(elements) != sorted(numbers):
        raise MoleculeError(
            DISAGREES,
            f"{len(numbers)} atoms with coordinates, {len(elements)} of the SMILES, or others",
        )
    order = np.arange(len(elements))
    if elements != list(numbers) or not _bonds_fit(target, coords[0]):
        order = matched_order(target, numbers, coords[0])
    placed = with_coords(target, coords[:, order])
    for atom, index in zip(atoms(placed), order, strict=True):
        atom.SetIntProp(INPUT_INDEX, int(index))
    return placed


def _bonds_fit(mol: Chem.Mol, coords: np.ndarray) -> bool:
    try:
        check_geometry(mol, coords)
    except MoleculeError:
        return False
    return True


def matched_order(
    mol: Chem.Mol, numbers: Sequence[int], coords: Float[np.ndarray, "atom xyz"]
) -> np.ndarray:
    """The atom of a geometry that each atom of a molecule is, which has all hydrogens or none.

    Bonds are told by the distances; of several ways to lay the molecule over them the one counts
    whose bonds are the most of the length that their order has. Raises MoleculeError without any.
    """
    cloud = Chem.RWMol()
    for number in numbers:
        cloud.AddAtom(Chem.Atom(int(number)))
    perceived = with_coords(cloud.GetMol(), [coords])
    rdDetermineBonds.DetermineConnectivity(perceived)
    seen = [_hydrogens_of(atom) for atom in atoms(perceived)]
    heavy = [atom.GetIdx() for atom in atoms(mol) if atom.GetAtomicNum() != 1]
    drawn = [_hydrogens_of(mol.GetAtomWithIdx(index)) for index in heavy]
    skeleton = _of_single_bonds(mol)
    ways = [
        way
        for way in perceived.GetSubstructMatches(skeleton, uniquify=False, maxMatches=MAX_MATCHES)
        if [len(seen[index]) for index in way] == list(map(len, drawn))
    ]
    if not ways or _n_heavy_bond(perceived) != skeleton.GetNumBonds():
        raise MoleculeError(DISAGREES, "the bonds that the distances tell are not those drawn")
    best = min(ways, key=lambda way: _strain(mol, heavy, coords[list(way)]))
    order = np.zeros(mol.GetNumAtoms(), int)
    order[heavy] = best
    for index, hydrogens in zip(best, drawn, strict=True):
        order[hydrogens] = seen[index]
    return order


def _hydrogens_of(atom: Chem.Atom) -> list[int]:
    return [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1]


def _n_heavy_bond(mol: Chem.Mol) -> int:
    return sum(
        bond.GetBeginAtom().GetAtomicNum() != 1 and bond.GetEndAtom().GetAtomicNum() != 1
        for bond in mol.GetBonds()
    )


def _of_single_bonds(mol: Chem.Mol) -> Chem.Mol:
    """Elements and connections of the heavy atoms alone, to be matched with perceived ones."""
    plain = Chem.RWMol()
    position = {}
    for atom in atoms(mol):
        if atom.GetAtomicNum() != 1:
            position[atom.GetIdx()] = plain.AddAtom(Chem.Atom(atom.GetAtomicNum()))
    for bond in mol.GetBonds():
        ends = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        if all(end in position for end in ends):
            plain.AddBond(position[ends[0]], position[ends[1]], Chem.BondType.SINGLE)
    return plain.GetMol()


def _strain(mol: Chem.Mol, heavy: list[int], coords: np.ndarray) -> float:
    """How far the bonds between heavy atoms are from the length of their order, in squares of it.

    The order of `coords` is that of `heavy`. Lengths of double and triple bonds are those of
    carbon over its single bond (1.34 and 1.20 of 1.54 Å).
    """
    position = {index: rank for rank, index in enumerate(heavy)}
    strain = 0.0
    for bond in mol.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        if any(end.GetAtomicNum() == 1 for end in ends):
            continue
        expected = sum(covalent_radius(end.GetAtomicNum()) for end in ends)
        expected *= _SHORTENED.get(bond.GetBondTypeAsDouble(), 1.0)
        first, second = (coords[position[end.GetIdx()]] for end in ends)
        strain += (np.linalg.norm(first - second) / expected - 1) ** 2
    return strain


def same_molecule(mol: Chem.Mol, drawn: Chem.Mol) -> bool:
    """Whether two molecules are one but for stereo, hydrogens that are written, and atom maps."""
    return _flat(mol) == _flat(drawn)


def _flat(mol: Chem.Mol) -> str:
    plain, _ = clear_labels(mol)
    plain.RemoveAllConformers()
    flat = Chem.MolToSmiles(without_hydrogens(plain), isomericSmiles=False)
    return Chem.CanonSmiles(flat)
