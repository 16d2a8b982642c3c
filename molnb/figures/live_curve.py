"""What a notebook shows besides figures: drawn molecules, a training run while it goes on, the
headline of a lesson.

Everything here also works where nobody can click: with MOLNB_HEADLESS=1 (set by `molnb run` and
`molnb tour`) no widget is made, and what stays in the saved notebook is a plain picture or a line
of text.
"""

from __future__ import annotations

import re
import time
from typing import Any

from ..kernel import headless, in_kernel
from ..progress import Progress


class LiveCurve:
    """The loss while a model trains: ``run = await fit(config, watch=LiveCurve())``.

    In JupyterLab a curve that grows, progress, and a Stop button that leaves a usable run;
    headlessly one line that is updated in place. Either way a plain figure remains in the saved
    notebook: a live one would add 5 MB to it.
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
            live = not headless() and in_kernel()
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
        """Name, steps and losses of each curve so far; the training curve is averaged for
        display.
        """
        from .curves import averaged

        named = {"training": averaged(*zip(*self._train)) if self._train else ((), ())}
        named |= {
            f"validation, features {name}": tuple(zip(*points))
            for name, points in self._val.items()
        }
        return [(name, list(steps), list(losses)) for name, (steps, losses) in named.items()]

    def figure(self) -> Any:
        """The curves so far as a plain figure."""
        from .curves import plot_curves

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
        if in_kernel():
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
        self.bar, self.note = (
            ipywidgets.IntProgress(max=steps),
            ipywidgets.Label(layout={"min_width": "26em"}),
        )
        self.button = ipywidgets.Button(
            description="Stop", tooltip="end now; the run so far can be used and resumed"
        )
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
        self.handle.update(
            figure._repr_mimebundle_(), raw=True
        )  # a figure itself would add an output
        # The plot itself stays open: the browser may still send its size, which a closed one
        # answers with an error.
        for widget in (self.bar, self.note, self.button, self.box):
            widget.close()


_PATH = re.compile(r"<path (?:class='[^']*' )?d='([^']*)' ([^>]*?) ?/>\n?")
_DEFAULTS = (
    "fill-rule:evenodd;",
    "stroke-linecap:butt;",
    "stroke-linejoin:miter;",
    "stroke-miterlimit:10;",
)
