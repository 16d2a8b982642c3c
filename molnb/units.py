"""Units: factors by which labels are converted, each once, and names that carry a unit."""

from __future__ import annotations

# CODATA 2018, as in the units promise: energies eV, polarisabilities Å³.
EV_PER_HARTREE = 27.211386245988
FARADAY = 96485.33212  # C/mol: one eV a molecule is so many J/mol
# 4184 / FARADAY is 0.04336410424. This one is 1.3e-9 too high and stays: every force field energy
# that shards hold was made with it.
EV_PER_KCAL_MOL = 0.0433641043

CONVERSIONS: dict[tuple[str, str], float] = {
    ("Hartree", "eV"): EV_PER_HARTREE,
    ("kcal/mol", "eV"): 4184 / FARADAY,
    ("kJ/mol", "eV"): 1000 / FARADAY,
    ("meV", "eV"): 1e-3,
    ("a0^3", "Å^3"): 0.14818471147,
    ("1/cm", "GHz"): 29.9792458,
    ("nM", "uM"): 1e-3,
}

UNITLESS = ("", "1")  # how a label says that it is a plain number


def with_unit(name: str, unit: str) -> str:
    """A quantity as an axis names it, `gap (eV)`; a number without a unit stays bare."""
    return name if unit in UNITLESS else f"{name} ({unit})"


def with_suffix(name: str, unit: str) -> str:
    """A name for a column or metric, `gap_eV`; that of a number without a unit stays bare."""
    return name if unit in UNITLESS else f"{name}_{unit}"
