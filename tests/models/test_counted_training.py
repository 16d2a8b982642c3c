"""FLOPs and bytes that an encoder counts for a group are those that torch sees in a step."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from counted_products import count_products
from made_shards import make_shards
from on_devices import padded_as_on_a_gpu
from tiny import SMALL

from molnb.data.batch import LEVELS, MolBatch, SparseLabels, every_index, pad
from molnb.data.crops import crop
from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch, unmasked
from molnb.models.heads import make_label_head
from molnb.models.interface import Encoder
from molnb.models.model import Model
from molnb.models.products import Cost, Product, add_costs
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.interface import weighted_loss
from molnb.objectives.pretraining import Pretrain

CPU = torch.device("cpu")
GPU = torch.device("cuda")  # of which only the rules for sizes are asked
FLOAT32 = 4
# many size groups, so that some are padded and some are not
SEVERAL_GROUPS = replace(SMALL, d_pair=200)
# packed on a CPU or padded as on a GPU, frozen blocks, a crop, and what is learnt
CASES = [
    (CPU, 0, None, "masking"),
    (CPU, 0, 6, "masking"),
    (CPU, 1, None, "atom"),
    (CPU, 0, None, "bond"),
    (CPU, 2, 6, "pair"),
    (GPU, 0, 6, "masking"),
    (GPU, 1, None, "masking"),
    (GPU, 2, None, "molecule"),
]


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> MolBatch:
    corpus = Corpus([make_shards(tmp_path_factory.mktemp("data") / "trees")])
    return corpus.batch(np.arange(12))


def freeze(encoder: Encoder, n_block: int) -> None:
    """Let what embeds and some blocks learn nothing, as a run does that starts from another."""
    for name, parameter in encoder.named_parameters():
        if n_block and encoder.depth_of(name) <= n_block:
            parameter.requires_grad_(False)


def labelled(batch: MolBatch, level: str) -> MaskedBatch:
    """A batch with two labels of everything there is at a level."""
    index = every_index(batch, level)
    labels = SparseLabels(index, torch.zeros(len(index), 2))
    return unmasked(replace(batch, labels={"t": labels}))


def learn_outputs(model: Model, masked: MaskedBatch) -> None:
    """Forward and backward of a scalar that everything the heads say takes part in."""
    sum(output.sum() for output in model(masked).outputs.values()).backward()


@pytest.mark.parametrize("device, n_frozen, max_atoms, learnt", CASES)
def test_a_step_of_two_tracks_costs_what_is_counted(batch, device, n_frozen, max_atoms, learnt):
    encoder, heads = make_two_track(SEVERAL_GROUPS)
    freeze(encoder, n_frozen)
    batch = crop(batch, max_atoms, 0, 0)
    masked = Pretrain().corrupt(batch, 0, 0)
    if learnt != "masking":
        masked = labelled(batch, learnt)
        heads = {"t": make_label_head(encoder, learnt, 2, 2, 0.1)}
    model = Model(encoder, heads).train()
    cost = model.make_counter(device, FLOAT32)(masked)

    def step() -> None:
        if learnt == "masking":
            objective = Pretrain()
            terms = objective.loss_terms(model, masked)
            weighted_loss(terms, objective.weights(masked.counts), masked.counts).backward()
        else:
            learn_outputs(model, masked)

    with padded_as_on_a_gpu() if device == GPU else nullcontext():
        counted = count_products(step)
    # shortest paths are features: their products are no part of the network
    length = encoder.padded_length(batch.longest, device)
    of_paths = count_products(partial(pad, batch, length))
    assert cost.flops + cost.padding_flops == counted.flops - of_paths.flops
    n_byte = counted.bytes - of_paths.bytes
    if device == GPU and learnt == "masking":  # on a CPU the pull of the movement head is float64
        n_byte -= 4 * 2 * batch.n_mol * length * (4 * length + 3)
    assert cost.bytes + cost.padding_bytes == n_byte
    assert 0 < cost.padding_flops and 0 < cost.padding_bytes


def test_molecules_of_one_size_are_not_padded_on_a_cpu_and_cost_as_much_as_alone(tmp_path):
    corpus = Corpus([make_shards(tmp_path / "trees", n_atom=9)])
    model = Model(*make_two_track(SMALL))
    count = model.encoder.make_counter(("atom",), CPU, FLOAT32)
    alone, twenty = (count(corpus.n_atoms[:n], None) for n in (1, 20))
    assert alone.padding_flops == twenty.padding_flops == twenty.padding_bytes == 0
    assert twenty.flops == 20 * alone.flops
    assert twenty.bytes < 20 * alone.bytes, "weights are read once"
    padded = model.encoder.make_counter(("atom",), GPU, FLOAT32)(corpus.n_atoms[:20], None)
    assert padded.flops == twenty.flops and padded.padding_flops > 0, "10 nodes are padded to 16"


def test_half_the_width_is_half_the_bytes(batch):
    encoder, _ = make_two_track(SMALL)
    wide, narrow = (
        encoder.make_counter(LEVELS, CPU, size)(batch.n_atoms.numpy(), None) for size in (4, 2)
    )
    assert wide.flops == narrow.flops
    assert 0.5 < narrow.bytes / wide.bytes < 0.6, "the distance kernel stays in float32"


def test_a_network_that_says_nothing_is_counted_by_its_parameters():
    class Plain(Encoder):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList([torch.nn.Linear(3, 3)])

    cost = Plain().make_counter(("atom",), CPU, FLOAT32)(np.array([2, 5]), np.array([1, 4]))
    assert cost == Cost(flops=6 * 12 * 7, bytes=3 * 4 * 12)
    assert add_costs([cost, Cost(flops=1)]).flops == cost.flops + 1


def test_a_product_counts_both_gradients_and_what_is_repeated():
    product = Product("part", m=2, k=3, n=5, times=7, again=1)
    assert product.multiplications == 7 * 30 and product.numbers == 7 * (6 + 15 + 10)
    assert product.n_pass == 4


GRAPHS = (
    {"layer": "gcn"},
    {"layer": "gin", "encodings": ()},
    {"layer": "gine"},
    {"layer": "gated_gcn"},
    {"layer": "mpnn"},
    {"layer": "gps"},
    {"layer": "gps", "local_layer": "mpnn", "n_kernel": 8},
    {"layer": "gated_gcn", "virtual_node": "mean", "d_out": 32, "n_kernel": 8},
    {"features": "wide", "encodings": ("eigengroups_4", "electrostatic", "bond_commute")},
)


@pytest.mark.parametrize("changes", GRAPHS, ids=str)
def test_a_step_of_a_graph_network_costs_what_is_counted(batch, changes):
    pytest.importorskip("torch_geometric")
    from molnb.data.encodings.catalogue import with_encodings
    from molnb.models.graph.config import GraphConfig
    from molnb.models.graph.encoder import make_graph_network

    sizes = {"n_layer": 3, "d_input": 16, "d_atom": 24, "d_bond": 8, "d_input_hidden": 32}
    config = GraphConfig(**sizes, d_bond_hidden=16, n_head=4, **changes)
    batch = crop(batch, 10, 0, 0)
    for n_frozen, learnt in (
        (0, "masking"),
        (0, "bond"),
        (0, "molecule"),
        (1, "pair"),
        (2, "bond"),
    ):
        encoder, heads = make_graph_network(config)
        freeze(encoder, n_frozen)
        masked = Pretrain().corrupt(batch, 0, 0)  # half of them show no bonds
        if learnt != "masking":
            masked = labelled(batch, learnt)
            heads = {"t": make_label_head(encoder, learnt, 2, 2, 0.1)}
        model = Model(encoder, heads).train()
        encoded = with_encodings(masked.batch, config.encodings)
        masked = masked._replace(batch=encoded)
        cost = model.make_counter(CPU, FLOAT32)(masked)
        counted = count_products(partial(learn_outputs, model, masked))
        assert cost.flops + cost.padding_flops == counted.flops
        assert (cost.padding_flops > 0) == config.padded
        assert config.padded or cost.bytes == counted.bytes
