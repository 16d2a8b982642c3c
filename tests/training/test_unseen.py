"""Features that training never saw are listed, contribute zero from the first step to the last,
and are named.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from molnb.training.unseen import ATOM_VALUES, BOND_VALUES, TABLES, Unseen, find_seen, row_names

from molnb.data.batch import pad
from molnb.data.dataset import Corpus
from molnb.models.unimol2.config import MOLNB, REFERENCE, TwoTrackConfig
from molnb.models.unimol2.inputs import MASK_TOKEN, encode
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import train

SMALL = TwoTrackConfig(1, 16, 2, 16, 8, 4, n_kernel=8)


def config(nci, **changes) -> RunConfig:
    start = dict(
        name="t",
        data=(str(nci.path),),
        model=SMALL,
        steps=4,
        global_batch=16,
        n_val=4,
        learning_rate=1e-2,
    )
    return RunConfig(**(start | dict(weight_decay=0.1, warmup_steps=1) | changes))


@pytest.fixture(scope="module")
def run(nci, tmp_path_factory):
    return train(config(nci), tmp_path_factory.mktemp("unseen"))


def test_names_follow_the_value_lists_of_the_features() -> None:
    features = pytest.importorskip("molnb.chemistry.features")
    assert [len(values) for _, values in ATOM_VALUES] == list(features.ATOM_FEATURE_SIZES[:8])
    assert [len(values) for _, values in BOND_VALUES] == list(features.BOND_FEATURE_SIZES)
    elements = row_names()["tokens"]
    table = features.Chem.GetPeriodicTable()
    assert all(elements[z] == f"element: {table.GetElementSymbol(z)}" for z in range(1, 119))
    assert row_names(False)["features"][7] == "chirality: OCTAHEDRAL"


def test_what_is_seen_is_what_the_encoder_would_look_up(nci) -> None:
    """Counted from flat arrays and bounds, against the plain way: encode everything and look."""
    corpus = Corpus([nci])
    ids = corpus.ids("train")
    found = find_seen(corpus, ids, Pretrain(), MOLNB)
    codes = encode(pad(corpus.batch(ids)), MOLNB)
    both = codes.real[:, :, None] & codes.real[:, None]
    plain = {
        "tokens": codes.tokens[codes.real],
        "degrees": codes.degree[codes.real],
        "hops": codes.hops[both],
    }
    plain["features"] = codes.feats[codes.real].flatten()
    for table, rows in plain.items():
        hidden = {MASK_TOKEN} if table == "tokens" else {511} if table == "hops" else {1}
        assert set(np.flatnonzero(found[table])) - hidden == set(rows.tolist()), table


def test_hidden_rows_count_as_seen_where_the_objective_hides(nci) -> None:
    corpus = Corpus([nci])
    ids = corpus.ids("train")[:4]
    asked = {
        "both": Pretrain(),
        "no mask": Pretrain(mask_share=0.0),
        "no drop": Pretrain(drop_features=0.0),
        "labels": Supervised(),
    }
    seen = {name: find_seen(corpus, ids, objective, MOLNB) for name, objective in asked.items()}
    assert [seen[k]["tokens"][MASK_TOKEN] for k in asked] == [True, False, True, False]
    assert [seen[k]["features"][1] for k in asked] == [True, True, False, False]
    always = find_seen(corpus, ids, Pretrain(drop_features=1.0), MOLNB)
    assert set(np.flatnonzero(always["features"])) == {1} and set(
        np.flatnonzero(always["hops"])
    ) == {511}


def test_unseen_rows_are_zero_after_training_with_weight_decay(run) -> None:
    names, encoder = run.unseen(), run.load_model().encoder
    assert {"element: U", "path: none", "charge: 5"} <= set(names) and "element: C" not in names
    unseen = Unseen.named(names)
    carbon_chain = {"tokens": 6, "features": 3, "degrees": 3, "bonds": 4, "hops": 2}
    for table in TABLES:
        weight, rows = getattr(encoder, table).weight, torch.from_numpy(unseen.rows[table])
        assert rows.any() and not weight[rows].any() and weight[carbon_chain[table]].all()
    assert torch.all(encoder.kernel.mul.weight[1 + 92] != 0), "distances to uranium are still read"


def test_the_list_is_readable_and_says_the_same_again(run) -> None:
    names = json.loads((run.path / "unseen.json").read_text())["unseen"]
    assert Unseen.named(names).names() == names
    assert [n for n in names if n.startswith("path: over")] and sum(
        n.startswith("path") for n in names
    ) < 10


def test_a_run_inherits_what_the_one_before_had_not_seen_either(run, nci, tmp_path) -> None:
    few = config(
        nci, objective=Supervised(("nci_dipole",)), n_train=3, steps=1, start_from=str(run.path)
    )
    later = train(few, tmp_path / "later")
    assert set(later.unseen()) <= set(run.unseen()), "what pretraining saw is not forgotten"
    alone = train(replace(few, start_from=None), tmp_path / "alone")
    assert len(alone.unseen()) > len(later.unseen())
    wide = config(
        nci,
        objective=Supervised(("nci_dipole",)),
        steps=1,
        start_from=str(alone.path),
        frozen_layers=1,
    )
    assert train(wide, tmp_path / "frozen").unseen() == alone.unseen(), (
        "frozen rows stay zero, whatever is seen"
    )


def test_the_reference_convention_and_older_runs_keep_their_rows(run, nci, tmp_path) -> None:
    old = replace(SMALL, conventions=REFERENCE)
    assert train(config(nci, model=old, steps=1), tmp_path / "reference").unseen() == ()
    started = train(
        config(nci, steps=8, checkpoint_every=2),
        tmp_path / "old",
        watch=lambda report: report.step < 3,
    )
    (started.path / "unseen.json").unlink()
    assert train(started).unseen() == (), "a run begun before there were lists has none"


def test_a_molecule_with_unseen_features_says_so(run) -> None:
    prepared = pytest.importorskip("molnb.inference.featurizer")
    unseen = Unseen.named(run.unseen())
    batch = prepared.flat_batch(
        [prepared.featurize(s) for s in ("CCO", "CC[Se]C", "C" * 40)], False
    )
    plain, selenium, chain = unseen.notes(batch)
    assert plain == () and selenium == ("element: Se",)
    assert chain == (f"path: over {unseen.longest_path} bonds",)
    assert Unseen.named(()).notes(batch) == [()] * 3
    fewer = {"n_bonds": batch.n_bonds - torch.tensor([1, 0, 0]), "bond_feats": batch.bond_feats[1:]}
    assert "path: none" in unseen.notes(replace(batch, bonds=batch.bonds[1:], **fewer))[0]
