"""The two-track encoder: the laws it obeys, and its agreement with plain equations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from laws import MOLECULES, Laws
from torch.nn import functional as F

from molnb.batches import pad
from molnb.errors import Refused
from molnb.models.layers import MovementHead, OuterProduct, PairBiasAttention, TriangleUpdate
from molnb.models.two_track import MASK_TOKEN, MOLNB, REFERENCE, TwoTrack, TwoTrackConfig, bond_kinds, encode
from molnb.represent import flat_batch, prepare

SMALL = TwoTrackConfig(n_layer=2, d_atom=32, n_head=4, d_ffn=32, d_pair=16, d_hidden=8, n_kernel=32)


def shaken(config: TwoTrackConfig = SMALL, seed: int = 0) -> TwoTrack:
    """An encoder with no parameter at a special value, so that no branch is silent."""
    torch.manual_seed(seed)
    model = TwoTrack(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def run(model: TwoTrack, molecules, length=None):
    batch = flat_batch(molecules, hydrogens=False)
    with torch.no_grad():
        tracks = model(encode(pad(batch, length), model.config.conventions))
    sizes = batch.n_atoms.tolist()
    return [(tracks.molecule[i], tracks.atoms[i, 1 : 1 + n], tracks.coords[i, :n]) for i, n in enumerate(sizes)]


class TestLaws(Laws):
    model = None

    def answer(self, molecules, length=None):
        if TestLaws.model is None:
            TestLaws.model = shaken()
        return run(TestLaws.model, molecules, length)


def test_the_reference_convention_depends_on_padding_and_ours_does_not():
    molecule = [prepare(MOLECULES[0])]
    for conventions, depends in ((REFERENCE, True), (MOLNB, False)):
        model = shaken(replace(SMALL, conventions=conventions))
        difference = (run(model, molecule)[0][0] - run(model, molecule, 40)[0][0]).abs().max()
        assert (float(difference) > 1e-3) is depends


def test_a_hidden_atom_does_not_leak_through_the_pair_types():
    batch = flat_batch([prepare("CCO"), prepare("CCN")], hydrogens=False)
    hidden = torch.tensor([[False, False, True]] * 2)
    codes = encode(pad(batch), MOLNB, hidden, torch.zeros(2, dtype=torch.bool))
    assert codes.tokens[:, 2].tolist() == [MASK_TOKEN] * 2
    for first, second in ((c[0], c[1]) for c in codes[:-1]):
        assert torch.equal(first, second)


def test_enantiomers_differ_through_the_chirality_feature_alone():
    left, right = prepare("C[C@H](N)C(=O)O"), prepare("C[C@@H](N)C(=O)O")
    model = shaken()
    (a, *_), (b, *_) = run(model, [left, right])
    assert float((a - b).abs().max()) > 1e-3
    for molecule in (left, right):
        molecule.arrays["atom_feats"][:, [0, 8]] = 0
    (a, *_), (b, *_) = run(model, [left, right])
    assert float((a - b).abs().max()) < 2e-5


def test_hiding_features_leaves_elements_and_geometry():
    batch = flat_batch([prepare("CC=O"), prepare("CCO")], hydrogens=False)
    codes = encode(pad(batch), MOLNB, None, torch.zeros(2, dtype=torch.bool))
    assert torch.equal(codes.feats[0], codes.feats[1]) and torch.equal(codes.hops[0], codes.hops[1])
    assert torch.equal(codes.tokens[0], codes.tokens[1]) and not torch.equal(codes.coords[0], codes.coords[1])


def test_molecule_only_gives_the_same_molecule():
    model = shaken()
    codes = encode(pad(flat_batch([prepare(s) for s in MOLECULES], False)), MOLNB)
    with torch.no_grad():
        assert torch.allclose(model(codes).molecule, model(codes, molecule_only=True).molecule, atol=1e-6)


def test_every_parameter_of_the_encoder_is_used():
    model = shaken()
    codes = encode(pad(flat_batch([prepare(s) for s in MOLECULES], False)), MOLNB)
    tracks = model(codes)
    (tracks.coords.square().sum() + model.token_head(tracks.atoms).square().sum()).backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # the last pair update feeds the movement head, so nothing is dead but rows no molecule here asks for
    assert not unused


def test_bond_kinds_average_the_rows_of_the_reference():
    kinds = bond_kinds()
    assert kinds.shape == (63, 3)
    aromatic = 3 + 12 * 3 + 2 * 0 + 1  # type 3, stereo none, conjugated
    assert kinds[aromatic].tolist() == [7, 20, 37]


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(Refused, match="d_atom 30 is not a multiple of n_head 4"):
        replace(SMALL, d_atom=30)


# ---------------------------------------------------------------------------------------- plain equations


def plain_outer(layer: OuterProduct, atoms, n):
    a, b = layer.project(atoms).mul(n**-0.5).split(layer.d_hidden, -1)
    z = torch.einsum("mic,mjd->mijcd", a, b).flatten(-2)
    return layer.out(z) / (1e-3 + 1 / n)


def plain_triangle(layer: TriangleUpdate, z, n):
    ab = layer.project(z) * n**-0.5 * torch.sigmoid(layer.gate(z))
    a, b = ab.split(layer.d_hidden, -1)
    y = torch.einsum("mikd,mjkd->mijd", a, b) + torch.einsum("mkid,mkjd->mijd", a, b)
    return layer.out_gate(z) * layer.out(layer.norm(y))


def plain_movement(layer: MovementHead, atoms, pairs, coords):
    mol, n, d = atoms.shape
    x = layer.norm(atoms)
    q, k, v = (f(x).view(mol, n, layer.n_head, -1) for f in (layer.query, layer.key, layer.value))
    logits = torch.einsum("mihd,mjhd->mhij", q, k) * (d // layer.n_head) ** -0.5
    p = torch.softmax(logits + layer.bias(layer.pair_norm(pairs)).permute(0, 3, 1, 2), -1)
    delta = coords[:, None] - coords[:, :, None]
    mixed = torch.einsum("mhij,mijx,mjhd->mixhd", p, delta, v).flatten(-2)
    return coords + layer.force(mixed)[..., 0]


def plain_attention(layer: PairBiasAttention, atoms, pairs):
    mol, n, d = atoms.shape
    q, k, v = (f(atoms).view(mol, n, layer.n_head, -1) for f in (layer.query, layer.key, layer.value))
    logits = torch.einsum("mihd,mjhd->mhij", q, k) * (d // layer.n_head) ** -0.5
    p = torch.softmax(logits + layer.bias(pairs).permute(0, 3, 1, 2), -1)
    return layer.out(torch.einsum("mhij,mjhd->mihd", p, v).flatten(-2))


@pytest.mark.parametrize("name", ["outer", "triangle", "movement", "attention"])
def test_each_rewrite_equals_its_equation(name):
    torch.manual_seed(1)
    n, (atoms, pairs) = 7.0, (torch.randn(2, 7, 32), torch.randn(2, 7, 7, 16))
    coords, none = torch.randn(2, 7, 3), torch.zeros(2, 1, 1, 7)
    length = torch.full((2, 1, 1), n)
    if name == "outer":
        layer = OuterProduct(32, 16, 8)
        fast, plain = layer(atoms, length), plain_outer(layer, atoms, n)
    elif name == "triangle":
        layer = TriangleUpdate(16, 8)
        fast, plain = layer(pairs, torch.full((2, 7, 7, 1), n**-0.5)), plain_triangle(layer, pairs, n)
    elif name == "movement":
        layer = MovementHead(32, 16, 4).eval()
        fast, plain = layer(atoms, pairs, coords, none), plain_movement(layer, atoms, pairs, coords)
    else:
        layer = PairBiasAttention(32, 16, 4, 0.0)
        fast, plain = layer(atoms, pairs, none), plain_attention(layer, atoms, pairs)
    assert torch.allclose(fast, plain, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))
    assert float(plain.abs().max()) > 0.05 and F.mse_loss(fast, plain * 1.1) > 1e-8
