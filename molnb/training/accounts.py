"""What a training cost: CPU time, and the most memory that its process held."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_FORGET_PEAK = ("/proc/self/clear_refs", "5")  # resets VmHWM (man 5 proc)


class Meter:
    """Counts from where it is made, on top of what an interrupted run had spent before.

    CPU time is that of all threads of this process. Memory is what the process held at most, of all
    it has loaded; where a peak cannot be reset (not Linux) it is that since the process began. On a
    GPU it is what torch had allocated there at most.
    """

    def __init__(self, device: torch.device, spent: dict):
        self._device = device
        self._cpu_before = spent.get("cpu_seconds", 0.0)
        self._peak_before = spent.get("peak_mib", 0.0)
        self._began = time.process_time()
        _forget_peak(device)

    def read(self) -> dict[str, float]:
        """`cpu_seconds` and `peak_mib` so far, as a run's status has them."""
        seconds = self._cpu_before + time.process_time() - self._began
        peak = max(self._peak_before, _peak_mib(self._device))
        return {"cpu_seconds": round(seconds, 2), "peak_mib": round(peak, 1)}


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
