"""Units: factors by which labels are converted, each once, and names that carry a unit."""

from __future__ import annotations

# CODATA 2018, as in the units promise: energies eV, polarisabilities Å³.
EV_PER_HARTREE = 27.211386245988
FARADAY = 96485.33212  # C/mol: one eV a molecule is so many J/mol
# 4184 / FARADAY is 0.04336410424. This one is 1.3e-9 too high and stays: every force field energy
# that shards hold was made with it.
EV_PER_KCAL_MOL = 0.0433641043

ANGSTROM_PER_BOHR = 0.529177210903  # CODATA 2018, as the dipole of one e a0
DEBYE_PER_AU = 2.541746473

CONVERSIONS: dict[tuple[str, str], float] = {
    ("Hartree", "eV"): EV_PER_HARTREE,
    ("kcal/mol", "eV"): 4184 / FARADAY,
    ("kJ/mol", "eV"): 1000 / FARADAY,
    ("meV", "eV"): 1e-3,
    ("eV", "kcal/mol"): FARADAY / 4184,
    ("eV", "kJ/mol"): FARADAY / 1000,
    ("eV", "Hartree"): 1 / EV_PER_HARTREE,
    ("Hartree", "kcal/mol"): EV_PER_HARTREE * FARADAY / 4184,
    ("kcal/mol", "kJ/mol"): 4.184,
    ("kJ/mol", "kcal/mol"): 1 / 4.184,
    ("a0^3", "Å^3"): 0.14818471147,
    ("a0^2", "Å^2"): ANGSTROM_PER_BOHR**2,
    ("a0", "Å"): ANGSTROM_PER_BOHR,
    ("bohr", "Å"): ANGSTROM_PER_BOHR,
    ("nm", "Å"): 10.0,
    ("pm", "Å"): 0.01,
    ("e a0", "D"): DEBYE_PER_AU,
    ("Debye", "D"): 1.0,
    ("debye", "D"): 1.0,
    ("1/cm", "GHz"): 29.9792458,
}
# Mass in a volume: one factor whatever the substance. From mass to moles there is none.
_MASS = {"g/L": 0, "mg/mL": 0, "mg/L": -3, "ug/mL": -3, "µg/mL": -3, "μg/mL": -3, "ng/mL": -6}
_MOLAR = {"M": 0, "mM": -3, "uM": -6, "µM": -6, "μM": -6, "nM": -9, "pM": -12}  # powers of ten
CONVERSIONS |= {
    (source, target): float(f"1e{powers[source] - powers[target]}")
    for powers in (_MOLAR, _MASS)
    for source in powers
    for target in powers
    if source != target
}

UNITLESS = ("", "1")  # how a label says that it is a plain number


def with_unit(name: str, unit: str) -> str:
    """A quantity as an axis names it, `gap (eV)`; a number without a unit stays bare."""
    return name if unit in UNITLESS else f"{name} ({unit})"


def with_suffix(name: str, unit: str) -> str:
    """A name for a column or metric, `gap_eV`; that of a number without a unit stays bare."""
    return name if unit in UNITLESS else f"{name}_{unit}"


def readable(value: float, n_decimal: int = 3, sign: str = "", in_unit: bool = True) -> str:
    """A number as people read it: decimals, or an exponent where they say nothing, or too much.

    An error of 3e-8 mol/L is not 0.000. Small scores without a unit may be. `sign` "+" shows it.
    """
    is_small = 0 < abs(value) < 10.0**-n_decimal and in_unit
    if is_small or abs(value) >= 1e6:
        return f"{value:{sign}.2e}"
    return f"{round(value, n_decimal) + 0.0:{sign}.{n_decimal}f}"  # + 0.0: no minus zero


def conversion_factor(source: str, target: str) -> float:
    """The factor from one unit to another; ValueError where none is known."""
    if source == target:
        return 1.0
    if (source, target) in CONVERSIONS:
        return CONVERSIONS[source, target]
    targets = [b for a, b in CONVERSIONS if a == source]
    choices = f"{source} converts to {', '.join(targets)}"
    if not targets:
        units = dict.fromkeys(a for a, _ in CONVERSIONS)
        choices = f"units that convert are {', '.join(units)}"
    raise ValueError(f"no conversion from {source} to {target} ({choices})")


def length_factor(unit: str) -> float:
    """The factor from a unit of length to Å; it may have a number before it, as in 1e-4 Å."""
    number, _, name = unit.rpartition(" ")
    return float(number or 1) * conversion_factor(name, "Å")
