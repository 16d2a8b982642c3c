"""The scores that are shown are those of the weights that are saved."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import STEADY, small_run

from molnb.objectives.supervised import Supervised
from molnb.training.config import RunConfig
from molnb.training.loop import Session, score, train, validation_batches
from molnb.training.runs import Run, runs_table


def patient_run(nci, steps: int, learning_rate: float) -> RunConfig:
    """Dipoles of six molecules, given up three validations after the best."""
    return small_run(
        nci,
        model=STEADY,
        objective=Supervised(("nci_dipole",)),
        steps=steps,
        eval_every=2,
        patience=3,
        n_train=6,
        learning_rate=learning_rate,
        warmup_steps=1,
    )


@pytest.fixture(scope="module")
def patient(nci, tmp_path_factory) -> Run:
    """A run that went on past its best validation, and took the weights of that."""
    config = patient_run(nci, steps=60, learning_rate=2e-2)
    return train(config, tmp_path_factory.mktemp("patient") / "r")


def scores_of_weights(run: Run) -> dict:
    """What the saved weights get on the validation rows now."""
    session = Session(run, "cpu")
    (examined,) = validation_batches(session)
    model = run.load_model()
    return score(model, session.objective, examined.groups, torch.device("cpu"))


def test_with_patience_the_best_row_is_that_of_the_weights(patient):
    best = min(patient.metrics("val"), key=lambda row: row["loss"])
    assert best["step"] < patient.last()["step"] and best["loss"] < patient.last()["loss"]
    assert patient.saved_scores() == patient.best() == best
    assert patient.status()["weights_step"] == best["step"]
    now = scores_of_weights(patient)
    assert now["dipole_mae_D"] == pytest.approx(patient.saved_scores()["dipole_mae_D"], rel=1e-6)


def test_the_list_of_runs_shows_the_row_of_the_weights(patient):
    (row,) = runs_table(patient.path.parent).to_dict("records")
    assert row["loss"] == patient.best()["loss"] and row["validated"] == patient.best()["step"]
    assert row["step"] == patient.status()["step"] > row["validated"]


def copy_with_status(run: Run, folder, **changes) -> Run:
    """The records of a run in another folder, its status changed; None takes an entry out."""
    for name in ("config.json", "metrics.jsonl"):
        (folder / name).write_text((run.path / name).read_text())
    status = run.read("status.json") | changes
    status = {name: value for name, value in status.items() if value is not None}
    (folder / "status.json").write_text(json.dumps(status))
    return Run(folder)


@pytest.mark.parametrize(
    ("state", "which"), [("done", "best"), ("stopped", "last"), ("failed", "last")]
)
def test_of_a_run_from_before_the_step_was_noted_the_row_follows_from_its_patience(
    patient, tmp_path, state, which
):
    """Its weights are the best where it ended, the last where it was stopped."""
    old = copy_with_status(patient, tmp_path, weights_step=None, state=state)
    assert old.saved_scores() == getattr(old, which)()


def test_without_patience_the_row_is_the_last(finished, tmp_path):
    assert finished.saved_scores() == finished.last()
    assert finished.saved_scores("hidden") == finished.last("hidden")
    assert finished.status()["weights_step"] == 12
    old = copy_with_status(finished, tmp_path, weights_step=None)
    assert old.saved_scores() == finished.last()


def test_weights_saved_between_validations_have_the_row_before_them(nci, tmp_path):
    """Validated at 0 and 6, stopped after 8; and stopped before anything was validated."""
    run = train(small_run(nci), tmp_path / "r", watch=lambda report: report.step < 8)
    assert run.status()["weights_step"] == 8
    assert run.saved_scores()["step"] == 6 and run.saved_scores("hidden")["features"] == "hidden"
    assert runs_table(tmp_path)["validated"].tolist() == [6]
    done = train(run)
    assert done.saved_scores()["step"] == done.status()["weights_step"] == 12


def test_a_run_without_validation_has_no_scores(nci, tmp_path):
    run = train(small_run(nci, n_val=0, steps=1), tmp_path / "r")
    assert run.saved_scores() == run.best() == {}
    assert runs_table(tmp_path)["validated"].isna().all()


@pytest.mark.parametrize(
    ("losses", "patience", "status", "step"),
    [
        ([0.9, 0.1020, 0.15, 0.1837], 2, {"state": "done", "weights_step": 2}, 2),
        ([0.9, 0.1020, 0.15, 0.1837], 2, {"state": "done"}, 2),
        ([0.9, 0.1020, 0.15, 0.1837], None, {"state": "done"}, 6),
        ([0.9, 0.1020, 0.15, 0.1837], 2, {"state": "stopped"}, 6),
        ([0.9, 0.1020, 0.15, 0.1837], 2, {"state": "stopped", "weights_step": 6}, 6),
        ([0.9, 0.1020, 0.15, 0.1837], 5, {"state": "running"}, 6),
        ([0.9, 0.1020, 0.15, 0.1837], 5, {"state": "running", "weights_step": 5}, 4),
        ([0.3, 0.5, 0.6, 0.7], 3, {"state": "done"}, 0),
        ([0.9, 0.5, 0.2], 3, {"state": "done"}, 4),
        ([0.9, 0.4, 0.4, 0.5], 2, {"state": "done"}, 2),
        ([0.9, 0.4, 0.3], None, {"state": "done", "weights_step": 4}, 4),
        ([0.9, 0.4, 0.3], None, {"state": "stopped", "weights_step": 1}, 0),
        ([0.7], 10, {"state": "done", "weights_step": 0}, 0),
        ([], 10, {"state": "done"}, None),
    ],
)
def test_the_row_of_the_weights_follows_from_what_was_noted(
    finished, tmp_path, losses, patience, status, step
):
    """Validated at steps 0, 2, 4, ...; `step` is that of the row that the weights belong to."""
    config = finished.read("config.json") | {"patience": patience}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "status.json").write_text(json.dumps(status))
    run = Run(tmp_path)
    for number, loss in enumerate(losses):
        run.log([{"step": 2 * number, "part": "val", "features": "visible", "loss": loss}], 1.0)
        run.log([{"step": 2 * number + 1, "part": "train", "features": "mixed", "loss": 0.0}], 1.0)
    assert run.saved_scores().get("step") == step
    (row,) = runs_table(tmp_path).to_dict("records")
    if step is None:
        assert row["validated"] is None
    else:
        assert (row["validated"], row["loss"]) == (step, losses[step // 2])


def test_weights_that_training_never_improves_on_are_the_best(nci, tmp_path) -> None:
    """At a rate that ruins the model, the untrained weights are kept, and their scores shown."""
    run = train(patient_run(nci, steps=12, learning_rate=10.0), tmp_path / "ruined")
    losses = [row["loss"] for row in run.metrics("val")]
    assert losses[0] == min(losses) and losses[-1] > losses[0]
    assert run.saved_scores()["step"] == 0 and run.state == "done"
    (head,) = run.load_model().heads.values()
    assert not head.out.weight.any(), "a head that has learnt nothing is zero"
