"""Scores of labels as tables and figures: few one by one, many as a distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.label_figures import MAX_LINES, plot_label_scores
from molnb.figures.label_table import label_rows, notes_on, task_rows


def made_row(label: str, metric: str, value: float | None, **changes) -> dict:
    """A row of a run's table."""
    half = None if value is None else 0.1
    row = {
        "step": 1200,
        "part": "val",
        "dataset": "d",
        "task": "t",
        "label": label,
        "level": "molecule",
        "kind": "regression",
        "metric": metric,
        "unit": "eV" if metric in ("mae", "rmse") else "",
        "value": value,
        "low": None if value is None else value - half,
        "high": None if value is None else value + half,
        "in_sd": None,
        "baseline": 0.9,
        "sd": 2.0,
        "n": 100,
        "n_positive": None,
        "n_ranked": None,
        "draws": 200,
    }
    return row | changes


def numbers() -> list[dict]:
    return [
        made_row("gap", "mae", 0.4),
        made_row("gap", "r2", 0.75),
        made_row("u0", "mae", 1.0),
        made_row("u0", "r2_residual", 0.5),
        made_row("flat", "mae", 0.2),
        made_row("flat", "r2", None),
    ]


def test_tasks_are_summarised_by_means_over_labels_that_can_be_scored():
    (line,) = task_rows(numbers())
    assert line["labels"] == 3 and line["known values"] == 300
    assert line["mean MAE / training sd"] == "0.267", "(0.2 + 0.5 + 0.1) / 3"
    assert line["mean R²"] == "0.750 (1 of 2)"
    assert line["mean R² beyond atom counts"] == "0.500"


def test_labels_are_listed_with_units_intervals_and_what_is_undefined():
    lines = label_rows(numbers())
    assert [line["label"] for line in lines] == ["gap (eV)", "u0 (eV)", "flat (eV)"]
    assert lines[0]["MAE"] == "0.400 (0.300 to 0.500)"
    assert lines[0]["MAE / training sd"] == "0.200 (0.150 to 0.250)"
    assert lines[2]["R²"] == "undefined"
    assert "R²" not in lines[1] and lines[1]["R² beyond atom counts"].startswith("0.500")
    positives = made_row("a", "auroc", 0.8, n_positive=7, sd=None)
    assert label_rows([positives])[0]["positives"] == 7


def test_notes_say_what_the_numbers_are_of():
    notes = notes_on(numbers())
    assert "validation of step 1,200" in notes and "200 resampled sets" in notes
    assert "standard deviations" in notes and "element counts" in notes
    assert "sample of molecules" not in notes
    sampled = made_row("a", "auroc", 0.8, n_ranked=50, draws=50)
    notes = notes_on([sampled, made_row("a", "brier", 0.1)])
    assert "50 to 200" in notes and "fixed sample of molecules" in notes
    assert "standard deviations" not in notes


def test_a_few_labels_have_a_line_each_beside_the_trivial_answer():
    figure = plot_label_scores(pd.DataFrame(numbers()))
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [
        "MAE / training sd: 3 labels",
        "R²: 1 labels (1 undefined)",
        "R² beyond atom counts: 1 labels",
    ]
    bar, scores = figure.data[:2]
    assert bar.x.tolist() == [0.45] * 3
    assert scores.x.tolist() == pytest.approx([0.2, 0.5, 0.1])
    assert scores.error_x.array.tolist() == pytest.approx([0.05] * 3)
    assert figure.layout.yaxis.ticktext == ("gap", "u0", "flat")
    assert [trace.name for trace in figure.data if trace.name] == ["t", "trivial answer"]


def test_of_many_labels_the_distribution_is_drawn_and_every_label_is_in_it():
    random = np.random.default_rng(0)
    rows = [
        made_row(f"a{i}", "auroc", None if i % 50 == 0 else float(random.random()), sd=None)
        for i in range(1328)
    ]
    assert len(rows) > MAX_LINES
    figure = plot_label_scores(pd.DataFrame(rows))
    n_scored = 1328 - 27
    assert figure.layout.annotations[0].text == f"AUROC: {n_scored:,} labels (27 undefined)"
    assert figure.data[0].y.sum() == n_scored
    defined = [row["value"] for row in rows if row["value"] is not None]
    medians = [trace for trace in figure.data if trace.text and "median" in trace.text[1]]
    assert medians[0].x[0] == pytest.approx(np.median(defined))
    assert figure.layout.height < 600


def test_what_cannot_be_drawn_is_refused_with_what_there_is():
    table = pd.DataFrame(numbers())
    with pytest.raises(InputError, match="no scores of the part 'test': the table has val"):
        plot_label_scores(table, "test")
    with pytest.raises(InputError, match="no label has the measure 'auroc': choose one of mae, "):
        plot_label_scores(table, measures=["auroc"])
