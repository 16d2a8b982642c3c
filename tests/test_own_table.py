"""From a table to a number, by commands alone: curate, train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from molnb.cli import main

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
    ("label", "scores", "metric"),
    [
        ("Outcome: final=active:binary(active=1,inactive=0)", {"AUROC", "Brier"}, "auroc"),
        ("logS:log10(mol/L)", {"MAE", "R²"}, "mae"),
        ("grade:classes(low,medium,high)", {"AUROC", "accuracy"}, "accuracy"),
    ],
    ids=["binary", "number", "three classes"],
)
def test_three_commands_lead_from_a_file_to_a_test_score(
    label: str, scores: set, metric: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lines = molnb(
        capsys, "curate", table, "--label", label, "--split-column", "set", "--keep", "batch"
    )
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
    molnb(capsys, "predict", table, "--run", run, "--out", answers, "--keep", "batch")
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
