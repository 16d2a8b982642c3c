"""Presets: a run is a function that returns a full, frozen configuration; its docstring says what it costs.

Times are for two laptop cores without a GPU unless a GPU is named. Change any field by name:
``make_preset("pretrain_tiny", data, steps=500, **{"model.n_layer": 2})``.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from .errors import Refused
from .models.two_track import TwoTrackConfig
from .objectives import Pretrain, Supervised
from .runs import RunConfig, data_names, find_run
from .scales import LAPTOP, PAPER, count_parameters, spoken

TINY = TwoTrackConfig(
    n_layer=4,
    d_atom=96,
    n_head=8,
    d_ffn=192,
    d_pair=32,
    d_hidden=8,
    n_kernel=32,
    dropout=0.0,
    attention_dropout=0.0,
    pair_dropout=0.0,
)
NCI_TASKS = ("nci_orbitals", "nci_dipole", "nci_solvation", "nci_charges", "nci_bond_orders")


def pretrain_tiny(data: Sequence[str]) -> RunConfig:
    """Masked atoms and denoising with a 0.3M encoder, features hidden in half of the molecules.

    Under two minutes on `nci`. Expect, on validation molecules with features hidden, below the baselines: masked atoms
    34 to 41 %, coordinates 40 %, distances 54 to 55 % (three seeds).
    """
    return RunConfig(
        name="pretrain-tiny",
        data=tuple(data),
        model=TINY,
        objective=Pretrain(drop_features=0.5),
        steps=300,
        global_batch=64,
        learning_rate=2e-3,
        warmup_steps=50,
        eval_every=100,
        checkpoint_every=200,
    )


def labels_tiny(data: Sequence[str]) -> RunConfig:
    """Quantum labels of molecules, atoms and bonds with the encoder of `pretrain_tiny`; a few minutes on `nci`."""
    return replace(
        pretrain_tiny(data),
        name="labels-tiny",
        objective=Supervised(task_names=NCI_TASKS),
        learning_rate=1e-3,
    )


def finetune_tiny(data: Sequence[str]) -> RunConfig:
    """Labels of an assay (a hundred to a few thousand) with the encoder of `pretrain_tiny`; all weights learn.

    One to two minutes for 1,000 molecules of 32 heavy atoms. Give the run to begin with: ``start_from=RUN`` takes over
    its encoder and its model; without it this is a network from scratch. `frozen_layers`, `head_learning_rate` and
    `layer_decay` hold back what was learnt before; here all weights learn at one rate, which reached a training error
    well below kNN's test error on `chembl2321810` from scratch and from a pretrained run alike. Rows of the split's
    validation part stop it early; the test part is never looked at. `objective.task_names` chooses labels; the default
    is all that the data have.
    """
    return RunConfig(
        name="finetune-tiny",
        data=tuple(data),
        model=TINY,
        objective=Supervised(),
        steps=600,
        global_batch=16,
        learning_rate=1e-3,
        warmup_steps=50,
        n_val=512,
        eval_every=50,
        checkpoint_every=200,
        patience=10,
    )


def _paper_recipe(data: Sequence[str], scale: str) -> RunConfig:
    """The paper's recipe, one for all scales: learning rate 1e-4 after 100,000 warm-up steps, then linear decay."""
    model = PAPER[scale]
    return RunConfig(
        name=f"pretrain-{scale}",
        data=tuple(data),
        model=model,
        steps=818_359,
        global_batch=1024,
        learning_rate=1e-4,
        warmup_steps=100_000,
        # what a pair keeps for the backward pass grows with the layers alone: its track is as wide at every scale
        pair_budget=131_072 * 12 // model.n_layer,
        compile=True,
        n_val=4096,
        eval_every=10_000,
        checkpoint_every=1_000,
        log_every=50,
    )


def _laptop_recipe(data: Sequence[str], size: str) -> RunConfig:
    """1,000 steps of 64 molecules; the learning rate of `pretrain_tiny`, and less in proportion for wider models."""
    model = LAPTOP[size]
    return RunConfig(
        name=f"laptop-{size}",
        data=tuple(data),
        model=model,
        objective=Pretrain(drop_features=0.5),
        steps=1_000,
        global_batch=64,
        learning_rate=2e-3 * 96 / model.d_atom,
        warmup_steps=100,
        eval_every=200,
        checkpoint_every=200,
    )


def _make_presets(stem: str, recipe: Callable, models: dict[str, TwoTrackConfig], says: str) -> list[Callable]:
    """One preset for each model of a table."""

    def make(size: str) -> Callable[[Sequence[str]], RunConfig]:
        def preset(data: Sequence[str]) -> RunConfig:
            return recipe(data, size)

        preset.__name__ = f"{stem}_{size}"
        preset.__doc__ = says.format(size=spoken(size))
        return preset

    return [make(size) for size in models]


PAPER_PRESETS = _make_presets(
    "pretrain",
    _paper_recipe,
    PAPER,
    """The paper's {size} model and recipe (Table 2, section 3.3): for a GPU; a step of 1,024 molecules.

    Learning rate 1e-4 after 100,000 warm-up steps, linear decay; the paper's corpus takes 818,359 steps. What fits a
    device at once is `pair_budget`, which changes no result.
    """,
)
LAPTOP_PRESETS = _make_presets(
    "laptop",
    _laptop_recipe,
    LAPTOP,
    """A {size} encoder of the laptop family (N, without tables, kernel and heads), pretrained for 1,000 steps of 64.

    Depth and width grow together (`molnb.scales`). A step of 64 `nci` molecules takes 0.4 s at 0.1M, 0.9 s at 1M and
    3.6 s at 10M.
    """,
)
PRESETS: dict[str, Callable[[Sequence[str]], RunConfig]] = {
    f.__name__: f for f in (pretrain_tiny, labels_tiny, finetune_tiny, *LAPTOP_PRESETS, *PAPER_PRESETS)
}


def presets_table() -> list[dict[str, str | int]]:
    """One row a preset: name, N and total of its encoder's parameters, depth and widths, and what it is."""
    rows = []
    for name, preset in PRESETS.items():
        model = preset(["data"]).model
        n, total = count_parameters(model)
        widths = {"layers": model.n_layer, "d_atom": model.d_atom, "heads": model.n_head, "d_pair": model.d_pair}
        says = (preset.__doc__ or "").partition("\n")[0]
        rows.append({"preset": name, "N": n, "total": total, **widths, "d_hidden": model.d_hidden, "about": says})
    return rows


def make_preset(name: str, data: Sequence, **changes: Any) -> RunConfig:
    """The configuration of a preset on these datasets (folders, names or `Shards`), with fields changed by name.

    ``model.`` and ``objective.`` reach into those parts. A run to start from brings its model with it, unless a part of
    the model is changed too. Raises Refused for a name or field that does not exist.
    """
    if name not in PRESETS:
        raise Refused(f"unknown preset {name!r}{_nearest(name, PRESETS)}: choose one of {', '.join(PRESETS)}")
    config = change(PRESETS[name](data_names(data)), changes)
    if config.start_from and not any(key.partition(".")[0] == "model" for key in changes):
        config = replace(config, model=find_run(config.start_from).config.model)
    return config


def change(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """A configuration with fields replaced; dotted names reach into its parts, text is read as the field's type."""
    for key, value in changes.items():
        config = _replace_in(config, key.split("."), value, key)
    return config


def _replace_in(record: Any, path: list[str], value: Any, key: str) -> Any:
    names = [f.name for f in fields(record)]
    if path[0] not in names:
        raise Refused(
            f"unknown setting {key!r}{_nearest(path[0], names)}: {type(record).__name__} has {', '.join(names)}"
        )
    old = getattr(record, path[0])
    if len(path) > 1:
        if not is_dataclass(old):
            raise Refused(f"setting {key!r}: {path[0]} has no parts")
        return replace(record, **{path[0]: _replace_in(old, path[1:], value, key)})
    return replace(record, **{path[0]: _as_type(value, old, key)})


def _as_type(value: Any, old: Any, key: str) -> Any:
    """A value as the type of the one it replaces: 1 for 1.0, text from a command line read as a Python literal."""
    if isinstance(value, str) and not isinstance(old, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            pass  # a name, such as a split, where the default is None
    if isinstance(old, bool) != isinstance(value, bool) and old is not None:
        raise Refused(f"setting {key!r} is {value!r}: give a {type(old).__name__}, like {old!r}")
    if isinstance(old, float) and isinstance(value, int):
        return float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        return tuple(value)
    if old is not None and value is not None and not isinstance(value, type(old)):
        raise Refused(f"setting {key!r} is {value!r}: give a {type(old).__name__}, like {old!r}")
    return value


def _nearest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
