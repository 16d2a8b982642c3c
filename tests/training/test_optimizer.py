"""Rates: they rise and fall over the steps, and fall with depth."""

from __future__ import annotations

import pytest
from tiny import small_run

from molnb.training.optimizer import learning_rate, rate_share
from molnb.training.runs import make_model


def test_the_learning_rate_rises_and_falls(nci):
    config = small_run(nci, steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates.index(max(rates)) == 9 and max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.02


def test_lower_layers_and_heads_have_their_own_rates(nci):
    config = small_run(nci, layer_decay=0.5, learning_rate=1e-3, head_learning_rate=1e-2)
    encoder = make_model(config).encoder

    def share(name):
        return rate_share(config, name, encoder.depth_of, encoder.n_block)

    assert share("encoder.blocks.1.ffn.expand.weight") == 1.0
    assert share("encoder.blocks.0.ffn.expand.weight") == 0.5
    assert share("encoder.tokens.weight") == share("encoder.norm.weight") == 0.25
    assert share("heads.t.out.weight") == pytest.approx(10.0)
