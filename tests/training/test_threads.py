"""Groups are computed side by side, and how many threads there are decides nothing but the time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import SMALL, STEADY, small_run

from molnb.models.dropout import Dropout, drawing_from, keep_mask
from molnb.models.unimol2.encoder import TwoTrack
from molnb.objectives.supervised import Supervised
from molnb.training import groups
from molnb.training.groups import count_hands, score
from molnb.training.loop import prepare_run, take_step, train, validation_batches
from molnb.training.session import Session
from molnb.training.threads import N_SIDE, ThreadTeam, one_thread

CPU = torch.device("cpu")


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Two cores for torch, whatever the tests have set or the machine has."""
    n_core = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_core)


@pytest.fixture
def shared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are dealt to threads however small they are."""
    monkeypatch.setattr(groups, "WORTH_SHARING", 0)


# ------------------------------------------------------------------------------------------ a team


def test_results_come_in_the_order_of_the_items(two_cores):
    def wait(seconds: float) -> tuple[float, str]:
        time.sleep(seconds)
        return seconds, threading.current_thread().name

    with ThreadTeam(CPU) as team:
        results = list(team.map(wait, [0.2, 0.0, 0.1]))
    assert [seconds for seconds, _ in results] == [0.2, 0.0, 0.1]
    assert len({name for _, name in results}) == 2 == N_SIDE


def test_threads_share_the_cores_and_the_caller_keeps_its_own(two_cores):
    with ThreadTeam(CPU) as team:
        assert list(team.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
        assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_one_core_or_one_item_needs_no_thread(two_cores):
    def name(_: int) -> str:
        return threading.current_thread().name

    caller = threading.current_thread().name
    with ThreadTeam(CPU) as team:
        assert list(team.map(name, [1])) == [caller] and not team.shares([1])
    torch.set_num_threads(1)
    with ThreadTeam(CPU) as team:
        assert list(team.map(name, [1, 2, 3])) == [caller] * 3


def test_what_a_thread_raises_reaches_the_caller_and_no_thread_stays(two_cores):
    def fail(number: int) -> int:
        if number == 2:
            raise ValueError(f"number {number}")
        return number

    before = threading.active_count()
    with pytest.raises(ValueError, match="number 2"), ThreadTeam(CPU) as team:
        list(team.map(fail, range(4)))
    assert threading.active_count() == before


def test_one_thread_is_given_back(two_cores):
    with pytest.raises(ValueError), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError
    assert torch.get_num_threads() == 2


# ------------------------------------------------------------------------------------------ dropout


def test_masks_of_a_thread_come_from_its_seed_whatever_others_draw(two_cores):
    def draw(seed: int) -> list[torch.Tensor]:
        masks = []
        with drawing_from(seed):
            for _ in range(20):
                masks.append(keep_mask((50,), 0.5, CPU))
                time.sleep(0.001)
        return masks

    alone = [draw(seed) for seed in (1, 2)]
    state = torch.random.get_rng_state()
    with ThreadTeam(CPU) as team:
        together = list(team.map(draw, (1, 2)))
    assert torch.equal(torch.random.get_rng_state(), state)
    for masks, masks_alone in zip(together, alone, strict=True):
        assert all(map(torch.equal, masks, masks_alone))
    assert not torch.equal(alone[0][0], alone[1][0]) and not torch.equal(alone[0][0], alone[0][1])


def test_dropout_drops_in_training_and_nothing_in_evaluation():
    layer = Dropout(0.25)
    x = torch.ones(100_000)
    dropped = layer.train()(x)
    assert abs(float((dropped == 0).float().mean()) - 0.25) < 0.01
    assert float(dropped.max()) == pytest.approx(1 / 0.75)
    assert torch.equal(layer.eval()(x), x)


# ----------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("worth_sharing", [0, math.inf])
@pytest.mark.parametrize("learns", ["masked atoms", "labels"])
def test_cores_do_not_change_a_bit(learns, worth_sharing, nci, tmp_path, two_cores, monkeypatch):
    monkeypatch.setattr(groups, "WORTH_SHARING", worth_sharing)
    tasks = ("nci_dipole", "nci_charges", "nci_bond_orders", "nci_pair_orders")
    changes = {"objective": Supervised(tasks, head_dropout=0.2)} if learns == "labels" else {}
    config = small_run(nci, model=SMALL, **changes)
    assert count_hands(Session(prepare_run(config, tmp_path / "x"), "cpu"), np.arange(8)) == (
        1 if worth_sharing else N_SIDE
    )
    assert SMALL.dropout and SMALL.attention_dropout and SMALL.pair_dropout
    together = train(config, tmp_path / "two")
    torch.set_num_threads(1)
    alone = train(config, tmp_path / "one")
    weights = together.load_model().state_dict()
    for name, tensor in alone.load_model().state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert together.metrics("val") == alone.metrics("val")


def test_a_step_is_computed_by_two_threads(nci, tmp_path, two_cores, shared_at_once, monkeypatch):
    names = set()
    forward = TwoTrack.forward

    def noted(self, *args, **options):
        names.add(threading.current_thread().name)
        return forward(self, *args, **options)

    monkeypatch.setattr(TwoTrack, "forward", noted)
    session = Session(prepare_run(small_run(nci), tmp_path / "run"), "cpu")
    with session.team:
        take_step(session)
    assert len(names) == 2 and threading.current_thread().name not in names


def test_dealing_changes_loss_and_gradient_only_by_rounding(nci, tmp_path, monkeypatch):
    objective = Supervised(("nci_dipole", "nci_charges"))
    config = small_run(nci, model=STEADY, global_batch=16, objective=objective)
    run = prepare_run(config, tmp_path / "run")
    losses = []
    gradients = []
    for worth_sharing in (math.inf, 0):
        monkeypatch.setattr(groups, "WORTH_SHARING", worth_sharing)
        session = Session(run, "cpu")
        for head in session.model.heads.values():
            torch.nn.init.ones_(head.out.weight)  # else nothing reaches the encoder
        losses.append(take_step(session)[0])
        gradients.append({n: p.grad for n, p in session.model.named_parameters()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert sum(gradient is not None for gradient in gradients[0].values()) > 20
    for name, whole in gradients[0].items():
        if whole is not None:
            assert torch.allclose(gradients[1][name], whole, rtol=1e-3, atol=1e-6), name


def test_hands_depend_on_the_molecules_alone(nci, tmp_path, two_cores, monkeypatch):
    session = Session(prepare_run(small_run(nci), tmp_path / "run"), "cpu")
    many = np.arange(session.corpus.n)
    encoder = session.model.encoder
    sizes = session.corpus.n_atoms.tolist()
    assert session.count_flops(many) == sum(encoder.count_flops(n, n) for n in sizes)
    monkeypatch.setattr(groups, "WORTH_SHARING", session.count_flops(many))
    assert count_hands(session, many) == N_SIDE and count_hands(session, many[:-1]) == 1
    torch.set_num_threads(1)
    assert count_hands(Session(session.run, "cpu"), many) == N_SIDE


def test_an_encoder_with_torchs_own_dropout_is_left_to_one_thread(
    nci, tmp_path, two_cores, monkeypatch
):
    monkeypatch.setattr(TwoTrack, "own_dropout", False)
    session = Session(prepare_run(small_run(nci), tmp_path / "run"), "cpu")
    assert not session.side_by_side and session.team.n_thread == 1
    monkeypatch.setattr(groups, "WORTH_SHARING", 0)
    assert count_hands(session, np.arange(session.corpus.n)) == 1


def test_compiled_encoders_are_left_to_one_thread(nci, tmp_path, two_cores):
    config = replace(small_run(nci), compile=True)
    session = Session(prepare_run(config, tmp_path / "run"), "cpu")
    assert not session.side_by_side and session.team.n_thread == 1


def test_scores_of_a_team_are_those_of_one_thread(label_run, two_cores):
    session = Session(label_run, "cpu")
    session.config = replace(session.config, pair_budget=600)
    (examined,) = validation_batches(session)
    assert len(examined.groups) > 2
    model = label_run.load_model()
    together = score(model, session.objective, examined.groups, CPU)
    torch.set_num_threads(1)
    assert score(model, session.objective, examined.groups, CPU) == together
    assert not model.training
