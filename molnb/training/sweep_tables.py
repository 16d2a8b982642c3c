"""Tables of sweeps: a row a cell, best first; and a row a setting, over its seeds.

They are made from folders alone, whoever trained the runs, and whenever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models.families import count_parameters
from .sweeps import Cell, Sweep, load_sweep

if TYPE_CHECKING:
    import pandas as pd

_COSTS = ("flops", "seconds", "cpu_seconds", "peak_mib")
_FIRST = "N"  # the column behind those of what varies


def sweep_table(sweep: Sweep | str | Path) -> pd.DataFrame:
    """The cells of a sweep, or of its folder, a row each: finished ones first, by their loss.

    First what varies (`preset`, the settings of the grid), then `N` as `molnb presets` counts it,
    `seed`, `state`, `step` of `steps`. `loss` is the validation loss of the saved weights, with
    features shown as a validation logs first (hidden in pretraining); each kind of validation has
    a column too, such as `val_hidden_loss`. Costs are those of a run's status; `reason` says why a
    cell failed. `run` is its folder.
    """
    import pandas as pd

    return pd.DataFrame(sweep_rows(sweep))


def sweep_rows(sweep: Sweep | str | Path) -> list[dict[str, Any]]:
    """The rows of `sweep_table`, where there is no pandas."""
    sweep = sweep if isinstance(sweep, Sweep) else load_sweep(sweep)
    failures = sweep.failures()
    rows = [_row(cell, failures.get(cell.name)) for cell in sweep.cells]
    varied = _names(row[0] for row in rows)
    scored = _names(row[2] for row in rows)
    table = [
        {name: values.get(name) for name in varied}
        | told
        | {name: losses.get(name) for name in scored}
        | costs
        for values, told, losses, costs in rows
    ]
    return sorted(table, key=lambda row: (row["state"] != "done", _rank(row["loss"])))


def _row(cell: Cell, reason: str | None) -> tuple[dict[str, Any], ...]:
    """Of a cell: what varies, what it is and how far, its losses, what it cost."""
    values = {name: value for name, value in cell.values.items() if name != "seed"}
    counts = count_parameters(cell.config.model)
    run = cell.run
    status = {} if run is None else run.status()
    # what failed may not even have become a run
    state = status.get("state", "new") if reason is None else "failed"
    losses = {} if run is None else run.saved_losses()
    told = {
        "N": None if counts is None else counts.n,
        "seed": cell.config.seed,
        "state": state,
        "step": 0 if run is None else max(run.last_step, status.get("step", 0)),
        "steps": cell.config.steps,
        "loss": next(iter(losses.values()), None),
    }
    by_kind = {f"{part}_{features}_loss": loss for (part, features), loss in losses.items()}
    costs = {name: status.get(name) for name in _COSTS}
    costs["flops"] = None if costs["flops"] is None else float(costs["flops"])
    return values, told, by_kind, costs | {"reason": reason, "run": str(cell.folder)}


def by_setting(table: pd.DataFrame, column: str = "loss") -> pd.DataFrame:
    """Mean and spread over seeds of a column of `sweep_table`, a row a setting, lowest first.

    `seeds` are those of finished runs that have the value, `failed` those that failed; `sd` is the
    standard deviation between runs (n - 1), which a single seed has none of.
    """
    import pandas as pd

    return pd.DataFrame(setting_rows(table.to_dict("records"), column))


def setting_rows(rows: Sequence[dict[str, Any]], column: str = "loss") -> list[dict[str, Any]]:
    """The rows of `by_setting`, from those of `sweep_rows`, where there is no pandas."""
    if not rows or column not in rows[0] or _FIRST not in rows[0]:
        raise InputError(
            f"there is no column {column!r} in a table with {', '.join(rows[0]) if rows else 'no'} "
            "columns: give one of sweep_table(), and a column of it"
        )
    varied = list(rows[0])[: list(rows[0]).index(_FIRST)]
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        key = tuple(row[name] if is_known(row[name]) else None for name in varied)
        groups.setdefault(key, []).append(row)
    settings = [
        dict(zip(varied, key, strict=True)) | {_FIRST: group[0][_FIRST]} | _spread(group, column)
        for key, group in groups.items()
    ]
    return sorted(settings, key=lambda row: _rank(row["mean"]))


def _spread(rows: Sequence[dict[str, Any]], column: str) -> dict[str, Any]:
    """Number, mean and spread of a column over finished runs."""
    of_done = [row[column] for row in rows if row["state"] == "done"]
    values = [value for value in of_done if is_known(value)]
    return {
        "seeds": len(values),
        "failed": sum(row["state"] == "failed" for row in rows),
        "mean": mean(values) if values else None,
        "sd": stdev(values) if len(values) > 1 else None,
        "lowest": min(values, default=None),
        "highest": max(values, default=None),
    }


def is_known(value: Any) -> bool:
    """Whether a cell of a table has a value: not None, nor NaN, which pandas makes of it."""
    return value is not None and value == value


def _rank(value: float | None) -> float:
    """A number to sort by: what is missing comes last."""
    return value if is_known(value) else math.inf


def _names(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The columns of rows, in the order in which they first name them."""
    return list(dict.fromkeys(name for row in rows for name in row))
