"""What a molecule is made of: the account that standardisation must not change."""

from __future__ import annotations

import re
from collections import Counter

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

_TERMS = re.compile(r"([A-Z][a-z]?)(\d*)|([+-])(\d*)")


def composition_of(*mols: Chem.Mol) -> Counter:
    """Atoms of each element in all these molecules, and under H the hydrogens minus the charge.

    Moving protons, within a molecule or to and from it, leaves every one of these numbers as it is;
    so does a salt that is drawn as ions. An element that is not there counts 0.
    """
    counts: Counter = Counter()
    for mol in mols:
        for symbol, n_atom, sign, charge in _TERMS.findall(rdMolDescriptors.CalcMolFormula(mol)):
            if symbol:
                counts[symbol] += int(n_atom or 1)
            else:
                counts["H"] -= int(sign + (charge or "1"))
    return counts


def as_formula(counts: Counter) -> str:
    """A composition as one line: C6 H5, the H being hydrogens minus charge."""
    return " ".join(f"{symbol}{n}" for symbol, n in sorted(counts.items()) if n)
