"""Scores of labels as people read them: a row a task, or a row a label with its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..units import readable, with_unit

HEADINGS = {
    "mae": "MAE",
    "mae_sd": "MAE / training sd",
    "rmse": "RMSE",
    "r2": "R²",
    "r2_residual": "R² beyond atom counts",
    "pearson": "Pearson",
    "pearson_residual": "Pearson beyond atom counts",
    "spearman": "Spearman",
    "spearman_residual": "Spearman beyond atom counts",
    "auroc": "AUROC",
    "ap": "average precision",
    "brier": "Brier",
    "ece": "calibration error",
    "accuracy": "accuracy",
}
OF_TASKS = ("mae_sd", "r2", "r2_residual", "auroc", "ap")  # means over labels that mean something
IN_SD = (
    "MAE / training sd: mean absolute error in standard deviations of the label's training values, "
    "the unit of published tables of multi-task models. "
)

Row = Mapping[str, Any]


def with_sd(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of a run's table, and behind each absolute error the same in standard deviations."""
    more = []
    for row in rows:
        more.append(dict(row))
        if row["metric"] == "mae":
            sd = row["sd"]
            scaled = {
                name: None if _is_missing(row[name]) else row[name] / sd
                for name in ("value", "low", "high", "baseline")
            }
            more.append(dict(row) | scaled | {"metric": "mae_sd", "unit": ""})
    return more


def task_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row a part and task: means over its labels that can be scored, and of how many labels.

    Where some labels cannot be scored it is said, as in `0.81 (11 of 12)`.
    """
    tasks: dict[tuple, dict[str, list[Row]]] = {}
    for row in with_sd(rows):
        of_task = tasks.setdefault((row["part"], row["task"]), {})
        of_task.setdefault(row["metric"], []).append(row)
    shown = []
    for (part, task), metrics in tasks.items():
        first = next(iter(metrics.values()))
        line = {
            "part": part,
            "dataset": first[0]["dataset"],
            "task": task,
            "labels": len(first),
            "known values": sum(row["n"] for row in first),
        }
        for name in OF_TASKS:
            if name in metrics:
                line[f"mean {HEADINGS[name]}"] = _mean(metrics[name])
        shown.append(line)
    return shown


def _mean(rows: Sequence[Row]) -> str:
    """The mean of values that are defined."""
    values = [row["value"] for row in rows if not _is_missing(row["value"])]
    if not values:
        return "undefined"
    text = readable(sum(values) / len(values), in_unit=False)
    return text if len(values) == len(rows) else f"{text} ({len(values)} of {len(rows)})"


def label_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row a part and label: each score with its interval, `0.812 (0.774 to 0.846)`."""
    labels: dict[tuple, dict[str, Any]] = {}
    for row in with_sd(rows):
        line = labels.setdefault(
            (row["part"], row["task"], row["label"]),
            {"part": row["part"], "task": row["task"], "label": row["label"], "n": row["n"]},
        )
        if not _is_missing(row["n_positive"]):
            line["positives"] = int(row["n_positive"])
        if row["unit"]:
            line["label"] = with_unit(row["label"], row["unit"])
        line[HEADINGS[row["metric"]]] = _with_interval(row)
    return list(labels.values())


def _with_interval(row: Row) -> str:
    in_unit = row["metric"] in ("mae", "rmse")
    texts = [
        None if _is_missing(row[name]) else readable(row[name], in_unit=in_unit)
        for name in ("value", "low", "high")
    ]
    if texts[0] is None:
        return "undefined"
    return texts[0] if texts[1] is None else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _is_missing(value: Any) -> bool:
    """Whether there is no number: None, or the NaN that pandas puts in its place."""
    return value is None or value != value


def notes_on(rows: Sequence[Row]) -> str:
    """What must be known to read a table, in sentences."""
    step = max(row["step"] for row in rows)
    notes = [f"Scores of the saved weights, from the validation of step {step:,}."]
    n_draw = sorted({row["draws"] for row in rows if row["draws"]})
    if n_draw:
        span = " to ".join(dict.fromkeys((f"{n_draw[0]}", f"{n_draw[-1]}")))
        notes.append(f"Intervals: 95 %, over molecules ({span} resampled sets).")
    if any(row["metric"] == "mae" for row in rows):
        notes.append(IN_SD.strip())
    if any(row["metric"] == "r2_residual" for row in rows):
        notes.append(
            "Beyond atom counts: of what a linear fit on element counts of training rows leaves "
            "over, as the whole label grows with the molecule."
        )
    n_ranked = [row for row in rows if not _is_missing(row["n_ranked"])]
    if any(0 < row["n_ranked"] < row["n"] for row in n_ranked):
        notes.append("Rankings are of a fixed sample of molecules; sums are of all.")
    return "\n".join(notes)
