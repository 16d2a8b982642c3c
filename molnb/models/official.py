"""The door to the authors' numbers of Uni-Mol2, also open as `molnb.models.unimol2.official`."""

from __future__ import annotations

from .unimol2.official import *  # noqa: F403
