"""What a row of `gpu.py` is told, and how it says that it cannot be measured here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch


class Skipped(Exception):
    """A row that cannot be measured here, with the reason."""


class Setting(NamedTuple):
    """Where a row reads and writes, and what it measures."""

    data: Path  # folder of shards
    scratch: Path  # for what is deleted afterwards
    device: torch.device
    atoms: int  # heavy atoms of the molecules that steps are timed on
    batch: int  # and how many
    steps: int  # of each run that is resumed
    reference: Path | None
    core: Path | None

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU that computes; a CPU computes the same, for tests."""
        return self.device.type == "cuda"


def wait(device: torch.device) -> None:
    """Return when a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
