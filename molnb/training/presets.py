"""Presets: functions that return a full configuration of a run; their texts say what it costs.

Times are for two laptop cores without a GPU unless a GPU is named. Change any field by name:
``make_preset("pretrain_tiny", data, steps=500, **{"model.n_layer": 2})``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError, did_you_mean
from ..models.families import count_parameters
from ..models.graph.sizes import ASSAY, MINIMOL, TOYMIX
from ..models.graph.sizes import LAPTOP as GRAPH_LAPTOP
from ..models.graph.sizes import SIZES as GRAPH_SIZES
from ..models.unimol2.config import TwoTrackConfig
from ..models.unimol2.sizes import GPU, LAPTOP, PAPER, readable_size
from ..objectives.pretraining import Pretrain
from ..objectives.supervised import Supervised
from .config import RunConfig, data_names
from .overrides import change
from .runs import find_run

if TYPE_CHECKING:
    import pandas as pd

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
    """Quantum labels of molecules, atoms and bonds with the encoder of `pretrain_tiny`.

    A few minutes on `nci`.
    """
    return replace(
        pretrain_tiny(data),
        name="labels-tiny",
        objective=Supervised(task_names=NCI_TASKS),
        learning_rate=1e-3,
    )


def finetune_tiny(data: Sequence[str]) -> RunConfig:
    """Labels of an assay (a hundred to a few thousand) with the encoder of `pretrain_tiny`.

    All weights learn. One to two minutes for 1,000 molecules of 32 heavy atoms. Give the run to
    begin with: ``start_from=RUN`` takes over its encoder and its model; without it this is a
    network from scratch. `frozen_layers`, `head_learning_rate` and `layer_decay` hold back what was
    learnt before; here all weights learn at one rate, which reached a training error well below
    kNN's test error on `chembl2321810` from scratch and from a pretrained run alike. Rows of the
    split's validation part stop it early; the test part is never looked at. `objective.task_names`
    chooses labels; the default is all that the data have. Labels that are classes are learnt by
    cross entropy, and ranked at validations (AUROC, average precision); where one is rare,
    `objective.class_weights` "balanced" lets it count as much as the others.
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


def assay_gated_gcn(data: Sequence[str]) -> RunConfig:
    """Labels of an assay (25 to a few thousand) with a GatedGCN of 0.1M, from graphs alone.

    What studies learn with. 500 steps of 32 drug-like molecules take 15 s; on 400 labels of
    `chembl2321810` it ends 9 % below the error that `graph_150k` has after the same time.
    """
    return replace(
        finetune_tiny(data),
        name="assay-gated-gcn",
        model=ASSAY,
        objective=Supervised(),
        steps=500,
        global_batch=32,
        learning_rate=5e-4,
        warmup_steps=50,
    )


def toymix(data: Sequence[str], layer: str) -> RunConfig:
    """Graphium's {layer} network for ToyMix on all labels of the data, from their graphs alone.

    Batches of 200 as there; the learning rate is ours. A dataset with few molecules counts as much
    as one with many wherever both have labels in a batch: the loss is a mean over tasks.
    `sampling.temperature` draws small datasets more often. Coordinates are not read.
    """
    return RunConfig(
        name=f"toymix-{layer}",
        data=tuple(data),
        model=TOYMIX[layer],
        objective=Supervised(head_dropout=0.18),
        steps=20_000,
        global_batch=200,
        learning_rate=1e-3,
        warmup_steps=1_000,
        n_val=2048,
        eval_every=1_000,
        checkpoint_every=1_000,
        log_every=20,
    )


def graph_network(data: Sequence[str], size: str) -> RunConfig:
    """A graph network with {size} parameters on all labels of the data.

    150k is Graphium's GINE for ToyMix, 1m attends within molecules (GPS), the others keep states of
    atoms, bonds and the molecule (MPNN++). The learning rate falls with the width.
    """
    model = GRAPH_SIZES[size]
    return replace(
        toymix(data, "gine"),
        name=f"graph-{size}",
        model=model,
        learning_rate=1e-3 * min(1.0, 96 / model.d_atom),
    )


def minimol(data: Sequence[str]) -> RunConfig:
    """MiniMol's network: GINE of 16 layers, whose last atoms, pooled, are its fingerprint of 512.

    6.7M parameters without heads, for a GPU: `embed --layer 16` gives the fingerprint. Batches of
    2,048 at 4e-4 as in its configuration (Klaeser et al. 2024).
    """
    return replace(
        toymix(data, "gine"),
        name="minimol",
        model=MINIMOL,
        objective=Supervised(head_dropout=0.02),
        steps=100_000,
        global_batch=2048,
        learning_rate=4e-4,
        warmup_steps=5_000,
        pair_budget=65_536,
    )


def paper(data: Sequence[str], scale: str) -> RunConfig:
    """The paper's {size} model and recipe (Table 2, section 3.3), for a GPU; a step of 1,024.

    Learning rate 1e-4 after 100,000 warm-up steps, then linear decay, one recipe for all scales;
    the paper's corpus takes 818,359 steps. What fits a device at once is `pair_budget`, which
    changes no result. The paper draws molecules by scaffold: `sampling.kind` "scaffold", whose
    temperature is meant for a corpus as large as its own (lesson 02), so it is not the default.
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


def laptop(data: Sequence[str], size: str) -> RunConfig:
    """A {size} encoder of the laptop family (N: no tables, kernel and heads), 1,000 steps of 64.

    Depth and width grow together (`molnb.models.unimol2.sizes`). The learning rate is that of
    `pretrain_tiny`, and less in proportion for wider models. A step of 64 `nci` molecules takes 0.4
    s at 0.1M, 0.9 s at 1M and 3.6 s at 10M.
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


def gpu(data: Sequence[str], size: str) -> RunConfig:
    """A {size} encoder of the family that ends with the paper's 84M (81M of it N), steps of 32.

    Depth and width grow together (`molnb.models.unimol2.sizes`). The learning rate is 2e-3 for a
    width of 48 and less in proportion for wider models: 1.25e-4 at 81M, where the paper's 84M has
    1e-4. Four times these rates served 9M and not 31M in 800 steps (LOG). For a GPU.
    """
    model = GPU[size]
    return replace(
        laptop(data, "1m"),
        name=f"gpu-{size}",
        model=model,
        global_batch=32,
        learning_rate=2e-3 * 48 / model.d_atom,
    )


_LAYER_NAMES = {"gcn": "GCN", "gin": "GIN", "gine": "GINE", "gated_gcn": "GatedGCN"}


def laptop_graph(data: Sequence[str], size: str) -> RunConfig:
    """A {size} graph network of the laptop family (N: layers alone), 1,000 steps of 64 molecules.

    It names masked atoms from their bonds and from the other atoms: with features of their own they
    are named without a network. Depth and width grow together (`molnb.models.graph.sizes`).
    """
    model = GRAPH_LAPTOP[size]
    return replace(
        laptop(data, "1m"),
        name=f"laptop-graph-{size}",
        model=model,
        objective=Pretrain(drop_features=0.0, hide_features=True),
        learning_rate=2e-3 * 48 / model.d_atom,
    )


class Preset(NamedTuple):
    """What makes a configuration for some data, and a text that says what it costs."""

    make: Callable[[Sequence[str]], RunConfig]
    text: str

    def __call__(self, data: Sequence[str]) -> RunConfig:
        return self.make(data)


PRESETS: dict[str, Preset] = {
    make.__name__: Preset(make, make.__doc__)
    for make in (pretrain_tiny, labels_tiny, finetune_tiny, assay_gated_gcn, minimol)
}
for _layer in TOYMIX:
    _text = toymix.__doc__.format(layer=_LAYER_NAMES[_layer])
    PRESETS[f"toymix_{_layer}"] = Preset(partial(toymix, layer=_layer), _text)
for _size in GRAPH_SIZES:
    _text = graph_network.__doc__.format(size=_size)
    PRESETS[f"graph_{_size}"] = Preset(partial(graph_network, size=_size), _text)
for _size in LAPTOP:
    _text = laptop.__doc__.format(size=readable_size(_size))
    PRESETS[f"laptop_{_size}"] = Preset(partial(laptop, size=_size), _text)
for _size in GRAPH_LAPTOP:
    _text = laptop_graph.__doc__.format(size=readable_size(_size))
    PRESETS[f"laptop_graph_{_size}"] = Preset(partial(laptop_graph, size=_size), _text)
for _size in GPU:
    _text = gpu.__doc__.format(size=readable_size(_size))
    PRESETS[f"gpu_{_size}"] = Preset(partial(gpu, size=_size), _text)
for _scale in PAPER:
    _text = paper.__doc__.format(size=readable_size(_scale))
    PRESETS[f"pretrain_{_scale}"] = Preset(partial(paper, scale=_scale), _text)


def presets_table() -> pd.DataFrame:
    """One row a preset: N and total of its encoder's parameters, its widths, and what it is.

    Those of graph networks are counted where torch-geometric is installed.
    """
    import pandas as pd

    return pd.DataFrame(preset_rows())


def preset_rows() -> list[dict]:
    """The rows of `presets_table`, where there is no pandas."""
    rows = []
    for name, preset in PRESETS.items():
        model = preset(["data"]).model
        counts = count_parameters(model)
        values = {f.name: getattr(model, f.name) for f in fields(model)}
        widths = {name: value for name, value in values.items() if type(value) is int}
        summary = preset.text.partition("\n")[0]
        row = {
            "preset": name,
            "family": model.family,
            "N": None if counts is None else counts.n,
            "total": None if counts is None else counts.total,
        }
        rows.append(row | widths | {"about": summary})
    return rows


def make_preset(name: str, data: Sequence, /, **changes: Any) -> RunConfig:
    """The configuration of a preset on these datasets (folders, names or `Shards`).

    Fields are changed by name; ``model.`` and ``objective.`` reach into those parts. A run to start
    from brings its model with it, unless a part of the model is changed too. Raises InputError for
    a name or field that does not exist.
    """
    if name not in PRESETS:
        raise InputError(
            f"unknown preset {name!r}{did_you_mean(name, PRESETS)}: choose one of "
            f"{', '.join(PRESETS)}"
        )
    config = change(PRESETS[name](data_names(data)), changes)
    if config.start_from and not any(key.partition(".")[0] == "model" for key in changes):
        config = replace(config, model=find_run(config.start_from).config.model)
    return config
