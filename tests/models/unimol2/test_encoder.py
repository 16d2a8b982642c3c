"""The two-track encoder: the laws it obeys, and its agreement with plain equations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from laws import MOLECULES, Laws

from molnb.data.batch import pad, square_index
from molnb.data.masked import unmasked
from molnb.errors import InputError
from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.model import Model
from molnb.models.unimol2.config import MOLNB, REFERENCE, TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.inputs import (
    HIDDEN_ROW,
    MASK_TOKEN,
    bond_kinds,
    make_inputs,
    table_rows,
)

SMALL = TwoTrackConfig(n_layer=2, d_atom=32, n_head=4, d_ffn=32, d_pair=16, d_hidden=8, n_kernel=32)


def shaken(config: TwoTrackConfig = SMALL, seed: int = 0) -> Model:
    """A model with no parameter at a special value, so that no branch is silent."""
    torch.manual_seed(seed)
    model = Model(*make_two_track(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def run(model: Model, molecules, length=None):
    """Molecule vector, atom vectors and moved coordinates of each molecule."""
    batch = flat_batch(molecules, hydrogens=False)
    inputs = table_rows(pad(batch, length), model.encoder.config.conventions)
    with torch.no_grad():
        encoding = model.encoder.wrap(inputs, model.encoder.encode(inputs), batch)
        coords = model.heads["movement"].move(encoding)
    return [
        (encoding.molecule[i], encoding.atoms[i, 1 : 1 + n], coords[i, :n])
        for i, n in enumerate(batch.n_atoms.tolist())
    ]


class TestLaws(Laws):
    model = None

    def outputs(self, molecules, length=None):
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
    codes = table_rows(pad(batch), MOLNB, hidden, torch.zeros(2, dtype=torch.bool))
    assert codes.tokens[:, 2].tolist() == [MASK_TOKEN] * 2
    for first, second in ((c[0], c[1]) for c in codes[:-1]):
        assert torch.equal(first, second)


def test_a_hidden_atom_shows_its_bonds_alone_where_the_batch_hides_features():
    batch = flat_batch([featurize("CCO"), featurize("CCN"), featurize("CC=O")], hydrogens=False)
    hidden = torch.tensor([False, False, True] * 3)
    masked = unmasked(batch)._replace(hidden=hidden, hides_features=True)
    codes = make_inputs(masked, MOLNB, 3)._replace(coords=torch.zeros(3))
    for alcohol, amine in ((c[0], c[1]) for c in codes):
        assert torch.equal(alcohol, amine)
    assert (codes.feats[:, 2] == HIDDEN_ROW).all() and (codes.degree[:, 2] == HIDDEN_ROW).all()
    assert not torch.equal(codes.bond_kind[0], codes.bond_kind[2])
    shown = make_inputs(masked._replace(hides_features=False), MOLNB, 3)
    assert torch.equal(codes.feats[:, :2], shown.feats[:, :2])
    assert not torch.equal(shown.feats[0, 2], shown.feats[1, 2])


def test_enantiomers_differ_through_the_chirality_feature_alone():
    enantiomers = [featurize("C[C@H](N)C(=O)O"), featurize("C[C@@H](N)C(=O)O")]
    model = shaken()

    def difference() -> float:
        (left, *_), (right, *_) = run(model, enantiomers)
        return float((left - right).abs().max())

    assert difference() > 1e-3
    for molecule in enantiomers:
        molecule.arrays["atom_feats"][:, [0, 8]] = 0
    assert difference() < 2e-5


def test_hiding_features_leaves_elements_and_geometry():
    batch = flat_batch([featurize("CC=O"), featurize("CCO")], hydrogens=False)
    codes = table_rows(pad(batch), MOLNB, None, torch.zeros(2, dtype=torch.bool))
    assert torch.equal(codes.feats[0], codes.feats[1]) and torch.equal(codes.hops[0], codes.hops[1])
    assert torch.equal(codes.tokens[0], codes.tokens[1])
    assert not torch.equal(codes.coords[0], codes.coords[1])


def test_leaving_pairs_out_gives_the_same_molecules_and_atoms():
    encoder = shaken().encoder
    masked = unmasked(flat_batch([featurize(s) for s in MOLECULES], False))
    with torch.no_grad():
        whole = encoder(masked)
        part = encoder(masked, ("molecule", "atom"))
    assert torch.allclose(whole.nodes, part.nodes, atol=1e-6)
    assert not torch.allclose(whole.pair_rows, part.pair_rows, atol=1e-3)


def test_hidden_layers_are_handed_out_and_the_last_is_the_output():
    encoder = shaken().encoder
    masked = unmasked(flat_batch([featurize(s) for s in MOLECULES], False))
    with torch.no_grad():
        encoding = encoder(masked, keep_layers=True)
    assert len(encoding.layers) == SMALL.n_layer
    molecules = torch.arange(len(MOLECULES))
    first, last = (layer.rows("molecule", molecules) for layer in encoding.layers)
    assert torch.equal(last, encoding.rows("molecule", molecules)) and not torch.equal(first, last)


def test_rows_at_an_index_are_those_of_the_padded_tracks():
    encoder = shaken().encoder
    batch = flat_batch([featurize(s) for s in MOLECULES], False)
    with torch.no_grad():
        encoding = encoder(unmasked(batch))
    mol = batch.mol_of_atom()
    atoms = encoding.rows("atom", torch.arange(len(batch.numbers)))
    assert torch.equal(atoms, encoding.atoms[mol, 1 + batch.position()])
    pairs = square_index(batch)
    at_pairs = encoding.pairs[pairs[:, 0], 1 + pairs[:, 1], 1 + pairs[:, 2]]
    assert torch.equal(encoding.rows("pair", pairs), at_pairs)
    ends = torch.cat([batch.mol_of_bond()[:, None], batch.bonds], 1)
    both = encoding.rows("pair", ends) + encoding.rows("pair", ends[:, [0, 2, 1]])
    assert torch.allclose(encoding.rows("bond", torch.arange(len(ends))), both / 2)


def test_every_parameter_of_the_encoder_is_used():
    model = shaken()
    batch = flat_batch([featurize(s) for s in MOLECULES], False)
    masked = unmasked(batch)._replace(hidden=torch.ones(len(batch.numbers), dtype=torch.bool))
    outputs = model(masked).outputs
    (outputs["movement"].square().sum() + outputs["tokens"].square().sum()).backward()
    unused = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    # the last pair update feeds the movement head; what shifts all logits of a softmax alike is
    # dead in any model
    dead = ("attention.bias.bias", "movement.bias.bias")
    assert unused and all(name.endswith(dead) for name in unused)


def test_bond_kinds_average_the_rows_of_the_reference():
    kinds = bond_kinds()
    assert kinds.shape == (63, 3)
    aromatic = 3 + 12 * 3 + 2 * 0 + 1  # type 3, stereo none, conjugated
    assert kinds[aromatic].tolist() == [7, 20, 37]


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="d_atom 30 is not a multiple of n_head 4"):
        replace(SMALL, d_atom=30)


def test_in_bfloat16_the_pair_track_is_narrow_and_the_geometry_is_not():
    model = shaken()
    batch = flat_batch([featurize(s) for s in MOLECULES], False)
    exact = model(batch).outputs["movement"]
    with torch.autocast("cpu", torch.bfloat16):
        encoding, outputs = model(batch)
    rough = outputs["movement"]
    assert encoding.pair_rows.dtype == torch.bfloat16 and rough.dtype == torch.float32
    (rough.square().sum() + encoding.molecule.float().square().sum()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
    moved = (exact - batch.coords).detach()
    error = (rough - exact).detach()
    assert float(error.norm() / moved.norm()) < 0.1
