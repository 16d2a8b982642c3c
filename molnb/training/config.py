"""Everything that decides what a run computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.draws import Sampling, make_sampling
from ..data.sampling import PAIR_BUDGET
from ..errors import InputError, did_you_mean
from ..files import with_tuples
from ..models.families import load_config
from ..models.interface import EncoderConfig
from ..objectives.interface import Objective
from ..objectives.pretraining import Pretrain
from ..objectives.stored import describe, make_objective
from ..paths import home

if TYPE_CHECKING:
    import torch

_POSITIVE = (
    "steps",
    "global_batch",
    "hands",
    "eval_every",
    "checkpoint_every",
    "log_every",
)

PRECISIONS = ("auto", "float32", "bfloat16", "float64")
SCHEDULES = ("linear", "stable")
OPTIMIZERS = ("adamw", "muon")
COOLING = 0.2  # the share of the steps in which a stable rate falls (Haegele et al. 2024: enough)
# Fields that came later than the first ids: where they say nothing, an id does not know them.
_LATER = (
    "schedule",
    "decay_steps",
    "decay_power",
    "branch",
    "branch_step",
    "keep_every",
    "ema_decay",
    "optimizer",
    "n_random_val",
    "disjoint",
)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes.

    `data` names folders of curated datasets (paths, or names below ``MOLNB_HOME/data``). The global
    batch is worked through in groups of at most `pair_budget` padded pairs (of atoms, where the
    encoder pads nothing; None: what suits the device, which changes no result), dealt before into
    at least so many `hands`, of which every process takes some: a run that begins on more processes
    has one for each. With `patience`, training stops after that many validations without a better
    loss, and the best weights are kept. `start_from` is a run folder whose encoder is taken over;
    its first `frozen_layers` blocks, and all that comes before them, then stay as they are.

    The learning rate rises linearly over `warmup_steps` and falls to zero at `steps` (`schedules`):
    with the `schedule` linear from there on; with stable it is constant but for the last
    `decay_steps` (None: a fifth of `steps`). It falls as the share of the fall that is left, to the
    power of `decay_power`: linearly, as in the paper. Heads may have a rate of their own, and each
    block below the last has `layer_decay` times the rate of the one above it. The `optimizer` is
    adamw, or muon for the matrices of the encoder's blocks and AdamW for all else, at the same
    rates (`muon`). With `ema_decay` the run keeps the exponential moving average of its weights,
    which are then what is validated and written to ``weights.safetensors`` (`averages`).

    The last two checkpoints are kept, and with `keep_every` also those at its multiples, for good.
    `branch`, a run folder or name, is gone on with from one of them: the run begins after
    `branch_step` steps with all that its parent had then, is like it in all that decides a step
    (`branches.OWN` is what may differ), and falls to its own `steps`. Both are stable, and the step
    is before either fall.

    Rows are those of the split's parts, or `train_ids` and `val_ids` (positions in the corpus);
    `n_train` and `n_val` take a fixed hash sample of them. Molecules that a dataset in `exclude`
    also has, by the loose keys that ignore stereo, charge and tautomer, are left out. A scaffold
    split is of one dataset: of several, and of a mix, whose members each bring their own, training
    may have the scaffold of another's validation molecule. With `disjoint` training molecules are
    left out that have the scaffold, or a loose key, of any validation molecule. Of what remains
    `n_random_val`, a fixed hash sample of molecules (their stereoisomers may stay), are taken out
    of training and scored at every validation as the part val_random. Whatever goes by validation,
    such as `patience`, goes by the part val.

    Molecules above `max_atoms` are cropped to it in pretraining (None: never), another piece at
    every step; validation sees them whole. `sampling` says how the molecules of a step are drawn
    from the training rows: evenly, scaffolds by temperature, datasets by weight (`data.draws`);
    validation is never drawn.

    `compile` fuses the encoder with torch.compile, which pays on a GPU, after a minute for each
    padded length; `precision` is auto, float32, bfloat16 (`device.autocast`), or float64, which is
    slow and shows what rounding does: everything is then computed in it, weights included.
    """

    name: str
    data: tuple[str, ...]
    model: EncoderConfig
    objective: Objective = field(default_factory=Pretrain)
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
    pair_budget: int | None = None
    hands: int = 1
    eval_every: int = 200
    checkpoint_every: int = 200
    log_every: int = 1
    precision: str = "auto"
    compile: bool = False
    start_from: str | None = None
    frozen_layers: int = 0
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    patience: int | None = None
    max_atoms: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    schedule: str = "linear"
    decay_steps: int | None = None
    decay_power: float = 1.0
    branch: str | None = None
    branch_step: int | None = None
    keep_every: int | None = None
    ema_decay: float | None = None
    optimizer: str = "adamw"
    n_random_val: int = 0
    disjoint: bool = False

    def __post_init__(self):
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.pair_budget is not None and not _is_whole(self.pair_budget, 1):
            raise InputError(
                f"pair_budget is {self.pair_budget!r}: give 1 or more, or None for what suits the "
                "device"
            )
        if self.hands > self.global_batch:
            raise InputError(
                f"hands is {self.hands}, and a global batch has {self.global_batch} molecules: "
                "give fewer hands, or a larger batch"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate is {self.learning_rate}: give a number above 0")
        if self.precision not in PRECISIONS:
            raise InputError(
                f"unknown precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}"
            )
        if self.max_atoms is not None and (self.max_atoms < 2 or self.objective.learns_labels):
            raise InputError(
                f"max_atoms is {self.max_atoms}: give 2 or more, and only in pretraining. A label "
                "belongs to the whole molecule and not to a piece of it; curate leaves out what is "
                "too large (structure.max_heavy_atoms)"
            )
        self._check_choices()
        self._check_schedule()
        self._check_branch()
        if self.keep_every is not None and not _is_whole(self.keep_every, 1):
            raise InputError(f"keep_every is {self.keep_every!r}: give a number of steps, or None")
        if not _is_whole(self.n_random_val, 0):
            raise InputError(f"n_random_val is {self.n_random_val!r}: give 0 or more molecules")
        if self.model.width_transfer != 1:
            self.model.narrowed(self.model.width_transfer)  # refused where it cannot be
        if not self.data:
            raise InputError("a run needs data: name at least one folder that curate() returned")

    def _check_choices(self) -> None:
        """Raise InputError for a schedule, an optimiser or an average that there is not."""
        for name, known in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            given = getattr(self, name)
            if given not in known:
                raise InputError(
                    f"{name} is {given!r}{did_you_mean(str(given), known)}: choose "
                    f"{' or '.join(known)}"
                )
        decay = self.ema_decay
        if decay is not None and not (isinstance(decay, float) and 0 < decay < 1):
            raise InputError(
                f"ema_decay is {decay!r}: give a number between 0 and 1, such as 0.999, or None"
            )

    def _check_schedule(self) -> None:
        """Raise InputError for a fall that is none, or is longer than the run."""
        if not 0 < self.decay_power < float("inf"):
            raise InputError(f"decay_power is {self.decay_power}: give a number above 0")
        if self.decay_steps is None:
            return
        if self.schedule != "stable":
            raise InputError(
                f"decay_steps is {self.decay_steps}, and the schedule is {self.schedule}, which "
                "falls from the warm-up on: set schedule to stable, or leave decay_steps out"
            )
        if not _is_whole(self.decay_steps, 0) or self.decay_steps > self.steps:
            raise InputError(
                f"decay_steps is {self.decay_steps!r}, of {self.steps} steps: give 0 to "
                f"{self.steps}, or None for a fifth of them"
            )

    def _check_branch(self) -> None:
        """Raise InputError for half of a branch, or one that begins while its rate falls."""
        if self.branch is None and self.branch_step is None:
            return
        if self.branch is None or self.branch_step is None:
            missing = "branch" if self.branch is None else "branch_step"
            raise InputError(
                f"{missing} is None: a branch needs both, the run it begins from (branch) and the "
                "step of one of its checkpoints (branch_step)"
            )
        if self.schedule != "stable":
            raise InputError(
                f"schedule is {self.schedule}, and a branch goes on at a rate that is constant: "
                "set schedule to stable, as its parent has it"
            )
        latest = self.steps - self.n_fall
        if not _is_whole(self.branch_step, 1) or self.branch_step > min(latest, self.steps - 1):
            raise InputError(
                f"branch_step is {self.branch_step!r}, and the rate falls from step {latest} of "
                f"{self.steps} on: give 1 to {latest}, or fewer decay_steps"
            )

    @property
    def n_fall(self) -> int:
        """The steps over which the learning rate falls, the last ones."""
        if self.schedule == "linear":
            return self.steps - self.warmup_steps
        return round(COOLING * self.steps) if self.decay_steps is None else self.decay_steps

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is written after so many steps, besides the last."""
        is_kept = self.keep_every is not None and step % self.keep_every == 0
        return is_kept or step % self.checkpoint_every == 0

    def to_dict(self) -> dict:
        """The configuration as plain data for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **values,
            "model": self.model.to_dict(),
            "objective": describe(self.objective),
            "sampling": asdict(self.sampling),
        }

    @classmethod
    def from_dict(cls, stored: dict) -> RunConfig:
        """A configuration from its stored form.

        Raises InputError for unknown keys, and for runs from before encoders had families.
        """
        unknown = set(stored) - set(cls.__dataclass_fields__)
        if unknown:
            raise InputError(f"unknown keys in a run's configuration: {', '.join(sorted(unknown))}")
        if "family" not in stored["model"]:
            raise InputError(
                f"the run {stored['name']!r} was made by an older molnb (its config.json names no "
                "family of encoders), and its weights bear other names: train it again"
            )
        values = with_tuples(stored)
        values["model"] = load_config(stored["model"])
        values["objective"] = make_objective(stored["objective"])
        values["sampling"] = make_sampling(stored.get("sampling", {}))
        return cls(**values)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Further arrays of the datasets that the encoder or heads read, each once."""
        return tuple(dict.fromkeys([*self.model.arrays, *self.objective.beside]))

    @property
    def id(self) -> str:
        """Six hexadecimal digits of the configuration: the same as before it had later fields."""
        unused = {f.name for f in fields(self) if f.name in _LATER and self._is_default(f)}
        told = {name: value for name, value in self.to_dict().items() if name not in unused}
        if self.pair_budget is None:
            told["pair_budget"] = PAIR_BUDGET  # as its default was before
        text = json.dumps(told, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()

    def group_budget(self, device: torch.device) -> int:
        """Padded pairs, or atoms, of a group of molecules that a device computes at a time."""
        if self.pair_budget is not None:
            return self.pair_budget
        return PAIR_BUDGET if device.type == "cpu" else self.model.gpu_budget

    def _is_default(self, of_field: Field) -> bool:
        return getattr(self, of_field.name) == of_field.default


def _is_whole(number: object, least: int) -> bool:
    """Whether something, perhaps from a command line, is a whole number and not too small."""
    return type(number) is int and number >= least


def data_names(datasets: Sequence) -> tuple[str, ...]:
    """Folders, names or `Shards` as a configuration refers to datasets.

    That is by name where they lie below ``MOLNB_HOME/data``, else by path.
    """
    names = []
    for dataset in datasets:
        path = Path(getattr(dataset, "path", dataset))
        inside = path.is_dir() and path.resolve().parent == (home() / "data").resolve()
        names.append(path.name if inside else str(path))
    return tuple(names)
