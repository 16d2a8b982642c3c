r"""Numbers of Graphium's own networks and features, as the tests of `models/graph` keep them.

    cd tests/fixtures; python ../../benchmarks/graphium_fixture.py --reference graphium \
        --molecules graphium_small.smi --seed 2 --write graphium_small.safetensors.gz

Runs in the environment that `graphium_reference.py` describes. Three networks, GINE, GCN and GIN,
which differ from those of ToyMix in every width, in depth, pooling and numbers of encodings;
dropout off, float32. Their weights are moved off their initial values, so that no bias or gain is
trivial, and have 16 bits; labels are random numbers, some of them unknown. The file of molecules
names SMILES, one a line: features are kept of all, and the first six are the batch. With seed 0
the tasks' gradients nearly cancel in GINE's first encoder, and the sum shows their rounding.

Keys, each behind the kind of network (`gine.`, ...): `weights.*` and `grad.*` under the
reference's names, `batch.*` what it reads, `out.*` what each part gives, `loss.*`. Features are
`features.*` in float16, the molecules one after another, `features.n_atoms` and
`features.n_edges` of each. The configurations of the networks and the SMILES stand in the metadata.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import graphium_reference as reference
import torch
from safetensors.torch import save
from torch import Tensor, nn

from molnb.errors import InputError

N_MOL = 6  # of the batch
UNKNOWN = 0.3  # share of the labels
OUTPUT = "graph_output_nn"


class Network(NamedTuple):
    """Sizes of a network that is to be unlike those of ToyMix."""

    layer: str
    hidden: int
    d_out: int
    depth: int
    pooling: str
    n_pair: int
    n_step: int


NETWORKS = (
    Network("gine", hidden=24, d_out=16, depth=3, pooling="sum", n_pair=8, n_step=16),
    Network("gcn", hidden=24, d_out=16, depth=3, pooling="mean", n_pair=5, n_step=12),
    Network("gin", hidden=16, d_out=24, depth=2, pooling="max", n_pair=8, n_step=16),
)
D_INPUT = 12  # atoms before the first layer
D_BOND = 8
D_ENCODING = 18
D_MOLECULE = 16
HIDDEN = {"pre_nn": 10, "pre_nn_edges": 6, "encoders": 8, "qm9": 12, "tox21": 8, "zinc": 6}


def resize(published: dict, network: Network) -> dict:
    """The published configuration with the sizes of a network."""
    config = copy.deepcopy(published)
    parts = config["architecture"]
    parts["pre_nn"] |= {"out_dim": D_INPUT, "hidden_dims": HIDDEN["pre_nn"]}
    parts["pre_nn_edges"] |= {"out_dim": D_BOND, "hidden_dims": HIDDEN["pre_nn_edges"]}
    parts["pe_encoders"]["out_dim"] = D_ENCODING
    for encoder in parts["pe_encoders"]["encoders"].values():
        encoder |= {"out_dim": D_ENCODING, "hidden_dim": HIDDEN["encoders"]}
    parts["gnn"] |= {
        "layer_type": f"pyg:{network.layer}",
        "in_dim": D_INPUT,
        "hidden_dims": network.hidden,
        "out_dim": network.d_out,
        "depth": network.depth,
    }
    if network.layer != "gine":  # nothing would read it
        parts["pre_nn_edges"] = None
    parts["graph_output_nn"]["graph"] |= {"pooling": [network.pooling], "out_dim": D_MOLECULE}
    for task, head in parts["task_heads"].items():
        head["hidden_dims"] = HIDDEN[task]
    kinds = config["datamodule"]["args"]["featurization"]["pos_encoding_as_features"]["pos_types"]
    kinds["lap_eigvec"]["num_pos"] = network.n_pair
    kinds["lap_eigval"]["num_pos"] = network.n_pair
    kinds["rw_pos"]["ksteps"] = network.n_step
    return config


def make_labels(n_mol: int, seed: int) -> dict[str, Tensor]:
    """Random labels of each task, of two classes for Tox21, NaN where unknown."""
    generator = torch.Generator().manual_seed(seed)
    labels = {}
    for task, width in reference.WIDTHS.items():
        values = torch.randn((n_mol, width), generator=generator)
        if task == "tox21":
            values = (values > 0).float()
        unknown = torch.rand((n_mol, width), generator=generator) < UNKNOWN
        labels[task] = values.masked_fill(unknown, torch.nan)
    return labels


def answers(
    graphium: reference.Reference, network: Network, smiles: list[str], seed: int
) -> tuple[dict[str, Tensor], dict]:
    """Everything that a network of the reference reads and gives, and its configuration."""
    sized = graphium._replace(config=resize(graphium.config, network))
    graphs = reference.featurize(sized, smiles)
    samples = reference.make_samples(graphs, smiles, make_labels(len(smiles), seed))
    batch = reference.collate(sized, reference.copy_samples(samples))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        predictor = reference.make_predictor(sized)
    reference.perturb(predictor.model, 0.2, seed)
    with torch.no_grad():
        for parameter in predictor.model.parameters():
            parameter.copy_(parameter.half())
    outputs = record(predictor.model, predictor, batch)
    losses = reference.reference_losses(predictor, batch)
    losses["total"].backward()
    parameters = predictor.model.named_parameters()
    gradients = {name: p.grad for name, p in parameters if p.grad is not None}
    kinds = {
        "weights": {name: w.half() for name, w in predictor.model.state_dict().items()},
        "batch": reference.batch_arrays(batch),
        "out": outputs,
        "loss": {name: loss.detach() for name, loss in losses.items()},
        "grad": gradients,
    }
    tensors = {f"{kind}.{name}": t for kind, named in kinds.items() for name, t in named.items()}
    return tensors, reference.network_config(sized)


def record(model: nn.Module, predictor: nn.Module, batch: dict) -> dict[str, Tensor]:
    """What each part of the network gives for a batch, in evaluation mode."""
    outputs: dict[str, Tensor] = {}
    restore: list[tuple[Any, str]] = []

    def keep(owner: Any, name: str, key: str, choose: Callable = lambda result: result) -> None:
        # the reference calls `forward` of many modules itself, which no hook sees
        function = getattr(owner, name)

        def recording(*args, **kwargs):
            result = function(*args, **kwargs)
            number = kwargs.get("step_idx")
            outputs[key if number is None else f"{key}.{number}"] = choose(result).detach().clone()
            return result

        setattr(owner, name, recording)
        restore.append((owner, name))

    for name, encoder in model.encoder_manager.pe_encoders.items():
        keep(encoder, "forward", name, lambda result: result["feat"])
    keep(model.pre_nn, "forward", "pre_nn")
    if model.pre_nn_edges is not None:
        keep(model.pre_nn_edges, "forward", "pre_nn_edges")
    keep(model.gnn, "_graph_layer_forward", "gnn", lambda result: result[0])
    output = model.task_heads.graph_output_nn["graph"]
    keep(output, "_pool_layer_forward", "pooled")
    keep(output, "forward", OUTPUT)
    for task, head in model.task_heads.task_heads.items():
        if head.layers[-1].activation is not None:
            keep(head.layers[-1].linear, "forward", f"head.{task}_logits")
    outputs |= reference.reference_outputs(predictor, batch)
    for owner, name in restore:
        delattr(owner, name)  # the method of its class is found again
    return outputs


def features(graphium: reference.Reference, smiles: list[str]) -> dict[str, Tensor]:
    """Features of molecules under the settings of ToyMix, one molecule after another."""
    graphs = reference.featurize(graphium, smiles)
    tensors = {"n_atoms": torch.tensor([graph.num_nodes for graph in graphs], dtype=torch.uint8)}
    tensors["n_edges"] = torch.tensor([graph.num_edges for graph in graphs], dtype=torch.uint8)
    for name in reference.ARRAYS:
        edges = name == "edge_index"
        values = torch.cat([graph[name] for graph in graphs], 1 if edges else 0)
        tensors[name] = values.to(torch.uint8 if edges else torch.float16)
    return tensors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--reference", required=True, type=Path, metavar="GRAPHIUM", help="checkout of Graphium"
    )
    parser.add_argument(
        "--molecules", required=True, type=Path, metavar="SMI", help="SMILES, one a line"
    )
    parser.add_argument("--write", required=True, type=Path, metavar="FILE.safetensors.gz")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    smiles = args.molecules.read_text().split()
    graphium = reference.load(args.reference)
    tensors = {f"features.{name}": t for name, t in features(graphium, smiles).items()}
    configs = {}
    for network in NETWORKS:
        named, config = answers(graphium, network, smiles[:N_MOL], args.seed)
        tensors |= {f"{network.layer}.{name}": t.contiguous() for name, t in named.items()}
        configs[network.layer] = config
    metadata = {"config": json.dumps(configs), "smiles": json.dumps(smiles)}
    content = gzip.compress(save(tensors, metadata), 9, mtime=0)
    args.write.write_bytes(content)
    print(f"{args.write}: {len(tensors)} tensors, {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
