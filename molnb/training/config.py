"""Everything that decides what a run computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..data.draws import Sampling, make_sampling
from ..errors import InputError
from ..files import with_tuples
from ..models.families import load_config
from ..models.interface import EncoderConfig
from ..objectives.interface import Objective
from ..objectives.pretraining import Pretrain
from ..objectives.stored import describe, make_objective
from ..paths import home

_POSITIVE = (
    "steps",
    "global_batch",
    "pair_budget",
    "hands",
    "eval_every",
    "checkpoint_every",
    "log_every",
)

PRECISIONS = ("auto", "float32", "bfloat16", "float64")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes.

    `data` names folders of curated datasets (paths, or names below ``MOLNB_HOME/data``). The global
    batch is worked through in groups of at most `pair_budget` padded pairs (of atoms, where the
    encoder pads nothing), dealt before into at least so many `hands`, of which every process takes
    some: a run that begins on more processes has one for each. The learning rate rises linearly
    over `warmup_steps`, then falls linearly to zero at `steps`; heads may have one of
    their own, and each block below the last has `layer_decay` times the rate of the one above it.
    With `patience`, training stops after that many validations without a better loss, and the best
    weights are kept. `start_from` is a run folder whose encoder is taken over; its first
    `frozen_layers` blocks, and all that comes before them, then stay as they are.

    Rows are those of the split's parts, or `train_ids` and `val_ids` (positions in the corpus);
    `n_train` and `n_val` take a fixed hash sample of them. Molecules that a dataset in `exclude`
    also has, by the loose keys that ignore stereo, charge and tautomer, are left out. Molecules
    above `max_atoms` are cropped to it in pretraining (None: never), another piece at every step;
    validation sees them whole. `sampling` says how the molecules of a step are drawn from the
    training rows: evenly, scaffolds by temperature, datasets by weight (`data.draws`); validation
    is never drawn.

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
    pair_budget: int = 16_384
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

    def __post_init__(self):
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
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
        if self.model.width_transfer != 1:
            self.model.narrowed(self.model.width_transfer)  # refused where it cannot be
        if not self.data:
            raise InputError("a run needs data: name at least one folder that curate() returned")

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
        """Six hexadecimal digits of the configuration."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()


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
