"""Molecules in 3D for notebooks and pages, without a network: drawings that become views to turn.

Why this is hand-made: py3Dmol loads 3Dmol.js from the internet, and shows nothing where it cannot,
in a saved notebook without a kernel, or on a page that is mailed. Lessons and pages of molnb must
work there. So the same scene is drawn as SVG (svg3d), and scene.js turns the drawing into a view
wherever a copy of 3Dmol.js is at hand, which set-up puts beside JupyterLab once (threedmol). What
needs a click (other conformers, hydrogens) is an addition to what is already shown;
conformer_explorer adds the controls that need a kernel.
"""

from __future__ import annotations

import html
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from ..chemistry.ensembles import Ensemble, best_alignment, overlaid, superposed
from ..errors import InputError
from .elements import CARBON
from .grid import draw_molecules
from .svg3d import (
    INK,
    MIDDLE,
    NEGATIVE,
    POSITIVE,
    Layer,
    draw_layers,
    facing,
    value_colours,
)
from .threedmol import HOW_TO, find_viewer

MARK = "molnbScene"  # in the HTML of every scene
LOOK = (
    f"background:#fff;color:{INK};font:14px/1.5 Arial,Helvetica,sans-serif;padding:8px 12px;"
    "border-radius:8px;max-width:100%;box-sizing:content-box"
)
_NOTE_STYLE = "color:#5b6675"
ORANGE = "#E69F00"
BLUE = "#56B4E9"
MAX_GHOSTS = 30  # geometries drawn at once, thin; more than these hide each other


@dataclass(frozen=True)
class Bar:
    """A colour scale: from -limit to limit, or from 0; `quantity` with its unit."""

    quantity: str
    limit: float
    symmetric: bool = True


@dataclass(frozen=True)
class Scene:
    """Layers of molecules in one view, with what is written around them.

    Shows itself at the end of a cell. `captions` belong to the frames of the first layer, `labels`
    to its atoms; `lines` go from point to point (Å); `note` says what the picture leaves out.
    `width` and `height` are in pixels.
    """

    layers: tuple[Layer, ...]
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    lines: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    bar: Bar | None = None
    note: str = ""
    hydrogens: bool = True
    width: int = 620
    height: int = 380
    controls: bool = True

    def turned(self) -> Scene:
        """The same scene, facing the reader."""
        turn = facing(self.layers)
        layers = tuple(
            replace(layer, frames=tuple(frame @ turn for frame in layer.frames))
            for layer in self.layers
        )
        lines = tuple((start @ turn, end @ turn) for start, end in self.lines)
        return replace(self, layers=layers, lines=lines)

    def spec(self, slider: bool = True) -> dict[str, Any]:
        """The scene as plain data for the browser, coordinates to 0.01 Å."""
        layers = [
            {
                "symbols": [atom.GetSymbol() for atom in layer.mol.GetAtoms()],
                "bonds": layer.bonds(),
                "frames": [_rounded(frame.ravel()) for frame in layer.frames],
                "colours": layer.atom_colours(),
                "look": layer.look,
            }
            for layer in self.layers
        ]
        return {
            "layers": layers,
            "captions": self.captions,
            "labels": self.labels,
            "lines": [[_rounded(end) for end in line] for line in self.lines],
            "hydrogens": self.hydrogens,
            "slider": slider,
            "controls": self.controls,
        }

    def body(self, note: str = "") -> str:
        """HTML without a script: the drawing, scale, caption and notes."""
        drawing = draw_layers(
            self.layers, self.width, self.height, self.hydrogens, self.labels, self.lines
        )
        parts = [
            f'<div class="molnb-view" style="position:relative;width:{self.width}px;'
            f'height:{self.height}px;max-width:100%;overflow:hidden">{drawing}</div>',
            _legend(self.layers, self.bar),
        ]
        if self.captions and self.captions[0]:
            parts.append(f'<div class="molnb-caption">{html.escape(self.captions[0])}</div>')
        parts.append(
            '<div class="molnb-controls" '
            'style="display:flex;gap:14px;align-items:center;flex-wrap:wrap"></div>'
        )
        if self.note:
            parts.append(f'<div style="{_NOTE_STYLE}">{html.escape(self.note)}</div>')
        if note:
            style = f"{_NOTE_STYLE};font-style:italic"
            parts.append(f'<div class="molnb-why" style="{style}">{html.escape(note)}</div>')
        return "".join(parts)

    def to_html(self) -> str:
        """The scene as HTML that needs no kernel."""
        scene = self.turned()
        name = f"molnb-{secrets.token_hex(4)}"
        body = scene.body(why_drawn() if self.controls else "")
        # `</script>` within the data would end the script.
        spec = json.dumps(scene.spec(), separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<div id="{name}" class="molnb-scene" style="{LOOK};width:{self.width}px">{body}</div>'
            f"<script>(() => {{{script()}\n"
            f"molnbScene(document.getElementById('{name}'), {spec});}})();</script>"
        )

    def __repr__(self) -> str:
        names = ", ".join(filter(None, (layer.name for layer in self.layers))) or "a molecule"
        return f"3D view of {names}: {'; '.join(filter(None, [*self.captions[:1], self.note]))}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}


def _rounded(coords: np.ndarray) -> list[float]:
    return [round(float(value), 2) for value in coords]


@cache
def script() -> str:
    """The JavaScript that turns drawings into views."""
    return Path(__file__).with_name("scene.js").read_text(encoding="utf-8")


def why_drawn() -> str:
    """A note for under a drawing: why it is no view to turn, and how it becomes one."""
    if find_viewer() is None:
        return (
            f"Drawn, because 3Dmol.js is not installed: run `{HOW_TO}` once, with a network, "
            "and reload."
        )
    return "A drawing; run this notebook in JupyterLab to turn it."


def _legend(layers: Sequence[Layer], bar: Bar | None) -> str:
    """Names of layers in their colours, and the colour scale."""
    entries = ""
    for layer in layers:
        if layer.name:
            colour = layer.atom_colours()[0] if layer.colours or layer.look == "ghost" else CARBON
            swatch = f"display:inline-block;width:26px;height:5px;background:{colour}"
            name = html.escape(layer.name)
            entries += f'<span><span style="{swatch}"></span> {name}</span>'
    if bar:
        colours = (MIDDLE, NEGATIVE)
        low = "0"
        high = f"{bar.limit:.2f}"
        if bar.symmetric:
            colours = (NEGATIVE, MIDDLE, POSITIVE)
            low = f"−{bar.limit:.2f}"
            high = f"+{bar.limit:.2f}"
        style = (
            "display:inline-block;width:180px;height:12px;vertical-align:-1px;"
            f"border:1px solid #999;background:linear-gradient(90deg,{','.join(colours)})"
        )
        ramp = f'<span style="{style}"></span>'
        entries += f"<span>{low} {ramp} {high} &nbsp; {html.escape(bar.quantity)}</span>"
    return f'<div style="display:flex;gap:22px;flex-wrap:wrap">{entries}</div>' if entries else ""


def show_molecule(
    mol: Chem.Mol, coords: np.ndarray | None = None, caption: str = "", **more: Any
) -> Scene:
    """One geometry, as balls and sticks; without `coords` (Å) that of the molecule's conformer."""
    coords = mol.GetConformer().GetPositions() if coords is None else np.asarray(coords, float)
    _check(mol, coords)
    return Scene((Layer(mol, (coords,)),), (caption,) if caption else (), **more)


def show_conformers(ensemble: Ensemble, limit: int = MAX_GHOSTS, **more: Any) -> Scene:
    """Conformers of one molecule laid over its lowest: one solid, chosen by a slider, others thin.

    Energies are in kcal/mol above the lowest conformer of this molecule. The lowest `limit` are
    shown.
    """
    laid, rmsds = overlaid(ensemble)
    n_shown = min(limit, len(laid))
    frames = tuple(laid.coords(i) for i in range(n_shown))
    captions = tuple(
        f"conformer {i + 1} of {len(laid)}: {laid.energies[i]:.2f} kcal/mol above the lowest, "
        f"RMSD to it {rmsds[i]:.2f} Å{', the stored one' if i == laid.stored else ''}"
        for i in range(n_shown)
    )
    layers = [Layer(laid.mol, frames)]
    if n_shown > 1:
        layers.append(Layer(laid.mol, frames, "ghost"))
    note = f"{ensemble.force_field} energies; comparable between conformers of this molecule only."
    if n_shown < len(laid):
        note += f" The lowest {n_shown} of {len(laid)} are shown."
    return Scene(tuple(layers), captions, **{"note": note, **more})


def show_atom_values(
    mol: Chem.Mol,
    coords: np.ndarray,
    values: Sequence[float],
    quantity: str,
    limit: float | None = None,
    labels: bool = True,
    **more: Any,
) -> Scene:
    """Values of atoms as colours on one scale symmetric about zero, with the numbers on the atoms.

    `quantity` carries the unit. `limit` is where colours end (default: the largest value; give one
    limit to several molecules to compare them). Values may be of all atoms or of heavy atoms only;
    then hydrogens are left out.
    """
    values = np.asarray(values, float)
    coords = np.asarray(coords, float)
    _check(mol, coords)
    n_atom = mol.GetNumAtoms()
    n_heavy = mol.GetNumHeavyAtoms()
    if len(values) not in (n_atom, n_heavy):
        raise InputError(
            f"{len(values)} values for {n_atom} atoms ({n_heavy} heavy): give one an atom"
        )
    folded = len(values) == n_heavy < n_atom
    values = np.concatenate([values, np.zeros(n_atom - len(values))])
    limit = limit or float(np.nanmax(np.abs(values))) or 1.0
    texts = []
    for atom, value in enumerate(values):
        # Hydrogens come last; small numbers on them would cover the picture.
        written = atom < n_heavy or (not folded and abs(value) > 0.25 * limit)
        texts.append(f"{round(value, 2) + 0.0:+.2f}" if written else "")  # + 0.0: no "-0.00"
    layer = Layer(mol, (coords,), colours=value_colours(values, limit, symmetric=True))
    if folded:
        note = "Values of hydrogens are added to their heavy atom."
        more = {"hydrogens": False, "note": note, **more}
    return Scene((layer,), labels=tuple(texts) if labels else (), bar=Bar(quantity, limit), **more)


def compare_geometries(
    mol: Chem.Mol,
    true: np.ndarray,
    predicted: np.ndarray,
    names: tuple[str, str] = ("true", "predicted"),
    **more: Any,
) -> Scene:
    """A predicted geometry laid over the true one, with a line for the displacement of each atom.

    Both are coordinates (Å) of all atoms, or of the heavy atoms that a model without hydrogens
    sees.
    """
    true = np.asarray(true, float)
    predicted = np.asarray(predicted, float)
    skeleton = mol
    if len(true) != mol.GetNumAtoms():
        skeleton = Chem.RemoveAllHs(Chem.Mol(mol), sanitize=False)
        # Counts implicit hydrogens, without which rings with substituents cannot be drawn.
        skeleton.UpdatePropertyCache(strict=False)
        note = "Hydrogens are stored with the molecule; this model sees heavy atoms only."
        more = {"note": note, **more}
    _check(skeleton, true)
    _check(skeleton, predicted)
    laid = superposed(predicted, true)
    displacements = np.linalg.norm(laid - true, axis=1)
    layers = (
        Layer(skeleton, (true,), name=names[0]),
        Layer(skeleton, (laid,), "stick", (ORANGE,) * skeleton.GetNumAtoms(), names[1]),
    )
    caption = (
        f"displacement after superposition: mean {displacements.mean():.2f} Å, "
        f"largest {displacements.max():.2f} Å"
    )
    return Scene(layers, (caption,), lines=tuple(zip(true, laid)), **more)


def show_superposed(
    mol: Chem.Mol, other: Chem.Mol, names: tuple[str, str], mirror: bool = False, **more: Any
) -> Scene:
    """Two molecules of the same constitution, the first laid over the second.

    `mirror` reflects the first before.
    """
    rmsd, turn, _ = best_alignment(mol, other, mirror=mirror)
    coords = mol.GetConformer().GetPositions() @ turn[:3, :3].T + turn[:3, 3]
    blue = (BLUE,) * mol.GetNumAtoms()
    first = Layer(mol, (coords,), "stick", blue, names[0] + (", mirrored" if mirror else ""))
    second = Layer(other, (other.GetConformer().GetPositions(),), name=names[1])
    caption = f"heavy-atom RMSD after best superposition: {rmsd:.2f} Å"
    return Scene((second, first), (caption,), **{"hydrogens": False, **more})


class Row:
    """Scenes and drawings side by side, as many a line as fit; shows itself at a cell's end."""

    def __init__(self, *items: Any, titles: Sequence[str] = ()):
        self.items = items
        self.titles = list(titles) + [""] * (len(items) - len(titles))

    def __repr__(self) -> str:
        return "\n".join(f"{title}: {item!r}" for title, item in zip(self.titles, self.items))

    def to_html(self) -> str:
        """The row as HTML that needs no kernel."""
        cells = ""
        for item, title in zip(self.items, self.titles):
            body = item.to_html() if isinstance(item, (Scene, Row)) else item._repr_html_()
            if title:
                style = "font-weight:600;padding:2px 12px"
                body = f'<div style="{style}">{html.escape(title)}</div>{body}'
            cells += f"<div>{body}</div>"
        style = f"{LOOK};padding:4px;display:flex;flex-wrap:wrap;gap:4px;align-items:flex-start"
        return f'<div style="{style}">{cells}</div>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}


def show_grid(ensembles: Sequence[Ensemble], legends: Sequence[str] = (), size: int = 190) -> Row:
    """Molecules in a grid, each as a formula beside its lowest conformer in 3D."""
    cells = []
    for ensemble, legend in zip(ensembles, [*legends, *([""] * len(ensembles))]):
        scene = show_molecule(
            ensemble.mol, ensemble.coords(0), width=size, height=int(0.8 * size), controls=False
        )
        cells.append(Row(draw_molecules([ensemble.smiles], [legend], columns=1, size=size), scene))
    return Row(*cells)


def _check(mol: Chem.Mol, coords: np.ndarray) -> None:
    """Refuse coordinates that are not one row of x, y, z an atom."""
    n_atom = mol.GetNumAtoms()
    if coords.shape != (n_atom, 3):
        raise InputError(
            f"coordinates have the shape {coords.shape} for a molecule of {n_atom} atoms: give one "
            "row of x, y, z an atom, hydrogens included if the molecule has them"
        )
