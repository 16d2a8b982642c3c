"""The authors' own Graphium 2.4.7 beside ours: its features, batches, GINE and training step.

A checkout is needed, given by path, and nothing of it is kept here:

    git clone https://github.com/datamol-io/graphium          --reference graphium

It does not run as it is installed. An environment of its own (Python 3.11), torch first, so that
nothing brings another build:

    pip install torch
    pip install "numpy==2.2.*" scipy==1.14.1 "setuptools<80" "torchmetrics==0.10.*" \
        rdkit torch_geometric lightning pytorch_lightning hydra-core datamol fastparquet typer \
        loguru pandas scikit-learn matplotlib seaborn safetensors
    pip install --no-deps mup                                 it would bring torchvision

SciPy from 1.15 on refuses the float16 matrices that it builds, and every molecule fails silently.
Set OMP_NUM_THREADS=1: with more threads its features take up to 27 times as long.

The sources stay untouched. What is put in their way is in `load`: stand-ins for torch_scatter and
torch_sparse where these are not installed (sums by torch itself; one class that is only asked for
its type), and schedulers that accept `verbose`, which torch has removed. Its cache of files, which
current torch does not read back, is not used.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molnb.errors import InputError

# published configuration of ToyMix with GINE layers, in the checkout
CONFIGS = "expts/neurips2023_configs"
GINE = "config_small_gine"
WIDTHS = {"qm9": 19, "tox21": 12, "zinc": 3}  # labels of each task
ARRAYS = (
    "edge_index",
    "feat",
    "edge_feat",
    "laplacian_eigvec",
    "laplacian_eigval",
    "rw_return_probs",
)


class Reference(NamedTuple):
    """Modules of the reference, and its published configuration as a dictionary."""

    featurizer: ModuleType
    collate: ModuleType
    loader: ModuleType
    normalization: ModuleType
    config: dict


def load(checkout: str | Path) -> Reference:
    """The reference's modules and configuration from a checkout."""
    folder = find_checkout(checkout)
    _stand_in()
    _accept_verbose()
    sys.path.insert(0, str(folder))
    try:
        return Reference(
            featurizer=importlib.import_module("graphium.features.featurizer"),
            collate=importlib.import_module("graphium.data.collate"),
            loader=importlib.import_module("graphium.config._loader"),
            normalization=importlib.import_module("graphium.data.normalization"),
            config=_read_config(folder / CONFIGS),
        )
    except ModuleNotFoundError as error:
        raise InputError(
            f"Graphium needs {error.name}, which {sys.executable} does not have: install what "
            "benchmarks/graphium_reference.py names, into an environment of its own"
        ) from None


def find_checkout(checkout: str | Path) -> Path:
    """The folder of a checkout; InputError where it is none."""
    folder = Path(checkout).resolve()
    if not (folder / "graphium/features/featurizer.py").is_file():
        raise InputError(
            f"{checkout} is no checkout of Graphium: it has no graphium/features/featurizer.py; "
            "give the folder git cloned into"
        )
    return folder


def _stand_in() -> None:
    """Modules with the few functions that it uses of two packages that are slow to compile."""
    from torch_geometric.utils import scatter

    def scatter_sum(src, index, dim=-1, out=None, dim_size=None):
        if out is not None:
            raise InputError("the stand-in for torch_scatter.scatter_add has no `out`")
        return scatter(src, index, dim, dim_size, "sum")

    def scatter_to(src, index, dim=-1, out=None, dim_size=None, reduce="sum"):
        if out is not None:
            raise InputError("the stand-in for torch_scatter.scatter has no `out`")
        return scatter(src, index, dim, dim_size, reduce)

    contents = {
        "torch_scatter": {"scatter": scatter_to, "scatter_add": scatter_sum},
        "torch_sparse": {"SparseTensor": type("SparseTensor", (), {})},
    }
    for name, content in contents.items():
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            module = ModuleType(name)
            vars(module).update(content)
            sys.modules[name] = module


def _accept_verbose() -> None:
    """Let the old name of torch's scheduler, from which it inherits, take `verbose` again."""
    from torch.optim import lr_scheduler

    def begin(self, optimizer, last_epoch=-1, verbose=False):
        lr_scheduler.LRScheduler.__init__(self, optimizer, last_epoch)

    lr_scheduler._LRScheduler.__init__ = begin


def _read_config(folder: Path) -> dict:
    """The published configuration, merged as its command line does, for a processor."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(config_dir=str(folder), version_base=None):
        config = OmegaConf.to_container(compose(GINE), resolve=True)
    config["accelerator"] = {"type": "cpu"}
    return config


# ------------------------------------------------------------------------------ molecules, batches


def featurize(reference: Reference, smiles: Sequence[str]) -> list:
    """A PyG graph of each SMILES, under the settings of ToyMix, one after the other.

    Raises InputError where it gives an error message in place of a graph.
    """
    settings = reference.config["datamodule"]["args"]["featurization"]
    transform = partial(reference.featurizer.mol_to_pyggraph, **settings)
    graphs = [transform(one) for one in smiles]
    for one, graph in zip(smiles, graphs, strict=True):
        if graph is None or isinstance(graph, str):
            raise InputError(f"Graphium does not featurise {one}: {graph}")
    return graphs


def graph_arrays(graph) -> dict[str, Tensor]:
    """The arrays of a graph as plain tensors, from which `make_graph` makes it again."""
    return {name: graph[name] for name in (*ARRAYS, "edge_weight")}


def make_graph(arrays: dict[str, Tensor]):
    """Undo `graph_arrays`."""
    from torch_geometric.data import Data

    return Data(**arrays, num_nodes=len(arrays["feat"]))


def make_samples(graphs: Sequence, smiles: Sequence[str], labels: dict[str, Tensor]) -> list[dict]:
    """What its dataset hands to its collate function; `labels` are [mol, label], NaN unknown.

    A molecule without any label of a task has no entry of that task, as in its merged datasets.
    """
    from torch_geometric.data import Data

    samples = []
    for i, (graph, one) in enumerate(zip(graphs, smiles, strict=True)):
        own = Data(x=torch.empty(graph.num_nodes, 1), edge_index=torch.empty(2, graph.num_edges))
        for task, values in labels.items():
            if not values[i].isnan().all():
                own[f"graph_{task}"] = values[i]
        samples.append({"features": graph, "labels": own, "smiles": [one], "mol_ids": str(i)})
    return samples


def copy_samples(samples: list[dict]) -> list[dict]:
    """Samples that share tensors but nothing else: collating writes into what it is given."""
    graphs = ("features", "labels")
    return [one | {name: copy.copy(one[name]) for name in graphs} for one in samples]


def collate(reference: Reference, samples: list[dict]) -> dict:
    """A batch as its data module makes it, with NaN where a task has no label."""
    return reference.collate.graphium_collate_fn(
        samples,
        labels_size_dict={f"graph_{task}": [width] for task, width in WIDTHS.items()},
        labels_dtype_dict=dict.fromkeys((f"graph_{task}" for task in WIDTHS), torch.float32),
        mask_nan=0,
        do_not_collate_keys=["smiles", "mol_ids"],
    )


def copy_batch(batch: dict) -> dict:
    """A batch that shares tensors but nothing else: the network writes into what it is given."""
    return batch | {name: copy.copy(batch[name]) for name in ("features", "labels")}


def to_device(batch: dict, device: str) -> dict:
    """A batch whose graphs and labels are on a device."""
    return batch | {name: batch[name].to(device) for name in ("features", "labels")}


def batch_arrays(batch: dict) -> dict[str, Tensor]:
    """A batch as plain tensors in float32: the arrays, `batch`, and `labels.<task>`."""
    arrays = {name: batch["features"][name] for name in (*ARRAYS, "batch")}
    arrays |= {f"labels.{task}": batch["labels"][f"graph_{task}"] for task in WIDTHS}
    return {
        name: (values.float() if values.is_floating_point() else values.long())
        for name, values in arrays.items()
    }


# -------------------------------------------------------------------------------------- the network


def make_predictor(reference: Reference, weights: dict[str, Tensor] | None = None) -> nn.Module:
    """Its predictor around its GINE, with the base shapes that its training gives it.

    `weights` is a state_dict under its own names; without it the network is as it starts. Labels
    are taken as standardised already.
    """
    config = copy.deepcopy(reference.config)
    model_class, options = reference.loader.load_architecture(config, in_dims=input_widths(config))
    normalization = reference.normalization.LabelNormalization
    predictor = reference.loader.load_predictor(
        config=config,
        model_class=model_class,
        model_kwargs=options,
        metrics=reference.loader.load_metrics(config),
        task_levels=dict.fromkeys(WIDTHS, "graph"),
        accelerator_type="cpu",
        featurization=config["datamodule"]["args"]["featurization"],
        task_norms={f"graph_{task}": normalization(normalize_val_test=True) for task in WIDTHS},
    )
    if weights is not None:
        predictor.model.load_state_dict(weights)
    return predictor


def make_gine(reference: Reference, weights: dict[str, Tensor]) -> nn.Module:
    """Its GINE with these weights, which give its heads' outputs for the graphs of a batch."""
    return make_predictor(reference, weights).model


def input_widths(config: dict) -> dict[str, int]:
    """Columns of each array under the settings of ToyMix, as its data module tells them."""
    encodings = config["datamodule"]["args"]["featurization"]["pos_encoding_as_features"]
    kinds = encodings["pos_types"]
    return {
        "feat": 85,
        "edge_feat": 13,
        "laplacian_eigvec": kinds["lap_eigvec"]["num_pos"],
        "laplacian_eigval": kinds["lap_eigval"]["num_pos"],
        "rw_return_probs": kinds["rw_pos"]["ksteps"],
    }


def network_config(reference: Reference) -> dict:
    """Sizes and parts of its network, from which ours is made for its weights."""
    parts = reference.config["architecture"]
    widths = input_widths(reference.config)
    encoders = parts["pe_encoders"]["encoders"]
    gnn = parts["gnn"]
    output = parts["graph_output_nn"]["graph"]
    losses = reference.config["predictor"]["loss_fun"]
    edges = parts["pre_nn_edges"]  # none where the layers do not read bonds
    heads = {}
    for task, head in parts["task_heads"].items():
        heads[task] = {"level": head["task_level"], **_layers(head, output["out_dim"])}
        # its base network is half as wide (muP); in no weight, and lost in its checkpoints
        heads[task] |= {"readout_divisor": 2.0, "loss": losses[task].removesuffix("_ipu")}
    return {
        "layer_type": gnn["layer_type"].removeprefix("pyg:"),
        "node_features": widths["feat"],
        "edge_features": widths["edge_feat"],
        "pe_encoders": {
            "out_dim": parts["pe_encoders"]["out_dim"],
            "pool": parts["pe_encoders"]["pool"],
            "la_pos": {
                "kind": "laplacian_pe, DeepSet",
                "num_pos": widths["laplacian_eigvec"],
                "num_layers_post": encoders["la_pos"]["num_layers_post"],
                **_encoder(encoders["la_pos"]),
            },
            "rw_pos": {
                "kind": "mlp",
                "ksteps": widths["rw_return_probs"],
                "normalization": encoders["rw_pos"]["normalization"],
                "last_normalization": encoders["rw_pos"]["normalization"],
                "last_activation": "relu",
                **_encoder(encoders["rw_pos"]),
            },
        },
        "pre_nn": _layers(parts["pre_nn"], parts["pe_encoders"]["out_dim"] + widths["feat"]),
        "pre_nn_edges": _layers(edges, widths["edge_feat"]) if edges else None,
        "gnn": {
            "in_dim": gnn["in_dim"],
            "hidden_dims": [gnn["hidden_dims"]] * (gnn["depth"] - 1),
            "out_dim": gnn["out_dim"],
            "depth": gnn["depth"],
            "edge_dim": edges["out_dim"] if edges else None,
            "activation": gnn["activation"],
            "normalization": gnn["normalization"],
            "dropout": gnn["dropout"],
            "residual": gnn["residual_type"],
            "virtual_node": gnn["virtual_node"],
        },
        "graph_output_nn": {
            "pooling": output["pooling"][0],
            **_layers(output, gnn["out_dim"]),
        },
        "task_heads": heads,
    }


def _encoder(part: dict) -> dict:
    """Sizes of the network of a positional encoding; its activation is the default."""
    names = ("hidden_dim", "out_dim", "num_layers", "first_normalization", "dropout")
    return {"activation": "relu"} | {name: part[name] for name in names}


def _layers(part: dict, d_in: int) -> dict:
    """Sizes of a fully connected part of its network."""
    names = ("activation", "last_activation", "normalization", "last_normalization", "dropout")
    return {
        "in_dim": d_in,
        "hidden_dims": [part["hidden_dims"]] * (part["depth"] - 1),
        "out_dim": part["out_dim"],
        **{name: part[name] for name in names},
        "last_dropout": 0.0,
        "residual": part["residual_type"],
    }


def perturb(network: nn.Module, scale: float, seed: int) -> None:
    """Move every parameter off its initial value, so that no bias or gain is trivial.

    Vectors by N(0, scale²), matrices by N(0, scale²/columns), which keeps activations alike.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            factor = parameter.shape[1] ** -0.5 if parameter.dim() == 2 else 1.0
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise, alpha=scale * factor)


def reference_outputs(predictor: nn.Module, batch: dict) -> dict[str, Tensor]:
    """What its heads give for a batch, in evaluation mode: `head.<task>`."""
    predictor.eval()
    with torch.no_grad():
        outputs = predictor(copy_batch(batch))["preds"]
    return {f"head.{task}": output for task, output in outputs.items()}


def reference_losses(predictor: nn.Module, batch: dict) -> dict[str, Tensor]:
    """The loss of each task and `total`, which alone has gradients; in evaluation mode."""
    predictor.eval()
    batch = copy_batch(batch)
    outputs = predictor(batch)["preds"]
    total, of_task = predictor.compute_loss(
        preds={f"graph_{task}": output for task, output in outputs.items()},
        targets={f"graph_{task}": batch["labels"][f"graph_{task}"] for task in outputs},
        weights=None,
        loss_fun=predictor.loss_fun,
        target_nan_mask=predictor.target_nan_mask,
        multitask_handling=predictor.multitask_handling,
    )
    losses = {task.removeprefix("graph_"): loss.detach() for task, loss in of_task.items()}
    return losses | {"total": total}


def make_optimizer(predictor: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that its training steps with (MuAdam), in the first epoch of its schedule."""
    return predictor.configure_optimizers()[0][0]


def training_step(
    predictor: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: dict,
    number: int,
    detect_anomaly: bool,
) -> Tensor:
    """The step `number` as its trainer makes it; returns the loss.

    Everything that its predictor does in a step is done: conversion of dtypes, losses, the norm of
    the gradients, copies of the predictions, what it keeps of the losses. Lightning's own loop
    around it is left out. `detect_anomaly` is the debugging flag that its trainer always sets.
    """
    with torch.autograd.set_detect_anomaly(detect_anomaly):
        predictor.on_train_batch_start(batch, number)
        results = predictor.training_step(batch)
        optimizer.zero_grad()
        results["loss"].backward()
        optimizer.step()
        predictor.on_train_batch_end(results, batch, number)
    return results["loss"].detach()


def fit(
    reference: Reference,
    predictor: nn.Module,
    samples: list[dict],
    n_mol: int,
    n_epoch: int,
    folder: str | Path,
    detect_anomaly: bool,
) -> list[tuple[float, float]]:
    """CPU and wall seconds of each epoch of its own trainer, batches of `n_mol` made on the way.

    Its trainer is as its configuration makes it, but for its checkpoints and its progress bar; it
    logs to `folder`. There is nothing to validate on.
    """
    from torch.utils.data import DataLoader

    config = copy.deepcopy(reference.config)
    del config["trainer"]["model_checkpoint"]
    config["trainer"]["trainer"] |= {
        "max_epochs": n_epoch,
        "default_root_dir": str(folder),
        "enable_progress_bar": False,
    }
    trainer = reference.loader.load_trainer(config, "cpu")
    if not detect_anomaly:
        trainer._detect_anomaly = False  # always set, no configuration changes it
    clock = _make_clock()
    trainer.callbacks.append(clock)
    loader = DataLoader(samples, n_mol, shuffle=True, collate_fn=partial(collate, reference))
    trainer.fit(predictor, loader)
    return clock.seconds


def _make_clock():
    """A callback of the trainer that keeps the CPU and wall seconds of each epoch."""
    from lightning.pytorch.callbacks import Callback

    class Clock(Callback):
        def __init__(self):
            self.seconds: list[tuple[float, float]] = []

        def on_train_epoch_start(self, trainer, module) -> None:
            self.start = (time.process_time(), time.perf_counter())

        def on_train_epoch_end(self, trainer, module) -> None:
            cpu_start, wall_start = self.start
            cpu = time.process_time() - cpu_start
            self.seconds.append((cpu, time.perf_counter() - wall_start))

    return Clock()
