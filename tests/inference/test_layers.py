"""Fingerprints: what any layer of an encoder gives, of either family."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny import SMALL, small_run

pytest.importorskip("torch_geometric")
from molnb.cli import main
from molnb.errors import InputError
from molnb.inference.featurizer import featurize, flat_batch
from molnb.inference.predictor import embed, load_run
from molnb.models.graph.config import GraphConfig
from molnb.objectives.supervised import Supervised
from molnb.training.loop import train

SMILES = ["CCO", "OC(=O)c1ccccc1", "C"]
MODELS = {
    "two tracks": SMALL,
    "graph": GraphConfig(n_layer=2, d_input=8, d_atom=12, d_out=20, d_bond=4, pooling="max"),
}


@pytest.fixture(scope="module", params=MODELS)
def run(request, nci, tmp_path_factory):
    model = MODELS[request.param]
    config = small_run(nci, model=model, objective=Supervised(("nci_dipole",)), steps=4)
    return train(config, tmp_path_factory.mktemp("layers") / "run")


def test_a_layer_gives_the_states_behind_it(run):
    model = load_run(run.path)
    with torch.no_grad():
        batch = flat_batch([featurize(smiles) for smiles in SMILES], False)
        layers = model.model.encoder(unmasked_batch(batch), keep_layers=True).layers
    for number, encoding in enumerate(layers, 1):
        molecules = encoding.rows("molecule", torch.arange(3)).numpy()
        vectors = embed(model, SMILES, layer=number)
        assert vectors.shape == molecules.shape
        assert np.allclose(vectors, molecules, atol=1e-5)
        atoms = model.embed(SMILES, "atom", layer=number)
        assert [len(array) for array in atoms] == [3, 9, 1]


def unmasked_batch(batch):
    from molnb.data.masked import unmasked

    return unmasked(batch)


def test_curated_molecules_and_the_command_give_the_same(run, nci, tmp_path):
    vectors = embed(run.path, nci, layer=1)
    out = tmp_path / "vectors.parquet"
    options = ["--run", str(run.path), "--layer", "1", "--out", str(out)]
    assert main(["embed", str(nci.path), *options]) == 0
    column = pq.read_table(out).column("embedding").to_pylist()
    assert np.array_equal(np.array(column, np.float32), vectors)


def test_a_layer_that_there_is_not_is_refused(run, capsys):
    with pytest.raises(InputError, match=r"layer 3 asked for, the encoder of run has 2: give 1 to"):
        embed(run.path, SMILES, layer=3)
