"""Encodings of pairs on padded views are those of the flat arrays, on any device."""

from __future__ import annotations

import pytest
import torch
from on_devices import DEVICES

from molnb.data.encodings.catalogue import encode, width_of
from molnb.data.encodings.padded import pair_encoding
from molnb.errors import InputError

PAIRS = ["electrostatic", "commute", "hops", "transitions_4"]
# A chain, one atom, a ring with an arm beside a lone atom and two in a bond, a lone pair of atoms.
SIZES = [4, 1, 8, 2]
BONDS = [
    [(0, 1), (1, 2), (2, 3)],
    [],
    [(0, 1), (1, 2), (2, 3), (3, 0), (3, 4), (6, 7)],
    [],
]


def padded(length: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Which places are bonded, and which are atoms."""
    adjacent = torch.zeros(len(SIZES), length, length, dtype=torch.bool, device=device)
    real = torch.zeros(len(SIZES), length, dtype=torch.bool, device=device)
    for mol, (size, bonds) in enumerate(zip(SIZES, BONDS)):
        real[mol, :size] = True
        for i, j in bonds:
            adjacent[mol, i, j] = True
            adjacent[mol, j, i] = True
    return adjacent, real


def flat(name: str) -> list[torch.Tensor]:
    """The same from flat arrays, a square a molecule."""
    sizes = torch.tensor(SIZES)
    starts = (sizes.cumsum(0) - sizes).tolist()
    bonds = [(i + start, j + start) for start, of in zip(starts, BONDS) for i, j in of]
    values = encode(f"pair_{name}", sizes.numpy(), torch.tensor(bonds).numpy())
    squares = torch.from_numpy(values).split((sizes**2).tolist())
    return [square.reshape(n, n, -1) for square, n in zip(squares, SIZES)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("length", [8, 13])
def test_the_padded_encoding_is_the_flat_one_and_zero_beyond_the_atoms(name, length, device):
    encoding = pair_encoding(name, *padded(length, device)).cpu()
    assert encoding.dtype == torch.float32 and encoding.shape[1:3] == (length, length)
    for square, expected, n in zip(encoding, flat(name), SIZES):
        assert torch.allclose(square[:n, :n], expected, atol=1e-6, rtol=1e-6)
        assert not square[n:].any() and not square[:, n:].any()


@pytest.mark.parametrize("name", PAIRS)
def test_without_a_mask_what_has_no_bond_is_taken_for_padding(name):
    adjacent, real = padded(8, "cpu")
    known = pair_encoding(name, adjacent[:2], real[:2])
    assert torch.equal(pair_encoding(name, adjacent[:2]), known)
    assert not pair_encoding(name, adjacent)[2, 5].any(), "the lone atom beside others"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PAIRS)
def test_lower_precision_around_it_does_not_touch_its_numbers(name, device):
    adjacent, real = padded(8, device)
    with torch.autocast(device, torch.bfloat16):
        inside = pair_encoding(name, adjacent, real)
    assert torch.equal(inside, pair_encoding(name, adjacent, real))


@pytest.mark.parametrize("name", ["eigenpairs_8", "bond_hops", "pair_hops"])
def test_only_encodings_of_pairs_stand_on_a_padded_view(name):
    assert width_of(name)
    with pytest.raises(InputError, match="no encoding of pairs: choose one of electrostatic"):
        pair_encoding(name, *padded(8, "cpu"))
