"""Encodings of pairs of atoms on padded views, on any device: biases for attention."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from ...shapes import Bool, Float
from ..batch import real_pairs
from .catalogue import KINDS, Spec, parse
from .paths import UNREACHABLE, shortest_paths


def pair_encoding(
    name: str,
    adjacent: Bool[Tensor, "mol n n"],
    real: Bool[Tensor, "mol n"] | None = None,
) -> Float[Tensor, "mol n n channel"]:
    """An encoding of pairs (electrostatic, commute, hops, transitions_4) in float32.

    Zeros where there is no atom. Which places hold one is what `real` says; without it, those that
    have a bond, and the first of a molecule without bonds.
    """
    spec = check_pair_encoding(name)
    if real is None:
        real = _bonded(adjacent)
    with torch.autocast(adjacent.device.type, enabled=False):
        encoding = _encoding(spec, adjacent, real)
    is_pair = real_pairs(real)[..., None]
    return torch.where(is_pair, encoding, 0).float()


def check_pair_encoding(name: str) -> Spec:
    """What the name of an encoding of pairs means; InputError for one of anything else."""
    spec = parse(name)
    if KINDS[spec.kind].level != "pair" or spec.level != "atom":
        kinds = ", ".join(kind for kind in KINDS if KINDS[kind].level == "pair")
        raise InputError(f"{name!r} is no encoding of pairs: choose one of {kinds} (transitions_4)")
    return spec


def _bonded(adjacent: Bool[Tensor, "mol n n"]) -> Bool[Tensor, "mol n"]:
    """The atoms that have a bond, and the first of a molecule without bonds."""
    real = adjacent.any(2)
    real[:, 0] |= ~real.any(1)
    return real


def _encoding(spec: Spec, adjacent: Bool[Tensor, "mol n n"], real: Bool[Tensor, "mol n"]) -> Tensor:
    if spec.kind == "transitions":
        return _transitions(adjacent, real, spec.n)
    hops = shortest_paths(adjacent)
    if spec.kind == "hops":
        return hops[..., None]
    reached = hops != UNREACHABLE
    inverse = _pseudoinverse(adjacent, reached)
    own = inverse.diagonal(dim1=1, dim2=2)
    if spec.kind == "electrostatic":
        return (inverse - own[:, None, :])[..., None]
    n_neighbour = adjacent.sum(2).double()
    volume = torch.bmm(reached.double(), n_neighbour[..., None])  # of the fragment of an atom
    steps = volume * (own[:, :, None] + own[:, None, :] - 2 * inverse)
    return torch.where(reached, steps, UNREACHABLE)[..., None]


def _pseudoinverse(
    adjacent: Bool[Tensor, "mol n n"], reached: Bool[Tensor, "mol n n"]
) -> Float[Tensor, "mol n n"]:
    """The pseudoinverse of the Laplacian in float64.

    Of each fragment the projection on its vector of ones is added, and taken away from the inverse;
    a place without an atom is a fragment of its own, with zero.
    """
    bonds = adjacent.double()
    laplacian = torch.diag_embed(bonds.sum(2)) - bonds
    share = reached.double() / reached.sum(2, keepdim=True)
    inverse = torch.linalg.inv(laplacian + share) - share
    return (inverse + inverse.transpose(1, 2)) / 2


def _transitions(
    adjacent: Bool[Tensor, "mol n n"], real: Bool[Tensor, "mol n"], n_step: int
) -> Float[Tensor, "mol n n channel"]:
    """Probabilities of a random walk after 1 to `n_step` steps; a lone molecule's atom stays."""
    step = adjacent.double() / adjacent.sum(2, keepdim=True).clamp(min=1)
    stays = real & (real.sum(1, keepdim=True) == 1)
    step = step + torch.diag_embed(stays.double())
    powers = [step]
    while len(powers) < n_step:
        powers.append(torch.bmm(powers[-1], step))
    return torch.stack(powers, -1)
