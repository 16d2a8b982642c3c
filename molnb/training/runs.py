"""A run: one folder with its configuration, machine, metrics, checkpoints and weights.

    config.json      everything that decides the result
    machine.json     where it ran, library versions
    data.json        of its data: the largest molecule that its recipes let in, and what of metals
    metrics.jsonl    one line a logged step; no clock in it, so equal seeds give equal files.
                     Training rows have `molecules` and `flops` of all steps so far
    timings.jsonl    seconds since the start, for the same steps
    status.json      running, done, stopped or failed; the step of the weights; what it cost
    notes.json       what its rows cannot tell, in sentences
    prediction.json  a forecast of its loss, where somebody wrote one before it began
    baselines.json   what each term must beat
    label_scores.parquet  of each label by several measures, by the saved weights (`scored_labels`)
    weights.safetensors, checkpoints/
    lock             the process that trains it (`ownership`)
    stop             there while it is asked to end
    log.txt          what a process said that was launched

Nothing that is read back can run code: JSON and safetensors only.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import torch

from ..errors import InputError
from ..files import append_lines, check_folder, write_json, writing
from ..models.families import build_encoder, count_parameters
from ..models.model import Model
from ..models.width_transfer import rate_factors
from ..paths import find_data, find_run_folder, home
from ..shards import load_shards
from .checkpoints import load_weights
from .config import RunConfig
from .device import processor_name
from .ownership import is_owned
from .scored_labels import read_label_scores

if TYPE_CHECKING:
    import pandas as pd

MAX_SAME_NAME = 999  # runs of one configuration on one day
NOTES = "notes.json"
COUNTS = ("_positives", "_n", "_rarest")  # how names of counts end, among terms
DATA = "data.json"
MACHINE = "machine.json"
PREDICTION = "prediction.json"  # there before the run is (`evaluation.scaling.forecast`)
MAX_HEAVY_ATOMS = 64  # that recipes let in unless they say otherwise
# What lies in a folder before it is a run: config.json comes last.
_FIRST_FILES = {"checkpoints", MACHINE, DATA, PREDICTION}
LOGS = ("metrics.jsonl", "timings.jsonl")
STOP = "stop"
WEIGHTS = "weights.safetensors"
CHECKPOINTS = "checkpoints"


class Run:
    """A training run, read from and written to its folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._noting = Lock()  # the loop notes its status, and what writes in the background does
        if not (self.path / "config.json").is_file():
            raise InputError(
                f"{self.path} is no run: it has no config.json (runs are listed by `molnb runs`)"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.state})"

    @property
    def config(self) -> RunConfig:
        """What decides the run."""
        return RunConfig.from_dict(self.read("config.json"))

    @property
    def name(self) -> str:
        """The configuration's name."""
        return self.read("config.json")["name"]

    def read(self, name: str) -> dict:
        """A JSON file of the folder; empty where there is none."""
        file = self.path / name
        try:
            return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file} is not readable JSON ({error}): restore it, or start the run again"
            ) from None

    def status(self) -> dict:
        """`state`, `step`, `steps`, and what they cost; empty before the first step.

        The state is running, done, stopped (on request), failed (by an error) or killed (its
        process ended without a word). Costs are those of all sessions and processes of the run
        (`accounts`): `molecules`, `flops`, `bytes` and what of them is padding; `seconds`,
        `cpu_seconds`, `device_hours`, `peak_mib` of the largest process, and `kept_mib`, which are
        its parameters, gradients, optimiser state and averages; `energy_wh`, and `rate_share` of
        the device's `matrix_rate`. They are of the last checkpoint or the end; what could not be
        counted or read is None. Of a branch, what is counted of steps goes on from its parent's,
        what is measured is its own.
        """
        status = self.read("status.json")
        if status.get("state") == "running" and not is_owned(self.path):
            status["state"] = "killed"
        return status

    @property
    def state(self) -> str:
        """The state of `status`, or new."""
        return self.status().get("state", "new")

    @property
    def max_heavy_atoms(self) -> int:
        """The largest molecule that its data may hold, in heavy atoms, so that it may have seen.

        For a run of an older molnb, that of its data if they are still there, else 64.
        """
        stored = self.read(DATA).get("max_heavy_atoms")
        return stored or largest_allowed(self.config.data) or MAX_HEAVY_ATOMS

    @property
    def metals(self) -> str:
        """What becomes of complexes and salts of metals, as its data had it: drop or remove."""
        stored = self.read(DATA).get("metals")
        return stored or treatment_of_metals(self.config.data)

    def baselines(self) -> dict[str, dict[str, float]]:
        """What each validation term must beat, by which baseline.

        Baselines are of hidden or visible features; mean or lookup.
        """
        return self.read("baselines.json")

    def unseen(self) -> tuple[str, ...]:
        """Features that no training molecule had, by name; they contribute nothing."""
        return tuple(self.load_model().encoder.unseen_features())

    def metrics(self, part: str | None = None, features: str | None = None) -> list[dict]:
        """Logged rows: `step`, `part`, `features`, then the terms; None where one is undefined.

        The part is train, val, val_random (training molecules that were held out at random:
        `n_random_val`), or train_sample: training molecules scored as validation scores, where
        classes are told apart. Features are mixed, hidden or visible.
        """
        rows = _read_lines(self.path / "metrics.jsonl")
        if part is not None:
            rows = [row for row in rows if row.get("part") == part]
        if features is not None:
            rows = [row for row in rows if row.get("features") == features]
        return rows

    @property
    def n_logged_byte(self) -> int:
        """The length of the file of timings: it grows with every step, once its rows are logged."""
        file = self.path / LOGS[1]
        return file.stat().st_size if file.exists() else 0

    @property
    def last_step(self) -> int:
        """The last step that was logged; 0 before any. Of a log the end is read alone."""
        file = self.path / LOGS[1]
        if not file.exists():
            return 0
        with file.open("rb") as lines:
            lines.seek(max(0, file.stat().st_size - 1_000))
            end = lines.read().decode()
        for line in reversed(end.splitlines()):
            with suppress(json.JSONDecodeError):  # cut short by a kill, or where the end begins
                return json.loads(line)["step"]
        return 0

    def losses(self, part: str | None = None, features: str | None = None) -> pd.DataFrame:
        """The rows of `metrics` as a table: a row a logged step, a column a term."""
        import pandas as pd

        return pd.DataFrame(self.metrics(part, features))

    def timings(self) -> list[dict]:
        """`step` and `seconds` since the run (or its last resumption) began."""
        return _read_lines(self.path / "timings.jsonl")

    def last(self, features: str | None = None) -> dict:
        """The last validation row, or an empty one; see `saved_scores` for that of the weights."""
        rows = self.metrics("val", features)
        return rows[-1] if rows else {}

    def best(self, features: str | None = None) -> dict:
        """The validation row with the lowest loss, the first of equals; or an empty one."""
        return min(self.metrics("val", features), key=lambda row: row["loss"], default={})

    def saved_scores(self, features: str | None = None) -> dict:
        """The validation row of the weights that are saved, or an empty one.

        With patience these are the best and not the last. Weights that were saved between two
        validations have the row before them; `step` says which.
        """
        status = self.read("status.json")
        step = status.get("weights_step")
        if step is None and status.get("state") == "done" and self._has_patience():
            step = self.best().get("step")  # a run from before the step was noted
        rows = self.metrics("val", features)
        if step is not None:
            rows = [row for row in rows if row["step"] <= step]
        return rows[-1] if rows else {}

    def saved_losses(self) -> dict[tuple[str, str], float | None]:
        """Validation losses of the weights that are saved, by part and how features were shown.

        Parts are val, and others whose names begin so. The first is what a validation logs first.
        """
        step = self.saved_scores().get("step")
        return {
            (row["part"], row["features"]): row["loss"]
            for row in self.metrics()
            if row["step"] == step and row["part"].startswith("val")
        }

    def label_scores(self, part: str | None = None) -> pd.DataFrame:
        """Scores of each label by the weights that are saved: a row a label and metric.

        The part is val, val_random or train_sample. `low` and `high` are the ends of a 95 %
        interval over molecules (`draws` resampled sets), `in_sd` an error in standard deviations of
        the label in training rows (`sd`), `baseline` what a trivial answer has. Of extensive labels
        R² and correlations are those of what counting atoms leaves over, as `r2_residual`. Raises
        InputError where there is no such table.
        """
        table = read_label_scores(self.path).to_pandas()
        return table if part is None else table[table["part"] == part].reset_index(drop=True)

    def _has_patience(self) -> bool:
        return self.read("config.json").get("patience") is not None

    def notes(self) -> list[str]:
        """What the rows of the run cannot tell, a sentence each; said when it began."""
        return self.read(NOTES) or []

    def write_status(self, **values) -> None:
        """Note more of the status; only the process that owns the run does."""
        updated = {"pid": os.getpid(), "updated": round(time.time(), 1)}
        with self._noting:
            write_json(self.read("status.json") | values | updated, self.path / "status.json")

    def log(self, rows: list[dict], seconds: float) -> None:
        """Add rows of one step to the metrics, and its time to the timings."""
        if not rows:
            return
        timing = {"step": rows[0]["step"], "seconds": round(seconds, 3)}
        for name, lines in zip(LOGS, (rows, [timing])):
            append_lines(self.path / name, map(json.dumps, lines))

    def forget_after(self, step: int) -> None:
        """Take back what was logged after a step, so that a resumed run logs each step once."""
        for name in LOGS:
            rows = [row for row in _read_lines(self.path / name) if row["step"] <= step]
            with writing(self.path / name) as partial:
                partial.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def stop(self) -> None:
        """Ask the process that trains the run to end after its step; it can be gone on with."""
        (self.path / STOP).touch()

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody asked the run to end, and it has not begun again since."""
        return (self.path / STOP).exists()

    def go_on(self) -> None:
        """Forget that the run was asked to end."""
        (self.path / STOP).unlink(missing_ok=True)

    def weights_file(self) -> Path:
        """The file of the trained weights; raises InputError if the run has none yet."""
        file = self.path / WEIGHTS
        if not file.exists():
            raise InputError(
                f"{self.path} has no weights yet (it is {self.state}): train it, or choose another "
                "run"
            )
        return file

    def load_model(self) -> Model:
        """The trained model on the CPU, in evaluation mode."""
        file = self.weights_file()
        model = make_model(self.config)
        load_weights(model, file)
        model.encoder.forget_unseen()
        return model.eval()


class Onlooker(Run):
    """A run that is written by another process, for one that trains it too and notes nothing."""

    def write_status(self, **values) -> None:
        """The other process notes it."""

    def log(self, rows: list[dict], seconds: float) -> None:
        """The other process logs it."""

    def go_on(self) -> None:
        """The other process does."""


def make_model(config: RunConfig) -> Model:
    """The untrained model of a configuration; its initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        # the CPU's generator alone: `torch.manual_seed` would seed those of GPUs for good
        torch.default_generator.manual_seed(config.seed)
        encoder, masking_heads = build_encoder(config.model)
        return Model(encoder, config.objective.make_heads(encoder, masking_heads))


def width_factors(config: RunConfig, model: Model) -> dict[str, float]:
    """What each parameter gets of the learning rate by width transfer: 1 without it."""
    factor = config.model.width_transfer
    if factor == 1:
        return {name: 1.0 for name, _ in model.named_parameters()}
    narrow = replace(config, model=config.model.narrowed(factor))
    with torch.device("meta"):
        encoder, masking_heads = build_encoder(narrow.model)
        heads = config.objective.make_heads(encoder, masking_heads)
    return rate_factors(model, Model(encoder, heads))


def largest_allowed(data: Sequence[str]) -> int | None:
    """The largest molecule, in heavy atoms, that recipes of curated datasets let in.

    None where none of the datasets is there.
    """
    rules = _structure_rules(data)
    return max((rule.get("max_heavy_atoms", MAX_HEAVY_ATOMS) for rule in rules), default=None)


def treatment_of_metals(data: Sequence[str]) -> str:
    """`remove` where a recipe of the curated datasets says so, else `drop`."""
    rules = _structure_rules(data)
    return "remove" if any(rule.get("metals") == "remove" for rule in rules) else "drop"


def _structure_rules(data: Sequence[str]) -> list[dict]:
    """What the recipes of the datasets that are there say of structures."""
    rules = []
    for name in data:
        try:
            recipe = load_shards(find_data(name)).manifest.get("recipe", {})
        except InputError:  # training says so; a run may be made where its data are not
            continue
        rules.append(recipe.get("structure", {}))
    return rules


def start_run(
    config: RunConfig, out: str | Path | None = None, max_heavy_atoms: int | None = None
) -> Run:
    """The folder of a run, made if it is not there; one of the same configuration is gone on with.

    Without `out` the folder is ``MOLNB_HOME/runs/<date>_<name>_<id>``, with a number if that
    exists. `max_heavy_atoms` is the largest molecule its data may hold, if the data do not say.
    Raises InputError for a folder whose run has another configuration, and for one that holds
    anything else.
    """
    stored = stored_form(config)
    if out is not None:
        check_run_folder(out)
    if is_begun(out):
        run = Run(out)
        before = stored_form(run.config)
        differing = [key for key in stored if stored[key] != before.get(key)]
        if differing:
            raise InputError(
                f"{out} holds a run that differs in {', '.join(differing)}: choose another folder, "
                "or delete it"
            )
        return run
    path = _new_folder(config) if out is None else Path(out)
    (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    write_json(describe_machine(), path / MACHINE)
    limit = max_heavy_atoms or largest_allowed(config.data)
    if limit is not None:
        rules = {"max_heavy_atoms": limit, "metals": treatment_of_metals(config.data)}
        write_json(rules, path / DATA)
    write_json(stored, path / "config.json")
    return Run(path)


def is_begun(out: str | Path | None) -> bool:
    """Whether a folder is a run's already, which is gone on with there."""
    return out is not None and (Path(out) / "config.json").exists()


def check_run_folder(out: str | Path) -> None:
    """Raise InputError for a folder where a run can neither be made nor gone on with."""
    check_folder(out, _is_run)


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run, or was about to become one when its process ended.

    The notebook that trains may keep its copy there.
    """
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = {name for name in os.listdir(folder) if not name.startswith(".")}
        return all(name in _FIRST_FILES or name.endswith(".ipynb") for name in names)
    except (OSError, ValueError):
        return True  # opening it says what is wrong with it
    return isinstance(stored, dict) and {"model", "objective"} <= set(stored)


def stored_form(config: RunConfig) -> dict:
    """A configuration as it is read back: tuples as lists, settings newer than a run filled in."""
    return json.loads(json.dumps(config.to_dict()))


def _new_folder(config: RunConfig) -> Path:
    """A folder below ``MOLNB_HOME/runs`` that no other process gets too."""
    stem = f"{datetime.date.today().isoformat()}_{config.name}_{config.id}"
    for number in range(1, MAX_SAME_NAME + 1):
        path = home() / "runs" / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise InputError(
        f"{home() / 'runs'} holds {MAX_SAME_NAME} runs named {stem}: delete some, or name the "
        "folder yourself"
    )


def find_run(name: str | Path) -> Run:
    """A run by its folder, or by its name below ``MOLNB_HOME/runs``."""
    return Run(find_run_folder(name))


def check_start(config: RunConfig) -> None:
    """Raise InputError where the run to start from is absent, untrained, or of another model."""
    run = find_run(config.start_from)
    run.weights_file()
    trained = run.config.model.to_dict()
    model = config.model.to_dict()
    if trained["family"] != model["family"]:
        differing = ["family"]
    else:
        differing = [name for name, value in model.items() if trained[name] != value]
    if differing:
        raise InputError(
            f"{run.path} was trained with another architecture ({', '.join(differing)} differ): "
            "use its model"
        )


def describe_machine() -> dict:
    """Hardware and versions, for the record; nothing is computed from it."""
    gpu = None
    memory = None
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
        memory = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": processor_name(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "gpu": gpu,
        "gpu_memory_gib": memory,
    }


def load_runs(folder: str | Path | None = None) -> list[Run]:
    """All runs below a folder (default ``MOLNB_HOME/runs``), oldest first."""
    root = Path(folder) if folder is not None else home() / "runs"
    files = sorted(root.rglob("config.json"), key=lambda file: file.stat().st_mtime)
    return [Run(file.parent) for file in files]


def runs_table(folder: str | Path | None = None) -> pd.DataFrame:
    """One row a run, oldest first: what it is, how far it is, and the scores of its weights.

    These are validation terms (`Run.saved_scores`) of the step `validated`. `N` counts parameters
    as `molnb presets` does, `molecules` those seen so far. Runs of an older molnb, or of a family
    that is not registered, are listed without what their configuration says.
    """
    import pandas as pd

    return pd.DataFrame(run_rows(folder))


def run_rows(folder: str | Path | None = None) -> list[dict]:
    """The rows of `runs_table`, where there is no pandas."""
    return [_table_row(run) for run in load_runs(folder)]


def _table_row(run: Run) -> dict:
    """What `runs_table` says of one run."""
    status = run.status()
    stored = run.read("config.json")
    row = {
        "run": run.path.name,
        "state": status.get("state", "new"),
        "family": stored["model"].get("family"),
    }
    try:
        counts = count_parameters(run.config.model)
    except InputError:
        counts = None
    row["N"] = None if counts is None else counts.n
    row |= {
        "seed": stored["seed"],
        "step": status.get("step", 0),
        "steps": status.get("steps"),
        "molecules": status.get("step", 0) * stored["global_batch"],
        "seconds": status.get("seconds"),
    }
    terms = run.saved_scores()
    row["validated"] = terms.get("step")
    return row | {
        name: value
        for name, value in terms.items()
        if name not in ("step", "part") and not name.endswith(COUNTS)
    }


def _read_lines(file: Path) -> list[dict]:
    """Whole JSON lines of a file; a last line cut short by a kill is left out."""
    if not file.exists():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
