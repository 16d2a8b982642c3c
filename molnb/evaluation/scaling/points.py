"""Points of a scaling law: every validation of some runs, with size, data and compute so far."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import InputError, did_you_mean
from ...models.families import count_parameters
from ...models.interface import Counts, EncoderConfig
from ...paths import find_run_folder
from ...training.account_table import device_name, unique_molecules
from ...training.runs import Run, find_run, load_runs

LEFT_OUT = 0.25  # of a training; the paper leaves out 200,000 of 810,000 steps
_COOLED = 0.5  # a rate below this share of its highest has fallen
_OF_SEEDS = ("seed", "name")  # what replicates may differ in
_PARENTS = ("branch", "start_from")  # runs that a run begins with
_NO_TERMS = ("step", "part", "features")


def loss_points(
    runs: Sequence[Run | str | Path] | None = None,
    features: str = "hidden",
    part: str = "val",
    term: str = "loss",
) -> pd.DataFrame:
    """The validations of runs (default: all in ``MOLNB_HOME/runs``), a row each, with its `loss`.

    `N` leaves out tables, distance kernel and heads, `parameters` has them. Runs of one `group` are
    replicates: they differ in seed and name alone. The `trunk` of a cool-down is the run that it
    branched from, of any other run itself. `samples` are molecules drawn so far, `unique` the
    different ones among them (missing where they are drawn unevenly), out of `corpus`. `flops` are
    those of matrix products of all training steps so far, interpolated where a step was not logged;
    those of a branch begin with its parent's, its `seconds` do not. `final` is the last validation
    of a finished run whose learning rate has fallen: only such losses can be compared as what a
    training of that length reaches. Later columns say what the losses are of.

    Runs without a validation so far are named in ``attrs["notes"]``. Raises InputError for
    features, parts and terms that a run does not have.
    """
    chosen = find_runs(load_runs() if runs is None else runs)
    names = _names(chosen)
    count = cache(count_parameters)  # replicates have one size
    rows = []
    notes = []
    for run in chosen:
        found = _rows(run, names, count, features, part, term)
        rows += found
        if not found:
            notes.append(f"{run.path.name} has not been validated yet: it is {run.state}.")
    if not rows:
        raise InputError(
            f"of {len(chosen)} runs none has been validated yet: train some, of several sizes"
        )
    table = pd.DataFrame(rows)
    table.attrs["notes"] = notes
    return table


def find_runs(runs: Sequence[Run | str | Path]) -> list[Run]:
    """Runs by folder or name, each once; a folder that holds runs stands for all of them."""
    found: dict[Path, Run] = {}
    for named in runs:
        inside = [named] if isinstance(named, Run) else _runs_inside(named)
        for run in inside:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def _runs_inside(name: str | Path) -> list[Run]:
    """The run of a name, or all runs of a folder that is none itself."""
    folder = find_run_folder(name)
    is_run = (folder / "config.json").is_file()
    return ([] if is_run else load_runs(folder)) or [find_run(name)]


def _names(runs: Sequence[Run]) -> dict[Path, str]:
    """What runs are called in a table: the names of their folders, or paths where two have one."""
    how_often = Counter(run.path.name for run in runs)
    return {
        run.path.resolve(): str(run.path) if how_often[run.path.name] > 1 else run.path.name
        for run in runs
    }


def replicate_group(run: Run) -> str:
    """Six hexadecimal digits of all that decides a run but its seed and name.

    A run that it begins with counts by its own group: it has another seed too.
    """
    stored = json.loads(json.dumps(run.config.to_dict()))
    for name in _OF_SEEDS:
        stored.pop(name)
    for name in _PARENTS:
        parent = _parent(run, name)
        if isinstance(parent, Run):
            stored[name] = replicate_group(parent)
    text = json.dumps(stored, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()


def final_points(points: pd.DataFrame) -> pd.DataFrame:
    """The points at which trainings ended, their rate having fallen.

    Raises InputError where there is none.
    """
    chosen = points[points["final"]]
    if not len(chosen):
        raise InputError(
            f"none of {points['run'].nunique()} runs is finished with a fallen learning rate: let "
            "them end, cool them down, or take later_points(points)"
        )
    return chosen.reset_index(drop=True)


def later_points(points: pd.DataFrame, share: float = LEFT_OUT) -> pd.DataFrame:
    """The points behind a first share of each training, of which power laws say nothing.

    The learning rate has not fallen yet at most of them, so their losses are higher than those of
    trainings that end there. Raises InputError for a share that leaves nothing.
    """
    if not 0 <= share < 1:
        raise InputError(f"share is {share:g}: give the part to leave out, from 0 to below 1")
    chosen = points[points["step"] > share * points["steps"]]
    if not len(chosen):
        raise InputError(
            f"no validation lies behind the first {100 * share:g} % of a training: validate more "
            "often (eval_every), or leave out less"
        )
    return chosen.reset_index(drop=True)


def sizes_table(points: pd.DataFrame) -> pd.DataFrame:
    """What points there are, a row a size: runs, seeds, points, data, FLOPs and last losses.

    A size goes by the name of a run that is no cool-down.
    """
    rows = []
    for (n, _), of_size in points.groupby(["N", "family"], dropna=False, sort=True):
        trunks = of_size[of_size["run"] == of_size["trunk"]]
        last = of_size.sort_values("step").groupby("run").tail(1)
        rows.append(
            {
                "N": n,
                "name": (trunks if len(trunks) else of_size)["name"].iloc[0],
                "runs": of_size["run"].nunique(),
                "seeds": of_size["seed"].nunique(),
                "points": len(of_size),
                "fewest samples": of_size["samples"].min(),
                "most samples": of_size["samples"].max(),
                "unique": of_size["unique"].max(),
                "flops": of_size["flops"].max(),
                "lowest loss": last["loss"].min(),
                "highest loss": last["loss"].max(),
            }
        )
    return pd.DataFrame(rows)


def _rows(
    run: Run,
    names: dict[Path, str],
    count: Callable[[EncoderConfig], Counts | None],
    features: str,
    part: str,
    term: str,
) -> list[dict[str, Any]]:
    """A row a validation of one run."""
    logged = run.metrics()
    validations = _validations(run, logged, features, part)
    if not validations:
        return []
    training = [row for row in logged if row["part"] == "train"]
    config = run.config
    counts = count(config.model)
    status = run.status()
    n_train = status.get("train_molecules")
    flops_at = _flops_by_step(training, from_zero=_parent(run, "branch") is None)
    seconds = {row["step"]: row["seconds"] for row in run.timings()}
    is_final = status.get("state") == "done" and _has_cooled(training)
    stored = run.read("config.json")
    of_run = {
        "run": names[run.path.resolve()],
        "group": replicate_group(run),
        "trunk": _trunk(run, names),
        "name": config.name,
        "family": config.model.family,
        "N": None if counts is None else counts.n,
        "parameters": None if counts is None else counts.total,
        "seed": config.seed,
        "steps": config.steps,
        "corpus": n_train,
        "device": device_name(run, status),
        "part": part,
        "features": features,
        "term": term,
    }
    rows = []
    for row in validations:
        step = row["step"]
        rows.append(
            {
                **of_run,
                "step": step,
                "samples": step * config.global_batch,
                "unique": unique_molecules(stored, n_train, step),
                "flops": flops_at(step),
                "seconds": seconds.get(step),
                "loss": _term(run, row, term),
                "final": is_final and row is validations[-1],
            }
        )
    return rows


def _validations(run: Run, logged: list[dict], features: str, part: str) -> list[dict]:
    """The rows of a part and of a way to show features; InputError where a run has only others."""
    examined = [row for row in logged if row["part"] != "train"]
    for name, wanted in (("part", part), ("features", features)):
        there = dict.fromkeys(row[name] for row in examined)
        if there and wanted not in there:
            raise InputError(
                f"{run.path.name} has no validation of {name} {wanted!r}"
                f"{did_you_mean(wanted, there)}: choose {' or '.join(there)}"
            )
        examined = [row for row in examined if row[name] == wanted]
    return examined


def _term(run: Run, row: dict, term: str) -> float | None:
    """A term of a validation."""
    if term not in row:
        terms = [name for name in row if name not in _NO_TERMS]
        raise InputError(
            f"{run.path.name} has no term {term!r}{did_you_mean(term, terms)}: choose one of "
            f"{', '.join(terms)}"
        )
    return row[term]


def _flops_by_step(training: list[dict], from_zero: bool) -> Callable[[int], float]:
    """What says the FLOPs of all steps so far, from the training rows that were logged."""
    knots = [(0, 0.0)] if from_zero else []
    knots += [(row["step"], row.get("flops")) for row in training]
    if not knots or any(flops is None for _, flops in knots):
        return lambda step: float("nan")
    steps, flops = np.array(knots, float).T
    return lambda step: float(np.interp(step, steps, flops, left=np.nan, right=np.nan))


def _has_cooled(training: list[dict]) -> bool:
    """Whether the learning rate has fallen at the end; so it is taken where none was logged."""
    rates = [row["learning_rate"] for row in training if row.get("learning_rate") is not None]
    return not rates or rates[-1] < _COOLED * max(rates)


def _parent(run: Run, name: str) -> Run | str | None:
    """The run that a run begins with, by the setting that names it; its name where it is gone."""
    named = getattr(run.config, name, None)
    if named is None:
        return None
    try:
        return find_run(named)
    except InputError:
        return named


def _trunk(run: Run, names: dict[Path, str]) -> str:
    """The name of the run that a cool-down branched from, and that of any other run."""
    parent = _parent(run, "branch")
    if isinstance(parent, str):
        return Path(parent).name  # it is gone
    return names.get(run.path.resolve(), run.path.name) if parent is None else _trunk(parent, names)
