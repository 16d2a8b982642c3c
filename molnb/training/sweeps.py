"""Sweeps: a grid of presets, settings and seeds, whose every cell is a run in a folder of its own.

    sweep.json       the cells: folder, what they are of the grid, configuration
    failures.json    cells that could not be trained, each with the reason
    lock             the process that trains them
    laptop_0m25-learning_rate=0.001-seed=1/     a run, as `runs` describes it

A folder is named after the preset, all that the grid changes, and the seed. So a grid may grow: of
the same folder with more values or seeds, what is finished is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import check_folder, write_json
from ..paths import find_run_folder, home
from ..texts import some_of
from .branches import cool_downs
from .config import COOLING, RunConfig
from .overrides import read_setting
from .ownership import LOCK
from .presets import make_preset
from .runs import Run

SWEEP = "sweep.json"
FAILURES = "failures.json"
MOST_CELLS = 1_000
_LONGEST = 32  # characters of a value in the name of a folder


@dataclass(frozen=True)
class Cell:
    """A run of a sweep: its configuration and folder, and its values of what varies.

    These are `preset`, each setting of the grid, and `seed`: columns of tables.
    """

    config: RunConfig
    folder: Path
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def run(self) -> Run | None:
        """The run, once it is begun."""
        return Run(self.folder) if (self.folder / "config.json").exists() else None

    @property
    def state(self) -> str:
        """The state of its run, as `Run.state`."""
        run = self.run
        return "new" if run is None else run.state


@dataclass(frozen=True)
class Sweep:
    """Cells in the order in which they are trained, below one folder."""

    path: Path
    cells: tuple[Cell, ...]

    def left(self) -> list[Cell]:
        """The cells that are not done."""
        return [cell for cell in self.cells if cell.state != "done"]

    def failures(self) -> dict[str, str]:
        """Why cells could not be trained, by name; of those that were since, nothing."""
        reasons = _read(self.path / FAILURES)
        return {cell.name: reasons[cell.name] for cell in self.left() if cell.name in reasons}


def make_sweep(
    presets: str | Sequence[str],
    data: Sequence,
    grid: Mapping[str, Sequence | str],
    out: str | Path | None = None,
    changes: Mapping[str, Any] = MappingProxyType({}),
    seeds: Sequence[int] = (0,),
) -> Sweep:
    """The runs of all presets, with every combination of a grid's values, for every seed.

    `grid` has values by the name of a setting, as `make_preset` changes it; a text is split at its
    commas, those within brackets apart. `changes` are those of all runs. Seeds come one after
    another, so that each completes a table. Without `out` the folder is ``MOLNB_HOME/runs/
    sweep_<id>``, the same for the same sweep. Nothing is written. Raises InputError, naming the
    cell, for what a configuration refuses, for two cells of one name, and above 1,000 cells.
    """
    presets = (presets,) if isinstance(presets, str) else tuple(presets)
    data = (data,) if isinstance(data, str | os.PathLike) else tuple(data)
    seeds = [_plain(seed) for seed in seeds]
    grid = {name: split_values(name, values) for name, values in grid.items()}
    _check_grid(presets, grid, changes, seeds)
    made = []
    for seed, preset, *values in product(seeds, presets, *grid.values()):
        settings = dict(zip(grid, values, strict=True))
        made.append(_make_cell(preset, data, settings, changes, seed))
    names = [_folder_name(values) for _, values in made]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{count} runs would be {name}: give each preset, value and seed once")
    path = Path(out) if out is not None else home() / "runs" / f"sweep_{_digest(names, made)}"
    cells = [
        Cell(config, path / name, values)
        for name, (config, values) in zip(names, made, strict=True)
    ]
    return Sweep(path, tuple(cells))


def cool_down_sweep(
    sweep: Sweep, ends: Sequence[int], out: str | Path | None = None, share: float = COOLING
) -> Sweep:
    """The cool-downs of a sweep's stable runs to each of some ends, as a sweep of its own.

    So a family of runs becomes a table of what trainings of several lengths reach (`cool_downs`).
    Without `out` it lies beside the sweep. Raises InputError for runs that are not finished.
    """
    path = Path(out) if out is not None else sweep.path.with_name(f"{sweep.path.name}-cool-downs")
    unfinished = [cell.name for cell in sweep.left()]
    if unfinished:
        raise InputError(
            f"{some_of(unfinished)} of {sweep.path} are not finished: run_sweep them first, they "
            "are what cool-downs begin with"
        )
    cells = []
    for cell in sweep.cells:
        for config in cool_downs(cell.run, ends, share):
            folder = path / f"{cell.name}-to-{config.steps}"
            cells.append(Cell(config, folder, {**cell.values, "steps": config.steps}))
    return Sweep(path, tuple(cells))


def split_values(name: str, values: Sequence | str) -> list[Any]:
    """The values of a setting; a text is split at its commas, those within brackets apart.

    Brackets around a value are taken off: ``"(0.9,0.99),(0.9,0.95)"`` are two values, as ``--set``
    would read each. Raises InputError where there is none.
    """
    given = _split(values) if isinstance(values, str) else [_plain(value) for value in values]
    if not given or "" in given:
        raise InputError(
            f"the grid has no value for {name!r}, or an empty one ({values!r}): give some, as in "
            "learning_rate=1e-3,2e-3"
        )
    return given


def _split(text: str) -> list[str]:
    """The parts of a text between commas that stand in no brackets, without brackets around."""
    parts = [""]
    depth = 0
    for sign in text:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    if depth:
        raise InputError(f"a bracket is open in {text!r}: close it, as in (0.9,0.99),(0.9,0.95)")
    parts = [part.strip() for part in parts]
    return [part[1:-1] if part[:1] + part[-1:] in ("()", "[]") else part for part in parts]


def _plain(value: Any) -> Any:
    """A number of numpy's, as from `np.logspace`, as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _check_grid(
    presets: Sequence[str],
    grid: Mapping[str, Sequence],
    changes: Mapping[str, Any],
    seeds: Sequence[int],
) -> None:
    """Raise InputError for a grid without cells, with too many, or with a setting given twice."""
    if not presets or not seeds:
        raise InputError("a sweep needs a preset and a seed: name at least one of each")
    n_cell = len(presets) * len(seeds) * math.prod(map(len, grid.values()))
    if n_cell > MOST_CELLS:
        raise InputError(
            f"the grid has {n_cell:,} runs, and a sweep at most {MOST_CELLS:,}: leave out values, "
            "or make several sweeps"
        )
    for name in grid:
        if name in changes:
            raise InputError(f"{name!r} stands in the grid and in the changes: leave one out")
    if "seed" in grid or "seed" in changes:
        raise InputError("'seed' is no setting of a grid: give seeds, as in seeds=(0, 1, 2)")


def _make_cell(
    preset: str,
    data: Sequence,
    settings: Mapping[str, Any],
    changes: Mapping[str, Any],
    seed: int,
) -> tuple[RunConfig, dict[str, Any]]:
    """A configuration, and its values of what varies."""
    try:
        config = make_preset(preset, data, **{**changes, **settings, "seed": seed})
    except InputError as error:
        asked = _folder_name({"preset": preset, **settings, "seed": seed})
        raise InputError(f"{asked}: {error}") from None
    varied = {name: _for_table(read_setting(config, name)) for name in settings}
    return config, {"preset": preset, **varied, "seed": config.seed}


def _for_table(value: Any) -> Any:
    """A value as a cell of a table: a number or name as it is, other things as text."""
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain else _as_name(value)


def _folder_name(values: Mapping[str, Any]) -> str:
    """The name of a cell's folder."""
    others = [f"{name}={_as_name(value)}" for name, value in values.items() if name != "preset"]
    return "-".join([str(values["preset"]), *others])


def _as_name(value: Any) -> str:
    """A value as a part of a file's name; a digest tells apart what would be too long or strange.

    Records and sets of names, as models of one's own, are called by their kind.
    """
    if isinstance(value, (tuple, list)):
        text = "+".join(map(_as_name, value))
    elif is_dataclass(value) or isinstance(value, Mapping):
        text = ""
    else:
        text = str(value)
    name = re.sub(r"[^\w.+-]", "_", text)[:_LONGEST]
    if name and name == text:
        return name
    digest = hashlib.blake2b(_content(value).encode(), digest_size=3).hexdigest()
    return f"{name or type(value).__name__}_{digest}"


def _content(value: Any) -> str:
    """A value with all its parts, as text: the same in every process."""
    if is_dataclass(value):
        parts = {f.name: _content(getattr(value, f.name)) for f in fields(value)}
        return f"{type(value).__name__}{parts}"
    return repr(value)


def _digest(names: Sequence[str], made: Sequence[tuple[RunConfig, Any]]) -> str:
    """Six hexadecimal digits of a sweep."""
    text = json.dumps([[name, config.id] for name, (config, _) in zip(names, made, strict=True)])
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()


def is_sweep(folder: str | Path) -> bool:
    """Whether a folder, or a name below ``MOLNB_HOME/runs``, is that of a sweep that was begun."""
    return (find_run_folder(folder) / SWEEP).is_file()


def load_sweep(folder: str | Path) -> Sweep:
    """A sweep that was begun, by its folder or its name below ``MOLNB_HOME/runs``.

    Its folder may have been moved.
    """
    path = find_run_folder(folder)
    if not is_sweep(path):
        raise InputError(
            f"{folder} is no sweep: it has no {SWEEP}. `molnb sweep` and run_sweep() make one"
        )
    return Sweep(path, tuple(_stored_cells(path)))


def _stored_cells(path: Path) -> Iterator[Cell]:
    """The cells that a sweep's folder knows of."""
    for entry in _read(path / SWEEP).get("cells", []):
        config = RunConfig.from_dict(entry["config"])
        yield Cell(config, path / entry["folder"], entry["values"])


def check_sweep_folder(sweep: Sweep) -> None:
    """Raise InputError where a sweep can neither be made nor gone on with."""
    check_folder(sweep.path, partial(_is_folder_of, sweep))


def _is_folder_of(sweep: Sweep, folder: Path) -> bool:
    """Whether a folder is that of a sweep, or was about to become one when its process ended.

    Folders of cells may be there before: forecasts of their runs are written into them.
    """
    if (folder / SWEEP).is_file():
        return "cells" in _read(folder / SWEEP)
    expected = {LOCK, *(cell.name for cell in sweep.cells)}
    return {name for name in os.listdir(folder) if not name.startswith(".")} <= expected


def with_begun(sweep: Sweep) -> Sweep:
    """A sweep with the cells that were begun in its folder by an earlier grid, behind its own."""
    if not is_sweep(sweep.path):
        return sweep
    names = {cell.name for cell in sweep.cells}
    others = [cell for cell in _stored_cells(sweep.path) if cell.name not in names]
    return Sweep(sweep.path, (*sweep.cells, *(cell for cell in others if cell.run is not None)))


def write_sweep(sweep: Sweep) -> None:
    """Write what the cells of a sweep are into its folder."""
    cells = [
        {"folder": cell.name, "values": dict(cell.values), "config": cell.config.to_dict()}
        for cell in sweep.cells
    ]
    write_json({"cells": cells}, sweep.path / SWEEP)


def note_failure(sweep: Sweep, cell: Cell, reason: str | None) -> None:
    """Note why a cell could not be trained; None where it was."""
    reasons = _read(sweep.path / FAILURES)
    reasons.pop(cell.name, None)
    if reason is not None:
        reasons[cell.name] = reason
    if reasons or (sweep.path / FAILURES).exists():
        write_json(reasons, sweep.path / FAILURES)


def _read(file: Path) -> dict[str, Any]:
    """A JSON file; empty where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file} is not readable JSON ({error}): delete it, and give the whole command again"
        ) from None
