"""Runs of graph networks on the CPU and on a GPU: learnt, resumed on another device, scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_shards import LEVELS, make_shards
from on_devices import DEVICES
from tiny import SMALL_GRAPH, STEADY_GRAPH, small_run

pytest.importorskip("torch_geometric")
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.shards import Shards
from molnb.training.loop import Session, score, train, validation_batches
from molnb.training.runs import Run

ON_GPU = pytest.mark.gpu
# where a run begins, and where it goes on
JOURNEYS = [
    ("cpu", "cpu"),
    pytest.param("cuda", "cpu", marks=ON_GPU),
    pytest.param("cpu", "cuda", marks=ON_GPU),
    pytest.param("cuda", "cuda", marks=ON_GPU),
]
# nothing is drawn: no dropout, and no signs
UNSIGNED = replace(STEADY_GRAPH, encodings=("eigengroups_4",))
# states of bonds and molecules, messages and attention
NETWORKS = {
    "mpnn": replace(UNSIGNED, layer="mpnn"),
    "gps": replace(UNSIGNED, layer="gps", pair_encodings=("hops",)),
}
TASKS = tuple(f"of_{level}" for level in LEVELS)


@pytest.fixture
def trees(tmp_path: Path) -> Shards:
    return make_shards(tmp_path / "trees")


def losses(run: Run) -> list[float]:
    """The loss of every step and every validation, in their order."""
    return [row["loss"] for row in run.metrics()]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("first", "second"), JOURNEYS)
def test_a_run_stopped_on_one_device_goes_on_on_another(first, second, network, trees, tmp_path):
    config = small_run(
        trees, model=NETWORKS[network], objective=Pretrain(), precision="float32", n_val=8
    )
    whole = train(config, tmp_path / "whole", device=first)
    stopped = train(config, tmp_path / "parts", lambda report: report.step < 6, device=first)
    assert stopped.status()["step"] == 6
    resumed = train(stopped, device=second)
    assert resumed.state == "done"
    if first == second == "cpu":
        assert losses(resumed) == losses(whole)
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-3)
    assert len(losses(resumed)) == len(losses(whole))


@pytest.mark.parametrize("device", DEVICES)
def test_labels_of_all_levels_are_learnt_in_bfloat16_with_dropout_and_signs(
    device, trees, tmp_path
):
    """Distances of pairs do not follow from a graph and are not expected to be learnt."""
    config = small_run(
        trees,
        model=replace(SMALL_GRAPH, layer="mpnn", input_dropout=0.0, n_kernel=8),
        objective=Supervised(TASKS),
        precision="bfloat16",
        n_train=8,
        steps=120,
        learning_rate=4e-3,
        eval_every=120,
        checkpoint_every=120,
    )
    run = train(config, tmp_path / "run", device=device)
    rows = run.metrics("train")
    for task in TASKS[:3]:
        early = sum(row[f"{task}_loss"] for row in rows[:5])
        late = sum(row[f"{task}_loss"] for row in rows[-5:])
        assert late < 0.7 * early, task


@pytest.mark.parametrize("device", DEVICES)
def test_validation_scores_are_those_of_the_cpu(device, trees, tmp_path):
    """Signs of eigenvectors are not drawn there."""
    config = small_run(
        trees, model=STEADY_GRAPH, objective=Supervised(TASKS), precision="float32", steps=4
    )
    run = train(config, tmp_path / "run", device=device)
    session = Session(run, "cpu")
    (examined,) = validation_batches(session)
    exact = score(run.load_model(), session.objective, examined.groups, session.device)
    (row,) = (row for row in run.metrics("val") if row["step"] == 4)
    assert exact and {name: row[name] for name in exact} == pytest.approx(exact, rel=1e-4)
