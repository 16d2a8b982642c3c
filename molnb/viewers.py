"""What a notebook shows besides figures: drawn molecules, a training run while it goes on, the headline of a lesson.

Everything here also works where nobody can click: with MOLNB_HEADLESS=1 (set by `molnb run` and `molnb tour`) no widget
is made, and what stays in the saved notebook is a plain picture or a line of text.
"""

from __future__ import annotations

import functools
import html
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from .errors import Refused
from .progress import Progress

_MARK = (1.0, 0.86, 0.6)  # light orange
HEADLINE = "application/vnd.molnb.headline+json"


def headless() -> bool:
    """True where a notebook is run by a machine: nobody can move a slider or press Stop."""
    return os.environ.get("MOLNB_HEADLESS") == "1"


def headline(text: str, n: int | None = None, of: int | None = None) -> None:
    """Show the one result of a lesson, which `molnb tour` also prints and puts on the index page.

    `n` of `of` says what the result rests on, in the lesson's own count (molecules, as a rule).
    """
    from IPython.display import display

    share = sample_words(n, of)
    words = f"{text} ({share})" if share else text
    page = f'<p style="font-size:1.2em;margin:.4em 0"><b>{html.escape(text)}</b>'
    page += f' <span style="opacity:.7">({share})</span></p>' if share else "</p>"
    display(
        {"text/plain": words, "text/html": page, HEADLINE: {"text": text, "n": n, "of": of}},
        raw=True,
    )


def sample_words(n: int | None, of: int | None) -> str:
    """`1,000 of 4,999`, `4,999`, or nothing, after what is known."""
    if n is None:
        return ""
    return f"{n:,}" if of is None else f"{n:,} of {of:,}"


class LiveCurve:
    """The loss while a model trains: ``run = await fit(config, watch=LiveCurve())``.

    In JupyterLab a curve that grows, progress, and a Stop button that leaves a usable run; headlessly one line that is
    updated in place. Either way a plain figure remains in the saved notebook: a live one would add 5 MB to it.
    """

    def __init__(self, label: str = "training", seconds_between_updates: float = 0.4):
        self.label, self.interval = label, seconds_between_updates
        self.stopped = False
        self._train: list[tuple[int, float]] = []
        self._val: dict[str, list[tuple[int, float]]] = {}
        self._last = 0.0
        self._shown: _Panel | Progress | None = None

    def __call__(self, report: Any) -> bool:
        """Take a step's report; False once Stop was pressed, which ends the training."""
        if self._shown is None:
            live = not headless() and _in_kernel()
            self._shown = _Panel(self, report.steps) if live else Progress(self.label, report.steps)
        self._train.append((report.step, report.loss))
        for row in report.rows:
            if row["part"] == "val":
                self._val.setdefault(row["features"], []).append((row["step"], row["loss"]))
        last = report.step >= report.steps or self.stopped
        if last or time.monotonic() - self._last >= self.interval:
            self._last = time.monotonic()
            note = f"step {report.step:,} of {report.steps:,}, loss {report.loss:.3f}, {report.seconds:.0f} s"
            if isinstance(self._shown, Progress):
                self._shown.advance(report.step - self._shown.done, f"loss {report.loss:.3f}")
            else:
                self._shown.update(report.step, note)
        if last:
            self.close()
        return not self.stopped

    def curves(self) -> list[tuple[str, list[int], list[float]]]:
        """Name, steps and losses of each curve so far; the training curve is averaged for display."""
        from .figures import averaged

        named = {"training": averaged(*zip(*self._train)) if self._train else ((), ())}
        named |= {f"validation, features {name}": tuple(zip(*points)) for name, points in self._val.items()}
        return [(name, list(steps), list(losses)) for name, (steps, losses) in named.items()]

    def figure(self) -> Any:
        """The curves so far as a plain figure."""
        from .figures import plot_curves

        return plot_curves(self.curves(), "step", "loss")

    def close(self) -> None:
        """Replace what is live by a plain figure; also call it after an interrupted training."""
        if self._shown is None:
            return
        shown, self._shown = self._shown, None
        if isinstance(shown, _Panel):
            shown.replace(self.figure())
            return
        shown.__exit__(None, None, None)
        if _in_kernel():
            from IPython.display import display

            display(self.figure())


class _Panel:
    """Figure, progress bar and Stop button of a LiveCurve in JupyterLab."""

    def __init__(self, curve: LiveCurve, steps: int):
        import ipywidgets
        import plotly.graph_objects as go
        from IPython.display import display

        self.curve = curve
        self.plot = go.FigureWidget(curve.figure())
        self.bar, self.note = ipywidgets.IntProgress(max=steps), ipywidgets.Label(layout={"min_width": "26em"})
        self.button = ipywidgets.Button(description="Stop", tooltip="end now; the run so far can be used and resumed")
        self.button.on_click(self._stop)
        self.box = ipywidgets.VBox([self.plot, ipywidgets.HBox([self.bar, self.note, self.button])])
        self.handle = display(self.box, display_id=True)

    def _stop(self, _button: Any) -> None:
        # Only a flag: the callback may run in another thread than the loop.
        self.curve.stopped = True

    def update(self, step: int, note: str) -> None:
        curves = self.curve.curves()
        with self.plot.batch_update():
            for name, steps, losses in curves[len(self.plot.data) :]:
                self.plot.add_scatter(x=steps, y=losses, name=name, mode="lines+markers")
            for trace, (_, steps, losses) in zip(self.plot.data, curves):
                trace.x, trace.y = steps, losses
        self.bar.value, self.note.value = step, note

    def replace(self, figure: Any) -> None:
        """Put a plain figure in the place of everything live."""
        self.handle.update(figure._repr_mimebundle_(), raw=True)  # a figure itself would add an output
        # The plot itself stays open: the browser may still send its size, which a closed one answers with an error.
        for widget in (self.bar, self.note, self.button, self.box):
            widget.close()


def _in_kernel() -> bool:
    """True in a Jupyter kernel, where there is something to display on."""
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def draw_molecules(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    size: int = 182,
    hidden: Sequence[Sequence[int]] | None = None,
    marked: Sequence[Sequence[int]] | None = None,
) -> Any:
    """Draw molecules in a grid, two-dimensional, as SVG that survives saving and export.

    What RDKit cannot parse or draw keeps its place, with its SMILES as text. `size` is the side of a cell in pixels.
    `hidden` lists the atoms of each molecule, in the order of its SMILES, that are drawn as a question mark; `marked`
    those that get a coloured ground. RDKit molecules may stand for SMILES, and keep 2D coordinates that they have.
    """
    from IPython.display import HTML

    legends = [""] * len(smiles) if legends is None else list(legends)
    if len(legends) != len(smiles):
        raise Refused(f"{len(smiles)} molecules but {len(legends)} legends: give one a molecule, or none")
    hidden, marked = ([()] * len(smiles) if atoms is None else atoms for atoms in (hidden, marked))
    cells = [
        f'<figure style="margin:0;text-align:center;width:{size}px">{_drawing(one, size, unknown, shaded)}'
        f'<figcaption style="font-size:12px;overflow-wrap:anywhere">{html.escape(str(legend))}</figcaption></figure>'
        for one, legend, unknown, shaded in zip(smiles, legends, hidden, marked)
    ]
    grid = f"display:grid;grid-template-columns:repeat({columns},{size}px);gap:6px;background:#fff;color:#222"
    return HTML(f'<div style="{grid};width:max-content;padding:6px">{"".join(cells)}</div>')


def _drawing(smiles: Any, size: int, hidden: Sequence[int] = (), marked: Sequence[int] = ()) -> str:
    """SVG of one molecule, hidden atoms as question marks, or its SMILES where there is nothing to draw."""
    from rdkit import Chem, rdBase
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else Chem.Mol(smiles)
        if mol is None:
            return f'<code style="font-size:11px;overflow-wrap:anywhere">{html.escape(smiles)}</code>'
        pen = rdMolDraw2D.MolDraw2DSVG(size, int(size * 0.75))
        pen.drawOptions().clearBackground = False
        pen.drawOptions().highlightRadius = 0.4
        atoms = [int(atom) for atom in hidden]
        for atom in atoms:
            mol.GetAtomWithIdx(atom).SetProp("_displayLabel", "?")
        colours = {int(atom): _MARK for atom in marked}
        shown = sorted({*atoms, *colours})
        rdMolDraw2D.PrepareAndDrawMolecule(pen, mol, highlightAtoms=shown, highlightAtomColors=colours)
    pen.FinishDrawing()
    return _slim(pen.GetDrawingText().partition("?>\n")[2])


_PATH = re.compile(r"<path (?:class='[^']*' )?d='([^']*)' ([^>]*?) ?/>\n?")
_DEFAULTS = ("fill-rule:evenodd;", "stroke-linecap:butt;", "stroke-linejoin:miter;", "stroke-miterlimit:10;")


def _slim(svg: str) -> str:
    """The same picture in half of the characters: neighbouring paths of one style as one, defaults left out."""
    head, mark, body = svg.partition("<!-- END OF HEADER -->\n")
    parts: list[str] = []
    style, joined, at = None, [], 0
    for found in _PATH.finditer(body):
        mine = functools.reduce(lambda text, default: text.replace(default, ""), _DEFAULTS, found[2])
        between = body[at : found.start()]
        if mine != style or between.strip():
            parts += [_path(joined, style), between]
            style, joined = mine, []
        joined.append(re.sub(r"\s+", " ", found[1]).strip())
        at = found.end()
    parts += [_path(joined, style), body[at:]]
    head = re.sub(r"\s+", " ", head.replace("xmlns:rdkit='http://www.rdkit.org/xml'", ""))
    return head + mark.strip() + "".join(parts)


def _path(joined: Sequence[str], style: str | None) -> str:
    return f"<path d='{''.join(joined)}' {style}/>" if joined else ""
