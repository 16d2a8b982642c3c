"""Configurations so small that a test trains one in a second."""

from __future__ import annotations

from dataclasses import replace

from molnb.models.graph.config import GraphConfig
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.shards import Shards
from molnb.training.config import RunConfig

# one block: enough for what does not depend on depth
TINY = TwoTrackConfig(1, 16, 2, 16, 8, 4, n_kernel=8)
# two blocks, so that there is a lower one
SMALL = TwoTrackConfig(2, 32, 4, 32, 16, 4, n_kernel=16)
# the same without dropout: a batch always gives the same numbers
STEADY = TwoTrackConfig(
    2, 32, 4, 32, 16, 4, n_kernel=16, dropout=0.0, attention_dropout=0.0, pair_dropout=0.0
)
# a graph network, with dropout everywhere and without
SMALL_GRAPH = GraphConfig(
    n_layer=2, d_input=16, d_atom=24, d_bond=8, d_input_hidden=32, d_bond_hidden=16
)
STEADY_GRAPH = replace(SMALL_GRAPH, dropout=0.0, input_dropout=0.0, encoding_dropout=0.0)


def small_run(shards: Shards, **changes) -> RunConfig:
    """Twelve steps of the small model, pretrained on shards unless the changes say otherwise."""
    settings = {
        "name": "t",
        "data": (str(shards.path),),
        "model": SMALL,
        "steps": 12,
        "global_batch": 8,
        "learning_rate": 1e-3,
        "warmup_steps": 3,
        "n_val": 8,
        "eval_every": 6,
        "checkpoint_every": 4,
    }
    return RunConfig(**(settings | changes))
