"""A run: one folder with its configuration, machine, metrics, checkpoints and weights.

    config.json      everything that decides the result          machine.json   where it ran, library versions
    metrics.jsonl    one line a logged step; no clock in it, so equal seeds give equal files
    timings.jsonl    seconds since the start, for the same steps status.json    running, done, stopped or failed
    baselines.json   what each term must beat                    weights.safetensors, checkpoints/
    unseen.json      features that no training molecule has, which contribute nothing

Nothing that is read back can run code: JSON and safetensors only.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path

import torch

from ..errors import InputError
from ..files import write_json, writing
from ..models.model import Model
from ..models.unimol2.encoder import TwoTrack
from ..paths import home
from .checkpoints import load_weights
from .config import RunConfig


class Run:
    """A run's folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise InputError(
                f"{self.path} is no run: it has no config.json (runs are listed by `molnb runs`)"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status().get('state', 'new')})"

    @property
    def config(self) -> RunConfig:
        return RunConfig.from_dict(self._json("config.json"))

    @property
    def name(self) -> str:
        return self._json("config.json")["name"]

    def _json(self, name: str) -> dict:
        file = self.path / name
        try:
            return json.loads(file.read_text()) if file.exists() else {}
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file} is not readable JSON ({error}): restore it, or start the run again"
            ) from None

    def status(self) -> dict:
        """`state` (running, done, stopped, failed), `step`, `steps`, `seconds`; empty before the
        first step.
        """
        return self._json("status.json")

    def baselines(self) -> dict[str, dict[str, float]]:
        """What each validation term must beat, by which baseline (hidden or visible features;
        mean, lookup).
        """
        return self._json("baselines.json")

    def unseen(self) -> tuple[str, ...]:
        """Features that no training molecule had, by name; they contribute nothing. Empty where
        no list was kept.
        """
        return tuple(self._json("unseen.json").get("unseen", ()))

    def metrics(self, part: str | None = None, features: str | None = None) -> list[dict]:
        """Logged rows: `step`, `part` (train or val), `features` (mixed, hidden, visible), then
        the terms.
        """
        rows = _read_lines(self.path / "metrics.jsonl")
        wanted = {k: v for k, v in (("part", part), ("features", features)) if v is not None}
        return [r for r in rows if all(r[k] == v for k, v in wanted.items())]

    def timings(self) -> list[dict]:
        """`step` and `seconds` since the run (or its last resumption) began."""
        return _read_lines(self.path / "timings.jsonl")

    def last(self, features: str | None = None) -> dict:
        """The last validation row, or an empty one."""
        rows = self.metrics("val", features)
        return rows[-1] if rows else {}

    def write_status(self, **values) -> None:
        values = self.status() | values | {"pid": os.getpid(), "updated": round(time.time(), 1)}
        write_json(values, self.path / "status.json")

    def weights_file(self) -> Path:
        """The file of the trained weights; raises InputError if the run has none yet."""
        file = self.path / "weights.safetensors"
        if not file.exists():
            state = self.status().get("state", "new")
            raise InputError(
                f"{self.path} has no weights yet (it is {state}): train it, or choose another run"
            )
        return file

    def load_model(self) -> Model:
        """The trained model on the CPU, in evaluation mode."""
        model = make_model(self.config)
        load_weights(model, self.weights_file())
        return model.eval()


def make_model(config: RunConfig) -> Model:
    """The untrained model of a configuration; its initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Model(TwoTrack(config.model), config.objective)


def start_run(config: RunConfig, out: str | Path | None = None) -> Run:
    """The folder of a run, made if it is not there: the same configuration and folder go on where
    they stopped.

    Without `out` the folder is ``MOLNB_HOME/runs/<date>_<name>_<id>``, with a number if that
    exists.
    """
    path = Path(out) if out is not None else _fresh_folder(config)
    stored = json.loads(json.dumps(config.to_dict()))
    if (path / "config.json").exists():
        run = Run(path)
        there = RunConfig.from_dict(
            run._json("config.json")
        ).to_dict()  # an older one lacks newer settings
        there = json.loads(json.dumps(there))
        if there != stored:
            keys = [k for k in stored if stored[k] != there.get(k)]
            raise InputError(
                f"{path} holds a run that differs in {', '.join(keys)}: choose another folder, or delete it"
            )
        return run
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_json(describe_machine(), path / "machine.json")
    write_json(stored, path / "config.json")
    return Run(path)


def _fresh_folder(config: RunConfig) -> Path:
    stem = f"{datetime.date.today().isoformat()}_{config.name}_{config.id}"
    for number in range(1, 1000):
        path = home() / "runs" / (stem if number == 1 else f"{stem}-{number}")
        if not path.exists():
            return path
    raise InputError(
        f"{home() / 'runs'} holds 999 runs named {stem}: delete some, or name the folder yourself"
    )


def find_run(name: str | Path) -> Run:
    """A run by its folder, or by its name below ``MOLNB_HOME/runs``."""
    folder = Path(name)
    below = home() / "runs" / folder
    return Run(below if not folder.exists() and below.exists() else folder)


def check_start(config: RunConfig) -> None:
    """Refuse a run that cannot be started from: not there, without weights, or of another
    architecture.
    """
    run = find_run(config.start_from)
    run.weights_file()
    theirs, ours = run.config.model.to_dict(), config.model.to_dict()
    differ = [k for k, v in ours.items() if theirs[k] != v]
    if differ:
        raise InputError(
            f"{run.path} was trained with another architecture ({', '.join(differ)} differ): use its model"
        )


def describe_machine() -> dict:
    """Hardware and versions, for the record; nothing is computed from it."""
    cuda = torch.cuda.is_available()
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "gpu_memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
        if cuda
        else None,
    }


def load_runs(folder: str | Path | None = None) -> list[Run]:
    """All runs below a folder (default ``MOLNB_HOME/runs``), oldest first."""
    root = Path(folder) if folder is not None else home() / "runs"
    return [
        Run(p.parent) for p in sorted(root.rglob("config.json"), key=lambda p: p.stat().st_mtime)
    ]


def runs_table(folder: str | Path | None = None) -> list[dict]:
    """One row a run: name, state, progress and its last validation terms."""
    rows = []
    for run in load_runs(folder):
        status, last = run.status(), run.last()
        found = {
            "run": run.path.name,
            "state": status.get("state", "new"),
            "step": status.get("step", 0),
        }
        found |= {"steps": status.get("steps"), "seconds": status.get("seconds")}
        rows.append(found | {k: v for k, v in last.items() if k not in ("step", "part")})
    return rows


def _read_lines(file: Path) -> list[dict]:
    """Whole JSON lines of a file; a last line cut short by a kill is left out."""
    if not file.exists():
        return []
    rows = []
    for line in file.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def rewind_logs(run: Run, step: int) -> None:
    """Forget logged rows after a step, so that a resumed run logs each step once."""
    for name in ("metrics.jsonl", "timings.jsonl"):
        rows = [r for r in _read_lines(run.path / name) if r["step"] <= step] if step >= 0 else []
        with writing(run.path / name) as partial:
            partial.write_text("".join(json.dumps(r) + "\n" for r in rows))


def find_data(name: str) -> Path:
    """Folder of a dataset: the path itself, or the name below ``MOLNB_HOME/data``."""
    for path in (Path(name), home() / "data" / name):
        if (path / "manifest.json").is_file():
            return path
    raise InputError(
        f"no curated dataset at {name!r} or {home() / 'data' / name}: curate it first (`molnb curate NAME`)"
    )
