"""The card: what it is, and how fast it multiplies matrices."""

from __future__ import annotations

import platform
import shutil
import subprocess
from typing import Any

import torch
from gpu_setting import Setting

from molnb.training.speed import time_products

N_ROW = 8192  # of the square matrices
N_ROW_ON_CPU = 256


def describe_card(setting: Setting) -> dict[str, Any]:
    """Name, memory, driver and versions, and FLOP/s of products of matrices in three precisions."""
    device = setting.device
    rates = {"bfloat16": matrix_rate(device, torch.bfloat16)}
    for name, precision in {"float32": "highest", "tf32": "high"}.items():
        torch.set_float32_matmul_precision(precision)
        rates[name] = matrix_rate(device, torch.float32)
    facts = {"name": f"CPU ({platform.machine()})", "cuda": None, "driver": None}
    if setting.on_gpu:
        properties = torch.cuda.get_device_properties(device)
        facts = {
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": driver_version(),
        }
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    in_words = ", ".join(f"{rate / 1e12:.1f} {name}" for name, rate in rates.items())
    return {
        "ok": True,
        "line": f"{facts['name']}: TFLOP/s of products of matrices {in_words}",
        **facts,
        **versions,
        "flops": rates,
    }


def driver_version() -> str | None:
    """The driver's version as nvidia-smi says it; None where it does not."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.split()
    return lines[0] if answer.returncode == 0 and lines else None


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a product of square matrices, the best of five rounds of ten."""
    return max(time_products(device, dtype, N_ROW if device.type == "cuda" else N_ROW_ON_CPU))
