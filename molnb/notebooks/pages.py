"""Executed notebooks as web pages that work from the file system, without a network.

A page holds its text, tables and figures; what several pages need (plotly) lies once in `assets/`.
Formulas become MathML, which browsers draw themselves; widgets, dead without a kernel, become a
line that says so.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..figures.threedmol import HOW_TO, SCRIPT, find_viewer
from ..figures.view3d import MARK as SCENE
from .headlines import sample_words

_GENERATOR = '<meta name="generator" content="molnb">'
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
NO_VIEWER = (
    '<p class="gone">Here stands a molecule in 3D; 3Dmol.js is not installed: '
    f"<code>{HOW_TO}</code></p>"
)
GONE = (
    '<p class="gone">Here stands a control that needs a running kernel: '
    "open the notebook in JupyterLab.</p>"
)
# Code first, so that a dollar sign inside it is left alone; last a dollar that is money.
_MATH = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>[^$\s`][^$`\n]*?)(?<!\s)\$(?![\d$])|(?P<money>\\?\$)",
    re.S,
)


@dataclass(frozen=True)
class NotebookResult:
    """A notebook that was run: its executed copy, its exit code, and its headline.

    `error` says what went wrong where `code` is not 0. The headline is `text`, and rests on `n` of
    `of` molecules.
    """

    name: str
    path: Path
    code: int
    seconds: float
    error: str = ""
    text: str = ""
    n: int | None = None
    of: int | None = None

    def line(self) -> str:
        """Name, seconds, and the headline with the sample it rests on, or what went wrong."""
        share = sample_words(self.n, self.of)
        message = f"{self.text} ({share})" if share else self.text
        if self.code:
            message = self.error
        return f"{self.name:<16}{self.seconds:5.0f} s  {message}"


@dataclass(frozen=True)
class Asset:
    """A script that pages share: pages whose HTML contains `mark` load it before anything else.

    `source` says where this machine has the file, None if it has not; `after` is a script to run
    once it is loaded; `licence` is a file beside the source that goes where the script goes.
    """

    name: str
    mark: str
    source: Callable[[], Path | None]
    after: str = ""
    licence: str = ""


def _find_plotly() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


VIEWER = "$3Dmolpromise"  # in the HTML of py3Dmol and of molnb.figures.view3d
ASSETS = (
    Asset("plotly.min.js", "Plotly.newPlot", _find_plotly),
    Asset(SCRIPT, VIEWER, find_viewer, "window.$3Dmolpromise = Promise.resolve();", "LICENSE"),
)


def write_site(folder: str | Path, lessons: Sequence[NotebookResult]) -> Path:
    """Write a page for each executed notebook, and an index of them; returns the index."""
    import nbformat

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pages = {lesson.path.stem: lesson.name for lesson in lessons if lesson.path.is_file()}
    cards = []
    for lesson in lessons:
        stem = lesson.path.stem
        if stem not in pages:
            cards.append(_card(lesson, lesson.name, "", "", False))
            continue
        notebook = nbformat.read(lesson.path, 4)
        title, question = heading(notebook)
        body = notebook_html(notebook)
        _write_page(folder / f"{stem}.html", title, body, _navigation(pages, stem))
        cards.append(_card(lesson, title, question, thumbnail(notebook), True))
    seconds = sum(lesson.seconds for lesson in lessons)
    body = (
        "<h1>molnb: the tour</h1>"
        "<p class=lead>From a list of SMILES to a pretrained model, on real molecules. "
        f"Run here in {seconds:.0f} s.</p><div class=cards>{''.join(cards)}</div>"
    )
    _write_page(folder / "index.html", "molnb: the tour", body, _navigation(pages, "index"))
    return folder / "index.html"


def write_page(notebook: Any, path: Path, single: bool = False) -> Path:
    """Write an executed notebook as a page of its own; a `single` one needs nothing beside it."""
    title, _ = heading(notebook)
    _write_page(path, title or path.stem, notebook_html(notebook), "", single)
    return path


def is_page(path: Path) -> bool:
    """Whether a file is a page that molnb wrote."""
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(1024)


def notebook_html(notebook: Any) -> str:
    """The cells of a notebook as HTML that loads nothing but the shared assets."""
    from nbconvert import HTMLExporter

    notebook = notebook.copy()
    notebook.cells = [_static(cell, number) for number, cell in enumerate(notebook.cells)]
    notebook.metadata = {
        name: value for name, value in notebook.metadata.items() if name != "widgets"
    }
    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    return re.sub(r'<script[^>]*\ssrc="(https?:)?//[^>]*>\s*</script>', "", body)


def _static(cell: Any, number: int) -> Any:
    """A cell whose outputs need no kernel and no network."""
    cell = cell.copy()
    if cell.cell_type == "markdown":
        cell.source = _MATH.sub(_mathml, cell.source)
    elif cell.cell_type == "code":
        cell.outputs = [
            _static_output(output, f"plot-{number}-{i}") for i, output in enumerate(cell.outputs)
        ]
    return cell


def _mathml(match: re.Match[str]) -> str:
    """A formula as MathML; code stays as it is, and money is a plain dollar sign."""
    from latex2mathml.converter import convert

    if match["code"] or match["money"]:
        return match["code"] or "&#36;"
    display = "block" if match["block"] else "inline"
    mathml = convert((match["block"] or match["inline"]).strip(), display=display)
    # Markdown would take these for emphasis, or for the end of a paragraph.
    return mathml.replace("*", "&#42;").replace("_", "&#95;").replace("\n", " ")


def _static_output(output: Any, name: str) -> Any:
    """An output that needs neither kernel nor network; `name` is the HTML id of a plot."""
    data = output.get("data", {})
    page = data.get("text/html", "")
    if WIDGET in data:
        data = {"text/html": page or GONE}
    elif VIEWER in page and SCENE not in page and find_viewer() is None:
        # py3Dmol would look for 3Dmol.js in the network.
        data = {"text/html": NO_VIEWER}
    elif PLOTLY in data:
        data = {"text/html": _plot(data[PLOTLY], name)}
    else:
        return output
    output = output.copy()
    output.data = data
    output.metadata = {}
    return output


def _plot(figure: dict[str, Any], name: str) -> str:
    import plotly.io

    return plotly.io.to_html(
        {"data": figure.get("data", []), "layout": figure.get("layout", {})},
        config={"displaylogo": False, "responsive": True},
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        validate=False,
        div_id=name,
    )


def heading(notebook: Any) -> tuple[str, str]:
    """Title of a lesson and the question under it, from its first text."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    lines = [line.strip() for line in next(texts, "").splitlines() if line.strip()]
    title = next((line.lstrip("# ") for line in lines if line.startswith("# ")), "")
    question = next((line for line in lines if not line.startswith("#")), "")
    return title, re.sub(r"[*_`]+", "", question)


def thumbnail(notebook: Any) -> str:
    """The first picture of a notebook as HTML, "" where it has none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = data.get("image/svg+xml") or data.get("text/html") or ""
            drawing = re.search(r"<svg.*?</svg>", text, flags=re.S)
            if drawing:
                return drawing[0]
            if "image/png" in data:
                return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    return ""


def _card(lesson: NotebookResult, title: str, question: str, picture: str, linked: bool) -> str:
    """A lesson on the index page: picture, title, question, headline or error, time and links."""
    name = html.escape(title or lesson.name)
    links = ""
    if linked:
        page = f"{lesson.path.stem}.html"
        name = f'<a href="{page}">{name}</a>'
        links = f'<a href="{page}">page</a><a href="{lesson.path.name}">notebook</a>'
    result = html.escape(lesson.error if lesson.code else lesson.text)
    sample = sample_words(lesson.n, lesson.of)
    return (
        f'<section class="card{" failed" if lesson.code else ""}">{picture}'
        f"<h2>{name}</h2>"
        f'<p class=lead>{html.escape(question)}</p><p class="result">{result}</p>'
        f'<p class="foot"><span>{lesson.seconds:.0f} s</span><span>{sample}</span>{links}</p>'
        "</section>"
    )


def _navigation(pages: dict[str, str], current: str) -> str:
    """Links to the index and all pages (stem -> name), the current one marked."""
    links = ""
    for stem, name in {"index": "molnb", **pages}.items():
        target = 'class="here"' if stem == current else f'href="{stem}.html"'
        links += f"<a {target}>{html.escape(name)}</a>"
    return f"<nav><div>{links}</div></nav>"


def _write_page(path: Path, title: str, body: str, navigation: str, single: bool = False) -> None:
    """One page; the assets its body needs lie beside it, or, in a `single` file, in its head."""
    scripts = "".join(_script(asset, path.parent, single) for asset in ASSETS if asset.mark in body)
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{_GENERATOR}<title>{html.escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<style>{_style()}</style>{scripts}</head>"
        f"<body>{navigation}<main>{body}</main></body></html>\n",
        encoding="utf-8",
    )


def _script(asset: Asset, folder: Path, single: bool) -> str:
    """HTML that loads an asset from `assets/`, or holds it; empty where this machine has it not."""
    source = asset.source()
    if source is None:
        return ""
    after = f"<script>{asset.after}</script>" if asset.after else ""
    licence = source.with_name(asset.licence) if asset.licence else None
    if single:
        return f"{_inline_script(source, licence)}{after}"
    copy = folder / "assets" / asset.name
    copy.parent.mkdir(exist_ok=True)
    if not copy.exists() or copy.stat().st_size != source.stat().st_size:
        shutil.copyfile(source, copy)
        if licence:
            shutil.copyfile(licence, copy.with_name(f"{copy.stem}.LICENSE"))
    return f'<script src="assets/{asset.name}"></script>{after}'


def _inline_script(source: Path, licence: Path | None) -> str:
    """A script as part of a page, with its licence as a comment before it."""
    # What would end the script or the comment early is written in another way.
    code = source.read_text(encoding="utf-8").replace("</script", "<\\/script")
    if licence is None:
        return f"<script>{code}</script>"
    terms = licence.read_text(encoding="utf-8").replace("--", "- -")
    return f"<!--\n{terms}\n--><script>{code}</script>"


@cache
def _style() -> str:
    """The style sheet of molnb's pages, and code colours for light and dark."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="tango").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    sheet = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    ground = ".highlight { background: var(--code) !important; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{sheet}\n{ground}"
