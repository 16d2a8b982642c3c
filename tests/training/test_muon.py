"""Muon steps along momentum whose singular values are equal, as far as AdamW, in matrices alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_shards import make_shards
from quick_processes import train_together
from test_loop import result_digests, train_apart, train_with_kills
from test_ranks import distance, losses
from tiny import SMALL, SMALL_GRAPH, STEADY, TINY, small_run
from torch import nn

from molnb.errors import InputError
from molnb.models.interface import Encoder
from molnb.training.checkpoints import last_checkpoint
from molnb.training.loop import prepare_run, train
from molnb.training.muon import MOMENTUM, Muon, block_matrices, orthogonal
from molnb.training.optimizer import make_optimizer
from molnb.training.runs import make_model

SHAPES = [(8, 8), (24, 6), (6, 24)]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("trees"))


def polar_factor(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix whose singular values are all one, by decomposition."""
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def random_matrix(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def muon_with(matrices: list[torch.Tensor], decay: float = 0.0) -> tuple[list[nn.Parameter], Muon]:
    parameters = [nn.Parameter(matrix.clone()) for matrix in matrices]
    rows = [{"params": parameters, "weight_decay": decay}]
    return parameters, Muon(rows, lr=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_are_pulled_to_one_and_vectors_stay(shape):
    matrix = random_matrix(shape)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.T @ orthogonal(matrix[None])[0] @ vh.T
    values = rotated.diagonal()
    assert s.max() / s.min() > 2 and values.min() > 0.6 and values.max() < 1.3
    assert (rotated - values.diag()).abs().max() < 1e-4
    assert torch.equal(orthogonal(torch.zeros(2, *shape)), torch.zeros(2, *shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_the_polar_factor_of_the_momentum_as_long_as_adamws(shape):
    weights = random_matrix(shape)
    (parameter,), muon = muon_with([weights], decay=0.1)
    gradients = [random_matrix(shape, seed) for seed in (1, 2, 3)]
    momentum = torch.zeros(shape)
    for gradient in gradients:
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        muon.step()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        direction = polar_factor((1 - MOMENTUM) * gradient + MOMENTUM * momentum)
        exact = -0.01 * 0.2 * max(shape) ** 0.5 * direction
        change = parameter.detach() - (1 - 0.01 * 0.1) * before
        assert torch.cosine_similarity(change.ravel(), exact.ravel(), 0) > 0.97
        assert 0.7 < change.norm() / exact.norm() < 1.2
        # 0.2 rates for each number, in a matrix of full rank
        rms = change.square().mean().sqrt()
        assert 0.7 < rms / (0.2 * 0.01) < 1.2


def test_steps_are_those_of_torch_but_for_bfloat16():
    matrices = [random_matrix(shape, seed) for seed, shape in enumerate(SHAPES * 2)]
    ours, muon = muon_with(matrices, decay=0.1)
    theirs = [nn.Parameter(matrix.clone()) for matrix in matrices]
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for number, pair in enumerate(zip(ours, theirs)):
            gradient = random_matrix(pair[0].shape, 100 * step + number)
            for parameter in pair:
                parameter.grad = gradient.clone()
        muon.step()
        reference.step()
    for matrix, mine, yours in zip(matrices, ours, theirs):
        moved = (yours - matrix).norm()
        assert (mine - yours).norm() < 0.02 * moved and moved > 0


def test_matrices_that_are_multiplied_together_step_as_each_alone():
    matrices = [random_matrix((6, 9), seed) for seed in range(3)]
    together, muon = muon_with(matrices)
    alone = [muon_with([matrix]) for matrix in matrices]
    for seed, parameter in enumerate(together):
        parameter.grad = random_matrix((6, 9), 10 + seed)
        alone[seed][0][0].grad = parameter.grad.clone()
    muon.step()
    for parameter, ((single,), optimizer) in zip(together, alone):
        optimizer.step()
        assert torch.allclose(parameter, single, atol=1e-6)


def test_matrices_of_blocks_alone_are_muons_at_the_rates_that_they_had(trees):
    """Tables, the kernel of distances, norms, biases and heads stay with AdamW."""
    config = small_run(trees, model=SMALL, optimizer="muon", layer_decay=0.5)
    model = make_model(config)
    names = {id(p): name for name, p in model.named_parameters()}
    chosen = {names[id(p)] for p in block_matrices(model)}
    assert "encoder.blocks.0.attention.query.weight" in chosen
    assert "encoder.blocks.1.pair_ffn.expand.weight" in chosen
    expected = {
        name
        for name, p in model.named_parameters()
        if name.startswith("encoder.blocks.") and p.ndim == 2
    }
    assert chosen == expected
    shares = {}
    for optimizer in ("muon", "adamw"):
        made = make_optimizer(replace(config, optimizer=optimizer), model)
        shares[optimizer] = {
            names[id(p)]: (group["share"], group["weight_decay"])
            for group in made.param_groups
            for p in group["params"]
        }
    assert shares["muon"] == shares["adamw"]
    assert len(set(shares["muon"].values())) > 3


def test_with_width_transfer_rates_are_multiplied_as_adamws_are(trees):
    model = replace(SMALL_GRAPH, d_atom=48, width_transfer=2.0)
    pytest.importorskip("torch_geometric")
    config = small_run(trees, model=model, optimizer="muon")
    made = make_optimizer(config, make_model(config))
    of_muon = {group["share"] for group in made.param_groups if "betas" not in group}
    assert 0.5 in of_muon


def test_graph_networks_have_matrices_too(trees, tmp_path):
    pytest.importorskip("torch_geometric")
    config = small_run(trees, model=SMALL_GRAPH, optimizer="muon", steps=4, eval_every=4)
    assert train(config, tmp_path / "r").state == "done"


def test_molecules_are_learnt_by_heart(trees, tmp_path):
    settings = {"n_train": 8, "steps": 60, "learning_rate": 4e-3, "eval_every": 60}
    run = train(small_run(trees, model=STEADY, optimizer="muon", **settings), tmp_path / "r")
    assert losses(run)[-10:].mean() < 0.6 * losses(run)[:10].mean()
    state = last_checkpoint(run.path / "checkpoints").tensors
    kinds = {name.rpartition(".")[2] for name in state if name.startswith("optimizer.")}
    assert kinds == {"momentum_buffer", "exp_avg", "exp_avg_sq", "step"}


def test_a_killed_run_ends_in_the_same_bits(trees, tmp_path):
    config = small_run(trees, model=TINY, optimizer="muon", steps=30, checkpoint_every=4)
    undisturbed = train_apart(prepare_run(config, tmp_path / "undisturbed").path)
    prepare_run(config, tmp_path / "killed")
    killed = train_with_kills(tmp_path / "killed", 2, seed=2)
    assert result_digests(killed) == result_digests(undisturbed)


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_do_what_one_does(trees, tmp_path, shard):
    settings = {
        "hands": 2,
        "optimizer": "muon",
        "steps": 8,
        "eval_every": 8,
        "precision": "float64",
    }
    config = small_run(trees, model=SMALL, **settings)
    alone = train(config, tmp_path / "one")
    together = prepare_run(config, tmp_path / "two")
    train_together(together.path, 2, shard=shard)
    assert np.abs(losses(together) / losses(alone) - 1).max() < 1e-9
    assert distance(together, alone) < 1e-7


def test_a_split_run_goes_on_with_the_momentum_of_a_whole_one(trees, tmp_path):
    config = small_run(trees, model=SMALL, optimizer="muon")
    whole = train(config, tmp_path / "whole")
    begun = train(config, tmp_path / "r", watch=lambda report: report.step < 3)
    split = train(begun, watch=lambda report: report.step < 6, shard=True)
    done = train(split)
    assert np.abs(losses(done) / losses(whole) - 1).max() < 1e-5
    assert distance(done, whole) < 1e-4


def test_in_float64_momentum_and_products_are_too(trees, tmp_path):
    config = small_run(trees, model=TINY, optimizer="muon", precision="float64", steps=2)
    run = train(config, tmp_path / "r")
    state = last_checkpoint(run.path / "checkpoints").tensors
    momenta = [tensor for name, tensor in state.items() if name.endswith("momentum_buffer")]
    assert momenta and all(momentum.dtype == torch.float64 for momentum in momenta)
    assert orthogonal(momenta[0][None]).dtype == torch.float64


def test_an_encoder_without_blocks_is_refused(trees):
    model = make_model(small_run(trees, model=TINY))
    model.encoder.parts = lambda: Encoder.parts(nn.Linear(1, 1))
    with pytest.raises(InputError, match="name no blocks, and muon is for their matrices"):
        make_optimizer(small_run(trees, model=TINY, optimizer="muon"), model)
