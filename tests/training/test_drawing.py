"""A run draws as its configuration says, resumes to the same bits, and says what it drew."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_shards import make_shards
from tiny import small_run

from molnb.cli import main
from molnb.data.draws import Sampling
from molnb.errors import InputError
from molnb.files import file_digest
from molnb.shards import Shards
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.overrides import change
from molnb.training.presets import make_preset
from molnb.training.runs import Run
from molnb.training.session import Session

RESULTS = ("weights.safetensors", "metrics.jsonl")
TEMPERED = Sampling("scaffold", 0.05)


def digests(run: Run) -> list[str]:
    return [file_digest(run.path / name) for name in RESULTS]


@pytest.fixture(scope="module")
def two_datasets(nci: Shards, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of nci and of trees that have no scaffolds."""
    folder = tmp_path_factory.mktemp("trees")
    return str(nci.path), str(make_shards(folder).path)


def test_a_tempered_run_that_was_stopped_ends_in_the_same_bits(nci: Shards, tmp_path: Path) -> None:
    config = small_run(nci, sampling=TEMPERED)
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", watch=lambda report: report.step < 5)
    resumed = train(tmp_path / "parts")
    assert digests(resumed) == digests(whole)
    uniform = train(small_run(nci), tmp_path / "uniform")
    assert digests(uniform) != digests(whole)


def test_a_weighted_run_that_was_stopped_ends_in_the_same_bits(
    two_datasets: tuple[str, str], nci: Shards, tmp_path: Path
) -> None:
    sampling = Sampling(weights={"nci": 3, "trees": 1})
    config = small_run(nci, data=two_datasets, sampling=sampling, split="random")
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", watch=lambda report: report.step < 7)
    assert digests(train(tmp_path / "parts")) == digests(whole)
    session = Session(whole, "cpu")
    drawn = [session.train_ids[session.draws.positions(step, 8)] for step in range(96)]
    share = np.mean(np.concatenate(drawn) >= session.corpus.starts[1])
    assert share == pytest.approx(0.25)


def test_a_tempered_mix_of_datasets_is_set_by_a_word_and_says_its_shares(
    two_datasets: tuple[str, str], nci: Shards, tmp_path: Path
) -> None:
    plain = small_run(nci, data=two_datasets, split="random", steps=8)
    config = change(plain, {"sampling.temperature": "2"})
    assert config.sampling == Sampling(temperature=2.0)
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", watch=lambda report: report.step < 5)
    assert digests(train(tmp_path / "parts")) == digests(whole)
    session = Session(whole, "cpu")
    n_trees = np.count_nonzero(session.train_ids >= session.corpus.starts[1])
    roots = np.sqrt([len(session.train_ids) - n_trees, n_trees])
    note = whole.notes()[0]
    assert note.startswith("Datasets are drawn by size, at temperature 2: nci ")
    assert f"trees {roots[1] / roots.sum():.1%} (" in note


def test_a_run_says_what_its_draws_come_to(nci: Shards, tmp_path: Path) -> None:
    run = train(small_run(nci, sampling=TEMPERED, steps=2), tmp_path / "run")
    scaffolds, epochs = run.notes()
    assert "softmax(share / 0.05)" in scaffolds and "effective number" in scaffolds
    assert "Molecules without a ring" in scaffolds
    assert epochs.startswith("16 draws are ") and "epochs of" in epochs and "will be seen" in epochs
    plain = train(small_run(nci, steps=2), tmp_path / "plain")
    assert plain.notes() == []


def test_a_weighted_run_says_the_epochs_of_each_dataset(
    two_datasets: tuple[str, str], nci: Shards, tmp_path: Path
) -> None:
    sampling = Sampling(weights={"nci": 1, "trees": 3})
    config = small_run(nci, data=two_datasets, sampling=sampling, split="random", steps=4)
    note = train(config, tmp_path / "run").notes()[0]
    assert "nci 25.0% (" in note and "trees 75.0% (1 epochs of 24 molecules)" in note


def test_datasets_of_one_name_are_weighed_by_their_folders(nci: Shards, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(nci.path, tmp_path / "again")
    config = small_run(nci, data=(str(nci.path), str(other)), steps=1)
    with pytest.raises(InputError, match="several datasets are called nci; name their folders"):
        train(replace(config, sampling=Sampling(weights={"nci": 1})), tmp_path / "refused")
    weights = {nci.path.name: 1.0, "again": 3.0}
    run = train(replace(config, sampling=Sampling(weights=weights)), tmp_path / "run")
    assert "again 75.0%" in run.notes()[0]


def test_sampling_is_stored_and_runs_from_before_have_the_uniform_one(
    nci: Shards, tmp_path: Path
) -> None:
    sampling = Sampling("scaffold", 0.02, {"nci": 2.0})
    config = small_run(nci, sampling=sampling)
    stored = json.loads(json.dumps(config.to_dict()))
    expected = {"kind": "scaffold", "tau": 0.02, "weights": {"nci": 2.0}, "temperature": None}
    assert stored["sampling"] == expected
    assert RunConfig.from_dict(stored) == config
    del stored["sampling"]
    assert RunConfig.from_dict(stored).sampling == Sampling()


def test_sampling_is_set_by_name_from_the_command_line() -> None:
    config = make_preset("pretrain_tiny", ["nci", "wehi"], **{"sampling.kind": "scaffold"})
    assert config.sampling == Sampling("scaffold")
    changes = {"sampling.tau": "0.1", "sampling.weights": "nci=3, wehi=1"}
    config = change(config, changes)
    assert config.sampling == Sampling("scaffold", 0.1, {"nci": 3.0, "wehi": 1.0})
    config = change(config, {"sampling.weights.wehi": "2"})
    assert config.sampling.weights == {"nci": 3.0, "wehi": 2.0}
    with pytest.raises(InputError, match="write numbers by name, as nci=3,wehi=1"):
        change(config, {"sampling.weights": "nci"})
    with pytest.raises(InputError, match="did you mean 'tau'"):
        change(config, {"sampling.tao": 1})


def test_a_run_on_data_without_scaffolds_is_refused_in_one_line(
    two_datasets: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    command = ["train", "pretrain_tiny", "--data", two_datasets[1]]
    assert main([*command, "--set", "sampling.kind", "scaffold", "--set", "steps", "1"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "keeps no scaffolds" in line
