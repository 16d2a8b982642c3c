"""Graph networks: laws of every layer, what is withheld stays hidden, plain equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from laws import MOLECULES, Laws

pytest.importorskip("torch_geometric")
pytest.importorskip("rdkit")
from molnb.data.encodings.catalogue import with_encodings
from molnb.data.masked import unmasked
from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.graph.config import GraphConfig
from molnb.models.graph.encoder import GraphEncoder, make_graph_network
from molnb.models.graph.features import column_values
from molnb.models.graph.inputs import make_inputs

SMALL = GraphConfig(
    n_layer=3, d_input=16, d_atom=24, d_bond=8, d_input_hidden=32, d_bond_hidden=16, n_head=4
)
CONFIGS = {
    "gcn": replace(SMALL, layer="gcn"),
    "gin": replace(SMALL, layer="gin", pooling="mean"),
    "gine": SMALL,
    "gated_gcn": replace(SMALL, layer="gated_gcn", residual="all"),
    "mpnn": replace(SMALL, layer="mpnn", pooling="logsum"),
    "gps": replace(SMALL, layer="gps", pair_encodings=("hops", "commute"), n_kernel=8),
    "gps without bias": replace(SMALL, layer="gps", local_layer="gated_gcn"),
    "virtual node": replace(SMALL, virtual_node="logsum", pooling="max", residual="all", d_out=32),
    "distances": replace(SMALL, n_kernel=16, d_molecule=20),
    "wide": replace(SMALL, features="wide"),
    "bond encodings": replace(
        SMALL, encodings=("eigengroups_4", "electrostatic", "bond_commute", "bond_transitions_2")
    ),
    "no encodings": replace(SMALL, encodings=()),
}


@pytest.fixture(params=CONFIGS)
def config(request) -> GraphConfig:
    return CONFIGS[request.param]


def shaken(config: GraphConfig) -> GraphEncoder:
    """A network in which no bias or gain is trivial, in evaluation mode."""
    torch.manual_seed(0)
    encoder, _ = make_graph_network(config)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


class TestLaws(Laws):
    moves_atoms = False

    @pytest.fixture(autouse=True)
    def _of_config(self, config):
        self.config = config

    def outputs(self, molecules, length=None):
        batch = flat_batch(molecules, self.config.hydrogens)
        with torch.no_grad():
            encoding = shaken(self.config)(unmasked(batch))
        sizes = batch.n_atoms.tolist()
        return list(zip(encoding.molecules, encoding.atoms.split(sizes), batch.coords.split(sizes)))


def batch_of(*smiles: str):
    return flat_batch([featurize(text) for text in smiles], False)


def as_outputs(encoder: GraphEncoder, masked) -> list[torch.Tensor]:
    with torch.no_grad():
        encoding = encoder(masked)
    batch = masked.batch
    bonds = encoding.rows("bond", torch.arange(len(batch.bonds)))
    return [encoding.molecules, encoding.atoms, bonds]


def largest_difference(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True) if x.numel())


@pytest.mark.parametrize("name", ["gine", "gcn", "gated_gcn", "mpnn", "gps", "wide"])
def test_signs_of_eigenvectors_do_not_matter_in_evaluation(name):
    encoder = shaken(CONFIGS[name])
    # cyclohexane has vectors that a symmetry turns round, the salt two fragments
    batch = with_encodings(batch_of(*MOLECULES, "C1CCCCC1", "CCCC"), encoder.config.encodings)
    pairs = batch.atom["eigenpairs_8"]
    signs = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (batch.n_mol, 8)))
    turned = pairs.clone()
    turned[:, :8] *= signs.float()[batch.mol_of_atom()]
    assert not torch.equal(turned, pairs)
    other = batch.with_arrays("atom", {"eigenpairs_8": turned})
    before, after = (as_outputs(encoder, unmasked(b)) for b in (batch, other))
    assert largest_difference(before, after) < 2e-5


def test_each_fragment_has_signs_of_its_own():
    encoder = shaken(SMALL)
    batch = salt_batch()
    pairs = with_encodings(batch, encoder.config.encodings).atom["eigenpairs_8"]
    turned = pairs.clone()
    turned[:4, :8] *= -1  # of the first fragment alone
    before, after = (
        as_outputs(encoder, unmasked(batch.with_arrays("atom", {"eigenpairs_8": p})))
        for p in (pairs, turned)
    )
    assert largest_difference(before, after) < 2e-5


def salt_batch():
    """Butane and butane without a bond between: curation would keep one of them."""
    batch = batch_of("CCCCCCCC")
    keep = [i for i, ends in enumerate(batch.bonds.tolist()) if sorted(ends) != [3, 4]]
    bond = {name: array[keep] for name, array in batch.bond.items()}
    molecule = {**batch.molecule, "n_bonds": torch.tensor([len(keep)])}
    return replace(batch, bond=bond, molecule=molecule)


def test_signs_are_drawn_in_training_and_change_what_is_seen():
    encoder = shaken(replace(SMALL, dropout=0.0, input_dropout=0.0, encoding_dropout=0.0))
    encoder.train()
    masked = unmasked(batch_of(*MOLECULES))
    with torch.no_grad():
        first, second = (encoder(masked).molecules for _ in range(2))
    assert not torch.equal(first, second)
    invariant = shaken(replace(encoder.config, encodings=("eigengroups_8",))).train()
    with torch.no_grad():
        first, second = (invariant(masked).molecules for _ in range(2))
    assert torch.equal(first, second)


def test_a_hidden_atom_shows_no_element(config):
    encoder = shaken(config)
    batch = batch_of("CCO", "CCN")
    hidden = torch.tensor([False, False, True] * 2)
    masked = unmasked(batch)._replace(hidden=hidden, noisy=batch.coords[:3].repeat(2, 1))
    feats = batch.feats[:3].repeat(2, 1)  # alcohol and amine differ in hydrogens and valence
    same = masked._replace(batch=batch.with_arrays("atom", {"atom_feats": feats}))
    molecules, atoms, _ = as_outputs(encoder, same)
    assert torch.allclose(molecules[0], molecules[1], atol=1e-6)
    assert torch.allclose(atoms[:3], atoms[3:], atol=1e-6)
    shown = as_outputs(encoder, same._replace(hidden=torch.zeros_like(hidden)))
    assert float((shown[0][0] - shown[0][1]).abs().max()) > 1e-3


def test_a_hidden_atom_shows_its_bonds_alone_where_the_batch_hides_features(config):
    encoder = shaken(config)
    batch = batch_of("CCO", "CCN", "CC=O")
    hidden = torch.tensor([False, False, True] * 3)
    masked = unmasked(batch)._replace(hidden=hidden, noisy=batch.coords[:3].repeat(3, 1))
    with_features, *_ = as_outputs(encoder, masked)
    assert float((with_features[0] - with_features[1]).abs().max()) > 1e-3
    molecules, *_ = as_outputs(encoder, masked._replace(hides_features=True))
    assert torch.allclose(molecules[0], molecules[1], atol=1e-6)
    assert float((molecules[0] - molecules[2]).abs().max()) > 1e-3


def test_a_molecule_without_features_shows_elements_alone(config):
    encoder = shaken(config)
    batch = batch_of("C=CC", "CCC", "CCO")
    coords = batch.coords[:3].repeat(3, 1)
    masked = unmasked(batch)._replace(visible=torch.zeros(3, dtype=torch.bool), noisy=coords)
    molecules, atoms, bonds = as_outputs(encoder, masked)
    assert torch.allclose(molecules[0], molecules[1], atol=1e-6)
    assert torch.allclose(atoms[:3], atoms[3:6], atol=1e-6)
    if config.layer != "gcn":  # in which an atom without neighbours has nothing to read
        assert float((molecules[1] - molecules[2]).abs().max()) > 1e-3
    assert len(bonds) == 6, "whoever asks for a bond that is not shown gets a vector"


def test_what_training_never_read_contributes_nothing_and_is_named():
    encoder = shaken(SMALL)
    encoder.begin_training()
    encoder.train()
    encoder(unmasked(batch_of("CCO", "C=CC(=O)O", "c1ccccc1C")))
    encoder.eval()
    unseen = encoder.unseen_features()
    assert {"element: S", "charge: 1", "bond type: TRIPLE", "valence: 3"} <= set(unseen)
    assert not {"element: C", "element: O", "bond type: AROMATIC", "ring bond: yes"} & set(unseen)
    known, thiol, nitrile = encoder.unseen_in(batch_of("CCO", "CCS", "CC#N"))
    assert known == () and thiol == ("element: S",)
    assert set(nitrile) == {"element: N", "valence: 3", "neighbours: 1", "bond type: TRIPLE"} - (
        {"neighbours: 1"} if "neighbours: 1" not in unseen else set()
    )
    # of an element that was never seen, any other that was not gives the same
    batch = batch_of("CCS", "CCS")
    numbers = batch.numbers.clone()
    numbers[5] = 34
    molecules, *_ = as_outputs(encoder, unmasked(batch.with_arrays("atom", {"numbers": numbers})))
    assert torch.equal(molecules[0], molecules[1])


def test_everything_counts_as_seen_before_training():
    encoder = shaken(SMALL)
    assert encoder.unseen_features() == []
    assert encoder.unseen_in(batch_of("C[Se]C")) == [()]


def test_layers_are_kept_in_order_and_the_last_is_the_output(config):
    encoder = shaken(config)
    masked = unmasked(batch_of(*MOLECULES))
    with torch.no_grad():
        encoding = encoder(masked, keep_layers=True)
    assert len(encoding.layers) == config.n_layer
    assert torch.equal(encoding.layers[-1].atoms, encoding.atoms)
    for number, layer in enumerate(encoding.layers, 1):
        for level, index in {
            "molecule": torch.arange(2),
            "atom": torch.arange(4),
            "bond": torch.arange(3),
            "pair": torch.tensor([[0, 1, 2]]),
        }.items():
            rows = layer.rows(level, index)
            assert rows.shape == (len(index), encoder.layer_width(level, number))
            assert encoding.rows(level, index).shape[1] == encoder.width(level)


def test_depths_follow_the_blocks_and_flops_grow_with_the_molecule(config):
    encoder = shaken(config)
    depths = {encoder.depth_of(name) for name, _ in encoder.named_parameters()}
    assert depths == set(range(config.n_layer + 1))
    small = encoder.count_flops(10, 10)
    large = encoder.count_flops(20, 20)
    assert small < large <= 4 * small


def test_flops_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    encoder = shaken(replace(SMALL, layer="gin", encodings=()))
    batch = batch_of(MOLECULES[0])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(unmasked(batch))
    counted = encoder.count_flops(len(batch.numbers), len(batch.bonds))
    # what torch counts besides are the tables of features, which do not grow with molecules
    tables = sum(
        2 * f.table.size * encoder.config.d_input_hidden
        for f in encoder.atoms.features
        if f.table.shape[1] > 1
    )
    rows = 2 * 8 * encoder.config.d_input_hidden  # the row of zeros of valence
    assert counter.get_total_flops() == counted + tables + rows


@pytest.mark.parametrize("name", ["gine", "wide"])
def test_integers_and_columns_of_numbers_give_the_same(name):
    """The first layers read tables of integers; the door to Graphium's numbers reads columns."""
    encoder = shaken(CONFIGS[name])
    batch = with_encodings(batch_of(*MOLECULES, "C[N+](C)(C)C", "C#N"), encoder.config.encodings)
    inputs = make_inputs(unmasked(batch), encoder.config)
    with torch.no_grad():
        encoded = encoder.atoms.encode(inputs, batch)
        feats = columns(encoder.atoms.features, batch.feats.numpy(), batch.numbers.numpy())
        atoms = encoder.atoms(inputs, batch)
        assert torch.allclose(atoms, encoder.atoms.dense(encoded, feats), atol=1e-5)
        rows, row_of_edge = encoder.bonds(inputs)
        feats = columns(encoder.bonds.features, batch.bond_feats.numpy()).repeat(2, 1)
        assert torch.allclose(rows[row_of_edge], encoder.bonds.dense(feats), atol=1e-5)


def columns(features, integers, numbers=None) -> torch.Tensor:
    blocks = [column_values(feature, integers, numbers) for feature in features]
    return torch.from_numpy(np.concatenate(blocks, 1))
