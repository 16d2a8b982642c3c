"""Weights and optimiser state as safetensors files, which are there whole or not at all.

A run whose blocks are split over processes keeps a folder of such files at each step
(`sharding`); either kind of run goes on from either kind of checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..errors import InputError
from ..files import write_json, writing
from ..models.model import Model
from .sharding import Sharding, cut, read_parts, write_parts

N_KEPT = 2  # checkpoints, besides those that are kept for good
BEST = "best.safetensors"
# how the names of weights begin, and of their averages, among all that is kept
MODEL = "model."
AVERAGE = "average."
_ALIGNMENT = 64  # bytes, a multiple of every number's
_PARTIAL = "partial-"
_ABOUT = "checkpoint.json"  # beside parts


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


class Snapshot(NamedTuple):
    """Copies of tensors on the CPU, and what waits until they are there."""

    tensors: dict[str, torch.Tensor]
    wait: Callable[[], None]


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
    folder: Path,
    step: int,
    tensors: dict[str, torch.Tensor],
    noted: Mapping[str, str] = {},
    keep_every: int | None = None,
) -> None:
    """Keep weights, optimiser state and notes after `step` steps.

    The last two checkpoints are kept, and those at multiples of `keep_every`.
    """
    folder.mkdir(exist_ok=True)
    write_tensors(tensors, folder / f"{_name(step)}.safetensors", {**noted, "step": str(step)})
    _forget_old(folder, keep_every)


def write_sharded_checkpoint(
    folder: Path,
    step: int,
    tensors: dict[str, torch.Tensor],
    sharding: Sharding,
    noted: Mapping[str, str] = {},
    keep_every: int | None = None,
) -> None:
    """The same of a run whose blocks are split: a folder to which each process adds its part.

    All processes call this together.
    """
    partial = folder / f"{_PARTIAL}{_name(step)}"
    write_parts(partial, tensors, sharding)
    if sharding.writing.get_rank() == 0:
        write_json({**noted, "step": str(step)}, partial / _ABOUT)
        place = folder / _name(step)
        shutil.rmtree(place, ignore_errors=True)  # of a step that is trained anew
        partial.rename(place)
        _forget_old(folder, keep_every)


def export_weights(folder: Path, step: int, file: Path) -> None:
    """Write the weights that a checkpoint of several parts holds as one file."""
    stored = read_parts(folder / _name(step), prefix=(MODEL, AVERAGE))
    write_tensors(judged_weights(stored), file)


def judged_weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint that are scored and handed out, by the parameters' names.

    Those are the averages, of what has one.
    """
    return below(MODEL, tensors) | below(AVERAGE, tensors)


def below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose name begins with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _name(step: int) -> str:
    """What a checkpoint is called; names are in the order of steps."""
    return f"step-{step:09d}"


def _step_of(path: Path) -> int:
    """The step of a checkpoint, from what it is called."""
    return int(path.name.partition(".")[0].removeprefix("step-"))


def _newest_first(folder: Path) -> list[Path]:
    """Checkpoints, files and folders."""
    return sorted(folder.glob("step-*"), key=_step_of, reverse=True)


def kept_steps(folder: Path) -> list[int]:
    """The steps of which there are checkpoints, ascending."""
    return sorted({_step_of(path) for path in folder.glob("step-*")})


def _forget_old(folder: Path, keep_every: int | None) -> None:
    """Remove checkpoints but the last and those for good, and what of one was not finished."""
    old_ones = _newest_first(folder)[N_KEPT:]
    if keep_every is not None:
        old_ones = [path for path in old_ones if _step_of(path) % keep_every]
    for old in [*old_ones, *folder.glob(f"{_PARTIAL}*")]:
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


def write_weights(model: Model, file: Path) -> None:
    """Write a model's weights alone."""
    write_tensors(model.state_dict(), file)


def copy_to_cpu(tensors: Mapping[str, torch.Tensor]) -> Snapshot:
    """Copies on the CPU that training does not change any more.

    A GPU makes them between two steps and nobody waits meanwhile: they are ordered before whatever
    changes the tensors next, and go into one piece of page-locked memory, which torch keeps for the
    next checkpoint once they are written.
    """
    gpu = next((tensor.device for tensor in tensors.values() if tensor.is_cuda), None)
    sizes = [-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in tensors.values()]
    memory = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=gpu is not None)
    copies = {}
    for (name, tensor), place in zip(tensors.items(), memory.split(sizes), strict=True):
        copy = place[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        copies[name] = copy.copy_(tensor.detach(), non_blocking=True)
    if gpu is None:
        return Snapshot(copies, lambda: None)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(gpu))
    return Snapshot(copies, copied.synchronize)


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


def last_checkpoint(
    folder: Path,
    places: Mapping[str, torch.Tensor] | None = None,
    sharding: Sharding | None = None,
) -> Checkpoint | None:
    """The newest checkpoint that is whole; None where there is none.

    With `sharding`, of tensors that are split in `places` the part of this process alone, whether
    the checkpoint was written in parts or not.
    """
    for path in _newest_first(folder):
        try:
            return _read_checkpoint(path, places or {}, sharding)
        except (SafetensorError, OSError):
            continue
    return None


def checkpoint_at(
    folder: Path,
    step: int,
    places: Mapping[str, torch.Tensor] | None = None,
    sharding: Sharding | None = None,
) -> Checkpoint:
    """The checkpoint after so many steps, read as `last_checkpoint` reads it.

    Raises InputError where there is none, saying which there are, and where it is damaged.
    """
    check_kept(folder, step)
    path = next(path for path in _newest_first(folder) if _step_of(path) == step)
    try:
        return _read_checkpoint(path, places or {}, sharding)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): use another checkpoint") from None


def check_kept(folder: Path, step: int) -> None:
    """Raise InputError where there is no checkpoint of a step, saying of which there are."""
    steps = kept_steps(folder)
    if step not in steps:
        there = ", ".join(f"{kept:,}" for kept in steps) or "none"
        raise InputError(
            f"{folder} has no checkpoint of step {step:,} (there are: {there}). A run keeps those "
            "at multiples of its keep_every, and its last two: name one of them"
        )


def _read_checkpoint(
    path: Path, places: Mapping[str, torch.Tensor], sharding: Sharding | None
) -> Checkpoint:
    """A checkpoint of one file, or of a folder of parts."""
    if not path.is_dir():
        return _read_file(path, places, sharding)
    noted = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
    return Checkpoint(int(noted.pop("step")), read_parts(path, places, sharding), noted)


def _read_file(
    file: Path, places: Mapping[str, torch.Tensor], sharding: Sharding | None
) -> Checkpoint:
    """A checkpoint of one file."""
    tensors = {}
    with safe_open(file, "pt") as opened:
        for name in opened.keys():
            tensor = opened.get_tensor(name)
            place = places.get(name)
            if sharding is not None and place is not None and place.shape == tensor.shape:
                tensor = cut(tensor, place, sharding)
            tensors[name] = tensor
        noted = opened.metadata()
        return Checkpoint(int(noted.pop("step")), tensors, noted)
