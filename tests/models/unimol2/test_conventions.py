"""Where molnb departs from the authors' code on purpose: each test shows the difference.

Padding, leaking pair types and enantiomers stand in test_encoder.py, features never seen in
test_vocabulary.py, crops in test_crops.py, value lists in test_features.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

Chem = pytest.importorskip("rdkit.Chem")
from molnb.chemistry.features import molecule_arrays
from molnb.data.batch import pad
from molnb.data.masked import unmasked
from molnb.inference.featurizer import FeaturizedMolecule, featurize, flat_batch
from molnb.models.model import Model
from molnb.models.unimol2.config import MOLNB, REFERENCE, Conventions, TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.inputs import table_rows
from molnb.objectives.pretraining import Pretrain

SMALL = TwoTrackConfig(
    n_layer=2,
    d_atom=32,
    n_head=4,
    d_ffn=32,
    d_pair=16,
    d_hidden=8,
    n_kernel=16,
    dropout=0.0,
    attention_dropout=0.0,
    pair_dropout=0.0,
)


def make_model(conventions: Conventions) -> Model:
    torch.manual_seed(0)
    return Model(*make_two_track(replace(SMALL, conventions=conventions))).eval()


def featurize_as_is(mol: Chem.Mol) -> FeaturizedMolecule:
    """A molecule with its tags and numbering, not standardised, its atoms on a line."""
    n = mol.GetNumAtoms()
    arrays = molecule_arrays(mol)
    coords = np.arange(len(arrays["numbers"]))[:, None] * np.array([[1.5, 0.0, 0.0]], np.float32)
    return FeaturizedMolecule("", np.arange(n), n, arrays, coords.astype(np.float32))


# ----------------------------------------------------------------------------------- nothing masked


def test_ethanol_alone_trains_whatever_is_masked() -> None:
    """In half of the draws none of three atoms is masked.

    A mean over masked atoms is then 0/0; a sum is not.
    """
    torch.manual_seed(0)
    objective = Pretrain()
    batch = flat_batch([featurize("CCO")], False)
    model = make_model(MOLNB)
    masked = [objective.corrupt(batch, seed, 0) for seed in range(40)]
    empty = [draw for draw in masked if not draw.hidden.any()]
    assert 10 < len(empty) < 30
    for draw in [*empty[:5], *masked[:5]]:
        model.zero_grad()
        terms = objective.loss_terms(model, draw)
        weights = objective.weights(draw.counts)
        counted = [name for name, term in terms.items() if name in weights and term.count]
        sum(weights[name] * terms[name].total / terms[name].count for name in counted).backward()
        assert all(torch.isfinite(term.total) for term in terms.values())
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    reference = F.cross_entropy(torch.zeros(0, 128), torch.zeros(0, dtype=torch.int64))
    assert torch.isnan(reference)


# --------------------------------------------------------------------------- disconnected molecules


def test_atoms_without_a_path_have_a_row_of_their_own() -> None:
    """Not the row of hidden paths, which unimol_tools gives them."""
    batch = flat_batch([featurize_as_is(Chem.MolFromSmiles("CC.O"))], False)
    shown = table_rows(pad(batch), MOLNB, None, torch.tensor([True]))
    hidden = table_rows(pad(batch), MOLNB, None, torch.tensor([False]))
    assert shown.hops[0].tolist() == [[1, 2, 510], [2, 1, 510], [510, 510, 1]]
    assert set(hidden.hops.flatten().tolist()) == {511}
    with torch.no_grad():
        encoding, outputs = make_model(MOLNB)(batch)
    assert torch.isfinite(encoding.atoms).all() and torch.isfinite(outputs["movement"]).all()


# ---------------------------------------------------------------- rare chirality tags, atropisomers


@pytest.mark.parametrize("tag", sorted(Chem.ChiralType.names))
def test_every_chirality_tag_of_rdkit_becomes_a_row_of_the_table(tag: str) -> None:
    mol = Chem.MolFromSmiles("CC(F)(Cl)Br")
    mol.GetAtomWithIdx(1).SetChiralTag(Chem.ChiralType.names[tag])
    for conventions in (MOLNB, REFERENCE):
        row = int(
            table_rows(pad(flat_batch([featurize_as_is(mol)], False)), conventions).feats[0, 1, 0]
        )
        assert 3 <= row <= (5 if conventions is MOLNB else 9)


@pytest.mark.parametrize("stereo", sorted(Chem.BondStereo.names))
def test_every_bond_stereo_of_rdkit_passes_atropisomers_included(stereo: str) -> None:
    mol = Chem.MolFromSmiles("Cc1cccc(F)c1-c1c(C)cccc1F")
    bond = mol.GetBondBetweenAtoms(7, 8)
    if stereo in ("STEREOCIS", "STEREOTRANS", "STEREOZ", "STEREOE"):
        bond.SetStereoAtoms(1, 9)
    bond.SetStereo(Chem.BondStereo.names[stereo])
    codes = table_rows(pad(flat_batch([featurize_as_is(mol)], False)), MOLNB)
    assert 3 <= int(codes.bond_kind[0, 7, 8]) < 63


@pytest.mark.parametrize(
    "smiles", ["CC=[C@AL1]=CF", "C[P@](=O)(O)CC", "FP(F)(F)(F)F", "C[Se@](=O)CC"]
)
def test_written_rare_centres_get_an_embedding(smiles: str) -> None:
    with torch.no_grad():
        encoding = make_model(MOLNB).encoder(unmasked(flat_batch([featurize(smiles)], False)))
    assert torch.isfinite(encoding.molecule).all()


# ------------------------------------------------------------------------------ canonical chirality


def test_the_tag_depends_on_the_numbering_and_the_parity_does_not() -> None:
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)O")
    codes_seen = {conventions.name: set() for conventions in (MOLNB, REFERENCE)}
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(6).tolist()
        spelling = Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False)
        turned = Chem.MolFromSmiles(spelling)
        centre = next(
            a.GetIdx() for a in turned.GetAtoms() if a.GetDegree() == 3 and a.GetTotalNumHs() == 1
        )
        for conventions in (MOLNB, REFERENCE):
            codes = table_rows(pad(flat_batch([featurize_as_is(turned)], False)), conventions)
            codes_seen[conventions.name].add(int(codes.feats[0, centre, 0]))
    assert len(codes_seen["molnb"]) == 1 and len(codes_seen["reference"]) == 2


# --------------------------------------------------------------------------------------- pair types


def test_the_kernel_of_distances_knows_elements_and_the_reference_only_chirality() -> None:
    view = pad(flat_batch([featurize("NCO")], False))
    by_element = table_rows(view, MOLNB)
    by_chirality = table_rows(view, REFERENCE)
    for name in ("pair_left", "pair_right"):
        assert len(set(getattr(by_element, name)[0].tolist())) == 3
        assert len(set(getattr(by_chirality, name)[0].tolist())) == 1


# ----------------------------------------------------------------------------------- initialisation


@torch.no_grad()
def test_distances_reach_the_kernel_unstretched_and_the_references_shrunk_thirtyfold() -> None:
    codes = table_rows(pad(flat_batch([featurize("CC(N)O")], False)), MOLNB)
    kernel = make_model(MOLNB).encoder.kernel
    stretch = kernel.mul(codes.pair_left)[:, :, None] + kernel.mul(codes.pair_right)[:, None]
    assert torch.equal(stretch, torch.ones_like(stretch)) and not kernel.bias.weight.any()
    table = make_model(REFERENCE).encoder.kernel.mul.weight
    typical = (table[1:129] + table[129:257]).square().mean().sqrt()
    assert float(typical) == pytest.approx(0.02 * 2**0.5, rel=0.2)


def test_blocks_change_nothing_before_the_first_step_and_in_the_reference_they_do() -> None:
    batch = flat_batch([featurize("CC(=O)Oc1ccccc1C(=O)O")], False)
    inputs = table_rows(pad(batch), MOLNB)
    for conventions, silent in ((MOLNB, True), (REFERENCE, False)):
        model = make_model(conventions)
        encoder = model.encoder
        with torch.no_grad():
            encoding, outputs = model(batch)
            layout = encoder.make_layout(inputs)
            atoms = layout.spread_nodes(encoder.norm(encoder.embed_atoms(inputs, layout)))
            pairs = layout.spread_pairs(encoder.pair_norm(encoder.embed_pairs(inputs, layout)))
        same_atoms = torch.allclose(encoding.atoms, atoms, atol=1e-6)
        same_pairs = torch.allclose(encoding.pairs, pairs, atol=1e-6)
        assert (same_atoms and same_pairs) is silent
        moved = not torch.equal(outputs["movement"], batch.coords)
        assert moved is not silent, "at the start, no atom is moved"
