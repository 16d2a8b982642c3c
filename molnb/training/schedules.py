"""The learning rate of each step: a rise, perhaps a stretch at which it is constant, and a fall.

"linear" is the paper's: it falls from the end of the rise on, with a `decay_power` of 1 linearly,
and every number of steps is a run of its own. "stable" stays where it is until the last
`decay_steps` (warm-up, stable, decay: Hu et al. 2024, arXiv 2404.06395), so one run passes through
the beginning of all shorter ones, which only have to fall from its checkpoints (`branches`). A fall
over a fifth of the steps ends about where a schedule made for that number of steps does (Hägele et
al. 2024, arXiv 2405.18392).
"""

from __future__ import annotations

from .config import RunConfig


def learning_rate(config: RunConfig, step: int) -> float:
    """The rate of a step (from 0), that of a parameter whose share is one."""
    rise = (step + 1) / max(config.warmup_steps, 1)
    left = (config.steps - step) / max(config.n_fall, 1)
    fall = min(max(left, 0.0), 1.0) ** config.decay_power
    return config.learning_rate * min(rise, fall)


def fall_begins(config: RunConfig) -> int:
    """How many steps there are before the rate falls."""
    return config.steps - config.n_fall
