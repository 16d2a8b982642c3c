"""Heads of molecules read arrays beside the encoder's vector: learnt, stored, resumed, refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_shards import make_shards
from on_devices import DEVICES
from tiny import STEADY, STEADY_GRAPH, TINY, small_run
from torch.nn import functional as F

from molnb.data.dataset import Corpus
from molnb.data.masked import unmasked
from molnb.errors import InputError
from molnb.files import writing_array
from molnb.objectives.supervised import Supervised
from molnb.shards import Shards, add_array, array_file, load_shards
from molnb.training.loop import Session, prepare_run, train
from molnb.training.rows import corpus_for
from molnb.training.runs import Run, make_model, width_factors

TASKS = ("of_molecule", "of_atom")
# one array of one column, and one of several
NAMES = ("gap", "print")


def with_arrays(folder, seed: int = 0) -> Shards:
    """Trees with a gap, unknown of some, large with a small spread, and a print, partly constant.

    Labels of molecules have nothing to do with their structure: they are a third of the print's
    first column.
    """
    shards = make_shards(folder, seed=seed)
    rng = np.random.default_rng(seed + 1)
    gap = 1e6 + rng.normal(size=shards.n)
    gap[::5] = np.nan
    shards = add_array(shards, "gap", "molecule", gap)
    columns = rng.integers(0, 9, size=(shards.n, 3)).astype(np.uint8)
    columns[:, 1] = 7
    shards = add_array(shards, "print", "molecule", columns)
    labels = columns[:, :1] / 3.0
    with writing_array(array_file(shards, "of_molecule.values"), np.float64, labels.shape) as add:
        add(labels)
    return load_shards(shards.path)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return with_arrays(tmp_path_factory.mktemp("beside") / "trees")


def beside_run(shards, **changes):
    objective = Supervised(TASKS, beside=NAMES)
    return small_run(shards, **({"objective": objective, "model": TINY} | changes))


@pytest.fixture(scope="module")
def run(trees, tmp_path_factory):
    return train(beside_run(trees), tmp_path_factory.mktemp("beside-run") / "run", device="cpu")


def plain_columns(run: Run, shards: Shards) -> np.ndarray:
    """All columns of all molecules in standard deviations over training rows, one by one."""
    train_ids = Session(run, "cpu").train_ids
    assert len(train_ids) == 24
    table = np.column_stack([shards.array("gap"), shards.array("print")]).astype(float)
    scaled = np.zeros(table.shape)
    for column, values in enumerate(table.T):
        known = values[train_ids][np.isfinite(values[train_ids])]
        if known.min() < known.max():
            scaled[:, column] = (values - known.mean()) / known.std()
    return np.where(np.isnan(scaled), 0.0, scaled)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("model", [STEADY, STEADY_GRAPH], ids=["two_track", "graph"])
def test_a_head_is_one_that_reads_the_normed_vector_and_the_columns_in_a_row(
    trees, tmp_path, model, depth
):
    if model is STEADY_GRAPH:
        pytest.importorskip("torch_geometric")
    objective = Supervised(TASKS, beside=NAMES, head_depth=depth)
    config = beside_run(trees, objective=objective, model=model, learning_rate=1e-2)
    run = train(config, tmp_path / "run", device="cpu")
    trained = run.load_model()
    head = trained.head("of_molecule")
    batch = corpus_for(run.config, [trees]).batch(np.arange(trees.n))
    with torch.no_grad():
        output = trained(batch, everywhere=True).outputs["of_molecule"]
        vectors = trained.encoder(unmasked(batch)).rows("molecule", torch.arange(trees.n))
        columns = torch.from_numpy(plain_columns(run, trees)).float()
        x = torch.cat([head.norm(vectors), columns], 1)
        layers = [*head.inner, head.out]
        for number, layer in enumerate(layers):
            weight = layer.weight
            if number == 0:
                weight = torch.cat([weight, head.from_beside.weight], 1)
            x = F.linear(x, weight, layer.bias)
            x = x if layer is head.out else F.gelu(x)
    assert torch.allclose(output, x, atol=1e-5)
    assert float(output.std()) > 0.01


def test_heads_of_atoms_are_as_they_are_without(run, trees, tmp_path):
    objective = Supervised(TASKS)
    without = prepare_run(beside_run(trees, objective=objective), tmp_path / "without")
    plain = make_model(without.config).state_dict()
    with_columns = run.load_model().state_dict()
    more = {name.removeprefix("heads.of_molecule.") for name in with_columns.keys() - plain.keys()}
    assert more == {"beside.mean", "beside.inverse_sd", "from_beside.weight"}
    assert all(with_columns[name].shape == plain[name].shape for name in plain)
    assert run.config.objective.beside_widths == (1, 3)
    assert without.config.objective.beside_widths == ()


@pytest.mark.parametrize("device", DEVICES)
def test_what_only_an_array_explains_is_learnt_with_it_and_not_without(trees, tmp_path, device):
    settings = {"steps": 60, "learning_rate": 1e-2, "eval_every": 60, "n_val": 8}
    errors = {}
    for beside in (NAMES, ()):
        objective = Supervised(TASKS[:1], beside=beside)
        config = beside_run(trees, objective=objective, **settings)
        run = train(config, tmp_path / f"{len(beside)}", device=device)
        errors[beside] = run.last()["molecule_label_mae_eV"]
    spread = float(np.std(np.asarray(trees.array("of_molecule.values"))))
    assert errors[NAMES] < 0.2 * spread and errors[()] > 0.6 * spread, (errors, spread)


def test_a_resumed_run_ends_in_the_same_bits(run, trees, tmp_path):
    part = train(beside_run(trees), tmp_path / "part", lambda report: report.step < 5, device="cpu")
    assert part.status()["step"] == 5
    resumed = train(part.path, device="cpu")
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (resumed.path / name).read_bytes() == (run.path / name).read_bytes()


def test_scales_are_those_of_the_rows_that_are_learnt_from_and_come_with_the_weights(
    trees, tmp_path
):
    ids = Corpus([trees]).ids("train")[:7]
    config = beside_run(trees, train_ids=tuple(ids.tolist()), steps=1)
    run = train(config, tmp_path / "run", device="cpu")
    reader = run.load_model().head("of_molecule").beside
    gap = trees.array("gap")[ids]
    columns = trees.array("print")[ids].astype(float)
    assert reader.mean.tolist() == pytest.approx(
        [np.nanmean(gap), columns[:, 0].mean(), 0.0, columns[:, 2].mean()], rel=1e-12
    )
    spread = [1 / np.nanstd(gap), 1 / columns[:, 0].std(), 0.0, 1 / columns[:, 2].std()]
    assert reader.inverse_sd.tolist() == pytest.approx(spread, rel=1e-9)


def test_a_constant_column_says_nothing_where_sums_leave_a_spread(tmp_path):
    shards = make_shards(tmp_path / "trees")
    values = np.full(shards.n, 0.1)
    parts = np.asarray(shards.array("split_random"))
    values[parts != 0] = 1e9
    values[np.flatnonzero(parts == 0)[0]] = np.inf
    shards = add_array(shards, "constant", "molecule", values)
    config = beside_run(shards, objective=Supervised(TASKS, beside=("constant",)), steps=1)
    run = train(config, tmp_path / "run", device="cpu")
    reader = run.load_model().head("of_molecule").beside
    batch = corpus_for(run.config, [shards]).batch(np.arange(shards.n))
    assert not reader(batch, torch.arange(shards.n)).any()


def test_a_dataset_may_keep_integers_and_another_one_fractions(tmp_path):
    datasets = []
    for number, values in enumerate([np.arange(40, dtype=np.uint8), np.arange(40) / 8]):
        shards = make_shards(tmp_path / f"trees{number}", seed=number)
        datasets.append(add_array(shards, "x", "molecule", values))
    corpus = Corpus(datasets, arrays=["x"])
    ids = np.array([41, 3, 79])
    assert corpus.batch(ids).molecule["x"].tolist() == [0.125, 3.0, 4.875]
    assert corpus.array_of_molecules("x", ids).tolist() == [0.125, 3.0, 4.875]
    assert corpus.array_of_molecules("x", ids[:0]).shape == (0,)


def test_under_width_transfer_the_rate_of_the_columns_does_not_fall(trees, tmp_path):
    pytest.importorskip("torch_geometric")
    model = replace(STEADY_GRAPH, width_transfer=2.0)
    for depth in (1, 2):
        objective = Supervised(TASKS[:1], beside=NAMES, head_depth=depth)
        config = beside_run(trees, objective=objective, model=model, steps=2)
        run = train(config, tmp_path / f"{depth}", device="cpu")
        trained = run.load_model()
        factors = width_factors(run.config, trained)
        assert factors["heads.of_molecule.from_beside.weight"] == 1
        if depth == 2:
            assert factors["heads.of_molecule.inner.0.weight"] == 0.5
            continue
        head = trained.head("of_molecule")
        batch = corpus_for(run.config, [trees]).batch(np.arange(4))
        index = torch.arange(4)
        with torch.no_grad():
            normed = head.norm(trained.encoder(unmasked(batch)).rows("molecule", index))
            columns = head.beside(batch, index).float() @ head.from_beside.weight.T
            expected = head.out(normed / 2) + columns
            output = trained(batch, everywhere=True).outputs["of_molecule"]
        assert columns.abs().max() > 0 and torch.allclose(output, expected, atol=1e-6)


def test_a_run_from_before_is_read_and_gone_on_with(trees, tmp_path):
    config = beside_run(trees, objective=Supervised(TASKS))
    run = train(config, tmp_path / "run", lambda report: report.step < 5, device="cpu")
    stored = json.loads((run.path / "config.json").read_text())
    del stored["objective"]["beside"], stored["objective"]["beside_widths"]
    (run.path / "config.json").write_text(json.dumps(stored))
    assert run.config.objective.beside == () and run.config.arrays == ()
    again = train(config, run.path, device="cpu")
    whole = train(config, tmp_path / "whole", device="cpu")
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


# ---------------------------------------------------------------------------------------- refused


def test_arrays_that_are_not_there_or_not_of_molecules_are_refused(trees, tmp_path):
    def refused(shards, *beside, **changes):
        with pytest.raises(InputError) as caught:
            objective = Supervised(TASKS, beside=beside)
            train(beside_run(shards, objective=objective, **changes), tmp_path / "run")
        return str(caught.value)

    message = refused(trees, "gap", "gasp")
    assert "has no array 'gasp' (did you mean 'gap'?), which heads read beside" in message
    assert "it has gap, print: add it (molnb.shards.add_array(shards, 'gasp'" in message
    mine = with_arrays(tmp_path / "mine")
    mine = add_array(mine, "atoms", "atom", np.zeros(len(mine.array("numbers"))))
    assert "the array 'atoms'" in (message := refused(mine, "atoms"))
    assert "is of level 'atom', and heads read arrays of molecules" in message
    assert "the array 'n_heavy' was not added to these shards" in refused(mine, "n_heavy")
    ids = add_array(mine, "ids", "molecule", np.zeros(mine.n))
    assert "every batch counts one of its own" in refused(ids, "ids")
    other = with_arrays(tmp_path / "other", seed=1)
    other = add_array(other, "print", "molecule", np.zeros((other.n, 5)))
    both = (str(trees.path), str(other.path))
    message = refused(trees, "print", data=both)
    assert "the array 'print' differs between datasets (molecule [3], molecule [5])" in message
    plain = make_shards(tmp_path / "plain")
    assert f"{plain.path} has no array 'gap'" in refused(trees, "gap", data=(*both[:1], plain.path))
    assert not (tmp_path / "run").exists()


def test_a_run_without_heads_of_molecules_names_none(trees, tmp_path):
    objective = Supervised(TASKS[1:], beside=NAMES)
    message = r"beside names gap, print, which heads of molecules read.*\(of_atom\) is of molecules"
    with pytest.raises(InputError, match=message):
        train(beside_run(trees, objective=objective), tmp_path / "run")


def test_other_columns_than_those_learnt_from_are_refused(run, tmp_path):
    mine = with_arrays(tmp_path / "mine")
    wider = add_array(mine, "print", "molecule", np.zeros((mine.n, 4)))
    with pytest.raises(InputError, match="'print' of .* has columns 4, and the run learnt from 3"):
        corpus_for(run.config, [wider])
    changed = replace(run.config, data=(str(wider.path),))
    assert prepare_run(changed, tmp_path / "new").config.objective.beside_widths == (1, 4)
    unread = replace(run.config.objective, beside_widths=())
    with pytest.raises(InputError, match="beside_widths is .*leave that out, `train` reads it"):
        make_model(replace(run.config, objective=unread))


def test_a_batch_without_the_array_is_refused(run, trees):
    batch = Corpus([trees]).batch(np.arange(2))
    with pytest.raises(InputError, match="a batch lacks the array 'gap' of its molecules"):
        run.load_model()(batch, everywhere=True)
