"""Curves of runs: each loss beside its own baseline, long ones averaged without losing ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.curves import averaged, plot_losses
from molnb.figures.style import term_label

TERMS = ("token_ce_nats", "coord_l1_angstrom")
BARS = {"token_ce_nats": 1.2, "token_accuracy": 0.7, "coord_l1_angstrom": 0.16}


class FakeRun:
    """A run whose terms fall as 1/step from twice to half its baselines."""

    def __init__(self, seed: int, steps: int = 1000):
        self.name = "tiny"
        self.path = Path(f"run-{seed}")
        self.steps = steps
        self.config = SimpleNamespace(seed=seed, global_batch=64)

    def metrics(self, part: str | None = None, features: str | None = None) -> list[dict[str, Any]]:
        steps = range(1, self.steps + 1) if part == "train" else range(0, self.steps + 1, 100)
        return [
            {"step": s, "features": "hidden"} | {t: BARS[t] * (0.5 + 1.5 / (1 + s)) for t in TERMS}
            for s in steps
        ]

    def timings(self) -> list[dict[str, float]]:
        return [{"step": step, "seconds": 0.1 * step} for step in range(self.steps + 1)]

    def baselines(self) -> dict[str, dict[str, float]]:
        return {"hidden": BARS, "visible": {**BARS, "token_ce_nats": 0.3}}


def test_every_loss_stands_beside_its_own_baseline() -> None:
    figure = plot_losses([FakeRun(0), FakeRun(1)])
    dashed = [trace for trace in figure.data if trace.line.dash == "dash"]
    assert [(trace.text[1], trace.y[0]) for trace in dashed] == [
        ("element frequency", 1.2),
        ("identity", 0.16),
    ]
    names = sorted(trace.name for trace in figure.data if trace.showlegend and trace.name)
    assert names == ["tiny, seed 0", "tiny, seed 1"]
    assert [note.text for note in figure.layout.annotations] == [term_label(term) for term in TERMS]


class RankedRun(FakeRun):
    """A run that tells classes apart: rankings at validations alone, the first undefined."""

    def metrics(self, part: str | None = None, features: str | None = None) -> list[dict[str, Any]]:
        rows = [{"step": step, "features": "visible", "loss": 1 / (1 + step)} for step in range(5)]
        if part == "train":
            return rows
        area = {"val": 0.6, "train_sample": 0.8}[part]
        return [row | {"a_auroc": area if row["step"] else None, "b_ap": None} for row in rows]

    def baselines(self) -> dict[str, dict[str, float | None]]:
        return {"mean": {"a_auroc": 0.5, "b_ap": None}}


def test_a_ranking_is_drawn_of_validation_and_of_a_sample_of_training_rows() -> None:
    figure = plot_losses([RankedRun(0)])
    assert [note.text for note in figure.layout.annotations] == ["a: AUROC", "b: average precision"]
    training, validation, bar = [trace for trace in figure.data if trace.xaxis in (None, "x")]
    assert training.x.tolist() == validation.x.tolist() == [1, 2, 3, 4], "null is no point"
    assert np.allclose(training.y, 0.8) and np.allclose(validation.y, 0.6)
    assert (bar.text[1], bar.y[0]) == ("at random", 0.5)
    undefined = [trace for trace in figure.data if trace.xaxis == "x2"]
    assert len(undefined) == 2 and not any(len(trace.x) for trace in undefined), "and no bar"


def test_features_choose_the_baseline() -> None:
    figure = plot_losses([FakeRun(0)], terms=["token_ce_nats"], features="visible")
    (dashed,) = [trace for trace in figure.data if trace.line.dash == "dash"]
    assert (dashed.text[1], dashed.y[0]) == ("feature lookup", 0.3)


@pytest.mark.parametrize(("x", "last"), [("step", 1000), ("molecules", 64_000), ("seconds", 100)])
def test_curves_run_over_steps_molecules_or_seconds(x: str, last: float) -> None:
    figure = plot_losses([FakeRun(0)], x=x)
    assert figure.data[1].x[-1] == pytest.approx(last)


def test_logarithmic_axes_leave_out_step_zero_and_carry_readable_ticks() -> None:
    figure = plot_losses([FakeRun(0)], logx=True, logy=True)
    assert min(min(trace.x) for trace in figure.data) == 1
    assert figure.layout.xaxis.type == figure.layout.yaxis2.type == "log"
    assert "1k" in figure.layout.xaxis.ticktext
    with pytest.raises(InputError, match="choose one of step, molecules, seconds"):
        plot_losses([FakeRun(0)], x="epochs")


def test_long_curves_are_averaged_without_losing_their_ends() -> None:
    steps = np.arange(1, 100_001)
    for log in (False, True):
        x, y = averaged(steps, steps * 2.0, log)
        assert len(x) <= 300 and np.allclose(y, 2 * x)
        assert x[0] < 200 and x[-1] > 96_000
    assert len(plot_losses([FakeRun(s, 20_000) for s in range(3)]).to_json()) < 60_000
