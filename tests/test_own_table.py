"""From a table to a number, by commands alone: curate, train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from molnb.cli import main
from molnb.shards import load_shards

pytest.importorskip("lightgbm")
metrics = pytest.importorskip("sklearn.metrics")

RINGS = [
    "c1ccccc1",
    "c1ccncc1",
    "C1CCCCC1",
    "c1ccoc1",
    "c1ccsc1",
    "C1CCNCC1",
    "c1cc[nH]c1",
    "C1CCOC1",
]
GROUPS = ["O", "N", "CO", "CN", "CCO", "C(=O)O", "C#N", "F", "Cl", "CC", "OC", "C(C)=O"]
SMALL = ["n_layer 1", "d_atom 32", "n_head 4", "d_ffn 32", "d_pair 16", "d_hidden 4", "n_kernel 8"]
HERE = ["--workers", "0"]  # to start processes takes longer than the work
QUICK = ["steps 12", "warmup_steps 2", "eval_every 4", "checkpoint_every 12", "log_every 6"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rings with groups: a class in words by the ring, a number, a class of three, a split."""
    rows = ["Compound,Structure SMILES,Outcome: final,logS,grade,set,batch"]
    for i, ring in enumerate(RINGS):
        for j, group in enumerate(GROUPS):
            outcome = "active" if "n" in ring.lower() else "inactive"
            part = ("train", "train", "train", "test")[(i + j) % 4]
            grade = ("low", "medium", "high")[j % 3]
            rows.append(f"mol-{i}-{j},{ring}{group},{outcome},{i - 0.1 * j},{grade},{part},B{i}")
    file = tmp_path_factory.mktemp("own") / "own table.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def molnb(capsys: pytest.CaptureFixture, *arguments: str | Path) -> list[str]:
    """The lines that a command prints; it must succeed."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out.splitlines()


def settings() -> list[str]:
    """Options that make a training small."""
    changes = [f"model.{text}" for text in SMALL] + QUICK
    return [word for text in changes for word in ("--set", *text.split())]


@pytest.mark.parametrize(
    ("label", "scores", "metric", "processes"),
    [
        ("Outcome: final=active:binary(active=1,inactive=0)", {"AUROC", "Brier"}, "auroc", []),
        ("logS:log10(mol/L)", {"MAE", "R²"}, "mae", HERE),
        pytest.param(
            "grade:classes(low,medium,high)",
            {"AUROC", "accuracy"},
            "accuracy",
            HERE,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["binary", "number", "three classes"],
)
def test_three_commands_lead_from_a_file_to_a_test_score(
    label: str,
    scores: set,
    metric: str,
    processes: list[str],
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    options = ["--label", label, "--split-column", "set", "--keep", "batch", *processes]
    lines = molnb(capsys, "curate", table, *options)
    shards = lines[-1]
    assert any("96 rows = 96 molecules + 0 dropped" in line for line in lines)
    assert any("held back as val" in line for line in lines)
    lines = molnb(capsys, "train", "finetune_tiny", "--data", shards, *settings())
    assert lines[-2].startswith("validation of the saved weights (step ")
    run = lines[-1]
    scored = tmp_path / "scored.csv"
    lines = molnb(capsys, "evaluate", run, "--out", tmp_path / "s.csv", "--predictions", scored)
    printed = "\n".join(lines)
    assert all(word in lines[0] for word in scores) and "LightGBM" in printed and " to " in printed
    of_network = pd.read_csv(tmp_path / "s.csv").set_index("method").loc["network"]
    predicted = pd.read_csv(scored)
    assert of_network["n"] == len(predicted) == 24
    if metric == "auroc":
        expected = metrics.roc_auc_score(predicted["truth"], predicted["prediction"])
    elif metric == "mae":
        expected = metrics.mean_absolute_error(predicted["truth"], predicted["prediction"])
    else:
        expected = metrics.accuracy_score(predicted["truth"], predicted["prediction"])
    assert of_network[metric] == pytest.approx(expected, abs=1e-6)
    assert of_network[f"{metric}_low"] <= of_network[metric] <= of_network[f"{metric}_high"]

    answers = tmp_path / "answers.csv"
    options = ["--out", answers, "--keep", "batch", *processes]
    molnb(capsys, "predict", table, "--run", run, *options)
    answered = pd.read_csv(answers)
    assert answered["id"].tolist()[:2] == ["mol-0-0", "mol-0-1"]
    assert answered["batch"].tolist()[-1] == "B7" and answered["error"].isna().all()
    if metric == "auroc":
        tested = answered[pd.read_csv(table)["set"] == "test"]["active_probability"]
        assert sorted(tested) == pytest.approx(sorted(predicted["prediction"]), abs=1e-5)


def test_evaluate_refuses_what_it_cannot_score_or_write(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["evaluate", "x", "--out", str(tmp_path / "x.docx")]) == 2
    assert "which is one of .parquet" in capsys.readouterr().err
    assert main(["evaluate", "x", "--out", str(table)]) == 2
    assert "--force" in capsys.readouterr().err
    both = str(tmp_path / "both.csv")
    assert main(["evaluate", "x", "--out", both, "--predictions", both]) == 2
    assert "name two files" in capsys.readouterr().err


ODD = """smiles,IC50,relation,Units,inhibition,pH
CCO,10,=,nM,"45,5 %","7,4"
OCC,30,=,nM,"45,5 %","7,4"
CCN,50,>,nM,12%,"1.007,4"
CCC,"<2,5",,nM,"3,5","6,8"
CCCC,7,,uM,1%,
CCCCC,9,=,nM,101%,"20"
"""


def test_a_table_of_odd_cells_is_described_by_options(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "odd.csv").write_text(ODD)
    lines = molnb(
        capsys, "curate", tmp_path / "odd.csv", "--out", tmp_path, "--workers", "0",
        "--label", "IC50:nM", "--label", "inhibition=inh:%", "--label", "pH:1",
        "--relation", "IC50=relation", "--qualified", "IC50=value", "--percent", "inh",
        "--decimal", ",", "--where", "Units=nM", "--max-spread", "IC50=15", "--range", "pH=0..14",
    )  # fmt: skip
    table = load_shards(lines[-1]).table(["IC50", "IC50 relation", "inh", "pH"]).to_pydict()
    assert table["IC50"] == [None, 50.0, 2.5, 9.0]
    assert table["IC50 relation"] == [None, ">", "<", None]
    assert table["inh"] == [45.5, 12.0, 3.5, 101.0]
    assert table["pH"] == [7.4, None, 6.8, 20.0]
    printed = "\n".join(lines)
    assert "6 rows = 4 molecules + 2 dropped" in printed and "filter: where: Units 1" in printed
    for said in (
        "2 values are bounds or approximate (> 1, < 1)",
        "1 cells are no value, point in a column of decimal commas; the first is '1.007,4'",
        "lie outside its range of 0 to 14 1, and are kept; the first is 20 in line 7",
        "further apart than 15 nM",
    ):
        assert said in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "Unit=nM"], "there is no column 'Unit' (did you mean 'Units'?)"),
        (["--where", "Units"], "has no value: write COLUMN=VALUE"),
        (["--relation", "ic50=relation"], "there is no label 'ic50' (did you mean 'IC50'?)"),
        (["--relation", "IC50=rel"], "has no column 'rel'"),
        (["--qualified", "IC50=used"], "qualified: Input should be 'missing' or 'value'"),
        (["--percent", "inh"], "there is no label 'inh'"),
        (["--max-spread", "IC50=much"], "'much' is no number"),
        (["--range", "IC50=1-5"], "write LABEL=LOW..HIGH"),
        (["--range", "IC50=1..x"], "'x' is no number"),
        (["--range", "IC50=5..1"], "low, then high"),
        (["--range", "IC50=0..1"], "lie outside its range"),
    ],
)
def test_an_option_of_cells_that_fits_nothing_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "odd.csv").write_text(ODD)
    command = ["curate", str(tmp_path / "odd.csv"), "--out", str(tmp_path), "--label", "IC50:nM"]
    assert main([*command, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_recipe_is_not_described_by_options(capsys: pytest.CaptureFixture) -> None:
    assert main(["curate", "nci", "--where", "a=b", "--decimal", ","]) == 2
    assert "--where, --decimal describe a file of yours" in capsys.readouterr().err
