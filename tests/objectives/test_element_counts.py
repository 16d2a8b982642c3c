"""Labels that grow with the molecule are known as such, and what counting explains is fitted."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import ALCOHOLS, ALKANES, make_dataset

from molnb.data.dataset import Corpus
from molnb.objectives.element_counts import element_columns, fit_elements, is_extensive
from molnb.objectives.targets import scale_tasks

SMILES = [*ALKANES, *ALCOHOLS, *("N" + "C" * n for n in range(2, 14))]


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("total energy, ground state", True),
        ("Internal energy at 0 K minus that of the\n atoms", True),
        ("free energy at 298.15 K", True),
        ("electronic spatial extent", True),
        ("isotropic polarisability", True),
        ("heat capacity at constant volume and 298.15 K", True),
        ("inertia of the valence electrons about the axis a", True),
        ("total energy minus a linear fit on element counts (training rows)", False),
        ("total energy above that of the lowest isomer", False),
        ("solvation free energy in water", False),
        ("hydration free energy", False),
        ("HOMO-LUMO gap", False),
        ("dipole moment, norm", False),
        ("inertia of the Mulliken charges about the axis a", False),
        ("energy of the highest occupied orbital", False),
    ],
)
def test_what_grows_with_the_molecule_is_known_by_its_quantity(quantity, expected):
    assert is_extensive(quantity) is expected


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> list[Corpus]:
    """Alkanes, alcohols and amines without and with hydrogens as atoms."""
    n_carbon = np.array([smiles.count("C") for smiles in SMILES])
    n_hydrogen = 2 * n_carbon + 2 + np.array(["N" in smiles for smiles in SMILES])
    noise = np.random.default_rng(0).normal(size=len(SMILES))
    labels = {
        "total energy": 3.0 * n_hydrogen - 1000.0 * n_carbon + noise,
        "shift": noise,
        "mass": 12.0 * n_carbon + 1.008 * n_hydrogen,
    }
    labels["total energy"][3] = np.nan
    values = {
        name: [None if np.isnan(v) else float(v) for v in column] for name, column in labels.items()
    }
    folder = tmp_path_factory.mktemp("elements")
    tasks = [{"name": "t", "labels": list(labels)}]
    shards = make_dataset(folder, "e", SMILES, values, tasks, fractions=(0.9, 0.05, 0.05))
    return [Corpus([shards]), Corpus([shards], hydrogens=True)]


def test_atoms_are_counted_with_their_hydrogens_whether_or_not_they_are_atoms(corpora):
    ids = np.arange(len(SMILES))
    columns = [element_columns(corpus.batch(ids)) for corpus in corpora]
    assert np.array_equal(*columns)
    smiles = corpora[0].datasets[0].table(["smiles"])["smiles"].to_pylist()
    for text, counts in zip(smiles, columns[0], strict=True):
        n_carbon, n_oxygen, n_nitrogen = map(text.count, "CON")
        n_hydrogen = 2 * n_carbon + 2 + n_nitrogen
        assert counts[[0, 1, 6, 7, 8]].tolist() == [
            1,
            n_hydrogen,
            n_carbon,
            n_nitrogen,
            n_oxygen,
        ]
        assert counts.sum() == 1 + n_hydrogen + n_carbon + n_nitrogen + n_oxygen


def test_a_fit_is_the_least_squares_of_the_labels_that_are_known(corpora):
    """`shift` does not grow; of `mass` there are too few rows to see that it is counting."""
    for corpus in corpora:
        ids = corpus.ids("train")
        tasks = scale_tasks(corpus, ["t"], ids)
        fit = fit_elements(corpus, tasks, ids)["t"]
        (task,) = tasks
        assert dict(zip(task.labels, fit.fitted)) == {
            "total energy": True,
            "shift": False,
            "mass": False,
        }
        batch = corpus.batch(ids, ["t"])
        columns = element_columns(batch)
        values = batch.labels["t"].values.numpy()[:, 0]
        is_known = np.isfinite(values)
        prices = np.linalg.lstsq(columns[is_known], values[is_known], rcond=None)[0]
        guess = columns @ fit.prices[:, 0] * task.scale[0] + task.mean[0]
        assert guess[is_known] == pytest.approx(columns[is_known] @ prices, rel=1e-5)
        assert not fit.prices[:, 1].any()


def test_what_counting_explains_is_extensive_whatever_it_is_called(tmp_path):
    smiles = [a * n + b for a in "CN" for n in range(1, 16) for b in ("", "O", "F", "S")]
    weight = [float(14 * n + 2 * len(text)) for n, text in enumerate(smiles)]
    size = [float(sum(map(str.isalpha, text))) for text in smiles]
    labels = {"size": size, "other": weight}
    tasks = [{"name": "t", "labels": ["size", "other"]}]
    shards = make_dataset(tmp_path, "s", smiles, labels, tasks, fractions=(0.9, 0.05, 0.05))
    corpus = Corpus([shards])
    ids = corpus.ids("train")
    assert len(ids) > 60
    fit = fit_elements(corpus, scale_tasks(corpus, ["t"], ids), ids)["t"]
    assert fit.fitted.tolist() == [True, False]
    few = ids[:20]
    assert fit_elements(corpus, scale_tasks(corpus, ["t"], few), few) == {}, "no evidence"


def test_counting_computes_no_encodings(corpora, monkeypatch):
    """They are not read, and of a batch of a thousand molecules they take seconds."""
    (plain, _) = corpora
    encoded = Corpus(plain.datasets, encodings=["return_probabilities_16"])
    ids = plain.ids("train")
    tasks = scale_tasks(plain, ["t"], ids)
    expected = fit_elements(plain, tasks, ids)["t"]
    monkeypatch.setattr("molnb.data.encodings.catalogue.encode_all", None)
    with pytest.raises(TypeError):
        encoded.batch(ids)
    assert np.array_equal(fit_elements(encoded, tasks, ids)["t"].prices, expected.prices)
