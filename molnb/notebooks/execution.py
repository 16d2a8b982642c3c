"""Run a notebook with checked parameters, and all of them in order: the tour.

papermill executes. What it leaves open is settled here: parameters are checked, cells tagged
`raises-exception` may fail, the kernel is this very Python wherever Jupyter finds others, and
widget sources stay out of the saved copy.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, did_you_mean
from ..files import check_folder, check_output
from ..paths import home as molnb_home
from .headlines import HEADLINE
from .lessons import NOTEBOOKS, list_notebooks
from .pages import NotebookResult, is_page, write_page, write_site
from .parameters import check_parameters, read_parameters

# Exit codes.
DONE = 0
CELL_FAILED = 3
KERNEL_LOST = 4
_KERNEL_START = 300  # seconds; a busy machine imports slowly
_MARK = "molnb_executed"  # in the metadata of an executed copy: the digest of its sources
_LARGE_SOURCE = 100_000  # characters; the JavaScript of one live plotly figure has 5 million


def run_notebook(
    path: str | Path,
    out: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    home: str | Path | None = None,
    timeout: int | None = None,
    force: bool = False,
) -> NotebookResult:
    """Run a notebook and keep the executed copy at `out`, also when a cell fails.

    `home` becomes MOLNB_HOME of the kernel (default: as it is here), `timeout` is in seconds a
    cell. A copy of before that nobody has edited is replaced, another file only with `force`.
    Unknown or ill-typed parameters and a place that cannot be written raise InputError before
    anything starts; a failed cell or a lost kernel is a `NotebookResult.code`. The environment of
    this process is left alone, so that several notebooks can run side by side.
    """
    path = find_notebook(path)
    out = Path(out)
    values = check_parameters(path, parameters or {})
    check_output(out, [path], [".ipynb"], is_executed_copy, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    code, error = _execute(path, out, values, Path(home or molnb_home()), timeout)
    headline = _tidy(out) if out.is_file() else {}
    return NotebookResult(path.stem, out, code, time.monotonic() - start, error, **headline)


def _execute(
    path: Path, out: Path, values: dict[str, Any], home: Path, timeout: int | None
) -> tuple[int, str]:
    """Exit code and what went wrong; papermill saves the copy after every cell."""
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from .this_python import ThisPython, kernel_config

    try:
        with tempfile.TemporaryDirectory(prefix="molnb-") as folder:
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
                kernel_manager_class=ThisPython,
                config=kernel_config(Path(folder), home),
            )
    except PapermillExecutionError as error:
        failed_cells = [cell for cell in nbformat.read(out, 4).cells if _failed(cell)]
        if all(_may_fail(cell) for cell in failed_cells):
            return DONE, ""
        message = str(error.evalue).strip().partition("\n")[0]
        return CELL_FAILED, f"cell {error.exec_count} failed: {error.ename}: {message}"
    except CellTimeoutError:
        return KERNEL_LOST, f"a cell ran longer than {timeout} s"
    except (DeadKernelError, RuntimeError):
        return KERNEL_LOST, "the kernel died"
    return DONE, ""


def _failed(cell: Any) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def _may_fail(cell: Any) -> bool:
    return "raises-exception" in cell.metadata.get("tags", [])


def _tidy(out: Path) -> dict[str, Any]:
    """Take out of a copy what nobody reads, and return its headline (text, n, of).

    That is large widget sources, and papermill's banners over errors that are expected.
    """
    import nbformat

    notebook = nbformat.read(out, 4)
    if all(_may_fail(cell) for cell in notebook.cells if _failed(cell)):
        notebook.cells = [cell for cell in notebook.cells if not _is_banner(cell)]
    widgets = notebook.metadata.get("widgets", {})
    models = widgets.get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    for model in models.values():
        if len(model.get("state", {}).get("_esm") or "") > _LARGE_SOURCE:
            model["state"]["_esm"] = ""
    notebook.metadata[_MARK] = _sources_digest(notebook)
    nbformat.write(notebook, out)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    headlines = [output.data[HEADLINE] for output in outputs if HEADLINE in output.get("data", {})]
    return dict(headlines[-1]) if headlines else {}


def is_executed_copy(path: Path) -> bool:
    """Whether a file is what `run_notebook` left, whole or cut short, and nobody has edited it."""
    import nbformat

    try:
        notebook = nbformat.read(path, 4)
    except Exception:  # whatever it is, it is no notebook
        return False
    if _MARK in notebook.metadata:
        return notebook.metadata[_MARK] == _sources_digest(notebook)
    run = notebook.metadata.get("papermill", {})
    return bool(run) and run.get("end_time") is None  # the run was killed


def _is_tour_copy(path: Path) -> bool:
    """Likewise for a copy in the folder of the tour, where older ones have no mark."""
    import nbformat

    if is_executed_copy(path):
        return True
    try:
        metadata = nbformat.read(path, 4).metadata
    except Exception:
        return False
    return "papermill" in metadata and _MARK not in metadata


def _sources_digest(notebook: Any) -> str:
    """The digest of what the cells of a notebook say, their outputs apart."""
    sources = [str(cell.source) for cell in notebook.cells]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _is_banner(cell: Any) -> bool:
    return "papermill-error-cell-tag" in cell.metadata.get("tags", [])


def find_notebook(name: str | Path) -> Path:
    """A notebook by its path, or a lesson by its name with or without `.ipynb`."""
    lessons = {path.stem: path for path in list_notebooks()}
    path = Path(name)
    path = path if path.is_file() else lessons.get(path.name.removesuffix(".ipynb"), path)
    if not path.is_file():
        nearest = did_you_mean(path.stem, lessons)
        raise InputError(
            f"there is no notebook {name}{nearest}: the lessons are {', '.join(lessons) or 'none'}"
        )
    return path


def export(
    path: str | Path,
    out: str | Path | None = None,
    single: bool = False,
    force: bool = False,
) -> Path:
    """Write a notebook as a web page, at `out` or under its name in the working folder.

    A notebook without outputs is run first, and stays as it is. Shared scripts lie in `assets/`
    beside the page, or, with `single`, in the page itself, which can then be mailed. A page of
    molnb's is replaced, another file only with `force`.
    """
    import nbformat

    path = find_notebook(path)
    page = Path(out) if out else Path(path.stem + ".html")
    if page.is_dir():
        page = page / f"{path.stem}.html"
    check_output(page, [path], [".html", ".htm"], is_page, force)
    notebook = nbformat.read(path, 4)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        if not any(cell.get("outputs") for cell in notebook.cells):
            with tempfile.TemporaryDirectory() as folder:
                result = run_notebook(path, Path(folder, path.name))
                if result.code:
                    raise InputError(
                        f"{path} has no outputs and cannot be run ({result.error}): "
                        "mend it, then export again"
                    )
                notebook = nbformat.read(result.path, 4)
        return write_page(notebook, page, single)
    except OSError as error:
        raise InputError(f"cannot write {page}: {error.strerror}; choose another --out") from error


def tour(
    home: str | Path | None = None,
    size: str = "tour",
    parameters: Mapping[str, Any] | None = None,
    notebooks: Sequence[Path] | None = None,
    force: bool = False,
) -> list[NotebookResult]:
    """Run the lessons in order, print a line each, and write their pages to `runs/tour`.

    The pages work without a network. `parameters` reach those notebooks that have them. A lesson
    that fails does not keep the next from running. A copy there that somebody has edited is
    replaced only with `force`.
    """
    home = check_folder(Path(home or molnb_home()).resolve())
    lessons = list_notebooks() if notebooks is None else [Path(path) for path in notebooks]
    if not lessons:
        raise InputError(
            f"there are no lessons in {NOTEBOOKS}: install molnb again, from a wheel or a checkout"
        )
    folder = home / "runs" / "tour"
    for path in lessons:
        check_output(folder / path.name, [path], is_ours=_is_tour_copy, force=force)
    settings = {**(parameters or {}), "size": size}
    results = []
    for path in lessons:
        declared = read_parameters(path)
        values = {name: value for name, value in settings.items() if name in declared}
        result = run_notebook(path, folder / path.name, values, home=home, force=True)
        print(result.line(), flush=True)
        results.append(result)
    index = write_site(folder, results)
    seconds = sum(result.seconds for result in results)
    print(f"tour of {len(results)} in {seconds:.0f} s; pages: {index}", flush=True)
    return results
