"""Graph networks compute on a device what they do on the CPU, and draw there what is random."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from made_shards import make_shards
from on_devices import DEVICES, relative_error, shaken, terms_and_gradients
from tiny import SMALL_GRAPH, STEADY_GRAPH
from torch.nn import functional as F

pytest.importorskip("torch_geometric")
from molnb.data.batch import LEVELS
from molnb.data.dataset import Corpus
from molnb.data.encodings.catalogue import parse, with_encodings
from molnb.data.masked import MaskedBatch
from molnb.models.graph.config import GraphConfig
from molnb.models.graph.encoder import make_graph_network
from molnb.models.graph.inputs import EigenpairNetwork
from molnb.models.model import Model
from molnb.objectives.pretraining import Pretrain

OBJECTIVE = Pretrain(mask_share=0.4, drop_features=0.3)
# no signs to be drawn, so that two devices can be compared in training mode
UNSIGNED = replace(STEADY_GRAPH, n_layer=3, n_head=4, encodings=("eigengroups_4", "electrostatic"))
CONFIGS = {
    "gcn": replace(UNSIGNED, layer="gcn"),
    "gine": UNSIGNED,
    "gated_gcn": replace(UNSIGNED, layer="gated_gcn", encodings=("bond_transitions_2",)),
    "mpnn": replace(UNSIGNED, layer="mpnn", pooling="mean", residual="all"),
    "gps": replace(UNSIGNED, layer="gps", pair_encodings=("hops", "commute"), n_kernel=8),
    "gps without bias": replace(UNSIGNED, layer="gps", local_layer="mpnn"),
    "virtual node": replace(UNSIGNED, virtual_node="logsum", pooling="max", residual="all"),
}


@pytest.fixture(params=CONFIGS)
def config(request) -> GraphConfig:
    return CONFIGS[request.param]


def make_model(config: GraphConfig) -> Model:
    torch.manual_seed(0)
    return shaken(Model(*make_graph_network(config)))


def make_masked(folder: Path, ids: Sequence[int] = range(12)) -> MaskedBatch:
    corpus = Corpus([make_shards(folder)])
    return OBJECTIVE.corrupt(corpus.batch(np.array(ids)), 0, 0)


@pytest.mark.parametrize("device", DEVICES)
def test_losses_and_gradients_in_float32_are_those_of_the_cpu(config, device, tmp_path):
    """The device is given the molecules in the opposite order, so that sums differ in theirs."""
    masked = make_masked(tmp_path / "one")
    opposite = make_masked(tmp_path / "other", range(11, -1, -1))
    exact, exact_gradients = terms_and_gradients(make_model(config), OBJECTIVE, masked, "cpu")
    terms, gradients = terms_and_gradients(make_model(config), OBJECTIVE, opposite, device)
    assert terms == pytest.approx(exact, rel=1e-5)
    assert relative_error(gradients, exact_gradients) < 1e-4


@pytest.mark.parametrize("device", DEVICES)
def test_in_bfloat16_gradients_stay_near_those_of_float32(config, device, tmp_path):
    """On the CPU with norms in float32, which is what autocast makes of them on a GPU."""
    masked = make_masked(tmp_path)
    _, exact = terms_and_gradients(make_model(config), OBJECTIVE, masked, "cpu")
    with norms_as_on_a_gpu() if device == "cpu" else ExitStack():
        _, gradients = terms_and_gradients(
            make_model(config), OBJECTIVE, masked, device, narrow=True
        )
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert 0 < relative_error(gradients, exact) < 0.15


def norms_as_on_a_gpu() -> ExitStack:
    """A context in which norms give float32 whatever they are given."""

    def in_float32(x, *arguments):
        with torch.autocast("cpu", enabled=False):
            return layer_norm(x.float(), *arguments)

    layer_norm = F.layer_norm
    contexts = ExitStack()
    contexts.enter_context(patch.object(F, "layer_norm", in_float32))
    return contexts


@pytest.mark.parametrize("device", DEVICES)
def test_vectors_of_every_level_are_those_of_the_cpu(config, device, tmp_path):
    """With signs of eigenvectors, which evaluation does not draw."""
    masked = make_masked(tmp_path)
    model = make_model(replace(config, encodings=("eigenpairs_4",))).eval()
    with torch.no_grad():
        encoding = model(masked).encoding
        moved = model.to(device)(masked.to(device)).encoding
    index = {
        "molecule": torch.tensor([0, 5]),
        "atom": torch.tensor([0, 7, 20]),
        "bond": torch.tensor([1, 6]),
        "pair": torch.tensor([[0, 0, 1], [4, 2, 0]]),
    }
    assert set(index) == set(LEVELS)
    for level, rows in index.items():
        vectors = encoding.rows(level, rows)
        others = moved.rows(level, rows.to(device))
        assert others.device.type == device
        assert torch.allclose(vectors, others.cpu(), rtol=1e-4, atol=1e-4), level


# ------------------------------------------------------------------------------------ what is drawn


def rng_states() -> dict[str, list[int]]:
    states = {"cpu": torch.random.get_rng_state().tolist()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state().tolist()
    return states


@pytest.mark.parametrize("device", DEVICES)
def test_dropout_and_signs_come_from_the_generator_of_the_device_alone(device, tmp_path):
    masked = make_masked(tmp_path).to(device)
    model = make_model(SMALL_GRAPH).to(device).train()

    def drawn() -> torch.Tensor:
        return model(masked).encoding.atoms.detach()

    torch.manual_seed(3)
    before = rng_states()
    first = drawn()
    after = rng_states()
    assert [name for name in before if before[name] != after[name]] == [device]
    second = drawn()
    torch.manual_seed(3)
    again = drawn()
    assert torch.allclose(first, again, atol=1e-5)  # on a GPU sums come in any order
    assert float((first - second).abs().max()) > 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_signs_are_one_for_each_eigenvector_of_a_molecule_and_drawn_anew(device):
    network = EigenpairNetwork(4, 8, 8, True, SMALL_GRAPH).to(device).train()
    owner = torch.arange(300, device=device).repeat_interleave(3)
    torch.manual_seed(0)
    signs = network._drawn_signs(owner)
    assert signs.device.type == device and signs.shape == (900, 4)
    by_molecule = signs.view(300, 3, 4)
    assert (by_molecule == by_molecule[:, :1]).all()
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.15  # of 1,200 signs: five standard deviations
    assert not torch.equal(signs, network._drawn_signs(owner))


# ---------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize("device", DEVICES)
def test_encodings_of_a_batch_on_a_device_are_those_of_the_cpu_and_lie_there(device, tmp_path):
    names = ("eigenpairs_4", "return_probabilities_6", "bond_electrostatic", "commute")
    batch = make_masked(tmp_path).batch
    on_cpu = with_encodings(batch, names)
    on_device = with_encodings(batch.to(device), names)
    for name in names:
        level = parse(name).level
        moved = getattr(on_device, level)[name]
        assert moved.device.type == device
        assert torch.equal(moved.cpu(), getattr(on_cpu, level)[name]), name
    kept = with_encodings(on_cpu.to(device), names)
    assert kept.atom["commute"].device.type == device


# ----------------------------------------------------------------------------------------- compiled

# Checks of shapes, which tests put around every function, cannot be compiled: a process of its own.


def compare_compiled(folder: Path, name: str, device: str) -> dict[str, float]:
    """How far the compiled network is from the plain one, and how often code was made."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("inductor" if device == "cuda" else "aot_eager")
    config = replace(CONFIGS[name], n_layer=5)
    compiled = make_model(config)
    compiled.encoder.fuse(backend=counter)
    worst = 0.0
    made = []
    for number, ids in enumerate((range(12), range(3, 12), range(5, 20))):
        masked = make_masked(folder / f"{number}", ids)
        plain_terms, exact = terms_and_gradients(make_model(config), OBJECTIVE, masked, device)
        terms, gradients = terms_and_gradients(compiled, OBJECTIVE, masked, device)
        for parameter in gradients.keys() - exact.keys():  # of what no loss reads
            assert not gradients.pop(parameter).any(), parameter
        term = max(abs(terms[of] - value) for of, value in plain_terms.items())
        worst = max(worst, term, relative_error(gradients, exact))
        made.append(counter.frame_count)
    return {"worst": worst, "made": made}


# on a GPU both; on a CPU one in every run of tests, since to compile one takes ten seconds
COMPILED = [
    ("mpnn", "cpu"),
    pytest.param("gps", "cpu", marks=pytest.mark.slow),
    pytest.param("mpnn", "cuda", marks=pytest.mark.gpu),
    pytest.param("gps", "cuda", marks=pytest.mark.gpu),
]


@pytest.mark.parametrize(("name", "device"), COMPILED)
def test_compiled_blocks_give_the_same_and_share_their_code(name, device, tmp_path):
    """Five blocks: the first, the last and those between, for batches of any size."""
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, __file__, tmp_path, name, device],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.splitlines()[-1])
    assert found["worst"] < 1e-4
    assert 0 < found["made"][0] < 5
    assert found["made"][-1] == found["made"][0], "no new code for other sizes"


if __name__ == "__main__":
    print(json.dumps(compare_compiled(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
