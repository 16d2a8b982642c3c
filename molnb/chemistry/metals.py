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
# Germanium, arsenic, selenium, antimony, tellurium.
METALLOIDS = frozenset((32, 33, 34, 51, 52))


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
    germanium, arsenic, antimony, selenium and tellurium are no metals. A counter-ion that is bound
    to carbon, or stands beside a carbanion (butyllithium, Grignard reagents, sodium
    cyclopentadienide), is none: such a compound is no molecule of the hydrocarbon.
    """
    counter_ion = None
    for atom in atoms(disconnected):
        if atom.GetAtomicNum() in COUNTER_ION_METALS:
            counter_ion = atom
            if any(n.GetAtomicNum() == 6 for n in atom.GetNeighbors()):
                raise _metal(atom, "is bound to carbon")
        if atom.GetAtomicNum() in COVALENT_METALS:
            if not any(n.GetAtomicNum() == 6 for n in atom.GetNeighbors()):
                raise _metal(atom, "is not bound to carbon")
            if atom.GetFormalCharge():
                raise _metal(atom, "is an ion")
    if counter_ion is not None and any(map(_is_carbanion, atoms(disconnected))):
        raise _metal(counter_ion, "stands beside a carbanion")


def _is_carbanion(atom: Chem.Atom) -> bool:
    """Whether an atom is a negative carbon that no group beside it makes an acid.

    Cyanides, ylides and anions of acids (acetylacetone, malononitrile, nitromethane) are none.
    """
    if atom.GetAtomicNum() != 6 or atom.GetFormalCharge() >= 0 or _holds_charge(atom):
        return False
    return not any(n.GetFormalCharge() > 0 or _holds_charge(n) for n in atom.GetNeighbors())


def _holds_charge(atom: Chem.Atom) -> bool:
    """Whether an atom has a multiple bond to nitrogen, oxygen, sulfur or the like."""
    return any(
        bond.GetBondType() in (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
        and bond.GetOtherAtom(atom).GetAtomicNum() != 6
        for bond in atom.GetBonds()
    )


def refuse_metalloid_salt(mol: Chem.Mol) -> None:
    """Raise MoleculeError where a metalloid is part of what accompanies a molecule.

    The activity is then the metalloid's: tartar emetic is no tartaric acid, and meglumine
    antimoniate no meglumine. Counter-ions with six halogens (hexafluoroantimonate) are harmless.
    """
    fragments = Chem.GetMolFrags(mol)
    if len(fragments) == 1:
        return
    for fragment in fragments:
        members = [mol.GetAtomWithIdx(index) for index in fragment]
        if any(atom.GetAtomicNum() == 6 for atom in members):
            continue
        for atom in members:
            hexahalide = atom.GetDegree() == 6 and atom.GetFormalCharge() == -1
            if atom.GetAtomicNum() in METALLOIDS and not hexahalide:
                raise _metal(atom, "stands in a fragment without carbon")


def _metal(atom: Chem.Atom, state: str) -> MoleculeError:
    return MoleculeError(
        "organometallic or metal complex",
        f"{atom.GetSymbol()} {state}; structure.metals: remove in the recipe keeps what is organic",
    )
