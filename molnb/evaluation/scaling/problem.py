"""From a table of points to what is minimised: a law's lines, bounds, starts and weights."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...shapes import Bool, Float
from .descent import Lines
from .laws import Law

STEEPEST = 4.0  # exponent; above it a term is gone after the first doubling
_DEEPEST = 10.0  # logarithm of the smallest share that a term can have
_EXPONENTS = (0.1, 0.3, 0.6, 1.2)  # that are tried
_CONSTANTS = (0.05, 0.5, 0.9)  # shares of the lowest loss that the constant begins with
N_RANDOM = 16  # starts beside those
_TINY = 1e-300


class Problem(NamedTuple):
    """What a law is fitted to: its lines at the points, and the logarithms of the losses.

    Logarithms of quantities are taken from their `centres`, so that heights and exponents of lines
    depend little on each other.
    """

    law: Law
    lines: Lines
    centres: Float[np.ndarray, " term"]
    log_loss: Float[np.ndarray, " point"]
    weights: Float[np.ndarray, " point"]


def make_problem(law: Law, points: pd.DataFrame) -> Problem:
    """What is minimised when a law of this kind is fitted to points, all of them valid."""
    quantities = law.quantities(points)
    log_loss = np.log(points["loss"].to_numpy(np.float64))
    x = np.zeros((len(law.terms), len(points)))
    for number, term in enumerate(law.terms):
        if term.quantity is not None:
            x[number] = np.log(quantities[term.quantity])
    centres = x.mean(1)
    sloped = np.array([n for n, term in enumerate(law.terms) if term.quantity is not None], int)
    weights = np.ones(len(points))
    if law.on_frontier:
        everywhere = np.ones((1, len(points)), bool)
        weights = frontier_mask(points, everywhere)[0].astype(np.float64)
    n_term = len(law.terms)
    low = np.concatenate([np.full(n_term, log_loss.min() - _DEEPEST), np.zeros(len(sloped))])
    high = np.concatenate([np.full(n_term, log_loss.max() + 1), np.full(len(sloped), STEEPEST)])
    lines = Lines(x - centres[:, None], sloped, low, high)
    return Problem(law, lines, centres, log_loss, weights)


def frontier_mask(
    points: pd.DataFrame, present: Bool[np.ndarray, "draw point"]
) -> Bool[np.ndarray, "draw point"]:
    """Which points no other one that is present reaches or beats with as much compute or less."""
    order = np.lexsort((points["loss"], points["flops"]))
    loss = points["loss"].to_numpy(np.float64)[order]
    losses = np.where(present[:, order], loss, np.inf)
    lowest = np.minimum.accumulate(losses, 1)
    before = np.concatenate([np.full((len(present), 1), np.inf), lowest[:, :-1]], 1)
    mask = np.zeros(present.shape, bool)
    mask[:, order] = losses < before
    return mask


def compute_frontier(points: pd.DataFrame) -> pd.DataFrame:
    """The points with the lowest loss for their FLOPs, from little compute to much."""
    mask = frontier_mask(points, np.ones((1, len(points)), bool))[0]
    return points[mask].sort_values("flops").reset_index(drop=True)


def to_lines(problem: Problem, law: Law) -> Float[np.ndarray, " parameter"]:
    """A law's numbers as heights and slopes of lines; a coefficient of 0 is at its bound."""
    lines = problem.lines
    heights = lines.low[: len(law.terms)].copy()
    slopes = []
    for number, term in enumerate(law.terms):
        coefficient = getattr(law, term.coefficient)
        slope = 0.0
        if term.exponent is not None:
            slope = -term.sign * getattr(law, term.exponent)
            slopes.append(slope)
        if coefficient > 0:
            heights[number] = np.log(coefficient) - slope * problem.centres[number]
    return np.clip(np.concatenate([heights, slopes]), lines.low, lines.high)


def from_lines(
    problem: Problem, parameters: Float[np.ndarray, "draw line_parameter"]
) -> Float[np.ndarray, "draw parameter"]:
    """Heights and slopes of lines as coefficients and exponents, in the order of the law's.

    A height at its lower bound is a coefficient of 0.
    """
    n_term = len(problem.law.terms)
    slopes = iter(parameters[:, n_term:].T)
    columns = []
    for number, term in enumerate(problem.law.terms):
        height = parameters[:, number]
        is_absent = height <= problem.lines.low[number]
        slope = np.zeros(len(parameters)) if term.exponent is None else next(slopes)
        coefficient = np.exp(height + slope * problem.centres[number])
        columns.append(np.where(is_absent, 0.0, coefficient))
        if term.exponent is not None:
            columns.append(-term.sign * slope + 0.0)  # no minus zero
    return np.stack(columns, 1)


def make_starts(
    lines: Lines,
    log_loss: Float[np.ndarray, " point"],
    n_random: int = N_RANDOM,
    seed: int = 0,
) -> Float[np.ndarray, "draw line_parameter"]:
    """Where fits begin: all combinations of some exponents and constants, and random ones.

    Lines with an exponent share equally, or at random, what the constant leaves of the mean loss.
    """
    n_line = len(lines.x)
    n_slope = len(lines.sloped)
    has_constant = n_line > n_slope
    grid = np.array([*product(_CONSTANTS if has_constant else (0.0,), *[_EXPONENTS] * n_slope)])
    random = np.random.default_rng(seed)
    constants = random.uniform(0, has_constant, (n_random, 1))
    exponents = np.exp(random.uniform(np.log(0.05), np.log(2), (n_random, n_slope)))
    chosen = np.concatenate([grid, np.concatenate([constants, exponents], 1)])
    equal = np.full((len(grid), n_slope), 1 / n_slope)
    shares = np.concatenate([equal, random.dirichlet(np.ones(n_slope), n_random)])
    constant = chosen[:, :1] * np.exp(log_loss.min())
    heights = np.repeat(constant, n_line, 1)
    heights[:, lines.sloped] = shares * (np.exp(log_loss.mean()) - constant)
    starts = np.concatenate([np.log(np.maximum(heights, _TINY)), chosen[:, 1:]], 1)
    return np.clip(starts, lines.low, lines.high)
