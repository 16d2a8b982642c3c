"""The average of a run's weights over its steps, which is steadier than the weights of one step.

With weights w after each step and decay d, the average a becomes d a + (1 - d) w. The first steps
count more, d being at most (1 + t) / (10 + t) after t steps before, so that weights as they were
before training soon have no part in it.

It costs 4 bytes a parameter that learns, in memory and in checkpoints (where weights and moments of
AdamW have 12), one more pass over the weights a step (0.3 ms for the 0.25M laptop model, 6 ms for
10M, on one CPU core), and a copy of them before and after each validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import InputError
from ..models.model import Model
from .checkpoints import AVERAGE, below
from .sharding import own_part


class Average:
    """The exponential moving average of the parameters of a model that learn.

    It is kept as the parameters are: in float32 (float64 in a run that computes in it), and split
    over processes where they are split.
    """

    def __init__(self, model: Model, decay: float):
        self.decay = decay
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._averages = {n: p.detach().clone() for n, p in self._parameters.items()}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The averages as a checkpoint names them."""
        return {AVERAGE + name: average for name, average in self._averages.items()}

    @torch.no_grad()
    def add(self, step: int) -> None:
        """Take in the weights that a step (from 0) has left."""
        decay = average_decay(self.decay, step)
        averages = [own_part(average) for average in self._averages.values()]
        weights = [own_part(parameter) for parameter in self._parameters.values()]
        torch._foreach_lerp_(averages, weights, 1.0 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the model has the average as its weights; afterwards its own, to the bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        """Let the values of weights and averages trade places, a tensor at a time."""
        for name, parameter in self._parameters.items():
            weights = own_part(parameter)
            average = own_part(self._averages[name])
            kept = weights.clone()
            weights.copy_(average)
            average.copy_(kept)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], origin: str) -> None:
        """Go on from the averages of a checkpoint; raises InputError where it has others."""
        stored = below(AVERAGE, tensors)
        for name, average in self._averages.items():
            if name not in stored or stored[name].shape != average.shape:
                raise InputError(
                    f"{origin} has no average of {name}: it is of a run without ema_decay, or of "
                    "another model. Train without ema_decay, or give the run another folder"
                )
            own_part(average).copy_(own_part(stored[name]))


def average_decay(decay: float, step: int) -> float:
    """What a step (from 0) leaves of the average before it."""
    return min(decay, (1 + step) / (10 + step))
