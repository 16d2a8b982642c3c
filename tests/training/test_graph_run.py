"""Runs of graph networks: learnt, resumed in the same bits, fine-tuned, answered from SMILES."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import SMALL_GRAPH, STEADY_GRAPH, small_run

pytest.importorskip("torch_geometric")
from molnb.inference.predictor import load_run
from molnb.models.heads import LabelHead
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.training.loop import train
from molnb.training.overrides import change
from molnb.training.runs import runs_table

TASKS = ("nci_dipole", "nci_charges", "nci_bond_orders", "nci_pair_orders")


@pytest.fixture(scope="module")
def pretrained(nci, tmp_path_factory):
    config = small_run(
        nci,
        model=STEADY_GRAPH,
        objective=Pretrain(drop_features=0.0),
        steps=60,
        global_batch=16,
        learning_rate=5e-3,
        eval_every=60,
    )
    return train(config, tmp_path_factory.mktemp("graph") / "pretrained")


def test_masked_atoms_are_learnt_and_coordinates_are_not_asked_for(pretrained):
    first, last = pretrained.metrics("val", "visible")
    assert last["token_ce_nats"] < 0.6 * first["token_ce_nats"]
    assert "coord_l1_angstrom" not in last


def test_it_is_fine_tuned_on_all_levels_with_lower_layers_frozen(pretrained, nci, tmp_path):
    config = small_run(
        nci, model=STEADY_GRAPH, objective=Supervised(TASKS), start_from=str(pretrained.path)
    )
    tuned = train(replace(config, frozen_layers=1, layer_decay=0.5), tmp_path / "tuned")
    before, after = (run.load_model().encoder for run in (pretrained, tuned))
    for name, weight in before.state_dict().items():
        same = torch.equal(weight, after.state_dict()[name])
        is_free = name.startswith(("blocks.1", "molecule."))
        assert same or is_free, name
    assert not torch.equal(before.molecule.weight, after.molecule.weight)
    table = load_run(tuned.path).predict(["CCO", "OCC", "C("])
    assert table["error"].notna().tolist() == [False, False, True]
    assert np.isclose(table["dipole_D"][0], table["dipole_D"][1], rtol=1e-4)
    assert [len(cell) for cell in table.loc[0, ["charge_mulliken_e", "wiberg"]]] == [3, 2]


def test_shards_and_smiles_get_the_same_answer(pretrained, nci):
    model = load_run(pretrained.path)
    stored = model.embed(nci)[:20]
    written = model.embed(nci.smiles()[:20])
    assert np.allclose(stored, written, atol=1e-4)


def test_runs_are_listed_with_their_family_and_size(pretrained):
    (row,) = runs_table(pretrained.path.parent).to_dict("records")
    encoder = pretrained.load_model().encoder
    assert row["family"] == "graph" and row["N"] == encoder.count_parameters().n


def test_parts_of_the_network_are_changed_by_name(nci):
    config = small_run(nci, model=SMALL_GRAPH)
    changed = change(
        config,
        {
            "model.layer": "gps",
            "model.pair_encodings": "hops,commute",
            "model.encodings": "eigengroups_4",
            "model.d_atom": "32",
        },
    )
    assert changed.model.pair_encodings == ("hops", "commute")
    assert changed.model.encodings == ("eigengroups_4",)


def test_weights_of_another_layer_are_refused(pretrained, nci, tmp_path):
    from molnb.errors import InputError

    config = small_run(
        nci, model=replace(STEADY_GRAPH, layer="gin"), start_from=str(pretrained.path)
    )
    with pytest.raises(InputError, match=r"another architecture \(layer differ\)"):
        train(config, tmp_path / "other")


def test_unseen_features_are_named_in_answers(pretrained):
    (row,) = load_run(pretrained.path).embedding_rows(["CC[Te]C"], "molecule")
    assert "element: Te" in row.unseen


def test_heads_read_every_level_of_a_graph_network(pretrained):
    model = pretrained.load_model()
    assert not any(isinstance(head, LabelHead) for head in model.heads.values())
    assert {
        level: model.encoder.width(level) for level in ("molecule", "atom", "bond", "pair")
    } == {
        "molecule": 24,
        "atom": 24,
        "bond": 56,
        "pair": 48,
    }
