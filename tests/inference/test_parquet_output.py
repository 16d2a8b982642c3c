"""Files of molecules become files of embeddings and predictions, row by row."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

import molnb.inference.featurizer
import molnb.inference.inputs
import molnb.inference.parquet_output
import molnb.inference.predictor
import molnb.progress
from molnb.chemistry.conformer import make_conformer
from molnb.cli import main
from molnb.errors import InputError
from molnb.inference.inputs import open_molecules
from molnb.inference.parquet_output import write_embeddings, write_predictions
from molnb.inference.predictor import TrainedModel, Vectors, load_run

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
    assert (counts["rows"], counts["errors"], counts["unseen"]) == (4, 1, 0)
    rows = pq.read_table(out).to_pylist()
    columns = ["row", "id", "input_smiles", "smiles", "embedding", "unseen", "error"]
    assert list(rows[0]) == columns
    assert [row["id"] for row in rows] == ["m0", "m1", "m2", "m3"]
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
    write_embeddings(nci, label_run.path, tmp_path / "a.pq", level="pair")
    whole = pq.read_table(tmp_path / "a.pq")
    widths = []
    embedded = TrainedModel._embedded

    def note_width(self, batch, n_heavy, level):
        widths.append(batch.n_mol)
        return embedded(self, batch, n_heavy, level)

    monkeypatch.setattr(molnb.inference.predictor, "MAX_NUMBERS", 1000)
    monkeypatch.setattr(molnb.inference.parquet_output, "MAX_NUMBERS", 1000)
    monkeypatch.setattr(TrainedModel, "_embedded", note_width)
    write_embeddings(nci, label_run.path, tmp_path / "b.pq", level="pair")
    file = pq.ParquetFile(tmp_path / "b.pq")
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
    arguments = ["--run", str(label_run.path), "--out", str(out), "--workers", "0"]
    assert main(["embed", str(file), *arguments]) == 0
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


def test_curated_molecules_are_predicted_from_their_geometries(label_run, model, nci, tmp_path):
    out = tmp_path / "p.parquet"
    keep = ["gap", "scaffold", "split_random", "energy_residual"]  # of three files
    counts = write_predictions(nci, label_run.path, out, keep=keep)
    assert (counts["rows"], counts["errors"]) == (nci.n, 0)
    table = pq.read_table(out)
    stored = nci.table(["row", "id", "input_smiles", "smiles", *keep])
    for name in stored.column_names:
        assert table[name].to_pylist() == stored[name].to_pylist(), name
    in_python = model.predict(nci)
    assert in_python["smiles"].tolist() == nci.smiles()
    for name in ("gap_eV", "homo_eV"):
        assert table[name].to_pylist() == in_python[name].tolist()
    from_smiles = model.predict(nci.smiles()[:8])
    assert np.allclose(in_python["gap_eV"][:8], from_smiles["gap_eV"], atol=1e-4)
    for name in ("charge_mulliken_e", "wiberg", "wiberg_pair"):
        for number in range(8):
            assert np.allclose(in_python[name][number], from_smiles[name][number], atol=1e-4), name
            assert np.allclose(table[name][number].as_py(), in_python[name][number], atol=1e-6)


def test_a_model_with_hydrogens_predicts_heavy_atoms_of_curated_molecules(nci, tmp_path):
    from dataclasses import replace

    from tiny import SMALL, small_run

    from molnb.objectives.supervised import Supervised
    from molnb.training.loop import train

    settings = {
        "steps": 1,
        "n_val": 2,
        "global_batch": 4,
        "objective": Supervised(("nci_charges",)),
    }
    config = small_run(nci, model=replace(SMALL, hydrogens=True), **settings)
    charges = load_run(train(config, tmp_path / "r").path).predict(nci)["charge_mulliken_e"]
    assert [len(values) for values in charges] == nci.array("n_heavy").tolist()


# ------------------------------------------------------------------------- columns that go along

TABLE = (
    "Comment,SMILES,name,gap_eV,smiles,error,batch no\n"
    '"a, b",CCO,007,1.50,x1,none,1e5\n'
    ",OCC,,2,x2,?,\n"
    'µ-opioid,CC(C)O,"line\nbreak",-0,x3,,"say ""so"""\n'
    "last,CCN,m4,,x4,,  spaced  \n"
)
KEPT = ["Comment", "gap_eV", "smiles", "error", "batch no"]
AS_WRITTEN = {
    "id": ["007", "", "line\nbreak", "m4"],
    "Comment": ["a, b", "", "µ-opioid", "last"],
    "kept_gap_eV": ["1.50", "2", "-0", ""],
    "kept_smiles": ["x1", "x2", "x3", "x4"],
    "kept_error": ["none", "?", "", ""],
    "batch no": ["1e5", "", 'say "so"', "  spaced  "],
}


@pytest.mark.parametrize("name", ["p.parquet", "p.csv", "p.tsv", "p.csv.gz"])
def test_columns_go_along_as_they_were_written(label_run, tmp_path, name):
    file = tmp_path / "mine.csv"
    file.write_text(TABLE, encoding="utf-8", newline="")
    out = tmp_path / name
    write_predictions(file, label_run.path, out, smiles="SMILES", workers=0, keep=KEPT)
    if name == "p.parquet":
        columns = pq.read_table(out).to_pydict()
    else:
        opened = gzip.open if name.endswith("gz") else open
        with opened(out, "rt", encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text, delimiter="\t" if name == "p.tsv" else ","))
        columns = {column: [row[column] for row in rows] for column in rows[0]}
    for column, cells in AS_WRITTEN.items():
        assert columns[column] == cells, column
    assert columns["input_smiles"] == ["CCO", "OCC", "CC(C)O", "CCN"]


def test_columns_of_parquet_keep_their_types(label_run, tmp_path):
    table = pa.table(
        {
            "smiles": ["CCO", "C(", None],
            "number": pa.array([7, None, 9], pa.int32()),
            "when": pa.array([0, 1, None], pa.timestamp("ms")),
            "kind": pa.array(["a", None, "a"]).dictionary_encode(),
            "values": pa.array([[1.5], None, []], pa.list_(pa.float64())),
        }
    )
    file = tmp_path / "mine.parquet"
    pq.write_table(table, file)
    keep = ["when", "kind", "values"]
    out = tmp_path / "e.parquet"
    write_embeddings(file, label_run.path, out, workers=0, identifier="number", keep=keep)
    written = pq.read_table(out)
    assert written["id"].to_pylist() == [7, None, 9]
    for name in keep:
        assert written[name].to_pylist() == table[name].to_pylist()
        assert written.schema.field(name).type == table.schema.field(name).type


def test_a_carriage_return_in_a_cell_is_read_back_from_text(label_run, tmp_path):
    note = ["a\rb", 'c\r\n"d"', "\r"]
    pq.write_table(pa.table({"smiles": ["CCO"] * 3, "note": note}), tmp_path / "m.pq")
    out = tmp_path / "e.csv"
    write_embeddings(tmp_path / "m.pq", label_run.path, out, workers=0, keep=["note"])
    with out.open(newline="") as text:
        assert [row["note"] for row in csv.DictReader(text)] == note


def test_properties_of_an_sdf_go_along(label_run, tmp_path):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    file = tmp_path / "mine.sdf"
    file.write_text(
        f"first{block}> <LOT>\nL-01\n\n$$$$\n" + f"second{block}> <IC50>\n>10\n\n$$$$\n"
    )
    out = tmp_path / "e.csv"
    write_embeddings(file, label_run.path, out, workers=0, keep=["LOT", "IC50"])
    with out.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [(row["id"], row["LOT"], row["IC50"]) for row in rows] == [
        ("first", "L-01", ""),
        ("second", "", ">10"),
    ]


@pytest.mark.parametrize(
    "options", [{"keep": ["Lot"]}, {"identifier": "Lot"}, {"keep": ["Lot"], "identifier": "Lot"}]
)
def test_a_column_that_is_not_there_is_refused(label_run, nci, tmp_path, options):
    out = tmp_path / "e.parquet"
    for source in (write_smiles(tmp_path, ["CCO"]), nci):
        with pytest.raises(InputError, match="Lot"):
            write_embeddings(source, label_run.path, out, **options)
    assert not out.exists()


def test_a_row_that_curation_calls_malformed_is_not_answered(label_run, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("id,smiles,note\n1,CCO,a\n2,S,S,b\n3,CCN\n4,CCC,c\n")
    out = tmp_path / "e.parquet"
    counts = write_embeddings(file, label_run.path, out, workers=0, keep=["note"])
    rows = pq.read_table(out).to_pylist()
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert [row["note"] for row in rows] == ["a", None, None, "c"]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[1]["error"] == "read: malformed row (4 fields where the header has 3)"
    assert counts["failures"]["read: malformed row"].count == 2


def test_workers_and_chunks_do_not_mix_up_the_columns(label_run, tmp_path, monkeypatch):
    monkeypatch.setattr(molnb.inference.featurizer, "CHUNK", 7)
    smiles = ["C" * (1 + number % 9) + ("" if number % 5 else "(") for number in range(60)]
    out = tmp_path / "e.parquet"
    write_embeddings(write_smiles(tmp_path, smiles), label_run.path, out, workers=2)
    table = pq.read_table(out)
    assert table["id"].to_pylist() == [f"m{number}" for number in range(60)]
    assert table["input_smiles"].to_pylist() == smiles
    assert [error is None for error in table["error"].to_pylist()] == [
        number % 5 > 0 for number in range(60)
    ]


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.tsv.gz"])
def test_a_prediction_that_is_interrupted_leaves_no_half_file(
    label_run, tmp_path, monkeypatch, name
):
    for module in (molnb.inference.featurizer, molnb.inference.parquet_output):
        monkeypatch.setattr(module, "CHUNK", 8)
    file = write_smiles(tmp_path, ["C" * (1 + n % 5) for n in range(40)])
    n_read = []
    read = molnb.inference.inputs.MoleculeFile._row

    def interrupt(self, record):
        n_read.append(record.line)
        if len(n_read) > 30:
            raise KeyboardInterrupt
        return read(self, record)

    monkeypatch.setattr(molnb.inference.inputs.MoleculeFile, "_row", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(file, label_run.path, tmp_path / name, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_no_more_than_a_chunk_is_read_ahead(label_run, model, tmp_path):
    file = write_smiles(tmp_path, ["C"] * 2000)
    source = open_molecules(file)
    n_read = itertools.count()
    rows = source.rows

    def counted():
        for row in rows():
            next(n_read)
            yield row

    source.rows = counted
    answers = source.answers(model, Vectors("molecule"), 0, "new")
    next(answers)
    assert next(n_read) <= molnb.inference.featurizer.CHUNK


# ----------------------------------------------------------------------------------- text files


def test_a_csv_holds_every_digit_and_lists_as_json(label_run, tmp_path):
    file = write_smiles(tmp_path, ["CCO", "C(", "[Na+].CC(=O)[O-]", "CC[Se]C"])
    write_predictions(file, label_run.path, tmp_path / "p.parquet", workers=0)
    write_predictions(file, label_run.path, tmp_path / "p.csv", workers=0)
    table = pq.read_table(tmp_path / "p.parquet").to_pylist()
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert list(rows[0]) == list(table[0])
    for row, stored in zip(rows, table, strict=True):
        if stored["error"]:
            assert row["error"] == stored["error"] and row["gap_eV"] == row["wiberg"] == ""
            continue
        assert float(row["gap_eV"]) == stored["gap_eV"]
        numbers = [np.nan if x is None else np.float32(x) for x in json.loads(row["wiberg"])]
        assert np.array_equal(numbers, np.float32(stored["wiberg"]))
    assert json.loads(rows[2]["charge_mulliken_e"])[0] is None, "sodium was taken off"
    assert rows[0]["unseen"] == "" and json.loads(rows[3]["unseen"]) == ["element: Se"]


def test_embeddings_of_each_level_are_read_back_from_a_csv(label_run, model, tmp_path):
    file = write_smiles(tmp_path, ["CCO"])
    for level, depth in (("molecule", 1), ("atom", 2), ("pair", 1)):
        write_embeddings(file, label_run.path, tmp_path / "e.tsv", level=level, workers=0)
        with (tmp_path / "e.tsv").open(newline="") as text:
            (row,) = csv.DictReader(text, delimiter="\t")
        values = np.array(json.loads(row["embedding"]), np.float32)
        assert values.ndim == depth
        expected = np.asarray(model.embed("CCO", level)[0], np.float32)
        assert np.allclose(values.reshape(expected.shape), expected, atol=1e-6)
        (tmp_path / "e.tsv").unlink()


# -------------------------------------------------------------------------------- where it may go


@pytest.mark.parametrize("name", ["a.parquet", "a.pq", "a.csv", "a.tsv", "a.csv.gz", "A.CSV"])
def test_an_output_of_ours_is_replaced_and_another_file_is_not(label_run, tmp_path, name):
    file = write_smiles(tmp_path, ["CCO"])
    out = tmp_path / name
    write_predictions(file, label_run.path, out, workers=0)
    first = out.read_bytes()
    write_predictions(file, label_run.path, out, workers=0)
    assert out.read_bytes() == first, "equal answers are equal files"
    if "parquet" in name or "pq" in name:
        pq.write_table(pa.table({"embedding": [1.0]}), out)
    else:
        out.write_text("row,id,my_own_column\n0,1,2\n")
    other = out.read_bytes()
    with pytest.raises(InputError, match="--force"):
        write_predictions(file, label_run.path, out, workers=0)
    assert out.read_bytes() == other
    write_predictions(file, label_run.path, out, workers=0, force=True)
    assert out.read_bytes() == first


def test_a_csv_that_got_another_column_since_is_not_ours(label_run, tmp_path):
    file = write_smiles(tmp_path, ["CCO"])
    out = tmp_path / "p.csv"
    write_predictions(file, label_run.path, out, workers=0)
    lines = out.read_text().splitlines()
    out.write_text(f"{lines[0]},verdict\n{lines[1]},good\n")
    with pytest.raises(InputError, match="--force"):
        write_predictions(file, label_run.path, out, workers=0)


def test_what_is_read_is_never_replaced(label_run, nci, tmp_path):
    """The input, files of the run, and files of curated molecules."""
    file = write_smiles(tmp_path, ["CCO"])
    content = file.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    part = nci.parts()[0]
    for source, out in ((file, file), (file, link), (nci, part), (nci.path, part)):
        before = Path(out).read_bytes()
        with pytest.raises(InputError, match="which is read"):
            write_predictions(source, label_run.path, out, force=True)
        assert Path(out).read_bytes() == before
    assert file.read_bytes() == content and link.is_symlink()


def test_nothing_is_computed_for_an_output_that_cannot_be(label_run, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainedModel, "_rows", lambda *_: pytest.fail("something was computed"))
    file = write_smiles(tmp_path, ["CCO"])
    for out in (tmp_path, tmp_path / "x.xlsx", file / "x.csv", Path("/dev/null"), file):
        for write in (write_predictions, write_embeddings):
            with pytest.raises(InputError):
                write(file, label_run.path, out, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


# ------------------------------------------------------------------------------ what went wrong

FLAT = "\n     RDKit          2D\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n" + (
    "    0.0000    0.0000    0.0000 C   0  0\nM  END\n$$$$\n"
)


def test_no_row_that_was_answered_is_an_error_with_its_reason(label_run, tmp_path, capsys):
    file = tmp_path / "flat.sdf"
    file.write_text(FLAT * 30)
    out = tmp_path / "e.parquet"
    arguments = ["embed", str(file), "--run", str(label_run.path), "--out", str(out)]
    arguments += ["--workers", "0"]
    assert main([*arguments, "--conformer", "given"]) == 2
    printed = capsys.readouterr()
    assert f"{out}: 30 rows, 30 errors" in printed.out
    assert "30  conformer: no 3D coordinates, first in row 0 (its conf" in printed.err
    assert "two dimensions" in printed.err and "no row of" in printed.err
    assert len(pq.read_table(out)) == 30
    assert main(arguments) == 0


def test_reasons_are_counted_most_frequent_first(label_run, tmp_path, capsys):
    smiles = ["C(", "CCO", "", "[H][H]", "C((", "C" * 70, "c1ccccc1", "[Na+].[Cl-]", "C=", "[H][H]"]
    file = write_smiles(tmp_path, smiles)
    out = tmp_path / "p.csv"
    arguments = [str(file), "--run", str(label_run.path), "--out", str(out), "--workers", "0"]
    assert main(["predict", *arguments]) == 0
    printed = capsys.readouterr().err
    assert "--max-heavy-atoms N" in printed
    lines = [line for line in printed.splitlines() if ", first in row " in line]
    counted = [line.split(", first")[0].split(maxsplit=1) for line in lines]
    assert counted == [
        ["3", "parse: unreadable structure"],
        ["2", "standardise: no heavy atoms"],
        ["1", "parse: empty structure"],
        ["1", "standardise: over the size limit"],
        ["1", "standardise: no parent fragment"],
    ]
    assert lines[3].endswith("over the size limit, first in row 5 (70 heavy atoms, limit 64)")


def test_at_most_ten_lines_of_reasons_are_shown() -> None:
    from molnb.commands.answers import failure_lines
    from molnb.inference.parquet_output import Failure

    failures = {
        f"step: reason {n}": Failure(50 - n, n, f"step: reason {n} ({'x' * 999})")
        for n in range(14)
    }
    lines = failure_lines(failures)
    assert len(lines) == 10 and max(map(len, lines)) <= 240
    assert lines[0].startswith("       50  step: reason 0, first in row 0 (x")
    assert lines[9].split(maxsplit=1) == ["195", "for 5 other reasons"]
    assert len(failure_lines(dict(list(failures.items())[:10]))) == 10


def test_a_file_without_rows_has_no_answer(label_run, tmp_path, capsys):
    file = tmp_path / "none.csv"
    file.write_text("SMILES\n")
    out = tmp_path / "p.csv"
    arguments = ["--run", str(label_run.path), "--out", str(out), "--workers", "0"]
    assert main(["predict", str(file), *arguments]) == 2
    assert "no row of" in capsys.readouterr().err


def test_progress_says_how_many_rows_of_all_are_done(label_run, nci, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(molnb.progress, "SECONDS_BETWEEN_LINES", 0.0)
    file = write_smiles(tmp_path, ["CCO", "C(", "CCN"])
    smi = tmp_path / "m.smi"
    smi.write_text("CCO a\n\nCCN b\n")
    pq.write_table(pa.table({"smiles": ["CCO"] * 5}), tmp_path / "m.pq")
    for source, n in ((file, 3), (smi, 2), (tmp_path / "m.pq", 5), (nci.path, nci.n)):
        write_predictions(source, label_run.path, tmp_path / "p.parquet", workers=0)
        assert f"predict {source.name}: {n} of {n} (100%" in capsys.readouterr().err
    write_predictions(file, label_run.path, tmp_path / "p.parquet", workers=0, progress=False)
    assert capsys.readouterr().err == ""
