"""Frames of XYZ files as mol blocks with their coordinates; bonds follow from the distances.

In extended XYZ the values of the comment are columns, and so are further columns of the atoms, as
lists in the order of the atoms.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .archives import Member
from .extended_xyz import (
    AtomColumn,
    atom_columns,
    atom_values,
    comment_values,
    further_columns,
    structure_columns,
)
from .lines import NumberedLines, read_lines
from .record import Record

MAX_BOND_ORDER_STEPS = 20_000  # of RDKit's search, which has no end for some large molecules
# Times the sum of two covalent radii, the longest bond. Of 4,000 QM9 geometries 1.3 alone gives 222
# a bond too many, across strained rings, and then no valences; these three in turn none.
BOND_LENGTH_FACTORS = (1.3, 1.2, 1.15)
_N_SAMPLED = 1000  # frames that tell which columns there are
_CHARGE = re.compile(r"\bcharge\s*=\s*\"?([+-]?\d+)\b", re.IGNORECASE)

_ELEMENT = AtomColumn("species", "S", slice(0, 1))
_POSITION = AtomColumn("pos", "R", slice(1, 4))


class _Atom(NamedTuple):
    element: str  # a symbol or an atomic number
    position: list[float]  # Å
    words: list[str]  # of its line


def xyz_columns(path: Path | Member) -> list[str]:
    """``name``, and the columns that the comments of the first frames name."""
    lines = read_lines(path)
    names: dict[str, None] = {"name": None}
    n_frame = 0
    for text in lines:
        if not text.strip().isdecimal():
            continue
        names |= dict.fromkeys(_comment_columns(next(lines, "")))
        for _ in itertools.islice(lines, int(text)):
            pass
        n_frame += 1
        if n_frame == _N_SAMPLED:
            break
    return list(names)


def _comment_columns(comment: str) -> list[str]:
    values = comment_values(comment)
    properties = values.pop("Properties", None)
    try:
        atoms = [] if properties is None else further_columns(atom_columns(properties))
    except ValueError:
        atoms = []
    return [*values, *(column.name for column in atoms)]


def xyz_records(path: Path | Member) -> Iterator[Record]:
    """Every frame of an XYZ file, named by its comment, or else by the file.

    Bonds are perceived for charge 0, or for the charge that the comment states (``charge=-1``);
    a frame to which none fit is malformed. So is text between frames.
    """
    lines = NumberedLines(enumerate(read_lines(path), 1))
    stem = path.name.split(".")[0]
    n_record = 0
    for number, text in lines:
        if not text.strip():
            continue
        if text.strip().isdecimal():
            n_record += 1
            name = stem if n_record == 1 else f"{stem} {n_record}"
            yield _frame(number, int(text), name, lines)
            continue
        lines.put_back([(number, text)])
        last = _skip_text(lines)
        # QM9 writes frequencies, SMILES and InChI behind the atoms.
        if not last.startswith("InChI=") or n_record == 0:
            problem = f"no number of atoms, with which a frame begins: {text.strip()[:40]!r}"
            yield Record(number, {"name": None}, problem)


def _skip_text(lines: NumberedLines) -> str:
    """Go on to the next line that states a number of atoms; returns the last line with a word."""
    last = ""
    for number, text in lines:
        if text.strip().isdecimal():
            lines.put_back([(number, text)])
            break
        last = text.strip() or last
    return last


def _frame(number: int, n_atom: int, name: str, lines: NumberedLines) -> Record:
    """The record of one frame, whose number of atoms stood on line ``number``."""
    comment = next(iter(lines), (0, ""))[1].strip()
    fields: dict[str, Any] = {"name": _title(comment) or name} | comment_values(comment)
    properties = fields.pop("Properties", None)
    try:
        columns = None if properties is None else atom_columns(properties)
        structure = None if columns is None else structure_columns(columns)
    except ValueError as error:
        return _without_structure(number, fields, n_atom, lines, str(error))
    atoms: list[_Atom] = []
    for line, text in itertools.islice(lines, n_atom) if columns else lines:
        atom = _read_atom(text, structure)
        if atom is None:
            lines.put_back([(line, text)])
            break
        atoms.append(atom)
    if len(atoms) != n_atom:
        return Record(number, fields, f"{len(atoms)} atoms where the frame states {n_atom}")
    if not atoms:
        return Record(number, fields, "a frame without atoms")
    stated = _CHARGE.search(comment)
    try:
        for column in further_columns(columns) if columns else ():
            fields[column.name] = atom_values(column, [atom.words for atom in atoms])
    except (IndexError, ValueError) as error:
        return Record(number, fields, f"the column '{column.name}' of the atoms: {error}")
    try:
        molblock = _molblock(fields["name"], atoms, int(stated[1]) if stated else 0)
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        return Record(number, fields, f"no bonds could be perceived ({text[:160]})")
    return Record(number, fields, None, molblock)


def _without_structure(
    number: int, fields: dict[str, Any], n_atom: int, lines: NumberedLines, problem: str
) -> Record:
    """The record of a frame that cannot be read; its atoms are passed by."""
    for _ in itertools.islice(lines, n_atom):
        pass
    return Record(number, fields, problem)


def _title(comment: str) -> str | None:
    """A comment as the name of a frame, unless it is a list of properties, or a number."""
    if not comment or "=" in comment:
        return None
    try:
        float(comment)
    except ValueError:
        return comment
    return None


def _read_atom(text: str, structure: tuple[AtomColumn, AtomColumn] | None = None) -> _Atom | None:
    """The atom of a line, or None where it holds none; ``structure`` says where its parts stand.

    Without, the element stands first, and behind it the position.
    """
    words = text.split()
    element, position = structure or (_ELEMENT, _POSITION)
    if len(words) < position.words.stop or len(words) < element.words.stop:
        return None
    symbol = words[element.words][0]
    if not (symbol.isalpha() or symbol.isdecimal()):
        return None
    try:
        place = [float(word.replace("*^", "e")) for word in words[position.words]]
    except ValueError:
        return None
    return _Atom(symbol, place, words) if all(map(math.isfinite, place)) else None


def _molblock(name: str, atoms: list[_Atom], charge: int) -> str:
    """The atoms with the bonds that their distances tell, as a mol block in three dimensions."""
    from rdkit import Chem, rdBase
    from rdkit.Geometry import Point3D

    molecule = Chem.RWMol()
    conformer = Chem.Conformer(len(atoms))
    conformer.Set3D(True)
    for k, (element, position, _) in enumerate(atoms):
        try:
            atom = Chem.Atom(int(element) if element.isdecimal() else element.capitalize())
        except RuntimeError:
            raise ValueError(f"{element!r} is no element") from None
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
        conformer.SetAtomPosition(k, Point3D(*position))
    molecule.AddConformer(conformer)
    molecule.SetProp("_Name", " ".join(name.split())[:80])
    with rdBase.BlockLogs():
        return Chem.MolToMolBlock(bonded_by_distances(molecule, charge))


def bonded_by_distances(molecule: Any, charge: int) -> Any:
    """The molecule with bonds: with the longest that give every atom a valence."""
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    first_error = None
    for factor in BOND_LENGTH_FACTORS:
        bonded = Chem.RWMol(molecule)
        try:
            rdDetermineBonds.DetermineBonds(
                bonded,
                charge=charge,
                covFactor=factor,
                useVdw=True,
                maxIterations=MAX_BOND_ORDER_STEPS,
            )
        except (RuntimeError, ValueError) as error:  # RDKit's, among them its limit of steps
            first_error = first_error or error
            continue
        _refuse_charged_sulfur(bonded)
        return bonded
    raise first_error


def _refuse_charged_sulfur(molecule: Any) -> None:
    """Raise ValueError for S+ with a double bond to carbon: RDKit so writes some thioesters."""
    for bond in molecule.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        symbols = {atom.GetSymbol() for atom in ends}
        charges = [atom.GetFormalCharge() for atom in ends]
        if symbols == {"S", "C"} and bond.GetBondTypeAsDouble() > 1 and max(charges) > 0:
            raise ValueError("a sulfur would be S+ with a double bond; give SMILES or an SDF")
