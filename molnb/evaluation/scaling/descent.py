"""Fits of sums of powers to logarithms of losses, many at once: from other starts, to other runs.

A law is a sum of terms; in logarithms a term is a line, log A - a log N, and the law the logarithm
of a sum of exponentials. So derivatives are simple: the share that a term has of the loss, times 1
or log N. Residuals count by their square where they are near, else by their size (Huber). Each step
solves the weighted least squares that touch this loss from above (Gauss and Newton, with
Levenberg's damping). Hundreds of fits take it together, which is what intervals are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...shapes import Bool, Float, Int

OVERSTEP = 1.5  # the squares lie above the loss, so a step to their lowest point is a short one
MAX_STEPS = 200
TOLERANCE = 1e-9  # relative gain of a step that is the last
_DAMPING = 1e-3  # at the beginning
_MOST_DAMPING = 1e8
_TINY = 1e-300


class Lines(NamedTuple):
    """A law in logarithms at the points that it is fitted to.

    `x` are logarithms of what the terms are powers of, zero for a constant; `sloped` are the
    numbers of the terms that have an exponent. Parameters are the heights of all lines, then the
    exponents of the sloped ones; `low` and `high` bound them.
    """

    x: Float[np.ndarray, "term point"]
    sloped: Int[np.ndarray, " slope"]
    low: Float[np.ndarray, " parameter"]
    high: Float[np.ndarray, " parameter"]


def keep_terms(lines: Lines, kept: Sequence[int]) -> Lines:
    """The same of a law that has some of the terms alone."""
    n_term = len(lines.x)
    sloped = [number for number in kept if number in lines.sloped]
    of_slopes = [n_term + lines.sloped.tolist().index(number) for number in sloped]
    chosen = [*kept, *of_slopes]
    places = np.array([list(kept).index(number) for number in sloped], np.int64)
    return Lines(lines.x[list(kept)], places, lines.low[chosen], lines.high[chosen])


class Found(NamedTuple):
    """Where fits ended, and Huber's loss of all residuals there."""

    parameters: Float[np.ndarray, "draw parameter"]
    objective: Float[np.ndarray, " draw"]


class _At(NamedTuple):
    """Laws at some parameters: residuals of log losses, shares of the terms, the objective."""

    residuals: Float[np.ndarray, "draw point"]
    shares: Float[np.ndarray, "draw term point"]
    objective: Float[np.ndarray, " draw"]

    def chosen(self, which: np.ndarray) -> _At:
        """Some of the laws."""
        return _At(*(values[which] for values in self))

    def replaced(self, which: np.ndarray, other: _At) -> _At:
        """The same, but for some laws that are as others are."""
        if which.all():
            return other
        for values, new in zip(self, other):
            values[which] = new[which]
        return self


def log_losses(
    lines: Lines, parameters: Float[np.ndarray, "draw parameter"]
) -> Float[np.ndarray, "draw point"]:
    """Logarithms of the losses that laws give at the points."""
    return _log_sum(lines, parameters)[0]


def descend(
    lines: Lines,
    starts: Float[np.ndarray, "draw parameter"],
    log_loss: Float[np.ndarray, "... point"],
    weights: Float[np.ndarray, "... point"],
    delta: float,
    max_steps: int = MAX_STEPS,
    tolerance: float = TOLERANCE,
) -> Found:
    """Fit a law from each start, to the same logarithms of losses or to some of its own.

    Points count as often as their weights say; residuals beyond `delta` by their size.
    """
    n_point = lines.x.shape[1]
    log_loss = np.broadcast_to(log_loss, (len(starts), n_point))
    weights = np.broadcast_to(weights, (len(starts), n_point))
    now = np.clip(starts, lines.low, lines.high)
    parameters = now.copy()
    at = _evaluate(lines, now, log_loss, weights, delta)
    objective = at.objective.copy()
    damping = np.full(len(starts), _DAMPING)
    going = np.arange(len(starts))
    for _ in range(max_steps):
        step = _find_step(lines, now, at, weights, delta, damping)
        new = np.clip(now + OVERSTEP * step, lines.low, lines.high)
        tried = _evaluate(lines, new, log_loss, weights, delta)
        gain = at.objective - tried.objective
        is_better = gain >= 0
        is_last = is_better & (gain <= tolerance * at.objective) | (damping > _MOST_DAMPING)
        damping = np.where(is_better, np.maximum(damping / 5, 1e-9), 8 * damping)
        now[is_better] = new[is_better]
        at = at.replaced(is_better, tried)
        if is_last.any():
            parameters[going] = now
            objective[going] = at.objective
            goes_on = ~is_last
            going = going[goes_on]
            now = now[goes_on]
            at = at.chosen(goes_on)
            damping = damping[goes_on]
            weights = weights[goes_on]
            log_loss = log_loss[goes_on]
            if not len(going):
                break
    parameters[going] = now
    objective[going] = at.objective
    return Found(parameters, objective)


def _log_sum(
    lines: Lines, parameters: Float[np.ndarray, "draw parameter"]
) -> tuple[Float[np.ndarray, "draw point"], Float[np.ndarray, "draw term point"]]:
    """Logarithms of the losses, and the share that each term has of them."""
    n_term = len(lines.x)
    slopes = np.zeros((len(parameters), n_term))
    slopes[:, lines.sloped] = parameters[:, n_term:]
    terms = parameters[:, :n_term, None] - slopes[:, :, None] * lines.x
    highest = terms.max(1)
    terms -= highest[:, None]
    np.exp(terms, out=terms)
    total = terms.sum(1)
    terms /= total[:, None]
    return highest + np.log(total), terms


def _evaluate(
    lines: Lines,
    parameters: Float[np.ndarray, "draw parameter"],
    log_loss: Float[np.ndarray, "draw point"],
    weights: Float[np.ndarray, "draw point"],
    delta: float,
) -> _At:
    """Residuals, shares and Huber's loss at some parameters."""
    log_sum, shares = _log_sum(lines, parameters)
    residuals = log_sum - log_loss
    size = np.abs(residuals)
    near = np.minimum(size, delta)
    return _At(residuals, shares, (weights * near * (size - near / 2)).sum(-1))


def _find_step(
    lines: Lines,
    parameters: Float[np.ndarray, "draw parameter"],
    at: _At,
    weights: Float[np.ndarray, "draw point"],
    delta: float,
    damping: Float[np.ndarray, " draw"],
) -> Float[np.ndarray, "draw parameter"]:
    """The step to the lowest point of the damped squares that touch the loss from above."""
    of_slopes = -at.shares[:, lines.sloped] * lines.x[lines.sloped]
    derivatives = np.concatenate([at.shares, of_slopes], 1)  # draw parameter point
    counted = weights * np.minimum(1.0, delta / np.maximum(np.abs(at.residuals), _TINY))
    squares = (derivatives * counted[:, None]) @ derivatives.transpose(0, 2, 1)
    gradient = (derivatives @ (counted * at.residuals)[:, :, None])[:, :, 0]
    held = _held_at_bounds(lines, parameters, gradient)
    gradient[held] = 0.0
    squares[held[:, :, None] | held[:, None, :]] = 0.0
    diagonal = np.einsum("dpp->dp", squares)  # a view: what is added here is added there
    diagonal += damping[:, None] * diagonal
    diagonal += 1e-12 * diagonal.max(1, keepdims=True) + held
    return -np.linalg.solve(squares, gradient[:, :, None])[:, :, 0]


def _held_at_bounds(
    lines: Lines,
    parameters: Float[np.ndarray, "draw parameter"],
    gradient: Float[np.ndarray, "draw parameter"],
) -> Bool[np.ndarray, "draw parameter"]:
    """Which parameters are at a bound that they would have to cross to do better."""
    is_low = (parameters <= lines.low) & (gradient > 0)
    is_high = (parameters >= lines.high) & (gradient < 0)
    return is_low | is_high
