"""Laws fitted to points: the smallest Huber loss of logarithms, from many starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import InputError
from .descent import descend
from .laws import SAMPLES, Law, SizeDataLaw, unfitted
from .problem import N_RANDOM, Problem, compute_frontier, from_lines, make_problem, make_starts
from .refusals import check_points

DELTA = 1e-3  # of Huber's loss, as Hoffmann et al. 2022
_AGREES = 1e-3  # relative distance to the lowest loss at which a start has found it too
_ENOUGH = 0.5  # share of starts that ought to


@dataclass(frozen=True)
class LawFit:
    """A law with the numbers that fit some points best.

    `points` are those it was given, `objective` the mean Huber loss of the residuals of log losses,
    `n_agree` of `n_start` starts ended at it. `notes` say what the numbers do not.
    """

    law: Law
    points: pd.DataFrame
    delta: float
    objective: float
    n_start: int
    n_agree: int
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> pd.DataFrame:
        """The points that it was fitted to: all, or those of the compute frontier."""
        return compute_frontier(self.points) if self.law.on_frontier else self.points

    def predict(self, points: pd.DataFrame | dict) -> np.ndarray:
        """The losses at points, see `Law.predict`."""
        return self.law.predict(points)

    def residuals(self) -> pd.DataFrame:
        """The points it was fitted to with `predicted` losses, and by how many percent these miss.

        Where misses of one size, or of much data, have all one sign, the law has not this form.
        """
        used = self.used
        predicted = self.law.predict(used)
        return used.assign(predicted=predicted, percent=100 * (predicted / used["loss"] - 1))

    def equation(self) -> str:
        """The law with its numbers, as text."""
        return self.law.equation()


def fit_law(
    points: pd.DataFrame,
    law: str = SizeDataLaw.name,
    data: str = SAMPLES,
    delta: float = DELTA,
    n_random: int = N_RANDOM,
    seed: int = 0,
) -> LawFit:
    """Fit a law to points: "size and data", "size", "compute" or "paper" (`laws`).

    `data` says what a law with data counts: molecules drawn (samples) or different ones (unique).
    Residuals are those of logarithms; beyond `delta` they count by their size and not their square,
    so that a bad run does not bend the law. Fits begin at a grid of starts and at `n_random` random
    ones. Raises InputError for points that cannot tell the numbers apart, saying why.
    """
    if not delta > 0:
        raise InputError(f"delta is {delta}: give a number above 0")
    kind = unfitted(law, data)
    check_points(kind, points)
    problem = make_problem(kind, points)
    starts = make_starts(problem.lines, problem.log_loss, n_random, seed)
    found = descend(problem.lines, starts, problem.log_loss, problem.weights, delta)
    best = int(found.objective.argmin())
    lowest = found.objective[best]
    n_agree = int((found.objective <= lowest * (1 + _AGREES) + 1e-15).sum())
    fitted = kind.with_parameters(from_lines(problem, found.parameters[[best]])[0])
    return LawFit(
        law=fitted,
        points=points,
        delta=delta,
        objective=float(lowest / problem.weights.sum()),
        n_start=len(starts),
        n_agree=n_agree,
        notes=(
            *_notes_on_numbers(problem, fitted, found.parameters[best]),
            *_notes_on_points(points),
            *_notes_on_starts(len(starts), n_agree),
        ),
    )


def _notes_on_numbers(problem: Problem, law: Law, parameters: np.ndarray) -> list[str]:
    """Which numbers of a law are at an end of what is tried, a sentence each."""
    notes = []
    n_term = len(law.terms)
    for number, term in enumerate(law.terms):
        if parameters[number] <= problem.lines.low[number]:
            exponent = f", so that {term.exponent} means nothing" if term.exponent else ""
            notes.append(f"The points need no {term.coefficient}: it is 0{exponent}.")
    for number, slope in zip(problem.lines.sloped, parameters[n_term:]):
        term = law.terms[number]
        if getattr(law, term.coefficient) and not 0 < slope < problem.lines.high[-1]:
            notes.append(
                f"{term.exponent} is {slope:g}, the end of what is tried: the points do not have "
                "this form."
            )
    return notes


def _notes_on_points(points: pd.DataFrame) -> list[str]:
    """What the points leave open."""
    if points["run"].nunique() > points["group"].nunique():
        return []
    return ["No run has a replicate, so nobody knows whether sizes differ by more than seeds do."]


def _notes_on_starts(n_start: int, n_agree: int) -> list[str]:
    """That few fits ended at the best one: there may be a better one still."""
    if n_agree >= _ENOUGH * n_start:
        return []
    return [f"Only {n_agree} of {n_start} starts led to this law: others are nearly as good."]
