"""Encodings of the graph: shortest paths."""

from __future__ import annotations

import numpy as np
import torch
from rdkit import Chem

from molnb.data.batch import pad
from molnb.data.encodings.paths import UNREACHABLE, shortest_paths


def test_shortest_paths_are_those_of_rdkit(nci, corpus):
    view = pad(corpus.batch(np.arange(12)))
    for hops, smiles in zip(view.hops, nci.smiles()):
        expected = Chem.GetDistanceMatrix(Chem.MolFromSmiles(smiles))
        assert np.array_equal(hops[: len(expected), : len(expected)].numpy(), expected)
        assert (hops[0, len(expected) :] == UNREACHABLE).all()


def test_fragments_do_not_reach_each_other():
    adjacent = torch.zeros(1, 4, 4, dtype=torch.bool)
    for i, j in ((0, 1), (2, 3)):
        adjacent[0, i, j] = True
        adjacent[0, j, i] = True
    hops = shortest_paths(adjacent)[0]
    assert hops[0].tolist() == [0, 1, UNREACHABLE, UNREACHABLE]
