"""Presets: a run is a function that returns a full, frozen configuration; its docstring says what
it costs.

Times are for two laptop cores without a GPU unless a GPU is named. Change any field by name:
``make_preset("pretrain_tiny", data, steps=500, **{"model.n_layer": 2})``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..models.unimol2.config import TwoTrackConfig
from ..models.unimol2.sizes import LAPTOP, PAPER, count_parameters, spoken
from ..objectives.pretraining import Pretrain
from ..objectives.supervised import Supervised
from .config import RunConfig, data_names
from .overrides import _nearest, change
from .runs import find_run

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

    Under two minutes on `nci`. Expect, on validation molecules with features hidden, below the
    baselines: masked atoms 34 to 41 %, coordinates 40 %, distances 54 to 55 % (three seeds).
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
    """Quantum labels of molecules, atoms and bonds with the encoder of `pretrain_tiny`; a few
    minutes on `nci`.
    """
    return replace(
        pretrain_tiny(data),
        name="labels-tiny",
        objective=Supervised(task_names=NCI_TASKS),
        learning_rate=1e-3,
    )


def finetune_tiny(data: Sequence[str]) -> RunConfig:
    """Labels of an assay (a hundred to a few thousand) with the encoder of `pretrain_tiny`; all
    weights learn.

    One to two minutes for 1,000 molecules of 32 heavy atoms. Give the run to begin with:
    ``start_from=RUN`` takes over its encoder and its model; without it this is a network from
    scratch. `frozen_layers`, `head_learning_rate` and `layer_decay` hold back what was learnt
    before; here all weights learn at one rate, which reached a training error well below kNN's test
    error on `chembl2321810` from scratch and from a pretrained run alike. Rows of the split's
    validation part stop it early; the test part is never looked at. `objective.task_names` chooses
    labels; the default is all that the data have.
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
    """The paper's recipe, one for all scales: learning rate 1e-4 after 100,000 warm-up steps,
    then linear decay.
    """
    model = PAPER[scale]
    return RunConfig(
        name=f"pretrain-{scale}",
        data=tuple(data),
        model=model,
        steps=818_359,
        global_batch=1024,
        learning_rate=1e-4,
        warmup_steps=100_000,
        # what a pair keeps for the backward pass grows with the layers alone: its track is as wide
        # at every scale
        pair_budget=131_072 * 12 // model.n_layer,
        compile=True,
        n_val=4096,
        eval_every=10_000,
        checkpoint_every=1_000,
        log_every=50,
    )


def _laptop_recipe(data: Sequence[str], size: str) -> RunConfig:
    """1,000 steps of 64 molecules; the learning rate of `pretrain_tiny`, and less in proportion
    for wider models.
    """
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


def _make_presets(
    stem: str, recipe: Callable, models: dict[str, TwoTrackConfig], says: str
) -> list[Callable]:
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
    f.__name__: f
    for f in (pretrain_tiny, labels_tiny, finetune_tiny, *LAPTOP_PRESETS, *PAPER_PRESETS)
}


def presets_table() -> list[dict[str, str | int]]:
    """One row a preset: name, N and total of its encoder's parameters, depth and widths, and
    what it is.
    """
    rows = []
    for name, preset in PRESETS.items():
        model = preset(["data"]).model
        n, total = count_parameters(model)
        widths = {
            "layers": model.n_layer,
            "d_atom": model.d_atom,
            "heads": model.n_head,
            "d_pair": model.d_pair,
        }
        says = (preset.__doc__ or "").partition("\n")[0]
        rows.append(
            {
                "preset": name,
                "N": n,
                "total": total,
                **widths,
                "d_hidden": model.d_hidden,
                "about": says,
            }
        )
    return rows


def make_preset(name: str, data: Sequence, **changes: Any) -> RunConfig:
    """The configuration of a preset on these datasets (folders, names or `Shards`), with fields
    changed by name.

    ``model.`` and ``objective.`` reach into those parts. A run to start from brings its model with
    it, unless a part of the model is changed too. Raises InputError for a name or field that does
    not exist.
    """
    if name not in PRESETS:
        raise InputError(
            f"unknown preset {name!r}{_nearest(name, PRESETS)}: choose one of {', '.join(PRESETS)}"
        )
    config = change(PRESETS[name](data_names(data)), changes)
    if config.start_from and not any(key.partition(".")[0] == "model" for key in changes):
        config = replace(config, model=find_run(config.start_from).config.model)
    return config
