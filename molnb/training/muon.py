"""Muon: matrices that change by their momentum made orthogonal, so that all directions learn alike.

With gradient g, momentum m and learning rate r, a step is

    m <- 0.95 m + 0.05 g,   w <- (1 - r decay) w - 0.2 r sqrt(max(a, b)) orthogonal(0.95 m + 0.05 g)

for a matrix of a rows and b columns (Jordan et al. 2024, kellerjordan.github.io/posts/muon).
`orthogonal` pulls all singular values towards one, by five steps of a polynomial that needs matrix
products alone; they end between about 0.7 and 1.2. The factor gives a step the root mean square
that AdamW's steps have, so that learning rate and weight decay carry over (Liu et al. 2025,
arXiv 2502.16982).

These are the numbers of `torch.optim.Muon` with "match_rms_adamw", but for the precision of the
products, which there is bfloat16 everywhere. Here it is bfloat16 for float32 weights on a GPU, and
that of the weights otherwise: not every CPU multiplies bfloat16 itself, and a run in float64 is in
it throughout. Small matrices of one shape are multiplied together.

It keeps one number beside each weight where AdamW keeps two, and computes more: on one core of an
AMD EPYC (Zen 5, float32) 14 ms a step for the 0.25M laptop model, 0.1 s for 1M and 1.1 s for 10M,
where AdamW takes 2, 4 and 18 ms and a step of 64 molecules 0.5, 0.9 and 3.6 s on two cores. The
work grows with the cube of the width, and not with the batch.

What is one matrix in the model is one here, also where it holds several (the queries, keys and
values of a graph network's attention, both sides of an outer product); a parameter of more than two
axes is none, and stays with AdamW. Of a matrix that is split over processes each needs the whole:
it is collected for its step, one stack at a time, and orthogonalised by all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models.model import Model
from ..shapes import Float
from .sharding import cut_like, own_part, whole_of

MOMENTUM = 0.95
RMS = 0.2  # of a step of AdamW, in learning rates (Liu et al. 2025, section 2.2)
_N_PASS = 5
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steep at zero, and bounded
_TINY = 1e-7  # a momentum that is smaller as a whole stays small
_STACK = 2**22  # numbers that are multiplied together


def block_matrices(model: Model) -> list[nn.Parameter]:
    """The matrices of the encoder's blocks that learn: what Muon is for.

    Tables of embeddings, heads, and what embeds the input lie elsewhere. Raises InputError for an
    encoder that names no blocks.
    """
    blocks = model.encoder.parts()
    if not blocks:
        raise InputError(
            f"encoders of the family {model.encoder.config.family!r} name no blocks, and muon is "
            "for their matrices: set optimizer to adamw"
        )
    tables = {
        id(module.weight)
        for block in blocks
        for module in block.modules()
        if isinstance(module, nn.Embedding)
    }
    return [
        parameter
        for block in blocks
        for parameter in block.parameters()
        if parameter.ndim == 2 and parameter.requires_grad and id(parameter) not in tables
    ]


class Muon(torch.optim.Optimizer):
    """The optimiser of matrices; groups have a learning rate and a weight decay, as AdamW's."""

    def __init__(self, groups: Iterable[dict], lr: float):
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Change the matrices that have a gradient."""
        for group in self.param_groups:
            learning = [p for p in group["params"] if p.grad is not None]
            for stack in _stacks(learning):
                self._change(stack, group["lr"], group["weight_decay"])

    def _change(self, stack: Sequence[nn.Parameter], rate: float, decay: float) -> None:
        """A step of some matrices of one shape."""
        steps = []
        for parameter in stack:
            gradient = own_part(parameter.grad)
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter.grad)
            momentum = own_part(state["momentum_buffer"])
            momentum.lerp_(gradient, 1.0 - MOMENTUM)
            steps.append(whole_of(parameter, gradient.lerp(momentum, MOMENTUM)))
        length = RMS * rate * max(stack[0].shape) ** 0.5
        for parameter, direction in zip(stack, orthogonal(torch.stack(steps)), strict=True):
            weights = own_part(parameter)
            weights.mul_(1.0 - rate * decay)
            weights.add_(cut_like(parameter, direction.to(weights.dtype)), alpha=-length)


def _stacks(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Matrices of one shape, not more of them at once than are worth it."""
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_shape.setdefault(parameter.shape, []).append(parameter)
    for shape, alike in by_shape.items():
        n = max(1, _STACK // shape.numel())
        for start in range(0, len(alike), n):
            yield alike[start : start + n]


def orthogonal(matrices: Float[Tensor, "matrix a b"]) -> Float[Tensor, "matrix a b"]:
    """Matrices with singular vectors as they are and singular values near one; zero stays zero.

    Newton-Schulz: x <- p x + q (x x') x + r (x x')² x, from a norm of one.
    """
    p, q, r = _POLYNOMIAL
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices  # products of the shorter side are smaller
    if x.device.type == "cuda" and x.dtype == torch.float32:
        x = x.bfloat16()
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(_TINY)
    for _ in range(_N_PASS):
        square = x @ x.mT
        x = p * x + torch.baddbmm(square, square, square, beta=q, alpha=r) @ x
    return x.mT if is_tall else x
