"""Run a notebook with checked parameters, and all of them in order: the tour.

papermill executes. What it leaves open is settled here: parameters are checked, cells tagged
`raises-exception` may fail, the kernel is this very Python wherever Jupyter finds others, and
widget sources stay out of the saved copy.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..paths import home as molnb_home
from .headlines import HEADLINE
from .pages import NotebookResult, write_page, write_site
from .parameters import check_parameters, read_parameters

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
DONE, CELL_FAILED, KERNEL_LOST = 0, 3, 4  # exit codes
_KERNEL_START = 300  # seconds; a busy machine imports slowly
_LARGE_SOURCE = 100_000  # characters; the JavaScript of one live plotly figure has 5 million


def run_notebook(
    path: str | Path,
    out: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    home: str | Path | None = None,
    timeout: int | None = None,
) -> NotebookResult:
    """Run a notebook and keep the executed copy at `out`, also when a cell fails.

    `home` becomes MOLNB_HOME of the kernel (default: as it is here), `timeout` is in seconds a
    cell. Refuses unknown or ill-typed parameters before anything starts; a failed cell or a lost
    kernel is told by `NotebookResult.code`.
    """
    path, out = find_notebook(path), Path(out)
    values = check_parameters(path, parameters or {})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    start = time.monotonic()
    with _kernel_of_this_python(home):
        code, error = _execute(path, out, values, timeout)
    found = _tidy(out) if out.is_file() else {}
    return NotebookResult(path.stem, out, code, time.monotonic() - start, error, **found)


def _execute(path: Path, out: Path, values: dict[str, Any], timeout: int | None) -> tuple[int, str]:
    """Exit code and what went wrong; papermill saves the copy after every cell."""
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    # Sockets in the file system where there are such: no open TCP port, and no warning about one in
    # the first cell. Their names are said outright, or they would be made in, and left behind in,
    # the working directory.
    sockets = {"transport": "ipc", "ip": str(Path(os.environ["JUPYTER_RUNTIME_DIR"], "kernel"))}
    transport = Config() if os.name == "nt" else Config({"KernelManager": sockets})
    try:
        papermill.execute_notebook(
            str(path),
            str(out),
            parameters=values,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=_KERNEL_START,
            execution_timeout=timeout,
            autosave_cell_every=30,
            coalesce_streams=True,
            config=transport,
        )
    except PapermillExecutionError as error:
        if all(_may_fail(cell) for cell in nbformat.read(out, 4).cells if _failed(cell)):
            return DONE, ""
        said = str(error.evalue).strip().partition("\n")[0]
        return CELL_FAILED, f"cell {error.exec_count} failed: {error.ename}: {said}"
    except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
        reason = (
            f"a cell ran longer than {timeout} s"
            if isinstance(error, CellTimeoutError)
            else "the kernel died"
        )
        return KERNEL_LOST, reason
    return DONE, ""


def _failed(cell: Any) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def _may_fail(cell: Any) -> bool:
    return "raises-exception" in cell.metadata.get("tags", [])


@contextmanager
def _kernel_of_this_python(home: str | Path | None) -> Iterator[None]:
    """Environment in which `python3` is this interpreter, with the same molnb and nobody's IPython
    profile.

    A kernelspec found through JUPYTER_PATH wins over all others, so foreign ones do not matter. The
    folder is a short path of its own because socket names are limited to about 100 characters.
    """
    with tempfile.TemporaryDirectory(prefix="molnb-") as folder:
        spec = Path(folder, "kernels", "python3")
        spec.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
        )
        package = str(Path(__file__).resolve().parents[2])
        changed = {
            "MOLNB_HEADLESS": "1",
            "MOLNB_HOME": str(Path(home or molnb_home()).resolve()),
            "JUPYTER_PATH": folder,
            "JUPYTER_RUNTIME_DIR": folder,
            "IPYTHONDIR": str(Path(folder, "ipython")),
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _tidy(out: Path) -> dict[str, Any]:
    """Take large widget sources and papermill's banners over expected errors out of a copy;
    return its headline.
    """
    import nbformat

    notebook = nbformat.read(out, 4)
    if all(_may_fail(cell) for cell in notebook.cells if _failed(cell)):
        notebook.cells = [
            c
            for c in notebook.cells
            if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
        ]
    widgets = notebook.metadata.get("widgets", {}).get(
        "application/vnd.jupyter.widget-state+json", {}
    )
    for model in widgets.get("state", {}).values():
        if len(model.get("state", {}).get("_esm") or "") > _LARGE_SOURCE:
            model["state"]["_esm"] = ""
    nbformat.write(notebook, out)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    headlines = [output.data[HEADLINE] for output in outputs if HEADLINE in output.get("data", {})]
    return dict(headlines[-1]) if headlines else {}


def list_notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """The numbered lessons, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def find_notebook(name: str | Path) -> Path:
    """A notebook by its path, or a lesson by its name with or without `.ipynb`."""
    lessons = {path.stem: path for path in list_notebooks()}
    path = Path(name)
    path = path if path.is_file() else lessons.get(path.name.removesuffix(".ipynb"), path)
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, lessons, n=1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"the lessons are {', '.join(lessons) or 'none'}"
        )
        raise InputError(f"there is no notebook {name}: {hint}")
    return path


def export(path: str | Path, out: str | Path | None = None, single: bool = False) -> Path:
    """Write a notebook as a web page, `out` or its name in the working folder; run first if it has
    no outputs.

    Shared scripts lie in `assets/` beside the page, or, with `single`, in the page itself, which
    can then be mailed.
    """
    import nbformat

    path = find_notebook(path)
    out = Path(out) if out else Path(path.stem + ".html")
    out = out / f"{path.stem}.html" if out.is_dir() else out
    notebook = nbformat.read(path, 4)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not any(cell.get("outputs") for cell in notebook.cells):
            with tempfile.TemporaryDirectory() as folder:
                done = run_notebook(path, Path(folder, path.name))
                if done.code:
                    raise InputError(
                        f"{path} has no outputs and cannot be run ({done.error}): mend it, then export again"
                    )
                notebook = nbformat.read(done.path, 4)
        return write_page(notebook, out, single)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; choose another --out") from error


def tour(
    home: str | Path | None = None,
    size: str = "tour",
    parameters: Mapping[str, Any] | None = None,
    notebooks: Sequence[Path] | None = None,
) -> list[NotebookResult]:
    """Run the lessons in order, print a line each, and leave pages in `runs/tour` that work without
    a network.

    `parameters` reach those notebooks that have them. A lesson that fails does not keep the next
    from running.
    """
    home = Path(home or molnb_home()).resolve()
    lessons = list_notebooks() if notebooks is None else [Path(path) for path in notebooks]
    if not lessons:
        raise InputError(
            f"there are no lessons in {NOTEBOOKS}: use a clone, installed with pip install -e ."
        )
    folder = home / "runs" / "tour"
    done = []
    for path in lessons:
        known = read_parameters(path)
        values = {k: v for k, v in {**(parameters or {}), "size": size}.items() if k in known}
        done.append(run_notebook(path, folder / path.name, values, home=home))
        print(done[-1].line(), flush=True)
    index = write_site(folder, done)
    print(
        f"tour of {len(done)} in {sum(one.seconds for one in done):.0f} s; pages: {index}",
        flush=True,
    )
    return done
