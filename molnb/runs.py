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
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from .errors import Refused
from .models.two_track import TwoTrack, TwoTrackConfig
from .objectives import Model, Pretrain, Supervised, describe, make_objective
from .places import home
from .shards import write_json, writing


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes.

    `data` names folders of curated datasets (paths, or names below ``MOLNB_HOME/data``). The global batch is worked
    through in groups of at most `pair_budget` padded pairs. The learning rate rises linearly over `warmup_steps`, then
    falls linearly to zero at `steps`; heads may have one of their own, and each block below the last has `layer_decay`
    times the rate of the one above it. With `patience`, training stops after that many validations without a better
    loss, and the best weights are kept. `start_from` is a run folder whose encoder is
    taken over; its first `frozen_layers` blocks (and the embeddings, if any block is) then stay as they are.

    Rows are those of the split's parts, or `train_ids` and `val_ids` (positions in the corpus); `n_train` and `n_val`
    take a fixed hash sample of them. Molecules that a dataset in `exclude` also has, by the loose keys that ignore
    stereo, charge and tautomer, are left out. Molecules above `max_atoms` are cropped to it in pretraining (None:
    never), another piece at every step; validation sees them whole.
    """

    name: str
    data: tuple[str, ...]
    model: TwoTrackConfig
    objective: Pretrain | Supervised = field(default_factory=Pretrain)
    steps: int = 1000
    global_batch: int = 64
    learning_rate: float = 1e-4
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = 1e-6
    clip_norm: float = 1.0
    seed: int = 0
    split: str | None = None
    train_ids: tuple[int, ...] | None = None
    val_ids: tuple[int, ...] | None = None
    exclude: tuple[str, ...] = ()
    n_train: int | None = None
    n_val: int = 256
    pair_budget: int = 16_384
    eval_every: int = 200
    checkpoint_every: int = 200
    log_every: int = 1
    precision: str = "auto"
    compile: bool = False  # fuse the encoder with torch.compile: pays on a GPU, after a minute for each length
    start_from: str | None = None
    frozen_layers: int = 0
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    patience: int | None = None
    max_atoms: int | None = None

    def __post_init__(self):
        for name in ("steps", "global_batch", "pair_budget", "eval_every", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise Refused(f"unknown precision {self.precision!r}: choose auto, float32 or bfloat16")
        if self.max_atoms is not None and (self.max_atoms < 2 or isinstance(self.objective, Supervised)):
            raise Refused(
                f"max_atoms is {self.max_atoms}: give 2 or more, and only in pretraining. A label belongs to the whole "
                "molecule and not to a piece of it; curate leaves out what is too large (structure.max_heavy_atoms)"
            )
        if not self.data:
            raise Refused("a run needs data: name at least one folder that curate() returned")

    def to_dict(self) -> dict:
        return asdict(replace(self, objective=Pretrain())) | {"objective": describe(self.objective)}

    @classmethod
    def from_dict(cls, stored: dict) -> RunConfig:
        """A configuration from its stored form; unknown keys are refused."""
        unknown = set(stored) - set(cls.__dataclass_fields__)
        if unknown:
            raise Refused(f"unknown keys in a run's configuration: {', '.join(sorted(unknown))}")
        return cls(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
            | {"model": TwoTrackConfig.from_dict(stored["model"]), "objective": make_objective(stored["objective"])}
        )

    @property
    def id(self) -> str:
        """Six hexadecimal digits of the configuration."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()


class Run:
    """A run's folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise Refused(f"{self.path} is no run: it has no config.json (runs are listed by `molnb runs`)")

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
            raise Refused(f"{file} is not readable JSON ({error}): restore it, or start the run again") from None

    def status(self) -> dict:
        """`state` (running, done, stopped, failed), `step`, `steps`, `seconds`; empty before the first step."""
        return self._json("status.json")

    def baselines(self) -> dict[str, dict[str, float]]:
        """What each validation term must beat, by which baseline (hidden or visible features; mean, lookup)."""
        return self._json("baselines.json")

    def unseen(self) -> tuple[str, ...]:
        """Features that no training molecule had, by name; they contribute nothing. Empty where no list was kept."""
        return tuple(self._json("unseen.json").get("unseen", ()))

    def metrics(self, part: str | None = None, features: str | None = None) -> list[dict]:
        """Logged rows: `step`, `part` (train or val), `features` (mixed, hidden, visible), then the terms."""
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
        """The file of the trained weights; raises Refused if the run has none yet."""
        file = self.path / "weights.safetensors"
        if not file.exists():
            state = self.status().get("state", "new")
            raise Refused(f"{self.path} has no weights yet (it is {state}): train it, or choose another run")
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


def load_weights(model: Model, file: Path) -> None:
    """Fill a model from a safetensors file; raises Refused, naming the first tensor that does not fit."""
    try:
        stored = load_file(file)
    except SafetensorError as error:
        raise Refused(f"{file} is damaged ({error}): use an earlier checkpoint, or train again") from None
    expected = model.state_dict()
    for name in sorted(expected.keys() | stored.keys()):
        here, there = expected.get(name), stored.get(name)
        if here is None or there is None or here.shape != there.shape:
            shapes = [str(tuple(t.shape)) if t is not None else "absent" for t in (there, here)]
            raise Refused(f"{file} belongs to another model: {name} is {shapes[0]} there and {shapes[1]} in this one")
    model.load_state_dict(stored)


def start_run(config: RunConfig, out: str | Path | None = None) -> Run:
    """The folder of a run, made if it is not there: the same configuration and folder go on where they stopped.

    Without `out` the folder is ``MOLNB_HOME/runs/<date>_<name>_<id>``, with a number if that exists.
    """
    path = Path(out) if out is not None else _fresh_folder(config)
    stored = json.loads(json.dumps(config.to_dict()))
    if (path / "config.json").exists():
        run = Run(path)
        there = RunConfig.from_dict(run._json("config.json")).to_dict()  # an older one lacks newer settings
        there = json.loads(json.dumps(there))
        if there != stored:
            keys = [k for k in stored if stored[k] != there.get(k)]
            raise Refused(f"{path} holds a run that differs in {', '.join(keys)}: choose another folder, or delete it")
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
    raise Refused(f"{home() / 'runs'} holds 999 runs named {stem}: delete some, or name the folder yourself")


def find_run(name: str | Path) -> Run:
    """A run by its folder, or by its name below ``MOLNB_HOME/runs``."""
    folder = Path(name)
    below = home() / "runs" / folder
    return Run(below if not folder.exists() and below.exists() else folder)


def check_start(config: RunConfig) -> None:
    """Refuse a run that cannot be started from: not there, without weights, or of another architecture."""
    run = find_run(config.start_from)
    run.weights_file()
    theirs, ours = run.config.model.to_dict(), config.model.to_dict()
    differ = [k for k, v in ours.items() if theirs[k] != v]
    if differ:
        raise Refused(f"{run.path} was trained with another architecture ({', '.join(differ)} differ): use its model")


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
        "gpu_memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1) if cuda else None,
    }


def load_runs(folder: str | Path | None = None) -> list[Run]:
    """All runs below a folder (default ``MOLNB_HOME/runs``), oldest first."""
    root = Path(folder) if folder is not None else home() / "runs"
    return [Run(p.parent) for p in sorted(root.rglob("config.json"), key=lambda p: p.stat().st_mtime)]


def runs_table(folder: str | Path | None = None) -> list[dict]:
    """One row a run: name, state, progress and its last validation terms."""
    rows = []
    for run in load_runs(folder):
        status, last = run.status(), run.last()
        found = {"run": run.path.name, "state": status.get("state", "new"), "step": status.get("step", 0)}
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


def write_checkpoint(run: Run, step: int, tensors: dict[str, torch.Tensor], keep: int = 2) -> None:
    """Weights and optimiser state after `step` steps, written beside and renamed: a kill leaves the older one whole."""
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    file = folder / f"step-{step:09d}.safetensors"
    _save(tensors, file, {"step": str(step)})
    for old in sorted(folder.glob("step-*.safetensors"))[:-keep]:
        old.unlink()


def write_weights(run: Run, model: Model) -> None:
    """The model's weights alone, as `weights.safetensors`."""
    _save(model.state_dict(), run.path / "weights.safetensors", {})


def _save(tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str]) -> None:
    try:
        with writing(file) as partial:
            save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, partial, metadata)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise Refused(
            f"{file} could not be written ({error}): free some space and start the same command again, "
            "it goes on from the last checkpoint"
        ) from None


def write_best(run: Run, step: int, tensors: dict[str, torch.Tensor]) -> None:
    """The weights with the lowest validation loss so far."""
    _save(tensors, run.path / "checkpoints" / "best.safetensors", {"step": str(step)})


def last_checkpoint(run: Run) -> tuple[int, dict[str, torch.Tensor]] | None:
    """Step and tensors of the newest checkpoint that is whole; None where there is none."""
    for file in sorted((run.path / "checkpoints").glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(file, "pt") as opened:
                return int(opened.metadata()["step"]), {k: opened.get_tensor(k) for k in opened.keys()}
        except (SafetensorError, OSError):
            continue
    return None


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
    raise Refused(f"no curated dataset at {name!r} or {home() / 'data' / name}: curate it first (`molnb curate NAME`)")


def data_names(datasets: Sequence) -> tuple[str, ...]:
    """How a configuration refers to datasets: by name where they lie below ``MOLNB_HOME/data``, else by path.

    Accepts folders, names and `Shards`.
    """
    found = []
    for d in datasets:
        path = Path(getattr(d, "path", d))
        inside = path.is_dir() and path.resolve().parent == (home() / "data").resolve()
        found.append(path.name if inside else str(path))
    return tuple(found)
