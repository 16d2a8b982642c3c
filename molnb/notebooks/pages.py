"""NotebookResult notebooks as web pages that work from the file system, without a network.

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

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
NO_VIEWER = f'<p class="gone">Here stands a molecule in 3D; 3Dmol.js is not installed: <code>{HOW_TO}</code></p>'
GONE = '<p class="gone">Here stands a control that needs a running kernel: open the notebook in JupyterLab.</p>'
# Code first, so that a dollar sign inside it is left alone; last a dollar that is money.
_MATH = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<inline>[^$\s`][^$`\n]*?)(?<!\s)\$(?![\d$])|(?P<money>\\?\$)",
    re.S,
)


@dataclass(frozen=True)
class NotebookResult:
    """A notebook that was run: where its copy is, how it ended (`code`, an exit code), and its
    headline.
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
        said = self.error if self.code else self.text + (f" ({share})" if share else "")
        return f"{self.name:<16}{self.seconds:5.0f} s  {said}"


@dataclass(frozen=True)
class Asset:
    """A script that pages share: pages whose HTML contains `mark` load it before anything else."""

    name: str
    mark: str
    source: Callable[[], Path | None]  # where this machine has the file, if it has
    after: str = ""  # script to run once it is loaded
    licence: str = ""  # file beside the source that goes where the script goes


def _find_plotly() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


VIEWER = "$3Dmolpromise"  # in what py3Dmol and molnb.scenes show
ASSETS = (
    Asset("plotly.min.js", "Plotly.newPlot", _find_plotly),
    Asset(SCRIPT, VIEWER, find_viewer, "window.$3Dmolpromise = Promise.resolve();", "LICENSE"),
)


def write_site(folder: str | Path, lessons: Sequence[NotebookResult]) -> Path:
    """Write a page for each executed notebook and an index of them into `folder`; returns the
    index.
    """
    import nbformat

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cards, pages = [], {one.path.stem: one.name for one in lessons if one.path.is_file()}
    for one in lessons:
        if one.path.stem not in pages:
            cards.append(_card(one, one.name, "", "", False))
            continue
        notebook = nbformat.read(one.path, 4)
        title, question = heading(notebook)
        body = notebook_html(notebook)
        _write_page(
            folder / f"{one.path.stem}.html", title, body, _navigation(pages, one.path.stem)
        )
        cards.append(_card(one, title, question, thumbnail(notebook), True))
    seconds = sum(one.seconds for one in lessons)
    body = (
        "<h1>molnb: the tour</h1><p class=lead>From a list of SMILES to a pretrained model, on real molecules. "
        f"Run here in {seconds:.0f} s.</p><div class=cards>{''.join(cards)}</div>"
    )
    _write_page(folder / "index.html", "molnb: the tour", body, _navigation(pages, "index"))
    return folder / "index.html"


def write_page(notebook: Any, path: Path, single: bool = False) -> Path:
    """Write an executed notebook as a page of its own; a `single` one needs nothing beside it."""
    title, _ = heading(notebook)
    _write_page(path, title or path.stem, notebook_html(notebook), "", single)
    return path


def notebook_html(notebook: Any) -> str:
    """The cells of a notebook as HTML that loads nothing from elsewhere, except the shared
    assets.
    """
    from nbconvert import HTMLExporter

    notebook = notebook.copy()
    notebook.cells = [_static(cell, number) for number, cell in enumerate(notebook.cells)]
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k != "widgets"}
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
    from latex2mathml.converter import convert

    if match["code"] or match["money"]:
        return match["code"] or "&#36;"
    shown = "block" if match["block"] else "inline"
    mathml = convert((match["block"] or match["inline"]).strip(), display=shown)
    return mathml.replace("*", "&#42;").replace("_", "&#95;").replace("\n", " ")


def _static_output(output: Any, name: str) -> Any:
    data = output.get("data", {})
    page = data.get("text/html", "")
    if WIDGET in data:
        data = {"text/html": page or GONE}
    elif (
        VIEWER in page and SCENE not in page and find_viewer() is None
    ):  # py3Dmol would look for it in the network
        data = {"text/html": NO_VIEWER}
    elif PLOTLY in data:
        data = {"text/html": _plot(data[PLOTLY], name)}
    else:
        return output
    output = output.copy()
    output.data, output.metadata = data, {}
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
    lines = next(
        (cell.source for cell in notebook.cells if cell.cell_type == "markdown"), ""
    ).splitlines()
    text = [line.strip() for line in lines if line.strip()]
    title = next((line.lstrip("# ") for line in text if line.startswith("# ")), "")
    question = next((line for line in text if not line.startswith("#")), "")
    return title, re.sub(r"[*_`]+", "", question)


def thumbnail(notebook: Any) -> str:
    """The first drawn picture of a notebook, "" where it has none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            drawn = re.search(
                r"<svg.*?</svg>",
                data.get("image/svg+xml") or data.get("text/html") or "",
                flags=re.S,
            )
            if drawn:
                return drawn[0]
            if "image/png" in data:
                return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    return ""


def _card(one: NotebookResult, title: str, question: str, picture: str, linked: bool) -> str:
    escape = html.escape
    name = escape(title or one.name)
    if linked:
        name = f'<a href="{one.path.stem}.html">{name}</a>'
    links = (
        f'<a href="{one.path.stem}.html">page</a><a href="{one.path.name}">notebook</a>'
        if linked
        else ""
    )
    return (
        f'<section class="card{" failed" if one.code else ""}">{picture}'
        f"<h2>{name}</h2>"
        f'<p class=lead>{escape(question)}</p><p class="result">{escape(one.error if one.code else one.text)}</p>'
        f'<p class="foot"><span>{one.seconds:.0f} s</span><span>{sample_words(one.n, one.of)}</span>{links}</p>'
        "</section>"
    )


def _navigation(pages: dict[str, str], here: str) -> str:
    links = ""
    for stem, name in {"index": "molnb", **pages}.items():
        place = 'class="here"' if stem == here else f'href="{stem}.html"'
        links += f"<a {place}>{html.escape(name)}</a>"
    return f"<nav><div>{links}</div></nav>"


def _write_page(path: Path, title: str, body: str, navigation: str, single: bool = False) -> None:
    """One page; the assets its body needs lie beside it, or, in a `single` file, in its head."""
    scripts = "".join(_script(asset, path.parent, single) for asset in ASSETS if asset.mark in body)
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,">'
        f"<style>{_style()}</style>{scripts}</head><body>{navigation}<main>{body}</main></body></html>\n",
        encoding="utf-8",
    )


def _script(asset: Asset, folder: Path, single: bool) -> str:
    """HTML that loads an asset, copied to `assets/` first if need be; nothing where this machine
    does not have it.
    """
    source = asset.source()
    if source is None:
        return ""
    licence = source.with_name(asset.licence) if asset.licence else None
    after = f"<script>{asset.after}</script>" if asset.after else ""
    if single:
        terms = (
            "<!--\n" + licence.read_text(encoding="utf-8").replace("--", "- -") + "\n-->"
            if licence
            else ""
        )
        code = source.read_text(encoding="utf-8").replace("</script", "<\\/script")
        return f"{terms}<script>{code}</script>{after}"
    copy = folder / "assets" / asset.name
    copy.parent.mkdir(exist_ok=True)
    if not copy.exists() or copy.stat().st_size != source.stat().st_size:
        shutil.copyfile(source, copy)
        if licence:
            shutil.copyfile(licence, copy.with_name(f"{copy.stem}.LICENSE"))
    return f'<script src="assets/{asset.name}"></script>{after}'


@cache
def _style() -> str:
    """Our own style sheet, and code colours for light and dark."""
    from pygments.formatters import HtmlFormatter

    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    light = HtmlFormatter(style="tango").get_style_defs(".highlight")
    clear = ".highlight { background: var(--code) !important; }"
    own = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{own}\n{clear}"
