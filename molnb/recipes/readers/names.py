"""Names of columns: which usually hold the SMILES, which an identifier, and which a file may have.

Names are compared by their letters and digits alone, in lower case: "Molecule ChEMBL ID" is
"moleculechemblid".
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ...errors import InputError
from .archives import Member

_SMILES = frozenset(
    """smiles canonicalsmiles cansmiles isomericsmiles isosmiles canonicalisomericsmiles cxsmiles
    cxsmilescanonical smilesstring smilesstr smilesunify smilescanonical smilesisomeric smilescode
    absolutesmiles curatedsmiles standardizedsmiles standardisedsmiles standardsmiles
    neutralizedsmiles rdkitsmiles openeyesmiles pubchemsmiles moleculesmiles molsmiles
    compoundsmiles ligandsmiles drugsmiles structuresmiles qsarreadysmiles desaltedsmiles
    parentsmiles smilesparent canonicalsmilesrdkit extendedsmiles""".split()
)
# Taken where no name holds "smiles": often SMILES, sometimes not.
_STRUCTURES = frozenset("smi structure structures mol drug".split())
_ATOMS = ("numbers", "atomicnumbers", "atoms", "z", "species", "elements", "symbols")
_COORDS = ("coords", "coordinates", "positions", "pos", "xyz", "r")
_IDENTIFIERS = frozenset(
    """id ids idx identifier name names title molecule moleculename moleculeid molid molname
    moleculechemblid chemblid chembl compound compoundid compoundname compoundno compoundnumber
    compoundchemblid compoundkey cmpd cmpdid cmpdname cpd cpdid cpdname comp compid cid pubchemcid
    pubchemid sid pubchemsid substanceid substancename sampleid samplename zincid zinc dtxsid
    dtxcid casrn cas casno casnumber casregistrynumber drugid drugname drugbankid ligand ligandid
    ligandname chemicalname chemicalid commonname preferredname iupacname molregno gdbid
    idnumber uniqueid externalid internalid catalogid catalognumber catalogno catnumber vendorid
    supplierid orderid productid registrynumber registryid regid batchid code compoundcode
    enamineid chemspiderid unii ncgcid nscid nsc tox21id bindingdbid inchikey""".split()
)


def plain_letters(name: str) -> str:
    """A name reduced to its lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_identifier_name(name: str) -> bool:
    """Whether a column of this name usually holds identifiers."""
    return plain_letters(name) in _IDENTIFIERS


def smiles_candidates(names: list[str]) -> list[str]:
    """The columns that may hold the SMILES, by the most telling kind of name that there is."""
    plain = {name: plain_letters(name) for name in names}
    kinds = (
        [name for name in names if plain[name] == "smiles"],
        [name for name in names if plain[name] in _SMILES],
        [name for name in names if "smiles" in plain[name]],
        [name for name in names if plain[name] in _STRUCTURES],
    )
    return next((kind for kind in kinds if kind), [])


def geometry_columns(names: list[str]) -> dict[str, str] | None:
    """The columns of atoms and of coordinates where both bear a usual name; None else."""
    plain = {plain_letters(name): name for name in names}
    atoms = [plain[name] for name in _ATOMS if name in plain]
    coords = [plain[name] for name in _COORDS if name in plain]
    return {"numbers": atoms[0], "coords": coords[0]} if atoms and coords else None


def identifier_column(names: list[str], structure: str | None = None) -> str | None:
    """The first column with a usual name of identifiers, other than that of the structures."""
    return next((name for name in names if name != structure and is_identifier_name(name)), None)


def checked_names(path: Path | Member, line: int, written: list[str]) -> list[str]:
    """The names of a header without blanks around them; a column without a name gets a number.

    Raises InputError where two columns bear one name.
    """
    names = [" ".join(re.split(r"\s*[\r\n]\s*", name.strip())) for name in written]
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            places = ", ".join(str(k) for k, other in enumerate(names, 1) if other == name)
            raise InputError(
                f"{path}: column '{name}' stands {count} times in the header (line {line}, "
                f"columns {places}); rename all but one, or leave them out."
            )
    for k, name in enumerate(names):
        if not name:
            names[k] = unused_name(f"column_{k + 1}", names)
    return names


def unused_name(name: str, names: list[str]) -> str:
    """A name that none of the others is."""
    while name in names:
        name += "_"
    return name
