"""Devices: what is asked for is there, or refused."""

from __future__ import annotations

import pytest
import torch

from molnb.errors import InputError
from molnb.training.device import choose_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    message = "'cuda' asked for, but torch .* sees no GPU: use --device cpu"
    with pytest.raises(InputError, match=message):
        choose_device("cuda")
