"""Quantum labels: right numbers and units, and none where a number would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("tblite")
from molnb.chemistry import xtb as quantum
from molnb.chemistry.conformer import make_conformer, mirror
from molnb.chemistry.features import molecule_arrays
from molnb.chemistry.xtb import UndefinedLabelError, xtb_labels

# Å, experiment
WATER = np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]])


def labelled(smiles: str) -> tuple[quantum.XTB, dict]:
    conformer = make_conformer(smiles)
    arrays = molecule_arrays(smiles)
    labels = xtb_labels(arrays["numbers"], conformer.coords, arrays["charge"], conformer.converged)
    return labels, arrays


def test_water_has_the_published_order_of_numbers_and_units() -> None:
    water = xtb_labels(np.array([8, 1, 1]), WATER)
    assert water.energy == pytest.approx(-5.0703 * 27.2114, abs=0.01)  # GFN2-xTB, eV
    assert water.gap == pytest.approx(water.lumo - water.homo)
    assert -13 < water.homo < -11
    assert 1.8 < water.dipole < 2.4  # D; measured 1.85
    assert -0.45 < water.solvation_water < -0.2  # eV; measured -0.27
    assert water.charges.sum() == pytest.approx(0, abs=1e-5) and water.charges[0] < 0
    assert water.bond_orders[0, 1] == pytest.approx(0.92, abs=0.05)
    assert np.allclose(water.bond_orders, water.bond_orders.T) and water.bond_orders[0, 0] == 0


def test_charges_of_all_atoms_sum_to_the_charge_of_the_molecule() -> None:
    for smiles in ("CCO", "C[C@H](N)C(=O)O", "O=C(O)c1ccccc1", "O=S(=O)(Nc1cccs1)c1ccccc1"):
        labels, arrays = labelled(smiles)
        assert labels.charges.shape == arrays["numbers"].shape
        assert labels.charges.sum() == pytest.approx(arrays["charge"], abs=1e-5)


def test_seven_labels_are_a_number_a_molecule() -> None:
    names = "energy homo lumo gap dipole solvation_water solvation_octanol".split()
    assert list(xtb_labels(np.array([8, 1, 1]), WATER).of_molecule()) == names


def test_bond_orders_tell_single_from_double_from_triple() -> None:
    orders = [labelled(smiles)[0].bond_orders[0, 1] for smiles in ("CC", "C=C", "C#C")]
    assert orders == pytest.approx([1, 2, 3], abs=0.2)


def test_enantiomers_have_equal_scalar_labels() -> None:
    smiles = "C[C@H](N)C(=O)O"
    labels = labelled(smiles)[0].of_molecule()
    image_labels = labelled(mirror(smiles))[0].of_molecule()
    assert image_labels == pytest.approx(labels, abs=1e-4)


def test_the_cheaper_solvent_thresholds_do_not_change_the_answer(monkeypatch) -> None:
    quick = labelled("CC(=O)Nc1ccc(O)cc1")[0]
    monkeypatch.setattr(quantum, "SOLVENT_ACCURACY", 0.01)
    exact = labelled("CC(=O)Nc1ccc(O)cc1")[0]
    assert quick.solvation_water == pytest.approx(exact.solvation_water, abs=1e-4)
    assert quick.solvation_octanol == pytest.approx(exact.solvation_octanol, abs=1e-4)


@pytest.mark.parametrize(
    ("numbers", "charge", "converged", "reason"),
    [
        ([8, 1, 1], 0, False, "no optimised geometry"),
        ([8, 1, 1], 1, True, "charged after standardisation"),
        ([8, 1, 3], 0, True, "element outside H B C N O F Si P S Cl Br I"),
        ([7, 1, 1], 0, True, "odd number of electrons"),
    ],
)
def test_a_label_without_meaning_is_refused_with_its_reason(
    numbers, charge, converged, reason
) -> None:
    with pytest.raises(UndefinedLabelError) as refused:
        xtb_labels(np.array(numbers), WATER, charge, converged)
    assert refused.value.reason == reason and reason in quantum.MISSING_REASONS


def test_a_molecule_without_a_gap_has_no_labels() -> None:
    triplet_oxygen = np.array([[0, 0, 0], [0, 0, 1.21]])  # computed as a singlet
    with pytest.raises(UndefinedLabelError, match="fractional occupation"):
        xtb_labels(np.array([8, 8]), triplet_oxygen)


def test_an_scf_that_does_not_converge_has_no_labels(monkeypatch) -> None:
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    def stop(*_):
        raise TBLiteRuntimeError("SCF not converged in 250 cycles")

    monkeypatch.setattr(Calculator, "singlepoint", stop)
    with pytest.raises(UndefinedLabelError, match="SCF not converged"):
        xtb_labels(np.array([8, 1, 1]), WATER)


def test_nothing_is_printed_and_the_thread_setting_is_given_back(capfd) -> None:
    openmp = quantum._openmp()
    before = openmp.omp_get_max_threads() if openmp else 1
    xtb_labels(np.array([8, 1, 1]), WATER)
    assert capfd.readouterr() == ("", "")
    assert (openmp.omp_get_max_threads() if openmp else 1) == before
