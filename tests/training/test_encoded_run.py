"""An encoder that names encodings finds them in every batch: of shards, of SMILES, resumed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from tiny import small_run
from torch import nn

from molnb import Encoder, EncoderConfig, Supervised, load_run, register_family, train
from molnb.shards import load_shards

ATOM = "eigengroups_4"
BOND = "bond_commute"


@dataclass(frozen=True)
class PlacesConfig(EncoderConfig):
    family: ClassVar[str] = "places"
    encodings: tuple[str, ...] = (ATOM, BOND)


class PlacesEncoding(NamedTuple):
    atoms: torch.Tensor
    batch: object
    layers: tuple = ()

    def rows(self, level, index):
        sums = self.atoms.new_zeros(self.batch.n_mol, self.atoms.shape[1])
        return sums.index_add(0, self.batch.mol_of_atom(), self.atoms)[index]


class Places(Encoder):
    """A line through where atoms and bonds sit."""

    def __init__(self, config: PlacesConfig):
        super().__init__()
        self.config = config
        self.n_block = 1
        self.blocks = nn.ModuleList([nn.Linear(9, 8)])

    def width(self, level):
        return 8

    def forward(self, masked, levels=(), keep_layers=False):
        batch = masked.batch
        ends = batch.bond_ends().flatten()
        commute = batch.bond[BOND].repeat_interleave(2, 0)
        of_bonds = commute.new_zeros(len(batch.numbers), 1).index_add(0, ends, commute)
        places = torch.cat([batch.atom[ATOM], of_bonds], 1)
        return PlacesEncoding(torch.tanh(self.blocks[0](places)), batch)


register_family(PlacesConfig, lambda config: (Places(config), {}))


@pytest.fixture(scope="module")
def shards(untouched_nci, tmp_path_factory):
    """A copy of real molecules, beside which a run keeps encodings."""
    folder = tmp_path_factory.mktemp("encoded") / "nci"
    shutil.copytree(untouched_nci, folder)
    return load_shards(folder)


@pytest.fixture(scope="module")
def config(shards):
    return small_run(
        shards,
        model=PlacesConfig(),
        objective=Supervised(("nci_dipole",)),
        global_batch=16,
        learning_rate=3e-3,
        steps=8,
        n_val=4,
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("places") / "run")


def test_training_keeps_them_beside_the_shards(run, shards):
    kept = load_shards(shards.path)
    assert kept.array_level(ATOM) == "heavy_atom" and kept.array_level(BOND) == "heavy_bond"


def test_smiles_and_shards_kept_or_not_are_answered_alike(run, shards, nci):
    model = load_run(run.path)
    of_smiles = model.embed(nci.smiles())
    of_kept = model.embed(load_shards(shards.path))
    of_others = model.embed(nci)
    assert np.ptp(of_kept, axis=0).min() > 1
    assert np.allclose(of_kept, of_others, atol=1e-4)
    answered = np.isfinite(of_smiles).all(1)
    assert answered.mean() > 0.9
    assert np.allclose(of_kept[answered], of_smiles[answered], atol=1e-4)


def test_a_resumed_run_ends_in_the_same_bits(run, config, tmp_path):
    part = train(config, tmp_path / "part", watch=lambda report: report.step < 4)
    resumed = train(part.path)
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (resumed.path / name).read_bytes() == (run.path / name).read_bytes()
