"""Quantum-chemical labels: GFN2-xTB single points on a given geometry, through tblite.

Source: Bannwarth, Ehlert & Grimme, J. Chem. Theory Comput. 15, 1652 (2019); ALPB solvation: Ehlert,
Stahn, Spicher & Grimme, J. Chem. Theory Comput. 17, 4250 (2021). tblite computes much that means
nothing (radicals, bare ions, metals, stretched geometries); such molecules raise
``UndefinedLabelError`` with the reason, and their labels stay missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..shapes import Float, Integer
from ..units import EV_PER_HARTREE

BOHR_PER_ANGSTROM = 1 / 0.529177210903  # CODATA 2018
DEBYE_PER_E_BOHR = 2.541746473  # CODATA 2018
# Atomic numbers of H B C N O F Si P S Cl Br I: labels of other elements are not trusted.
TRUSTED_ELEMENTS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53)
# Electrons: at 300 K, a gap below about 0.3 eV puts more than this above the Fermi level.
MAX_FRACTION = 0.01
# tblite's measure of SCF thresholds, 1 by default. An energy is right to second order: at 10 the
# solvation free energies of 90 molecules stay within 3e-5 eV of fully converged ones, for 30 %
# fewer cycles.
SOLVENT_ACCURACY = 10.0
# Octanol is the dry solvent in tblite; "woctanol" would be the wet one.
SOLVENT_MODELS = ("water", "octanol")

NO_GEOMETRY = "no optimised geometry"
CHARGED = "charged after standardisation"
ELEMENT = "element outside H B C N O F Si P S Cl Br I"
ODD = "odd number of electrons"
FRACTIONAL = "fractional occupation"
UNCONVERGED = "SCF not converged"
MISSING_REASONS = (NO_GEOMETRY, CHARGED, ELEMENT, ODD, UNCONVERGED, FRACTIONAL)


class UndefinedLabelError(Exception):
    """A molecule whose labels would be numbers without meaning, for one of MISSING_REASONS."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class XTB(NamedTuple):
    """GFN2-xTB labels of one conformer.

    `energy` is electronic plus nuclear, against free electrons and nuclei of the valence shell;
    solvation labels are ALPB free energies, from 1 mol/L ideal gas to 1 mol/L solution, with the
    geometry kept.
    """

    energy: float  # eV
    homo: float  # eV
    lumo: float  # eV
    gap: float  # eV
    dipole: float  # D
    solvation_water: float  # eV
    solvation_octanol: float  # eV
    charges: Float[np.ndarray, " atom"]  # e, Mulliken
    bond_orders: Float[np.ndarray, "atom atom"]  # Wiberg, zero on the diagonal

    def of_molecule(self) -> dict[str, float]:
        """The labels that are one number a molecule, by name."""
        return {name: value for name, value in self._asdict().items() if isinstance(value, float)}


def xtb_labels(
    numbers: Integer[np.ndarray, " atom"],
    coords: Float[np.ndarray, "atom xyz"],
    charge: int = 0,
    converged: bool = True,
) -> XTB:
    """Compute the labels of one geometry (Å), or raise ``UndefinedLabelError``.

    ``converged`` says whether the force field reached a minimum: electronic labels of a
    half-relaxed geometry are not comparable. One thread, nothing printed.
    """
    numbers = np.asarray(numbers, dtype=np.int32)
    _refuse_meaningless(numbers, charge, converged)
    positions = np.asarray(coords, dtype=float) * BOHR_PER_ANGSTROM
    with _one_thread():
        gas = _single_point(numbers, positions, charge)
        energy = gas.get("energy")
        homo, lumo = _frontier_orbitals(gas)
        dipole = np.linalg.norm(gas.get("dipole")) * DEBYE_PER_E_BOHR
        charges = gas.get("charges")
        bond_orders = gas.get("bond-orders")
        solvation = {}
        # Each SCF starts from the one before, and overwrites it: gas, water, octanol.
        for solvent in SOLVENT_MODELS:
            solvated = _single_point(numbers, positions, charge, solvent, gas)
            solvation[solvent] = (solvated.get("energy") - energy) * EV_PER_HARTREE
    labels = XTB(
        energy=float(energy * EV_PER_HARTREE),
        homo=float(homo),
        lumo=float(lumo),
        gap=float(lumo - homo),
        dipole=float(dipole),
        solvation_water=float(solvation["water"]),
        solvation_octanol=float(solvation["octanol"]),
        charges=charges.astype(np.float32),
        bond_orders=bond_orders.reshape(len(numbers), -1).astype(np.float32),
    )
    if not np.isfinite(list(labels.of_molecule().values())).all():
        raise UndefinedLabelError(UNCONVERGED)
    return labels


def _refuse_meaningless(numbers: np.ndarray, charge: int, converged: bool) -> None:
    if not converged:
        raise UndefinedLabelError(NO_GEOMETRY)
    if charge != 0:
        raise UndefinedLabelError(CHARGED)
    if not np.isin(numbers, TRUSTED_ELEMENTS).all():
        raise UndefinedLabelError(ELEMENT)
    if numbers.sum() % 2:
        raise UndefinedLabelError(ODD)


def _silent(_message: str) -> None:
    """tblite's logger: printing is its default even for warnings."""


def _single_point(numbers, positions, charge, solvent=None, restart=None):
    """One SCF; ``restart`` is a finished result, which is overwritten."""
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    calculator = Calculator(
        "GFN2-xTB", numbers, positions, charge=float(charge), color=False, logger=_silent
    )
    calculator.set("verbosity", 0)
    if solvent is not None:
        calculator.add("alpb-solvation", solvent, "gsolv")
        calculator.set("accuracy", SOLVENT_ACCURACY)
    try:
        return calculator.singlepoint(restart)
    except TBLiteRuntimeError as error:
        raise UndefinedLabelError(UNCONVERGED) from error


def _frontier_orbitals(result) -> tuple[float, float]:
    """Energies in eV of the highest occupied and lowest empty orbital of a closed shell."""
    energies = result.get("orbital-energies")
    occupations = result.get("orbital-occupations")
    if np.minimum(occupations, 2 - occupations).max() > MAX_FRACTION:
        raise UndefinedLabelError(FRACTIONAL)
    n_occupied = int(np.count_nonzero(occupations > 1))
    if n_occupied == len(energies):  # a minimal basis without an empty orbital has no LUMO
        raise UndefinedLabelError(FRACTIONAL)
    return energies[n_occupied - 1] * EV_PER_HARTREE, energies[n_occupied] * EV_PER_HARTREE


@functools.cache
def _openmp():
    """The OpenMP runtime that tblite itself is linked to, or None where it was built without."""
    from tblite import _libtblite

    library = ctypes.CDLL(_libtblite.__file__)
    return library if hasattr(library, "omp_set_num_threads") else None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run tblite on one thread, then give the setting back: torch may share the runtime."""
    openmp = _openmp()
    before = openmp.omp_get_max_threads() if openmp else 1
    if before > 1:
        openmp.omp_set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            openmp.omp_set_num_threads(before)
