"""The curve of a run that is being trained, as a notebook keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")
pytest.importorskip("ipykernel")
from made_notebooks import write_notebook

from molnb.notebooks.execution import run_notebook

LIVE = """
from types import SimpleNamespace as Report
from molnb import LiveCurve
curve = LiveCurve(seconds_between_updates=0)
for step in range(1, 1001):
    row = {"part": "val", "features": "hidden", "step": step, "loss": 1.0}
    rows = [] if step % 100 else [row]
    assert curve(Report(step=step, steps=1000, loss=1 / step, seconds=0.0, rows=rows))
"""


def test_a_live_curve_leaves_a_line_and_a_plain_figure(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    done = run_notebook(write_notebook(tmp_path / "a.ipynb", LIVE), tmp_path / "out.ipynb")
    assert done.code == 0, done.error
    outputs = nbformat.read(done.path, 4).cells[-1].outputs
    assert [sorted(output.data) for output in outputs][0] == ["text/html", "text/plain"]
    assert "1,000 of 1,000" in outputs[0].data["text/plain"]
    figure = outputs[1].data["application/vnd.plotly.v1+json"]
    names = [trace["name"] for trace in figure["data"]]
    assert names == ["training", "validation, features hidden"]
    assert done.path.stat().st_size < 60_000


def test_the_last_of_many_reports_at_once_is_shown_though_no_further_one_comes() -> None:
    from molnb.figures.live_curve import LiveCurve

    shown: list[int] = []

    class Display:
        def update(self, step: int, note: str) -> None:
            shown.append(step)

    async def watch() -> None:
        curve = LiveCurve(seconds_between_updates=0.05)
        curve._display = Display()
        for step in (1, 2, 3):
            curve(SimpleNamespace(step=step, steps=9, loss=1.0, seconds=0.0, rows=()))
        assert shown == [1]
        await asyncio.sleep(0.2)
        assert shown == [1, 3]

    asyncio.run(watch())
