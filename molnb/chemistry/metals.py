"""Metals: which of them are counter-ions, and which make a row no molecule of its ligands."""

from __future__ import annotations

from rdkit import Chem

from .failures import MoleculeError
from .parsing import atoms

_ALKALI = (3, 11, 19, 37, 55, 87)
_ALKALINE_EARTH = (4, 12, 20, 38, 56, 88)
COUNTER_ION_METALS = frozenset(_ALKALI + _ALKALINE_EARTH)
_MERCURY = 80
# Aluminium, gallium, indium, tin, thallium, lead, bismuth, polonium; and mercury, whose compounds
# with carbon are covalent molecules as those of tin are.
COVALENT_METALS = frozenset((13, 31, 49, 50, 81, 82, 83, 84, _MERCURY))
# The d and f blocks.
_D_BLOCK = [*range(21, 31), *range(39, 49), *range(72, 81), *range(104, 113)]
_F_BLOCK = [*range(57, 72), *range(89, 104)]
TRANSITION_METALS = frozenset([*_D_BLOCK, *_F_BLOCK]) - {_MERCURY}
METALS = COUNTER_ION_METALS | COVALENT_METALS | TRANSITION_METALS
_CHELATED = 3  # bonds of an alkaline-earth metal from which on it is the centre of a complex


def refuse_complex(mol: Chem.Mol) -> None:
    """Raise MoleculeError where a metal of the d or f block stands in a structure, however drawn.

    Ions side by side, covalent bonds, dative bonds, charges on the metal or none: such a compound
    is no molecule of its ligands. Zinc and cadmium count among them, mercury does not (see
    `refuse_salt`). So does an alkaline-earth metal with three bonds or more (chlorophyll).
    """
    for atom in atoms(mol):
        number = atom.GetAtomicNum()
        chelated = number in _ALKALINE_EARTH and atom.GetDegree() >= _CHELATED
        if number in TRANSITION_METALS or chelated:
            raise _metal(atom, "is part of it")


def refuse_salt(disconnected: Chem.Mol) -> None:
    """Raise MoleculeError where a metal that carries the activity was parted from what it binds.

    Lithium to caesium and beryllium to barium are counter-ions. Aluminium, tin, lead, bismuth,
    mercury and their kin are not: their salts are dropped, inorganic and organic ones
    (tributyltin acetate). They stay where they are bound to carbon and to nothing that leaves as
    an ion: tetraethyltin, phenylmercury chloride as a covalent molecule. Boron, silicon,
    germanium, arsenic, antimony, selenium and tellurium are no metals.
    """
    for atom in atoms(disconnected):
        if atom.GetAtomicNum() in COVALENT_METALS:
            if not any(n.GetAtomicNum() == 6 for n in atom.GetNeighbors()):
                raise _metal(atom, "is not bound to carbon")
            if atom.GetFormalCharge():
                raise _metal(atom, "is an ion")


def _metal(atom: Chem.Atom, state: str) -> MoleculeError:
    return MoleculeError(
        "organometallic or metal complex",
        f"{atom.GetSymbol()} {state}; structure.metals: remove in the recipe keeps what is organic",
    )
