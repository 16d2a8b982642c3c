"""Geometries drawn as SVG: what stands where nothing can be turned, and what a page shows at first.

Molecules are seen along the direction in which they are flattest; what is farther away is smaller
and paler. The turnable view (view3d) starts with the same orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

from .elements import element_colour

INK = "#1c2430"
BACKGROUND = "#ffffff"
GHOST = "#b4bcc6"
# As in pictures of electrostatic potentials, red is minus.
NEGATIVE = "#D55E00"
MIDDLE = "#eceff1"
POSITIVE = "#0072B2"
MAX_SCALE = 48.0  # pixels an Å: small molecules are not blown up
DEPTH_ANGSTROM = 13.0  # something this much farther away is drawn in paper colour

# A piece of SVG with its depth (0 near, 1 lost in the paper): what is farther away is drawn first.
Mark = tuple[float, str]
Projection = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A molecule of a scene, in one geometry or in several that are flipped through.

    `frames` are coordinates of all atoms (Å). `look` is "ball" (balls and sticks), "stick", or
    "ghost": thin and grey, all its frames at once. `colours` are of atoms, by element if None;
    `name` is what a legend calls it.
    """

    mol: Chem.Mol
    frames: tuple[np.ndarray, ...]
    look: str = "ball"
    colours: tuple[str, ...] | None = None
    name: str = ""

    def atom_colours(self) -> list[str]:
        """The colour of each atom, as #rrggbb."""
        if self.look == "ghost":
            return [GHOST] * self.mol.GetNumAtoms()
        if self.colours:
            return list(self.colours)
        return [element_colour(atom.GetAtomicNum()) for atom in self.mol.GetAtoms()]

    def shown(self, hydrogens: bool) -> np.ndarray:
        """Which atoms are drawn, as a mask."""
        return np.array([hydrogens or atom.GetAtomicNum() != 1 for atom in self.mol.GetAtoms()])

    def bonds(self) -> list[tuple[int, int, int]]:
        """Both atoms of each bond and its order; aromatic bonds are single and double in turn."""
        mol = Chem.Mol(self.mol)
        Chem.Kekulize(mol, clearAromaticFlags=True)
        return [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondTypeAsDouble()))
            for bond in mol.GetBonds()
        ]


def facing(layers: Sequence[Layer]) -> np.ndarray:
    """The rotation (applied as ``coords @ R``) that shows the first geometry at its broadest."""
    heavy = layers[0].shown(False)
    coords = layers[0].frames[0]
    points = coords[heavy] if heavy.any() else coords
    _, _, axes = np.linalg.svd(points - points.mean(0))
    turn = axes.T if axes.shape == (3, 3) else np.eye(3)
    # The sign of a principal axis is arbitrary: this choice does not depend on the linear algebra.
    turn = turn @ np.diag(np.where(turn.sum(0) < 0, -1.0, 1.0))
    # A rotation, not a reflection: mirror images must stay what they are.
    return turn if np.linalg.det(turn) > 0 else turn @ np.diag([1.0, 1.0, -1.0])


def blend(start: str, end: str, share: float) -> str:
    """A colour between two, as #rrggbb; `share` of the way from the first to the second."""
    share = min(max(share, 0.0), 1.0)
    start_rgb = np.array([int(start[i : i + 2], 16) for i in (1, 3, 5)])
    end_rgb = np.array([int(end[i : i + 2], 16) for i in (1, 3, 5)])
    rgb = start_rgb + share * (end_rgb - start_rgb)
    return "#" + "".join(f"{int(round(channel)):02x}" for channel in rgb)


def value_colours(values: Sequence[float], limit: float, symmetric: bool) -> tuple[str, ...]:
    """Colours of atom values: from -limit over 0 to limit, or from 0 to limit.

    Missing values (NaN) are black.
    """
    colours = []
    for value in values:
        if not np.isfinite(value):
            colours.append("#000000")
        elif symmetric:
            colours.append(blend(MIDDLE, POSITIVE if value > 0 else NEGATIVE, abs(value) / limit))
        else:
            colours.append(blend(MIDDLE, NEGATIVE, value / limit))
    return tuple(colours)


def draw_layers(
    layers: Sequence[Layer],
    width: int,
    height: int,
    hydrogens: bool = True,
    labels: Sequence[str] = (),
    lines: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> str:
    """SVG of layers as they stand, seen along z from above, each in its first frame.

    Turn them by `facing` first. `labels` are of the atoms of the first layer; `lines` are dashed,
    from one point (Å) to another.
    """
    points = np.concatenate(
        [frame[layer.shown(hydrogens)] for layer in layers for frame in _drawn_frames(layer)]
    )
    low = points.min(0)
    high = points.max(0)
    middle = (low + high) / 2
    scale = min(
        (width - 50) / max(high[0] - low[0], 1.0),
        (height - 50) / max(high[1] - low[1], 1.0),
        MAX_SCALE,
    )

    def project(xyz: np.ndarray) -> np.ndarray:
        """Pixels, and how far away (0 near, 1 lost in the paper)."""
        x = width / 2 + scale * (xyz[..., 0] - middle[0])
        y = height / 2 - scale * (xyz[..., 1] - middle[1])
        depth = (high[2] - xyz[..., 2]) / DEPTH_ANGSTROM
        return np.stack([x, y, depth], -1)

    marks: list[Mark] = []
    for layer in layers:
        if layer.look == "ghost":
            marks += _ghosts(layer, project)
        else:
            marks += _atoms_and_bonds(layer, project, scale, hydrogens)
    for start, end in lines:
        a = project(np.asarray(start))
        b = project(np.asarray(end))
        line = _line(a, b, NEGATIVE, 1.6, ' stroke-dasharray="3 2"')
        marks.append((min(a[2], b[2]) - 0.02, line))
    marks.sort(key=lambda mark: -mark[0])
    drawing = "".join(svg for _, svg in marks)
    text = "".join(
        f'<text x="{x:.0f}" y="{y - 0.35 * scale:.0f}">{label}</text>'
        for (x, y, _), label in zip(project(layers[0].frames[0]), labels)
        if label
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">'
        f'<g stroke-linecap="round" fill="none">{drawing}</g>'
        f'<g font-family="Arial, sans-serif" font-size="11" fill="{INK}" text-anchor="middle" '
        f'stroke="#fff" stroke-width="2.5" paint-order="stroke">{text}</g></svg>'
    )


def _drawn_frames(layer: Layer) -> tuple[np.ndarray, ...]:
    return layer.frames if layer.look == "ghost" else layer.frames[:1]


def _line(a: np.ndarray, b: np.ndarray, colour: str, width: float, attributes: str = "") -> str:
    path = f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}"
    return f'<path d="{path}" stroke="{colour}" stroke-width="{width:.1f}"{attributes}/>'


def _ghosts(layer: Layer, project: Projection) -> list[Mark]:
    """All frames of a layer, thin, behind everything else; hydrogens are left out."""
    drawn = layer.shown(False)
    bonds = [(i, j) for i, j, _ in layer.bonds() if drawn[i] and drawn[j]]
    marks = []
    for frame in layer.frames:
        points = project(frame)
        path = "".join(
            f"M{points[i][0]:.1f} {points[i][1]:.1f}L{points[j][0]:.1f} {points[j][1]:.1f}"
            for i, j in bonds
        )
        marks.append((99.0, f'<path d="{path}" stroke="{GHOST}" stroke-width="1"/>'))
    return marks


def _atoms_and_bonds(
    layer: Layer, project: Projection, scale: float, hydrogens: bool
) -> list[Mark]:
    """Balls and half bonds of a layer with their depths."""
    points = project(layer.frames[0])
    drawn = layer.shown(hydrogens)
    colours = layer.atom_colours()
    thick = scale * (0.2 if layer.look == "ball" else 0.15)
    marks = []
    for i, j, order in layer.bonds():
        if not (drawn[i] and drawn[j]):
            continue
        middle = (points[i] + points[j]) / 2
        for atom in (i, j):
            depth = (points[atom][2] + middle[2]) / 2
            colour = blend(colours[atom], BACKGROUND, 0.8 * depth)
            # A little farther away than it is, so that balls cover the ends of their bonds.
            marks.append((depth + 0.01, _line(points[atom], middle, colour, thick)))
        if order > 1:
            # A white line along the middle makes two of one.
            marks.append((middle[2] - 0.005, _line(points[i], points[j], BACKGROUND, thick / 4)))
    for i in np.flatnonzero(drawn):
        x, y, depth = points[i]
        fill = blend(colours[i], BACKGROUND, 0.8 * depth)
        rim = ""
        radius = thick / 2
        if layer.look == "ball":
            hydrogen = layer.mol.GetAtomWithIdx(int(i)).GetAtomicNum() == 1
            radius = scale * (0.16 if hydrogen else 0.26)
            stroke = blend(blend(colours[i], INK, 0.35), BACKGROUND, 0.8 * depth)
            rim = f' stroke="{stroke}" stroke-width="1"'
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}"{rim}/>'
        marks.append((depth, circle))
    return marks
