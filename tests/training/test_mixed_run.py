"""One run of either family learns the tasks of several datasets from the folder of a mix."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from made_mixes import curate_here, write_member, write_mix
from quick_processes import start_together
from test_loop import result_digests, train_apart, train_with_kills
from tiny import SMALL_GRAPH, STEADY, STEADY_GRAPH, small_run

from molnb.data.draws import Sampling
from molnb.evaluation.run_scores import evaluate
from molnb.objectives.supervised import Supervised
from molnb.shards import Shards
from molnb.training.drawing import draw_notes, run_draws
from molnb.training.groups import add_counts
from molnb.training.loop import prepare_run, train
from molnb.training.ranks import Ranks
from molnb.training.rows import open_corpus
from molnb.training.runs import Run, start_run
from molnb.training.session import Session

RINGS = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "c1ccsc1", "C1CCNCC1"]
GROUPS = ["O", "N", "CO", "CN", "CCO", "C#N", "F", "Cl"]
# which of the 48 molecules a member has; what it knows of ring i with group j
MEMBERS = {"ring": (0, 24), "tail": (16, 40), "nitrogen": (30, 48)}


FAMILIES = {"two tracks": STEADY, "graph": STEADY_GRAPH}


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Three datasets that share molecules: two numbers and a class, all of the structure."""
    folder = tmp_path_factory.mktemp("mix")
    molecules = [(i, j) for i in range(len(RINGS)) for j in range(len(GROUPS))]
    values = {
        "ring": lambda i, j: i,
        "tail": lambda i, j: 10 * GROUPS[j].count("O"),
        "nitrogen": lambda i, j: int("n" in (RINGS[i] + GROUPS[j]).lower()),
    }
    for name, (start, end) in MEMBERS.items():
        rows = [
            (
                RINGS[i] + GROUPS[j],
                ("train", "train", "val", "test")[(i + j) % 4],
                values[name](i, j),
            )
            for i, j in molecules[start:end]
        ]
        keys = {}
        if name == "nitrogen":
            task = {"name": "of_nitrogen", "labels": [name], "kind": "binary", "loss": "bce"}
            keys = {"tasks": [task]}
        write_member(folder, name, rows, {name: {}}, **keys)
    return curate_here(folder, write_mix(folder, {name: name for name in MEMBERS}))


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, mix: Shards, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {"steps": 100, "global_batch": 16, "learning_rate": 3e-3, "eval_every": 50}
    if request.param == "graph":
        pytest.importorskip("torch_geometric")
        settings |= {"steps": 300, "eval_every": 150}
    config = small_run(mix, model=FAMILIES[request.param], objective=Supervised(), **settings)
    return train(config, tmp_path_factory.mktemp("run") / "mixed")


def rows_of(run: Run, part: str) -> list[dict]:
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["part"] == part]


def test_the_mix_holds_every_molecule_once_with_all_that_is_known_of_it(mix: Shards) -> None:
    assert mix.n == 48 and mix.manifest["mix"]["apart"] == {"geometry": 0, "side": 0}
    assert mix.manifest["mix"]["joined"] == {"ring+tail": 8, "tail+nitrogen": 10}
    known = {name: label["known"] for name, label in mix.manifest["labels"].items()}
    assert known == {name: end - start for name, (start, end) in MEMBERS.items()}


def test_every_task_of_a_mix_is_learnt_in_one_run(run: Run) -> None:
    before, *_, after = rows_of(run, "train_sample")
    for name in MEMBERS:
        losses = (before[f"of_{name}_loss"], after[f"of_{name}_loss"])
        assert losses[1] < 0.6 * losses[0], f"{name}: {losses}"
    validated = rows_of(run, "val")[-1]
    assert {f"of_{name}_loss" for name in MEMBERS} <= set(validated)


def test_a_run_on_a_mix_is_scored_on_the_test_rows_of_each_member(run: Run, mix: Shards) -> None:
    scores = evaluate(run)
    table = scores.to_string()
    assert all(name in table for name in MEMBERS)
    assert mix.array("split_mix").tolist().count(2) == 12


def test_members_of_a_mix_may_have_weights(mix: Shards) -> None:
    weights = {"ring": 1.0, "tail": 1.0, "nitrogen": 2.0}
    config = small_run(mix, objective=Supervised(), sampling=Sampling(weights=weights))
    corpus = open_corpus(config)
    ids = corpus.ids("train")
    draws = run_draws(corpus, config, ids)
    drawn = np.concatenate([draws.positions(step, 64) for step in range(32)])
    member = [text.partition("+")[0] for text in mix.table(["dataset"])["dataset"].to_pylist()]
    counts = Counter(member[k] for k in ids[drawn])
    assert counts == {"ring": 512, "tail": 512, "nitrogen": 1024}
    (weighed, _) = draw_notes(corpus, config, ids)
    assert "ring 25.0%" in weighed and "nitrogen 50.0%" in weighed
    tempered = replace(config, sampling=Sampling(temperature=float("inf")))
    assert run_draws(corpus, tempered, ids).shares == pytest.approx(np.full(3, 1 / 3))
    by_size = run_draws(corpus, replace(config, sampling=Sampling(temperature=1)), ids)
    assert by_size.probabilities() == pytest.approx(np.full(len(ids), 1 / len(ids)))
    whole = replace(config, sampling=Sampling(weights={mix.name: 1.0}))
    assert len(run_draws(corpus, whole, ids).pools) == 1


def known_tasks(run: Run, step: int, rank: int) -> set[str]:
    """Tasks of which the molecules that one of two processes takes in a step have a label."""
    session = Session(run, "cpu")
    session.ranks = Ranks(rank, 2)
    hands = session.masked_batches(
        session.sample(step), run.config.seed, step, n_hand=2, draw=True, shared=True
    )
    counts = add_counts(hands)
    return {name for name in MEMBERS if counts[f"of_{name}_loss"]}


def test_two_processes_learn_a_mix_as_one_does_where_one_of_them_has_no_label_of_a_task(
    mix: Shards, tmp_path
) -> None:
    pytest.importorskip("torch_geometric")
    settings = {"hands": 2, "steps": 20, "global_batch": 4, "eval_every": 10}
    config = small_run(mix, model=SMALL_GRAPH, objective=Supervised(), **settings)
    alone = train(config, tmp_path / "alone")
    lacking: dict[tuple[bool, bool], set] = {}  # steps and tasks, by which process knows a label
    for step in range(config.steps):
        known = [known_tasks(alone, step, rank) for rank in (0, 1)]
        for name in MEMBERS:
            lacking.setdefault((name in known[0], name in known[1]), set()).add((step, name))
    for one_alone in ((True, False), (False, True)):
        assert {name for _, name in lacking[one_alone]} == set(MEMBERS)
    unknown = lacking[False, False]
    assert unknown, "and a whole step lacks a task"

    together = prepare_run(config, tmp_path / "together")
    ranks = start_together(together.path, 2)
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0, 0] and together.state == "done"
    rows = zip(alone.metrics(), together.metrics(), strict=True)
    for ours, theirs in rows:
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if isinstance(value, float):
                assert theirs[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
            else:
                assert theirs[name] == value, name
    unscored = {
        (row["step"] - 1, name)
        for row in together.metrics("train")
        for name in MEMBERS
        if f"of_{name}_loss" not in row
    }
    assert unscored == unknown


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("layer", ["gine", pytest.param("mpnn", marks=pytest.mark.slow)])
def test_killed_runs_of_graph_networks_end_in_the_same_bits(mix: Shards, tmp_path, kills, layer):
    """With random signs of eigenvectors, dropout everywhere, tasks that few molecules have."""
    pytest.importorskip("torch_geometric")
    config = small_run(
        mix,
        model=replace(SMALL_GRAPH, layer=layer),
        objective=Supervised(),
        steps=40,
        checkpoint_every=3,
        eval_every=10,
    )
    undisturbed = start_run(config, tmp_path / "undisturbed")
    train_apart(undisturbed.path)
    start_run(config, tmp_path / "killed")
    killed = train_with_kills(tmp_path / "killed", kills, seed=kills)
    assert result_digests(killed) == result_digests(undisturbed)
