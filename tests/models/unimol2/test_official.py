"""Features, outputs, losses and gradients are those that the authors' own code gave.

`benchmarks/agreement.py` says how the fixtures were made, from the unmodified public code.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
from stored_numbers import FIXTURES, PARITY, below, unpacked

from molnb.chemistry.features import molecule_arrays
from molnb.data.batch import MolBatch, pad
from molnb.errors import InputError
from molnb.models.unimol2.config import REFERENCE
from molnb.models.unimol2.inputs import table_rows
from molnb.models.unimol2.official import (
    load_reference,
    make_reference_batch,
    reference_gradients,
    reference_losses,
    reference_outputs,
)

FILES = {
    "small": FIXTURES / "official.safetensors.gz",
    "parity": PARITY / "unimol2_tiny.safetensors",
}
MODES = ("pretrain", "finetune", "finetune_drop")


@cache
def stored(name: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and configuration of a fixture."""
    tensors, metadata = unpacked(FILES[name])
    if "config" in metadata:
        return tensors, json.loads(metadata["config"])
    return tensors, json.loads(FILES[name].with_suffix(".json").read_text())["config"]


@cache
def loaded(name: str):
    tensors, config = stored(name)
    return load_reference(below(tensors, "weights."), config)


def where_real(real: torch.Tensor, mode: str) -> dict:
    """Which entries of each output are real; all entries of the others."""
    nodes = torch.cat([torch.ones_like(real[:, :1]), real], 1)
    select = {"x0": nodes, "x": nodes, "pair": nodes[:, :, None] & nodes[:, None], "coord": real}
    select["dist"] = real[:, :, None] & real[:, None]
    if mode != "pretrain":
        select["logits"] = real
    return select


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FILES)
def test_outputs_are_the_authors(name, mode):
    tensors, _ = stored(name)
    batch = make_reference_batch(below(tensors, f"{mode}.batch."))
    select = where_real(batch.inputs.real, mode)
    with torch.no_grad():
        outputs = reference_outputs(loaded(name), batch)
    assert set(outputs) == set(below(tensors, f"{mode}.out."))
    for output, values in outputs.items():
        real = select.get(output, slice(None))
        expected = tensors[f"{mode}.out.{output}"][real]
        error = float((values[real] - expected).abs().max())
        assert error <= 1e-5 * float(expected.abs().max()), output


def test_losses_are_the_authors():
    tensors, _ = stored("small")
    batch = make_reference_batch(below(tensors, "pretrain.batch."))
    losses = reference_losses(loaded("small"), batch)
    expected = below(tensors, "pretrain.loss.")
    assert set(losses) == set(expected)
    for name, loss in losses.items():
        assert float(loss.detach()) == pytest.approx(float(expected[name]), rel=1e-5), name


@pytest.mark.parametrize("name", FILES)
def test_gradients_are_the_authors(name):
    tensors, _ = stored(name)
    batch = make_reference_batch(below(tensors, "pretrain.batch."))
    gradients = reference_gradients(loaded(name), batch)
    expected = below(tensors, "pretrain.grad.")
    assert set(gradients) == set(expected)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for parameter, gradient in expected.items():
        if parameter.endswith("linear_bias.bias"):
            # it shifts all logits of a softmax alike: zero but for rounding, on both sides
            assert float(gradients[parameter].abs().max()) <= 1e-8 * largest, parameter
            continue
        allowed = 1e-5 * max(float(gradient.abs().max()), 1e-4 * largest)
        assert float((gradients[parameter] - gradient).abs().max()) <= allowed, parameter


def test_weights_may_be_numpy_arrays():
    tensors, config = stored("small")
    arrays = {name: w.float().numpy() for name, w in below(tensors, "weights.").items()}
    from_arrays = load_reference(arrays, config).state_dict()
    from_tensors = loaded("small").state_dict()
    assert from_arrays.keys() == from_tensors.keys()
    assert all(torch.equal(w, from_arrays[name]) for name, w in from_tensors.items())


def test_weights_that_do_not_fit_are_refused_by_name():
    tensors, config = stored("small")
    weights = below(tensors, "weights.")
    lacking = {k: v for k, v in weights.items() if k != "embed_tokens.weight"}
    with pytest.raises(InputError, match="the weights lack"):
        load_reference(lacking, config)
    with pytest.raises(InputError, match="has no tensor 'elsewhere.weight'"):
        load_reference(weights | {"elsewhere.weight": torch.zeros(1)}, config)
    with pytest.raises(InputError, match="has shape"):
        load_reference(weights, config | {"pair_embed_dim": 16})


# -------------------------------------------------------------------------------- integer features


@cache
def stored_features() -> tuple[dict[str, torch.Tensor], list[str]]:
    tensors, metadata = unpacked(FIXTURES / "features.safetensors.gz")
    return tensors, json.loads(metadata["smiles"])


def drawn(smiles: str) -> MolBatch:
    """The heavy atoms of a canonical SMILES as it is drawn, all at the origin."""
    arrays = molecule_arrays(smiles)
    n = arrays["n_heavy"]
    n_bond = arrays["n_heavy_bonds"]
    return MolBatch(
        molecule={
            "ids": torch.arange(1),
            "n_atoms": torch.tensor([n]),
            "n_bonds": torch.tensor([n_bond]),
        },
        atom={
            "numbers": torch.from_numpy(arrays["numbers"][:n]),
            "atom_feats": torch.from_numpy(arrays["atom_feats"][:n]),
            "coords": torch.zeros(n, 3),
        },
        bond={
            "bonds": torch.from_numpy(arrays["bonds"][:n_bond].astype(np.int64)),
            "bond_feats": torch.from_numpy(arrays["bond_feats"][:n_bond]),
        },
        labels={},
        longest=n,
    )


def test_features_are_the_authors():
    """Salts, charges, radicals, chirality, double bonds; features on and dropped."""
    tensors, molecules = stored_features()
    n_read = {name: 0 for name in tensors}  # of each tensor, which holds all molecules one by one
    for smiles in molecules:
        batch = drawn(smiles)
        n = batch.longest
        shapes = {"atom_feat": (1, n, 8), "degree": (1, n), "shortest_path": (1, n, n)}
        shapes |= {"edge_feat": (1, n, n, 3), "pair_type": (1, n, n, 2)}
        for part in ("on", "dropped"):
            arrays = {
                "src_token": batch.numbers[None],
                "src_pos": batch.coords[None],
                "atom_mask": torch.ones(1, n),
            }
            for name, shape in shapes.items():
                key = f"{part}.{name}"
                start = n_read[key]
                n_read[key] += int(np.prod(shape))
                arrays[name] = tensors[key][start : n_read[key]].view(shape)
            expected = make_reference_batch(arrays).inputs
            codes = table_rows(pad(batch), REFERENCE, None, torch.tensor([part == "on"]))
            for field, code, stored_code in zip(expected._fields, codes, expected):
                assert torch.equal(code, stored_code.to(code.dtype)), (smiles, part, field)
    assert n_read == {name: len(values) for name, values in tensors.items()}
