"""Features that training never saw are counted out, contribute nothing, and are named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY

from molnb.data.batch import pad
from molnb.data.dataset import Corpus
from molnb.data.masked import unmasked
from molnb.inference.predictor import load_run
from molnb.models.unimol2.config import MOLNB, REFERENCE
from molnb.models.unimol2.encoder import TwoTrack
from molnb.models.unimol2.inputs import HIDDEN_HOP_ROW, HIDDEN_ROW, MASK_TOKEN, table_rows
from molnb.models.unimol2.vocabulary import (
    LONGEST_PATH,
    TABLES,
    longest_path,
    names_of_rows,
    row_names,
    unseen_in,
)
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.runs import make_model
from molnb.vocabulary import ATOM_VALUES, BOND_VALUES


def rows_of_names(names: Iterable[str]) -> dict[str, np.ndarray]:
    """Undo `names_of_rows`, for an encoder that reads parities."""
    all_names = set(names)
    for name in list(all_names):
        longer = re.fullmatch(r"path: over (\d+) bonds", name)
        if longer:
            all_names |= {f"path: {n} bonds" for n in range(int(longer[1]) + 1, LONGEST_PATH + 1)}
    masks = {}
    for table, name_of_row in row_names().items():
        masks[table] = np.zeros(TABLES[table], bool)
        masks[table][[row for row, name in name_of_row.items() if name in all_names]] = True
    return masks


def config(nci, **changes) -> RunConfig:
    settings = {
        "name": "t",
        "data": (str(nci.path),),
        "model": TINY,
        "steps": 8,
        "global_batch": 32,
        "n_val": 4,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "warmup_steps": 1,
    }
    return RunConfig(**(settings | changes))


@pytest.fixture(scope="module")
def run(nci, tmp_path_factory):
    return train(config(nci), tmp_path_factory.mktemp("unseen"))


def seen_by(run) -> dict[str, set[int]]:
    """The rows of each table that a run's training asked for."""
    seen = run.load_model().encoder.seen
    return {
        table: set(torch.nonzero(seen.get_buffer(table)).flatten().tolist()) for table in TABLES
    }


def test_names_follow_the_value_lists_of_the_features() -> None:
    features = pytest.importorskip("molnb.chemistry.features")
    assert [len(values) for _, values in ATOM_VALUES] == list(features.ATOM_FEATURE_SIZES[:8])
    assert [len(values) for _, values in BOND_VALUES] == list(features.BOND_FEATURE_SIZES[:3])
    elements = row_names()["tokens"]
    table = features.Chem.GetPeriodicTable()
    assert all(elements[z] == f"element: {table.GetElementSymbol(z)}" for z in range(1, 119))
    assert row_names(False)["features"][7] == "chirality: OCTAHEDRAL"


def test_what_is_seen_is_what_the_encoder_looked_up(run, nci) -> None:
    """Several epochs have shown every training molecule, with and without its features."""
    corpus = Corpus([nci])
    inputs = table_rows(pad(corpus.batch(corpus.ids("train"))), MOLNB)
    real = inputs.real
    rows = {
        "tokens": inputs.tokens[real],
        "degrees": inputs.degree[real],
        "features": inputs.feats[real].flatten(),
        "hops": inputs.hops[real[:, :, None] & real[:, None]],
    }
    withheld = {"tokens": {MASK_TOKEN}, "hops": {HIDDEN_HOP_ROW}}
    for table, asked_for in rows.items():
        hidden = withheld.get(table, {HIDDEN_ROW})
        assert seen_by(run)[table] - {0} == set(asked_for.tolist()) | hidden, table


def test_hidden_rows_count_as_seen_where_the_objective_hides(nci, tmp_path) -> None:
    objectives = {
        "both": Pretrain(),
        "no mask": Pretrain(mask_share=0.0),
        "no drop": Pretrain(drop_features=0.0),
        "of hidden atoms": Pretrain(drop_features=0.0, hide_features=True),
        "labels": Supervised(("nci_dipole",)),
    }
    runs = {
        name: train(config(nci, objective=objective, steps=2), tmp_path / name)
        for name, objective in objectives.items()
    }
    masks = [MASK_TOKEN in seen_by(run)["tokens"] for run in runs.values()]
    assert masks == [True, False, True, True, False]
    drops = [HIDDEN_ROW in seen_by(run)["features"] for run in runs.values()]
    assert drops == [True, True, False, True, False]
    always = train(config(nci, objective=Pretrain(drop_features=1.0), steps=1), tmp_path / "always")
    assert seen_by(always)["features"] - {0} == {HIDDEN_ROW}
    assert seen_by(always)["hops"] - {0} == {HIDDEN_HOP_ROW}


def test_crops_are_counted_as_they_come(nci, tmp_path) -> None:
    """Pieces have degrees and paths of their own, another piece at every step."""
    pieces = train(config(nci, max_atoms=3), tmp_path / "pieces")
    whole = train(config(nci), tmp_path / "whole")
    longest = [max(seen_by(run)["hops"] - {HIDDEN_HOP_ROW}) for run in (pieces, whole)]
    assert longest[0] == 3 < longest[1]


def test_unseen_rows_are_zero_after_training_with_weight_decay(run) -> None:
    encoder = run.load_model().encoder
    names = run.unseen()
    assert {"element: U", "path: none", "charge: 5"} <= set(names) and "element: C" not in names
    unseen = rows_of_names(names)
    carbon_chain = {"tokens": 6, "features": 3, "degrees": 3, "bonds": 4, "hops": 2}
    for table in TABLES:
        weight = getattr(encoder, table).weight
        rows = torch.from_numpy(unseen[table])
        assert rows.any() and not weight[rows].any() and weight[carbon_chain[table]].all()
    assert torch.all(encoder.kernel.mul.weight[1 + 92] != 0), "distances to uranium are still read"


def test_names_say_the_same_again(run) -> None:
    names = run.unseen()
    assert names_of_rows(rows_of_names(names)) == list(names)
    paths = [name for name in names if name.startswith("path")]
    assert any(name.startswith("path: over") for name in paths) and len(paths) < 10


def test_of_an_encoder_that_nobody_trained_all_rows_count(nci) -> None:
    model = make_model(config(nci)).eval()
    assert model.encoder.unseen_features() == []
    batch = Corpus([nci]).batch(np.arange(4))
    with torch.no_grad():
        encoding = model.encoder(unmasked(batch))
    assert float(encoding.molecule.std()) > 0


def test_a_row_first_seen_late_starts_as_it_would_have(nci, tmp_path, monkeypatch) -> None:
    """Counting changes no number of training: the same bits as with all rows in use."""
    counted = train(config(nci, steps=4), tmp_path / "counted")
    monkeypatch.setattr(TwoTrack, "begin_training", lambda self: None)
    free = train(config(nci, steps=4), tmp_path / "free")
    assert free.unseen() == () != counted.unseen()
    losses = [[row["loss"] for row in run.metrics("train")] for run in (counted, free)]
    assert losses[0] == losses[1]


def test_a_run_inherits_what_the_one_before_had_not_seen_either(run, nci, tmp_path) -> None:
    dipoles = dict(objective=Supervised(("nci_dipole",)), steps=1)
    few = config(nci, **dipoles, n_train=3, start_from=str(run.path))
    later = train(few, tmp_path / "later")
    assert set(later.unseen()) <= set(run.unseen()), "what pretraining saw is not forgotten"
    alone = train(replace(few, start_from=None), tmp_path / "alone")
    assert len(alone.unseen()) > len(later.unseen())
    frozen = config(nci, **dipoles, start_from=str(alone.path), frozen_layers=1)
    assert train(frozen, tmp_path / "frozen").unseen() == alone.unseen(), "nothing new is learnt"


def test_counts_survive_being_stopped_and_resumed(nci, tmp_path) -> None:
    whole = train(config(nci, checkpoint_every=2), tmp_path / "whole")
    part = train(config(nci, checkpoint_every=2), tmp_path / "part", watch=lambda r: r.step < 3)
    assert set(whole.unseen()) <= set(part.unseen())
    assert train(part.path).unseen() == whole.unseen()


def test_the_reference_convention_knows_no_such_rule(nci, tmp_path) -> None:
    reference = replace(TINY, conventions=REFERENCE)
    run = train(config(nci, model=reference, steps=1), tmp_path / "reference")
    assert run.unseen() == () and not any("seen" in name for name in run.load_model().state_dict())


def test_a_molecule_with_unseen_features_says_so(run) -> None:
    featurizer = pytest.importorskip("molnb.inference.featurizer")
    unseen = rows_of_names(run.unseen())
    smiles = ("CCO", "CC[Se]C", "C" * 40)
    batch = featurizer.flat_batch([featurizer.featurize(s) for s in smiles], hydrogens=False)
    plain, selenium, chain = load_run(run.path).model.encoder.unseen_in(batch)
    assert plain == () and selenium == ("element: Se",)
    assert chain == (f"path: over {longest_path(unseen)} bonds",)
    assert unseen_in(rows_of_names(()), batch) == [()] * 3
    fewer = batch.with_arrays("molecule", {"n_bonds": batch.n_bonds - torch.tensor([1, 0, 0])})
    bonds = {"bonds": batch.bonds[1:], "bond_feats": batch.bond_feats[1:]}
    assert "path: none" in unseen_in(unseen, fewer.with_arrays("bond", bonds))[0]
