"""Notebooks become pages that need no network."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nbformat")
pytest.importorskip("papermill")
pytest.importorskip("ipykernel")
from made_notebooks import write_notebook

from molnb.notebooks.execution import tour

PAGE = r"""# 00 · A trial

Does a page work without a network? It costs $5 or `$PATH`, and $E = mc^2$.

$$\mathcal{L} = \sum_i w_i * (x_i - y_i)^2$$
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of a tour over one lesson that has everything, and one that fails."""
    pytest.importorskip("latex2mathml")
    folder = tmp_path_factory.mktemp("tour")
    good = write_notebook(
        folder / "in" / "00_trial.ipynb",
        PAGE,
        "import ipywidgets, molnb, plotly.graph_objects as go\n"
        "molnb.draw_molecules(['CCO', 'bad!'], ['ethanol', '?'])",
        "go.Figure(go.Scatter(y=[1, 3, 2]))",
        "ipywidgets.IntSlider()",
        "molnb.headline('3 of 3 <drawn>', n=3)",
    )
    bad = write_notebook(
        folder / "in" / "01_bad.ipynb", "# 01 · Bad", "raise ValueError('on purpose')"
    )
    done = tour(folder, notebooks=[good, bad], parameters={"seed": 5, "unknown": 1})
    assert [result.code for result in done] == [0, 3]
    return folder / "runs" / "tour"


def test_the_tour_prints_a_line_a_lesson(site: Path, capsys: pytest.CaptureFixture) -> None:
    lesson = site.parent.parent / "in" / "01_bad.ipynb"
    tour(site.parent.parent / "again", notebooks=[lesson])
    line, end, _ = capsys.readouterr().out.split("\n")
    assert line.startswith("01_bad") and line.endswith(" s  cell 3 failed: ValueError: on purpose")
    assert end.startswith("tour of 1 in") and end.endswith("again/runs/tour/index.html")


def test_pages_hold_formulas_pictures_and_figures_without_addresses_elsewhere(site: Path) -> None:
    page = (site / "00_trial.html").read_text()
    assert page.count("<math") == 2 and "costs $5 or" in page and "<code>$PATH</code>" in page
    assert "Plotly.newPlot" in page and 'src="assets/plotly.min.js"' in page
    assert "needs a running kernel" in page and "<svg" in page
    index = (site / "index.html").read_text()
    assert "3 of 3 &lt;drawn&gt;" in index and "on purpose" in index and "00 · A trial" in index
    for text in (page, index):
        assert 'src="http' not in text and 'href="http' not in text and "cdn" not in text.lower()
        assert len(text) < 1_000_000
    assert sorted(p.name for p in (site / "assets").iterdir()) == ["plotly.min.js"]


@pytest.mark.ui
def test_pages_open_from_the_file_system_with_the_network_off(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    from conftest import CHROMIUM

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(offline=True).new_page()
        requests = []
        failures = []

        def note_message(message) -> None:
            if message.type == "error":
                failures.append(message.text)

        page.on("request", lambda request: requests.append(request.url))
        page.on("requestfailed", lambda request: failures.append(request.url))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", note_message)
        for name in ("index", "00_trial", "01_bad"):
            page.goto((site / f"{name}.html").as_uri())
            if name == "00_trial":
                page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=10_000)
        browser.close()
    assert not failures
    assert requests and all(url.startswith(("file:", "data:")) for url in requests)
