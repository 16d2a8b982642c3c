"""Which stereoisomer a geometry is, and whether it is the one that was drawn.

Handedness is read off the four neighbours of a centre alone. In strained cages the centre itself
may lie outside of them, and which three of its neighbours one looks at then decides what one sees.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from rdkit import Chem

from ..shapes import Float
from .failures import MoleculeError
from .identity import undefined_stereo
from .parsing import atoms, without_hydrogens

CW = Chem.ChiralType.CHI_TETRAHEDRAL_CW
CCW = Chem.ChiralType.CHI_TETRAHEDRAL_CCW
UNSPECIFIED = Chem.ChiralType.CHI_UNSPECIFIED
TETRAHEDRAL = (CW, CCW)
CIS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOCIS)
TRANS = (Chem.BondStereo.STEREOE, Chem.BondStereo.STEREOTRANS)
# Six times the volume that four neighbours span: 4.9 Å³ and more in QM9, 0 in a plane.
LEAST_VOLUME = 0.5
LEAST_SIDE_ANGSTROM = 0.1  # a substituent nearer to the axis of its double bond has no side


def read_back(mol: Chem.Mol, coords: Float[np.ndarray, "atom xyz"]) -> str:
    """SMILES of the stereoisomer that a geometry of all atoms is; drawn stereo must be there.

    The molecule has implicit hydrogens; their coordinates (Å) follow as AddHs appends them. Raises
    MoleculeError where the isomer is not the one drawn: no symmetry of the molecule brings every
    drawn centre and double bond to one that turns the same way.
    """
    if not Chem.FindPotentialStereo(mol):
        return Chem.MolToSmiles(mol)
    complete = Chem.AddHs(mol)
    conformer = Chem.Conformer(complete.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(coords, dtype=float))
    complete.RemoveAllConformers()
    complete.AddConformer(conformer, assignId=True)
    seen = _as_seen(mol, complete)
    turned = _turned(mol, seen)
    if any(turned) and not _same_isomer(mol, seen):
        raise MoleculeError(
            "stereo not kept", f"{sum(turned)} centres or bonds of {len(turned)} were turned over"
        )
    if undefined_stereo(mol) == 0:
        return Chem.MolToSmiles(mol)
    return _smiles_of_geometry(complete)


def _as_seen(drawn: Chem.Mol, complete: Chem.Mol) -> Chem.Mol:
    """The drawn atoms with the stereo of the geometry at every centre and double bond it has."""
    seen = Chem.Mol(drawn)
    coords = complete.GetConformer().GetPositions()
    for atom in atoms(seen):
        atom.SetChiralTag(_handedness(complete.GetAtomWithIdx(atom.GetIdx()), coords))
    for bond in seen.GetBonds():
        if bond.GetBondType() == Chem.BondType.DOUBLE:
            _set_side(bond, coords)
    return seen


def _handedness(atom: Chem.Atom, coords: np.ndarray) -> Chem.ChiralType:
    """How the neighbours of a centre, in the order of its bonds, turn in space."""
    neighbours = [n.GetIdx() for n in atom.GetNeighbors()]
    if len(neighbours) not in (3, 4):
        return UNSPECIFIED
    rays = coords[neighbours] - coords[atom.GetIdx()]
    if len(rays) == 3:  # the lone pair stands opposite and comes last, as RDKit counts
        directions = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        rays = np.vstack([rays, -directions.sum(axis=0)])
    volume = np.linalg.det(rays[1:] - rays[0])
    if abs(volume) < LEAST_VOLUME:
        return UNSPECIFIED
    return CW if volume > 0 else CCW


def _set_side(bond: Chem.Bond, coords: np.ndarray) -> None:
    """Mark a double bond cis or trans for the substituents it names, or the first ones it has."""
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    named = list(bond.GetStereoAtoms())
    bond.SetStereo(Chem.BondStereo.STEREONONE)
    if not named:
        others = [
            [n.GetIdx() for n in end.GetNeighbors() if n.GetIdx() != bond.GetOtherAtomIdx(i)]
            for end, i in zip(ends, (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()), strict=True)
        ]
        if not all(others):
            return
        named = [indices[0] for indices in others]
    begin = coords[ends[0].GetIdx()]
    end = coords[ends[1].GetIdx()]
    axis = (end - begin) / np.linalg.norm(end - begin)
    sides = [coords[named[0]] - begin, coords[named[1]] - end]
    sides = [side - (side @ axis) * axis for side in sides]
    if min(np.linalg.norm(side) for side in sides) < LEAST_SIDE_ANGSTROM:
        return
    bond.SetStereoAtoms(*named)
    cis = sides[0] @ sides[1] > 0
    bond.SetStereo(Chem.BondStereo.STEREOCIS if cis else Chem.BondStereo.STEREOTRANS)


def _turned(drawn: Chem.Mol, seen: Chem.Mol) -> list[bool]:
    """For every centre and double bond that is drawn: whether the same one is seen otherwise."""
    turned = []
    for atom, seen_atom in zip(atoms(drawn), atoms(seen), strict=True):
        if atom.GetChiralTag() in TETRAHEDRAL:
            turned.append(atom.GetChiralTag() != seen_atom.GetChiralTag())
    for bond, seen_bond in zip(drawn.GetBonds(), seen.GetBonds(), strict=True):
        for sides in (CIS, TRANS):
            if bond.GetStereo() in sides:
                turned.append(seen_bond.GetStereo() not in sides)
    return turned


def _same_isomer(drawn: Chem.Mol, seen: Chem.Mol) -> bool:
    """Whether a symmetry of the molecule brings each drawn centre to one that is seen the same.

    So both centres of a ring that is substituted at opposite ends may be turned together. What is
    not drawn may be anything.
    """
    return _coloured(seen).HasSubstructMatch(_coloured(drawn), useChirality=True)


def _coloured(mol: Chem.Mol) -> Chem.Mol:
    """A copy whose isotopes tell apart what a match must not exchange.

    Atoms with other charge or hydrogens; and equal end atoms of one atom, such as the fluorines of
    CF3, which make no centre and whose permutations would be tried one by one.
    """
    mol = Chem.Mol(mol)
    equal_ends: Counter = Counter()
    for atom in atoms(mol):
        kind = (atom.GetFormalCharge(), atom.GetTotalNumHs())
        colour = 1 + kind[1] + 10 * (kind[0] + 5)
        if atom.GetDegree() == 1:
            bond = atom.GetBonds()[0]
            neighbour = bond.GetOtherAtomIdx(atom.GetIdx())
            group = (*kind, atom.GetAtomicNum(), bond.GetBondType(), neighbour)
            colour += 200 * equal_ends[group]
            equal_ends[group] += 1
        atom.SetIsotope(colour)
    return mol


def _smiles_of_geometry(complete: Chem.Mol) -> str:
    """SMILES of the stereoisomer of a geometry, whatever was drawn."""
    isomer = without_hydrogens(isomer_of_geometry(complete))
    isomer.RemoveAllConformers()
    return Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(isomer)))


def isomer_of_geometry(complete: Chem.Mol) -> Chem.Mol:
    """A molecule with all its atoms, marked as the stereoisomer that its geometry is."""
    isomer = Chem.Mol(complete)
    Chem.AssignStereochemistryFrom3D(isomer)
    coords = complete.GetConformer().GetPositions()
    reread = False
    for atom in atoms(isomer):
        tag = atom.GetChiralTag()
        if tag not in TETRAHEDRAL:
            # Square planar and beyond: a snapshot, not an isomer.
            atom.SetChiralTag(UNSPECIFIED)
            continue
        handedness = _handedness(atom, coords)
        if handedness not in (tag, UNSPECIFIED):
            atom.SetChiralTag(handedness)
            reread = True
    if reread:
        Chem.AssignStereochemistry(isomer, cleanIt=True, force=True)
    return isomer
