"""What the benchmark beside Graphium calls equal, and what it refuses before anything is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")
pytest.importorskip("torch_geometric")

from molnb.models.graph.official import reference_features

ROOT = Path(__file__).resolve().parents[1]
SMILES = "CC(O)C=C"  # no two of its eigenvalues are equal
BENZENE = "c1ccccc1"  # two pairs of them are


@pytest.fixture
def benchmark(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import graph_networks

    return graph_networks


@pytest.fixture
def reference(monkeypatch):
    """The module that runs the authors' code."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import graphium_reference

    return graphium_reference


def as_stored(smiles: str) -> dict[str, np.ndarray]:
    """Features of a molecule in float16, as the reference has them."""
    (arrays,) = reference_features([smiles])
    stored = {name: values.astype(np.float16) for name, values in arrays.items()}
    return stored | {"edge_index": arrays["edge_index"]}


def differing(benchmark, smiles: str, name: str, change) -> list[str]:
    """Arrays that are told to differ once one of them was changed."""
    theirs = as_stored(smiles)
    theirs[name] = change(theirs[name])
    return benchmark.differing(reference_features([smiles])[0], theirs)


def changed_at(index: tuple[int, int], by: float):
    """A function that adds to one entry of an array."""

    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[index] += by
        return values

    return change


@pytest.mark.parametrize("smiles", [SMILES, BENZENE, "C", "[Na+].CC(=O)[O-]"])
def test_features_rounded_to_float16_are_the_same(benchmark, smiles):
    assert benchmark.differing(reference_features([smiles])[0], as_stored(smiles)) == []


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("feat", 1),
        ("edge_feat", 1),
        ("edge_index", 1),
        ("laplacian_eigval", 0.01),
        ("rw_return_probs", 0.01),
        ("laplacian_eigvec", 0.01),
    ],
)
def test_one_changed_number_is_noticed(benchmark, name, by):
    assert differing(benchmark, SMILES, name, changed_at((0, 1), by)) == [name]


def test_the_sign_of_an_eigenvector_does_not_count(benchmark):
    assert differing(benchmark, SMILES, "laplacian_eigvec", np.negative) == []


def test_vectors_of_an_eigenvalue_that_comes_twice_are_not_compared(benchmark):
    change = changed_at((0, 1), 0.3)  # the second and third eigenvalue of benzene are equal
    assert differing(benchmark, BENZENE, "laplacian_eigvec", change) == []
    change = changed_at((0, 5), 0.3)  # the last one is alone
    assert differing(benchmark, BENZENE, "laplacian_eigvec", change) == ["laplacian_eigvec"]


def test_fragments_are_what_bonds_connect(benchmark):
    edges = np.array([[5, 1, 1, 3, 2, 4], [1, 5, 3, 1, 4, 2]])
    assert benchmark.fragments(edges, 7).tolist() == [0, 1, 2, 1, 2, 1, 6]
    assert benchmark.fragments(np.zeros((2, 0), int), 2).tolist() == [0, 1]


def test_a_long_chain_is_one_fragment(benchmark):
    order = np.random.default_rng(0).permutation(50)
    edges = np.stack([order[:-1], order[1:]])
    both = np.concatenate([edges, edges[::-1]], 1)
    assert not benchmark.fragments(both, 50).any()


def test_differences_are_told_in_parts_of_what_is_allowed(benchmark):
    theirs = {"large": torch.tensor([100.0, -50.0]), "small": torch.tensor([1e-6])}
    ours = {"large": torch.tensor([100.0, -50.0005]), "small": torch.tensor([2e-6])}
    of_large = benchmark.largest_share({"large": ours["large"]}, {"large": theirs["large"]})
    assert of_large == pytest.approx(0.5, rel=0.01)
    assert benchmark.largest_share(ours, theirs) == pytest.approx(1e5, rel=0.01)
    # held to the largest of all, the small one's difference is 1e-6 of 1e-5 * 1e-4 * 100
    assert benchmark.largest_share(ours, theirs, 1e-4) == pytest.approx(10, rel=0.01)


def test_a_folder_that_is_no_checkout_is_refused_in_one_line(tmp_path):
    process = subprocess.run(
        [sys.executable, ROOT / "benchmarks/graph_networks.py", "--reference", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == 2 and "is no checkout of Graphium" in process.stderr
    assert "Traceback" not in process.stderr


def test_stand_ins_add_up_what_has_the_same_index(reference, monkeypatch):
    names = ("torch_scatter", "torch_sparse")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(reference.importlib.util, "find_spec", lambda name: None)
    reference._stand_in()
    scatter = sys.modules["torch_scatter"]
    values = torch.tensor([1.0, 2.0, 4.0])
    index = torch.tensor([0, 2, 0])
    assert scatter.scatter_add(values, index, dim=0, dim_size=4).tolist() == [5, 0, 2, 0]
    assert scatter.scatter(values, index, dim=0, reduce="mean").tolist() == [2.5, 0, 2]
    for name in names:
        monkeypatch.delitem(sys.modules, name)


def test_schedulers_take_verbose_again_and_nothing_else_changes(reference, monkeypatch):
    from torch.optim import lr_scheduler

    monkeypatch.setattr(lr_scheduler._LRScheduler, "__init__", lr_scheduler.LRScheduler.__init__)
    reference._accept_verbose()

    class Halved(lr_scheduler._LRScheduler):
        def get_lr(self):
            return [rate / 2 for rate in self.base_lrs]

    def make_optimizer() -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    assert Halved(make_optimizer(), -1, False).get_last_lr() == [0.5]
    assert lr_scheduler.StepLR(make_optimizer(), 1).get_last_lr() == [1.0]


def test_steps_with_batches_made_beforehand_are_those_of_the_loop(benchmark, tmp_path):
    from made_shards import make_shards

    from molnb.models.graph.config import GraphConfig
    from molnb.objectives.supervised import Supervised
    from molnb.training.config import RunConfig
    from molnb.training.loop import prepare_run, take_step
    from molnb.training.session import Session

    shards = make_shards(tmp_path / "trees")
    config = RunConfig(
        name="steps",
        data=(str(shards.path),),
        model=GraphConfig(n_layer=2, d_atom=8, d_input=8),
        objective=Supervised(task_names=("of_molecule",)),
        steps=100,
        global_batch=8,
    )
    run = prepare_run(config, tmp_path / "runs")
    beforehand = Session(run, "cpu")
    loop = Session(run, "cpu")
    ids = [loop.train_ids[loop.draws.positions(step, 8)] for step in range(2)]
    timed = benchmark._our_steps(beforehand, np.stack(ids))
    timed.run(timed.make())
    for _ in ids:
        take_step(loop)
    assert timed.n_mol == 16 and beforehand.step == loop.step == 2
    weights = loop.model.state_dict()
    for name, values in beforehand.model.state_dict().items():
        assert torch.equal(values, weights[name]), name
