"""What the groups of molecules of a global batch add up to: gradients, and scores.

Groups are computed side by side where a team of threads has cores for it. What they give is added
in the order of the groups, so that neither cores nor threads decide a bit of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.masked import Count, MaskedBatch
from ..models.dropout import drawing_from
from ..models.model import Model
from ..objectives.answers import Answers
from ..objectives.interface import Objective, SumCount, weighted_loss
from ..objectives.label_metrics import NO_REFERENCES, LabelMetrics, References
from ..objectives.poisson_draws import N_DRAW
from ..rng import integer_seed
from .device import autocast, number_of
from .session import Session
from .sharding import is_split
from .threads import N_SIDE, ThreadTeam, one_thread

DROPOUT_CHANNEL = 100  # of the random numbers that dropout draws from
WINDOW = 16  # batches whose answers may wait to be gathered
WORTH_SHARING = 300e6  # floating-point operations of a forward pass over a global batch


def count_hands(session: Session, ids: np.ndarray) -> int:
    """How many hands the molecules of a step are dealt into: processes and threads take whole ones.

    It depends on the run and its molecules and not on processes and cores, so that these decide
    nothing but the time.
    """
    n_hand = session.config.hands
    if session.side_by_side and session.count_flops(ids) >= WORTH_SHARING:
        n_hand = max(n_hand, N_SIDE)
    return n_hand


def add_counts(groups: Sequence[MaskedBatch]) -> dict[str, Count]:
    """How many things each term is a sum over, in all groups of molecules together."""
    sums: dict[str, Count] = {}
    for masked in groups:
        for name, count in masked.counts.items():
            sums[name] = sums.get(name, 0.0) + count
    return sums


class _Part(NamedTuple):
    """What a group contributes: the sum of each term, and gradients that are not added yet."""

    sums: dict[str, Tensor]
    gradients: Sequence[Tensor | None]


def add_gradients(
    session: Session,
    groups: Sequence[MaskedBatch],
    weights: Mapping[str, float],
    counts: Mapping[str, Count],
    n_hand: int,
) -> dict[str, Tensor | Count]:
    """Leave the gradient of the loss in the parameters; returns the sum of each term.

    Both are over the groups of all processes, and so are the `counts` that sums are divided by. A
    step that is not worth sharing is not spread over cores by torch either: that gains nothing, and
    the sums of a layer norm's gradient would depend on the cores.
    """
    parameters = [p for p in session.model.parameters() if p.requires_grad]
    shared = session.team.shares(groups)
    n_turn = len(groups)
    if session.sharding is not None:  # all processes collect a block, or none
        n_turn = session.ranks.most(n_turn)

    def compute(number: int) -> _Part:
        idle = number >= len(groups)
        masked = groups[-1] if idle else groups[number]
        first = int(masked.batch.ids[0])  # the same group, whoever computes it
        seed = integer_seed(session.config.seed, session.step, first, DROPOUT_CHANNEL)
        terms = _terms_of_training(session, masked, seed)
        loss = weighted_loss(terms, weights, counts)
        if idle:
            (0.0 * loss).backward()
            return _Part({}, ())
        gradients: Sequence[Tensor | None] = ()
        if loss.requires_grad and shared:
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        elif loss.requires_grad:
            loss.backward()  # adds in place: a second copy of all gradients is never there
        return _Part({name: term.total.detach() for name, term in terms.items()}, gradients)

    sums: dict[str, Tensor] = {}
    with one_thread() if session.side_by_side and n_hand == 1 else nullcontext():
        for part in session.team.map(compute, range(n_turn)):
            _accumulate(parameters, part.gradients)
            for name, total in part.sums.items():
                sums[name] = sums.get(name, 0) + total
    session.ranks.add_gradients([p for p in parameters if not is_split(p)])
    return session.ranks.add_sums(sums, counts)


def _accumulate(
    parameters: Sequence[torch.nn.Parameter], gradients: Sequence[Tensor | None]
) -> None:
    """Add to the gradients of parameters, as `backward` does.

    autograd also gives columns of a larger matrix, and one tensor to two parameters. A gradient is
    kept where nothing else lies in its memory, in the order of its parameter, which is how fused
    AdamW reads it.
    """
    taken: set[int] = set()
    for parameter, gradient in zip(parameters, gradients, strict=False):
        if gradient is None:
            continue
        if parameter.grad is not None:
            parameter.grad.add_(gradient)
            continue
        memory = gradient.untyped_storage()
        is_own = memory.nbytes() == gradient.nbytes and memory.data_ptr() not in taken
        taken.add(memory.data_ptr())
        if is_own and gradient.stride() == parameter.stride():
            parameter.grad = gradient
        else:
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def _terms_of_training(session: Session, masked: MaskedBatch, seed: int) -> dict[str, SumCount]:
    """Each term of the objective over a group of molecules, with dropout drawn from a seed."""
    with dropout_from(session, seed), autocast(session.device, session.config.precision):
        return session.objective.loss_terms(
            session.model, masked.to(session.device, number_of(session.config.precision))
        )


@contextmanager
def dropout_from(session: Session, seed: int) -> Iterator[None]:
    """Dropout inside is decided by a seed; the caller's own random numbers stay as they are."""
    if session.side_by_side:
        with drawing_from(seed):
            yield
        return
    on_gpu = [session.device] if session.device.type == "cuda" else []
    with torch.random.fork_rng(on_gpu):
        torch.manual_seed(seed)
        yield


def score(
    model: Model,
    objective: Objective,
    groups: Sequence[MaskedBatch],
    device: torch.device,
    precision: str = "float32",
    team: ThreadTeam | None = None,
    metrics: LabelMetrics | None = None,
) -> dict[str, float | int | None]:
    """Each term of an objective over masked batches, in evaluation mode; None where undefined.

    `team` computes them; without one threads are made for this call. `metrics` gathers scores of
    each label beside them.
    """
    model.eval()
    if team is None:
        with ThreadTeam(device) as team:
            return score(model, objective, groups, device, precision, team, metrics)
    if metrics is None:
        metrics = make_label_metrics(objective, groups, n_draw=0)
    examine = partial(_examine, model, objective, device, precision)
    sums: dict[str, np.ndarray] = {}
    for start in range(0, len(groups), WINDOW):
        window = groups[start : start + WINDOW]
        for masked, (terms, answers) in zip(window, team.map(examine, window), strict=True):
            metrics.add(masked.batch, answers)
            for name, total in terms.items():
                sums[name] = sums.get(name, 0.0) + total
    return objective.means(sums, add_counts(groups)) | objective.rankings(metrics)


def make_label_metrics(
    objective: Objective,
    groups: Sequence[MaskedBatch],
    references: References = NO_REFERENCES,
    n_draw: int = N_DRAW,
) -> LabelMetrics:
    """What gathers scores of the labels of an objective over these batches."""
    batches = [masked.batch for masked in groups]
    return LabelMetrics(objective.tasks_scaled, batches, references, n_draw)


@torch.no_grad()
def _examine(
    model: Model, objective: Objective, device: torch.device, precision: str, masked: MaskedBatch
) -> tuple[dict[str, np.ndarray], Answers]:
    """The sum of each term over a group that is only scored, and its answers to labels.

    Sums are float64, and of one number too arrays: of no axis.
    """
    answers = Answers()
    with autocast(device, precision):
        terms = objective.examine(model, masked.to(device, number_of(precision)), answers)
    totals = {name: term.total.double().cpu().numpy() for name, term in terms.items()}
    return totals, answers
