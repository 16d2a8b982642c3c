"""The loss while a model trains: a curve that grows in JupyterLab, a line of text elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..kernel import headless, in_kernel
from ..progress import Progress


class LiveCurve:
    """The loss while a model trains: ``run = await fit(config, watch=LiveCurve())``.

    In JupyterLab a curve that grows, progress, and a Stop button that leaves a usable run. Where
    nobody can click (a shell, or a notebook with MOLNB_HEADLESS=1, as `molnb run` and `molnb tour`
    set it) one line that is updated in place. Either way a plain figure remains in the saved
    notebook: a live one would add 5 MB to it.
    """

    def __init__(self, label: str = "training", seconds_between_updates: float = 0.4):
        self.label = label
        self.interval = seconds_between_updates
        self.stopped = False
        self._train: list[tuple[int, float]] = []
        self._val: dict[str, list[tuple[int, float]]] = {}
        self._last_update = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._display: _Panel | Progress | None = None

    def __call__(self, report: Any) -> bool:
        """Take a step's report; False once Stop was pressed, which ends the training."""
        if self._display is None:
            self._display = self._new_display(report.steps)
        self._train.append((report.step, report.loss))
        for row in report.rows:
            if row["part"] == "val":
                self._val.setdefault(row["features"], []).append((row["step"], row["loss"]))
        finished = report.step >= report.steps or self.stopped
        rest = self._last_update + self.interval - time.monotonic()
        if finished or rest <= 0:
            self._update(report)
        else:
            self._update_later(report, rest)
        if finished:
            self.close()
        return not self.stopped

    def _new_display(self, steps: int) -> _Panel | Progress:
        live = not headless() and in_kernel()
        return _Panel(self, steps) if live else Progress(self.label, steps)

    def _update_later(self, report: Any, seconds: float) -> None:
        """Show a report once some seconds are over, in a kernel: the next may be long in coming."""
        self._cancel_update()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a shell, whose last line the end replaces
        self._later = loop.call_later(seconds, self._update, report)

    def _cancel_update(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._later = None

    def _update(self, report: Any) -> None:
        self._cancel_update()
        self._last_update = time.monotonic()
        if isinstance(self._display, Progress):
            self._display.advance(report.step - self._display.done, f"loss {report.loss:.3f}")
            return
        steps = f"step {report.step:,} of {report.steps:,}"
        note = f"{steps}, loss {report.loss:.3f}, {report.seconds:.0f} s"
        self._display.update(report.step, note)

    def curves(self) -> list[tuple[str, list[int], list[float]]]:
        """Name, steps and losses of each curve so far; the training curve is averaged."""
        from .curves import averaged

        curves = [("training", [], [])]
        if self._train:
            steps, losses = averaged(*zip(*self._train))
            curves = [("training", list(steps), list(losses))]
        for features, points in self._val.items():
            steps, losses = zip(*points)
            curves.append((f"validation, features {features}", list(steps), list(losses)))
        return curves

    def figure(self) -> Any:
        """The curves so far as a plain plotly figure."""
        from .curves import plot_curves

        return plot_curves(self.curves(), "step", "loss")

    def close(self) -> None:
        """Replace what is live by a plain figure; also call it after an interrupted training."""
        self._cancel_update()
        display_object = self._display
        self._display = None
        if display_object is None:
            return
        if isinstance(display_object, _Panel):
            display_object.replace(self.figure())
            return
        display_object.__exit__(None, None, None)
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
        self.bar = ipywidgets.IntProgress(max=steps)
        self.note = ipywidgets.Label(layout={"min_width": "26em"})
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
        """Draw the curves as they are now, move the bar to a step and write a note beside it."""
        curves = self.curve.curves()
        with self.plot.batch_update():
            for name, steps, losses in curves[len(self.plot.data) :]:
                self.plot.add_scatter(x=steps, y=losses, name=name, mode="lines+markers")
            for trace, (_, steps, losses) in zip(self.plot.data, curves):
                trace.x = steps
                trace.y = losses
        self.bar.value = step
        self.note.value = note

    def replace(self, figure: Any) -> None:
        """Put a plain figure in the place of everything live."""
        # Its data, not the figure itself, which would add an output.
        self.handle.update(figure._repr_mimebundle_(), raw=True)
        # The plot stays open: the browser may still send its size, which a closed widget answers
        # with an error.
        for widget in (self.bar, self.note, self.button, self.box):
            widget.close()
