"""Sizes: the paper's, to the last parameter, and a family that fits a laptop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molnb.models.families import count_parameters
from molnb.models.model import Model
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.sizes import LAPTOP, PAPER, find_paper_size, readable_size

# Table 2 of the paper names the sizes; these are the parameters of the authors' own model, both
# heads counted.
TOTALS = {
    "42m": 43_788_112,
    "84m": 84_116_080,
    "164m": 164_772_016,
    "310m": 310_082_880,
    "570m": 570_233_696,
    "1100m": 1_129_209_696,
}


@pytest.mark.parametrize("size", PAPER)
def test_the_papers_sizes_have_its_parameters_to_the_last(size):
    assert count_parameters(PAPER[size]).total == TOTALS[size]


def test_the_laptop_family_spans_two_thousand_to_ten_million():
    counts = [count_parameters(model) for model in LAPTOP.values()]
    named = [float(readable_size(size).removesuffix("M")) * 1e6 for size in LAPTOP]
    assert len(counts) >= 6 and counts == sorted(counts)
    assert (named[0], named[-1]) == (2e3, 1e7)
    for count, name in zip(counts, named):
        assert 0.9 * name <= count.n <= 1.35 * name and count.n < count.total
    shapes = {
        (m.d_atom / m.n_layer, m.d_atom / m.n_head, m.d_atom / m.d_pair) for m in LAPTOP.values()
    }
    assert shapes == {(16, 16, 2)}


def test_n_leaves_out_tables_kernel_and_heads():
    model = Model(*make_two_track(LAPTOP["0m1"]))
    tables = "tokens features degrees virtual_atom bonds hops virtual_pair kernel".split()
    left_out = [getattr(model.encoder, table) for table in tables] + [*model.heads.values()]
    n, total = count_parameters(LAPTOP["0m1"])
    assert total == sum(p.numel() for p in model.parameters())
    assert total - n == sum(p.numel() for part in left_out for p in part.parameters())


def test_n_of_one_layer_more_is_one_layer_more():
    model = LAPTOP["1m"]
    n = [count_parameters(replace(model, n_layer=k)).n for k in (1, 2, 3)]
    assert n[1] - n[0] == n[2] - n[1] > 0


def test_counting_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    count_parameters(PAPER["1100m"])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_scale_is_found_by_its_widths_and_depth():
    assert [find_paper_size(model) for model in PAPER.values()] == list(PAPER)
    assert find_paper_size(replace(PAPER["84m"], n_layer=13)) is None
    assert [readable_size(size) for size in ("0m25", "10m", "1100m")] == ["0.25M", "10M", "1.1B"]
