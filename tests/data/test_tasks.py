"""Two different datasets in one run: labels of equal names are joined only where they mean the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.data.tasks import dataset_names, find_tasks, join_tasks
from molnb.errors import InputError
from molnb.inference.predictor import load_run
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import scale_tasks
from molnb.recipes.registry import make_recipe
from molnb.training.config import RunConfig
from molnb.training.loop import train

SMALL = TwoTrackConfig(1, 16, 2, 16, 8, 4, n_kernel=8)
ALKANES = ["C" * n for n in range(2, 14)]
ALCOHOLS = ["O" + "C" * n for n in range(2, 14)]


def make_dataset(folder, name: str, smiles: list[str], values, unit: str = "eV", theory="B3LYP"):
    """A dataset with the task `shared` of one label `gap`, and a task of its own name."""
    rows = "".join(f"{s},{v},{v / 2}\n" for s, v in zip(smiles, values))
    (folder / f"{name}.csv").write_text("smiles,gap,size\n" + rows)
    label = {"quantity": "gap", "theory": theory, "geometry": "none"}
    recipe = make_recipe(
        {
            "name": name,
            "title": name,
            "licence": "none",
            "citation": "none",
            "source": {"kind": "file", "file": str(folder / f"{name}.csv")},
            "labels": [
                {"name": "gap", "column": "gap", "unit": unit, **label},
                {"name": "size", "column": "size", "unit": "1", **label},
            ],
            "tasks": [
                {"name": "shared", "labels": ["gap"]},
                {"name": f"of_{name}", "labels": ["size"]},
            ],
            "splits": {"random": {"kind": "random", "fractions": [0.5, 0.3, 0.2]}},
            "default_split": "random",
        }
    )
    return curate(recipe, workers=0, home=folder, progress=False)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Gaps of alkanes in eV and of alcohols in meV; gaps of both in eV."""
    folder = tmp_path_factory.mktemp("two")
    volts = np.arange(12.0)
    return {
        "alkanes": make_dataset(folder, "alkanes", ALKANES, volts),
        "alcohols": make_dataset(folder, "alcohols", ALCOHOLS, 1000 * volts, unit="meV"),
        "in_volts": make_dataset(folder, "in_volts", ALCOHOLS, volts),
        "by_pm6": make_dataset(folder, "by_pm6", ALCOHOLS, volts, theory="PM6"),
    }


def test_tasks_that_mean_the_same_are_one(datasets):
    tasks = join_tasks([datasets["alkanes"], datasets["in_volts"]])
    assert list(tasks) == ["shared", "of_alkanes", "of_in_volts"]
    assert [member.dataset for member in tasks["shared"].members] == [0, 1]
    corpus = Corpus([datasets["alkanes"], datasets["in_volts"]])
    labels = corpus.batch(np.arange(corpus.n), ["shared"]).labels["shared"]
    assert labels.index.tolist() == list(range(24))
    assert labels.values[:, 0].tolist() == [*range(12), *range(12)]


@pytest.mark.parametrize("other", ["alcohols", "by_pm6"])
def test_another_unit_or_theory_keeps_tasks_of_one_name_apart(datasets, other):
    corpus = Corpus([datasets["alkanes"], datasets[other]])
    keys = ["alkanes/shared", f"{other}/shared"]
    assert [key for key in corpus.tasks if "shared" in key] == keys
    batch = corpus.batch(np.arange(corpus.n), ["shared"])
    assert list(batch.labels) == keys, "the plain name means both"
    assert batch.labels[keys[0]].index.tolist() == list(range(12))
    assert batch.labels[keys[1]].index.tolist() == list(range(12, 24))
    largest = 11_000 if other == "alcohols" else 11
    assert float(batch.labels[keys[1]].values.max()) == largest
    assert list(corpus.batch(np.arange(24), [keys[1]]).labels) == [keys[1]]


def test_scales_are_those_of_each_dataset_and_labels_bear_names_of_their_own(datasets):
    corpus = Corpus([datasets["alkanes"], datasets["alcohols"]])
    volts, millivolts = scale_tasks(corpus, ["shared"], np.arange(corpus.n))
    assert volts.labels == ("alkanes/shared/gap",) and volts.units == ("eV",)
    assert millivolts.labels == ("alcohols/shared/gap",) and millivolts.units == ("meV",)
    assert millivolts.mean[0] == pytest.approx(1000 * volts.mean[0])
    assert volts.scale[0] == pytest.approx(np.arange(12.0).std())
    (alone,) = scale_tasks(Corpus([datasets["alkanes"]]), ["shared"], np.arange(12))
    assert alone.labels == ("gap",), "a plain name where it is clear"


def test_metrics_and_predictions_of_equal_names_do_not_overwrite_each_other(datasets, tmp_path):
    data = tuple(str(datasets[name].path) for name in ("alkanes", "alcohols"))
    objective = Supervised(("shared", "of_alkanes"))
    settings = dict(steps=60, global_batch=8, learning_rate=3e-3, warmup_steps=5, eval_every=60)
    run = train(RunConfig("two", data, SMALL, objective, **settings), tmp_path / "two")
    row = run.last()
    assert {"alkanes/shared/gap_mae_eV", "alcohols/shared/gap_mae_meV", "size_mae"} <= set(row)
    assert row["alcohols/shared/gap_mae_meV"] > 20 * row["alkanes/shared/gap_mae_eV"]
    assert set(run.baselines()["mean"]) <= set(row)
    table = load_run(run.path).predict(["CCCCC", "OCCCCC"])
    columns = ["alkanes_shared_gap_eV", "alcohols_shared_gap_meV", "size"]
    assert list(table) == ["smiles", *columns, "error"]
    assert (table["alcohols_shared_gap_meV"] > 100 * table["alkanes_shared_gap_eV"].abs()).all()


def test_names_of_datasets_are_never_alike(datasets):
    shards = datasets["alkanes"]
    names = dataset_names([shards, datasets["alcohols"], shards])
    assert len(set(names)) == 3 and names[1] == "alcohols"
    assert all("." not in name for name in names), "heads are named after them"


def test_a_task_that_nobody_has_is_refused_with_the_nearest(datasets):
    tasks = join_tasks([datasets["alkanes"]])
    with pytest.raises(
        InputError, match=r"the task 'shard' \(did you mean 'shared'\?\): they have"
    ):
        find_tasks(tasks, ["shard"])


def test_arrays_beyond_the_usual_travel_through_corpus_crop_and_device(datasets, tmp_path):
    import shutil

    from molnb.data.crops import crop
    from molnb.shards import add_array, load_shards

    folder = tmp_path / "copy"
    shutil.copytree(datasets["alkanes"].path, folder)
    shards = load_shards(folder)
    n_atom = int(shards.array("atom_offset")[-1])
    n_bond = int(shards.array("bond_offset")[-1])
    shards = add_array(shards, "weight", "molecule", np.arange(shards.n, dtype=np.float32))
    shards = add_array(shards, "number_twice", "atom", 2 * np.asarray(shards.array("numbers")))
    shards = add_array(shards, "order", "bond", np.arange(2 * n_bond).reshape(n_bond, 2))
    corpus = Corpus([shards], arrays=("weight", "number_twice", "order"))
    batch = corpus.batch(np.array([7, 3]))
    assert batch.molecule["weight"].tolist() == [7.0, 3.0]
    assert torch.equal(batch.atom["number_twice"], 2 * batch.numbers)
    assert batch.bond["order"].shape == (len(batch.bonds), 2)
    piece = crop(batch, 3, seed=0, step=0).to("cpu")
    assert piece.n_atoms.tolist() == [3, 3]
    assert torch.equal(piece.atom["number_twice"], 2 * piece.numbers)
    assert len(piece.bond["order"]) == len(piece.bonds) == 4
    assert piece.molecule["weight"].tolist() == [7.0, 3.0]
    with pytest.raises(InputError, match=rf"an array of atoms of .* has {n_atom} rows"):
        add_array(shards, "short", "atom", np.zeros(3))
    with pytest.raises(InputError, match="has an array 'coords' of its own"):
        add_array(shards, "coords", "atom", np.zeros(n_atom))
    with pytest.raises(InputError, match="unknown level 'pair'"):
        add_array(shards, "pairs", "pair", np.zeros(3))
    with pytest.raises(InputError, match="has no array 'nothing'"):
        Corpus([shards], arrays=("nothing",))
