"""The head that moves atoms back: denoised coordinates from both tracks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...data.masked import MaskedBatch
from ...shapes import Bool, Float
from ..dropout import apply_dropout
from ..interface import Encoder
from ..products import BatchCounter, Cost
from .encoding import TwoTrackEncoding
from .flops import movement_counter
from .layers import attention_bias
from .packing import MAX_GRAPHS, Layout, mark_shapes, padded_layout
from .pair_autograd import joint_product


class MovementHead(nn.Module):
    """Where atoms move: attention over atoms whose values are displacements to the others.

    f_i = Σ_j (Σ_h p_ij^h s_j^h) (r_j - r_i), where s^h is the value projection and the final
    projection folded into one vector a head. Invariant to translation, equivariant to rotation.
    Coordinates stay in float32.
    """

    levels = ("pair",)

    def __init__(self, d_atom: int, d_pair: int, n_head: int, dropout: float = 0.1):
        super().__init__()
        self.n_head = n_head
        self.dropout = dropout
        self.norm = nn.LayerNorm(d_atom)
        self.query = nn.Linear(d_atom, d_atom, bias=False)
        self.key = nn.Linear(d_atom, d_atom, bias=False)
        self.value = nn.Linear(d_atom, d_atom, bias=False)
        self.force = nn.Linear(d_atom, 1, bias=False)
        self.pair_norm = nn.LayerNorm(d_pair)
        self.bias = nn.Linear(d_pair, n_head)
        self._fused = None

    def fuse(self, **options) -> None:
        """Compile the head: one graph for each padded length."""
        options = {"fullgraph": True, "dynamic": None} | options
        self._fused = torch.compile(self._move_padded, **options)

    def make_counter(
        self, name: str, encoder: Encoder, device: torch.device, item_size: int
    ) -> BatchCounter:
        """What counts training of the head on a group of molecules, laid out as the encoder does.

        The encoder is a `TwoTrack`.
        """
        wide = torch.float64 if device.type == "cpu" else torch.float32  # of displacements
        counter = movement_counter(
            encoder.config,
            lambda n_atoms: encoder.plan_sizes(n_atoms, device),
            item_size,
            wide.itemsize,
        )

        def count(masked: MaskedBatch) -> Cost:
            return counter(masked.batch.n_atoms.numpy())

        return count

    def forward(self, encoding: TwoTrackEncoding, masked: MaskedBatch) -> Float[Tensor, "atom xyz"]:
        """The coordinates of all atoms after the movement, in Å, from an encoding of noisy ones."""
        if self._fused is not None:
            arrays = (encoding.nodes, encoding.pair_rows, encoding.coords, encoding.real)
            mark_shapes(arrays)
            with torch._dynamo.config.patch(recompile_limit=MAX_GRAPHS):
                moved = self._fused(*arrays)
        else:
            moved = self.move(encoding)
        batch = masked.batch
        return moved[batch.mol_of_atom(), batch.position()]

    def move(self, encoding: TwoTrackEncoding) -> Float[Tensor, "mol n xyz"]:
        """The same, padded."""
        return self._moved(encoding.nodes, encoding.pair_rows, encoding.coords, encoding.layout)

    def _move_padded(
        self,
        nodes: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        coords: Float[Tensor, "mol n xyz"],
        real: Bool[Tensor, "mol n"],
    ) -> Float[Tensor, "mol n xyz"]:
        # the layout is made again here: its sizes would be constants of the compiled graph
        real_node = torch.cat([torch.ones_like(real[:, :1]), real], 1)
        return self._moved(nodes, pairs, coords, padded_layout(real_node, padded_norm=False))

    def _moved(
        self,
        atoms: Float[Tensor, "node d_atom"],
        pairs: Float[Tensor, "pair d_pair"],
        coords: Float[Tensor, "mol n xyz"],
        layout: Layout,
    ) -> Float[Tensor, "mol n xyz"]:
        logits, strength = self._logits_and_strength(atoms, layout)
        # gradients of what shifts all logits alike cancel over a row; float64 is free here on a
        # CPU, and not elsewhere
        wide = torch.float64 if coords.device.type == "cpu" else torch.float32
        bias = attention_bias(self.bias, self.pair_norm(pairs), layout)[:, :, 1:, 1:]
        attention = torch.softmax(logits.to(wide) + bias.to(wide), -1)  # mol head i j
        attention = apply_dropout(attention, self.dropout if self.training else 0.0)
        with torch.autocast(coords.device.type, enabled=False):
            pull = (attention * strength.to(wide)).sum(1)  # mol i j
            displacement = (coords[:, None] - coords[:, :, None]).detach().to(wide)  # r_j - r_i
            return coords + torch.einsum("mij,mijx->mix", pull, displacement).to(coords.dtype)

    def _logits_and_strength(
        self, atoms: Float[Tensor, "node d_atom"], layout: Layout
    ) -> tuple[Float[Tensor, "mol head n n"], Float[Tensor, "mol head 1 n"]]:
        """Logits without the bias of pairs, and s; the virtual node is left out of both."""
        d_atom = atoms.shape[-1]
        per_head = self.value.weight.view(self.n_head, -1, d_atom)  # head d_head d_atom
        folded = (per_head * self.force.weight.view(self.n_head, -1, 1)).sum(1)  # head d_atom
        joint = joint_product(self.norm(atoms), self.query.weight, self.key.weight, folded)
        parts = joint.split([d_atom, d_atom, self.n_head], -1)
        q, k, strength = (
            layout.spread_nodes(part)[:, 1:].unflatten(-1, (self.n_head, -1)) for part in parts
        )  # mol n head d_head, likewise, mol n head 1
        scale = (d_atom // self.n_head) ** -0.5
        logits = (q.transpose(1, 2) * scale) @ k.permute(0, 2, 3, 1)  # mol head n n
        return logits, strength.permute(0, 2, 3, 1)
