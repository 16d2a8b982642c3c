"""A further family of encoders: one file, one line to register it, and everything works for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from laws import Laws
from tiny import small_run
from torch import nn

from molnb import (
    Encoder,
    EncoderConfig,
    Pretrain,
    RunConfig,
    Supervised,
    load_run,
    load_runs,
    make_preset,
    register_family,
    runs_table,
    train,
)
from molnb.data.masked import unmasked
from molnb.errors import InputError
from molnb.inference.featurizer import flat_batch
from molnb.models.families import FAMILIES, count_parameters
from molnb.models.heads import TokenHead

# ------------------------------------------------------------------------------------- the family


@dataclass(frozen=True)
class SumConfig(EncoderConfig):
    family: ClassVar[str] = "neighbour_sum"
    width: int = 16
    n_layer: int = 2


class SumEncoding(NamedTuple):
    atoms: torch.Tensor
    batch: object
    layers: tuple = ()

    def rows(self, level, index):
        if level == "atom":
            return self.atoms[index]
        if level == "bond":
            return self.atoms[self.batch.bond_ends()[index]].sum(1)
        if level == "pair":
            ends = self.batch.first_atom()[index[:, 0]][:, None] + index[:, 1:]
            return self.atoms[ends].sum(1)
        sums = self.atoms.new_zeros(self.batch.n_mol, self.atoms.shape[1])
        return sums.index_add(0, self.batch.mol_of_atom(), self.atoms)[index]


class NeighbourSum(Encoder):
    def __init__(self, config: SumConfig):
        super().__init__()
        self.config = config
        self.n_block = config.n_layer
        self.elements = nn.Embedding(128, config.width)
        self.blocks = nn.ModuleList(
            nn.Linear(config.width, config.width) for _ in range(self.n_block)
        )

    def width(self, level):
        return self.config.width

    def forward(self, masked, levels=(), keep_layers=False):
        batch = masked.batch
        ends = batch.bond_ends()
        x = self.elements(torch.where(masked.hidden, 127, batch.numbers.long()))
        for block in self.blocks:
            neighbours = x[ends.flip(1)].flatten(0, 1)
            x = x + torch.tanh(block(torch.zeros_like(x).index_add(0, ends.flatten(), neighbours)))
        return SumEncoding(x, batch)


register_family(SumConfig, lambda c: (NeighbourSum(c), {"tokens": TokenHead(c.width)}))


# --------------------------------------------------------------------------------- that is all


class TestLaws(Laws):
    moves_atoms = False

    def outputs(self, molecules, length=None):
        torch.manual_seed(0)
        encoder = NeighbourSum(SumConfig())
        batch = flat_batch(molecules, hydrogens=False)
        with torch.no_grad():
            encoding = encoder(unmasked(batch))
        vectors = encoding.rows("molecule", torch.arange(batch.n_mol))
        atoms = encoding.atoms.split(batch.n_atoms.tolist())
        coords = batch.coords.split(batch.n_atoms.tolist())
        return list(zip(vectors, atoms, coords))


def pretraining(nci, **changes) -> RunConfig:
    settings = {
        "name": "toy",
        "model": SumConfig(),
        "objective": Pretrain(),
        "global_batch": 16,
        "eval_every": 4,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
    }
    return small_run(nci, **(settings | changes))


@pytest.fixture(scope="module")
def pretrained(nci, tmp_path_factory):
    return train(pretraining(nci, steps=40), tmp_path_factory.mktemp("toy") / "pretrained")


def test_it_pretrains_on_masked_atoms_and_the_loss_falls(pretrained):
    first, *_, last = pretrained.metrics("val", "visible")
    assert last["token_ce_nats"] < 0.8 * first["token_ce_nats"]
    assert "coord_l1_angstrom" not in last, "it has no head that moves atoms"


def test_it_is_fine_tuned_on_all_levels_and_frozen_by_depth(pretrained, nci, tmp_path):
    tasks = ("nci_dipole", "nci_charges", "nci_bond_orders", "nci_pair_orders")
    config = pretraining(nci, objective=Supervised(tasks), start_from=str(pretrained.path))
    tuned = train(replace(config, frozen_layers=2, layer_decay=0.5), tmp_path / "tuned")
    before, after = (run.load_model().encoder.state_dict() for run in (pretrained, tuned))
    assert all(torch.equal(before[name], after[name]) for name in before)
    table = load_run(tuned.path).predict(["CCO", "C("])
    columns = ["dipole_D", "charge_mulliken_e", "wiberg", "wiberg_pair"]
    assert list(table) == ["smiles", *columns, "error"]
    assert [len(cell) for cell in table.loc[0, columns[1:]]] == [3, 2, 3]


def test_it_is_resumed_in_the_same_bits(nci, tmp_path):
    whole = train(pretraining(nci), tmp_path / "whole")
    part = train(pretraining(nci), tmp_path / "part", watch=lambda report: report.step < 5)
    assert part.state == "stopped"
    for name in ("weights.safetensors", "metrics.jsonl"):
        resumed = train(part.path).path / name
        assert resumed.read_bytes() == (whole.path / name).read_bytes()


def test_it_embeds_smiles_and_shards_of_all_levels(pretrained, nci):
    model = load_run(pretrained.path)
    vectors = model.embed(["CCO", "OCC", "CCN"])
    assert vectors.shape == (3, 16) and np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert [a.shape for a in model.embed(["CCO"], "atom")] == [(3, 16)]
    assert [a.shape for a in model.embed(["CCO"], "pair")] == [(3, 3, 16)]
    assert model.embed(nci).shape == (nci.n, 16)


def test_runs_list_it_and_presets_take_it_over(pretrained):
    table = runs_table(pretrained.path.parent)
    assert table["family"].tolist() == ["neighbour_sum"]
    assert table["N"].tolist() == [count_parameters(SumConfig()).n] == [2 * 16 * 17]
    config = make_preset("finetune_tiny", ["somewhere"], start_from=str(pretrained.path))
    assert config.model == SumConfig()
    assert load_runs(pretrained.path.parent)[0].config == pretrained.config


def test_parameters_flops_and_depths_come_with_the_interface():
    encoder = NeighbourSum(SumConfig())
    assert encoder.count_flops(9, 9) == 2 * encoder.count_parameters().n * 9
    assert [encoder.depth_of(name) for name, _ in encoder.named_parameters()] == [0, 1, 1, 2, 2]


def test_of_two_families_neither_starts_from_the_other(pretrained, nci, tmp_path):
    config = make_preset("pretrain_tiny", [nci], steps=1)
    other = replace(config, start_from=str(pretrained.path))
    with pytest.raises(InputError, match=r"another architecture \(family differ\)"):
        train(other, tmp_path / "other")


def test_a_name_is_taken_once_and_an_unknown_one_is_refused(pretrained, tmp_path):
    @dataclass(frozen=True)
    class Impostor(EncoderConfig):
        family: ClassVar[str] = "neighbour_sum"

    with pytest.raises(InputError, match="there is a family 'neighbour_sum' already"):
        register_family(Impostor, lambda config: None)
    family = FAMILIES.pop("neighbour_sum")
    try:
        with pytest.raises(InputError, match="unknown family of encoders 'neighbour_sum'.*import"):
            load_run(pretrained.path)
    finally:
        FAMILIES["neighbour_sum"] = family
