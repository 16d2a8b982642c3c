"""A row that curation calls malformed gets no embedding and no prediction: one reader, one verdict.

Every file is read by both, and the rows that each of them refuses, with their reasons, are equal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curated_files import curate_smiles
from rdkit import Chem
from tiny import small_run

from molnb.chemistry.failures import MoleculeError
from molnb.inference.featurizer import featurize_all
from molnb.inference.inputs import read_molecules
from molnb.inference.parquet_output import write_predictions
from molnb.inference.predictor import load_run
from molnb.recipes.snapshot import write_snapshot
from molnb.recipes.sources import find_source, recipe_for_file
from molnb.training.loop import train

ETHANOL = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
LONG = "x" * 140_000

TABLES = {
    "commas inside names": (
        "mine.csv",
        "name,smiles\nethanol,CCO\nS,S,S-tributyl phosphorotrithioate,CCCCSP(=O)(SCCCC)SCCCC\n",
        [None, "4 fields where the header has 2"],
    ),
    "a name that is a SMILES": (
        "mine.csv",
        "name,smiles\nN,N-dimethylformamide,CN(C)C=O\nC,CCO\n",
        ["3 fields where the header has 2", None],
    ),
    "a field too few": (
        "mine.csv",
        "smiles,name,y\nCCO,a\nCCN,b,1\n",
        ["2 fields where the header has 3", None],
    ),
    "a quote left open": (
        "mine.csv",
        'smiles,name,y\nCCO,"a,1\nCCN,b,1\n',
        ["a quote opens field 2 and does not close it", None],
    ),
    "names behind the last name": (
        "mine.csv",
        "name,smiles,\nS,S-dimethyl,CSC\nb,CCO,\n",
        ["field 3 stands where the header has no name", None],
    ),
    "a NUL character": (
        "mine.csv",
        "smiles,y\nCC\0O,1\nCCN,1\n",
        ["a NUL character stands in the row", None],
    ),
    "two SMILES in a cell": (
        "mine.csv",
        'smiles,y\n"CCO\nCCN",1\nCCN,1\n',
        ["the structure goes over several lines: one SMILES a row", None],
    ),
    "tabs": (
        "mine.tsv",
        "smiles\ty\nCCO\t1\t2\nCCN\t1\n",
        ["3 fields where the header has 2", None],
    ),
    "semicolons": (
        "mine.csv",
        "name;smiles\nC;C;CCO\na;CCN\n",
        ["3 fields where the header has 2", None],
    ),
    "a cell beyond any limit": ("mine.csv", f"smiles,y\nCCO,{LONG}\nCCN,1\n", [None, None]),
    "a SMILES file": (
        "mine.smi",
        "smiles id y\nCCO a b 1\nCCN b 2\n\tC\n",
        ["4 fields where the header has 3", None, "no SMILES before the first tab"],
    ),
    "an extension without end": (
        "mine.smi",
        "CCO |&1:1 a\nCCN\n",
        ["the extension '|&1:1 a' behind the SMILES has no second '|'", None],
    ),
    "an SDF": (
        "mine.sdf",
        ETHANOL + "$$$$\nlost\n$$$$\n" + ETHANOL + "text\n$$$$\n",
        [
            None,
            "no 'M  END' in the record",
            None,
            "text that is neither a mol block nor a property: 'text'",
        ],
    ),
    "an XYZ file": (
        "mine.xyz",
        "3\n\nO 0 0 0\nH 1 0 0\n\n1\n\nHe 0 0 0\n",
        ["2 atoms where the frame states 3", None],
    ),
}


@pytest.mark.parametrize("name, text, problems", TABLES.values(), ids=TABLES)
def test_what_curation_calls_malformed_is_not_answered(
    tmp_path: Path, name: str, text: str, problems: list[str | None]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    recipe = recipe_for_file(path)
    write_snapshot(recipe, find_source(recipe, tmp_path), tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["problem"].to_pylist() == problems
    answered = [
        molecule.detail if isinstance(molecule, MoleculeError) else None
        for molecule in read_molecules(path)
    ]
    assert answered == problems


def test_a_nul_character_in_a_parquet_file_is_malformed_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"smiles": ["CC\0O", "CCN"], "note": ["a", "b\0"]}), path)
    first, second = read_molecules(path)
    assert str(first) == "read: malformed row (a NUL character stands in the structure)"
    assert second == "CCN"


def test_the_error_of_a_malformed_row_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("name,smiles\nS,S,S-tributyl,CCCCSP(=O)(SCCCC)SCCCC\na,CCO\n")
    first, second = featurize_all(list(read_molecules(path)))
    assert first == "read: malformed row (4 fields where the header has 2)"
    assert second.smiles == "CCO"


def test_a_file_of_predictions_has_a_row_for_every_row_and_none_for_hydrogen_sulfide(
    label_run, tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("name,smiles\nethanol,CCO\nS,S,S-tributyl,CCCCSP(=O)(SCCCC)SCCCC\na,CCN\n")
    out = tmp_path / "p.parquet"
    counts = write_predictions(path, label_run.path, out, workers=0)
    assert (counts["rows"], counts["errors"]) == (3, 1)
    table = pq.read_table(out)
    assert table["smiles"].to_pylist() == ["CCO", None, "CCN"]
    assert table["error"].to_pylist() == [
        None,
        "read: malformed row (4 fields where the header has 2)",
        None,
    ]


ZINC_SALT = "[Zn+2].CCCCCCCC(=O)[O-].CCCCCCCC(=O)[O-]"


@pytest.mark.parametrize("metals", ["drop", "remove"])
def test_salts_of_metals_are_answered_as_the_recipe_of_the_data_has_them(
    metals: str, home: Path, tmp_path: Path
) -> None:
    rows = [ZINC_SALT, "CCO", "CCN", "CCC", "CCCO"]
    shards = curate_smiles(tmp_path, rows, structure={"metals": metals})
    is_kept = metals == "remove"
    assert len(shards) == 4 + is_kept
    run = train(small_run(shards, steps=1), tmp_path / "run")
    (embedding,) = load_run(run.path).embed([ZINC_SALT])
    assert np.isfinite(embedding).all() == is_kept
