"""The processes that train a run together, as torchrun starts them, and what they add up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..data.masked import Count
from ..errors import InputError

PATIENCE = timedelta(minutes=30)  # with a process that says nothing; the first step may compile
BUCKET = 2**25  # numbers of gradients that are added at once: 128 MiB of float32


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is. What one adds, all have; alone, nothing is sent.

    Each takes some of the hands that the molecules of a step are dealt into (`deal`), so how many
    processes there are decides who computes what, and nothing else.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes the run's folder."""
        return self.rank == 0

    def share(self, items: Sequence) -> list:
        """What of some things in a row this process takes."""
        return list(items[self.rank :: self.size])

    def add(self, numbers: Mapping[str, Count | Tensor]) -> dict[str, Count]:
        """Numbers or arrays by name, each the sum over all processes; all have the same names."""
        if self.size == 1:
            return dict(numbers)
        arrays = [_as_array(value) for value in numbers.values()]
        flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
        dist.all_reduce(flat)
        ends = np.cumsum([array.size for array in arrays])
        parts = np.split(flat.numpy(), ends[:-1])
        return {
            name: part.reshape(array.shape) if array.ndim else float(part[0])
            for name, part, array in zip(numbers, parts, arrays, strict=True)
        }

    def add_sums(
        self, sums: Mapping[str, Tensor], counts: Mapping[str, Count]
    ) -> dict[str, Tensor | Count]:
        """Sums by name over all processes, of which one may lack what another has a label for.

        `counts` have the shapes, and all names that there may be.
        """
        if self.size == 1:
            return dict(sums)
        shaped = {name: sums.get(name, 0.0 * count) for name, count in counts.items()}
        has = np.array([float(name in sums) for name in counts])
        added = self.add({**shaped, "": has})
        return {name: added[name] for name, n in zip(counts, added[""], strict=True) if n}

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Let every parameter have the sum of its gradients over all processes.

        One that has no gradient in any of them has none after it.
        """
        if self.size == 1:
            return
        has = torch.tensor([float(p.grad is not None) for p in parameters], dtype=torch.float64)
        dist.all_reduce(has)
        present = [p for p, n in zip(parameters, has.tolist(), strict=True) if n]
        for bucket in _buckets(present):
            parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([part.reshape(-1) for part in parts])
            dist.all_reduce(flat)
            for parameter, part in zip(bucket, flat.split([p.numel() for p in bucket])):
                parameter.grad = part.view_as(parameter)

    def join_flags(self, buffers: Iterable[Tensor]) -> None:
        """Let boolean buffers, as of features that were seen, be true where any process has it."""
        for buffer in buffers if self.size > 1 else ():
            if buffer.dtype == torch.bool:
                flags = buffer.to(torch.uint8)
                dist.all_reduce(flags, dist.ReduceOp.MAX)
                buffer.copy_(flags.bool())

    def most(self, number: int) -> int:
        """The largest of the numbers that processes have."""
        if self.size == 1:
            return number
        largest = torch.tensor(number)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def agree(self, yes: bool) -> bool:
        """Whether the first process says so: what is read from a folder, one decides."""
        if self.size == 1:
            return yes
        said = torch.tensor([float(yes)])
        dist.broadcast(said, 0)
        return bool(said)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()

    def from_first(self, make: Callable[[], str]) -> str:
        """What the first process makes, such as a folder; where it refuses, all do."""
        outcome: list[str | None] = [None, None]  # what was made, why it was refused
        if self.is_first:
            try:
                outcome[0] = make()
            except InputError as error:
                outcome[1] = str(error)
        dist.broadcast_object_list(outcome, 0)
        if outcome[1] is not None:
            raise InputError(outcome[1])
        return outcome[0]


def current() -> Ranks:
    """The processes that are connected now (`joined`); this one alone where none are."""
    return Ranks(dist.get_rank(), dist.get_world_size()) if is_connected() else Ranks()


def is_connected() -> bool:
    """Whether this process is connected to others, or to itself."""
    return dist.is_available() and dist.is_initialized()


def _as_array(value: Count | Tensor) -> np.ndarray:
    """A number, array or tensor as float64."""
    if isinstance(value, Tensor):
        value = value.double().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters in a row, of one kind of number and not above `BUCKET` of them together."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        full = size + parameter.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
            size = 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket


def world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process on its machine: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def joined(device: torch.device, always: bool = False) -> Iterator[Ranks]:
    """The processes that torchrun started, connected while the block runs; alone without it.

    With `always` one process too is connected to itself, as what splits a model expects.
    """
    if is_connected() or (world_size() == 1 and not always):
        yield current()
        return
    backend = "gloo"
    if device.type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        if device.index is not None:  # what collects split blocks computes on the current one
            torch.cuda.set_device(device)
    if world_size() == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    else:
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield current()
        dist.barrier()  # a process whose connections break while it ends may be aborted
    finally:
        dist.destroy_process_group()


def check_hands(n_hand: int, size: int) -> None:
    """Raise InputError where some process would have nothing to do."""
    if size > n_hand:
        raise InputError(
            f"{size} processes would share {n_hand} of the hands that a step is dealt into, and a "
            f"run keeps its number: use at most {n_hand}, or start another with --set hands {size}"
        )


_LOST = ("closed by peer", "reset by peer", "timed out", "timeout", "remote process exited")


def explain_lost(error: RuntimeError) -> str | None:
    """In words that another process, or the GPU, is gone; None for an error of another kind."""
    said = str(error)
    if current().size > 1 and any(sign in said.lower() for sign in _LOST):
        return (
            "a process of this training is gone, or could not be reached any more. The last "
            "checkpoint is untouched: start the same command again, with as many processes or fewer"
        )
    if "CUDA error" in said or "device-side assert" in said:
        first = said.splitlines()[0]
        return (
            f"the GPU is gone ({first}). The last checkpoint is untouched: start the same command "
            "again in a new process"
        )
    return None
