"""A run learns, stops, resumes, moves to another device and cleans up, on the CPU and on a GPU."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
from made_shards import LEVELS, make_shards
from on_devices import DEVICES
from tiny import STEADY, small_run

import molnb.objectives.pretraining
from molnb.data.sampling import sample_ids
from molnb.errors import InputError
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.shards import Shards
from molnb.training import loop
from molnb.training.config import RunConfig
from molnb.training.device import choose_device
from molnb.training.loop import Session, score, train, validation_batches
from molnb.training.runs import Run, start_run

ON_GPU = pytest.mark.gpu
# where a run begins, and where it goes on
JOURNEYS = [
    ("cpu", "cpu"),
    pytest.param("cuda", "cpu", marks=ON_GPU),
    pytest.param("cpu", "cuda", marks=ON_GPU),
    pytest.param("cuda", "cuda", marks=ON_GPU),
]


@pytest.fixture
def trees(tmp_path: Path) -> Shards:
    return make_shards(tmp_path / "trees")


def steady_run(shards: Shards, **changes) -> RunConfig:
    """`small_run` in float32 without dropout but that of the head that moves atoms."""
    return small_run(shards, **({"model": STEADY, "precision": "float32", "n_val": 8} | changes))


def losses(run: Run) -> list[float]:
    """The loss of every step and every validation, in their order."""
    return [row["loss"] for row in run.metrics()]


@pytest.mark.parametrize("device", DEVICES)
def test_four_molecules_are_learnt_by_heart_in_bfloat16(device, trees, tmp_path):
    config = steady_run(
        trees,
        precision="bfloat16",
        objective=Pretrain(drop_features=0.0, coord_weight=0.0, distance_weight=0.0),
        n_train=4,
        steps=120,
        learning_rate=4e-3,
        eval_every=120,
        checkpoint_every=120,
    )
    rows = train(config, tmp_path / "run", device=device).metrics("train")
    early = sum(row["loss"] for row in rows[:10])
    late = sum(row["loss"] for row in rows[-10:])
    assert late < 0.4 * early


@pytest.mark.parametrize("device", DEVICES)
def test_labels_of_all_levels_are_fine_tuned_from_a_pretrained_run(device, trees, tmp_path):
    before = train(steady_run(trees), tmp_path / "before", device=device)
    tasks = tuple(f"of_{level}" for level in LEVELS)
    config = steady_run(
        trees,
        objective=Supervised(tasks),
        start_from=str(before.path),
        precision="auto",
        n_train=8,
        steps=80,
        learning_rate=4e-3,
        eval_every=80,
    )
    run = train(config, tmp_path / "after", device=device)
    rows = run.metrics("train")
    for level in LEVELS:
        early = sum(row[f"of_{level}_loss"] for row in rows[:5])
        late = sum(row[f"of_{level}_loss"] for row in rows[-5:])
        assert late < 0.7 * early, level
    assert run.last()[f"{LEVELS[0]}_label_mae_eV"] > 0


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_says_what_it_cost_there(device, trees, tmp_path):
    run = train(steady_run(trees, precision="auto", steps=4), tmp_path / "run", device=device)
    on_cpu = train(steady_run(trees, steps=4), tmp_path / "cpu", device="cpu")
    cost = run.status()
    assert cost["flops"] == on_cpu.status()["flops"], "padding is apart"
    assert cost["padding_flops"] > 0 and cost["bytes"] > 0 and cost["peak_mib"] > 0
    assert cost["matrix_rate"] > 1e8 and 0 < cost["rate_share"] < 1
    assert cost["energy_wh"] is None or cost["energy_wh"] >= 0


@pytest.mark.parametrize("device", DEVICES)
def test_validation_scores_are_those_of_the_cpu(device, trees, tmp_path):
    run = train(steady_run(trees, steps=4), tmp_path / "run", device=device)
    session = Session(run, "cpu")
    model = run.load_model()
    for examined in validation_batches(session):
        exact = score(model.double(), session.objective, examined.groups, session.device)
        moved = model.float().to(device)
        scores = score(moved, session.objective, examined.groups, choose_device(device))
        assert scores == pytest.approx(exact, rel=1e-4)
        (row,) = (row for row in run.metrics("val", examined.features) if row["step"] == 4)
        assert {name: row[name] for name in scores} == pytest.approx(exact, rel=1e-4)
        model = moved.cpu()


# -------------------------------------------------------------------------------- stopped, resumed


@pytest.mark.parametrize(("first", "second"), JOURNEYS)
@pytest.mark.parametrize(
    ("options", "limit"),
    # muon rounds more on a GPU
    [({}, 1e-3), ({"optimizer": "muon", "ema_decay": 0.9}, 1e-2)],
    ids=["adamw", "muon, averaged"],
)
def test_a_run_stopped_on_one_device_goes_on_on_another(
    first, second, options, limit, trees, tmp_path
):
    """The same losses up to rounding: weights, moments and the count of steps have all come along.

    Movement alone has dropout that no configuration stops, so only masked atoms are learnt.
    """
    tokens_alone = Pretrain(coord_weight=0.0, distance_weight=0.0)
    config = steady_run(trees, objective=tokens_alone, checkpoint_every=3, **options)
    whole = train(config, tmp_path / "whole", device=first)
    stopped = train(config, tmp_path / "parts", lambda report: report.step < 6, device=first)
    assert stopped.status()["step"] == 6
    resumed = train(stopped, device=second)
    assert resumed.state == "done"
    if first == second == "cpu":
        assert losses(resumed) == losses(whole)
    assert losses(resumed) == pytest.approx(losses(whole), rel=limit)
    assert len(losses(resumed)) == len(losses(whole))


# on a CPU test_loop shows more in every run of tests
@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
def test_a_killed_run_goes_on_with_the_samples_of_one_that_was_left_alone(device, trees, tmp_path):
    """What each step learns from is a function of its number, on every device."""
    tokens_alone = Pretrain(coord_weight=0.0, distance_weight=0.0)
    config = steady_run(trees, objective=tokens_alone, checkpoint_every=2, steps=60)
    whole = train(config, tmp_path / "whole", device=device)
    killed = start_run(config, tmp_path / "killed")
    kill_at_step(killed, 10, device)
    assert killed.state == "killed" and killed.status()["step"] >= 10
    used = []

    class Watched(Session):
        def masked_batches(self, ids, seed, step, *settings, **names):
            if step >= 0:  # validation has a step of its own
                used.append((step, ids.tolist()))
            return super().masked_batches(ids, seed, step, *settings, **names)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "Session", Watched)
        resumed = train(killed, device=device)
    train_ids = Session(whole, "cpu").train_ids
    assert used[0][0] >= 10 and used[-1][0] == 59
    for step, ids in used:
        assert ids == train_ids[sample_ids(config.seed, step, 8, len(train_ids))].tolist()
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-2)


def kill_at_step(run: Run, step: int, device: str) -> None:
    """Train in a child process and kill it once its status names this step or a later one."""
    code = f"from molnb import train; train({str(run.path)!r}, device={device!r})"
    child = subprocess.Popen([sys.executable, "-c", code])
    began = time.time()
    while run.status().get("step", 0) < step:
        assert child.poll() is None, "it must not end before it is killed"
        assert time.time() - began < 120
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


@pytest.mark.gpu
def test_a_compiled_bfloat16_run_resumed_on_a_gpu_stays_within_what_seeds_differ_by(
    trees, tmp_path
):
    settings = {"precision": "bfloat16", "compile": True}
    check_resumed_within_seeds(trees, tmp_path, steps=150, device="cuda", **settings)


@pytest.mark.slow
def test_a_resumed_run_stays_within_what_seeds_differ_by(trees, tmp_path):
    check_resumed_within_seeds(trees, tmp_path, steps=100, device="cpu")


def check_resumed_within_seeds(trees, folder, steps: int, device: str, **settings) -> None:
    """Stopped 50 steps before the end and resumed: the losses of those lie within three seeds'."""
    late = steps - 50

    def last_losses(run: Run) -> float:
        rows = [row["loss"] for row in run.metrics("train") if row["step"] > late]
        assert len(rows) == 50
        return sum(rows) / 50

    def config(seed: int) -> RunConfig:
        schedule = {"steps": steps, "checkpoint_every": late, "eval_every": steps}
        return small_run(trees, seed=seed, **schedule, **settings)

    undisturbed = [
        last_losses(train(config(seed), folder / str(seed), device=device)) for seed in range(3)
    ]
    run = train(
        config(0), folder / "resumed", watch=lambda report: report.step < late, device=device
    )
    assert run.status()["step"] == late
    resumed = last_losses(train(run, device=device))
    assert min(undisturbed) <= resumed <= max(undisturbed)


# ------------------------------------------------------------------------------ refused, cleaned up


@pytest.mark.parametrize("device", DEVICES)
def test_a_loss_that_is_no_number_is_refused_on_every_device(device, trees, tmp_path, monkeypatch):
    def broken_scores(logits, _elements):
        total = logits.sum() * float("nan")
        return {"token_ce_nats": total, "token_accuracy": total.detach()}

    monkeypatch.setattr(molnb.objectives.pretraining, "token_scores", broken_scores)
    with pytest.raises(InputError, match="the loss is nan at step 1 of 12"):
        train(steady_run(trees, n_val=1), tmp_path / "run", device=device)
    assert Run(tmp_path / "run").state == "failed"


@pytest.mark.parametrize("device", DEVICES)
def test_training_leaves_the_random_numbers_of_the_caller_alone(device, trees, tmp_path):
    def states():
        on_gpu = [torch.cuda.get_rng_state().tolist()] if device == "cuda" else []
        return [torch.random.get_rng_state().tolist(), *on_gpu]

    before = states()
    train(small_run(trees, steps=2), tmp_path / "run", device=device)
    assert states() == before


@pytest.mark.parametrize("device", DEVICES)
def test_a_finished_run_frees_its_memory(device, trees, tmp_path, monkeypatch):
    models = []

    class Watched(Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            models.append(weakref.ref(self.model))

    monkeypatch.setattr(loop, "Session", Watched)

    def allocated() -> int:
        gc.collect()
        return torch.cuda.memory_allocated() if device == "cuda" else 0

    train(steady_run(trees, steps=2), tmp_path / "first", device=device)  # libraries' own memory
    before = allocated()
    train(steady_run(trees, steps=2), tmp_path / "second", device=device)
    assert allocated() <= before + 2**16  # bytes; the model and its moments take ten times that
    assert [model() for model in models] == [None, None]


@pytest.mark.gpu
def test_a_gpu_beyond_the_last_is_refused():
    with pytest.raises(InputError, match="'cuda:99' asked for, but torch .* sees .* GPU"):
        choose_device("cuda:99")
