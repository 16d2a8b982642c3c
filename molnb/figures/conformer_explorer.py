"""Conformers explored with a mouse in JupyterLab: a view to turn, a slider, a figure that follows.

Only for looking: the same view (view3d), with a slider that needs no kernel, is what is saved and
exported, and what stands there when nobody can click.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ..chemistry.ensembles import Ensemble, distinct, overlaid, rmsd_matrix
from ..kernel import headless
from .conformers import plot_landscape
from .view3d import LOOK, MAX_GHOSTS, Scene, script, show_conformers, why_drawn

_MODULE = """
function render({ model, el }) {
  el.innerHTML = model.get('body');
  const root = el.firstElementChild, scene = molnbScene(root, model.get('spec'));
  scene.show(model.get('frame'));
  model.on('change:frame', () => scene.show(model.get('frame')));
}
export default { render };
"""


@cache
def _widget_class() -> type:
    import anywidget
    import traitlets

    class SceneWidget(anywidget.AnyWidget):
        """A scene whose frame the kernel and other widgets can set."""

        _esm = script() + _MODULE
        body = traitlets.Unicode().tag(sync=True)
        spec = traitlets.Dict().tag(sync=True)
        frame = traitlets.Int(0).tag(sync=True)

    return SceneWidget


def make_widget(scene: Scene) -> Any:
    """A scene as a widget with a `frame` to set."""
    turned = scene.turned()
    style = f"{LOOK};width:{scene.width}px"
    body = f'<div class="molnb-scene" style="{style}">{turned.body(why_drawn())}</div>'
    return _widget_class()(body=body, spec=turned.spec(slider=False))


def explore_conformers(ensemble: Ensemble, limit: int = MAX_GHOSTS) -> None:
    """Show conformers of one molecule, with a slider and an energy figure that follows it.

    Where a machine runs the notebook, and in what is saved, the view with a slider that needs no
    kernel stands instead. The lowest `limit` conformers can be chosen.
    """
    from IPython.display import display

    scene = show_conformers(ensemble, limit, width=400, height=300)
    if headless():
        display(scene)
        return
    panel = _Panel(ensemble, scene, min(limit, len(ensemble)))
    # The saved notebook holds both; JupyterLab takes the widget, a page the HTML.
    display({**panel.box._repr_mimebundle_(), **scene._repr_mimebundle_()}, raw=True)


class _Panel:
    """Slider, buttons, view and figure: the slider moves the view and the ring in the figure."""

    def __init__(self, ensemble: Ensemble, scene: Scene, n: int):
        import ipywidgets
        import plotly.graph_objects as go

        self.ensemble = ensemble
        _, self.rmsds = overlaid(ensemble)
        representatives = distinct(rmsd_matrix(ensemble))
        self.different = sorted({index for index in representatives if index < n})
        self.view = make_widget(scene)
        self.slider = ipywidgets.IntSlider(
            min=0, max=max(n - 1, 1), description="conformer", readout=False
        )
        self.slider.layout.width = "300px"
        self.figure = go.FigureWidget(plot_landscape(ensemble, self.rmsds, chosen=0))
        self.figure.update_layout(
            width=400, height=360, legend={"font": {"size": 13}, "y": 1.25}, margin={"t": 75}
        )
        lowest = ipywidgets.Button(description="lowest", tooltip="the one of lowest energy")
        next_shape = ipywidgets.Button(
            description="next different", tooltip="the next one of another shape"
        )
        lowest.on_click(lambda _: self.go_to(0))
        next_shape.on_click(lambda _: self.go_to(self._next()))
        ipywidgets.jslink((self.slider, "value"), (self.view, "frame"))
        self.slider.observe(lambda change: self._follow(change["new"]), "value")
        bar = ipywidgets.HBox([self.slider, lowest, next_shape])
        views = ipywidgets.HBox([self.view, self.figure], layout={"flex_flow": "row wrap"})
        self.box = ipywidgets.VBox([bar, views])

    def go_to(self, index: int) -> None:
        """Choose a conformer by its place in the ensemble."""
        self.slider.value = index

    def _next(self) -> int:
        """The next conformer of another shape; after the last the first."""
        later = [index for index in self.different if index > self.slider.value]
        return later[0] if later else self.different[0]

    def _follow(self, index: int) -> None:
        """Move the ring of the figure, its last trace, to a conformer."""
        ring = self.figure.data[-1]
        with self.figure.batch_update():
            ring.x = [float(self.rmsds[index])]
            ring.y = [float(self.ensemble.energies[index])]
