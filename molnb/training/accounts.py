"""What a training cost: molecules, FLOPs and bytes; seconds, memory and energy.

What steps compute is counted from shapes (`models.products`): it is the same whenever a run is
repeated, and a resumed run goes on counting from its checkpoint. Clocks, memory and energy are
measured, in every process of a run, and joined when a checkpoint is saved.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..data.masked import Count, MaskedBatch
from ..models.model import Model
from ..models.products import Cost, add_costs
from .device import autocast
from .energy import EnergyMeter
from .speed import matrix_rate

if TYPE_CHECKING:
    from .session import Session

COMPUTED = ("molecules", *Cost._fields)  # what is counted of steps
_STATUS = Path("/proc/self/status")
_FORGET_PEAK = ("/proc/self/clear_refs", "5")  # resets VmHWM (man 5 proc)
_KEY = "computed"  # among the counts of a step
_DIGIT = 2**32  # numbers travel in two of these digits: float64 holds no whole number of 10^16


class StepAccounts:
    """Molecules, FLOPs and bytes of all steps of a run so far, in all its processes.

    FLOPs and bytes are those of matrix products on the molecules that there are, forward and
    backward, with heads; those of padding are apart (`Model.make_counter`). `totals` is None of
    what a checkpoint of an older molnb did not count.
    """

    def __init__(self, model: Model, device: torch.device, precision: str):
        self.dtype = product_dtype(model, device, precision)
        self._count = model.make_counter(device, self.dtype.itemsize)
        self.totals: dict[str, int | None] = dict.fromkeys(COMPUTED, 0)

    def count(self, groups: Sequence[MaskedBatch]) -> dict[str, Count]:
        """What a step on these groups computes, to be added up over processes with its counts."""
        cost = add_costs(map(self._count, groups))
        numbers = [sum(masked.batch.n_mol for masked in groups), *cost]
        return {_KEY: np.array([divmod(number, _DIGIT) for number in numbers], np.float64)}

    def take_from(self, counts: dict[str, Count]) -> dict[str, int]:
        """Take the sums over processes out of the counts of a step."""
        digits = counts.pop(_KEY).astype(int).tolist()
        return {name: high * _DIGIT + low for name, (high, low) in zip(COMPUTED, digits)}

    def add(self, computed: Mapping[str, int]) -> None:
        """Count a step that was made."""
        for name, total in self.totals.items():
            self.totals[name] = None if total is None else total + computed[name]

    def logged(self) -> dict[str, int | None]:
        """What a row of the metrics says: the same for equal seeds."""
        return {name: self.totals[name] for name in ("molecules", "flops")}

    def stored(self) -> dict[str, str]:
        """The totals as text, for a checkpoint."""
        return {name: str(total) for name, total in self.totals.items() if total is not None}

    def restore(self, stored: Mapping[str, str], n_molecule: int) -> None:
        """Go on from what a checkpoint stored, after `n_molecule` molecules."""
        self.totals = {name: int(stored[name]) if name in stored else None for name in COMPUTED}
        self.totals["molecules"] = n_molecule


def product_dtype(model: Model, device: torch.device, precision: str) -> torch.dtype:
    """What matrices are made of when a model trains on a device."""
    with autocast(device, precision):
        if torch.is_autocast_enabled(device.type):
            return torch.get_autocast_dtype(device.type)
    return next(model.parameters()).dtype


class RunMeter:
    """What a run costs, all its processes and sessions together, as its status has it.

    `seconds` are those of the first process; `cpu_seconds` of all, `peak_mib` the largest of them,
    and so is `kept_mib`, parameters with gradients, optimiser state and averages. `device_hours`
    are the hours of each of their devices, a GPU or a process on CPUs, `energy_wh` what these took
    (None where it cannot be read). `rate_share` is the FLOP/s of the steps of the last session,
    without padding, over those of a product of matrices (`matrix_rate`, of one device, and as many
    devices as processes). Of steps that a kill undid, time and energy count, FLOPs do not. What
    `spent` says, the status so far, is on top.
    """

    def __init__(self, session: Session, spent: Mapping[str, Any]):
        self._began = time.time()
        self._ranks = session.ranks
        self._accounts = session.accounts
        self._spent = spent
        rate = matrix_rate(session.device, session.accounts.dtype)  # takes memory: goes first
        self._own_rate = rate
        self._meter = Meter(session.device)
        self._energy = EnergyMeter(session.device)
        self._flops_before = self._accounts.totals["flops"]
        self._step_seconds = 0.0
        self._session = session
        # of each process, when last gathered
        self._read = np.array([[0.0, 0.0, 0.0, math.nan, rate]])

    @property
    def seconds_before(self) -> float:
        """Seconds of earlier sessions of the run."""
        return self._spent.get("seconds", 0.0)

    @property
    def seconds(self) -> float:
        """Seconds of all sessions of the run."""
        return self.seconds_before + time.time() - self._began

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Measures a step."""
        began = time.perf_counter()
        yield
        self._step_seconds += time.perf_counter() - began
        self._energy.look()

    def gather(self) -> dict[str, float | int | None]:
        """What the run cost so far; all its processes ask together."""
        own = self._meter.read()
        read = np.zeros((self._ranks.size, 5))
        read[self._ranks.rank] = [
            own["cpu_seconds"],
            own["peak_mib"],
            self._session.kept_mib(),
            self._energy.read(),
            self._own_rate,
        ]
        self._read = self._ranks.add({"read": read})["read"]
        return self._costs()

    def read(self) -> dict[str, float | int | None]:
        """What the run cost so far, whoever asks; of other processes what they said last."""
        return self.gather() if self._ranks.size == 1 else self._costs()

    def _costs(self) -> dict[str, float | int | None]:
        cpu_seconds, peaks, kept, energy, rates = self._read.T
        spent = self._spent
        hours = self._ranks.size * (time.time() - self._began) / 3600
        return {
            **self._accounts.totals,
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(spent.get("cpu_seconds", 0.0) + cpu_seconds.sum(), 2),
            "peak_mib": round(max(spent.get("peak_mib", 0.0), peaks.max()), 1),
            "kept_mib": round(kept.max(), 3),
            "processes": self._ranks.size,
            "device_hours": _on_top(spent, "device_hours", hours),
            "energy_wh": _on_top(spent, "energy_wh", float(energy.sum())),
            "matrix_rate": float(rates.mean()),
            "rate_share": self._rate_share(float(rates.mean()) * self._ranks.size),
        }

    def _rate_share(self, rate: float) -> float | None:
        """FLOP/s of this session's steps over a rate; before any, what the last session had."""
        now = self._accounts.totals["flops"]
        if now is None or now == self._flops_before:
            return self._spent.get("rate_share")
        return (now - self._flops_before) / self._step_seconds / rate


def _on_top(spent: Mapping[str, Any], name: str, more: float) -> float | None:
    """What a run has spent with this session; None where it, or what was before, is unknown."""
    before = spent.get(name, None if spent.get("seconds") else 0.0)
    return None if before is None or math.isnan(more) else round(before + more, 6)


class Meter:
    """Counts from where it is made, in this process.

    CPU time is that of all its threads. Memory is what the process held at most, of all
    it has loaded; where a peak cannot be reset (not Linux) it is that since the process began. On a
    GPU it is what torch had allocated there at most.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._began = time.process_time()
        _forget_peak(device)

    def read(self) -> dict[str, float]:
        """`cpu_seconds` and `peak_mib` so far."""
        seconds = time.process_time() - self._began
        return {"cpu_seconds": seconds, "peak_mib": _peak_mib(self._device)}


def _forget_peak(device: torch.device) -> None:
    """Let the peak be what is held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    file, order = _FORGET_PEAK
    with contextlib.suppress(OSError):  # another system, or a container that forbids it
        Path(file).write_text(order)


def _peak_mib(device: torch.device) -> float:
    """The most memory held, in MiB: on the device, or by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if _STATUS.exists():
        lines = _STATUS.read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(kib) / 2**10
    return _peak_of_other_systems()


def _peak_of_other_systems() -> float:
    """The peak since this process began, in MiB; 0 on Windows, which has no such count here."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
