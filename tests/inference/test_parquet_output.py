"""Files of molecules become files of embeddings and predictions, row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

import molnb.inference.parquet_output
import molnb.inference.predictor
from molnb.chemistry.conformer import make_conformer
from molnb.cli import main
from molnb.errors import InputError
from molnb.inference.parquet_output import write_embeddings, write_predictions
from molnb.inference.predictor import TrainedModel, load_run

BAD = ["C(", "[H][H]", "C" * 70, "CCO.c1ccccc1", "", "[Na+].[Cl-]"]


@pytest.fixture(scope="module")
def model(label_run) -> TrainedModel:
    return load_run(label_run.path)


def write_smiles(folder: Path, smiles: list[str]) -> Path:
    """A table of named molecules."""
    file = folder / "mine.csv"
    file.write_text("name,SMILES\n" + "".join(f"m{i},{s}\n" for i, s in enumerate(smiles)))
    return file


# --------------------------------------------------------------------------------------- embeddings


def test_a_file_is_embedded_row_by_row(label_run, tmp_path):
    smiles = ["CCO", "C(", "c1ccccc1", "OCC"]
    file = write_smiles(tmp_path, smiles)
    out = tmp_path / "e.parquet"
    counts = write_embeddings(file, label_run.path, out, workers=2)
    assert counts == {"rows": 4, "errors": 1, "unseen": 0}
    rows = pq.read_table(out).to_pylist()
    assert list(rows[0]) == ["row", "input_smiles", "smiles", "embedding", "unseen", "error"]
    assert [row["row"] for row in rows] == [0, 1, 2, 3]
    assert [row["input_smiles"] for row in rows] == smiles
    assert rows[0]["embedding"] == pytest.approx(rows[3]["embedding"], abs=1e-5)
    assert rows[1]["embedding"] is None and rows[1]["error"].startswith("parse: ")


def test_atoms_and_pairs_of_a_file_are_lists_as_long_as_each_molecule(label_run, tmp_path):
    file = write_smiles(tmp_path, ["CCO", "C(", "c1ccccc1", "OCC"])
    out = tmp_path / "e.parquet"
    write_embeddings(file, label_run.path, out, level="atom", workers=0)
    atoms = pq.read_table(out)["embedding"].to_pylist()
    assert [len(vectors) if vectors else None for vectors in atoms] == [3, None, 6, 3]
    assert len(atoms[0][0]) == 32
    write_embeddings(file, label_run.path, out, level="pair", workers=0)
    rows = pq.read_table(out).to_pylist()
    assert [row["n_atoms"] for row in rows] == [3, None, 6, 3]
    assert rows[1]["embedding"] is None
    forward = np.reshape(rows[0]["embedding"], (3, 3, -1))
    backward = np.reshape(rows[3]["embedding"], (3, 3, -1))
    assert np.allclose(forward, backward[::-1, ::-1], atol=1e-5)


def test_structures_of_an_sdf_keep_their_numbering_and_if_asked_their_geometry(
    label_run, model, tmp_path
):
    smiles = "CC(=O)NCCO"
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(make_conformer(smiles, seed=3).coords.astype(float))
    mol.AddConformer(conformer)
    mol = Chem.RenumberAtoms(mol, [6, 5, 4, 3, 2, 1, 0, *range(7, 16)])
    file = tmp_path / "mine.sdf"
    file.write_text(Chem.MolToMolBlock(mol) + "$$$$\nbroken\n\n\nM  END\n$$$$\n")
    out = tmp_path / "e.parquet"
    vectors = []
    for source in ("new", "given"):
        write_embeddings(file, label_run.path, out, level="atom", workers=0, conformer=source)
        whole, broken = pq.read_table(out).to_pylist()
        (expected,) = model.embed([mol], "atom", conformer=source)
        assert np.allclose(whole["embedding"], expected, atol=1e-4)
        assert broken["error"].startswith("parse: ")
        vectors.append(expected)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3, "two geometries"


def test_curated_molecules_are_written_by_folder_or_name(label_run, model, nci, tmp_path, home):
    out = tmp_path / "e.parquet"
    assert write_embeddings(nci.path, label_run.path, out, level="pair")["rows"] == nci.n
    table = pq.read_table(out)
    assert table["row"].to_pylist() == nci.table(["row"])["row"].to_pylist()
    for number, pairs in enumerate(model.embed(nci, "pair")[:10]):
        n = table["n_atoms"][number].as_py()
        written = table["embedding"][number].values.to_numpy().reshape(n, n, -1)
        assert np.allclose(written, pairs, atol=1e-5)
    (home / "data").mkdir()
    (home / "data" / "mine").symlink_to(nci.path)
    arguments = ["--run", str(label_run.path), "--out", str(out), "--level", "atom"]
    assert main(["embed", "mine", *arguments]) == 0
    assert len(pq.read_table(out)) == nci.n
    with pytest.raises(InputError, match="is curated: its SMILES and geometries are on disk"):
        write_embeddings("mine", label_run.path, out, conformer="given")
    with pytest.raises(InputError, match="nowhere.csv is neither a file nor curated molecules"):
        write_embeddings("nowhere.csv", label_run.path, out)


def test_memory_is_bounded_by_numbers_and_not_by_rows(label_run, nci, tmp_path, monkeypatch):
    """With room for a thousand numbers each molecule goes out alone, and the file is the same."""
    write_embeddings(nci, label_run.path, tmp_path / "a", level="pair")
    whole = pq.read_table(tmp_path / "a")
    widths = []
    embedded = TrainedModel._embedded

    def note_width(self, batch, n_heavy, level):
        widths.append(batch.n_mol)
        return embedded(self, batch, n_heavy, level)

    monkeypatch.setattr(molnb.inference.predictor, "MAX_NUMBERS", 1000)
    monkeypatch.setattr(molnb.inference.parquet_output, "MAX_NUMBERS", 1000)
    monkeypatch.setattr(TrainedModel, "_embedded", note_width)
    write_embeddings(nci, label_run.path, tmp_path / "b", level="pair")
    file = pq.ParquetFile(tmp_path / "b")
    assert file.num_row_groups > nci.n / 3 and max(widths) < 10
    pieces = file.read()
    assert pieces.drop(["embedding"]).equals(whole.drop(["embedding"]))
    for piece, expected in zip(pieces["embedding"][:9], whole["embedding"]):
        assert np.allclose(piece.as_py(), expected.as_py(), atol=1e-5)


def test_unseen_features_are_named_and_contribute_nothing(label_run, model, tmp_path, capsys):
    ether, selenide = model.embedding_rows(["CCOC", "CC[Se]C"], "molecule")
    assert ether.unseen == () and selenide.unseen == ("element: Se",)
    assert not model.model.encoder.tokens.weight[34].any()
    file = write_smiles(tmp_path, ["CCOC", "CC[Se]C"])
    out = tmp_path / "e.parquet"
    assert main(["embed", str(file), "--run", str(label_run.path), "--out", str(out)]) == 0
    assert pq.read_table(out)["unseen"].to_pylist() == [None, ["element: Se"]]
    printed = capsys.readouterr()
    assert "2 rows, 0 errors" in printed.out
    assert "1 rows have features that training never saw" in printed.err


# -------------------------------------------------------------------------------------- predictions


def test_a_file_is_predicted_row_by_row(label_run, model, tmp_path):
    file = write_smiles(tmp_path, ["CCO", *BAD])
    out = tmp_path / "p.parquet"
    counts = write_predictions(file, label_run.path, out, workers=0)
    assert counts["errors"] == len(BAD)
    ethanol, *others = pq.read_table(out).to_pylist()
    assert ethanol["gap_eV"] == pytest.approx(model.predict("CCO")["gap_eV"][0], abs=1e-4)
    assert len(others) == len(BAD)
    assert all(row["error"] and row["gap_eV"] is None for row in others)
