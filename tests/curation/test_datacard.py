"""Data cards count what there is: shares add up, every loss appears, similarities agree with the
manifest.
"""

from __future__ import annotations

import numpy as np
import pytest

from molnb.curation.datacard import (
    charge_shares,
    data_card,
    describe_molecules,
    element_shares,
    lost_rows,
    split_similarities,
    split_table,
    stereo_shares,
)


def test_shares_are_of_all_molecules(nci) -> None:
    assert sum(stereo_shares(nci).values()) == pytest.approx(1)
    assert sum(charge_shares(nci).values()) == pytest.approx(1)
    elements = element_shares(nci)
    assert (
        elements["C"] > 0.9
        and "H" not in elements
        and list(elements.values()) == sorted(elements.values())[::-1]
    )
    with_nitrogen = np.mean(["N" in smiles.upper().replace("NA", "") for smiles in nci.smiles()])
    assert elements["N"] == pytest.approx(with_nitrogen, abs=0.03)


def test_every_molecule_is_described(nci) -> None:
    described = describe_molecules(nci)
    assert {len(values) for values in described.values()} == {nci.n}
    assert np.array_equal(described["heavy atoms"], nci.array("n_heavy"))
    assert data_card(nci)["corpus"] == "nci"


def test_every_loss_is_listed(nci) -> None:
    rows = lost_rows(nci)
    assert sum(row["n"] for row in rows if row["what"] == "row") == nci.manifest["n_dropped"]
    missing = nci.manifest["labels"]["gap"]["missing"]
    assert {row["reason"] for row in rows if row["step"] == "label"} >= set(missing)


def test_similarities_are_those_of_the_manifest(nci) -> None:
    for row in split_table(nci):
        near = split_similarities(nci, row["split"])
        assert len(near) == row["test"]
        assert np.median(near) == pytest.approx(list(row.values())[-1], abs=1e-4)
