"""The energy that a device took, where the machine lets a program read its counters."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from .ranks import local_rank

POWERCAP = Path("/sys/class/powercap")
LOOK_SECONDS = 60.0  # between two looks: a counter of 262 kJ runs over after 22 minutes at 200 W
_JOULES = 3600.0  # of a watt hour
_NVML = "libnvidia-ml.so.1"

Counter = Callable[[], float]  # joules since it was made; NaN where they cannot be read


class EnergyMeter:
    """Watt hours from where it is made: of a GPU, or of the processors of this machine.

    Those are counted for everything that computes there, other programs too; of several processes
    on a machine without a GPU the first counts them. `counter` stands for the machine's in tests.
    """

    def __init__(self, device: torch.device, counter: Counter | None = None):
        self._counter = counter or open_counter(device)
        self._looked = time.monotonic()

    def look(self) -> None:
        """Read counters that run over, now and then; to be called often."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self.read()

    def read(self) -> float:
        """Watt hours so far; NaN where they cannot be read."""
        self._looked = time.monotonic()
        return self._counter() / _JOULES


def open_counter(device: torch.device) -> Counter:
    """The energy counter of a device."""
    if device.type == "cuda":
        return gpu_counter(device)
    if device.type != "cpu":
        return _unreadable
    return processor_counter() if local_rank() == 0 else _nothing


def _unreadable() -> float:
    return math.nan


def _nothing() -> float:
    """What a process adds where another one counts for all of the machine."""
    return 0.0


def gpu_counter(device: torch.device) -> Counter:
    """The counter of a GPU, by NVIDIA's library for its management (NVML)."""
    properties = torch.cuda.get_device_properties(device)
    try:
        library = ctypes.CDLL(_NVML)
    except OSError:
        return _unreadable
    return nvml_counter(library, f"GPU-{getattr(properties, 'uuid', '')}")


def nvml_counter(library: Any, uuid: str) -> Counter:
    """The counter of the GPU with this identity, which is its own whatever GPUs are visible."""
    handle = ctypes.c_void_p()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(
        uuid.encode(), ctypes.byref(handle)
    ):
        return _unreadable

    def millijoules() -> float:
        """Since the driver was loaded; older GPUs, and parts of one, have no such counter."""
        total = ctypes.c_ulonglong()
        failed = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(total))
        return math.nan if failed else float(total.value)

    began = millijoules()
    return lambda: (millijoules() - began) / 1e3


def processor_counter(folder: Path = POWERCAP) -> Counter:
    """The counters of all processors (RAPL) together, as Linux shows them to whom it trusts."""
    try:
        packages = [_Package(path) for path in _packages(folder)]
    except (OSError, ValueError):
        packages = []
    return _Sum(packages) if packages else _unreadable


def _packages(folder: Path) -> Sequence[Path]:
    """Folders of whole processors; their parts are counted in them."""
    paths = sorted(folder.glob("intel-rapl:*"))
    whole = [path for path in paths if path.name.count(":") == 1]
    return [path for path in whole if (path / "name").read_text().startswith("package")]


class _Package:
    """A processor's counter of microjoules, which begins at 0 again after its largest number."""

    def __init__(self, path: Path):
        self._file = path / "energy_uj"
        self._range = int((path / "max_energy_range_uj").read_text())
        self._last = int(self._file.read_text())
        self._total = 0

    def microjoules(self) -> int:
        now = int(self._file.read_text())
        self._total += now - self._last + (self._range if now < self._last else 0)
        self._last = now
        return self._total


class _Sum:
    """Joules of several processors together."""

    def __init__(self, packages: Sequence[_Package]):
        self._packages = packages

    def __call__(self) -> float:
        try:
            return sum(package.microjoules() for package in self._packages) / 1e6
        except (OSError, ValueError):
            return math.nan
