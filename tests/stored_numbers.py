"""Numbers of the authors' own code that tests compare with: packed files, and a larger set.

The larger set lies beside the checkout where somebody keeps it there.
"""

from __future__ import annotations

import gzip
import json
import struct
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

FIXTURES = Path(__file__).parent / "fixtures"
PARITY = Path(__file__).resolve().parents[2] / "shared" / "parity"


@cache
def unpacked(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file; the test is skipped where it is not there."""
    if not file.exists():
        pytest.skip(f"{file.name} is not beside this checkout")
    packed = file.read_bytes()
    packed = gzip.decompress(packed) if file.suffix == ".gz" else packed
    header = json.loads(packed[8 : 8 + struct.unpack("<Q", packed[:8])[0]])
    return load(packed), header.get("__metadata__", {})


def below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose name begins with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
