"""A trained run answers for any SMILES: one molecule one answer, in input order, errors in their
row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from spellings import respelled

import molnb.inference.predictor
from molnb.chemistry.conformer import make_conformer
from molnb.cli import main
from molnb.errors import InputError
from molnb.inference.featurizer import featurize, featurize_all
from molnb.inference.parquet_output import write_embeddings, write_predictions
from molnb.inference.predictor import load_run
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import train

SMALL = TwoTrackConfig(2, 32, 4, 32, 16, 4, n_kernel=16)
BAD = ["C(", "[H][H]", "C" * 70, "CCO.c1ccccc1", "", "[Na+].[Cl-]"]


@pytest.fixture(scope="module")
def run(nci, tmp_path_factory):
    tasks = ("nci_orbitals", "nci_charges", "nci_bond_orders", "nci_pair_orders")
    data = (str(nci.path),)
    config = RunConfig(
        "t", data, SMALL, Supervised(tasks), steps=20, global_batch=16, learning_rate=3e-3, n_val=4
    )
    return train(config, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def model(run):
    return load_run(run.path)


def test_any_spelling_gives_the_same_geometry_and_embedding(model, nci):
    molecules = nci.smiles()[:10]
    spellings = [text for i, s in enumerate(molecules) for text in respelled(s, 4, i + 1)]
    geometries = [m.coords for m in featurize_all(spellings)]
    vectors = model.embed(spellings).reshape(len(molecules), 4, -1)
    assert np.ptp(vectors, axis=1).max() < 1e-5
    for first in range(0, len(spellings), 4):
        for other in geometries[first + 1 : first + 4]:
            assert np.array_equal(geometries[first], other)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.slow
def test_a_hundred_molecules_in_ten_spellings(model, nci):
    molecules = nci.smiles()[:100]
    spellings = [text for i, s in enumerate(molecules) for text in respelled(s, 10, i + 1)]
    assert len(molecules) >= 90
    prepared = featurize_all(spellings)
    vectors = model.embed(spellings).reshape(len(molecules), 10, -1)
    assert np.ptp(vectors, axis=1).max() < 1e-5
    for first in range(0, len(spellings), 10):
        assert all(
            np.array_equal(prepared[first].coords, m.coords) for m in prepared[first : first + 10]
        )


def test_every_spelling_and_numbering_gives_the_same_embedding_permuted(model, nci):
    """Atoms and pairs of any numbering, but for atoms that the graph's symmetry makes one (a
    phenyl's two sides).
    """
    for number, smiles in enumerate(nci.smiles()[:6]):
        mol = Chem.MolFromSmiles(smiles)
        order = np.random.default_rng(number).permutation(mol.GetNumAtoms()).tolist()
        turned = Chem.RenumberAtoms(mol, order)
        (spelling,) = respelled(smiles, 1, number + 1)
        n = mol.GetNumAtoms()
        for other in (turned, spelling):
            given = other if other is turned else Chem.MolFromSmiles(other)
            atoms, pairs = (model.embed([smiles, other], level) for level in ("atom", "pair"))
            assert atoms[0].shape == (n, 32) and pairs[0].shape == (n, n, 16)
            ways = [
                list(way)
                for way in given.GetSubstructMatches(mol, uniquify=False, useChirality=True)
            ]
            differences = [np.abs(pairs[1][np.ix_(way, way)] - pairs[0]).max() for way in ways]
            assert min(differences) < 1e-5
            assert np.abs(atoms[1][ways[int(np.argmin(differences))]] - atoms[0]).max() < 1e-5


def test_the_pair_track_is_not_symmetric_and_is_read_row_by_column(model):
    (pairs,) = model.embed("CCO", "pair")
    (back,) = model.embed("OCC", "pair")
    assert np.abs(pairs - pairs.transpose(1, 0, 2)).max() > 1e-3
    assert np.abs(pairs[::-1, ::-1] - back).max() < 1e-5


def test_mirror_images_have_mirrored_geometries_and_equal_energies():
    for left, right in (("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"), ("C[C@H]1CO1", "C[C@@H]1CO1")):
        a, b = (featurize(s).coords for s in (left, right))
        distances = [np.sort(np.linalg.norm(c[:, None] - c[None], axis=-1).ravel()) for c in (a, b)]
        assert np.allclose(*distances, atol=1e-5)


def test_atoms_are_in_the_order_they_were_given(model):
    forward, backward = model.embed(["CCO", "OCC"], "atom")
    assert np.allclose(forward, backward[::-1], atol=1e-5)
    assert np.abs(forward[0] - forward[2]).max() > 1e-3
    (salt,) = model.embed(["[Na+].CC(=O)[O-]"], "atom")
    assert salt.shape == (5, 32) and np.isnan(salt[0]).all() and np.isfinite(salt[1:]).all()
    (salt,) = model.embed(["[Na+].CC(=O)[O-]"], "pair")
    assert salt.shape == (5, 5, 16) and np.isnan(salt[0]).all() and np.isnan(salt[:, 0]).all()
    assert np.isfinite(salt[1:, 1:]).all()
    predicted = model.predict(["CCO", "OCC"])["charge_mulliken_e"]
    assert np.allclose(predicted[0], predicted[1][::-1], atol=1e-5)


# ------------------------------------------------------------------------------- molecules with their own geometry


def in_3d(smiles: str, seed: int = 0, hydrogens: bool = True) -> Chem.Mol:
    """A molecule with the conformer that curation would give it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(make_conformer(smiles, seed).coords.astype(float))
    mol.AddConformer(conformer)
    return mol if hydrogens else Chem.RemoveHs(mol)


def test_a_molecule_is_embedded_anew_unless_its_own_conformer_is_asked_for(model):
    smiles = "CC(C)C(=O)NCCO"
    same, other = in_3d(smiles), in_3d(smiles, seed=1)
    (expected,) = model.embed(smiles, "pair")
    anew = model.embed([same, other], "pair")
    assert all(np.abs(pairs - expected).max() < 1e-5 for pairs in anew)
    given = model.embed([same, in_3d(smiles, hydrogens=False), other], "pair", conformer="given")
    difference = [np.abs(pairs - expected).max() for pairs in given]
    assert max(difference[:2]) < 1e-4 and difference[2] > 1e-3


def test_a_given_conformer_keeps_the_numbering_of_its_molecule(model):
    mol = in_3d("CC(=O)NCCO")
    order = (
        np.random.default_rng(0).permutation(mol.GetNumAtoms()).tolist()
    )  # hydrogens between heavy atoms
    turned = Chem.RenumberAtoms(mol, order)
    heavy = [i for i in order if mol.GetAtomWithIdx(i).GetAtomicNum() != 1]
    for level in ("atom", "pair"):
        straight, mixed = model.embed([mol, turned], level, conformer="given")
        index = heavy if level == "atom" else np.ix_(heavy, heavy)
        assert np.abs(straight[index] - mixed).max() < 1e-5


def test_what_has_no_3d_coordinates_is_an_error_in_its_row(model):
    flat, none, clash = Chem.MolFromSmiles("CCO"), Chem.MolFromSmiles("CCO"), in_3d("CCO")
    from rdkit.Chem import rdDepictor

    rdDepictor.Compute2DCoords(flat)
    clash.GetConformer().SetPositions(np.zeros((9, 3)))
    given = [flat, none, "CCO", clash, in_3d("CCO"), None, 3.5]
    errors = [a.error for a in model.embedding_rows(given, "molecule", conformer="given")]
    assert errors[4] is None and all("no 3D coordinates" in e for e in errors[:4])
    assert "two dimensions" in errors[0] and "two atoms coincide" in errors[3]
    assert "empty" in errors[5] and "neither a SMILES nor an RDKit molecule: 3.5" in errors[6]
    with pytest.raises(InputError, match="unknown conformer 'own': choose one of new, given"):
        model.embed("CCO", conformer="own")


def test_a_model_that_sees_hydrogens_needs_theirs_and_answers_for_heavy_atoms(nci, tmp_path):
    config = RunConfig(
        "t", (str(nci.path),), replace(SMALL, hydrogens=True), steps=1, n_val=2, global_batch=4
    )
    model = load_run(train(config, tmp_path).path)
    whole, bare = in_3d("CCO"), in_3d("CCO", hydrogens=False)
    first, second = model.embedding_rows([whole, bare], "pair", conformer="given")
    assert first.values["embedding"].shape == (3, 3, 16)
    assert second.error.endswith("(this model sees hydrogens: add those of the parent in 3D)")
    assert np.abs(model.embed("CCO", "pair")[0] - first.values["embedding"]).max() < 1e-4
    assert [len(a) for a in model.embed(nci, "atom")[:5]] == nci.array("n_heavy")[:5].tolist()


def test_nothing_is_embedded_as_nothing(model):
    assert model.embed([]).shape == (0, 32) and model.embed([], "pair") == []


# -------------------------------------------------------------------------------------------------- curated molecules


def test_curated_molecules_are_embedded_from_disk_in_their_order(model, nci):
    few = nci.smiles()[:5]
    for level in ("molecule", "atom", "pair"):
        stored, fresh = model.embed(nci, level), model.embed(few, level)
        assert len(stored) == nci.n
        assert all(np.abs(a - b).max() < 1e-4 for a, b in zip(stored, fresh)), level


def test_curated_molecules_are_written_by_folder_or_name(run, model, nci, tmp_path, home):
    out = tmp_path / "e.parquet"
    assert write_embeddings(nci.path, run.path, out, level="pair")["rows"] == nci.n
    table = pq.read_table(out)
    assert table["row"].to_pylist() == nci.table(["row"])["row"].to_pylist()
    for k, pairs in enumerate(model.embed(nci, "pair")[:10]):
        n = table["n_atoms"][k].as_py()
        assert np.allclose(
            table["embedding"][k].values.to_numpy().reshape(n, n, -1), pairs, atol=1e-5
        )
    (home / "data").mkdir()
    (home / "data" / "mine").symlink_to(nci.path)
    assert (
        main(["embed", "mine", "--run", str(run.path), "--out", str(out), "--level", "atom"]) == 0
    )
    assert len(pq.read_table(out)) == nci.n
    with pytest.raises(InputError, match="is curated: its SMILES and geometries are on disk"):
        write_embeddings("mine", run.path, out, conformer="given")
    with pytest.raises(InputError, match="nowhere.csv is neither a file nor curated molecules"):
        write_embeddings("nowhere.csv", run.path, out)


def test_memory_is_bounded_by_numbers_and_not_by_rows(run, model, nci, tmp_path, monkeypatch):
    """With room for a thousand numbers, each molecule goes out on its own, and the file is the
    same.
    """
    whole = (
        pq.read_table(tmp_path / "a")
        if (write_embeddings(nci, run.path, tmp_path / "a", level="pair"))
        else None
    )
    widest = []
    evaluated = molnb.inference.predictor.TrainedModel._embedded

    def watched(self, batch, n_heavy, level):
        widest.append(batch.n_mol)
        return evaluated(self, batch, n_heavy, level)

    monkeypatch.setattr(molnb.inference.predictor, "MAX_NUMBERS", 1000)
    monkeypatch.setattr("molnb.inference.parquet_output.MAX_NUMBERS", 1000)
    monkeypatch.setattr(molnb.inference.predictor.TrainedModel, "_embedded", watched)
    write_embeddings(nci, run.path, tmp_path / "b", level="pair")
    parts = pq.ParquetFile(tmp_path / "b")
    assert parts.num_row_groups > nci.n / 3 and max(widest) < 10
    again = parts.read()
    assert again.drop(["embedding"]).equals(whole.drop(["embedding"]))
    assert np.allclose(again["embedding"][7].as_py(), whole["embedding"][7].as_py(), atol=1e-5)


# --------------------------------------------------------------------------------------------------- unseen features


def test_unseen_features_are_named_and_contribute_nothing(run, model, tmp_path, capsys):
    known, selenium = model.embedding_rows(["CCOC", "CC[Se]C"], "molecule")
    assert known.unseen == () and selenium.unseen == ("element: Se",)
    assert not model.model.encoder.tokens.weight[34].any()
    out = tmp_path / "e.parquet"
    assert (
        main(
            [
                "embed",
                str(write(tmp_path, ["CCOC", "CC[Se]C"])),
                "--run",
                str(run.path),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert pq.read_table(out)["unseen"].to_pylist() == [None, ["element: Se"]]
    said = capsys.readouterr()
    assert (
        "2 rows, 0 errors" in said.out
        and "1 rows have features that training never saw" in said.err
    )


def test_predictions_are_in_units_and_bad_rows_are_nan(model):
    table = model.predict(["CCO", *BAD, "c1ccccc1"])
    labels = ["homo_eV", "lumo_eV", "gap_eV", "charge_mulliken_e", "wiberg", "wiberg_pair"]
    assert list(table) == ["smiles", *labels, "error"]
    gap = table["gap_eV"].to_numpy()
    assert np.isfinite(gap[[0, -1]]).all() and np.isnan(gap[1:-1]).all()
    assert table["error"].isna().tolist() == [True, *[False] * len(BAD), True]
    assert -15 < table["homo_eV"][0] < -7  # eV, and not in units of the standard deviation
    assert len(table["wiberg"][0]) == 2 and len(table["wiberg_pair"][0]) == 3


def test_company_does_not_change_a_prediction(model):
    alone, crowd = model.predict("CCO"), model.predict(["c1ccccc1C(=O)O", "CCO", "CN"])
    assert alone["gap_eV"][0] == pytest.approx(crowd["gap_eV"][1], abs=1e-4)


def test_what_is_stored_is_what_was_trained(run, model, nci):
    """Predicting a stored molecule from its SMILES equals evaluating it from its shards."""
    import torch

    from molnb.data.dataset import Corpus
    from molnb.training.loop import score

    corpus = Corpus([nci])
    labelled = corpus.labelled(["nci_orbitals"])[:5]
    batch = corpus.batch(labelled, run.config.objective.tasks)
    question = run.config.objective.corrupt(batch, 0, 0, 0.0)
    errors = score(run.load_model(), run.config.objective, [question], torch.device("cpu"))
    smiles = [nci.smiles()[i] for i in labelled]
    truth = batch.labels["nci_orbitals"].values[:, 2].numpy()
    assert errors["gap_mae_eV"] == pytest.approx(
        np.abs(model.predict(smiles)["gap_eV"] - truth).mean(), abs=1e-3
    )


def write(folder, rows):
    file = folder / "mine.csv"
    file.write_text("name,SMILES\n" + "".join(f"m{i},{s}\n" for i, s in enumerate(rows)))
    return file


def test_a_file_is_embedded_row_by_row(run, tmp_path):
    rows = ["CCO", "C(", "c1ccccc1", "OCC"]
    out = tmp_path / "e.parquet"
    assert write_embeddings(write(tmp_path, rows), run.path, out, workers=2) == {
        "rows": 4,
        "errors": 1,
        "unseen": 0,
    }
    table = pq.read_table(out).to_pylist()
    assert list(table[0]) == ["row", "input_smiles", "smiles", "embedding", "unseen", "error"]
    assert [r["row"] for r in table] == [0, 1, 2, 3] and [r["input_smiles"] for r in table] == rows
    assert table[0]["embedding"] == pytest.approx(table[3]["embedding"], abs=1e-5)
    assert table[1]["embedding"] is None and table[1]["error"].startswith("parse: ")
    write_embeddings(write(tmp_path, rows), run.path, out, level="atom", workers=0)
    atoms = pq.read_table(out)["embedding"].to_pylist()
    assert [len(a) if a else None for a in atoms] == [3, None, 6, 3] and len(atoms[0][0]) == 32
    write_embeddings(write(tmp_path, rows), run.path, out, level="pair", workers=0)
    table = pq.read_table(out).to_pylist()
    assert [r["n_atoms"] for r in table] == [3, None, 6, 3] and table[1]["embedding"] is None
    forward, backward = (np.reshape(table[k]["embedding"], (3, 3, -1)) for k in (0, 3))
    assert np.allclose(forward, backward[::-1, ::-1], atol=1e-5)


def test_structures_of_an_sdf_keep_their_numbering_and_if_asked_their_geometry(
    run, model, tmp_path
):
    mol = Chem.RenumberAtoms(in_3d("CC(=O)NCCO", seed=3), [6, 5, 4, 3, 2, 1, 0, *range(7, 16)])
    file, out = tmp_path / "mine.sdf", tmp_path / "e.parquet"
    file.write_text(Chem.MolToMolBlock(mol) + "$$$$\nbroken\n\n\nM  END\n$$$$\n")
    for conformer in ("new", "given"):
        write_embeddings(file, run.path, out, level="atom", workers=0, conformer=conformer)
        first, second = pq.read_table(out).to_pylist()
        expected = model.embed(mol, "atom", conformer=conformer)[0]
        assert np.allclose(first["embedding"], expected, atol=1e-4) and second["error"].startswith(
            "parse: "
        )


def test_a_file_is_predicted_row_by_row(run, model, tmp_path):
    rows = ["CCO", *BAD]
    out = tmp_path / "p.parquet"
    assert write_predictions(write(tmp_path, rows), run.path, out, workers=0)["errors"] == len(BAD)
    table = pq.read_table(out).to_pylist()
    assert table[0]["gap_eV"] == pytest.approx(model.predict("CCO")["gap_eV"][0], abs=1e-4)
    assert all(r["error"] and r["gap_eV"] is None for r in table[1:])


def test_a_run_without_labels_predicts_nothing(nci, tmp_path):
    run = train(RunConfig("t", (str(nci.path),), SMALL, steps=1, n_val=2, global_batch=4), tmp_path)
    with pytest.raises(InputError, match="trained without labels.*use embed"):
        load_run(run.path).predict("CCO")
    with pytest.raises(InputError, match="unknown level 'residue'"):
        load_run(run.path).embed("CCO", "residue")


def test_errors_say_what_was_wrong(model):
    errors = [a.error for a in model.embedding_rows(BAD, "molecule")]
    expected = [
        "parse",
        "no heavy atoms",
        "over the size limit",
        "two organic parents",
        "empty",
        "no parent",
    ]
    for found, part in zip(errors, expected):
        assert part in found, (found, part)
