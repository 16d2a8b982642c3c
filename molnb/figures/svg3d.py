"""Geometries drawn as plain pictures: what stands where nothing can be turned, and what a page
shows at first.

Molecules are seen along the direction in which they are flattest; what is farther away is smaller
and paler. The same orientation is what the turnable view starts with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

INK, PAPER, GHOST = "#1c2430", "#ffffff", "#b4bcc6"
CARBON = "#59626c"
ELEMENTS = {
    **{
        "H": "#c9cfd6",
        "C": CARBON,
        "N": "#2f62d8",
        "O": "#d7301f",
        "F": "#2f9e44",
        "Cl": "#1b8a3a",
        "Br": "#8c3b1f",
    },
    **{"I": "#7b2fa0", "S": "#d8a400", "P": "#e07b00", "B": "#d98880", "Si": "#a08a60"},
}
NEGATIVE, MIDDLE, POSITIVE = (
    "#D55E00",
    "#eceff1",
    "#0072B2",
)  # as in pictures of electrostatic potentials: red is minus
MAX_SCALE = 48.0  # pixels an Å: small molecules are not blown up
DEPTH_ANGSTROM = 13.0  # something this much farther away is drawn in paper colour


@dataclass(frozen=True)
class Layer:
    """A molecule of a scene, in one geometry or in several that are flipped through (`frames`, Å,
    all atoms).

    `look` is "ball" (balls and sticks), "stick", or "ghost": thin and grey, all its frames at once.
    `colours` are of atoms, by element if None; `name` is what a legend calls it.
    """

    mol: Chem.Mol
    frames: tuple[np.ndarray, ...]
    look: str = "ball"
    colours: tuple[str, ...] | None = None
    name: str = ""

    def atom_colours(self) -> list[str]:
        symbols = [atom.GetSymbol() for atom in self.mol.GetAtoms()]
        if self.look == "ghost":
            return [GHOST] * len(symbols)
        return list(self.colours or (ELEMENTS.get(symbol, "#a0309a") for symbol in symbols))

    def shown(self, hydrogens: bool) -> np.ndarray:
        """Which atoms are drawn."""
        return np.array([hydrogens or atom.GetAtomicNum() != 1 for atom in self.mol.GetAtoms()])

    def bonds(self) -> list[tuple[int, int, int]]:
        """Both atoms of each bond and its order, with aromatic rings as alternating single and
        double bonds.
        """
        mol = Chem.Mol(self.mol)
        Chem.Kekulize(mol, clearAromaticFlags=True)
        return [
            (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble()))
            for b in mol.GetBonds()
        ]


def facing(layers: Sequence[Layer]) -> np.ndarray:
    """The rotation (applied as ``coords @ R``) that shows the first geometry at its broadest."""
    seen = layers[0].shown(False)
    points = layers[0].frames[0][seen if seen.any() else slice(None)]
    _, _, axes = np.linalg.svd(points - points.mean(0))
    turn = axes.T if axes.shape == (3, 3) else np.eye(3)
    turn = turn @ np.diag(
        np.where(turn.sum(0) < 0, -1.0, 1.0)
    )  # a sign that does not depend on the linear algebra
    return turn if np.linalg.det(turn) > 0 else turn @ np.diag([1.0, 1.0, -1.0])


def blend(start: str, end: str, share: float) -> str:
    """A colour between two, as #rrggbb; `share` of the way from the first to the second."""
    share = min(max(share, 0.0), 1.0)
    one, two = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (start, end))
    return "#" + "".join(f"{int(round(v)):02x}" for v in one + share * (two - one))


def value_colours(values: Sequence[float], limit: float, symmetric: bool) -> tuple[str, ...]:
    """Colours of atom values: from -limit over 0 to limit, or from 0 to limit. Missing values
    are black.
    """
    found = []
    for value in values:
        if not np.isfinite(value):
            found.append("#000000")
        elif symmetric:
            found.append(blend(MIDDLE, POSITIVE if value > 0 else NEGATIVE, abs(value) / limit))
        else:
            found.append(blend(MIDDLE, NEGATIVE, value / limit))
    return tuple(found)


def draw_layers(
    layers: Sequence[Layer],
    width: int,
    height: int,
    hydrogens: bool = True,
    labels: Sequence[str] = (),
    lines: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> str:
    """SVG of layers as they stand (turn them by `facing` first), seen along z from above, each
    in its first frame.
    """
    points = np.concatenate(
        [f[one.shown(hydrogens)] for one in layers for f in one.frames[: _n_drawn(one)]]
    )
    low, high = points.min(0), points.max(0)
    scale = min(
        (width - 50) / max(high[0] - low[0], 1.0),
        (height - 50) / max(high[1] - low[1], 1.0),
        MAX_SCALE,
    )
    middle = (low + high) / 2

    def place(xyz: np.ndarray) -> np.ndarray:
        """Pixels, and how far away (0 near, 1 lost in the paper)."""
        x = width / 2 + scale * (xyz[..., 0] - middle[0])
        y = height / 2 - scale * (xyz[..., 1] - middle[1])
        return np.stack([x, y, (high[2] - xyz[..., 2]) / DEPTH_ANGSTROM], -1)

    marks: list[tuple[float, str]] = []
    for layer in layers:
        marks += (
            _ghosts(layer, place)
            if layer.look == "ghost"
            else _atoms_and_bonds(layer, place, scale, hydrogens)
        )
    for start, end in lines:
        a, b = place(np.asarray(start)), place(np.asarray(end))
        marks.append(
            (min(a[2], b[2]) - 0.02, _line(a, b, NEGATIVE, 1.6, ' stroke-dasharray="3 2"'))
        )
    marks.sort(key=lambda mark: -mark[0])
    text = "".join(
        f'<text x="{x:.0f}" y="{y - 0.35 * scale:.0f}">{label}</text>'
        for (x, y, _), label in zip(place(layers[0].frames[0]), labels)
        if label
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<g stroke-linecap="round" fill="none">{"".join(svg for _, svg in marks)}</g>'
        f'<g font-family="Arial, sans-serif" font-size="11" fill="{INK}" text-anchor="middle" stroke="#fff" '
        f'stroke-width="2.5" paint-order="stroke">{text}</g></svg>'
    )


def _n_drawn(layer: Layer) -> int | None:
    return None if layer.look == "ghost" else 1


def _line(a: np.ndarray, b: np.ndarray, colour: str, width: float, more: str = "") -> str:
    path = f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}"
    return f'<path d="{path}" stroke="{colour}" stroke-width="{width:.1f}"{more}/>'


def _ghosts(layer: Layer, place) -> list[tuple[float, str]]:
    """All frames of a layer, thin, behind everything else; hydrogens are left out."""
    seen, marks = layer.shown(False), []
    bonds = [(i, j) for i, j, _ in layer.bonds() if seen[i] and seen[j]]
    for frame in layer.frames:
        at = place(frame)
        path = "".join(
            f"M{at[i][0]:.1f} {at[i][1]:.1f}L{at[j][0]:.1f} {at[j][1]:.1f}" for i, j in bonds
        )
        marks.append((99.0, f'<path d="{path}" stroke="{GHOST}" stroke-width="1"/>'))
    return marks


def _atoms_and_bonds(layer: Layer, place, scale: float, hydrogens: bool) -> list[tuple[float, str]]:
    """Balls and half bonds with their depth; what is behind comes first once they are sorted."""
    at, seen, colours = place(layer.frames[0]), layer.shown(hydrogens), layer.atom_colours()
    thick = scale * (0.2 if layer.look == "ball" else 0.15)
    marks = []
    for i, j, order in layer.bonds():
        if not (seen[i] and seen[j]):
            continue
        half = (at[i] + at[j]) / 2
        for end, colour in ((i, colours[i]), (j, colours[j])):
            depth = (at[end][2] + half[2]) / 2
            marks.append(
                (depth + 0.01, _line(at[end], half, blend(colour, PAPER, 0.8 * depth), thick))
            )
        if order > 1:
            depth = half[2]
            marks.append((depth - 0.005, _line(at[i], at[j], PAPER, thick / 4)))
    for i in np.flatnonzero(seen):
        radius = scale * (0.16 if layer.mol.GetAtomWithIdx(int(i)).GetAtomicNum() == 1 else 0.26)
        if layer.look != "ball":
            radius = thick / 2
        x, y, depth = at[i]
        fill, rim = (
            blend(colours[i], PAPER, 0.8 * depth),
            blend(blend(colours[i], INK, 0.35), PAPER, 0.8 * depth),
        )
        rim = f' stroke="{rim}" stroke-width="1"' if layer.look == "ball" else ""
        marks.append(
            (depth, f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}"{rim}/>')
        )
    return marks
