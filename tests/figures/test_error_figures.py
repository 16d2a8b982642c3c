"""Figures of a comparison show what its table says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.comparison import Fitted, compare
from molnb.evaluation.folds import make_folds
from molnb.evaluation.report import comparison_table
from molnb.figures.errors import (
    aligned_drawings,
    draw_worst,
    plot_differences,
    plot_error_by_similarity,
    plot_guesses,
)


def wrong_by(test, train):
    def fit(benchmark, fold, number):
        shifted = benchmark.values + test * (1 + 0.1 * number)
        return Fitted(benchmark.values[fold.train] + train, shifted[fold.test])

    return fit


@pytest.fixture(scope="module")
def comparison(nci):
    benchmark = load_benchmark(nci, "nci_dipole")
    methods = {"LightGBM": wrong_by(0.4, 0.1), "kNN": wrong_by(0.6, 0.5)}
    networks = {"lazy": wrong_by(0.1, 0.9), "good": wrong_by(0.2, 0.1)}
    return compare(benchmark, make_folds(benchmark.groups), methods, networks, progress=False)


def test_differences_stand_with_their_intervals_and_unfinished_networks_apart(comparison):
    table = comparison_table(comparison.results)
    figure = plot_differences(table, "dipole (D)")
    rows = table.set_index("method")
    ticks = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext))
    drawn = {}
    for trace in figure.data:
        for x, y, high, low in zip(trace.x, trace.y, trace.error_x.array, trace.error_x.arrayminus):
            name = ticks[y].split()[0]
            drawn[name] = trace.name
            assert np.allclose(
                [x, x + high, x - low], rows.loc[name, ["difference", "high", "low"]].tolist()
            )
    assert drawn == {
        "kNN": "other methods",
        "good": "networks",
        "lazy": "networks, not trained to conclusion",
    }
    with pytest.raises(InputError, match="the differences of this table are not to 'kNN'"):
        plot_differences(table, "dipole (D)", reference="kNN")
    with pytest.raises(InputError, match="nothing beside LightGBM"):
        plot_differences(table[table["method"] == "LightGBM"], "dipole (D)")


def test_each_test_row_is_a_point_and_flagged_ones_stand_apart(comparison):
    n = len(comparison.benchmark.ids)
    flagged = np.arange(n) < 7
    figure = plot_guesses(comparison, ["LightGBM", "good"], flagged, "odd")
    points = {}
    for trace in figure.data:
        if trace.mode == "markers":
            points[trace.name] = points.get(trace.name, 0) + len(trace.x)
    assert points == {"training rows": 2 * n, "test rows": 2 * (n - 7), "test rows, odd": 14}
    mae = comparison_table(comparison.results).set_index("method")["mae"]
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == [f"{name}: test MAE {mae[name]:.2f}" for name in ("LightGBM", "good")]


def test_errors_by_similarity_average_to_the_error_of_all_rows(comparison):
    figure = plot_error_by_similarity(comparison, ["kNN"])
    (trace,) = figure.data
    error = np.abs(comparison.predictions("kNN") - comparison.benchmark.values)
    sizes = [len(part) for part in np.array_split(error, len(trace.y))]
    assert np.isclose(np.average(trace.y, weights=sizes), error.mean())


def test_the_worst_predictions_are_drawn_worst_first(comparison):
    drawing = draw_worst(comparison, "kNN", 2, np.ones(len(comparison.benchmark.ids), bool), "odd")
    text = getattr(drawing, "data", str(drawing))
    error = np.abs(comparison.predictions("kNN") - comparison.benchmark.values)
    worst = comparison.benchmark.values[error.argmax()]
    assert f"1. measured {worst:.2f}, odd, predicted" in text and "2. measured" in text


# ------------------------------------------------------------------------------- binary labels


@pytest.fixture(scope="module")
def polar(nci):
    """Whether a molecule's dipole is above the median, by methods that are nearly right."""
    numbers = load_benchmark(nci, "nci_dipole")
    values = (numbers.values > np.median(numbers.values)).astype(float)
    benchmark = replace(numbers, values=values, kind="binary", classes=("small", "large"))

    def guessing(noise):
        def fit(benchmark, fold, number):
            draw = np.random.default_rng(number)
            guess = benchmark.values + noise * draw.normal(size=len(benchmark.values))
            return Fitted(*(np.clip(guess[rows], 0, 1) for rows in fold))

        return fit

    methods = {"LightGBM": guessing(0.7), "kNN": guessing(0.9)}
    folds = make_folds(benchmark.groups, values=values)
    return compare(benchmark, folds, methods, progress=False)


def test_differences_of_a_binary_label_are_of_its_ranking(polar):
    figure = plot_differences(comparison_table(polar.results), polar.benchmark.axis)
    title = figure.layout.xaxis.title.text
    assert title.startswith("area under the ROC curve minus that of LightGBM (0.")
    assert title.endswith("dipole: large")


def test_probabilities_of_each_class_stand_at_its_height(polar):
    figure = plot_guesses(polar, ["LightGBM", "kNN"])
    score = comparison_table(polar.results).set_index("method")["auroc"]
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == [f"{name}: test AUROC {score[name]:.2f}" for name in ("LightGBM", "kNN")]
    (points,) = [t for t in figure.data if t.name == "test rows" and t.xaxis == "x"]
    order = np.argsort(points.x)
    assert np.allclose(np.sort(polar.predictions("LightGBM")), np.asarray(points.x)[order])
    assert (np.round(points.y) == polar.benchmark.values).all(), "scattered, and yet told apart"
    assert list(figure.layout.yaxis.ticktext) == ["0 (small)", "1 (large)"]
    assert figure.layout.xaxis.title.text == "predicted probability of 1 (large)"


def test_errors_of_probabilities_average_to_the_brier_score(polar):
    figure = plot_error_by_similarity(polar, ["kNN"])
    (trace,) = figure.data
    error = (polar.predictions("kNN") - polar.benchmark.values) ** 2
    sizes = [len(part) for part in np.array_split(error, len(trace.y))]
    assert np.isclose(np.average(trace.y, weights=sizes), error.mean())
    assert figure.layout.yaxis.title.text == "Brier score<br>dipole: large"
    text = str(getattr(draw_worst(polar, "kNN", 2), "data", ""))
    assert "1. measured" in text and "predicted probability" in text


# ------------------------------------------------------------------------------------- drawings


def test_molecules_of_a_pair_are_drawn_alike_and_the_rest_is_named():
    molecules, not_shared = aligned_drawings("Cc1ccccc1", "Clc1ccccc1")
    assert not_shared == [[0], [0]]
    rings = [mol.GetConformer().GetPositions()[1:] for mol in molecules]
    assert np.allclose(*rings, atol=1e-3)
    assert aligned_drawings("C", "O")[1] == [[], []]
