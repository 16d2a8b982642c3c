"""Weights and optimiser state as safetensors files, which are there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..errors import InputError
from ..files import writing
from ..models.model import Model

N_KEPT = 2  # checkpoints
BEST = "best.safetensors"
_STEPS = "step-*.safetensors"


class Writer:
    """Writes in the background, one thing after another; what fails is raised at the next wait.

    For use in a `with` statement, whose end waits for what is still being written.
    """

    def __init__(self):
        self._thread = ThreadPoolExecutor(1, "molnb-writer")
        self._under_way: Future | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown(wait=True)

    def start(self, write: Callable[[], None]) -> None:
        """Write something, once what was under way is written."""
        self.wait()
        self._under_way = self._thread.submit(write)

    def wait(self) -> None:
        """Wait for what is under way; raises what went wrong with it."""
        under_way = self._under_way
        self._under_way = None
        if under_way is not None:
            under_way.result()


class Checkpoint(NamedTuple):
    """Tensors after a number of steps, and what else was noted of them, as text."""

    step: int
    tensors: dict[str, torch.Tensor]
    noted: dict[str, str]


def load_weights(model: Model, file: Path) -> None:
    """Fill a model from a safetensors file.

    Raises InputError for a damaged file, and naming the first tensor that does not fit.
    """
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise InputError(
            f"{file} is damaged ({error}): use an earlier checkpoint, or train again"
        ) from None
    check_fit(model, stored, str(file))
    model.load_state_dict(stored)


def check_fit(model: Model, stored: dict[str, torch.Tensor], origin: str) -> None:
    """Raise InputError, naming the first tensor that is missing, unknown or of another shape."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | stored.keys()):
        shapes = [
            str(tuple(tensors[name].shape)) if name in tensors else "absent"
            for tensors in (stored, expected)
        ]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{origin} belongs to another model: {name} is {shapes[0]} there and {shapes[1]} "
                "in this one. Delete the folder, or give the run another one"
            )


def write_checkpoint(
    folder: Path, step: int, tensors: dict[str, torch.Tensor], noted: Mapping[str, str] = {}
) -> None:
    """Keep weights, optimiser state and notes after `step` steps; the last two are kept."""
    folder.mkdir(exist_ok=True)
    metadata = {**noted, "step": str(step)}
    write_tensors(tensors, folder / f"step-{step:09d}.safetensors", metadata)
    for old in sorted(folder.glob(_STEPS))[:-N_KEPT]:
        old.unlink()


def write_weights(model: Model, file: Path) -> None:
    """Write a model's weights alone."""
    write_tensors(model.state_dict(), file)


def copy_to_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies that training does not change any more."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def write_tensors(
    tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors by name, whole or not at all."""
    try:
        with writing(file) as partial:
            on_cpu = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
            save_file(on_cpu, partial, metadata or {})
    except SafetensorError as error:  # how safetensors reports a full disk
        raise InputError(
            f"{file} could not be written ({error}): free some space and start the same command "
            "again, it goes on from the last checkpoint"
        ) from None


def last_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; None where there is none."""
    for file in sorted(folder.glob(_STEPS), reverse=True):
        try:
            with safe_open(file, "pt") as opened:
                noted = opened.metadata()
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}
                return Checkpoint(int(noted.pop("step")), tensors, noted)
        except (SafetensorError, OSError):
            continue
    return None
