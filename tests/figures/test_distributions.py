"""Distributions count every known value, and every row that was lost."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("plotly")

from molnb.errors import InputError
from molnb.figures.distributions import plot_drops, plot_histograms, plot_label_histograms


def test_histograms_count_every_known_value_once() -> None:
    values = np.r_[np.random.default_rng(0).normal(size=2000), 1e6, np.nan]
    figure = plot_histograms({"a": {"gap (eV)": values}, "b": {"gap (eV)": [1.0, None]}})
    assert [trace.name for trace in figure.data] == ["a (2,001)", "b (1)"]
    assert all(np.sum(trace.y) == pytest.approx(100) for trace in figure.data)
    assert max(figure.data[0].x) < 100, "one wild value does not squeeze the rest"
    assert figure.layout.annotations[0].text == "gap (eV)"


def test_label_histograms_take_units_from_the_table() -> None:
    atoms = pa.list_(pa.float32())
    labels = [("gap", pa.float64(), "eV"), ("charge", atoms, "e"), ("wiberg", atoms, "1")]
    fields = [pa.field(name, kind, metadata={"unit": unit}) for name, kind, unit in labels]
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
