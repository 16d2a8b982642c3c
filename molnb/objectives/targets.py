"""Tasks as they are learnt: their labels, and the scale of each over training rows."""

from __future__ import annotations

from typing import NamedTuple


class ScaledTask(NamedTuple):
    """A group of label columns with one head: what their scale was on training rows, and how they
    are scored.

    `mean` and `scale` are one number a label, in its unit; binary labels have mean 0 and scale 1.
    """

    name: str
    level: str
    kind: str
    loss: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
