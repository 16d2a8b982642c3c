"""Units that labels are converted between, each once, when rows are read."""

from __future__ import annotations

# CODATA 2018, as in the units promise: energies eV, polarisabilities Å³.
CONVERSIONS: dict[tuple[str, str], float] = {
    ("Hartree", "eV"): 27.211386245988,
    ("kcal/mol", "eV"): 4184 / 96485.33212,
    ("kJ/mol", "eV"): 1000 / 96485.33212,
    ("meV", "eV"): 1e-3,
    ("a0^3", "Å^3"): 0.14818471147,
    ("1/cm", "GHz"): 29.9792458,
    ("nM", "uM"): 1e-3,
}
