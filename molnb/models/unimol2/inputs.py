"""Integer features as rows of the encoder's embedding tables."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...data.batch import Padded
from ...shapes import Bool, Float, Int
from .config import Conventions

MASK_TOKEN = 127
N_TOKEN, N_FEATURE, N_DEGREE, N_HOP, N_BOND_VALUE, N_PAIR_TYPE = 128, 512, 128, 512, 64, 512
_HIDDEN_FEATURE, _HIDDEN_HOP, _UNREACHABLE_HOP = 1, 511, 510
_N_BOND_KIND = (
    63  # padding, hidden, no bond, and 5 x 6 x 2 combinations of type, stereo and conjugation
)


class EncoderInputs(NamedTuple):
    """What the encoder embeds: table rows for atoms and pairs, and coordinates in Å."""

    real: Bool[Tensor, "mol n"]
    tokens: Int[Tensor, "mol n"]
    feats: Int[Tensor, "mol n 8"]
    degree: Int[Tensor, "mol n"]
    bond_kind: Int[Tensor, "mol n n"]
    hops: Int[Tensor, "mol n n"]
    pair_left: Int[Tensor, "mol n"]
    pair_right: Int[Tensor, "mol n"]
    coords: Float[Tensor, "mol n xyz"]


def encode(
    view: Padded,
    conventions: Conventions,
    hidden: Bool[Tensor, "mol n"] | None = None,
    visible: Bool[Tensor, " mol"] | None = None,
) -> EncoderInputs:
    """Integer features as rows of the embedding tables.

    `hidden` atoms show the mask token instead of their element; molecules that are not `visible`
    show no atom features, bonds, degrees or shortest paths at all. Table rows follow the reference
    (0 is padding everywhere).
    """
    real = view.real
    tokens = view.numbers if hidden is None else torch.where(hidden, MASK_TOKEN, view.numbers)
    offsets = 3 + 16 * torch.arange(8, device=real.device)
    values = view.feats[..., :8]
    if conventions.chirality == "parity":
        values = torch.cat([view.feats[..., 8:9], values[..., 1:]], -1)
    feats = values + offsets
    degree = (view.bond_code > 0).sum(-1) + 2
    bond_kind = torch.where(view.bond_code > 0, view.bond_code + 2, 2)
    hops = torch.where(view.hops < 0, _UNREACHABLE_HOP, view.hops.to(torch.int64) + 1)
    if visible is not None:
        seen = visible[:, None]
        feats = torch.where(seen[..., None], feats, _HIDDEN_FEATURE)
        degree = torch.where(seen, degree, _HIDDEN_FEATURE)
        bond_kind = torch.where(seen[..., None], bond_kind, _HIDDEN_FEATURE)
        hops = torch.where(seen[..., None], hops, _HIDDEN_HOP)
    if conventions.pair_types == "elements":
        left, right = tokens + 1, tokens + 1 + N_TOKEN
    else:
        left, right = feats[..., 0] + 1, feats[..., 0] + 129
    both = real_pairs(real)
    return EncoderInputs(
        real=real,
        tokens=tokens * real,
        feats=feats * real[..., None],
        degree=degree * real,
        bond_kind=bond_kind * both,
        hops=hops * both,
        pair_left=left * real,
        pair_right=right * real,
        coords=view.coords,
    )


def bond_kinds() -> Int[Tensor, "63 3"]:
    """The three table rows (type, stereo, conjugation) that each kind of bond averages."""
    kinds = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    kinds += [(4 + t, 20 + s, 36 + c) for t in range(5) for s in range(6) for c in range(2)]
    return torch.tensor(kinds)


def mark_shapes(codes: EncoderInputs) -> None:
    """Tell torch.compile that the number of molecules varies and that each padded length is
    worth code of its own.
    """
    for part in codes:
        torch._dynamo.maybe_mark_dynamic(part, 0)
        torch._dynamo.mark_static(part, list(range(1, part.ndim)))


def real_pairs(real: Bool[Tensor, "mol n"]) -> Bool[Tensor, "mol n n"]:
    """True where both atoms are real."""
    return real[:, :, None] & real[:, None, :]
