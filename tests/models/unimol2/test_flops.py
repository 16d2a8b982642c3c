"""Counted multiplications are those that torch counts, forward and in training, as written and
as rewritten.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from molnb.data.batch import pad
from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.unimol2.config import MOLNB, TwoTrackConfig
from molnb.models.unimol2.encoder import TwoTrack
from molnb.models.unimol2.flops import PARTS, count_multiplications, count_training
from molnb.models.unimol2.inputs import encode
from molnb.models.unimol2.sizes import LAPTOP, PAPER

ODD = TwoTrackConfig(n_layer=2, d_atom=48, n_head=4, d_ffn=32, d_pair=24, d_hidden=8, n_kernel=16)
WIDER = replace(ODD, n_layer=3, d_pair=40, d_hidden=12, n_head=6, d_ffn=96)


def counted(work) -> int:
    """Multiplications of the matrix products in `work()`, as torch sees them; it overlooks
    products added in place.
    """

    def added_in_place(_, a: torch.Size, b: torch.Size, **__) -> int:
        return 2 * a.numel() * b[-1]

    with FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.baddbmm_: added_in_place}
    ) as counter:
        work()
    return counter.get_total_flops() // 2


def codes_of(smiles: str):
    return encode(pad(flat_batch([featurize(smiles)], False)), MOLNB)


@pytest.mark.parametrize("config", [ODD, WIDER, LAPTOP["0m1"]])
@pytest.mark.parametrize("smiles", ["CO", "NC(=O)c1cccnc1"])
def test_a_forward_pass_multiplies_as_often_as_counted(config: TwoTrackConfig, smiles: str) -> None:
    model, codes = TwoTrack(config).eval(), codes_of(smiles)
    found = count_multiplications(config, codes.real.shape[1], hidden_share=0.0)
    assert tuple(found) == PARTS
    with torch.no_grad():
        assert counted(lambda: model(codes)) == sum(found.values())


def test_each_part_is_counted_on_its_own() -> None:
    model, codes = TwoTrack(WIDER).eval(), codes_of("NC(=O)c1cccnc1")
    found = count_multiplications(WIDER, codes.real.shape[1], hidden_share=0.0)
    with torch.no_grad():
        layout = model.make_layout(codes)
        atoms, pairs = model.embed_atoms(codes, layout), model.embed_pairs(codes, layout)
        block = model.blocks[0]
        work = {
            "attention": lambda: block.attention(atoms, pairs, layout),
            "distance kernel": lambda: model.embed_pairs(codes, layout),
            "heads": lambda: model.movement_head(atoms, pairs, codes.coords, layout),
        }
        times = {"attention": WIDER.n_layer}
        for part, run in work.items():
            assert times.get(part, 1) * counted(run) == found[part], part


def test_hidden_atoms_go_through_the_token_head() -> None:
    model = TwoTrack(ODD).eval()
    with_head, without = (
        count_multiplications(ODD, 20, hidden_share=share)["heads"] for share in (0.15, 0.0)
    )
    with torch.no_grad():
        assert counted(lambda: model.token_head(torch.zeros(3, ODD.d_atom))) == with_head - without


def test_the_plain_outer_product_multiplies_as_its_equation_does() -> None:
    block, n = TwoTrack(WIDER).blocks[0], 9
    nodes, h = n + 1, WIDER.d_hidden
    plain, ours = (
        count_multiplications(WIDER, n, plain)["outer product"] for plain in (True, False)
    )
    with torch.no_grad():
        a, b = block.outer.project(torch.zeros(nodes, WIDER.d_atom)).chunk(2, -1)
        vec = torch.bmm(
            a[:, None, :, None].expand(nodes, nodes, h, 1).reshape(-1, h, 1),
            b.repeat(nodes, 1)[:, None],
        )
        applied = counted(lambda: vec.flatten(1) @ block.outer.out.weight.t())
    projected = nodes * WIDER.d_atom * 2 * h
    assert plain == WIDER.n_layer * (projected + vec.numel() + applied)
    assert ours < plain / 4


@pytest.mark.parametrize("config", [ODD, WIDER, LAPTOP["0m1"]])
def test_a_training_step_multiplies_as_often_as_counted(config: TwoTrackConfig) -> None:
    model, codes = TwoTrack(config).train(), codes_of("NC(=O)c1cccnc1")

    def step() -> None:
        tracks = model(codes)
        (tracks.coords.sum() + tracks.nodes.sum() + tracks.pair_rows.sum()).backward()

    assert counted(step) == pytest.approx(
        sum(count_training(config, 9, hidden_share=0.0).values()), rel=1e-3
    )


def test_the_84m_model_needs_a_third_of_what_the_plain_equations_need() -> None:
    plain, ours = (
        sum(count_multiplications(PAPER["84m"], 24, form).values()) for form in (True, False)
    )
    assert plain == pytest.approx(24.2e9, rel=0.1)
    assert 0.3 < ours / plain < 0.4
