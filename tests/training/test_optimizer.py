"""Rates of parameters: they fall with depth, and heads have their own."""

from __future__ import annotations

import pytest
from tiny import small_run

from molnb.training.optimizer import rate_share
from molnb.training.runs import make_model


def test_lower_layers_and_heads_have_their_own_rates(nci):
    config = small_run(nci, layer_decay=0.5, learning_rate=1e-3, head_learning_rate=1e-2)
    encoder = make_model(config).encoder

    def share(name):
        return rate_share(config, name, encoder.depth_of, encoder.n_block)

    assert share("encoder.blocks.1.ffn.expand.weight") == 1.0
    assert share("encoder.blocks.0.ffn.expand.weight") == 0.5
    assert share("encoder.tokens.weight") == share("encoder.norm.weight") == 0.25
    assert share("heads.t.out.weight") == pytest.approx(10.0)
