"""A family of sizes up to 84M on one GPU: the loss of the largest, forecast before it is trained.

    python benchmarks/gpu_family.py --data data/nci-... data/wehi-... --out runs/gpu-family
    python benchmarks/gpu_family.py --family laptop --sizes 0m002 0m017 0m056 --largest 0m1 \
        --steps 100 --batch 4 --workers 2 --data ...          the same on a CPU, for tests

Lesson 06 without its figures, where there is neither RDKit nor Jupyter: it needs torch, numpy,
pyarrow, safetensors, pandas, scipy and scikit-learn. Small models leave most of a card idle, so
several train on it at a time (--workers). The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pandas as pd

from molnb.errors import InputError
from molnb.evaluation.scaling.bootstrap import Bootstrap, bootstrap_law
from molnb.evaluation.scaling.fitting import fit_law
from molnb.evaluation.scaling.forecast import check_prediction, write_prediction
from molnb.evaluation.scaling.holdout import holdout_table
from molnb.evaluation.scaling.points import final_points, loss_points
from molnb.figures.tables import show_table
from molnb.training.runs import PREDICTION
from molnb.training.sweep_runs import run_sweep
from molnb.training.sweeps import Cell, Sweep, cool_down_sweep, make_sweep

SHARE = 0.2  # of a training, in which its rate falls
LEAST_STEPS = 100
COSTS = ("seconds", "peak_mib", "rate_share", "energy_wh")


def main() -> int:
    args = read_arguments()
    began = time.monotonic()
    changes = common_settings(args)
    seeds = range(args.seeds)
    names = [f"{args.family}_{size}" for size in args.sizes]
    smaller = make_sweep(names, args.data, {}, args.out / "family", changes, seeds)
    train(smaller, args, began)
    ends = [args.steps // 4, args.steps // 2]
    cooled = cool_down_sweep(smaller, ends, args.out / "cool-downs", SHARE)
    train(cooled, args, began)
    law = law_of((*smaller.cells, *cooled.cells))
    largest = f"{args.family}_{args.largest}"
    bigger = make_sweep(largest, args.data, {}, args.out / "largest", changes, seeds)
    for cell in bigger.cells if law is not None else ():
        if cell.run is None and not (cell.folder / PREDICTION).exists():
            write_prediction(cell.folder, law, cell.config)
    train(bigger, args, began)
    cells = (*smaller.cells, *cooled.cells, *bigger.cells)
    points = points_of(cells)
    tables = {"losses": losses_of_sizes(points), "cost": costs(cells)}
    if law is not None:
        forecasts = pd.concat([check_prediction(cell.run) for cell in bigger.cells])
        columns = ["N", "predicted", "low", "high", "measured", "percent", "inside"]
        tables["forecasts"] = forecasts[columns]
        tables["held out"] = holdout_table(points, n_fitted=max(3, len(names) - 1))
    for name, table in tables.items():
        print(f"\n{name}\n{show_table(table.to_dict('records'), digits=4)}")
        table.to_csv(args.out / f"{name.replace(' ', '_')}.csv", index=False)
    print(f"\n{time.monotonic() - began:.0f} s")
    return 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, help="curated folders, or their names")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--family", default="gpu", help="of presets: gpu or laptop")
    parser.add_argument("--sizes", nargs="+", default=["1m", "2m", "9m", "31m"])
    parser.add_argument("--largest", default="81m", help="the size that is forecast")
    parser.add_argument("--steps", type=int, default=500, help="of the longest trainings")
    parser.add_argument("--batch", type=int, default=32, help="molecules of a step")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each size")
    parser.add_argument("--workers", type=int, default=12, help="that train at a time")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    if args.steps < LEAST_STEPS:
        raise InputError(
            f"--steps is {args.steps}: give {LEAST_STEPS} or more; a quarter of it is one end, and "
            "its rate needs some steps to fall"
        )
    return args


def common_settings(args: argparse.Namespace) -> dict:
    """What all trainings have in common, as in lesson 06."""
    return {
        "steps": args.steps,
        "global_batch": args.batch,
        "warmup_steps": max(args.steps // 10, 1),
        "schedule": "stable",
        "decay_steps": round(SHARE * args.steps),
        "keep_every": max(args.steps // 20, 1),
        "eval_every": args.steps,
        "checkpoint_every": args.steps,
        "n_val": 256,
        "n_random_val": 0,
        "disjoint": True,
    }


def train(sweep: Sweep, args: argparse.Namespace, began: float) -> None:
    """Train what is left of a sweep; raises InputError where a run fails."""
    failures = run_sweep(sweep, args.workers, args.device)
    seconds = time.monotonic() - began
    print(f"{sweep.path.name}: {len(sweep.cells)} runs, {seconds:.0f} s so far", flush=True)
    if failures:
        name, reason = next(iter(failures.items()))
        raise InputError(f"{len(failures)} of {sweep.path} failed; {name}: {reason}")


def law_of(cells: tuple[Cell, ...]) -> Bootstrap | None:
    """The law that the runs follow; None, saying why, where they tell none."""
    try:
        law = bootstrap_law(fit_law(points_of(cells)))
    except InputError as refusal:
        print(f"no forecast: {refusal}", flush=True)
        return None
    print("\n".join(law.sentences()), flush=True)
    return law


def points_of(cells: tuple[Cell, ...]) -> pd.DataFrame:
    """The last validation of each run, on molecules whose features are hidden."""
    return final_points(loss_points([cell.run for cell in cells], "hidden"))


def losses_of_sizes(points: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds, a row a size and number of molecules."""
    groups = points.groupby(["N", "samples"])["loss"]
    return groups.agg(["mean", "std", "count"]).reset_index()


def costs(cells: tuple[Cell, ...]) -> pd.DataFrame:
    """Seconds, memory and energy of the runs of each size."""
    rows = [
        {"preset": cell.values["preset"], "steps": cell.config.steps, **cell.run.status()}
        for cell in cells
    ]
    table = pd.DataFrame(rows)
    measured = [name for name in COSTS if name in table]  # energy and rate not everywhere
    return table.groupby(["preset", "steps"], sort=False)[measured].mean().reset_index()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
