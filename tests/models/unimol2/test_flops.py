"""Counted multiplications are those that torch counts, forward and in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from counted_products import count_products

from molnb.data.batch import pad
from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.model import Model
from molnb.models.unimol2.config import MOLNB, TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.encoding import TwoTrackEncoding
from molnb.models.unimol2.flops import count_multiplications, count_training
from molnb.models.unimol2.inputs import EncoderInputs, table_rows
from molnb.models.unimol2.sizes import LAPTOP, PAPER

ODD = TwoTrackConfig(n_layer=2, d_atom=48, n_head=4, d_ffn=32, d_pair=24, d_hidden=8, n_kernel=16)
WIDER = replace(ODD, n_layer=3, d_pair=40, d_hidden=12, n_head=6, d_ffn=96)


def torch_count(work) -> int:
    """Multiplications of the matrix products in `work()`, as torch's own counter sees them."""
    return count_products(work).flops // 2


def make_model(config: TwoTrackConfig) -> Model:
    return Model(*make_two_track(config))


def inputs_of(smiles: str) -> EncoderInputs:
    return table_rows(pad(flat_batch([featurize(smiles)], False)), MOLNB)


def encode_and_move(model: Model, inputs: EncoderInputs) -> tuple[TwoTrackEncoding, torch.Tensor]:
    """The encoding, and the coordinates after the movement head."""
    encoding = model.encoder.wrap(inputs, model.encoder.encode(inputs))
    return encoding, model.heads["movement"].move(encoding)


@pytest.mark.parametrize("config", [ODD, WIDER, LAPTOP["0m1"]])
@pytest.mark.parametrize("smiles", ["CO", "NC(=O)c1cccnc1"])
def test_a_forward_pass_multiplies_as_often_as_counted(config: TwoTrackConfig, smiles: str) -> None:
    model = make_model(config).eval()
    inputs = inputs_of(smiles)
    counts = count_multiplications(config, inputs.real.shape[1], hidden_share=0.0)
    with torch.no_grad():
        assert torch_count(lambda: encode_and_move(model, inputs)) == sum(counts.values())


def test_each_part_is_counted_on_its_own() -> None:
    model = make_model(WIDER).eval()
    encoder = model.encoder
    inputs = inputs_of("NC(=O)c1cccnc1")
    counts = count_multiplications(WIDER, inputs.real.shape[1], hidden_share=0.0)
    with torch.no_grad():
        layout = encoder.make_layout(inputs)
        atoms = encoder.embed_atoms(inputs, layout)
        pairs = encoder.embed_pairs(inputs, layout)
        encoding, _ = encode_and_move(model, inputs)
        work = {
            "attention": lambda: encoder.blocks[0].attention(atoms, pairs, layout),
            "distance kernel": lambda: encoder.embed_pairs(inputs, layout),
            "heads": lambda: model.heads["movement"].move(encoding),
        }
        times = {"attention": WIDER.n_layer}
        for part, run in work.items():
            assert times.get(part, 1) * torch_count(run) == counts[part], part


def test_hidden_atoms_go_through_the_token_head() -> None:
    head = make_model(ODD).eval().heads["tokens"]
    with_head = count_multiplications(ODD, 20, hidden_share=0.15)["heads"]
    without = count_multiplications(ODD, 20, hidden_share=0.0)["heads"]
    atoms = torch.zeros(3, ODD.d_atom)  # 0.15 of 20
    with torch.no_grad():
        assert torch_count(lambda: head.logits(atoms)) == with_head - without


def test_the_plain_outer_product_multiplies_as_its_equation_does() -> None:
    block = make_model(WIDER).encoder.blocks[0]
    n = 9
    nodes = n + 1
    h = WIDER.d_hidden
    plain = count_multiplications(WIDER, n, plain=True)["outer product"]
    rewritten = count_multiplications(WIDER, n)["outer product"]
    with torch.no_grad():
        a, b = block.outer.project(torch.zeros(nodes, WIDER.d_atom)).chunk(2, -1)
        vec = torch.bmm(
            a[:, None, :, None].expand(nodes, nodes, h, 1).reshape(-1, h, 1),
            b.repeat(nodes, 1)[:, None],
        )
        applied = torch_count(lambda: vec.flatten(1) @ block.outer.out.weight.t())
    projected = nodes * WIDER.d_atom * 2 * h
    assert plain == WIDER.n_layer * (projected + vec.numel() + applied)
    assert rewritten < plain / 4


@pytest.mark.parametrize("config", [ODD, WIDER, LAPTOP["0m1"]])
def test_a_training_step_multiplies_as_often_as_counted(config: TwoTrackConfig) -> None:
    model = make_model(config).train()
    inputs = inputs_of("NC(=O)c1cccnc1")

    def step() -> None:
        encoding, coords = encode_and_move(model, inputs)
        (coords.sum() + encoding.nodes.sum() + encoding.pair_rows.sum()).backward()

    counts = count_training(config, 9, hidden_share=0.0)
    assert torch_count(step) == sum(counts.values())


def test_the_84m_model_needs_a_third_of_what_the_plain_equations_need() -> None:
    plain = sum(count_multiplications(PAPER["84m"], 24, plain=True).values())
    rewritten = sum(count_multiplications(PAPER["84m"], 24).values())
    assert plain == pytest.approx(24.2e9, rel=0.1)
    assert 0.3 < rewritten / plain < 0.4


def test_an_encoder_says_its_own_flops() -> None:
    with torch.device("meta"):
        encoder, _ = make_two_track(WIDER)
    assert encoder.count_flops(9, 9) == 2 * sum(count_multiplications(WIDER, 9).values())
