"""Objectives: what is withheld, what is scored, and what a score must beat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molnb.data.dataset import Corpus
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.geometry import align, centred
from molnb.objectives.pretraining import Pretrain, token_scores
from molnb.objectives.stored import describe, make_objective
from molnb.objectives.supervised import Supervised, label_scores
from molnb.objectives.targets import ScaledTask
from molnb.objectives.trivial_baselines import ElementTable, atom_keys, pretrain_baselines

SMALL = TwoTrackConfig(
    2, 32, 4, 32, 16, 4, n_kernel=16, dropout=0.0, attention_dropout=0.0, pair_dropout=0.0
)


@pytest.fixture(scope="module")
def corpus(nci):
    return Corpus([nci])


def test_what_is_hidden_depends_on_the_sample_and_not_on_its_company(corpus):
    objective = Pretrain()
    crowd, alone = (
        objective.corrupt(corpus.batch(np.array(ids)), 3, 11) for ids in ([4, 8, 15], [8])
    )
    mine = crowd.batch.mol_of_atom() == 1
    assert torch.equal(crowd.hidden[mine], alone.hidden)
    assert torch.allclose(crowd.noisy[mine], alone.noisy, atol=1e-6)
    assert crowd.visible[1] == alone.visible[0]
    assert not torch.equal(alone.noisy, objective.corrupt(alone.batch, 3, 12).noisy)


def test_shares_and_noise_are_those_asked_for(corpus):
    batch = corpus.batch(np.arange(corpus.n))
    questions = [Pretrain(noise_angstrom=0.2).corrupt(batch, 0, step) for step in range(20)]
    hidden = np.mean([q.hidden.float().mean().item() for q in questions])
    assert hidden == pytest.approx(0.15, abs=0.005)
    assert np.mean([q.visible.float().mean().item() for q in questions]) == pytest.approx(
        0.5, abs=0.05
    )
    moved = torch.cat([q.noisy for q in questions]) - torch.cat([centred(batch)] * 20)
    # aligning takes out six of the 3 n degrees of freedom, so the rest is a little under 0.2 Å
    assert 0.15 < float(moved.std()) < 0.2


def test_alignment_undoes_a_rigid_motion_and_never_mirrors():
    rng = np.random.default_rng(0)
    fixed, owner = rng.normal(size=(9, 3)), np.repeat([0, 1], [5, 4])
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn = q * np.sign(np.linalg.det(q))
    assert np.allclose(align(fixed @ turn + 4.0, fixed, owner, 2), fixed, atol=1e-9)
    assert not np.allclose(align(fixed * [1, 1, -1], fixed, owner, 2), fixed, atol=0.1)


def test_nothing_masked_is_no_nan(corpus):
    ids = np.array([int(np.argmin(corpus.n_atoms))])
    objective = Pretrain(mask_share=0.0)
    question = objective.corrupt(corpus.batch(ids), 0, 0)
    terms = objective.loss_terms(Model(*make_two_track(SMALL)), question)
    assert terms["token_ce_nats"].count == 0 and float(terms["token_ce_nats"].total) == 0.0
    assert (
        token_scores(torch.zeros(0, 128), torch.zeros(0, dtype=torch.long))["token_accuracy"] == 0
    )


def test_the_loss_does_not_depend_on_the_grouping(corpus):
    torch.manual_seed(0)
    objective = Pretrain()
    model = Model(*make_two_track(SMALL)).eval()
    ids = np.arange(12)

    def scored(groups):
        sums: dict[str, float] = {}
        for group in groups:
            for name, term in objective.loss_terms(
                model, objective.corrupt(corpus.batch(group), 1, 2)
            ).items():
                sums[name] = sums.get(name, 0.0) + float(term.total)
        return sums

    whole, parts = scored([ids]), scored([ids[:5], ids[5:6], ids[6:]])
    assert whole == pytest.approx(parts, rel=1e-5)


def test_identity_baseline_is_the_untouched_noise(corpus):
    objective = Pretrain()
    questions = [objective.corrupt(corpus.batch(corpus.ids("val")), 0, -1)]
    found = pretrain_baselines(corpus, corpus.ids("train"), questions)
    batch, noisy = questions[0].batch, questions[0].noisy
    by_hand = []
    for mol in range(batch.n_mol):
        mine = batch.mol_of_atom() == mol
        truth = batch.coords[mine] - batch.coords[mine].mean(0)
        by_hand.append(float((noisy[mine] - truth).abs().sum(-1).mean()))
    assert found["hidden"]["coord_l1_angstrom"] == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert found["visible"]["token_accuracy"] > found["hidden"]["token_accuracy"] + 0.1
    assert found["visible"]["token_ce_nats"] < found["hidden"]["token_ce_nats"]


def test_the_element_table_counts_what_it_saw():
    numbers, keys = np.array([6, 6, 8, 7]), np.array([1, 1, 1, 2])
    table = ElementTable()
    table.add(numbers[:2], keys[:2])
    table.add(numbers[2:], keys[2:])
    assert table.by_frequency(np.array([6, 8]))[1] == 1
    assert table.by_features(np.array([7]), np.array([2]))[1] == 1
    assert (
        table.by_features(np.array([6]), np.array([9]))[1] == 1
    )  # a key never seen: the most frequent element


def test_visible_keys_do_not_hold_the_element(corpus):
    batch = corpus.batch(np.arange(5))
    other = batch.numbers.clone().fill_(9)
    assert np.array_equal(
        atom_keys(batch), atom_keys(batch.with_arrays("atom", {"numbers": other}))
    )


def test_unknown_labels_count_nothing():
    task = ScaledTask(
        "t", "molecule", "regression", "mae", ("a", "b"), ("eV", "D"), (1.0, 0.0), (2.0, 1.0)
    )
    truth = torch.tensor([[3.0, float("nan")], [float("nan"), 4.0]])
    guess = torch.zeros(2, 2, requires_grad=True)
    scores = label_scores(task, guess, truth)
    assert scores["a_mae_eV"].item() == pytest.approx(2.0) and scores[
        "b_mae_D"
    ].item() == pytest.approx(4.0)
    assert scores["t_loss"].item() == pytest.approx(1.0 + 4.0)
    scores["t_loss"].backward()
    assert torch.isfinite(guess.grad).all() and guess.grad[0, 1] == 0


def test_every_task_present_counts_the_same(corpus):
    tasks = [
        ScaledTask(n, "molecule", "regression", "mae", (n,), ("eV",), (0.0,), (1.0,))
        for n in ("a", "b", "c")
    ]
    objective = Supervised(("a", "b", "c"), tuple(tasks))
    assert objective.weights({"a_loss": 100.0, "b_loss": 1.0, "c_loss": 0.0}) == {
        "a_loss": 0.5,
        "b_loss": 0.5,
    }


@pytest.mark.parametrize(
    "objective",
    [
        Pretrain(noise_angstrom=0.1),
        Supervised(
            ("a",), (ScaledTask("a", "atom", "regression", "mae", ("q",), ("e",), (0.0,), (1.0,)),)
        ),
    ],
)
def test_objectives_survive_storage(objective):
    assert make_objective(describe(objective)) == objective


def test_impossible_shares_are_refused():
    with pytest.raises(InputError, match="mask_share is 1.5"):
        Pretrain(mask_share=1.5)
    with pytest.raises(InputError, match="noise_angstrom is -1.0"):
        Pretrain(noise_angstrom=-1.0)
