"""What a graph network is given: atoms and bonds as vectors, of features, encodings and geometry.

Encodings of positions in the graph (`data.encodings`) go through small networks of their own, are
added, and stand before the features of an atom. Features are integers: their part of the first
linear layer is a table with a row for each value (`features`), and networks of bonds work on the
few kinds of bonds there are, so that dropout falls on a kind and not on each bond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.batch import MolBatch, square_index
from ...data.encodings.catalogue import parse
from ...data.encodings.fragments import find_fragments
from ...data.masked import MaskedBatch
from ...shapes import Bool, Float, Int
from ..dropout import Dropout, keep_mask
from .config import GraphConfig
from .dense import Dense
from .features import (
    ELEMENT,
    N_BOND_VALUE,
    atom_features,
    bond_features,
    bond_kinds,
    n_column,
)
from .pair_sum import sum_of_pairs
from .vocabulary import SeenValues


class GraphInputs(NamedTuple):
    """A batch as a graph network reads it, without what it withholds: bonds are those shown."""

    numbers: Int[Tensor, " atom"]  # 0 where the element is hidden
    feats: Int[Tensor, "atom feat"]
    kinds: Int[Tensor, " bond"]  # as `bond_kinds` numbers them
    ends: Int[Tensor, "bond 2"]  # both atoms, counted over the batch
    mol_of_atom: Int[Tensor, " atom"]
    mol_of_bond: Int[Tensor, " bond"]
    shown: Int[Tensor, " bond"]  # the number in the batch of each of these bonds
    encodings: dict[str, Float[Tensor, "atom column"]]
    bond_encodings: dict[str, Float[Tensor, "bond column"]]
    coords: Float[Tensor, "atom xyz"]  # Å


SKEWED = 1e-4  # a sum of cubes of a unit vector, in float32, that is no rounding error
HIDDEN = 256  # in place of integers that a molecule does not show


def make_inputs(masked: MaskedBatch, config: GraphConfig) -> GraphInputs:
    """A batch with what it withholds left out.

    Hidden atoms show no element, and no features where the batch hides them; molecules that are not
    visible neither features nor encodings nor bonds, so that their atoms are alone. `masked.batch`
    has the encodings that the config names.
    """
    batch = masked.batch
    mol_of_atom = batch.mol_of_atom()
    mol_of_bond = batch.mol_of_bond()
    visible = masked.visible[mol_of_atom][:, None]  # atom 1
    described = visible & ~masked.hidden[:, None] if masked.hides_features else visible
    shown = torch.nonzero(masked.visible[mol_of_bond]).flatten()
    encodings = {}
    bond_encodings = {}
    for name in config.encodings:
        if parse(name).level == "atom":
            encodings[name] = torch.where(visible, batch.atom[name], 0.0)
        else:
            bond_encodings[name] = batch.bond[name][shown]
    return GraphInputs(
        numbers=torch.where(masked.hidden, 0, batch.numbers.long()),
        feats=torch.where(described, batch.feats.long(), HIDDEN),
        kinds=kind_of(batch)[shown],
        ends=batch.bond_ends()[shown],
        mol_of_atom=mol_of_atom,
        mol_of_bond=mol_of_bond[shown],
        shown=shown,
        encodings=encodings,
        bond_encodings=bond_encodings,
        coords=masked.noisy,
    )


def kind_of(batch: MolBatch) -> Int[Tensor, " bond"]:
    """The number of each bond's kind: its integers as digits, in the order of `bond_kinds`."""
    kind = torch.zeros(len(batch.bonds), dtype=torch.int64, device=batch.device)
    for n_value, values in zip(N_BOND_VALUE, batch.bond_feats.long().unbind(1), strict=True):
        kind = kind * n_value + values
    return kind


class EigenpairNetwork(nn.Module):
    """A set of (entry, eigenvalue) pairs of an atom as one vector (Kreuzer et al. 2021).

    Each pair goes through a small network, results are added up over pairs. Linear layers that
    follow one another are one, and sums are taken before the last.

    An eigenvector is as good as its opposite. Where entries have a sign (`signed`), it is drawn
    anew for each eigenvector of a molecule in training. In evaluation a vector counts with the sign
    that makes the sum of its cubes positive, and where that is zero, as in one that a symmetry
    takes to its opposite, both signs count half: the signs that come in never matter.
    """

    def __init__(self, n_pair: int, d_hidden: int, d_out: int, signed: bool, config: GraphConfig):
        super().__init__()
        self.n_pair = n_pair
        self.signed = signed
        self.padded_pairs = config.padded_pairs
        self.lift = nn.Linear(2, d_hidden)
        self.inner = nn.Linear(d_hidden, d_hidden)
        self.outer = nn.Linear(d_hidden, d_hidden)
        self.post = nn.Linear(d_hidden, d_out)
        self.dropout = Dropout(config.encoding_dropout)

    def forward(
        self, pairs: Float[Tensor, "atom column"], piece_of_atom: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom d"]:
        """Vectors of atoms; `piece_of_atom` numbers the fragments, or in training the molecules."""
        entries, values = pairs.split(self.n_pair, 1)
        # a pair of zeros is none: of the zero eigenvalue no entry is zero
        real = (entries != 0) | (values != 0)
        real = (real | self.padded_pairs).to(entries.dtype)
        if not self.signed:
            summed = self._sum(entries, values, real)
        elif self.training:
            signs = self._drawn_signs(piece_of_atom)
            summed = self._sum(entries * signs, values, real)
        else:  # what counts with both signs counts half with each
            as_it_is = real * self._share_as_it_is(entries, piece_of_atom)
            summed = self._sum(entries, values, real, as_it_is)
            summed = summed + self._sum(-entries, values, real, real - as_it_is)
        outer = F.linear(summed, self.outer.weight) + real.sum(1, keepdim=True) * self.outer.bias
        return self.post(outer)

    def _sum(
        self,
        entries: Float[Tensor, "atom pair"],
        values: Float[Tensor, "atom pair"],
        real: Float[Tensor, "atom pair"],
        share: Float[Tensor, "atom pair"] | None = None,
    ) -> Float[Tensor, "atom d_hidden"]:
        """The pairs of each atom through two linear layers and ReLU, added up by their share."""
        weight = self.inner.weight @ self.lift.weight  # hidden 2
        bias = torch.addmv(self.inner.bias, self.inner.weight, self.lift.bias)
        # the bias is the weight of a third number, which is 0 where there is no pair
        numbers = torch.stack([entries, values, real], -1)  # atom pair 3
        weight = torch.cat([weight, bias[:, None]], 1)
        if share is None:
            return sum_of_pairs(numbers, weight, self.dropout.current)
        return (share[..., None] * F.relu(F.linear(numbers, weight))).sum(1)

    def _drawn_signs(self, piece_of_atom: Int[Tensor, " atom"]) -> Float[Tensor, "atom pair"]:
        """One or minus one for each eigenvector of each piece, evenly drawn."""
        n_piece = int(piece_of_atom[-1]) + 1
        positive = keep_mask((n_piece, self.n_pair), 0.5, piece_of_atom.device)
        return torch.where(positive, 1.0, -1.0)[piece_of_atom]

    def _share_as_it_is(
        self, entries: Float[Tensor, "atom pair"], piece_of_atom: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom pair"]:
        """What each vector counts with the sign it has: 1, 0 or one half."""
        skew = entries.new_zeros(int(piece_of_atom.max()) + 1, self.n_pair)
        skew = skew.index_add(0, piece_of_atom, entries**3)
        share = torch.where(skew.abs() > SKEWED, (skew > 0).to(entries.dtype), 0.5)
        return share.index_select(0, piece_of_atom)


class EncodingNetwork(nn.Module):
    """Any encoding as one vector: normed, then two layers."""

    def __init__(self, d_in: int, d_hidden: int, d_out: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(d_in)
        self.layers = nn.Sequential(
            Dense(d_in, d_hidden, F.relu, dropout=dropout),
            Dense(d_hidden, d_out, F.relu, dropout=dropout),
        )

    def forward(
        self, encoding: Float[Tensor, "atom column"], piece_of_atom: Int[Tensor, " atom"]
    ) -> Float[Tensor, "atom d"]:
        return self.layers(self.norm(encoding))


class DistanceKernel(nn.Module):
    """Gaussians of distances, evenly spaced from 0 to a length in Å."""

    def __init__(self, n_kernel: int, longest: float):
        super().__init__()
        self.register_buffer("means", torch.linspace(0, longest, n_kernel), persistent=False)
        self.width = longest / max(n_kernel - 1, 1)

    def forward(self, distances: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows kernel"]:
        # exponents below -80 would give subnormal numbers
        exponent = -0.5 * ((distances[..., None] - self.means) / self.width) ** 2
        return torch.where(exponent > -80, exponent, -torch.inf).exp()


def lengths(
    coords: Float[Tensor, "atom xyz"], first: Int[Tensor, " k"], second: Int[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """Distances (Å) between atoms."""
    displacement = coords.index_select(0, first) - coords.index_select(0, second)
    return torch.linalg.vector_norm(displacement, dim=-1)


class AtomNetwork(nn.Module):
    """Features, encodings and surroundings of atoms as one vector each.

    The first linear layer reads encodings in its first columns, features in the others.
    """

    def __init__(self, config: GraphConfig):
        super().__init__()
        c = config
        self.features = atom_features(c.features)
        for number, feature in enumerate(self.features):
            table = torch.from_numpy(feature.table)
            if feature.source != ELEMENT:  # a row of zeros for what is not shown
                table = torch.cat([table, table.new_zeros(1, table.shape[1])])
            self.register_buffer(f"table_{number}", table, persistent=False)
        networks = {}
        for name in c.encodings:
            spec = parse(name)
            if spec.level == "atom":
                networks[name] = _make_network(c, name)
        self.d_encoding = c.d_encoding if networks or c.n_kernel else 0
        self.encoders = nn.ModuleDict(networks)
        self.reads_signs = any(getattr(n, "signed", False) for n in networks.values())
        self.kernel = None
        if c.n_kernel:
            self.kernel = DistanceKernel(c.n_kernel, c.kernel_angstrom)
            self.surroundings = nn.Linear(c.n_kernel, c.d_encoding)
        self.first = Dense(
            self.d_encoding + n_column(self.features),
            c.d_input_hidden,
            F.relu,
            dropout=c.input_dropout,
        )
        self.second = Dense(c.d_input_hidden, c.d_input)

    def forward(
        self, inputs: GraphInputs, batch: MolBatch, seen: SeenValues | None = None
    ) -> Float[Tensor, "atom d"]:
        """Vectors of atoms; values of features that are not `seen` contribute nothing."""
        weight = self.first.linear.weight
        encoded = self.encode(inputs, batch) if self.d_encoding else None
        return self.second(self.first.finish(self._first_products(inputs, encoded, weight, seen)))

    def encode(self, inputs: GraphInputs, batch: MolBatch) -> Float[Tensor, "atom d_encoding"]:
        """The encodings of atoms through their networks, added up."""
        piece_of_atom = inputs.mol_of_atom
        if not self.training and self.reads_signs:
            piece_of_atom = _find_fragments(inputs)
        parts = [
            network(inputs.encodings[name], piece_of_atom)
            for name, network in self.encoders.items()
        ]
        if self.kernel is not None:
            parts.append(self.surroundings(self._see_distances(inputs, batch)))
        return sum(parts)

    def dense(
        self, encoded: Float[Tensor, "atom d_encoding"], feats: Float[Tensor, "atom column"]
    ) -> Float[Tensor, "atom d"]:
        """The vectors of atoms whose features are given as columns of numbers."""
        return self.second(self.first(torch.cat([encoded, feats], 1)))

    def _first_products(
        self,
        inputs: GraphInputs,
        encoded: Float[Tensor, "atom d_encoding"] | None,
        weight: Float[Tensor, "d_hidden column"],
        seen: SeenValues | None,
    ) -> Float[Tensor, "atom d_hidden"]:
        """The first linear layer of encodings and features.

        Features of one column stand beside the encodings in a matrix; of the others, each has a
        table as wide as the layer, and those of the element are one.
        """
        widths = [self.d_encoding, *(f.table.shape[1] for f in self.features)]
        of_encodings, *columns = weight.split(widths, 1)
        dense = [] if encoded is None else [encoded]
        dense_weights = [of_encodings]
        tables: dict[int, Tensor] = {}
        for number, feature in enumerate(self.features):
            table = self.get_buffer(f"table_{number}")
            if seen is not None:
                table = table * seen.of_source(feature.source)[: len(table), None]
            if feature.table.shape[1] == 1 and feature.source != ELEMENT:
                dense.append(table[_rows(inputs, feature.source, len(table))])
                dense_weights.append(columns[number])
            else:
                projected = table @ columns[number].T  # value d_hidden
                before = tables.get(feature.source)
                tables[feature.source] = projected if before is None else before + projected
        x = F.linear(torch.cat(dense, 1), torch.cat(dense_weights, 1), self.first.linear.bias)
        for source, table in tables.items():
            x = x + F.embedding(_rows(inputs, source, len(table)), table)
        return x

    def _see_distances(self, inputs: GraphInputs, batch: MolBatch) -> Float[Tensor, "atom kernel"]:
        """The mean of the kernel of an atom's distances to all atoms of its molecule."""
        index = square_index(batch)
        start = batch.first_atom()[index[:, 0]]
        first = start + index[:, 1]
        seen = self.kernel(lengths(inputs.coords, first, start + index[:, 2]))
        summed = seen.new_zeros(len(inputs.coords), seen.shape[1]).index_add(0, first, seen)
        return summed / batch.n_atoms[inputs.mol_of_atom][:, None]


def _find_fragments(inputs: GraphInputs) -> Int[Tensor, " atom"]:
    """The connected piece of the graph that each atom belongs to."""
    pieces = find_fragments(len(inputs.numbers), inputs.ends.cpu().numpy())
    return torch.from_numpy(pieces).to(inputs.numbers.device)


def _rows(inputs: GraphInputs, source: int, n_row: int) -> Int[Tensor, " atom"]:
    """The row of a feature's table that each atom reads; the last for what is not shown."""
    if source == ELEMENT:
        return inputs.numbers
    return inputs.feats[:, source].clamp(max=n_row - 1)


def _make_network(config: GraphConfig, name: str) -> nn.Module:
    """The network of an encoding of atoms."""
    spec = parse(name)
    d_hidden = config.d_encoding_hidden
    d_out = config.d_encoding
    if spec.kind in ("eigenpairs", "eigengroups"):
        signed = spec.kind == "eigenpairs"
        return EigenpairNetwork(spec.n, d_hidden, d_out, signed, config)
    return EncodingNetwork(spec.width, d_hidden, d_out, config.encoding_dropout)


class BondNetwork(nn.Module):
    """Features of bonds as one vector for each kind, or each bond where more is known of it."""

    def __init__(self, config: GraphConfig):
        super().__init__()
        c = config
        self.features = bond_features(c.features)
        kinds = torch.from_numpy(bond_kinds(c.features))
        self.register_buffer("kinds", kinds, persistent=False)
        digits = torch.from_numpy(np.indices(N_BOND_VALUE).reshape(len(N_BOND_VALUE), -1))
        self.register_buffer("digits", digits, persistent=False)
        self.names = [name for name in c.encodings if parse(name).level == "bond"]
        d_in = n_column(self.features)
        d_in += sum(parse(name).width for name in self.names)
        self.kernel = None
        if c.n_kernel:
            self.kernel = DistanceKernel(c.n_kernel, c.kernel_angstrom)
            d_in += c.n_kernel
        self.first = Dense(d_in, c.d_bond_hidden, F.relu, dropout=c.input_dropout)
        self.second = Dense(c.d_bond_hidden, c.d_bond)

    def forward(
        self, inputs: GraphInputs, seen: SeenValues | None = None
    ) -> tuple[Float[Tensor, "row d_bond"], Int[Tensor, " edge"]]:
        """Vectors, and the row of each edge among them; what is not `seen` contributes nothing.

        Edges are all bonds from their first atom to the second, then all the other way.
        """
        kinds = self.kinds if seen is None else self.kinds * self._seen_columns(seen)
        if not self.names and self.kernel is None:
            return self.dense(kinds), inputs.kinds.repeat(2)
        columns = [kinds.index_select(0, inputs.kinds).repeat(2, 1)]
        columns += [_of_edges(name, inputs.bond_encodings[name]) for name in self.names]
        if self.kernel is not None:
            seen_lengths = self.kernel(lengths(inputs.coords, *inputs.ends.unbind(1)))
            columns.append(seen_lengths.repeat(2, 1))
        every = torch.arange(2 * len(inputs.ends), device=inputs.ends.device)
        return self.dense(torch.cat(columns, 1)), every

    def _seen_columns(self, seen: SeenValues) -> Bool[Tensor, "kind column"]:
        """Whether the value that a column of a kind says is one that training has read."""
        columns = []
        for feature in self.features:
            of_kind = seen.of_bonds(feature.source)[self.digits[feature.source]]
            columns.append(of_kind[:, None].expand(-1, feature.table.shape[1]))
        return torch.cat(columns, 1)

    def dense(self, feats: Float[Tensor, "row column"]) -> Float[Tensor, "row d_bond"]:
        """The vectors of bonds whose features are given as columns of numbers."""
        return self.second(self.first(feats))


def _of_edges(name: str, encoding: Float[Tensor, "bond column"]) -> Float[Tensor, "edge column"]:
    """An encoding of bonds on both of their edges.

    One that differs with the direction has the columns of both side by side, which change places.
    """
    if not parse(name).is_directed:
        return encoding.repeat(2, 1)
    there, back = encoding.chunk(2, 1)
    return torch.cat([encoding, torch.cat([back, there], 1)])


class PairBias(nn.Module):
    """What pairs of atoms add to the logits of attention, of encodings of pairs and distances."""

    def __init__(self, config: GraphConfig, names: Sequence[str]):
        super().__init__()
        self.names = names
        d_in = sum(parse(name).native.width for name in names)
        self.kernel = None
        if config.n_kernel:
            self.kernel = DistanceKernel(config.n_kernel, config.kernel_angstrom)
            d_in += config.n_kernel
        self.heads = nn.Linear(d_in, config.n_head, bias=False)

    def forward(
        self,
        encodings: Sequence[Float[Tensor, "mol n n column"]],
        coords: Float[Tensor, "mol n xyz"],
        real: Bool[Tensor, "mol n"],
    ) -> Float[Tensor, "mol head n n"]:
        columns = list(encodings)
        if self.kernel is not None:
            between = torch.linalg.vector_norm(coords[:, None] - coords[:, :, None], dim=-1)
            columns.append(self.kernel(between))
        return self.heads(torch.cat(columns, -1)).permute(0, 3, 1, 2)
