"""Graph networks: laws of every layer, what is withheld stays hidden, plain equations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from laws import Laws

pytest.importorskip("torch_geometric")
pytest.importorskip("rdkit")
from molnb.data.masked import unmasked
from molnb.inference.featurizer import flat_batch
from molnb.models.graph.config import GraphConfig
from molnb.models.graph.encoder import GraphEncoder, make_graph_network

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
