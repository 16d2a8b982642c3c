"""JupyterLab on loopback, driven in Chromium: what only a person with a mouse would see otherwise."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.ui

# Settings that keep JupyterLab from asking a server for news, and from asking the user about it.
QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}

TRAINING = """
import asyncio
from types import SimpleNamespace as Report
from molnb import LiveCurve

async def fit(watch):
    for step in range(1, 100_001):
        await asyncio.sleep(0.002)
        if watch(Report(step=step, steps=100_000, loss=1 / step, seconds=0.002 * step, rows=())) is False:
            return step

print("ENDED AFTER", await fit(watch=LiveCurve()))
"""


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Address (with its token) of a JupyterLab whose settings, kernels and files all lie in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, own = secrets.token_hex(16), folder / "jupyter"
    (own / "config" / "labconfig").mkdir(parents=True)
    (own / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(QUIET))
    names = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    environment = {f"JUPYTER_{name}_DIR": str(own / place) for name, place in names.items()}
    environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(own / "ws"), "JUPYTERLAB_SETTINGS_DIR": str(own / "settings")}
    environment |= {"IPYTHONDIR": str(own / "ipython"), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root", f"--ServerApp.root_dir={folder}"]
    options += [f"--IdentityProvider.token={token}", "--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True"]
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            stdout=log,
            stderr=log,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server)
        yield f"http://127.0.0.1:{port}/lab/tree/{{name}}?token={token}&reset"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _wait_for(url: str, server: subprocess.Popen) -> None:
    start = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            assert server.poll() is None, "JupyterLab ended; see lab.log"
            assert time.monotonic() - start < 60
            time.sleep(0.2)


def test_a_training_cell_shows_a_growing_curve_and_ends_when_stop_is_pressed(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("jupyterlab")
    nbformat = pytest.importorskip("nbformat")
    from conftest import CHROMIUM

    cell = nbformat.v4.new_code_cell(TRAINING)
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "train.ipynb")
    last_step = "Math.max(0, ...(document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x || []))"
    with jupyterlab(tmp_path) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address.format(name="train.ipynb"), wait_until="domcontentloaded")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
        page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=60_000)
        page.wait_for_function(f"{last_step} > 5", timeout=30_000)
        page.wait_for_function(f"{last_step} > {page.evaluate(last_step)}", timeout=30_000)
        page.locator(".jp-OutputArea-output button", has_text="Stop").click()
        page.locator(".jp-OutputArea-output", has_text="ENDED AFTER").first.wait_for(timeout=30_000)
        page.locator(".jp-RenderedPlotly .main-svg").first.wait_for(timeout=30_000)
        assert page.locator(".jp-OutputArea-output button", has_text="Stop").count() == 0
        if folder := os.environ.get("MOLNB_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "train.png")
        page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
        browser.close()
    assert not wrong
    outputs = nbformat.read(tmp_path / "train.ipynb", 4).cells[0].outputs
    assert "application/vnd.plotly.v1+json" in outputs[0].data and "ENDED AFTER" in outputs[1].text
    assert (tmp_path / "train.ipynb").stat().st_size < 200_000
