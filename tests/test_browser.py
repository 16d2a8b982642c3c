"""JupyterLab on loopback and pages from the file system, driven in Chromium without a network."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import CHROMIUM

from molnb.figures.threedmol import HOW_TO, find_viewer
from molnb.notebooks.pages import NotebookResult

pytestmark = pytest.mark.ui

# Settings that keep JupyterLab from asking a server for news, and from asking the user about it.
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}
# WebGL without a GPU; no name but that of this machine can be resolved.
OPTIONS = [
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SECONDS = 1000  # in Playwright's unit


class Lab(NamedTuple):
    """A running JupyterLab: its folder, and how to reach it."""

    folder: Path
    address: str
    token: str

    def url(self, name: str) -> str:
        return f"{self.address}/lab/tree/{name}?token={self.token}&reset"

    def end_kernels(self) -> None:
        """End all kernels: widgets of one that lives would be restored half dead."""
        for session in json.loads(self._call("GET", "/api/sessions")):
            self._call("DELETE", f"/api/sessions/{session['id']}")

    def _call(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()


@contextmanager
def jupyterlab(
    folder: Path,
    variables: Mapping[str, str],
    base: str = "/",
    start: Sequence[str | Path] = (sys.executable, "-m", "jupyterlab", "."),
) -> Iterator[Lab]:
    """A JupyterLab whose settings lie in a folder, where it is started, by default on the folder.

    `variables` are its environment, and that of its kernels.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = Lab(folder, f"http://127.0.0.1:{port}{base.rstrip('/')}", secrets.token_hex(16))
    jupyter = folder / "jupyter"
    settings = jupyter / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(QUIET))
    names = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    environment = {f"JUPYTER_{name}_DIR": str(jupyter / part) for name, part in names.items()}
    environment |= {
        "JUPYTERLAB_WORKSPACES_DIR": str(jupyter / "ws"),
        "JUPYTERLAB_SETTINGS_DIR": str(jupyter / "settings"),
    }
    environment |= {"IPYTHONDIR": str(jupyter / "ipython")}
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--ServerApp.base_url={base}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        "--LabApp.news_url=None",
        "--LabApp.expose_app_in_browser=True",
    ]
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(
            [*start, *options],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**variables, **environment},
            start_new_session=True,
        )
    try:
        _wait_for(f"{lab.address}/api/status?token={lab.token}", server)
        yield lab
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def of_this_checkout(home: Path) -> dict[str, str]:
    """Variables of kernels that use this checkout, with a home."""
    package = str(Path(__file__).resolve().parent.parent)
    folders = [package, os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(filter(None, folders))
    return {**os.environ, "MOLNB_HOME": str(home), "PYTHONPATH": path}


def _wait_for(url: str, server: subprocess.Popen) -> None:
    start = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            assert server.poll() is None, "JupyterLab ended; see lab.log"
            assert time.monotonic() - start < 90
            time.sleep(0.2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, shared_home: Path) -> Iterator[Lab]:
    pytest.importorskip("jupyterlab")
    with jupyterlab(tmp_path_factory.mktemp("lab"), of_this_checkout(shared_home)) as started:
        yield started


@contextmanager
def page(height: int = 1000) -> Iterator[Any]:
    """A page in Chromium without a network; `wrong` collects its errors and failed requests."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        tab = browser.new_page(viewport={"width": 1300, "height": height})
        tab.wrong = []
        tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.on("console", lambda message: note_error(tab, message))
        tab.on("requestfailed", lambda request: tab.wrong.append(request.url))
        try:
            yield tab
        finally:
            browser.close()


def note_error(tab: Any, message: Any) -> None:
    if message.type == "error":
        tab.wrong.append(message.text)


def write_cells(path: Path, *cells: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    code = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": kernel}), path)


def open_notebook(tab: Any, lab: Lab, name: str) -> None:
    lab.end_kernels()
    tab.goto(lab.url(name), wait_until="domcontentloaded")
    tab.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90 * SECONDS)
    tab.wrong.clear()  # of JupyterLab itself, while it starts


def run_all(tab: Any) -> None:
    tab.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")


def picture(element: Any) -> bytes:
    """PNG of what a person would see where an element is.

    Unlike a screenshot of the element it waits for nothing.
    """
    element.evaluate("e => e.scrollIntoView({ block: 'center' })")
    return element.page.screenshot(clip=element.bounding_box())


def n_coloured(element: Any) -> int:
    """Pixels of an element that are not white."""
    import numpy as np
    from PIL import Image

    shown = np.asarray(Image.open(io.BytesIO(picture(element))).convert("RGB"))
    return int((shown.min(axis=2) < 240).sum())


def until_coloured(element: Any, seconds: float = 20) -> None:
    start = time.monotonic()
    while n_coloured(element) < 200:
        assert time.monotonic() - start < seconds, "a canvas stayed blank"
        time.sleep(0.3)


def keep_picture(tab: Any, name: str) -> None:
    if folder := os.environ.get("MOLNB_SCREENSHOTS"):
        tab.screenshot(path=Path(folder) / name)


needs_viewer = pytest.mark.skipif(find_viewer() is None, reason=f"needs 3Dmol.js: {HOW_TO}")


@needs_viewer
@pytest.mark.slow
def test_the_conformer_lesson_turns_slides_and_answers_buttons(lab: Lab, checkout: Path) -> None:
    text = (checkout / "notebooks" / "03_conformers.ipynb").read_text(encoding="utf-8")
    assert 'size: str = \\"tour\\"' in text
    (lab.folder / "03.ipynb").write_text(
        text.replace('size: str = \\"tour\\"', 'size: str = \\"test\\"')
    )
    with page() as tab:
        open_notebook(tab, lab, "03.ipynb")
        run_all(tab)
        tab.locator(
            ".jp-OutputArea-output", has_text="stored conformer within 1 kcal/mol"
        ).last.wait_for(timeout=240 * SECONDS, state="attached")
        tab.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60 * SECONDS)
        assert (
            tab.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count()
            == 0
        )
        until_coloured(tab.locator("[id^='3dmolviewer'] canvas").first)

        panel = tab.locator(".jp-OutputArea-output:has(.widget-slider)").first
        view = panel.locator(".molnb-scene")
        view.evaluate("e => e.scrollIntoView({ block: 'center' })")
        view.locator("canvas").wait_for(timeout=30 * SECONDS)
        until_coloured(view.locator("canvas"))
        before = picture(view.locator("canvas"))
        ring = "document.querySelector('.jp-OutputArea-output .js-plotly-plot')._fullData.at(-1)"
        start = tab.evaluate(f"{ring}.x[0]")
        handle = panel.locator(".noUi-handle").first
        handle.focus()
        for _ in range(3):
            tab.keyboard.press("ArrowRight")
        tab.wait_for_function(
            "document.querySelector('.widget-slider') && "
            "[...document.querySelectorAll('.molnb-scene')].some(e => e.dataset.frame === '3')"
        )
        tab.wait_for_function(f"{ring}.x[0] !== {start}", timeout=20 * SECONDS)
        until_coloured(view.locator("canvas"))
        assert picture(view.locator("canvas")) != before
        assert "conformer 4 of 10" in view.inner_text()
        keep_picture(tab, "conformers.png")
        panel.get_by_role("button", name="lowest").click()
        tab.wait_for_function(f"{ring}.x[0] === {start}", timeout=20 * SECONDS)
        assert "conformer 1 of 10" in view.inner_text()
        assert not tab.wrong


TRAINING = """
from molnb import LiveCurve, fit, make_preset
small = {{"model.n_layer": 1, "global_batch": 4, "steps": 20_000, "eval_every": 20_000, "n_val": 8}}
run = await fit(make_preset("pretrain_tiny", [{data!r}], **small), {out!r}, watch=LiveCurve())
print("ENDED AFTER", run.status()["step"])
"""


@pytest.mark.slow
def test_a_training_cell_shows_a_growing_curve_and_stop_leaves_a_usable_run(
    lab: Lab, nci: Any
) -> None:
    nbformat = pytest.importorskip("nbformat")
    from molnb import load_run

    write_cells(
        lab.folder / "train.ipynb", TRAINING.format(data=str(nci.path), out=str(lab.folder / "run"))
    )
    last_step = (
        "Math.max(0, ...(document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x || []))"
    )
    with page() as tab:
        open_notebook(tab, lab, "train.ipynb")
        run_all(tab)
        tab.get_by_role("button", name="Stop", exact=True).wait_for(timeout=90 * SECONDS)
        tab.wait_for_function(f"{last_step} > 5", timeout=240 * SECONDS)
        tab.wait_for_function(f"{last_step} > {tab.evaluate(last_step)}", timeout=60 * SECONDS)
        keep_picture(tab, "train.png")
        tab.locator(".jp-OutputArea-output button", has_text="Stop").click()
        tab.locator(".jp-OutputArea-output", has_text="ENDED AFTER").first.wait_for(
            timeout=60 * SECONDS
        )
        tab.locator(".jp-RenderedPlotly .main-svg").first.wait_for(timeout=30 * SECONDS)
        assert tab.locator(".jp-OutputArea-output button", has_text="Stop").count() == 0
        tab.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        tab.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
        assert not tab.wrong
    outputs = nbformat.read(lab.folder / "train.ipynb", 4).cells[0].outputs
    assert "application/vnd.plotly.v1+json" in outputs[0].data and "ENDED AFTER" in outputs[1].text
    assert (lab.folder / "train.ipynb").stat().st_size < 200_000
    model = load_run(lab.folder / "run")
    assert model.run.status()["state"] == "stopped" and model.run.status()["step"] < 20_000
    assert model.embed("CCO").shape == (1, model.config.model.d_atom)


LAUNCHING = """
import os
from pathlib import Path
from molnb import LiveCurve, follow, launch, make_preset
Path("kernel.pid").write_text(str(os.getpid()))
small = {{"model.n_layer": 1, "global_batch": 4, "steps": 200, "eval_every": 100, "n_val": 8}}
run = launch(make_preset("pretrain_tiny", [{data!r}], **small), {out!r})
await follow(run, watch=LiveCurve())
"""
ATTACHING = """
from molnb import LiveCurve, follow
run = await follow({out!r}, watch=LiveCurve())
print("ENDED", run.state)
"""


@pytest.mark.slow  # without JupyterLab test_launched shows it in every run of tests
def test_a_launched_training_outlives_its_kernel_and_another_shows_the_whole_curve(
    lab: Lab, nci: Any
) -> None:
    from molnb.training.ownership import read_owner
    from molnb.training.runs import Run

    out = lab.folder / "launched"
    write_cells(lab.folder / "launch.ipynb", LAUNCHING.format(data=str(nci.path), out=str(out)))
    write_cells(lab.folder / "attach.ipynb", ATTACHING.format(out=str(out)))
    points = "Array.from(document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x || [])"
    with page() as tab:
        open_notebook(tab, lab, "launch.ipynb")
        run_all(tab)
        start = time.monotonic()
        while not (out / "config.json").exists() or len(Run(out).metrics("train")) < 10:
            assert time.monotonic() - start < 120
            time.sleep(0.02)
        run = Run(out)
        trainer = read_owner(out)["pid"]
        os.kill(trainer, signal.SIGSTOP)  # however long the browser takes to show it
        try:
            tab.wait_for_function(f"{points}.length > 5", timeout=60 * SECONDS)
            keep_picture(tab, "launched.png")
            os.kill(int((lab.folder / "kernel.pid").read_text()), signal.SIGKILL)
            assert run.state == "running" and len(run.metrics("train")) < 200
        finally:
            os.kill(trainer, signal.SIGCONT)
    with page() as tab:
        open_notebook(tab, lab, "attach.ipynb")
        run_all(tab)
        ended = tab.locator(".jp-OutputArea-output", has_text="ENDED done")
        ended.first.wait_for(timeout=120 * SECONDS)
        tab.locator(".jp-RenderedPlotly .main-svg").first.wait_for(timeout=30 * SECONDS)
        drawn = tab.evaluate(points)
        keep_picture(tab, "attached.png")
        assert not tab.wrong
    assert drawn == list(range(1, 201)) == [row["step"] for row in run.metrics("train")]
    assert read_owner(out)["pid"] == trainer, "nobody went on with it"


PLAIN = """
import py3Dmol
view = py3Dmol.view(width=300, height=200)
view.addModel("3\\n\\nO 0 0 0\\nH 0.96 0 0\\nH -0.24 0.93 0", "xyz")
view.setStyle({"stick": {}})
view.zoomTo()
view.show()
"""


@needs_viewer
@pytest.mark.slow
def test_plain_py3dmol_needs_no_network_also_below_a_base_url(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("jupyterlab")
    write_cells(tmp_path / "plain.ipynb", PLAIN)
    with (
        jupyterlab(tmp_path, of_this_checkout(home), base="/user/someone/") as started,
        page() as tab,
    ):
        open_notebook(tab, started, "plain.ipynb")
        run_all(tab)
        canvas = tab.locator("[id^='3dmolviewer'] canvas").first
        canvas.wait_for(timeout=60 * SECONDS)
        until_coloured(canvas)
        assert not tab.wrong


@needs_viewer
def test_pages_of_the_tour_show_everything_from_the_file_system(
    tmp_path: Path, checkout: Path, run_lesson: Callable[[Path], NotebookResult]
) -> None:
    pytest.importorskip("latex2mathml")
    from molnb.notebooks.execution import export
    from molnb.notebooks.pages import write_site

    done = run_lesson(checkout / "notebooks" / "03_conformers.ipynb")
    assert done.code == 0, done.error
    index = write_site(tmp_path / "tour", [done])
    among_others = index.parent / "03_conformers.html"
    alone = export(done.path, tmp_path / "alone" / "03.html", single=True)
    assert [file.name for file in alone.parent.iterdir()] == ["03.html"]
    assert max(file.stat().st_size for file in (among_others, done.path)) < 1_000_000
    for path in (index, among_others, alone):
        with page() as tab:
            tab.goto(path.as_uri())
            if path == among_others:
                _everything_is_drawn(tab)
            elif path == alone:  # the same page, its scripts within it
                for kind in SCENES:
                    _canvas_is_coloured(tab.locator(kind).first)
                assert tab.locator(".js-plotly-plot .main-svg").count() >= 5
            keep_picture(tab, f"{path.parent.name}-{path.stem}.png")
            assert not tab.wrong


SCENES = (".molnb-scene", "[id^='3dmolviewer']")  # 3D views of molnb's, and plain ones of py3Dmol


def _everything_is_drawn(tab: Any) -> None:
    """Scroll through a page: each 3D view gets a coloured canvas, each plot its picture."""
    scenes = tab.locator(", ".join(SCENES))
    plots = tab.locator(".js-plotly-plot")
    assert scenes.count() >= 10 and plots.count() >= 5
    for scene in scenes.all():
        _canvas_is_coloured(scene)
    assert tab.locator(".molnb-why").count() == 0, "no drawing stands for a view"
    for plot in plots.all():
        assert plot.locator(".main-svg").count() > 0


def _canvas_is_coloured(scene: Any) -> None:
    scene.evaluate("e => e.scrollIntoView({ block: 'center' })")
    canvas = scene.locator("canvas")
    canvas.wait_for(timeout=20 * SECONDS)
    until_coloured(canvas)
