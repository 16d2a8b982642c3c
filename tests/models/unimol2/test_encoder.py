"""The two-track encoder: the laws it obeys, and its agreement with plain equations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from laws import MOLECULES, Laws

from molnb.data.batch import pad
from molnb.errors import InputError
from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.unimol2.config import MOLNB, REFERENCE, TwoTrackConfig
from molnb.models.unimol2.encoder import TwoTrack
from molnb.models.unimol2.inputs import MASK_TOKEN, bond_kinds, encode

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
    return [
        (tracks.molecule[i], tracks.atoms[i, 1 : 1 + n], tracks.coords[i, :n])
        for i, n in enumerate(sizes)
    ]


class TestLaws(Laws):
    model = None

    def answer(self, molecules, length=None):
        if TestLaws.model is None:
            TestLaws.model = shaken()
        return run(TestLaws.model, molecules, length)


def test_the_reference_convention_depends_on_padding_and_ours_does_not():
    molecule = [featurize(MOLECULES[0])]
    for conventions, depends in ((REFERENCE, True), (MOLNB, False)):
        model = shaken(replace(SMALL, conventions=conventions))
        difference = (run(model, molecule)[0][0] - run(model, molecule, 40)[0][0]).abs().max()
        assert (float(difference) > 1e-3) is depends


def test_a_hidden_atom_does_not_leak_through_the_pair_types():
    batch = flat_batch([featurize("CCO"), featurize("CCN")], hydrogens=False)
    hidden = torch.tensor([[False, False, True]] * 2)
    codes = encode(pad(batch), MOLNB, hidden, torch.zeros(2, dtype=torch.bool))
    assert codes.tokens[:, 2].tolist() == [MASK_TOKEN] * 2
    for first, second in ((c[0], c[1]) for c in codes[:-1]):
        assert torch.equal(first, second)


def test_enantiomers_differ_through_the_chirality_feature_alone():
    left, right = featurize("C[C@H](N)C(=O)O"), featurize("C[C@@H](N)C(=O)O")
    model = shaken()
    (a, *_), (b, *_) = run(model, [left, right])
    assert float((a - b).abs().max()) > 1e-3
    for molecule in (left, right):
        molecule.arrays["atom_feats"][:, [0, 8]] = 0
    (a, *_), (b, *_) = run(model, [left, right])
    assert float((a - b).abs().max()) < 2e-5


def test_hiding_features_leaves_elements_and_geometry():
    batch = flat_batch([featurize("CC=O"), featurize("CCO")], hydrogens=False)
    codes = encode(pad(batch), MOLNB, None, torch.zeros(2, dtype=torch.bool))
    assert torch.equal(codes.feats[0], codes.feats[1]) and torch.equal(codes.hops[0], codes.hops[1])
    assert torch.equal(codes.tokens[0], codes.tokens[1]) and not torch.equal(
        codes.coords[0], codes.coords[1]
    )


def test_molecule_only_gives_the_same_molecule():
    model = shaken()
    codes = encode(pad(flat_batch([featurize(s) for s in MOLECULES], False)), MOLNB)
    with torch.no_grad():
        assert torch.allclose(
            model(codes).molecule, model(codes, molecule_only=True).molecule, atol=1e-6
        )


def test_every_parameter_of_the_encoder_is_used():
    model = shaken()
    codes = encode(pad(flat_batch([featurize(s) for s in MOLECULES], False)), MOLNB)
    tracks = model(codes)
    (tracks.coords.square().sum() + model.token_head(tracks.atoms).square().sum()).backward()
    unused = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
    ]
    # the last pair update feeds the movement head; what shifts all logits of a softmax alike is
    # dead in any model
    assert unused and all(
        n.endswith(("attention.bias.bias", "movement_head.bias.bias")) for n in unused
    )


def test_bond_kinds_average_the_rows_of_the_reference():
    kinds = bond_kinds()
    assert kinds.shape == (63, 3)
    aromatic = 3 + 12 * 3 + 2 * 0 + 1  # type 3, stereo none, conjugated
    assert kinds[aromatic].tolist() == [7, 20, 37]


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="d_atom 30 is not a multiple of n_head 4"):
        replace(SMALL, d_atom=30)


def test_in_bfloat16_the_pair_track_is_narrow_and_the_geometry_is_not():
    model = shaken().train()
    codes = encode(pad(flat_batch([featurize(s) for s in MOLECULES], False)), MOLNB)
    exact = model.eval()(codes)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(codes)
    assert rough.pair_rows.dtype == torch.bfloat16 and rough.coords.dtype == torch.float32
    (rough.coords.square().sum() + rough.molecule.float().square().sum()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
    moved = (exact.coords - codes.coords)[codes.real].detach()
    assert (
        float(((rough.coords - codes.coords)[codes.real] - moved).detach().norm() / moved.norm())
        < 0.1
    )
