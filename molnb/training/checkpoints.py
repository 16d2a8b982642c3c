"""Weights and optimiser state as safetensors, written beside and renamed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..errors import InputError
from ..files import writing
from ..models.model import Model

if TYPE_CHECKING:
    from .runs import Run


def load_weights(model: Model, file: Path) -> None:
    """Fill a model from a safetensors file; raises InputError, naming the first tensor that does
    not fit.
    """
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise InputError(
            f"{file} is damaged ({error}): use an earlier checkpoint, or train again"
        ) from None
    expected = model.state_dict()
    for name in sorted(expected.keys() | stored.keys()):
        here, there = expected.get(name), stored.get(name)
        if here is None or there is None or here.shape != there.shape:
            shapes = [str(tuple(t.shape)) if t is not None else "absent" for t in (there, here)]
            raise InputError(
                f"{file} belongs to another model: {name} is {shapes[0]} there and {shapes[1]} in this one"
            )
    model.load_state_dict(stored)


def write_checkpoint(run: Run, step: int, tensors: dict[str, torch.Tensor], keep: int = 2) -> None:
    """Weights and optimiser state after `step` steps, written beside and renamed: a kill leaves
    the older one whole.
    """
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    file = folder / f"step-{step:09d}.safetensors"
    _save(tensors, file, {"step": str(step)})
    for old in sorted(folder.glob("step-*.safetensors"))[:-keep]:
        old.unlink()


def write_weights(run: Run, model: Model) -> None:
    """The model's weights alone, as `weights.safetensors`."""
    _save(model.state_dict(), run.path / "weights.safetensors", {})


def _save(tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str]) -> None:
    try:
        with writing(file) as partial:
            save_file(
                {k: v.detach().contiguous().cpu() for k, v in tensors.items()}, partial, metadata
            )
    except SafetensorError as error:  # how safetensors reports a full disk
        raise InputError(
            f"{file} could not be written ({error}): free some space and start the same command again, "
            "it goes on from the last checkpoint"
        ) from None


def write_best(run: Run, step: int, tensors: dict[str, torch.Tensor]) -> None:
    """The weights with the lowest validation loss so far."""
    _save(tensors, run.path / "checkpoints" / "best.safetensors", {"step": str(step)})


def last_checkpoint(run: Run) -> tuple[int, dict[str, torch.Tensor]] | None:
    """Step and tensors of the newest checkpoint that is whole; None where there is none."""
    for file in sorted((run.path / "checkpoints").glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(file, "pt") as opened:
                return int(opened.metadata()["step"]), {
                    k: opened.get_tensor(k) for k in opened.keys()
                }
        except (SafetensorError, OSError):
            continue
    return None
