"""Stereo that a plain SMILES cannot carry: racemates, "one of two" isomers, atropisomers.

Stereo groups say that the marks of some centres are relative: ``&`` both isomers are there, ``o``
one of them is and nobody knows which. An axis is a single bond that cannot turn. Both are written
as the extension of a CXSMILES whose atoms are those of the stored SMILES.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from rdkit import Chem

from .failures import MoleculeError
from .parsing import INPUT_INDEX, atoms

CLOCKWISE = Chem.BondStereo.STEREOATROPCW
COUNTERCLOCKWISE = Chem.BondStereo.STEREOATROPCCW
_SIGNS = {Chem.StereoGroupType.STEREO_AND: "&", Chem.StereoGroupType.STEREO_OR: "o"}
_TYPES = {sign: kind for kind, sign in _SIGNS.items()}
_WRITTEN = Chem.CXSmilesFields.CX_ENHANCEDSTEREO | Chem.CXSmilesFields.CX_BOND_ATROPISOMER
MOST_GROUPS = 4  # that are tried in all isomers and all orders
KINDS = {"&": "racemic or both isomers (&)", "o": "one of two isomers (or)", "w": "axis"}


class Axis(NamedTuple):
    """An axis of chirality by input index: its ends, a neighbour of each, and its sense.

    The sense is clockwise where the far neighbour lies clockwise of the near one, seen along the
    bond, from whichever end.
    """

    ends: tuple[int, int]
    neighbours: tuple[int, int]
    clockwise: bool


class Group(NamedTuple):
    """Centres and axes (by their ends) whose marks are relative to each other, by input index."""

    sign: str  # & or o
    centres: frozenset[int]
    axes: frozenset[frozenset[int]]


class StereoMarks(NamedTuple):
    """The stereo groups and axes of a structure, by input index; both empty for most."""

    groups: tuple[Group, ...] = ()
    axes: tuple[Axis, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.groups or self.axes)


def stereo_marks(mol: Chem.Mol) -> StereoMarks:
    """The stereo groups and axes that a molecule was read with; its atoms know their index."""
    axes = _axes(mol)
    groups = [group for group in mol.GetStereoGroups() if group.GetGroupType() in _SIGNS]
    if not axes and not groups:
        return StereoMarks()
    return StereoMarks(tuple(map(_group, groups)), tuple(map(_axis, axes)))


def _axes(mol: Chem.Mol) -> list[Chem.Bond]:
    bonds = [mol.GetBondWithIdx(i) for i in range(mol.GetNumBonds())]  # faster than GetBonds
    return [bond for bond in bonds if bond.GetStereo() in (CLOCKWISE, COUNTERCLOCKWISE)]


def _index(atom: Chem.Atom) -> int:
    return atom.GetIntProp(INPUT_INDEX)


def _ends(bond: Chem.Bond) -> tuple[Chem.Atom, Chem.Atom]:
    return bond.GetBeginAtom(), bond.GetEndAtom()


def _group(group: Chem.StereoGroup) -> Group:
    return Group(
        _SIGNS[group.GetGroupType()],
        frozenset(_index(atom) for atom in group.GetAtoms()),
        frozenset(frozenset(map(_index, _ends(bond))) for bond in group.GetBonds()),
    )


def _axis(bond: Chem.Bond) -> Axis:
    begin, end = _ends(bond)
    neighbours = _first_neighbour(begin, end), _first_neighbour(end, begin)
    return Axis(
        (_index(begin), _index(end)),
        (_index(neighbours[0]), _index(neighbours[1])),
        bond.GetStereo() == CLOCKWISE,
    )


def _first_neighbour(atom: Chem.Atom, other: Chem.Atom) -> Chem.Atom:
    """The neighbour that RDKit refers the sense of an axis to: of the two the first in order."""
    return _neighbours(atom, other)[0]


def _neighbours(atom: Chem.Atom, other: Chem.Atom) -> list[Chem.Atom]:
    others = [n for n in atom.GetNeighbors() if n.GetIdx() != other.GetIdx()]
    return sorted(others, key=Chem.Atom.GetIdx)


# ------------------------------------------------------------------- marks on another copy


def _marked(mol: Chem.Mol, marks: StereoMarks) -> Chem.RWMol:
    """A copy of the molecule with those of the marks that are stereo there."""
    marked = Chem.RWMol(mol)
    index = {_index(atom): atom.GetIdx() for atom in atoms(marked)}
    ranks = list(Chem.CanonicalRankAtoms(marked, breakTies=False)) if marks.axes else []
    axes = {}
    for axis in marks.axes:
        bond = _set_axis(marked, axis, index, ranks)
        if bond is not None:
            axes[frozenset(axis.ends)] = bond
    groups = []
    for group in marks.groups:
        centres = [index[i] for i in sorted(group.centres) if i in index]
        centres = [i for i in centres if marked.GetAtomWithIdx(i).GetChiralTag()]
        bonds = [axes[ends] for ends in group.axes if ends in axes]
        if centres or bonds:
            kind = _TYPES[group.sign]
            groups.append(Chem.CreateStereoGroup(kind, marked, centres, sorted(bonds)))
    marked.SetStereoGroups(groups)
    return marked


def _set_axis(mol: Chem.Mol, axis: Axis, index: dict[int, int], ranks: list[int]) -> int | None:
    """Mark an axis; returns its bond, or None where the molecule has no such axis.

    Nothing turns into something else about an end whose two neighbours are alike.
    """
    if not all(i in index for i in axis.ends):
        return None
    bond = mol.GetBondBetweenAtoms(*(index[i] for i in axis.ends))
    if bond is None:
        return None
    ends = [mol.GetAtomWithIdx(index[i]) for i in axis.ends]
    clockwise = axis.clockwise
    for end, other, input_neighbour in zip(ends, reversed(ends), axis.neighbours, strict=True):
        neighbours = _neighbours(end, other)
        if not neighbours or len({ranks[n.GetIdx()] for n in neighbours}) < len(neighbours):
            return None
        if _index(neighbours[0]) != input_neighbour:
            clockwise = not clockwise
    bond.SetStereo(CLOCKWISE if clockwise else COUNTERCLOCKWISE)
    return bond.GetIdx()


# ---------------------------------------------------------------------------- canonical form


def canonical_isomer(mol: Chem.Mol, marks: StereoMarks) -> tuple[Chem.Mol, StereoMarks]:
    """The isomer that stands for all that the marks allow, and its marks, for any spelling.

    Groups that leave the molecule the same (the two isomers of a meso compound) say nothing and
    go.
    """
    marked, _ = _canonical(_marked(mol, marks))
    for group in stereo_marks(marked).groups:
        fewer = stereo_marks(marked)
        fewer = fewer._replace(groups=tuple(g for g in fewer.groups if g != group))
        isomer, isomer_text = _canonical(_marked(marked, fewer))
        if isomer_text == _canonical(_turned(_marked(marked, fewer), group))[1]:
            marked = isomer
    return marked, stereo_marks(marked)


def _canonical(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """The molecule as its canonical CXSMILES is read, and that CXSMILES."""
    if mol.GetStereoGroups() and _axes(mol):
        return _canonical_with_axes(mol)
    previous = None
    for _ in range(10):
        mol = Chem.CanonicalizeStereoGroups(mol, Chem.StereoGroupAbsOptions.NeverInclude) or mol
        text = _written(mol)
        if text == previous:
            return mol, text
        previous = text
        mol = _read_back(mol)
    raise MoleculeError("no stable SMILES", text)


def _canonical_with_axes(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """The same where groups stand beside axes, which RDKit's own canonical form mixes up.

    Of all isomers that the groups allow, and all ways to number the groups, the one whose CXSMILES
    sorts first, with the groups as isotope labels.
    """
    marks = stereo_marks(mol)
    if len(marks.groups) > MOST_GROUPS:
        raise MoleculeError(
            "no stable SMILES",
            f"{len(marks.groups)} stereo groups beside axes, limit {MOST_GROUPS}",
        )
    absolute = marks._replace(groups=())
    candidates = []
    for turned in itertools.product((False, True), repeat=len(marks.groups)):
        isomer = _marked(mol, absolute)
        for group in itertools.compress(marks.groups, turned):
            isomer = _turned(isomer, group)
        for groups in itertools.permutations(marks.groups):
            labelled = _labelled(isomer, groups)
            candidates.append((_written(labelled), labelled))
    text, first = min(candidates, key=lambda candidate: candidate[0])
    isomer = _read_back(first)
    for atom in atoms(isomer):
        atom.SetIsotope(0)
    return _marked(isomer, stereo_marks(isomer)._replace(groups=marks.groups)), text


def _labelled(mol: Chem.Mol, groups: tuple[Group, ...]) -> Chem.Mol:
    """A copy whose atoms say by isotope labels which of the groups they belong to."""
    labelled = Chem.Mol(mol)
    for number, group in enumerate(groups, 1):
        members = group.centres.union(*group.axes)
        for atom in atoms(labelled):
            if _index(atom) in members:
                atom.SetIsotope(2 * number + (group.sign == "o"))
    return labelled


def _written(mol: Chem.Mol) -> str:
    return Chem.MolToCXSmiles(mol, Chem.SmilesWriteParams(), int(_WRITTEN))


def _read_back(mol: Chem.Mol) -> Chem.Mol:
    """The molecule as its own CXSMILES is read, atoms with their input index."""
    fields = int(_WRITTEN | Chem.CXSmilesFields.CX_ATOM_PROPS)
    text = Chem.MolToCXSmiles(mol, Chem.SmilesWriteParams(), fields)
    read = Chem.MolFromSmiles(text)
    if read is None:
        raise MoleculeError("no stable SMILES", f"RDKit cannot read {text}, which it wrote")
    for atom in atoms(read):
        atom.SetIntProp(INPUT_INDEX, int(atom.GetProp(INPUT_INDEX)))
    return read


def _turned(mol: Chem.RWMol, group: Group) -> Chem.RWMol:
    """The isomer with all centres and axes of a group turned over."""
    for atom in atoms(mol):
        if _index(atom) in group.centres:
            atom.InvertChirality()
    senses = {bond.GetIdx(): bond.GetStereo() for bond in _axes(mol)}
    # Marks of para-substituted rings depend on each other; this loses axes, which are set again.
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    for index, sense in senses.items():
        bond = mol.GetBondWithIdx(index)
        if frozenset(map(_index, _ends(bond))) in group.axes:
            sense = COUNTERCLOCKWISE if sense == CLOCKWISE else CLOCKWISE
        bond.SetStereo(sense)
    return mol


# -------------------------------------------------------------------------------------- text


def stereo_text(mol: Chem.Mol, smiles: str, marks: StereoMarks) -> str:
    """The marks as the extension of a CXSMILES; the molecule is the SMILES as read."""
    marked = _marked(mol, marks)
    position = {_index(atom): atom.GetIdx() for atom in atoms(marked)}
    wedges = [_wedge(bond, smiles) for bond in _axes(marked)]
    words = ["wU:" + ",".join(wedges)] if wedges else []
    groups = stereo_marks(marked).groups
    for sign in ("o", "&"):
        members = sorted(_members(group, position) for group in groups if group.sign == sign)
        for number, indices in enumerate(members, 1):
            words.append(f"{sign}{number}:" + ",".join(map(str, indices)))
    return ",".join(words)


def _members(group: Group, own: dict[int, int]) -> list[int]:
    """The atoms that stand for a group: its centres, and of each axis the first end."""
    first_ends = [min(own[i] for i in ends) for ends in group.axes]
    return sorted([*(own[i] for i in group.centres), *first_ends])


def _wedge(axis: Chem.Bond, smiles: str) -> str:
    """The atom and the bond whose wedge makes RDKit read an axis in its sense.

    A CXSMILES numbers bonds as they are written, where RDKit's molecule has those that close a
    ring at the end: reading it back is the sure way.
    """
    begin = min(axis.GetBeginAtomIdx(), axis.GetEndAtomIdx())
    for bond in range(axis.GetOwningMol().GetNumBonds()):
        wedge = f"{begin}.{bond}"
        read = Chem.MolFromSmiles(f"{smiles} |wU:{wedge}|")
        if read is not None and _same_axes(read, axis):
            return wedge
    raise MoleculeError("no stable SMILES", f"no wedge of {smiles} marks its axis")


def _same_axes(read: Chem.Mol, axis: Chem.Bond) -> bool:
    return [(b.GetIdx(), b.GetStereo()) for b in _axes(read)] == [(axis.GetIdx(), axis.GetStereo())]


def kinds_of_stereo(text: str) -> Iterable[str]:
    """What a text of `stereo_text` speaks of: both isomers, one of two, an axis."""
    return [meaning for sign, meaning in KINDS.items() if sign in text]
