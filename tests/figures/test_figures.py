"""Figures say what they show: units on axes, each loss beside its baseline, counts that add up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.curves import averaged, plot_losses
from molnb.figures.distributions import plot_drops, plot_histograms, plot_label_histograms
from molnb.figures.style import panels, term_label, with_unit

TERMS = ("token_ce_nats", "coord_l1_angstrom")
BARS = {"token_ce_nats": 1.2, "token_accuracy": 0.7, "coord_l1_angstrom": 0.16}


class FakeRun:
    """A run whose terms fall as 1/step from twice to half its baselines."""

    def __init__(self, seed: int, steps: int = 1000):
        self.name, self.path, self.steps = "tiny", Path(f"run-{seed}"), steps
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


def test_term_names_become_axis_labels_with_their_unit() -> None:
    assert term_label("token_ce_nats") == "masked atoms: cross entropy (nats)"
    assert term_label("energy_residual_mae_eV") == "energy residual: mean absolute error (eV)"


def test_quantities_carry_their_unit_unless_they_have_none() -> None:
    assert with_unit("gap", "eV") == "gap (eV)"
    assert with_unit("wiberg", "1") == with_unit("wiberg", "") == "wiberg"


def test_panels_are_filled_row_by_row() -> None:
    figure, positions = panels(["a", "b", "c"], columns=2, height=200)
    assert positions == [{"row": 1, "col": 1}, {"row": 1, "col": 2}, {"row": 2, "col": 1}]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    with pytest.raises(InputError, match="nothing to plot"):
        panels([], columns=2, height=200)


def test_every_loss_stands_beside_its_own_baseline() -> None:
    figure = plot_losses([FakeRun(0), FakeRun(1)])
    dashed = [trace for trace in figure.data if trace.line.dash == "dash"]
    assert [(trace.text[1], trace.y[0]) for trace in dashed] == [
        ("element frequency", 1.2),
        ("identity", 0.16),
    ]
    assert sorted(t.name for t in figure.data if t.showlegend and t.name) == [
        "tiny, seed 0",
        "tiny, seed 1",
    ]
    assert [note.text for note in figure.layout.annotations] == [term_label(term) for term in TERMS]


def test_features_choose_the_baseline() -> None:
    figure = plot_losses([FakeRun(0)], terms=["token_ce_nats"], features="visible")
    assert [(t.text[1], t.y[0]) for t in figure.data if t.line.dash == "dash"] == [
        ("feature lookup", 0.3)
    ]


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


def test_histograms_count_every_known_value_once() -> None:
    values = np.r_[np.random.default_rng(0).normal(size=2000), 1e6, np.nan]
    figure = plot_histograms({"a": {"gap (eV)": values}, "b": {"gap (eV)": [1.0, None]}})
    assert [trace.name for trace in figure.data] == ["a (2,001)", "b (1)"]
    assert all(np.sum(trace.y) == pytest.approx(100) for trace in figure.data)
    assert max(figure.data[0].x) < 100, "one wild value does not squeeze the rest"
    assert figure.layout.annotations[0].text == "gap (eV)"


def test_label_histograms_take_units_from_the_table() -> None:
    atoms = pa.list_(pa.float32())
    about = [("gap", pa.float64(), "eV"), ("charge", atoms, "e"), ("wiberg", atoms, "1")]
    fields = [pa.field(name, kind, metadata={"unit": unit}) for name, kind, unit in about]
    columns = [[1.0, None, 3.0], [[0.1, -0.1], None, [0.2]], [[1.0], [2.0], None]]
    table = pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, fields)], schema=pa.schema(fields)
    )
    titles = [note.text for note in plot_label_histograms(table).layout.annotations]
    assert titles == ["gap (eV): 2 known", "charge (e): 3 known", "wiberg: 2 known"]
    assert len(plot_label_histograms(table, ["gap"]).data) == 1
    with pytest.raises(InputError, match="nothing to plot"):
        plot_label_histograms(table, ["none"])


def test_drops_name_step_reason_and_what_was_kept() -> None:
    manifest = {"n_kept": 147, "n_sampled": 150, "n_source": 4999}
    manifest["dropped"] = {
        "parse": {"impossible valence": 1},
        "duplicate": {"same molecule as an earlier row": 2},
    }
    figure = plot_drops({"nci": manifest})
    assert dict(zip(figure.data[0].y, figure.data[0].x))["parse: impossible valence"] == 1
    assert figure.layout.title.text == "nci: kept 147 of 150 rows sampled from 4,999"


def test_molecules_that_cannot_be_drawn_keep_their_place() -> None:
    pytest.importorskip("IPython")
    pytest.importorskip("rdkit")
    from molnb.figures.grid import draw_molecules

    grid = draw_molecules(["CCO", "not <a> molecule"], ["ethanol", "?"]).data
    assert grid.count("<figure") == 2 and grid.count("<svg") == 1
    assert "not &lt;a&gt; molecule" in grid and "ethanol" in grid
    with pytest.raises(InputError, match="2 molecules but 1 legends"):
        draw_molecules(["C", "CC"], ["methane"])
