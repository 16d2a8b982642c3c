"""How often intervals of scaling laws hold the truth, on tables whose law is known.

    python benchmarks/law_coverage.py [--tables 500] [--draws 200] [--workers 2] [--rows NAME ...]

Each table has a law of size and data of its own, with plausible numbers: five sizes, three seeds
each, 20 validations a run, losses with noise of 0.5 %. Rows say what kind of noise it is: of each
point alone, with a correlation of 0.9 between neighbours of a run, or of whole runs besides; and
what becomes of them with one seed a size. Of each exponent the line has how many of the 95 %
intervals hold it, how many of mere percentiles would, and how wide intervals are, relative to the
exponent (median). Forecasts are of a size three times the largest on twice the data: how often the
interval holds what is expected there, and that for a new run a new run.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from molnb.errors import InputError
from molnb.evaluation.scaling.bootstrap import Bootstrap, bootstrap_law
from molnb.evaluation.scaling.fitting import fit_law
from molnb.evaluation.scaling.laws import SizeDataLaw
from molnb.processes import Pool

SIZES = np.geomspace(1e5, 1e7, 5)
SAMPLES = np.geomspace(64_000, 640_000, 20)
NOISE = 0.005  # standard deviation of log losses
EXPONENTS = ("a", "b")
LIMITS = (0.88, 0.98)  # within which coverage ought to be


class Row(NamedTuple):
    """A kind of tables: seeds of each size, correlation of neighbours, noise of whole runs."""

    n_seed: int
    lag: float
    of_runs: float = 0.0


ROWS = {
    "independent": Row(3, 0.0),
    "autocorrelated": Row(3, 0.9),
    "lucky seeds": Row(3, 0.0, NOISE),
    "one seed, independent": Row(1, 0.0),
    "one seed, autocorrelated": Row(1, 0.9),
}


class Outcome(NamedTuple):
    """Of a table: which intervals hold the truth, and how wide those of exponents are."""

    held: dict[str, bool]
    widths: dict[str, float]


def draw_truth(random: np.random.Generator) -> SizeDataLaw:
    """A law whose terms have a part in the losses: of size 0.2 to 0.5, of data 0.4 to 0.9."""
    a = random.uniform(0.25, 0.45)
    b = random.uniform(0.3, 0.5)
    return SizeDataLaw(
        E=random.uniform(0.15, 0.4),
        A=random.uniform(0.2, 0.5) * SIZES[0] ** a,
        a=a,
        B=random.uniform(0.4, 0.9) * SAMPLES[0] ** b,
        b=b,
    )


def draw_noise(random: np.random.Generator, n: int, row: Row) -> np.ndarray:
    """Noise of log losses of a run: of its points, with their correlation, and of all of it."""
    noise = random.normal(size=n)
    for number in range(1, n):
        noise[number] = row.lag * noise[number - 1] + np.sqrt(1 - row.lag**2) * noise[number]
    return NOISE * noise + row.of_runs * random.normal()


def draw_table(law: SizeDataLaw, random: np.random.Generator, row: Row) -> pd.DataFrame:
    """A table as `loss_points` makes it, of runs whose losses follow a law, with noise."""
    tables = []
    for number, size in enumerate(SIZES):
        for seed in range(row.n_seed):
            run = f"{number}-{seed}"
            expected = law.predict({"N": size, "samples": SAMPLES})
            columns = {
                "run": run,
                "trunk": run,
                "group": str(number),
                "N": size,
                "samples": SAMPLES,
                "step": np.arange(1, len(SAMPLES) + 1),
                "loss": expected * np.exp(draw_noise(random, len(SAMPLES), row)),
            }
            tables.append(pd.DataFrame(columns | {"part": "val", "features": "", "term": ""}))
    return pd.concat(tables, ignore_index=True)


def judge_table(seed: int, row: Row, n_draw: int) -> Outcome:
    """Fit a table, and hold its intervals against the law that made it."""
    random = np.random.default_rng(seed)
    truth = draw_truth(random)
    resampled = bootstrap_law(fit_law(draw_table(truth, random, row), n_random=0), n_draw, seed)
    table = resampled.parameters().set_index("parameter")
    held = {}
    widths = {}
    for name in EXPONENTS:
        value = getattr(truth, name)
        low, high = table.loc[name, ["low", "high"]]
        held[name] = bool(low <= value <= high)
        widths[name] = (high - low) / value
        held[f"{name} by percentiles"] = percentiles_hold(resampled, name, value)
    at = {"N": 3 * SIZES[-1:], "samples": 2 * SAMPLES[-1:]}
    expected = float(truth.predict(at)[0])
    new_run = expected * np.exp(draw_noise(random, len(SAMPLES), row)[-1])
    for kind, loss in (("expected", expected), ("new run", new_run)):
        (ends,) = resampled.predict(at, new_run=kind == "new run").to_dict("records")
        held[kind] = bool(ends["low"] <= loss <= ends["high"])
    return Outcome(held, widths)


def percentiles_hold(resampled: Bootstrap, name: str, value: float) -> bool:
    """Whether a parameter lies between the plain percentiles of its draws."""
    column = resampled.law.parameter_names().index(name)
    low, high = np.quantile(resampled.draws[:, column], [0.025, 0.975])
    return bool(low <= value <= high)


def judge_row(row: Row, options: argparse.Namespace, pool: Pool) -> list[Outcome]:
    """The outcomes of all tables of a kind."""
    futures = [
        pool.submit(judge_table, options.seed + number, row, options.draws)
        for number in range(options.tables)
    ]
    return [future.result() for future in futures]


def show_row(name: str, outcomes: list[Outcome], seconds: float) -> None:
    """Print a line a row: shares of intervals that hold, and widths."""
    shares = {kind: np.mean([o.held[kind] for o in outcomes]) for kind in outcomes[0].held}
    cells = []
    for exponent in EXPONENTS:
        width = np.median([o.widths[exponent] for o in outcomes])
        plain = shares[f"{exponent} by percentiles"]
        cells.append(
            f"{exponent} {shares[exponent]:.1%} (percentiles {plain:.1%}) ±{width / 2:.1%}"
        )
    cells += [f"{kind} {shares[kind]:.1%}" for kind in ("expected", "new run")]
    print(f"{name:26}{'  '.join(cells)}  {seconds:.0f} s", flush=True)


def main() -> int:
    """Judge all rows; returns 1 where intervals of several seeds hold the truth out of limits."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes (default: this one)")
    parser.add_argument("--rows", nargs="+", default=[*ROWS], choices=[*ROWS], metavar="NAME")
    options = parser.parse_args()
    if options.tables < 1:
        raise InputError(f"--tables is {options.tables}: give 1 or more")
    is_covered = True
    with Pool(options.workers) as pool:
        for name in options.rows:
            began = time.perf_counter()
            outcomes = judge_row(ROWS[name], options, pool)
            show_row(name, outcomes, time.perf_counter() - began)
            if ROWS[name].n_seed > 1:
                shares = [np.mean([o.held[exponent] for o in outcomes]) for exponent in EXPONENTS]
                is_covered &= LIMITS[0] <= min(shares) and max(shares) <= LIMITS[1]
    return 0 if is_covered else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
