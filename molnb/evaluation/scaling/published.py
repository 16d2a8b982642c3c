"""The law that Uni-Mol2 published (arXiv 2406.14969): its numbers, and which of them hold.

What is recomputed here follows from numbers that the paper prints, which are rounded, and from the
FLOPs of its models by our count.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...models.families import count_parameters
from ...models.unimol2.flops import count_multiplications
from ...models.unimol2.sizes import PAPER, readable_size
from ...shapes import Float
from .laws import MILLION, PaperLaw

PUBLISHED = PaperLaw(2.660, -1.137, 1.848, -0.225, 0.588, -1.479)  # Eq. 11
STEPS = 810_000  # at which losses are quoted
LEFT_OUT = 200_000  # first steps, which the law was not fitted to
N_TESTED = 10  # points of the last 100,000 steps, one every 10,000
N_ATOM = 24  # heavy atoms of a molecule whose cost is compared
QUOTED_LOSSES = {"84m": 0.105, "570m": 0.090, "1100m": 0.087}
QUOTED_PREDICTIONS = {"570m": 0.088, "1100m": 0.0871}
QUOTED_ERRORS = {"570m": 2.22, "1100m": 0.23}  # percent

YES = "yes"
ROUNDED = "within rounding"
NO = "no"

Ends = tuple[float, float]


class Quoted(NamedTuple):
    """A row of Table 3: measures of predictions for a size that the law was not fitted to."""

    rmae: float
    mse: float
    r2: float
    pearson: float


TABLE_3 = {
    "570m": Quoted(0.0169, 2.450e-6, 0.92, 0.85),
    "1100m": Quoted(0.0095, 8.458e-5, 0.87, 0.75),
}
_HALF = 0.005  # R² and r are printed with two decimals


def published_predictions() -> pd.DataFrame:
    """The published law at the paper's sizes after 810,000 steps, a row a size.

    Its three terms and their sum, `low` and `high` by what rounding of the printed numbers leaves
    open; beside what the paper says it predicts, and the losses that it quotes.
    """
    rows = []
    for size in PAPER:
        point = {"parameters": _millions(size) * MILLION, "step": STEPS}
        low, high = _rounded_losses(point)
        of_size, of_steps, of_compute = _terms(point)
        rows.append(
            {
                "size": readable_size(size),
                "M": _millions(size),
                "size term": of_size,
                "step term": of_steps,
                "compute term": of_compute,
                "predicted": float(PUBLISHED.predict(point)[0]),
                "low": low,
                "high": high,
                "quoted prediction": QUOTED_PREDICTIONS.get(size),
                "quoted loss": QUOTED_LOSSES.get(size),
            }
        )
    return pd.DataFrame(rows)


def paper_compute(n_atom: int = N_ATOM) -> pd.DataFrame:
    """What the paper's models cost, a row a size: FLOPs of a forward pass over one molecule.

    `flops` as they are computed here (`count_flops`), `as written` with the outer product made as
    the equations stand; both as multiples of the smallest model's, beside that of its parameters.
    The pair track is as wide at every size, so compute grows with the depth and hardly with the
    width.
    """
    rows = []
    for size, config in PAPER.items():
        counts = count_parameters(config)
        computed, written = (
            2 * sum(count_multiplications(config, n_atom, plain).values())
            for plain in (False, True)
        )
        rows.append(
            {
                "size": readable_size(size),
                "M": _millions(size),
                "N": counts.n,
                "parameters": counts.total,
                "flops": computed,
                "as written": written,
            }
        )
    table = pd.DataFrame(rows)
    for name in ("parameters", "flops", "as written"):
        table[f"{name}, relative"] = table[name] / table[name].iloc[0]
    return table


def published_claims() -> pd.DataFrame:
    """What the paper says of its law, a row a statement: stated, recomputed, whether it holds.

    `holds` is yes, no, or within rounding: where the printed numbers do not agree, and numbers that
    round to them would.
    """
    claims = [_claim_of_prediction(size) for size in QUOTED_PREDICTIONS]
    claims += [_claim_of_error(size) for size in QUOTED_ERRORS]
    for size, quoted in TABLE_3.items():
        claims += [_claim_of_squares(size, quoted), _claim_of_correlation(size, quoted)]
    claims += [_claim_of_swapped(size, quoted) for size, quoted in TABLE_3.items()]
    claims += [_claim_of_compute_term(), _claim_of_proxy()]
    return pd.DataFrame(claims, columns=["statement", "stated", "recomputed", "holds", "because"])


Claim = tuple[str, str, str, str, str]


def _claim_of_prediction(size: str) -> Claim:
    """The law gives the prediction that is quoted."""
    point = {"parameters": _millions(size) * MILLION, "step": STEPS}
    stated = QUOTED_PREDICTIONS[size]
    found = float(PUBLISHED.predict(point)[0])
    low, high = _rounded_losses(point)
    return (
        f"Eq. 11 predicts this loss of {readable_size(size)}",
        f"{stated:g}",
        f"{found:.4f}",
        _judge(round(found, 4) == stated, low <= stated <= high),
        f"numbers that round to the printed ones give {low:.4f} to {high:.4f}",
    )


def _claim_of_error(size: str) -> Claim:
    """The relative error is that of the quoted losses."""
    guess = QUOTED_PREDICTIONS[size]
    loss = QUOTED_LOSSES[size]
    guesses = _ends(guess)
    losses = _ends(loss)
    found = 100 * abs(guess - loss) / loss
    all_errors = [100 * (g - y) / y for g in guesses for y in losses]
    highest = max(map(abs, all_errors))
    lowest = 0.0 if min(all_errors) < 0 < max(all_errors) else min(map(abs, all_errors))
    stated = QUOTED_ERRORS[size]
    return (
        f"The relative error at {readable_size(size)}",
        f"{stated:g} %",
        f"{found:.2f} %",
        _judge(round(found, 2) == stated, lowest <= stated <= highest),
        f"from {guess:g} and {loss:g}, as rounded {lowest:.2f} to {highest:.2f} %",
    )


def _claim_of_squares(size: str, quoted: Quoted) -> Claim:
    """Mean squared and mean absolute error of the same points can go together.

    The root of the former is at least the latter, and at most as many times the latter as the root
    of the number of points.
    """
    root = quoted.mse**0.5
    mean = quoted.rmae * QUOTED_LOSSES[size]
    most = N_TESTED**0.5
    return (
        f"MSE and RMAE at {readable_size(size)}",
        f"{quoted.mse:.3e} and {quoted.rmae:g}",
        f"RMSE {root:.5f} is {root / mean:.1f} times the MAE {mean:.5f}",
        YES if 0.95 < root / mean <= most else NO,
        f"of {N_TESTED} points it is 1 to {most:.1f} times the MAE",
    )


def _claim_of_correlation(size: str, quoted: Quoted) -> Claim:
    """R² is not above the square of the correlation."""
    square = quoted.pearson**2
    fits = quoted.r2 - _HALF <= (quoted.pearson + _HALF) ** 2
    return (
        f"R² and r at {readable_size(size)}",
        f"{quoted.r2:g} and {quoted.pearson:g}",
        f"r² = {square:.3f}",
        _judge(quoted.r2 <= square, fits),
        "R² by its definition (Eq. 15) is never above r²",
    )


def _claim_of_swapped(size: str, quoted: Quoted) -> Claim:
    """The same with both columns exchanged, which the paper does not say."""
    swapped = quoted._replace(r2=quoted.pearson, pearson=quoted.r2)
    name, stated, recomputed, holds, _ = _claim_of_correlation(size, swapped)
    because = "if the columns of Table 3 were exchanged (not a statement of the paper)"
    return (f"{name}, exchanged", stated, recomputed, holds, because)


def _claim_of_compute_term() -> Claim:
    """The term of compute has a part in the loss."""
    smallest = {"parameters": _millions("42m") * MILLION, "step": LEFT_OUT}
    share = _terms(smallest)[2] / float(PUBLISHED.predict(smallest)[0])
    return (
        "Compute has a term of its own",
        "0.588 C^-1.479",
        f"{share:.0e} of the loss",
        NO,
        f"where it is largest, at 42M after {LEFT_OUT:,} steps: nothing depends on it",
    )


def _claim_of_proxy() -> Claim:
    """Compute is proportional to parameters times steps."""
    costs = paper_compute().set_index("size")
    parameters, flops = (
        costs.loc["1.1B", ["parameters", "flops"]] / costs.loc["42M", ["parameters", "flops"]]
    )
    return (
        "Compute is M times S",
        f"1.1B over 42M: {parameters:.1f}",
        f"{flops:.1f}",
        NO,
        "the pair track costs most, and is as wide at every size",
    )


def _judge(is_exact: bool, is_possible: bool) -> str:
    """Whether a statement holds: by printed numbers, by some that round to them, or not."""
    if is_exact:
        return YES
    return ROUNDED if is_possible else NO


def _millions(size: str) -> float:
    """What a size is called after, in millions of parameters, as the law counts them."""
    return float(size.removesuffix("m"))


def _terms(point: dict[str, float]) -> list[float]:
    """The terms of the published law at a point, one by one."""
    quantities = PUBLISHED.quantities(point)
    return [
        getattr(PUBLISHED, term.coefficient)
        * float(quantities[term.quantity][0]) ** getattr(PUBLISHED, term.exponent)
        for term in PUBLISHED.terms
    ]


def _rounded_losses(point: dict[str, float]) -> Ends:
    """The lowest and highest loss by numbers that round to the published ones (three decimals)."""
    values = np.array([*PUBLISHED.parameters.values()])
    corners = np.array([*product((-0.0005, 0.0005), repeat=len(values))])
    losses: Float[np.ndarray, "draw point"] = PUBLISHED.losses(point, values + corners)
    return float(losses.min()), float(losses.max())


def _ends(printed: float) -> Ends:
    """The numbers between which all lie that round to a printed one: 0.09 is printed as 0.090."""
    n_decimal = max(3, len(f"{printed:g}".partition(".")[2]))
    half = 0.5 * 10.0**-n_decimal
    return printed - half, printed + half
