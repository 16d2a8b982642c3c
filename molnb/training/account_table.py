"""What runs cost, a row a run: GPU hours by size of model, as papers report them, and more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models.families import count_parameters
from .runs import Run, find_run, load_runs

if TYPE_CHECKING:
    import pandas as pd

_SECONDS = 3600.0  # of an hour


def accounts_table(runs: Sequence[Run | str | Path] | None = None) -> pd.DataFrame:
    """What runs cost, from runs or their folders (default: all in ``MOLNB_HOME/runs``): a row each.

    `N` and `parameters` count as `molnb presets` does. `device_hours` are the hours of all
    `devices` together, on GPUs GPU hours. `molecules` are those seen, `unique_molecules` the
    different ones among them where all come in turn. `flops` are of training steps, without
    padding; `padding_share` is what padding has of all, `rate_share` what steps reach of the rate
    of a product of matrices (`accounts.RunMeter`). `val_loss` is that of the saved weights. What a
    run of an older molnb did not count is missing.
    """
    import pandas as pd

    return pd.DataFrame(account_rows(runs))


def account_rows(runs: Sequence[Run | str | Path] | None = None) -> list[dict[str, Any]]:
    """The rows of `accounts_table`, where there is no pandas."""
    if runs is None:
        return [_row(run) for run in load_runs()]
    return [_row(run if isinstance(run, Run) else find_run(run)) for run in runs]


def _row(run: Run) -> dict[str, Any]:
    """What a run cost."""
    status = run.status()
    stored = run.read("config.json")
    seconds = status.get("seconds")
    flops = status.get("flops")
    return {
        "run": run.path.name,
        "family": stored["model"].get("family"),
        **_sizes(run),
        "device": device_name(run, status),
        "devices": status.get("processes"),
        "step": status.get("step", 0),
        "molecules": status.get("step", 0) * stored["global_batch"],
        "unique_molecules": unique_molecules(
            stored, status.get("train_molecules"), status.get("step", 0)
        ),
        "hours": None if seconds is None else seconds / _SECONDS,
        "device_hours": status.get("device_hours"),
        "flops": None if flops is None else float(flops),
        "padding_share": _padding_share(status),
        "rate_share": status.get("rate_share"),
        "peak_mib": status.get("peak_mib"),
        "energy_wh": status.get("energy_wh"),
        "val_loss": run.saved_scores().get("loss"),
    }


def _sizes(run: Run) -> dict[str, int | None]:
    """Parameters of a run's model; None of a family that is not here."""
    try:
        counts = count_parameters(run.config.model)
    except InputError:
        counts = None
    if counts is None:
        return {"N": None, "parameters": None}
    return {"N": counts.n, "parameters": counts.total}


def device_name(run: Run, status: dict[str, Any]) -> str | None:
    """The GPU or the processor that a run was trained on."""
    name = status.get("device")
    if name is None:
        return None
    machine = run.read("machine.json")
    return machine.get("gpu" if name.startswith("cuda") else "processor") or name


def unique_molecules(stored: dict[str, Any], n_train: int | None, step: int) -> int | None:
    """Different training molecules seen in so many steps of a stored configuration.

    None where they are drawn unevenly, or where nobody noted how many there are (`n_train`).
    """
    sampling = stored.get("sampling") or {}
    evenly = sampling.get("kind", "uniform") == "uniform" and not (
        sampling.get("weights") or sampling.get("temperature")
    )
    if n_train is None or not evenly:
        return None
    return min(n_train, step * stored["global_batch"])


def _padding_share(status: dict[str, Any]) -> float | None:
    """What padding has of all FLOPs."""
    flops = status.get("flops")
    padding = status.get("padding_flops")
    if flops is None or padding is None or not flops:
        return None
    return padding / (flops + padding)
