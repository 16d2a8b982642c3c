"""What a removed fragment of a structure was: counter-ion, solvent, metal ion and the like."""

from __future__ import annotations

import functools

from rdkit import Chem

from .metals import METALS
from .parsing import atoms, with_explicit_hydrogens
from .salts import CARBON_ACIDS, COUNTER_IONS, INORGANIC_IONS, SOLVENTS, WATER
from .standardization import flat_set, flat_smiles

FURTHER_COPY = "further copy"


def removed_kinds(parent: str, removed: str) -> list[str]:
    """The kind of each fragment that was removed beside a parent, both as stored SMILES."""
    texts = removed.split(".") if removed else []
    return [FURTHER_COPY if text == parent else _kind(text) for text in texts]


@functools.lru_cache(maxsize=65536)
def _kind(smiles: str) -> str:
    """Counter-ion, solvent, metal ion or inorganic."""
    mol = Chem.MolFromSmiles(smiles, with_explicit_hydrogens())
    numbers = {atom.GetAtomicNum() for atom in atoms(mol)}
    if not METALS.isdisjoint(numbers):
        return "metal ion"
    flat = flat_smiles(mol)
    if flat in flat_set((*SOLVENTS, *WATER)):
        return "solvent"
    if flat in flat_set((*COUNTER_IONS, *CARBON_ACIDS, *INORGANIC_IONS)):
        return "counter-ion"
    return "inorganic"
