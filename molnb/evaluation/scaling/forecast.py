"""Forecasts that are written down before a run begins, and held against it when it has ended."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import InputError
from ...files import write_json
from ...models.families import count_parameters
from ...training.config import RunConfig
from ...training.runs import PREDICTION, Run, check_run_folder, find_run
from ..intervals import LEVEL
from .bootstrap import Bootstrap
from .points import loss_points

# Some file systems keep whole seconds, and a status keeps tenths: either may name a time that lies
# before the run's true beginning.
CLOCK = timedelta(seconds=1)


def write_prediction(
    folder: str | Path, resampled: Bootstrap, config: RunConfig, corpus: int | None = None
) -> dict[str, Any]:
    """Write what a law expects of a run into its folder, before it begins; returns what it says.

    That is the loss at the end of the run with the interval that a single run lies in, the law, the
    points that it was fitted to, and when it was written. `corpus` is the number of training
    molecules, where the law counts different ones (default: that of the runs it was fitted to).
    Raises InputError where the run has begun, or has a forecast already.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise InputError(
            f"the run in {folder} has begun: a forecast is written before, into the folder that "
            "train(config, folder) is given later"
        )
    if (folder / PREDICTION).exists():
        raise InputError(
            f"{folder} has a forecast already, which stays as it is: name another folder, or "
            f"delete its {PREDICTION} and say so where you report it"
        )
    check_run_folder(folder)
    at = _end_of(config, resampled, corpus)
    (expected,) = resampled.predict(at, new_run=True).to_dict("records")
    points = resampled.fit.used
    first = points.iloc[0]
    content = {
        "value": expected["loss"],
        "low": expected["low"],
        "high": expected["high"],
        "level": LEVEL,
        "lower_bound": resampled.is_lower_bound,
        "at": at,
        "part": first["part"],
        "features": first["features"],
        "term": first["term"],
        "law": resampled.law.name,
        "parameters": resampled.law.parameters,
        "equation": resampled.law.equation(),
        "points": points[["run", "step", "loss"]].to_dict("records"),
        "written": datetime.now(UTC).isoformat(),
    }
    write_json(content, folder / PREDICTION)
    return content


def read_prediction(run: Run | str | Path) -> dict[str, Any]:
    """The forecast in a run's folder, which need not be a run yet.

    Raises InputError where there is none.
    """
    folder = run.path if isinstance(run, Run) else Path(run)
    file = folder / PREDICTION
    if not file.is_file():
        raise InputError(
            f"{folder} has no forecast: write_prediction makes one before a run begins"
        )
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is not readable JSON ({error}): the forecast is lost") from None


def check_prediction(run: Run | str | Path) -> pd.DataFrame:
    """A forecast beside what the finished run reached, in one row.

    `percent` is by how much the forecast is above the loss, `inside` whether the loss lies in the
    interval. Raises InputError for a run that is not finished, or is another one than was forecast,
    and for a forecast that was written after the run had begun.
    """
    run = run if isinstance(run, Run) else find_run(run)
    said = read_prediction(run)
    if run.state != "done":
        raise InputError(f"{run.path} is {run.state}: forecasts are of the end of a run")
    points = loss_points([run], said["features"], said["part"], said["term"])
    last = points.iloc[-1]
    for name in ("N", "samples"):
        if last[name] != said["at"][name]:
            raise InputError(
                f"the forecast in {run.path} is of {name} = {said['at'][name]:,}, and the run "
                f"ended with {last[name]:,}: it says nothing of this run"
            )
    written = datetime.fromisoformat(said["written"])
    began = _began_before(run)
    if written > began + CLOCK:
        raise InputError(
            f"the forecast in {run.path} was written at {written:%Y-%m-%d %H:%M:%S}, and the run "
            f"began by {began:%Y-%m-%d %H:%M:%S} (UTC): it is no forecast"
        )
    loss = float(last["loss"])
    row = {
        "run": run.path.name,
        "N": last["N"],
        "samples": last["samples"],
        "predicted": said["value"],
        "low": said["low"],
        "high": said["high"],
        "measured": loss,
        "percent": 100 * (said["value"] / loss - 1),
        "inside": said["low"] <= loss <= said["high"],
        "lower_bound": said["lower_bound"],
        "written": written,
        "began": began,
    }
    return pd.DataFrame([row])


def _end_of(config: RunConfig, resampled: Bootstrap, corpus: int | None) -> dict[str, int]:
    """The end of a run that is not there yet, as a point."""
    counts = count_parameters(config.model)
    if counts is None:
        raise InputError(
            f"the size of a model of the family {config.model.family} cannot be counted here: "
            "install what it needs"
        )
    samples = config.steps * config.global_batch
    at = {
        "N": counts.n,
        "parameters": counts.total,
        "step": config.steps,
        "samples": samples,
    }
    largest = resampled.fit.points["corpus"].max() if corpus is None else corpus
    if not math.isnan(largest):
        at["unique"] = min(samples, int(largest))
    return at


def _began_before(run: Run) -> datetime:
    """A time before which the run had begun: its configuration is written first, and never again.

    A copied folder may have newer files; then what its status says of its end and length decides.
    """
    times = [(run.path / "config.json").stat().st_mtime]
    status = run.status()
    if {"updated", "seconds"} <= set(status):
        times.append(status["updated"] - status["seconds"])
    return datetime.fromtimestamp(min(times), UTC)
