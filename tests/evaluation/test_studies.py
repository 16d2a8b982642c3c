"""Studies: what is learnt from, what is compared, what may be said; and going on after a stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from quick_processes import QuickPool
from tiny import SMALL

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")
pytest.importorskip("torch_geometric")

from molnb.curation.relabelled import renamed_tasks
from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark
from molnb.evaluation.classical import training_mean
from molnb.evaluation.studies.amount import joined, make_amounts
from molnb.evaluation.studies.arms import (
    AGAIN,
    ALONE,
    BEFORE,
    QUESTION,
    REFERENCE,
    REPLICATE,
    TOGETHER,
    Arm,
    Settings,
    auxiliary_ids,
    make_learning,
)
from molnb.evaluation.studies.auxiliary import (
    molecule_values,
    unrelated,
    with_descriptors,
    with_planted,
    with_target,
)
from molnb.evaluation.studies.catalogue import run_study
from molnb.evaluation.studies.controls import make_controls
from molnb.evaluation.studies.curves import LearningCurve, Setup
from molnb.evaluation.studies.design import make_design
from molnb.evaluation.studies.diversity import by_number, make_diversity
from molnb.evaluation.studies.interference import make_interference
from molnb.evaluation.studies.low_resource import (
    QUANTUM,
    SHUFFLED,
    make_low_resource,
)
from molnb.evaluation.studies.plans import make_plan
from molnb.evaluation.studies.trials import trials_table
from molnb.inference.predictor import load_run
from molnb.processes import Pool
from molnb.training.overrides import change
from molnb.training.runs import Run

FAST = Settings(steps=2, epochs=0.0, batch=4, auxiliary_steps=2, auxiliary_batch=4)
TWO_TRACK = replace(FAST, preset="finetune_tiny", changes={"model": SMALL})


@pytest.fixture
def halves(nci):
    """An assay on half of the molecules, the other half to learn beside it."""
    first = np.arange(0, nci.n, 2)
    assay = load_benchmark(with_target(nci, "nci_dipole", "dipole", first))
    return assay, np.arange(1, nci.n, 2)


@pytest.fixture
def planted(nci, halves):
    return with_planted(nci, "nci_dipole", "dipole", 0.9, halves[1])


@pytest.fixture
def few_tasks(nci):
    """Two tasks of molecules, with three labels, and one of atoms."""
    names = ("nci_dipole", "nci_solvation", "nci_charges")
    return renamed_tasks(nci, {name: name for name in names})


def make_curve(assay, arms, folder, settings=FAST, sizes=(4, 8)):
    design = make_design(assay, sizes, 2)
    arms = (Arm(ALONE, REFERENCE), Arm(AGAIN, REPLICATE, seed=500), *arms)
    return LearningCurve("panel", assay, arms, design, settings, folder)


# -------------------------------------------------------------------------------------- auxiliary


def test_planted_labels_are_correlated_as_asked(nci):
    """Over all molecules, where chance is small."""
    every = np.arange(nci.n)
    shards = with_planted(nci, "nci_dipole", "dipole", 0.9, every)
    _, planted = molecule_values(shards)
    _, target = molecule_values(nci, ("nci_dipole",))
    known = np.isfinite(target[:, 0])
    assert np.corrcoef(planted[known, 0], target[known, 0])[0, 1] == pytest.approx(0.9, abs=0.06)
    with pytest.raises(InputError, match="correlation is 2"):
        with_planted(nci, "nci_dipole", "dipole", 2, every)


def test_a_withheld_target_is_the_only_label_left(nci, halves):
    assay, others = halves
    assert list(assay.shards.tasks) == ["target"] and assay.unit == "D"
    assert not set(assay.ids) & set(others)
    with pytest.raises(InputError, match="has no label 'gap': it has dipole"):
        with_target(nci, "nci_dipole", "gap")


def test_no_relative_of_the_assay_is_learnt_from(nci, halves):
    assay, others = halves
    assert not set(unrelated(nci, assay.shards, assay.ids)) & set(assay.ids)
    keys = nci.table(["tautomer_key"])["tautomer_key"].to_pylist()
    of_assay = {keys[i] for i in assay.ids}
    assert not of_assay & {keys[i] for i in unrelated(nci, assay.shards, assay.ids)}


def test_descriptors_are_labels_of_the_same_molecules(nci):
    shards = with_descriptors(nci)
    names, values = molecule_values(shards)
    assert "TPSA" in names and values.shape == (nci.n, len(names))
    assert shards.smiles() == nci.smiles()


# ------------------------------------------------------------------------------------------- runs


def test_arms_learn_the_same_rows_of_the_assay_and_none_that_is_tested(halves, planted, tmp_path):
    assay, _ = halves
    arms = (
        Arm("first", QUESTION, BEFORE, (planted,)),
        Arm("both", QUESTION, TOGETHER, (planted,)),
    )
    curve = make_curve(assay, arms, tmp_path)
    learnt = {}
    for trial in curve.trials():
        ids = [i for i in trial.config.train_ids if i < assay.shards.n]
        assert not set(ids) & set(trial.tested.ids.tolist())
        assert not set(ids) - set(assay.ids.tolist())
        key = (trial.key["size"], trial.key["fold"])
        learnt.setdefault(key, set()).add(tuple(sorted(ids)))
    assert all(len(sets) == 1 for sets in learnt.values()), "one set of labels for all arms"
    (before,) = curve.stages()[0]
    assert not set(before.config.train_ids) & set(assay.ids.tolist())


def test_together_the_assay_counts_as_much_as_the_rest_and_is_drawn_as_often(nci, halves):
    assay, _ = halves
    arm = Arm("both", QUESTION, TOGETHER, (nci,), tasks=("nci_orbitals", "nci_solvation"))
    settings = Settings(steps=10, epochs=2.0, batch=8, auxiliary_steps=20, auxiliary_batch=16)
    config = make_learning(arm, assay, np.arange(4), settings, 0, None)
    assert config.objective.task_weights == {"target": 2.0}
    share, other = config.sampling.weights.values()
    n_drawn = config.steps * config.global_batch
    assert share / (share + other) * n_drawn == pytest.approx(11 * 8, rel=0.05)
    assert other / (share + other) * n_drawn == pytest.approx(20 * 16, rel=0.05)


@pytest.mark.parametrize("settings", [FAST, TWO_TRACK], ids=["graph", "two-track"])
def test_a_curve_is_learnt_once_and_an_interrupted_one_goes_on(halves, planted, tmp_path, settings):
    """Finished trials stay as they are; a trial that stopped is finished."""
    assay, _ = halves
    curve = make_curve(assay, (Arm("first", QUESTION, BEFORE, (planted,)),), tmp_path, settings)
    seen = []
    assert curve.run(0, lambda done, all_: seen.append((done, all_))) == 13
    assert seen[-1] == (13, 13)
    table = curve.table()
    assert len(table) == 12 and table["mae"].gt(0).all()
    assert (table["cpu_seconds"] > 0).all() and (table["parameters"] > 1_000).all()
    assert curve.run(0) == 0
    trial = next(curve.trials())
    trial.answers_file.unlink()
    assert curve.run(0) == 1
    pd.testing.assert_frame_equal(
        curve.table().drop(columns="cpu_seconds"), table.drop(columns="cpu_seconds")
    )


def test_a_folder_of_another_study_is_refused(halves, tmp_path):
    assay, _ = halves
    curve = make_curve(assay, (), tmp_path, sizes=(4,))
    curve.run(0)
    other = replace(curve, settings=replace(FAST, steps=3))
    with pytest.raises(InputError, match=r"other settings than this study's \(.*\bsteps"):
        other.run(0)


def test_a_folder_in_which_another_task_was_learnt_is_refused(nci, tmp_path):
    """Its answers would be taken for those of the task that is asked for."""
    for task, label in (("nci_dipole", None), ("nci_orbitals", "gap")):
        assay = load_benchmark(nci, task, label=label)
        curve = make_curve(assay, (), tmp_path, sizes=(4,))
        if task == "nci_dipole":
            curve.run(0)
    with pytest.raises(InputError, match=r"other settings than this study's \(.*objective"):
        curve.run(0)


def test_of_a_task_with_several_labels_one_is_tested(nci, tmp_path):
    curve = make_curve(load_benchmark(nci, "nci_orbitals", label="gap"), (), tmp_path, sizes=(4,))
    curve.run(0)
    trial = next(curve.trials())
    gaps = dict(zip(nci.array("nci_orbitals.index"), nci.array("nci_orbitals.values")[:, 2]))
    truth = np.array([gaps[i] for i in trial.tested.ids])
    answers = load_run(trial.folder).predict([nci.smiles()[i] for i in trial.tested.ids])
    errors = np.abs(answers["gap_eV"].to_numpy() - truth)
    assert trial.error() == pytest.approx(errors.mean(), rel=1e-3)


def test_the_network_of_a_preset_that_pretrains_learns_labels(nci):
    settings = replace(FAST, preset="laptop_graph_0m1")
    config = settings.of_others([nci], **{"objective.task_names": ("nci_dipole",)})
    assert config.objective.task_names == ("nci_dipole",)
    assert config.objective.head_dropout == 0 and config.model.dropout == 0


def test_the_network_of_a_study_is_changed_by_name(nci):
    changes = {
        "settings.changes.model.layer": "gated_gcn",
        "settings.changes.model.encodings": "return_probabilities_16",
        "settings.changes.weight_decay": "0.1",
    }
    plan = change(make_plan("test"), changes)
    config = plan.settings.of_others([nci], **{"objective.task_names": ("nci_dipole",)})
    assert config.model.layer == "gated_gcn"
    assert config.model.encodings == ("return_probabilities_16",)
    assert config.weight_decay == 0.1
    misspelt = change(plan, {"settings.changes.model.layr": "gcn"})
    with pytest.raises(InputError, match="unknown setting 'model.layr'"):
        misspelt.settings.of_others([nci])


def test_errors_are_those_of_the_answers_in_the_unit_of_the_label(halves, tmp_path):
    assay, _ = halves
    curve = make_curve(assay, (), tmp_path, sizes=(4,))
    curve.run(0)
    trial = next(curve.trials())
    table = trials_table([trial])
    answers = load_run(trial.folder).predict([assay.shards.smiles()[i] for i in trial.tested.ids])
    errors = np.abs(answers["dipole_D"].to_numpy() - trial.tested.values[:, 0])
    assert table["mae"][0] == pytest.approx(errors.mean(), rel=1e-3)


def test_processes_give_what_one_process_gives(halves, planted, tmp_path, monkeypatch):
    assay, _ = halves
    arms = (Arm("first", QUESTION, BEFORE, (planted,)),)
    here = make_curve(assay, arms, tmp_path / "here", sizes=(4,))
    there = make_curve(assay, arms, tmp_path / "there", sizes=(4,))
    here.run(0)
    monkeypatch.setattr(Pool, "_start", lambda pool: QuickPool(pool.workers))
    there.run(2)
    assert here.table()["mae"].tolist() == there.table()["mae"].tolist()


def test_classical_methods_learn_the_same_rows(halves, tmp_path):
    assay, _ = halves
    curve = make_curve(assay, (), tmp_path)
    seen = []

    def spy(benchmark, fold, number):
        seen.append((number, tuple(fold.train)))
        return training_mean(benchmark, fold, number)

    table = curve.classical({"mean": spy})
    assert len(table) == 4
    for (number, rows), size in zip(seen, [4, 4, 8, 8], strict=True):
        assert rows == tuple(curve.design.learnt(number, size))


# --------------------------------------------------------------------------------- what is said


def made_errors(panel, changes, n_fold=6, noise=0.004):
    """Errors of arms that differ from the reference by known changes, a row a size and fold.

    Noise goes up in one fold and down in the next: no arm is better by chance.
    """
    rows = []
    for size in (20,):
        for fold in range(n_fold):
            base = 1.0 / np.log(size) + 0.02 * fold
            for number, (arm, (role, percent)) in enumerate(changes.items()):
                mae = base * (1 + percent / 100) * (1 + noise * number * (-1) ** fold)
                rows.append((panel, arm, role, size, fold, 0, mae))
    return pd.DataFrame(rows, columns=["panel", "arm", "role", "size", "fold", "seed", "mae"])


def said(study, positive, shuffled, question):
    """The sentences for some true changes (%) of the error."""
    common = {ALONE: (REFERENCE, 0), AGAIN: (REPLICATE, 0)}
    errors = [
        made_errors(
            study.positive.name,
            common | {QUANTUM: (QUESTION, positive), SHUFFLED: ("negative control", shuffled)},
        ),
        made_errors(
            study.question.name,
            common | {QUANTUM: (QUESTION, question), SHUFFLED: ("negative control", shuffled)},
        ),
    ]
    return study.conclusions(pd.concat(errors))


@pytest.fixture
def study(nci, halves, tmp_path):
    assay = load_benchmark(nci, "nci_dipole")
    positive, _ = halves
    arms = (QUANTUM, SHUFFLED)
    return make_low_resource(
        assay, positive, [nci], None, ((20,), (20,)), Setup(FAST, tmp_path, 2), arms
    )


def test_the_study_is_believed_only_where_its_controls_say_what_they_must(study):
    assert said(study, -20, 0, 0)[0].startswith("The controls hold")
    assert said(study, 0, 0, -10)[0].startswith("The positive control was not found")
    assert "so was a gain from shuffled first" in said(study, -20, -10, -10)[0]
    assert said(study, 0, -10, 0)[0].startswith("The controls failed")


def test_a_gain_is_said_with_its_interval_and_no_gain_with_what_is_excluded(study):
    gain = next(s for s in said(study, -20, 0, -10) if s.startswith("Quantum first: the error"))
    assert gain.endswith("a gain.") and ("-10." in gain or "-9." in gain)
    assert "would be found from" in gain, "beside every conclusion"
    none = next(s for s in said(study, -20, 0, 0) if s.startswith("Quantum first: the error"))
    assert "no difference found; a gain of more than" in none


def test_an_arm_that_there_is_not_and_classes_are_refused(nci, halves, tmp_path):
    positive, _ = halves
    with pytest.raises(InputError, match="no arm is called quantm"):
        make_low_resource(
            positive, positive, [nci], None, ((4,), (4,)), Setup(FAST, tmp_path), ("quantm",)
        )
    classes = replace(positive, kind="binary")
    with pytest.raises(InputError, match="is a label of classes"):
        make_low_resource(classes, positive, [nci], None, ((4,), (4,)), Setup(FAST, tmp_path))


def test_what_can_be_resolved_is_known_before_any_other_arm_has_run(study):
    smallest = study.resolve(0)
    assert (smallest["resolvable"] > 0).all() and len(smallest) == 2
    arms = {trial.key["arm"] for p in study.panels for trial in p.trials() if trial.is_done}
    assert arms == {ALONE, AGAIN}


# --------------------------------------------------------------------------------------- the others


def test_amounts_are_nested_and_joined_sets_have_one_head_a_label(nci, halves, tmp_path):
    assay, _ = halves
    (first, second) = joined([nci, renamed_tasks(nci, {"nci_dipole": "wehi_dipole"})])
    assert list(first.tasks) == list(nci.tasks) and list(second.tasks) == ["nci_dipole"]
    curve = make_amounts(assay, [nci], (8, 16), Setup(FAST, tmp_path, 2), size=4)
    fewer, more = (set(auxiliary_ids(arm, assay)) for arm in curve.arms[2:])
    assert len(fewer) == 8 and len(more) == 16 and fewer < more
    with pytest.raises(InputError, match="999 quantum molecules are asked for"):
        make_amounts(assay, [nci], (999,), Setup(FAST, tmp_path, 2), size=4)


def test_diversity_has_one_number_of_labels_in_all_arms(few_tasks, halves, tmp_path):
    assay, _ = halves
    curve = make_diversity(assay, few_tasks, 18, (1, 3), Setup(FAST, tmp_path, 2), size=4)
    for arm in curve.arms[2:]:
        (shards,) = arm.auxiliary
        n_kind = sum(len(task["labels"]) for task in shards.tasks.values())
        assert n_kind * arm.n == 18
    curve.run(0)
    table = by_number(curve)
    assert table["kinds of labels"].tolist() == [1, 3] and table["change"].notna().all()
    with pytest.raises(InputError, match="18 labels of 0 kinds"):
        make_diversity(assay, few_tasks, 18, (0,), Setup(FAST, tmp_path, 2), size=4)
    with pytest.raises(InputError, match="smaller budget"):
        make_diversity(assay, few_tasks, 10_000, (1,), Setup(FAST, tmp_path, 2), size=4)


def test_a_pair_of_tasks_is_trained_once_and_tested_twice(few_tasks, tmp_path):
    study = make_interference(few_tasks, Setup(FAST, tmp_path, 2))
    first, second = study.stages()
    folders = [trial.folder for trial in first]
    assert len(set(folders)) == len(folders)
    assert {trial.folder for trial in second} <= set(folders)
    study.run(0)
    matrix = study.matrix()
    assert len(matrix) == len(study.tested) * len(few_tasks.tasks)  # each other one, and all
    assert (matrix["smallest"] > 0).all()
    assert Run(tmp_path / "all-fold0").config.objective.task_names == tuple(few_tasks.tasks)
    again = Run(tmp_path / f"{study.tested[0]}-again-fold0").config
    assert again.objective.task_names == (study.tested[0],)
    assert again.seed != Run(tmp_path / f"{study.tested[0]}-fold0").config.seed


def test_controls_differ_from_seed_to_seed_and_count_what_is_found(nci, tmp_path):
    study = make_controls(nci, "nci_dipole", "dipole", Setup(FAST, tmp_path, 2), range(2), 4)
    halves = [set(curve.assay.ids.tolist()) for curve in study.curves]
    assert halves[0] != halves[1]
    study.run(0)
    found = study.found()
    assert len(found) == 4
    assert study.conclusions()[0].endswith("of 2 seeds.")


def test_a_study_by_name_writes_its_tables(nci, tmp_path, monkeypatch):
    import molnb.evaluation.studies.plans as plans

    monkeypatch.setattr(plans, "curate", lambda name, n=None, labels=True: nci)
    plan = replace(make_plan("test"), n_repeat=1, planted_task="nci_dipole", planted_label="dipole")
    report = run_study("controls", plan, tmp_path / "study", 0)
    assert len(report.sentences) == 2
    stored = pd.read_parquet(tmp_path / "study" / "found.parquet")
    assert len(stored) == len(report.tables["found"])
    with pytest.raises(InputError, match="no study is called 'control'.*controls"):
        run_study("control", plan, tmp_path, 0)
    with pytest.raises(InputError, match="a study has no 'sise'"):
        make_plan("test", sise=3)
    with pytest.raises(InputError, match="size is 'big'"):
        make_plan("big")
    with pytest.raises(InputError, match="n_repeat is 0"):
        make_plan("test", n_repeat=0)
    with pytest.raises(InputError, match="settings.batch is 0"):
        Settings(batch=0)
    with pytest.raises(InputError, match="amounts is empty"):
        make_plan("test", amounts=())
    with pytest.raises(InputError, match="workers=-1"):
        run_study("controls", plan, tmp_path / "study", -1)
