"""The rewritten layers: each equals its plain equation, values and gradients, whatever sizes lie
together.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from molnb.models.unimol2.layers import Block, DistanceKernel, MovementHead, PairBiasAttention
from molnb.models.unimol2.packing import packed_layout, padded_layout
from molnb.models.unimol2.pair_autograd import (
    joint_product,
    keep_mask,
    pair_update,
    transition_update,
)
from molnb.models.unimol2.pair_ops import transition_weights, triangle_weights

D_ATOM, D_PAIR, D_HIDDEN, N_HEAD = 16, 12, 4, 4
SIZES = (5, 7, 5, 3)  # nodes of each molecule


def make_layout(make, sizes):
    """A layout whose lengths are float64, like the rest of these tests."""
    layout = make(torch.arange(max(sizes)) < torch.tensor(sizes)[:, None], False)
    return layout._replace(length=layout.length.double())


def slack_layout(real, padded_norm):
    """Runs of which some are padded."""
    return packed_layout(real, padded_norm, slack=20)


@pytest.fixture(params=[packed_layout, slack_layout, padded_layout])
def layout(request):
    return make_layout(request.param, SIZES)


def test_runs_are_padded_only_as_far_as_they_may_be():
    sizes = [(run.n, run.m) for run in make_layout(packed_layout, SIZES).runs]
    assert sizes == [(7, 1), (5, 2), (3, 1)]
    loose = make_layout(slack_layout, SIZES)
    assert [(run.n, run.m) for run in loose.runs] == [(7, 1), (5, 3)] and not loose.real_pairs.all()
    assert int(loose.real_pairs.sum()) == sum(n * n for n in SIZES)


def shaken(module):
    """A module in float64 with no parameter at a special value."""
    torch.manual_seed(1)
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def make_block(p=0.0, p_rows=0.0) -> Block:
    return shaken(Block(D_ATOM, D_ATOM, N_HEAD, D_PAIR, D_HIDDEN, p, 0.0, p_rows))


def padded_inputs():
    """Both tracks on the padded view, with garbage where there is no atom."""
    torch.manual_seed(2)
    n = max(SIZES)
    return torch.randn(len(SIZES), n, D_ATOM).double(), torch.randn(
        len(SIZES), n, n, D_PAIR
    ).double()


def plain_outer(layer, atoms, pairs):
    n = atoms.shape[0]
    a, b = layer.project(atoms).mul(n**-0.5).split(layer.d_hidden, -1)
    z = torch.einsum("ic,jd->ijcd", a, b).flatten(-2)
    return pairs + layer.out(z) / (1e-3 + 1 / n)


def plain_triangle(norm, layer, pairs):
    z = norm(pairs)
    a, b = (layer.project(z) * pairs.shape[0] ** -0.5 * torch.sigmoid(layer.gate(z))).chunk(2, -1)
    y = torch.einsum("ikd,jkd->ijd", a, b) + torch.einsum("kid,kjd->ijd", a, b)
    return pairs + layer.out_gate(z) * layer.out(layer.norm(y))


def plain_transition(norm, layer, x):
    return x + layer.contract(F.gelu(layer.expand(norm(x))))


def plain_pairs(block, atoms, pairs):
    """The pair half of a block for one molecule, equation by equation."""
    pairs = plain_outer(block.outer, block.outer_norm(atoms), pairs)
    pairs = plain_triangle(block.triangle_norm, block.triangle, pairs)
    return plain_transition(block.pair_ffn_norm, block.pair_ffn, pairs)


def fast_pairs(block, atoms, pairs, layout, drops=(0.0, 0.0)):
    return pair_update(
        pairs,
        *block.outer.factors(block.outer_norm(atoms), layout),
        layout,
        drops,
        (block.outer.out.weight, block.outer.out.bias),
        triangle_weights(block.triangle_norm, block.triangle),
        transition_weights(block.pair_ffn_norm, block.pair_ffn),
    )


def same(ours, plain, tolerance=1e-11):
    assert float((ours - plain).detach().abs().max()) <= tolerance * float(
        plain.detach().abs().max()
    )


def gradients(loss, module, *inputs):
    wanted = [*inputs, *module.parameters()]
    return [
        g if g is not None else torch.zeros_like(w)
        for g, w in zip(torch.autograd.grad(loss, wanted, allow_unused=True), wanted)
    ]


def test_the_pair_half_of_a_block_equals_its_equations_in_value_and_gradient(layout):
    block = make_block()
    atoms, pairs = (t.requires_grad_() for t in padded_inputs())
    weight = torch.randn(len(SIZES), max(SIZES), max(SIZES), D_PAIR).double()
    fast = layout.spread_pairs(
        fast_pairs(block, layout.take_nodes(atoms), layout.take_pairs(pairs), layout)
    )
    plain_total = fast_total = 0
    for m, n in enumerate(SIZES):
        expected = plain_pairs(block, atoms[m, :n], pairs[m, :n, :n])
        same(fast[m, :n, :n], expected)
        plain_total = plain_total + (expected * weight[m, :n, :n]).sum()
        fast_total = fast_total + (fast[m, :n, :n] * weight[m, :n, :n]).sum()
    for ours, plain in zip(
        gradients(fast_total, block, atoms, pairs), gradients(plain_total, block, atoms, pairs)
    ):
        assert torch.allclose(ours, plain, rtol=1e-9, atol=1e-11 * float(plain.abs().max()))


def test_with_dropout_the_same_masks_give_the_same_values_and_gradients():
    block, n, p, p_rows = make_block(), 6, 0.3, 0.4
    layout = make_layout(packed_layout, [n])
    atoms, pairs = (
        torch.randn(n, D_ATOM).double(),
        torch.randn(n * n, D_PAIR).double().requires_grad_(),
    )
    torch.manual_seed(3)
    fast = fast_pairs(block, atoms, pairs, layout, (p, p_rows))
    torch.manual_seed(3)
    first = keep_mask((n * n, D_PAIR), p, pairs.device).view(n, n, -1).double() / (1 - p)
    rows = keep_mask((1, 1, n, D_PAIR), p_rows, pairs.device)[0].double() / (1 - p_rows)
    last = keep_mask((n * n, D_PAIR), p, pairs.device).view(n, n, -1).double() / (1 - p)
    x = pairs.view(n, n, -1)
    x = x + first * (plain_outer(block.outer, block.outer_norm(atoms), x) - x)
    x = x + rows * (plain_triangle(block.triangle_norm, block.triangle, x) - x)
    x = x + last * (plain_transition(block.pair_ffn_norm, block.pair_ffn, x) - x)
    same(fast, x.view(n * n, -1))
    weight = torch.randn(n * n, D_PAIR).double()
    ours = gradients((fast * weight).sum(), block, pairs)
    for mine, plain in zip(ours, gradients((x.view(n * n, -1) * weight).sum(), block, pairs)):
        assert torch.allclose(mine, plain, rtol=1e-8, atol=1e-9)


def test_the_transition_of_atoms_equals_its_equation():
    block, x = make_block(), torch.randn(9, D_ATOM).double().requires_grad_()
    fast, plain = (
        transition_update(x, block.ffn_norm, block.ffn, 0.0),
        plain_transition(block.ffn_norm, block.ffn, x),
    )
    same(fast, plain)
    for ours, theirs in zip(
        gradients(fast.square().sum(), block, x), gradients(plain.square().sum(), block, x)
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-10)


def test_a_joint_product_is_the_product_with_each_matrix():
    torch.manual_seed(4)
    x, *weights = (torch.randn(s, 8, dtype=torch.float64, requires_grad=True) for s in (5, 3, 2, 6))
    assert torch.autograd.gradcheck(joint_product, (x, *weights))
    same(joint_product(x, *weights), torch.cat([x @ w.t() for w in weights], 1))


def plain_attention(layer, atoms, pairs):
    n, d = atoms.shape
    q, k, v = (f(atoms).view(n, layer.n_head, -1) for f in (layer.query, layer.key, layer.value))
    logits = torch.einsum("ihd,jhd->hij", q, k) * (d // layer.n_head) ** -0.5 + layer.bias(
        pairs
    ).permute(2, 0, 1)
    return layer.out(torch.einsum("hij,jhd->ihd", torch.softmax(logits, -1), v).flatten(-2))


def test_attention_equals_its_equation(layout):
    layer, (atoms, pairs) = shaken(PairBiasAttention(D_ATOM, D_PAIR, N_HEAD, 0.0)), padded_inputs()
    fast = layout.spread_nodes(layer(layout.take_nodes(atoms), layout.take_pairs(pairs), layout))
    for m, n in enumerate(SIZES):
        same(fast[m, :n], plain_attention(layer, atoms[m, :n], pairs[m, :n, :n]), 1e-6)


def plain_movement(layer, atoms, pairs, coords):
    n, d = atoms.shape
    x = layer.norm(atoms)
    q, k, v = (f(x).view(n, layer.n_head, -1) for f in (layer.query, layer.key, layer.value))
    logits = torch.einsum("ihd,jhd->hij", q, k) * (d // layer.n_head) ** -0.5
    p = torch.softmax(logits + layer.bias(layer.pair_norm(pairs)).permute(2, 0, 1), -1)
    mixed = torch.einsum("hij,ijx,jhd->ixhd", p, coords[None] - coords[:, None], v).flatten(-2)
    return coords + layer.force(mixed)[..., 0]


def test_the_movement_of_atoms_equals_its_equation(layout):
    layer = (
        shaken(MovementHead(D_ATOM, D_PAIR, N_HEAD)).float().eval()
    )  # geometry is float32 always
    atoms, pairs = (t.float() for t in padded_inputs())
    coords = torch.randn(len(SIZES), max(SIZES) - 1, 3)
    fast = layer(layout.take_nodes(atoms), layout.take_pairs(pairs), coords, layout)
    for m, n in enumerate(SIZES):  # the virtual node stays out of it
        expected = plain_movement(layer, atoms[m, 1:n], pairs[m, 1:n, 1:n], coords[m, : n - 1])
        same(fast[m, : n - 1] - coords[m, : n - 1], expected - coords[m, : n - 1], 1e-5)


def plain_kernel(layer, u):
    density = torch.exp(-0.5 * ((u[:, None] - layer.mean) / layer.width) ** 2) / (
        (2 * 3.14159) ** 0.5 * layer.width
    )
    return layer.out(F.gelu(layer.inner(density)))


def test_the_kernel_of_distances_equals_its_equation():
    layer = shaken(DistanceKernel(16, 8, D_PAIR))
    u = torch.linspace(-1, 11, 30).double().requires_grad_()  # some beyond all means
    fast, plain = layer(u), plain_kernel(layer, u)
    same(fast, plain)
    inputs = (u, *layer.inner.parameters(), *layer.out.parameters())
    ours, theirs = (torch.autograd.grad(found.square().sum(), inputs) for found in (fast, plain))
    for mine, given in zip(ours, theirs):
        assert torch.allclose(mine, given, rtol=1e-9, atol=1e-10)


def test_masks_keep_the_share_they_should():
    for p in (0.1, 0.25, 0.5):
        share = float(keep_mask((1000, 1001), p, torch.device("cpu")).float().mean())
        assert abs(share - (1 - p)) < 0.003


def _same(t):
    return t


def test_a_step_keeps_less_than_half_of_what_plain_autograd_keeps():
    """Numbers kept for backward by the pair half of a block, beside its equations under plain
    autograd.
    """
    block, n = make_block(), 16
    layout = make_layout(packed_layout, [n])
    atoms, pairs = (
        torch.randn(n, D_ATOM).double(),
        torch.randn(n * n, D_PAIR).double().requires_grad_(),
    )

    def kept(run) -> int:
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.update({t.data_ptr(): t.numel()}) or t, lambda t: t
        ):
            run()
        return sum(sizes.values()) - sum(sizes.get(p.data_ptr(), 0) for p in block.parameters())

    fast = kept(lambda: fast_pairs(block, atoms, pairs, layout))
    plain = kept(lambda: plain_pairs(block, atoms, pairs.view(n, n, -1)))
    assert fast < plain / 2
