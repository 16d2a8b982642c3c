"""What the two-track encoder embeds: integer features as rows of its embedding tables.

Rows follow the authors' code: 0 is padding everywhere, and withheld features have rows of their
own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...data.batch import Padded, pad, pad_atoms, real_pairs
from ...data.masked import MaskedBatch
from ...shapes import Bool, Float, Int
from ..heads import N_TOKEN
from .config import Conventions

MASK_TOKEN = 127
N_FEATURE = 512
N_DEGREE = 128
N_HOP = 512
N_BOND_VALUE = 64
N_PAIR_TYPE = 512

# Where the values of a feature begin in its table: each column has 16 rows of its own.
FIRST_ATOM_ROW = 3
FIRST_BOND_ROW = 4
ROWS_A_COLUMN = 16
FIRST_DEGREE_ROW = 2
FIRST_HOP_ROW = 1
HIDDEN_ROW = 1  # of features, degrees and bonds
NO_BOND_ROW = 2
UNREACHABLE_HOP_ROW = 510
HIDDEN_HOP_ROW = 511


class EncoderInputs(NamedTuple):
    """Table rows for atoms and pairs of a padded batch, and coordinates in Å."""

    real: Bool[Tensor, "mol n"]
    tokens: Int[Tensor, "mol n"]
    feats: Int[Tensor, "mol n 8"]
    degree: Int[Tensor, "mol n"]
    bond_kind: Int[Tensor, "mol n n"]
    hops: Int[Tensor, "mol n n"]
    pair_left: Int[Tensor, "mol n"]
    pair_right: Int[Tensor, "mol n"]
    coords: Float[Tensor, "mol n xyz"]


def make_inputs(masked: MaskedBatch, conventions: Conventions, length: int) -> EncoderInputs:
    """A batch as table rows, padded to `length` atoms, without what it withholds."""
    batch = masked.batch
    view = pad(batch, length)._replace(coords=pad_atoms(masked.noisy, batch, length))
    hidden = pad_atoms(masked.hidden, batch, length)
    featureless = hidden if masked.hides_features else None
    return table_rows(view, conventions, hidden, masked.visible, featureless)


def table_rows(
    view: Padded,
    conventions: Conventions,
    hidden: Bool[Tensor, "mol n"] | None = None,
    visible: Bool[Tensor, " mol"] | None = None,
    featureless: Bool[Tensor, "mol n"] | None = None,
) -> EncoderInputs:
    """Integer features of a padded view as rows of the embedding tables.

    `hidden` atoms show the mask token instead of their element, `featureless` ones neither features
    nor degree; molecules that are not `visible` show no atom features, bonds, degrees or shortest
    paths at all.
    """
    real = view.real
    tokens = view.numbers if hidden is None else torch.where(hidden, MASK_TOKEN, view.numbers)
    values = view.feats[..., :8]
    if conventions.chirality == "parity":
        values = torch.cat([view.feats[..., 8:9], values[..., 1:]], -1)
    first_rows = FIRST_ATOM_ROW + ROWS_A_COLUMN * torch.arange(8, device=real.device)
    feats = values + first_rows
    degree = (view.bond_code > 0).sum(-1) + FIRST_DEGREE_ROW
    bond_kind = torch.where(view.bond_code > 0, view.bond_code + 2, NO_BOND_ROW)
    path = view.hops.to(torch.int64)
    hops = torch.where(path < 0, UNREACHABLE_HOP_ROW, path + FIRST_HOP_ROW)
    if visible is not None:
        of_pairs = visible[:, None, None]  # mol 1 1
        feats = torch.where(of_pairs, feats, HIDDEN_ROW)
        degree = torch.where(visible[:, None], degree, HIDDEN_ROW)
        bond_kind = torch.where(of_pairs, bond_kind, HIDDEN_ROW)
        hops = torch.where(of_pairs, hops, HIDDEN_HOP_ROW)
    if featureless is not None:
        feats = torch.where(featureless[..., None], HIDDEN_ROW, feats)
        degree = torch.where(featureless, HIDDEN_ROW, degree)
    # two codes a pair, one for each atom, in halves of a table of their own
    of_atom = tokens if conventions.pair_types == "elements" else feats[..., 0]
    is_real_pair = real_pairs(real)
    return EncoderInputs(
        real=real,
        tokens=tokens * real,
        feats=feats * real[..., None],
        degree=degree * real,
        bond_kind=bond_kind * is_real_pair,
        hops=hops * is_real_pair,
        pair_left=(of_atom + 1) * real,
        pair_right=(of_atom + 1 + N_TOKEN) * real,
        coords=view.coords,
    )


def bond_kinds() -> Int[Tensor, "63 3"]:
    """The three table rows (type, stereo, conjugation) that each kind of bond averages.

    Kinds are padding, hidden, no bond, and 5 x 6 x 2 combinations.
    """
    kinds = [(0, 0, 0), (HIDDEN_ROW,) * 3, (NO_BOND_ROW,) * 3]
    type_row = FIRST_BOND_ROW
    stereo_row = type_row + ROWS_A_COLUMN
    conjugation_row = stereo_row + ROWS_A_COLUMN
    for kind in range(5):
        for stereo in range(6):
            for conjugated in range(2):
                kinds.append((type_row + kind, stereo_row + stereo, conjugation_row + conjugated))
    return torch.tensor(kinds)
