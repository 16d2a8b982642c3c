"""Features, outputs, losses and gradients are those that Graphium's own code gave.

`benchmarks/graphium_fixture.py` says how the fixture was made, from the unmodified public code.
"""

from __future__ import annotations

import copy
import json
from functools import cache

import numpy as np
import pytest
import torch
from stored_numbers import FIXTURES, PARITY, below, unpacked

pytest.importorskip("torch_geometric")
from molnb.errors import InputError
from molnb.models.graph.official import (
    ReferenceModel,
    load_reference,
    make_reference_batch,
    reference_features,
    reference_gradients,
    reference_losses,
    reference_outputs,
)

FIXTURE = FIXTURES / "graphium_small.safetensors.gz"
KINDS = ("gine", "gcn", "gin")
NETWORKS = [(source, kind) for source in ("small", "parity") for kind in KINDS]
ARRAYS = (
    "edge_index",
    "feat",
    "edge_feat",
    "laplacian_eigvec",
    "laplacian_eigval",
    "rw_return_probs",
)
HALF_DIGIT = 2**-10  # a last digit of float16 between 1 and 2, in which the reference keeps numbers
SIMPLE = 1e-3  # an eigenvalue this far from all others has one eigenvector


def stored(source: str, kind: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and configuration of a network."""
    if source == "small":
        tensors, metadata = unpacked(FIXTURE)
        return below(tensors, f"{kind}."), json.loads(metadata["config"])[kind]
    file = PARITY / f"graphium_{kind}.safetensors"
    tensors, _ = unpacked(file)
    return tensors, json.loads(file.with_suffix(".json").read_text())["config"]


@cache
def loaded(source: str, kind: str) -> ReferenceModel:
    tensors, config = stored(source, kind)
    return load_reference(below(tensors, "weights."), config)


@pytest.mark.parametrize(("source", "kind"), NETWORKS)
def test_every_intermediate_is_the_authors(source, kind):
    tensors, _ = stored(source, kind)
    batch = make_reference_batch(below(tensors, "batch."))
    with torch.no_grad():
        outputs = reference_outputs(loaded(source, kind), batch)
    expected = below(tensors, "out.")
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        error = float((outputs[name] - values).abs().max())
        assert error <= 1e-5 * float(values.abs().max()), name


@pytest.mark.parametrize(("source", "kind"), NETWORKS)
def test_losses_are_the_authors(source, kind):
    tensors, _ = stored(source, kind)
    losses = reference_losses(loaded(source, kind), make_reference_batch(below(tensors, "batch.")))
    expected = below(tensors, "loss.")
    assert set(losses) == set(expected)
    for name, loss in losses.items():
        assert float(loss.detach()) == pytest.approx(float(expected[name]), rel=1e-5), name


@pytest.mark.parametrize(("source", "kind"), NETWORKS)
def test_gradients_are_the_authors(source, kind):
    tensors, _ = stored(source, kind)
    batch = make_reference_batch(below(tensors, "batch."))
    gradients = reference_gradients(loaded(source, kind), batch)
    expected = below(tensors, "grad.")
    assert set(gradients) == set(expected)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for parameter, gradient in expected.items():
        allowed = 1e-5 * max(float(gradient.abs().max()), 1e-4 * largest)
        assert float((gradients[parameter] - gradient).abs().max()) <= allowed, parameter


def test_the_order_of_atoms_and_edges_decides_nothing():
    tensors, _ = stored("small", "gine")
    arrays = below(tensors, "batch.")
    atom_order = torch.randperm(len(arrays["feat"]), generator=torch.Generator().manual_seed(0))
    edge_order = torch.randperm(
        arrays["edge_index"].shape[1], generator=torch.Generator().manual_seed(1)
    )
    rank = torch.argsort(atom_order)
    for name in ("feat", "laplacian_eigvec", "laplacian_eigval", "rw_return_probs", "batch"):
        arrays[name] = arrays[name][atom_order]
    arrays["edge_feat"] = arrays["edge_feat"][edge_order]
    arrays["edge_index"] = rank[arrays["edge_index"][:, edge_order]]
    with torch.no_grad():
        outputs = reference_outputs(loaded("small", "gine"), make_reference_batch(arrays))
    for name, values in below(tensors, "out.head.").items():
        error = float((outputs[f"head.{name}"] - values).abs().max())
        assert error <= 1e-5 * float(values.abs().max()), name


def test_weights_may_be_numpy_arrays():
    tensors, config = stored("small", "gine")
    arrays = {name: w.float().numpy() for name, w in below(tensors, "weights.").items()}
    from_arrays = load_reference(arrays, config).state_dict()
    from_tensors = loaded("small", "gine").state_dict()
    assert from_arrays.keys() == from_tensors.keys()
    assert all(torch.equal(w, from_arrays[name]) for name, w in from_tensors.items())


# ----------------------------------------------------------------------------- what is refused


def test_weights_that_lack_a_tensor_are_refused():
    tensors, config = stored("small", "gine")
    weights = below(tensors, "weights.")
    del weights["gnn.layers.1.norm_layer.bias"]
    with pytest.raises(InputError, match="the weights lack"):
        load_reference(weights, config)


@pytest.mark.parametrize("name", ["elsewhere.weight", "gnn.layers.7.norm_layer.bias"])
def test_weights_with_a_tensor_of_another_network_are_refused_by_its_name(name):
    tensors, config = stored("small", "gine")
    with pytest.raises(InputError, match=r"elsewhere\.weight|blocks\.7"):
        load_reference(below(tensors, "weights.") | {name: torch.zeros(24)}, config)


def test_weights_of_another_shape_are_refused_with_both_shapes():
    tensors, config = stored("small", "gine")
    wider = copy.deepcopy(config)
    wider["gnn"]["hidden_dims"] = [32 for _ in wider["gnn"]["hidden_dims"]]
    with pytest.raises(InputError, match=r"has shape .*24.* the configuration asks for .*32"):
        load_reference(below(tensors, "weights."), wider)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        (None, "layer_type", "dimenet"),
        ("gnn", "virtual_node", "logsum"),
        ("gnn", "residual", "densenet"),
        ("graph_output_nn", "pooling", "std"),
        ("pre_nn", "hidden_dims", [10, 10]),
    ],
)
def test_a_part_that_molnb_does_not_have_is_refused_by_its_value(part, key, value):
    tensors, config = stored("small", "gine")
    other = copy.deepcopy(config)
    (other[part] if part else other)[key] = value
    shown = len(value) if isinstance(value, list) else value
    with pytest.raises(InputError, match=f"{key}.* is .*{shown}"):
        load_reference(below(tensors, "weights."), other)


# --------------------------------------------------------------------------------------- features


def stored_features(source: str) -> tuple[list[str], list[dict[str, np.ndarray]]]:
    """SMILES, and the arrays of each."""
    if source != "small":
        file = PARITY / "graphium_features.npz"
        if not file.exists():
            pytest.skip(f"{file.name} is not beside this checkout")
        with np.load(file) as arrays:
            smiles = [str(text) for text in arrays[f"{source}_smiles"]]
            of_all = []
            for i in range(len(smiles)):
                of_all.append({name: arrays[f"{source}_{i}_{name}"] for name in ARRAYS})
        return smiles, of_all
    tensors, metadata = unpacked(FIXTURE)
    n_atoms = tensors["features.n_atoms"].tolist()
    n_edges = tensors["features.n_edges"].tolist()
    pieces = {}
    for name in ARRAYS:
        rows = n_edges if name.startswith("edge") else n_atoms
        axis = 1 if name == "edge_index" else 0
        pieces[name] = [x.numpy() for x in tensors[f"features.{name}"].split(rows, axis)]
    of_all = [dict(zip(pieces, arrays)) for arrays in zip(*pieces.values(), strict=True)]
    return json.loads(metadata["smiles"]), of_all


def assert_close(ours: np.ndarray, theirs: np.ndarray, what: object) -> None:
    """Equal but for the last digit of float16."""
    theirs = theirs.astype(np.float64)
    assert ours.shape == theirs.shape, what
    assert (np.abs(ours - theirs) <= HALF_DIGIT * np.maximum(np.abs(theirs), 1)).all(), what


def simple_pairs(edges: np.ndarray, n_atom: int) -> list[tuple[np.ndarray, int]]:
    """The atoms of a fragment, and the place of an eigenvalue there that stands apart."""
    adjacent = np.zeros((n_atom, n_atom))
    adjacent[edges[0], edges[1]] = 1
    reached = np.linalg.matrix_power(adjacent + np.eye(n_atom), n_atom) > 0
    pairs = []
    for fragment in np.unique(reached, axis=0):
        atoms = np.flatnonzero(fragment)
        inside = adjacent[np.ix_(atoms, atoms)]
        values = np.linalg.eigvalsh(np.diag(inside.sum(0)) - inside)
        apart = np.diff(values, prepend=-np.inf, append=np.inf) > SIMPLE
        pairs += [(atoms, place) for place in np.flatnonzero(apart[:-1] & apart[1:])]
    return pairs


@pytest.mark.parametrize("source", ["small", "zinc", "qm9"])
def test_features_are_the_authors(source):
    """Salts, charges, radicals, metals, stereo, written hydrogens; eigenvectors up to their sign.

    Of an eigenvalue that is not simple the vectors are not determined.
    """
    pytest.importorskip("rdkit")
    smiles, expected = stored_features(source)
    n_compared = 0
    for text, ours, theirs in zip(smiles, reference_features(smiles), expected, strict=True):
        assert set(ours) == set(theirs)
        for name in ("edge_index", "feat", "edge_feat"):
            np.testing.assert_array_equal(ours[name], theirs[name], f"{text}: {name}")
        for name in ("laplacian_eigval", "rw_return_probs"):
            assert_close(ours[name], theirs[name], (text, name))
        vectors = theirs["laplacian_eigvec"]
        for atoms, place in simple_pairs(theirs["edge_index"].astype(int), len(vectors)):
            if place < vectors.shape[1]:
                mine = ours["laplacian_eigvec"][atoms, place]
                their = vectors[atoms, place].astype(np.float64)
                assert_close(np.sign(mine @ their) * mine, their, (text, place))
                n_compared += 1
    assert n_compared > 2 * len(smiles)
