"""The rewritten layers: each equals its plain equation, in value and gradient, at mixed sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from molnb.models.dropout import keep_mask
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.layers import Block, DistanceKernel, PairBiasAttention
from molnb.models.unimol2.movement import MovementHead
from molnb.models.unimol2.packing import packed_layout, padded_layout
from molnb.models.unimol2.pair_autograd import joint_product, transition_update

D_ATOM = 16
D_PAIR = 12
D_HIDDEN = 4
N_HEAD = 4
SIZES = (5, 7, 5, 3)  # nodes of each molecule


def make_layout(make, sizes):
    """A layout of molecules of these sizes whose lengths are float64, like the tensors here."""
    layout = make(torch.arange(max(sizes)) < torch.tensor(sizes)[:, None], False)
    return layout._replace(length=layout.length.double())


def slack_layout(real, padded_norm):
    """Size groups of which some are padded."""
    return packed_layout(real, padded_norm, slack=20)


@pytest.fixture(params=[packed_layout, slack_layout, padded_layout])
def layout(request):
    return make_layout(request.param, SIZES)


def test_size_groups_are_padded_only_as_far_as_they_may_be():
    tight = make_layout(packed_layout, SIZES)
    assert [(group.n_node, group.n_mol) for group in tight.groups] == [(7, 1), (5, 2), (3, 1)]
    assert tight.real_pairs is None
    loose = make_layout(slack_layout, SIZES)
    assert [(group.n_node, group.n_mol) for group in loose.groups] == [(7, 1), (5, 3)]
    assert not loose.real_pairs.all()
    assert int(loose.real_pairs.sum()) == sum(n * n for n in SIZES)


def test_size_groups_walk_through_all_rows_and_molecules_in_order():
    layout = make_layout(packed_layout, SIZES)
    node = 0
    pair = 0
    for group, molecules in layout.walk():
        assert group.nodes.start == node and group.pairs.start == pair
        assert layout.length[molecules].tolist() == [group.n_node] * group.n_mol
        node = group.nodes.stop
        pair = group.pairs.stop
    assert node == sum(SIZES) and pair == layout.n_pair == sum(n * n for n in SIZES)


def shaken(module):
    """A module in float64 with no parameter at a special value."""
    torch.manual_seed(1)
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def make_block(dropout=0.0, pair_dropout=0.0) -> Block:
    config = TwoTrackConfig(
        n_layer=1,
        d_atom=D_ATOM,
        n_head=N_HEAD,
        d_ffn=D_ATOM,
        d_pair=D_PAIR,
        d_hidden=D_HIDDEN,
        dropout=dropout,
        attention_dropout=0.0,
        pair_dropout=pair_dropout,
    )
    return shaken(Block(config))


def padded_inputs():
    """Both tracks on the padded view, with garbage where there is no atom."""
    torch.manual_seed(2)
    n = max(SIZES)
    atoms = torch.randn(len(SIZES), n, D_ATOM).double()
    pairs = torch.randn(len(SIZES), n, n, D_PAIR).double()
    return atoms, pairs


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


def assert_equal(fast, plain, tolerance=1e-11):
    """Equal within this share of the largest magnitude."""
    difference = (fast - plain).detach().abs().max()
    assert float(difference) <= tolerance * float(plain.detach().abs().max())


def gradients(loss, module, *inputs):
    """Gradients of the inputs and of all parameters, zero where the loss does not depend on one."""
    leaves = [*inputs, *module.parameters()]
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads)]


def test_the_pair_half_of_a_block_equals_its_equations_in_value_and_gradient(layout):
    block = make_block()
    atoms, pairs = (t.requires_grad_() for t in padded_inputs())
    weight = torch.randn(len(SIZES), max(SIZES), max(SIZES), D_PAIR).double()
    fast = layout.spread_pairs(
        block.updated_pairs(layout.take_nodes(atoms), layout.take_pairs(pairs), layout)
    )
    plain_total = 0
    fast_total = 0
    for m, n in enumerate(SIZES):
        expected = plain_pairs(block, atoms[m, :n], pairs[m, :n, :n])
        assert_equal(fast[m, :n, :n], expected)
        plain_total = plain_total + (expected * weight[m, :n, :n]).sum()
        fast_total = fast_total + (fast[m, :n, :n] * weight[m, :n, :n]).sum()
    fast_grads = gradients(fast_total, block, atoms, pairs)
    plain_grads = gradients(plain_total, block, atoms, pairs)
    for fast_grad, plain_grad in zip(fast_grads, plain_grads):
        tolerance = 1e-11 * float(plain_grad.abs().max())
        assert torch.allclose(fast_grad, plain_grad, rtol=1e-9, atol=tolerance)


def test_with_dropout_the_same_masks_give_the_same_values_and_gradients():
    n = 6
    p = 0.3
    p_rows = 0.4
    block = make_block(dropout=p, pair_dropout=p_rows)
    layout = make_layout(packed_layout, [n])
    atoms = torch.randn(n, D_ATOM).double()
    pairs = torch.randn(n * n, D_PAIR).double().requires_grad_()
    torch.manual_seed(3)
    fast = block.updated_pairs(atoms, pairs, layout)
    torch.manual_seed(3)
    first = keep_mask((n * n, D_PAIR), p, pairs.device).view(n, n, -1).double() / (1 - p)
    rows = keep_mask((1, 1, n, D_PAIR), p_rows, pairs.device)[0].double() / (1 - p_rows)
    last = keep_mask((n * n, D_PAIR), p, pairs.device).view(n, n, -1).double() / (1 - p)
    x = pairs.view(n, n, -1)
    x = x + first * (plain_outer(block.outer, block.outer_norm(atoms), x) - x)
    x = x + rows * (plain_triangle(block.triangle_norm, block.triangle, x) - x)
    x = x + last * (plain_transition(block.pair_ffn_norm, block.pair_ffn, x) - x)
    assert_equal(fast, x.view(n * n, -1))
    weight = torch.randn(n * n, D_PAIR).double()
    fast_grads = gradients((fast * weight).sum(), block, pairs)
    plain_grads = gradients((x.view(n * n, -1) * weight).sum(), block, pairs)
    for fast_grad, plain_grad in zip(fast_grads, plain_grads):
        assert torch.allclose(fast_grad, plain_grad, rtol=1e-8, atol=1e-9)


def test_evaluation_drops_nothing():
    layout = make_layout(packed_layout, SIZES)
    atoms, pairs = padded_inputs()
    atoms = layout.take_nodes(atoms)
    pairs = layout.take_pairs(pairs)
    dropping = make_block(dropout=0.3, pair_dropout=0.4).eval()
    for fast, plain in zip(dropping(atoms, pairs, layout), make_block()(atoms, pairs, layout)):
        assert torch.equal(fast, plain)


def test_the_transition_of_atoms_equals_its_equation():
    block = make_block()
    x = torch.randn(9, D_ATOM).double().requires_grad_()
    fast = transition_update(x, block.ffn.weights(block.ffn_norm), 0.0)
    plain = plain_transition(block.ffn_norm, block.ffn, x)
    assert_equal(fast, plain)
    fast_grads = gradients(fast.square().sum(), block, x)
    plain_grads = gradients(plain.square().sum(), block, x)
    for fast_grad, plain_grad in zip(fast_grads, plain_grads):
        assert torch.allclose(fast_grad, plain_grad, rtol=1e-9, atol=1e-10)


def test_a_joint_product_is_the_product_with_each_matrix():
    torch.manual_seed(4)
    x, *weights = (torch.randn(s, 8, dtype=torch.float64, requires_grad=True) for s in (5, 3, 2, 6))
    assert torch.autograd.gradcheck(joint_product, (x, *weights))
    assert_equal(joint_product(x, *weights), torch.cat([x @ w.t() for w in weights], 1))


def plain_attention(layer, atoms, pairs):
    n, d = atoms.shape
    q, k, v = (f(atoms).view(n, layer.n_head, -1) for f in (layer.query, layer.key, layer.value))
    logits = torch.einsum("ihd,jhd->hij", q, k) * (d // layer.n_head) ** -0.5
    weights = torch.softmax(logits + layer.bias(pairs).permute(2, 0, 1), -1)
    return layer.out(torch.einsum("hij,jhd->ihd", weights, v).flatten(-2))


def test_attention_equals_its_equation(layout):
    layer = shaken(PairBiasAttention(D_ATOM, D_PAIR, N_HEAD, 0.0))
    atoms, pairs = padded_inputs()
    fast = layout.spread_nodes(layer(layout.take_nodes(atoms), layout.take_pairs(pairs), layout))
    for m, n in enumerate(SIZES):
        assert_equal(fast[m, :n], plain_attention(layer, atoms[m, :n], pairs[m, :n, :n]), 1e-6)


def plain_movement(layer, atoms, pairs, coords):
    n, d = atoms.shape
    x = layer.norm(atoms)
    q, k, v = (f(x).view(n, layer.n_head, -1) for f in (layer.query, layer.key, layer.value))
    logits = torch.einsum("ihd,jhd->hij", q, k) * (d // layer.n_head) ** -0.5
    p = torch.softmax(logits + layer.bias(layer.pair_norm(pairs)).permute(2, 0, 1), -1)
    mixed = torch.einsum("hij,ijx,jhd->ixhd", p, coords[None] - coords[:, None], v).flatten(-2)
    return coords + layer.force(mixed)[..., 0]


def test_the_movement_of_atoms_equals_its_equation(layout):
    layer = shaken(MovementHead(D_ATOM, D_PAIR, N_HEAD))
    layer = layer.float().eval()  # geometry is float32 always
    atoms, pairs = (t.float() for t in padded_inputs())
    coords = torch.randn(len(SIZES), max(SIZES) - 1, 3)
    tracks = layout.take_nodes(atoms), layout.take_pairs(pairs)
    fast = layer._moved(*tracks, coords, layout)
    for m, n in enumerate(SIZES):  # the virtual node stays out of it
        expected = plain_movement(layer, atoms[m, 1:n], pairs[m, 1:n, 1:n], coords[m, : n - 1])
        assert_equal(fast[m, : n - 1] - coords[m, : n - 1], expected - coords[m, : n - 1], 1e-5)


def plain_kernel(layer, u, negligible=0.0):
    """The network of a kernel's densities; those below a share of the highest count as zero."""
    share = torch.exp(-0.5 * ((u[:, None] - layer.mean) / layer.width) ** 2)
    density = torch.where(share < negligible, 0.0, share) / ((2 * 3.14159) ** 0.5 * layer.width)
    return layer.out(F.gelu(layer.inner(density)))


def test_the_kernel_of_distances_equals_its_equation():
    layer = shaken(DistanceKernel(16, 8, D_PAIR))
    u = torch.linspace(-1, 11, 30).double().requires_grad_()  # some beyond all means
    fast = layer(u)
    assert_equal(fast, plain_kernel(layer, u), 1e-8)  # exact but for what is negligible
    plain = plain_kernel(layer, u, negligible=1.01 * math.exp(-20))
    assert_equal(fast, plain)
    inputs = (u, *layer.inner.parameters(), *layer.out.parameters())
    fast_grads = torch.autograd.grad(fast.square().sum(), inputs)
    plain_grads = torch.autograd.grad(plain.square().sum(), inputs)
    for fast_grad, plain_grad in zip(fast_grads, plain_grads):
        assert torch.allclose(fast_grad, plain_grad, rtol=1e-9, atol=1e-10)


def test_masks_keep_the_share_they_should():
    for p in (0.1, 0.25, 0.5):
        share = float(keep_mask((1000, 1001), p, torch.device("cpu")).float().mean())
        assert abs(share - (1 - p)) < 0.003


def kept_numbers(work, block) -> int:
    """Numbers that `work()` keeps for backward, the block's parameters left out."""
    sizes = {}

    def note(tensor):
        sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        work()
    parameters = sum(sizes.get(parameter.data_ptr(), 0) for parameter in block.parameters())
    return sum(sizes.values()) - parameters


def test_a_step_keeps_less_than_half_of_what_plain_autograd_keeps():
    n = 16
    block = make_block()
    layout = make_layout(packed_layout, [n])
    atoms = torch.randn(n, D_ATOM).double()
    pairs = torch.randn(n * n, D_PAIR).double().requires_grad_()
    fast = kept_numbers(lambda: block.updated_pairs(atoms, pairs, layout), block)
    plain = kept_numbers(lambda: plain_pairs(block, atoms, pairs.view(n, n, -1)), block)
    assert fast < plain / 2
