"""Heads: one question each, read from the track that knows the answer, answered with one matrix
product a task.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import MolBatch
from ..errors import InputError
from ..shapes import Float, Int
from .unimol2.encoder import TwoTrackEncoding

LEVELS = ("molecule", "atom", "bond", "pair")


class LabelHead(nn.Module):
    """Predicts the labels of one task, in units of their standard deviation over training rows.

    Molecules are read from the virtual node, atoms from the atom track, bonds and pairs from the
    pair track, where the two directions of a pair are averaged. The encoder ends without a norm, so
    the head starts with one.
    """

    def __init__(
        self,
        level: str,
        n_label: int,
        d_atom: int,
        d_pair: int,
        depth: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        if level not in LEVELS:
            raise InputError(
                f"unknown level {level!r} of a task: choose one of {', '.join(LEVELS)}"
            )
        self.level = level
        d = d_pair if level in ("bond", "pair") else d_atom
        self.norm = nn.LayerNorm(d)
        self.inner = nn.ModuleList(nn.Linear(d, d) for _ in range(depth - 1))
        self.out = nn.Linear(d, n_label)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def rows(
        self, tracks: TwoTrackEncoding, batch: MolBatch, index: Int[Tensor, " k *pair"]
    ) -> Float[Tensor, "k d"]:
        """The part of a track that belongs to each molecule, atom, bond or pair of `index` (see
        `batches.Known`).
        """
        if self.level == "molecule":
            return tracks.molecule[index]
        if self.level == "atom":
            return tracks.atoms_at(batch.mol_of_atom()[index], batch.position()[index])
        if self.level == "bond":
            mol, i, j = batch.mol_of_bond()[index], *batch.bonds[index].unbind(-1)
        else:
            mol, i, j = index.unbind(-1)
        return 0.5 * (tracks.pairs_at(mol, i, j) + tracks.pairs_at(mol, j, i))

    def forward(
        self, tracks: TwoTrackEncoding, batch: MolBatch, index: Int[Tensor, " k *pair"]
    ) -> Float[Tensor, "k label"]:
        x = self.norm(self.rows(tracks, batch, index).float())
        for layer in self.inner:
            x = self.dropout(F.gelu(layer(x)))
        return self.out(x)


def every_index(batch: MolBatch, level: str) -> Int[Tensor, " k *pair"]:
    """An index of everything there is at a level, for prediction where nothing is known."""
    device = batch.numbers.device
    counts = {"molecule": batch.n_mol, "atom": batch.numbers.shape[0], "bond": batch.bonds.shape[0]}
    if level in counts:
        return torch.arange(counts[level], device=device)
    n = batch.n_atoms
    first = batch.position()
    partners = torch.repeat_interleave(n, n) - 1 - first
    owner = torch.arange(len(first), device=device).repeat_interleave(partners)
    run = torch.arange(len(owner), device=device) - (partners.cumsum(0) - partners)[owner]
    return torch.stack([batch.mol_of_atom()[owner], first[owner], first[owner] + 1 + run], 1)
