"""Graphium's weights, arrays and numbers, as molnb reads them.

What the public code (2.4.7) calls a tensor and what molnb calls it stand side by side in `_NAMES`.
What it does against its own intention is repeated here and nowhere else: eigenvalue and entry of a
pair change places, pairs that pad small molecules count, features are float16, and each head
divides what its last layer reads by `readout_divisor`, which stands in no weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.encodings.catalogue import encode_all
from ...errors import InputError
from ...shapes import Float, Int, UInt8
from ..official_weights import fill_model
from .config import GraphConfig
from .dense import Dense
from .encoder import GraphEncoder
from .features import Feature, atom_features, bond_features, column_values
from .inputs import EigenpairNetwork
from .layers import Graph, States
from .pooling import pool

_POOLINGS = ("sum", "mean", "max")
_RESIDUALS = {"none": "none", "simple": "inner"}
_LAYERS = ("gcn", "gin", "gine")
N_PAIR = 8  # of the features that `reference_features` makes
_PAIRS = "eigenpairs_8"
_STEPS = "return_probabilities_16"
_ENCODERS = "encoder_manager.pe_encoders."
# Where a tensor of the reference goes: pattern of its name -> name in `ReferenceModel`.
_NAMES = (
    (r"la_pos\.linear_in\.linear", "encoder.atoms.encoders.{eigen}.lift"),
    (r"la_pos\.pe_encoder\.fully_connected\.0\.linear", "encoder.atoms.encoders.{eigen}.inner"),
    (r"la_pos\.pe_encoder\.fully_connected\.1\.linear", "encoder.atoms.encoders.{eigen}.outer"),
    (r"la_pos\.post_mlp\.fully_connected\.0\.linear", "encoder.atoms.encoders.{eigen}.post"),
    (r"rw_pos\.pe_encoder\.first_normalization", "encoder.atoms.encoders.{walk}.norm"),
    (
        r"rw_pos\.pe_encoder\.fully_connected\.(\d+)\.linear",
        "encoder.atoms.encoders.{walk}.layers.{0}.linear",
    ),
    (
        r"rw_pos\.pe_encoder\.fully_connected\.(\d+)\.normalization",
        "encoder.atoms.encoders.{walk}.layers.{0}.norm",
    ),
    (r"pre_nn\.layers\.0\.linear", "encoder.atoms.first.linear"),
    (r"pre_nn\.layers\.0\.normalization", "encoder.atoms.first.norm"),
    (r"pre_nn\.layers\.1\.linear", "encoder.atoms.second.linear"),
    (r"pre_nn\.layers\.1\.normalization", "encoder.atoms.second.norm"),
    (r"pre_nn_edges\.layers\.0\.linear", "encoder.bonds.first.linear"),
    (r"pre_nn_edges\.layers\.0\.normalization", "encoder.bonds.first.norm"),
    (r"pre_nn_edges\.layers\.1\.linear", "encoder.bonds.second.linear"),
    (r"pre_nn_edges\.layers\.1\.normalization", "encoder.bonds.second.norm"),
    (r"gnn\.layers\.(\d+)\.model\.lin", "encoder.blocks.{0}.layer.{lin}"),
    (
        r"gnn\.layers\.(\d+)\.model\.nn\.fully_connected\.0\.linear",
        "encoder.blocks.{0}.layer.network.0.linear",
    ),
    (
        r"gnn\.layers\.(\d+)\.model\.nn\.fully_connected\.0\.normalization",
        "encoder.blocks.{0}.layer.network.0.norm",
    ),
    (
        r"gnn\.layers\.(\d+)\.model\.nn\.fully_connected\.1\.linear",
        "encoder.blocks.{0}.layer.network.1",
    ),
    (r"gnn\.layers\.(\d+)\.norm_layer", "encoder.blocks.{0}.norm"),
    (r"gnn\.layers\.(\d+)\.model", "encoder.blocks.{0}.layer"),  # the bias of gcn
    (
        r"task_heads\.graph_output_nn\.graph\.graph_output_nn\.layers\.0\.linear",
        "encoder.molecule",
    ),
    (
        r"task_heads\.task_heads\.([^.]+)\.layers\.(\d+)\.linear",
        "heads.{0}.layers.{1}.linear",
    ),
    (
        r"task_heads\.task_heads\.([^.]+)\.layers\.(\d+)\.normalization",
        "heads.{0}.layers.{1}.norm",
    ),
)
# Never used by the reference, or constants of it.
_UNUSED = (r"encoder_manager\.pe_encoders\.rw_pos\.first_normalization", r".*\.model\.eps$")


class ReferenceHead(nn.Module):
    """Linear, norm, ReLU for each hidden width, then the readout, whose input is divided."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        widths = [config["in_dim"], *config["hidden_dims"]]
        layers = [Dense(*pair, F.relu) for pair in zip(widths, widths[1:])]
        self.layers = nn.ModuleList([*layers, Dense(widths[-1], config["out_dim"], norm=False)])
        self.divisor = float(config["readout_divisor"])

    def forward(self, x: Float[Tensor, "mol d"]) -> Float[Tensor, "mol label"]:
        *inner, readout = self.layers
        for layer in inner:
            x = layer(x)
        return readout(x / self.divisor)


class ReferenceModel(nn.Module):
    """One of its networks for ToyMix with the heads of its tasks.

    `names` says what each tensor that was loaded is called here.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.reference = config
        self.names: dict[str, str] = {}
        self.encoder = GraphEncoder(reference_config(config))
        self.encoder.seen = None
        for network in self.encoder.atoms.encoders.values():
            network.signed = False  # signs as they come in
        heads = config["task_heads"]
        self.heads = nn.ModuleDict({name: ReferenceHead(heads[name]) for name in heads})


def reference_config(config: Mapping[str, Any]) -> GraphConfig:
    """A configuration under the reference's names, as molnb's.

    Raises InputError for parts that molnb's network has no place for.
    """
    gnn = config["gnn"]
    pre = config["pre_nn"]
    edges = config["pre_nn_edges"] or {"hidden_dims": [1], "out_dim": 1, "dropout": 0.0}
    output = config["graph_output_nn"]
    eigen = config["pe_encoders"]["la_pos"]
    walk = config["pe_encoders"]["rw_pos"]
    _check_part("layer_type", config["layer_type"], _LAYERS)
    _check_part("graph_output_nn.pooling", output["pooling"], _POOLINGS)
    _check_part("gnn.residual", gnn["residual"], tuple(_RESIDUALS))
    _check_part("gnn.virtual_node", gnn["virtual_node"], ("none",))
    _check_part("len(pre_nn.hidden_dims)", len(pre["hidden_dims"]), (1,))
    _check_part("len(pre_nn_edges.hidden_dims)", len(edges["hidden_dims"]), (1,))
    _check_part("len(graph_output_nn.hidden_dims)", len(output["hidden_dims"]), (0,))
    _check_part("la_pos.num_layers", eigen["num_layers"], (2,))
    _check_part("rw_pos.num_layers", walk["num_layers"], (2,))
    _check_part("widths of gnn.hidden_dims", len(set(gnn["hidden_dims"])), (0, 1))
    _check_part("rw_pos.hidden_dim", walk["hidden_dim"], (eigen["hidden_dim"],))
    return GraphConfig(
        layer=config["layer_type"],
        n_layer=len(gnn["hidden_dims"]) + 1,
        d_input=gnn["in_dim"],
        d_atom=(gnn["hidden_dims"] or [gnn["out_dim"]])[0],
        d_bond=edges["out_dim"],
        d_out=gnn["out_dim"],
        d_molecule=output["out_dim"],
        d_input_hidden=pre["hidden_dims"][0],
        d_bond_hidden=edges["hidden_dims"][0],
        d_encoding=config["pe_encoders"]["out_dim"],
        d_encoding_hidden=eigen["hidden_dim"],
        encodings=(f"eigenpairs_{eigen['num_pos']}", f"return_probabilities_{walk['ksteps']}"),
        pooling=output["pooling"],
        residual=_RESIDUALS[gnn["residual"]],
        dropout=gnn["dropout"],
        input_dropout=pre["dropout"],
        encoding_dropout=eigen["dropout"],
        padded_pairs=True,
    )


def _check_part(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        raise InputError(
            f"{name} of the reference's configuration is {value!r}: molnb reads its networks with "
            f"{' or '.join(map(str, known))}"
        )


def _own_name(name: str, config: GraphConfig) -> str | None:
    """The name in `ReferenceModel` of a tensor of the reference; None for what is never used.

    Raises InputError for a name that the reference does not have.
    """
    if any(re.match(pattern, name) for pattern in _UNUSED):
        return None
    stem, _, leaf = name.removeprefix(_ENCODERS).rpartition(".")
    eigen, walk = config.encodings
    lin = "bond" if config.layer == "gine" else "linear"
    for pattern, own in _NAMES:
        match = re.fullmatch(pattern, stem)
        if match:
            return own.format(*match.groups(), eigen=eigen, walk=walk, lin=lin) + f".{leaf}"
    raise InputError(
        f"the reference's network has no tensor {name!r}: is this another model's checkpoint?"
    )


def _swapped(name: str, tensor: Tensor) -> Tensor:
    """The matrix that reads pairs with its columns changed: the reference has the value first."""
    return tensor.flip(1) if name.endswith("lift.weight") else tensor


def load_reference(
    state_dict: Mapping[str, Tensor | np.ndarray], config: Mapping[str, Any]
) -> ReferenceModel:
    """The reference's weights (tensors or arrays) in molnb's network, in evaluation mode.

    Raises InputError for tensors that are missing, unknown or of another shape, naming the first.
    """
    model = ReferenceModel(config)
    renamed: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        own = _own_name(name, model.encoder.config)
        if own is not None:
            renamed[own] = _swapped(own, torch.as_tensor(tensor))
            model.names[name] = own
    fill_model(model, renamed)
    return model.eval()


class ReferenceBatch(NamedTuple):
    """A batch as the reference's collate function makes it; each bond is two edges."""

    feat: Float[Tensor, "atom column"]
    edge_feat: Float[Tensor, "edge column"]
    edge_index: Int[Tensor, "2 edge"]
    mol_of_atom: Int[Tensor, " atom"]
    pairs: Float[Tensor, "atom column"]  # entries of eigenvectors, then eigenvalues
    return_probabilities: Float[Tensor, "atom step"]
    labels: dict[str, Float[Tensor, "mol label"]]


def make_reference_batch(arrays: Mapping[str, Tensor | np.ndarray]) -> ReferenceBatch:
    """A batch from the reference's own arrays (`feat`, `edge_feat`, ..., `labels.<task>`).

    The prefix `batch.` may stand before their names.
    """
    tensors = {}
    for name, array in arrays.items():
        tensors[name.removeprefix("batch.")] = torch.as_tensor(array)
    vectors = tensors["laplacian_eigvec"].float()
    values = tensors["laplacian_eigval"].float()
    labels = {
        name.removeprefix("labels."): tensor.float()
        for name, tensor in tensors.items()
        if name.startswith("labels.")
    }
    return ReferenceBatch(
        feat=tensors["feat"].float(),
        edge_feat=tensors["edge_feat"].float(),
        edge_index=tensors["edge_index"].long(),
        mol_of_atom=tensors["batch"].long(),
        pairs=torch.cat([vectors, values], 1),
        return_probabilities=tensors["rw_return_probs"].float(),
        labels=labels,
    )


class Named(dict):
    """Tensors by name, which are also found with a prefix: `out.`, `loss.`, `grad.`."""

    def __missing__(self, name: str) -> Tensor:
        _, _, plain = name.partition(".")
        if plain not in self:
            raise KeyError(name)
        return self[plain]


def reference_outputs(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """Every intermediate under the reference's names.

    `la_pos rw_pos pre_nn pre_nn_edges gnn.<i> pooled graph_output_nn head.<task>`; a head that ends
    in a sigmoid gives probabilities, and `head.<task>_logits` besides.
    """
    encoder = model.encoder
    encoders: list[EigenpairNetwork | nn.Module] = list(encoder.atoms.encoders.values())
    outputs = Named()
    outputs["la_pos"] = encoders[0](batch.pairs, batch.mol_of_atom)
    outputs["rw_pos"] = encoders[1](batch.return_probabilities, batch.mol_of_atom)
    outputs["pre_nn"] = encoder.atoms.dense(outputs["la_pos"] + outputs["rw_pos"], batch.feat)
    bonds = None
    if encoder.bonds is not None:
        bonds = encoder.bonds.dense(batch.edge_feat)
        outputs["pre_nn_edges"] = bonds
    graph = Graph(batch.edge_index, batch.mol_of_atom, int(batch.mol_of_atom.max()) + 1)
    every = torch.arange(batch.edge_index.shape[1])
    after = encoder.encode(graph, States(outputs["pre_nn"], bonds, every))
    outputs |= {f"gnn.{number}": states.atoms for number, states in enumerate(after)}
    outputs["pooled"] = pool(encoder.config.pooling, graph, after[-1].atoms)
    outputs["graph_output_nn"] = encoder.molecule(outputs["pooled"])
    for name, head in model.heads.items():
        output = head(outputs["graph_output_nn"])
        if model.reference["task_heads"][name]["last_activation"] == "sigmoid":
            outputs[f"head.{name}_logits"] = output
            output = torch.sigmoid(output)
        outputs[f"head.{name}"] = output
    return outputs


def reference_losses(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """The loss of each task, a mean over its labelled cells, and `total`, their plain mean."""
    outputs = reference_outputs(model, batch)
    losses = Named()
    for name, config in model.reference["task_heads"].items():
        truth = batch.labels[name]
        known = torch.isfinite(truth)
        guess = outputs[f"head.{name}"][known]
        if config["loss"] == "bce":
            losses[name] = F.binary_cross_entropy(guess, truth[known])
        else:
            losses[name] = F.l1_loss(guess, truth[known])
    losses["total"] = sum(losses.values()) / len(losses)
    return losses


def reference_gradients(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """Gradients of the total loss under the reference's parameter names (no dropout)."""
    model.zero_grad(set_to_none=True)
    reference_losses(model, batch)["total"].backward()
    parameters = dict(model.named_parameters())
    gradients = Named()
    for name, own in model.names.items():
        gradients[name] = _swapped(own, parameters[own].grad)
    return gradients


def reference_features(smiles: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """The arrays that the reference makes of molecules with its settings for ToyMix.

    `edge_index feat edge_feat laplacian_eigvec laplacian_eigval rw_return_probs` of each, its atoms
    in canonical order, both directions of a bond after one another. Eigenvalues are rounded as the
    reference rounds them, to float16 (features are whole numbers). Needs RDKit.
    """
    graphs = read_graphs(smiles)
    pairs = graphs.encodings[_PAIRS]
    edges = np.stack([graphs.bonds, graphs.bonds[:, ::-1]], 1).reshape(-1, 2)
    of_atoms = {
        "feat": _columns(atom_features("toymix"), graphs.atom_feats, graphs.numbers),
        "laplacian_eigvec": pairs[:, :N_PAIR],
        "laplacian_eigval": pairs[:, N_PAIR:].astype(np.float16).astype(np.float32),
        "rw_return_probs": graphs.encodings[_STEPS],
    }
    of_bonds = _columns(bond_features("toymix"), graphs.bond_feats)
    atom_ends = np.cumsum(graphs.n_atoms)[:-1]
    edge_ends = 2 * np.cumsum(graphs.n_bonds)[:-1]
    pieces = {name: np.split(array, atom_ends) for name, array in of_atoms.items()}
    pieces["edge_index"] = np.split(edges.T, edge_ends, 1)
    pieces["edge_feat"] = np.split(np.repeat(of_bonds, 2, 0), edge_ends)
    return [dict(zip(pieces, arrays)) for arrays in zip(*pieces.values(), strict=True)]


class Graphs(NamedTuple):
    """Molecules as molnb keeps them, integers and encodings, in the reference's order of atoms.

    Arrays are of all molecules in a row; the ends of a bond count in its molecule.
    """

    numbers: UInt8[np.ndarray, " atom"]
    atom_feats: UInt8[np.ndarray, "atom feat"]
    bonds: Int[np.ndarray, "bond 2"]
    bond_feats: UInt8[np.ndarray, "bond bond_feat"]
    encodings: dict[str, Float[np.ndarray, "atom column"]]
    n_atoms: Int[np.ndarray, " mol"]
    n_bonds: Int[np.ndarray, " mol"]


def read_graphs(smiles: Sequence[str]) -> Graphs:
    """SMILES as integers and the encodings of ToyMix. Needs RDKit."""
    from ...chemistry.canonical_order import make_ordered_graph

    graphs = [make_ordered_graph(text) for text in smiles]
    n_atoms = np.array([len(graph.numbers) for graph in graphs])
    n_bonds = np.array([len(graph.bonds) for graph in graphs])
    first_atom = np.cumsum(n_atoms) - n_atoms
    bonds = np.concatenate([graph.bonds for graph in graphs])
    return Graphs(
        numbers=np.concatenate([graph.numbers for graph in graphs]),
        atom_feats=np.concatenate([graph.atom_feats for graph in graphs]),
        bonds=bonds,
        bond_feats=np.concatenate([graph.bond_feats for graph in graphs]),
        encodings=encode_all(
            (_PAIRS, _STEPS), n_atoms, bonds + np.repeat(first_atom, n_bonds)[:, None]
        ),
        n_atoms=n_atoms,
        n_bonds=n_bonds,
    )


def _columns(
    features: Sequence[Feature],
    integers: UInt8[np.ndarray, "row feat"],
    numbers: UInt8[np.ndarray, " row"] | None = None,
) -> np.ndarray:
    """Features as the columns they stand for."""
    columns = [column_values(feature, integers, numbers) for feature in features]
    return np.concatenate(columns, 1)
