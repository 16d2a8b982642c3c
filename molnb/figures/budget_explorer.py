"""A budget explored with sliders in JupyterLab: hours and size, and the loss that a law expects.

Only for looking: the figure of the hours that were given stands above, and is what is saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..evaluation.scaling.advice import Advice, advise
from ..evaluation.scaling.bootstrap import Bootstrap
from ..kernel import headless
from .scaling import plot_advice

LONGEST = 1_000.0  # hours


def explore_budget(
    resampled: Bootstrap,
    points: pd.DataFrame,
    hours: float,
    flops_per_second: float | None = None,
) -> None:
    """Display what a budget in hours buys; in JupyterLab with sliders for hours and size.

    Arguments are those of `advise`.
    """
    from IPython.display import display

    display(plot_advice(advise(resampled, points, hours, flops_per_second=flops_per_second)))
    if not headless():
        display(_Panel(resampled, points, hours, flops_per_second).box)


class _Panel:
    """Two sliders, a figure and a sentence that follow them."""

    def __init__(
        self,
        resampled: Bootstrap,
        points: pd.DataFrame,
        hours: float,
        flops_per_second: float | None,
    ):
        import ipywidgets
        import plotly.graph_objects as go

        self.resampled = resampled
        self.points = points
        self.flops_per_second = flops_per_second
        sizes = np.log10([points["N"].min(), points["N"].max()])
        wide = {"description_width": "4em"}
        self.hours = ipywidgets.FloatLogSlider(
            value=hours,
            min=-2,
            max=np.log10(LONGEST),
            description="hours",
            style=wide,
            continuous_update=False,
        )
        self.size = ipywidgets.FloatLogSlider(
            value=10 ** sizes.mean(),
            min=sizes[0] - 1,
            max=sizes[1] + 1,
            description="N",
            readout_format=".3s",
            style=wide,
            continuous_update=False,
        )
        self.said = ipywidgets.HTML()
        self.figure = go.FigureWidget(layout={"template": "molnb", "height": 400})
        for slider in (self.hours, self.size):
            slider.observe(self._show, "value")
        self._show()
        sliders = ipywidgets.HBox([self.hours, self.size])
        self.box = ipywidgets.VBox([sliders, self.said, self.figure])

    def _show(self, _change: Any = None) -> None:
        """Draw what the sliders say; where that cannot be said, why."""
        try:
            advice = advise(
                self.resampled,
                self.points,
                self.hours.value,
                flops_per_second=self.flops_per_second,
            )
        except InputError as refusal:
            self.said.value = str(refusal)
            return
        self.said.value = _compared(advice, self.size.value)
        drawn = plot_advice(advice, self.size.value)
        with self.figure.batch_update():
            self.figure.data = ()
            self.figure.add_traces(drawn.data)
            self.figure.layout = drawn.layout


def _compared(advice: Advice, size: float) -> str:
    """By how much a chosen size is expected to be worse than the best, in a sentence."""
    curve = advice.curve
    at = int(np.abs(np.log(curve["N"].to_numpy() / size)).argmin())
    worse = 100 * (curve["loss"].iloc[at] / advice.loss - 1)
    return f"The chosen size is expected to end {worse:.1f} % above the best one for these hours."
