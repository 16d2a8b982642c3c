"""A trained run answers for any SMILES: one molecule one answer, in input order, errors in their row."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

from molnb.errors import Refused
from molnb.models.two_track import TwoTrackConfig
from molnb.objectives import Supervised
from molnb.represent import load_run, prepare, prepare_all, write_embeddings, write_predictions
from molnb.runs import RunConfig
from molnb.train import train

SMALL = TwoTrackConfig(2, 32, 4, 32, 16, 4, n_kernel=16)
BAD = ["C(", "[H][H]", "C" * 70, "CCO.c1ccccc1", "", "[Na+].[Cl-]"]


@pytest.fixture(scope="module")
def run(nci, tmp_path_factory):
    tasks = ("nci_orbitals", "nci_charges", "nci_bond_orders", "nci_pair_orders")
    data = (str(nci.path),)
    config = RunConfig("t", data, SMALL, Supervised(tasks), steps=20, global_batch=16, learning_rate=3e-3, n_val=4)
    return train(config, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def model(run):
    return load_run(run.path)


def respelt(smiles: str, n: int, seed: int) -> list[str]:
    return Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), n, randomSeed=seed)


def test_any_spelling_gives_the_same_geometry_and_embedding(model, nci):
    molecules = nci.smiles()[:10]
    spellings = [text for i, s in enumerate(molecules) for text in respelt(s, 4, i + 1)]
    geometries = [m.coords for m in prepare_all(spellings)]
    vectors = model.embed(spellings).reshape(len(molecules), 4, -1)
    assert np.ptp(vectors, axis=1).max() < 1e-5
    for first in range(0, len(spellings), 4):
        for other in geometries[first + 1 : first + 4]:
            assert np.array_equal(geometries[first], other)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.slow
def test_a_hundred_molecules_in_ten_spellings(model, nci):
    molecules = nci.smiles()[:100]
    spellings = [text for i, s in enumerate(molecules) for text in respelt(s, 10, i + 1)]
    assert len(molecules) >= 90
    prepared = prepare_all(spellings)
    vectors = model.embed(spellings).reshape(len(molecules), 10, -1)
    assert np.ptp(vectors, axis=1).max() < 1e-5
    for first in range(0, len(spellings), 10):
        assert all(np.array_equal(prepared[first].coords, m.coords) for m in prepared[first : first + 10])


def test_mirror_images_have_mirrored_geometries_and_equal_energies():
    for left, right in (("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"), ("C[C@H]1CO1", "C[C@@H]1CO1")):
        a, b = (prepare(s).coords for s in (left, right))
        distances = [np.sort(np.linalg.norm(c[:, None] - c[None], axis=-1).ravel()) for c in (a, b)]
        assert np.allclose(*distances, atol=1e-5)


def test_atoms_are_in_the_order_they_were_given(model):
    forward, backward = model.embed(["CCO", "OCC"], "atom")
    assert np.allclose(forward, backward[::-1], atol=1e-5)
    assert np.abs(forward[0] - forward[2]).max() > 1e-3
    (salt,) = model.embed(["[Na+].CC(=O)[O-]"], "atom")
    assert salt.shape == (5, 32) and np.isnan(salt[0]).all() and np.isfinite(salt[1:]).all()
    predicted = model.predict(["CCO", "OCC"])["charge_mulliken_e"]
    assert np.allclose(predicted[0], predicted[1][::-1], atol=1e-5)


def test_predictions_are_in_units_and_bad_rows_are_nan(model):
    found = model.predict(["CCO", *BAD, "c1ccccc1"])
    assert {"homo_eV", "lumo_eV", "gap_eV", "charge_mulliken_e", "wiberg", "wiberg_pair"} == set(found)
    assert np.isfinite(found["gap_eV"][[0, -1]]).all() and np.isnan(found["gap_eV"][1:-1]).all()
    assert -15 < found["homo_eV"][0] < -7  # eV, and not in units of the standard deviation
    assert len(found["wiberg"][0]) == 2 and len(found["wiberg_pair"][0]) == 3


def test_company_does_not_change_a_prediction(model):
    alone, crowd = model.predict("CCO"), model.predict(["c1ccccc1C(=O)O", "CCO", "CN"])
    assert alone["gap_eV"][0] == pytest.approx(crowd["gap_eV"][1], abs=1e-4)


def test_what_is_stored_is_what_was_trained(run, model, nci):
    """Predicting a stored molecule from its SMILES equals evaluating it from its shards."""
    import torch

    from molnb.batches import Corpus
    from molnb.train import score

    corpus = Corpus([nci])
    labelled = corpus.labelled(["nci_orbitals"])[:5]
    batch = corpus.batch(labelled, run.config.objective.tasks)
    question = run.config.objective.ask(batch, 0, 0, 0.0)
    errors = score(run.load_model(), run.config.objective, [question], torch.device("cpu"))
    smiles = [nci.smiles()[i] for i in labelled]
    truth = batch.labels["nci_orbitals"].values[:, 2].numpy()
    assert errors["gap_mae_eV"] == pytest.approx(np.abs(model.predict(smiles)["gap_eV"] - truth).mean(), abs=1e-3)


def write(folder, rows):
    file = folder / "mine.csv"
    file.write_text("name,SMILES\n" + "".join(f"m{i},{s}\n" for i, s in enumerate(rows)))
    return file


def test_a_file_is_embedded_row_by_row(run, tmp_path):
    rows = ["CCO", "C(", "c1ccccc1", "OCC"]
    out = tmp_path / "e.parquet"
    assert write_embeddings(write(tmp_path, rows), run.path, out, workers=2) == {"rows": 4, "errors": 1}
    table = pq.read_table(out).to_pylist()
    assert list(table[0]) == ["row", "input_smiles", "smiles", "embedding", "error"]
    assert [r["row"] for r in table] == [0, 1, 2, 3] and [r["input_smiles"] for r in table] == rows
    assert table[0]["embedding"] == pytest.approx(table[3]["embedding"], abs=1e-5)
    assert table[1]["embedding"] is None and table[1]["error"].startswith("parse: ")
    write_embeddings(write(tmp_path, rows), run.path, out, level="atom", workers=0)
    atoms = pq.read_table(out)["embedding"].to_pylist()
    assert [len(a) if a else None for a in atoms] == [3, None, 6, 3] and len(atoms[0][0]) == 32


def test_a_file_is_predicted_row_by_row(run, model, tmp_path):
    rows = ["CCO", *BAD]
    out = tmp_path / "p.parquet"
    assert write_predictions(write(tmp_path, rows), run.path, out, workers=0)["errors"] == len(BAD)
    table = pq.read_table(out).to_pylist()
    assert table[0]["gap_eV"] == pytest.approx(model.predict("CCO")["gap_eV"][0], abs=1e-4)
    assert all(r["error"] and r["gap_eV"] is None for r in table[1:])


def test_a_run_without_labels_predicts_nothing(nci, tmp_path):
    run = train(RunConfig("t", (str(nci.path),), SMALL, steps=1, n_val=2, global_batch=4), tmp_path)
    with pytest.raises(Refused, match="trained without labels.*use embed"):
        load_run(run.path).predict("CCO")
    with pytest.raises(Refused, match="unknown level 'residue'"):
        load_run(run.path).embed("CCO", "residue")


def test_errors_say_what_was_wrong(model):
    errors = [a.error for a in model.answers(BAD, "molecule")]
    expected = ["parse", "no heavy atoms", "over the size limit", "two organic parents", "empty", "no parent"]
    for found, part in zip(errors, expected):
        assert part in found, (found, part)
