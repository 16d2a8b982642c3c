"""Heads read an encoding at an index, start at the mean, and know no direction of a pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import STEADY
from torch import nn

from molnb.data.batch import LEVELS, SparseLabels, every_index
from molnb.data.masked import unmasked
from molnb.errors import InputError
from molnb.models.heads import LabelHead, TokenHead, make_label_head
from molnb.models.unimol2.encoder import make_two_track


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    """An encoder with no parameter at a special value, so that no branch is silent."""
    torch.manual_seed(0)
    encoder = make_two_track(STEADY)[0].eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder


@pytest.fixture(scope="module")
def batch(corpus):
    return corpus.batch(np.array([5, 2, 9]))


@pytest.fixture(scope="module")
def encoding(encoder, batch):
    with torch.no_grad():
        return encoder(unmasked(batch))


def shaken_head(encoder: nn.Module, level: str) -> LabelHead:
    """A head that has left zero, where it starts."""
    torch.manual_seed(1)
    head = make_label_head(encoder, level, n_label=2, depth=2, dropout=0.0)
    nn.init.normal_(head.out.weight)
    return head.eval()


def test_an_unknown_level_is_refused():
    message = "unknown level 'residue' of a task: choose one of molecule, atom, bond, pair"
    with pytest.raises(InputError, match=message):
        LabelHead("residue", 1, 8)


def test_a_head_of_atoms_reads_no_arrays_of_molecules():
    with pytest.raises(InputError, match=r"a head of atoms reads no arrays of molecules \(gap\)"):
        LabelHead("atom", 1, 8, beside={"gap": 1})


@pytest.mark.parametrize("depth", [1, 2])
def test_a_head_that_reads_arrays_starts_at_the_mean(encoder, encoding, batch, depth):
    more = batch.with_arrays("molecule", {"gap": torch.tensor([3.0, float("nan"), -9.0])})
    head = make_label_head(encoder, "molecule", 2, depth, 0.0, beside={"gap": 1})
    index = torch.tensor([2, 0, 1])
    assert torch.equal(head(encoding, index, more), torch.zeros(3, 2))
    assert head.beside(more, index).flatten().tolist() == [-9.0, 3.0, 0.0]


@pytest.mark.parametrize("level", LEVELS)
def test_a_head_starts_at_the_mean_and_gives_a_row_an_entry(encoder, encoding, batch, level):
    index = every_index(batch, level)
    new = make_label_head(encoder, level, n_label=2, depth=2, dropout=0.0)
    assert torch.equal(new(encoding, index), torch.zeros(len(index), 2))
    outputs = shaken_head(encoder, level)(encoding, index)
    assert outputs.shape == (len(index), 2)
    assert float(outputs.detach().std(0).min()) > 0.01, "entries differ"
    turned = torch.arange(len(index)).flip(0)
    again = shaken_head(encoder, level)(encoding, index[turned])
    assert torch.allclose(again, outputs[turned], atol=1e-6)


def test_a_head_of_pairs_gives_both_directions_the_same(encoder, encoding, batch):
    index = every_index(batch, "pair")
    back = index[:, [0, 2, 1]]
    differences = encoding.rows("pair", index) - encoding.rows("pair", back)
    assert float(differences.abs().max()) > 1e-3, "the encoding itself has a direction"
    head = shaken_head(encoder, "pair")
    assert torch.allclose(head(encoding, index), head(encoding, back), atol=1e-6)


def test_a_head_is_asked_where_labels_are_or_everywhere(encoder, batch):
    head = shaken_head(encoder, "atom")
    assert head.index("charges", batch, everywhere=False) is None
    index = torch.tensor([3, 1])
    labelled = replace(batch, labels={"charges": SparseLabels(index, torch.zeros(2, 1))})
    assert head.index("charges", labelled, everywhere=False) is index
    n_atom = len(batch.numbers)
    assert head.index("charges", labelled, everywhere=True).tolist() == list(range(n_atom))


def test_the_head_of_tokens_names_hidden_atoms_alone(encoding, batch):
    torch.manual_seed(0)
    head = TokenHead(STEADY.d_atom).eval()
    hidden = torch.zeros(len(batch.numbers), dtype=torch.bool)
    hidden[[1, 7]] = True
    logits = head(encoding, unmasked(batch)._replace(hidden=hidden))
    expected = head.logits(encoding.rows("atom", torch.tensor([1, 7])))
    assert logits.shape == (2, 128) and torch.equal(logits, expected)
