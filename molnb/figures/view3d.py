"""Molecules in 3D for notebooks and pages: a drawing that becomes a view to turn wherever 3Dmol.js
is at hand.

Every scene is plain HTML: it works in JupyterLab, in a saved page without a kernel, and, as the
drawing it starts with, where scripts do not run. What needs a click (other conformers, hydrogens)
is an addition to what is already shown.
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
from .grid import draw_molecules
from .svg3d import (
    CARBON,
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
    f"background:#fff;color:{INK};font:14px/1.5 Arial,Helvetica,sans-serif;padding:8px 12px;border-radius:8px;"
    "max-width:100%;box-sizing:content-box"
)
MAX_GHOSTS = 30  # geometries drawn at once, thin; more than these hide each other


@dataclass(frozen=True)
class Bar:
    """A colour scale: from -limit to limit, or from 0; `quantity` with its unit."""

    quantity: str
    limit: float
    symmetric: bool = True


@dataclass(frozen=True)
class Scene:
    """Layers of molecules in one view, with what is written around them. Shows itself at the end of
    a cell.

    `captions` belong to the frames of the first layer, `labels` to its atoms; `note` says what the
    picture leaves out.
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
            replace(one, frames=tuple(frame @ turn for frame in one.frames)) for one in self.layers
        )
        return replace(
            self, layers=layers, lines=tuple((a @ turn, b @ turn) for a, b in self.lines)
        )

    def spec(self, slider: bool = True) -> dict[str, Any]:
        """What the browser is told: plain data, coordinates to 0.01 Å."""
        layers = [
            {
                "symbols": [atom.GetSymbol() for atom in one.mol.GetAtoms()],
                "bonds": one.bonds(),
                "frames": [[round(float(v), 2) for v in frame.ravel()] for frame in one.frames],
                "colours": one.atom_colours(),
                "look": one.look,
            }
            for one in self.layers
        ]
        lines = [[[round(float(v), 2) for v in end] for end in line] for line in self.lines]
        more = {"captions": self.captions, "labels": self.labels, "lines": lines}
        return {
            "layers": layers,
            **more,
            "hydrogens": self.hydrogens,
            "slider": slider,
            "controls": self.controls,
        }

    def body(self, note: str = "") -> str:
        """HTML without a script: the drawing, scale, caption and notes."""
        drawing = draw_layers(
            self.layers, self.width, self.height, self.hydrogens, self.labels, self.lines
        )
        caption = html.escape(self.captions[0]) if self.captions else ""
        parts = [
            f'<div class="molnb-view" style="position:relative;width:{self.width}px;height:{self.height}px;'
            f'max-width:100%;overflow:hidden">{drawing}</div>',
            _legend(self.layers, self.bar),
            f'<div class="molnb-caption">{caption}</div>' if caption else "",
            '<div class="molnb-controls" style="display:flex;gap:14px;align-items:center;flex-wrap:wrap"></div>',
            f'<div style="color:#5b6675">{html.escape(self.note)}</div>' if self.note else "",
            f'<div class="molnb-why" style="color:#5b6675;font-style:italic">{html.escape(note)}</div>'
            if note
            else "",
        ]
        return "".join(parts)

    def to_html(self) -> str:
        """The scene as HTML that needs no kernel."""
        scene, name = self.turned(), f"molnb-{secrets.token_hex(4)}"
        note = why() if self.controls else ""
        spec = json.dumps(scene.spec(), separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<div id="{name}" class="molnb-scene" style="{LOOK};width:{self.width}px">{scene.body(note)}</div>'
            f"<script>(() => {{{script()}\nmolnbScene(document.getElementById('{name}'), {spec});}})();</script>"
        )

    def __repr__(self) -> str:
        names = ", ".join(filter(None, (one.name for one in self.layers))) or "a molecule"
        return f"3D view of {names}: {'; '.join(filter(None, [*self.captions[:1], self.note]))}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}


@cache
def script() -> str:
    """The JavaScript that turns drawings into views."""
    return Path(__file__).with_name("scene.js").read_text(encoding="utf-8")


def why() -> str:
    """Said under a drawing as long as it is one."""
    if find_viewer() is None:
        return f"Drawn, because 3Dmol.js is not installed: run `{HOW_TO}` once, with a network, and reload."
    return "A drawing; run this notebook in JupyterLab to turn it."


def _legend(layers: Sequence[Layer], bar: Bar | None) -> str:
    """Names of layers in their colours, and the colour scale."""
    words = ""
    for layer in layers:
        if layer.name:
            colour = layer.atom_colours()[0] if layer.colours or layer.look == "ghost" else CARBON
            words += f'<span><span style="display:inline-block;width:26px;height:5px;background:{colour}"></span> '
            words += f"{html.escape(layer.name)}</span>"
    if bar:
        colours = (NEGATIVE, MIDDLE, POSITIVE) if bar.symmetric else (MIDDLE, NEGATIVE)
        low, high = (
            (f"−{bar.limit:.2f}", f"+{bar.limit:.2f}")
            if bar.symmetric
            else ("0", f"{bar.limit:.2f}")
        )
        style = (
            "display:inline-block;width:180px;height:12px;vertical-align:-1px;border:1px solid #999"
        )
        ramp = (
            f'<span style="{style};background:linear-gradient(90deg,{",".join(colours)})"></span>'
        )
        words += f"<span>{low} {ramp} {high} &nbsp; {html.escape(bar.quantity)}</span>"
    return f'<div style="display:flex;gap:22px;flex-wrap:wrap">{words}</div>' if words else ""


def show_molecule(
    mol: Chem.Mol, coords: np.ndarray | None = None, caption: str = "", **more: Any
) -> Scene:
    """One geometry, as balls and sticks; without `coords` (Å) that of the molecule's conformer."""
    coords = mol.GetConformer().GetPositions() if coords is None else np.asarray(coords, float)
    _check(mol, coords)
    return Scene((Layer(mol, (coords,)),), (caption,) if caption else (), **more)


def show_conformers(ensemble: Ensemble, limit: int = MAX_GHOSTS, **more: Any) -> Scene:
    """Conformers of one molecule laid over its lowest one: one of them solid, chosen by a slider,
    the others thin.

    Energies are in kcal/mol above the lowest conformer of this molecule. The lowest `limit` are
    shown.
    """
    laid, rmsds = overlaid(ensemble)
    kept = range(min(limit, len(laid)))
    frames = tuple(laid.coords(i) for i in kept)
    captions = tuple(
        f"conformer {i + 1} of {len(laid)}: {laid.energies[i]:.2f} kcal/mol above the lowest, "
        f"RMSD to it {rmsds[i]:.2f} Å{', the stored one' if i == laid.stored else ''}"
        for i in kept
    )
    layers = [Layer(laid.mol, frames)]
    if len(frames) > 1:
        layers.append(Layer(laid.mol, frames, "ghost"))
    note = f"{ensemble.force_field} energies; comparable between conformers of this molecule only."
    note += f" The lowest {len(kept)} of {len(laid)} are shown." if len(kept) < len(laid) else ""
    return Scene(tuple(layers), captions, note=more.pop("note", note), **more)


def show_atom_values(
    mol: Chem.Mol,
    coords: np.ndarray,
    values: Sequence[float],
    quantity: str,
    limit: float | None = None,
    labels: bool = True,
    **more: Any,
) -> Scene:
    """Values of atoms as colours on one scale that is symmetric about zero, labelled, with the
    numbers on the atoms.

    `quantity` carries the unit. `limit` is where colours end (default: the largest value; give one
    limit to several molecules to compare them). Values may be of all atoms or of heavy atoms only;
    then hydrogens are left out.
    """
    values, coords = np.asarray(values, float), np.asarray(coords, float)
    _check(mol, coords)
    n_heavy = mol.GetNumHeavyAtoms()
    if len(values) not in (mol.GetNumAtoms(), n_heavy):
        raise InputError(
            f"{len(values)} values for {mol.GetNumAtoms()} atoms ({n_heavy} heavy): give one an atom"
        )
    folded = len(values) == n_heavy < mol.GetNumAtoms()
    values = np.concatenate([values, np.zeros(mol.GetNumAtoms() - len(values))])
    limit = limit or float(np.nanmax(np.abs(values))) or 1.0
    told = [i < n_heavy or (not folded and abs(v) > 0.25 * limit) for i, v in enumerate(values)]
    texts = (
        tuple(f"{round(v, 2) + 0.0:+.2f}" if one else "" for v, one in zip(values, told))
        if labels
        else ()
    )
    layer = Layer(mol, (coords,), colours=value_colours(values, limit, symmetric=True))
    if folded:
        more = {
            "hydrogens": False,
            "note": "Values of hydrogens are added to their heavy atom.",
            **more,
        }
    return Scene((layer,), labels=texts, bar=Bar(quantity, limit), **more)


def compare_geometries(
    mol: Chem.Mol,
    true: np.ndarray,
    predicted: np.ndarray,
    names: tuple[str, str] = ("true", "predicted"),
    **more: Any,
) -> Scene:
    """A predicted geometry laid over the true one, with a line from where each atom is to where it
    was put.

    Both are coordinates (Å) of all atoms, or of the heavy atoms that a model without hydrogens
    sees.
    """
    skeleton = (
        mol if len(true) == mol.GetNumAtoms() else Chem.RemoveAllHs(Chem.Mol(mol), sanitize=False)
    )
    true, predicted = (np.asarray(one, float) for one in (true, predicted))
    for coords in (true, predicted):
        _check(skeleton, coords)
    placed = superposed(predicted, true)
    moved = np.linalg.norm(placed - true, axis=1)
    orange = ("#E69F00",) * skeleton.GetNumAtoms()
    layers = (
        Layer(skeleton, (true,), name=names[0]),
        Layer(skeleton, (placed,), "stick", orange, names[1]),
    )
    caption = (
        f"displacement after superposition: mean {moved.mean():.2f} Å, largest {moved.max():.2f} Å"
    )
    if skeleton is not mol:
        more = {
            "note": "Hydrogens are stored with the molecule; this model sees heavy atoms only.",
            **more,
        }
    return Scene(layers, (caption,), lines=tuple(zip(true, placed)), **more)


def show_superposed(
    mol: Chem.Mol, other: Chem.Mol, names: tuple[str, str], mirror: bool = False, **more: Any
) -> Scene:
    """Two molecules of the same constitution, the first laid over the second; `mirror` reflects
    the first before.
    """
    rmsd, turn, _ = best_alignment(mol, other, mirror=mirror)
    coords = mol.GetConformer().GetPositions() @ turn[:3, :3].T + turn[:3, 3]
    blue = ("#56B4E9",) * mol.GetNumAtoms()
    first = Layer(mol, (coords,), "stick", blue, names[0] + (", mirrored" if mirror else ""))
    second = Layer(other, (other.GetConformer().GetPositions(),), name=names[1])
    caption = f"heavy-atom RMSD after best superposition: {rmsd:.2f} Å"
    return Scene((second, first), (caption,), hydrogens=more.pop("hydrogens", False), **more)


class Row:
    """Scenes and drawings side by side, as many a line as fit; shows itself at the end of a
    cell.
    """

    def __init__(self, *items: Any, titles: Sequence[str] = ()):
        self.items, self.titles = items, list(titles) + [""] * (len(items) - len(titles))

    def __repr__(self) -> str:
        return "\n".join(f"{title}: {item!r}" for title, item in zip(self.titles, self.items))

    def to_html(self) -> str:
        cells = ""
        style = f"{LOOK};padding:4px;display:flex;flex-wrap:wrap;gap:4px;align-items:flex-start"
        for item, title in zip(self.items, self.titles):
            inner = item.to_html() if isinstance(item, (Scene, Row)) else item._repr_html_()
            head = (
                f'<div style="font-weight:600;padding:2px 12px">{html.escape(title)}</div>'
                if title
                else ""
            )
            cells += f"<div>{head}{inner}</div>"
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
    if coords.shape != (mol.GetNumAtoms(), 3):
        raise InputError(
            f"coordinates have the shape {coords.shape} for a molecule of {mol.GetNumAtoms()} atoms: give one row of "
            "x, y, z an atom, hydrogens included if the molecule has them"
        )
