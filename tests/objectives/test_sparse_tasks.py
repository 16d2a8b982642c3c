"""What is not known changes nothing: cells, rows, whole tasks; at every level and of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_shards import LEVELS, make_shards
from tiny import STEADY
from torch import Tensor
from torch.nn import functional as F

from molnb.data.batch import MolBatch, SparseLabels, every_index
from molnb.data.dataset import Corpus
from molnb.models.model import Model
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.interface import weighted_loss
from molnb.objectives.supervised import Supervised, in_units, label_scores, metric_names
from molnb.objectives.targets import ScaledTask, known_labels

N_LABEL = 3
LOSSES = {
    "mae": "regression",
    "mse": "regression",
    "smooth_mae": "regression",
    "bce": "binary",
    "ce": "classes",
    "hybrid_ce": "classes",
}
CLASSES = {"regression": (), "binary": (("0", "1"),) * 3, "classes": (("a", "b", "c"),) * 3}


def make_task(key: str, level: str, loss: str, **changes) -> ScaledTask:
    """A task of three labels; numbers are about 5 with a spread of 2."""
    kind = LOSSES[loss]
    is_number = kind == "regression"
    task = ScaledTask(
        key=key,
        level=level,
        kind=kind,
        loss=loss,
        labels=tuple(f"{key}{number}" for number in range(N_LABEL)),
        units=("eV",) * N_LABEL,
        mean=(5.0 if is_number else 0.0,) * N_LABEL,
        scale=(2.0 if is_number else 1.0,) * N_LABEL,
        classes=CLASSES[kind],
    )
    return task._replace(**changes)


def labels_of(task: ScaledTask, batch: MolBatch, share: float, seed: int = 0) -> SparseLabels:
    """A row for everything of a level, in which a share of the labels is known, drawn at random."""
    random = np.random.default_rng(seed)
    index = every_index(batch, task.level)
    shape = (len(index), N_LABEL)
    values = random.normal(5.0, 2.0, shape)
    if task.of_classes:
        values = random.integers(0, len(task.classes[0]), shape).astype(np.float32)
    values[random.random(shape) >= share] = np.nan
    return SparseLabels(index, torch.from_numpy(values))


def labelled_rows(labels: SparseLabels) -> SparseLabels:
    """The rows alone in which something is known."""
    has_some = torch.isfinite(labels.values).any(1)
    return SparseLabels(labels.index[has_some], labels.values[has_some])


def make_steady(objective: Supervised) -> Model:
    """A model without dropout, whose heads have left zero."""
    torch.manual_seed(0)
    encoder, _ = make_two_track(STEADY)
    model = Model(encoder, objective.make_heads(encoder, {}))
    for head in model.heads.values():
        torch.nn.init.normal_(head.out.weight, std=0.3)
    return model


def gradients(objective: Supervised, model: Model, batch: MolBatch) -> tuple[float, dict]:
    """The loss of a batch, and the gradient of each parameter that has one."""
    model.zero_grad(set_to_none=True)
    loss, _ = objective(model, batch)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), found


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=1e-6, atol=1e-6 * largest), name


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> MolBatch:
    """Eight made-up molecules."""
    corpus = Corpus([make_shards(tmp_path_factory.mktemp("trees"))])
    return corpus.batch(np.arange(8))


# -------------------------------------------------------------------------------- cells and rows


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_tenth_of_the_labels_teaches_what_its_rows_alone_do(level, loss, batch):
    task = make_task("t", level, loss)
    objective = Supervised(("t",), (task,))
    model = make_steady(objective)
    share = 0.1 if level in ("atom", "bond", "pair") else 0.25
    labels = labels_of(task, batch, share)
    alone = labelled_rows(labels)
    assert 0 < len(alone.index) < len(labels.index)
    loss_of_all, found = gradients(objective, model, replace(batch, labels={"t": labels}))
    loss_alone, expected = gradients(objective, model, replace(batch, labels={"t": alone}))
    assert loss_of_all == pytest.approx(loss_alone, rel=1e-6)
    assert_same_gradients(found, expected)


def plain_loss(task: ScaledTask, output: Tensor, truth: float, column: int) -> Tensor:
    """The loss of one cell, from the outputs of its label."""
    if task.kind == "regression":
        error = (output[0] - (truth - task.mean[column]) / task.scale[column]).abs()
        if task.loss == "smooth_mae":
            return torch.where(error < 1, 0.5 * error**2, error - 0.5)
        return error if task.loss == "mae" else error**2
    if task.kind == "binary":
        return -torch.log(torch.sigmoid(output[0] if truth else -output[0]))
    probabilities = torch.softmax(output, 0)
    entropy = -torch.log(probabilities[int(truth)])
    if task.loss == "ce":
        return entropy
    expected = sum(number * p for number, p in enumerate(probabilities))
    return 0.5 * entropy + 0.5 * (expected - truth) ** 2


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("a", "b")], ids=["alike", "fewer"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_sum_over_known_cells_of_that_of_each(loss, classes):
    """In the second column there may be fewer classes than in the others."""
    task = make_task("t", "molecule", loss)
    if task.kind == "classes":
        task = task._replace(classes=(("a", "b", "c"), classes, ("a", "b", "c")))
    random = np.random.default_rng(3)
    truth = random.normal(5.0, 3.0, (40, N_LABEL))
    if task.of_classes:
        sizes = [len(names) for names in task.classes]
        truth = random.integers(0, sizes, (40, N_LABEL)).astype(float)
    truth[random.random(truth.shape) < 0.6] = np.nan
    outputs = torch.from_numpy(2 * random.normal(size=(40, task.n_output)))
    fast = outputs.float().requires_grad_()
    slow = outputs.clone().requires_grad_()
    cells = [
        plain_loss(task, slow[row, task.outputs_of(column)], truth[row, column], column)
        for row, column in np.argwhere(np.isfinite(truth)).tolist()
    ]
    expected = sum(cells)
    scores = label_scores(task, fast, torch.from_numpy(truth))
    assert float(scores["t_loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    scores["t_loss"].backward()
    expected.backward()
    assert torch.isfinite(fast.grad).all()
    assert torch.allclose(fast.grad.double(), slow.grad, atol=1e-6)
    probabilities = in_units(task, outputs)
    right = np.zeros(N_LABEL)
    for row, column in np.argwhere(np.isfinite(truth)).tolist():
        answers = probabilities[row, task.outputs_of(column)]
        if task.kind == "regression":
            right[column] += abs(float(answers[0]) - truth[row, column])
        else:
            likely = int(answers.argmax()) if task.kind == "classes" else float(answers[0]) > 0.5
            right[column] += likely == truth[row, column]
    assert scores["t_scores"].tolist() == pytest.approx(right.tolist(), rel=1e-5)


def test_a_class_that_a_label_lacks_has_no_probability_and_no_gradient():
    classes = (("a", "b", "c"), ("a", "b"))
    task = make_task("t", "molecule", "hybrid_ce", labels=("x", "y"), classes=classes)
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 50.0]], requires_grad=True)
    assert in_units(task, logits).tolist()[0] == pytest.approx([1 / 3] * 3 + [0.5, 0.5, 0])
    label_scores(task, logits, torch.tensor([[float("nan"), 1.0]]))["t_loss"].backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[0, :3].any() and logits.grad[0, 5] == 0
    assert logits.grad[0, 3] > 0 > logits.grad[0, 4]


@pytest.mark.parametrize("loss", ["mae", "bce", "hybrid_ce"])
def test_a_label_that_is_not_learnt_is_unknown_and_predicted_as_missing(loss, batch):
    """Its values on rows that are not learnt from count in no loss and no score."""
    task = make_task("t", "molecule", loss, learnt=(True, False, True))
    objective = Supervised(("t",), (task,))
    model = make_steady(objective)
    labels = labels_of(task, batch, 1.0)
    masked = objective.corrupt(replace(batch, labels={"t": labels}), 0, 0)
    assert masked.counts["t_loss"] == 16 and masked.counts["t_scores"].tolist() == [8, 0, 8]
    hidden = labels.values.clone()
    hidden[:, 1] = torch.nan
    assert torch.equal(known_labels(task, labels.values).isnan(), hidden.isnan())
    everything = task._replace(learnt=())
    whole = Supervised(("t",), (everything,))
    found = gradients(objective, model, replace(batch, labels={"t": labels}))
    expected = gradients(whole, model, replace(batch, labels={"t": labels._replace(values=hidden)}))
    assert found[0] == expected[0]
    assert_same_gradients(found[1], expected[1])
    _, means = objective(model, masked)
    assert set(means) == {"t_loss", *(metric_names(task)[column] for column in (0, 2))}
    answers = in_units(task, torch.zeros(4, task.n_output))
    missing = answers.isnan().all(0)
    assert missing.tolist() == np.repeat([False, True, False], task.n_class).tolist()


# ------------------------------------------------------------------------------------ whole tasks


@pytest.mark.parametrize("weighting", ["even", "uncertainty"])
def test_a_task_absent_from_a_batch_changes_nothing(weighting, batch):
    tasks = [make_task("a", "atom", "mae"), make_task("b", "pair", "bce")]
    both = Supervised(("a", "b"), tuple(tasks), weighting=weighting)
    one = Supervised(("a",), tuple(tasks[:1]), weighting=weighting)
    model = make_steady(both)
    labelled = replace(batch, labels={"a": labels_of(tasks[0], batch, 0.5)})
    loss, found = gradients(both, model, labelled)
    smaller = Model(model.encoder, {"a": model.heads["a"]})
    loss_without, expected = gradients(one, smaller, labelled)
    assert loss == loss_without
    assert found.keys() == expected.keys() and not any("heads.b" in name for name in found)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    unknown = labels_of(tasks[1], batch, 0.0)
    rows_without_values = replace(labelled, labels=labelled.labels | {"b": unknown})
    loss_with_rows, found = gradients(both, model, rows_without_values)
    assert loss_with_rows == loss
    assert not any(found[name].any() for name in found if "heads.b" in name)


def test_tasks_count_as_much_as_their_weights_say(batch):
    tasks = (make_task("x/a", "atom", "mae"), make_task("b", "molecule", "ce"))
    plain = Supervised(("a", "b"), tasks)
    weighed = replace(plain, task_weights={"a": 3})
    model = make_steady(plain)
    labels = {task.key: labels_of(task, batch, 0.5) for task in tasks}
    labelled = replace(batch, labels=labels)
    loss, means = plain(model, labelled)
    assert float(loss.detach()) == pytest.approx((means["x/a_loss"] + means["b_loss"]) / 2)
    loss, means = weighed(model, labelled)
    assert float(loss.detach()) == pytest.approx((3 * means["x/a_loss"] + means["b_loss"]) / 4)
    counts = {"x/a_loss": 5.0, "b_loss": 0.0}
    assert weighed.weights(counts) == {"x/a_loss": 1.0}, "alone it has all of the mean"
    by_key = replace(plain, task_weights={"x/a": 2.0, "a": 9.0})
    assert by_key.weights({"x/a_loss": 1.0, "b_loss": 1.0})["x/a_loss"] == pytest.approx(2 / 3)


# -------------------------------------------------------------------------------- learned weights


def shaken_weights(model: Model) -> None:
    with torch.no_grad():
        for number, head in enumerate(model.heads.values()):
            head.log_variance.fill_(0.7 - 1.1 * number)


def test_learned_weights_are_those_of_the_formula_and_start_as_even_ones(batch):
    tasks = (make_task("a", "atom", "mse"), make_task("b", "molecule", "ce"))
    objective = Supervised(("a", "b"), tasks, weighting="uncertainty")
    model = make_steady(objective)
    labelled = replace(batch, labels={task.key: labels_of(task, batch, 0.5) for task in tasks})
    loss, means = objective(model, labelled)
    losses = [means["a_loss"], means["b_loss"]]
    assert float(loss.detach()) == pytest.approx(np.mean(losses))
    assert (means["a_log_variance"], means["b_log_variance"]) == (0, 0)
    shaken_weights(model)
    loss, means = objective(model, labelled)
    s = np.array([0.7, -0.4])
    expected = np.mean(np.exp(-s) * losses + s / 2)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    assert means["a_log_variance"] == pytest.approx(0.7) and means["a_loss"] == losses[0]
    loss.backward()
    slopes = [float(model.heads[name].log_variance.grad) for name in ("a", "b")]
    assert slopes == pytest.approx((0.5 - np.exp(-s) * losses) / 2, rel=1e-5)
    told = objective.reported_weights({"a_loss": 1.0, "b_loss": 1.0})
    assert told == {"a_loss": 0.5, "b_loss": 0.5}, "without what is learnt"


def test_the_term_of_a_learned_weight_is_added_once_however_a_batch_is_grouped(tmp_path):
    corpus = Corpus([make_shards(tmp_path)])
    tasks = (make_task("a", "atom", "mse"), make_task("b", "molecule", "bce"))
    objective = Supervised(("a", "b"), tasks, weighting="uncertainty")
    model = make_steady(objective)
    shaken_weights(model)
    whole = corpus.batch(np.arange(12))
    known = {task.key: labels_of(task, whole, 0.4) for task in tasks}

    def labelled(ids: np.ndarray) -> MolBatch:
        """Some of the molecules, with the labels that they have in the whole batch."""
        group = corpus.batch(ids)
        labels = {}
        for task in tasks:
            rows = known[task.key].values
            if task.level == "atom":
                rows = torch.cat([rows[whole.mol_of_atom() == mol] for mol in ids])
            else:
                rows = rows[ids]
            labels[task.key] = SparseLabels(every_index(group, task.level), rows)
        return replace(group, labels=labels)

    def sums_of(groups: list[np.ndarray]) -> tuple[float, dict[str, float]]:
        model.zero_grad(set_to_none=True)
        masked = [objective.corrupt(labelled(ids), 0, 0) for ids in groups]
        counts = {name: sum(group.counts[name] for group in masked) for name in masked[0].counts}
        total = 0.0
        for group in masked:
            terms = objective.loss_terms(model, group)
            loss = weighted_loss(terms, objective.weights(counts), counts)
            loss.backward()
            total += float(loss.detach())
        return total, {head: float(model.heads[head].log_variance.grad) for head in model.heads}

    loss, expected = sums_of([np.arange(12)])
    loss_of_groups, found = sums_of([np.r_[0, 6], np.r_[2:6], np.r_[1, 7:12]])
    assert loss_of_groups == pytest.approx(loss, rel=1e-6)
    assert found == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------- wide tasks


@pytest.mark.parametrize("loss", ["mae", "bce", "ce"])
def test_of_very_many_labels_a_row_has_the_loss_and_one_mean(loss, batch):
    n = 200
    kind = LOSSES[loss]
    scale = tuple(np.linspace(1.0, 9.0, n)) if kind == "regression" else (1.0,) * n
    wide = make_task(
        "w",
        "molecule",
        loss,
        labels=tuple(f"l{number}" for number in range(n)),
        units=("1",) * n,
        mean=(0.0,) * n,
        scale=scale,
        classes=(CLASSES[kind][0],) * n if CLASSES[kind] else (),
    )
    objective = Supervised(("w",), (wide,))
    model = make_steady(objective)
    random = np.random.default_rng(0)
    values = random.normal(size=(8, n)) if kind == "regression" else random.integers(0, 2, (8, n))
    values = values.astype(float)
    values[random.random(values.shape) < 0.7] = np.nan
    labels = {"w": SparseLabels(torch.arange(8), torch.from_numpy(values))}
    _, means = objective(model, replace(batch, labels=labels))
    name = "w_mean_mae_sd" if kind == "regression" else "w_mean_accuracy"
    assert list(means) == ["w_loss", name]
    answers = in_units(wide, model(replace(batch, labels=labels)).outputs["w"].detach())
    scores = []
    for column in range(n):
        known = np.isfinite(values[:, column])
        if known.any():
            guess = answers[known][:, wide.outputs_of(column)].numpy()
            truth = values[known, column]
            if kind == "regression":
                scores.append(np.abs(guess[:, 0] - truth).mean() / scale[column])
            else:
                named = guess.argmax(1) if kind == "classes" else guess[:, 0] > 0.5
                scores.append((named == truth).mean())
    assert means[name] == pytest.approx(np.mean(scores), rel=1e-5)


def test_many_labels_of_classes_cost_as_many_tensor_operations_as_one():
    def count(n: int) -> int:
        task = make_task("t", "molecule", "hybrid_ce", labels=("l",) * n, classes=(("a", "b"),) * n)
        logits = torch.zeros(4, task.n_output, requires_grad=True)
        truth = torch.zeros(4, n)
        with torch.profiler.profile() as profile:
            label_scores(task, logits, truth)["t_loss"].backward()
        return sum(event.count for event in profile.key_averages())

    assert count(50) <= count(1) + 2


def test_the_expected_class_number_is_exact_also_where_logits_are_not():
    task = make_task("t", "molecule", "hybrid_ce", labels=("a",), classes=(("0", "1", "2", "3"),))
    logits = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    truth = torch.arange(64.0)[:, None] % 4
    plain = label_scores(task, logits, truth)["t_loss"]
    with torch.autocast("cpu", torch.bfloat16):
        assert float(label_scores(task, logits, truth)["t_loss"]) == pytest.approx(float(plain))


def test_huber_is_what_smooth_mae_means():
    task = make_task("t", "molecule", "smooth_mae", labels=("a",), mean=(0.0,), scale=(1.0,))
    guess = torch.linspace(-4, 4, 33)[:, None]
    scores = label_scores(task, guess, torch.zeros(33, 1))
    expected = F.huber_loss(guess, torch.zeros(33, 1), reduction="sum", delta=1.0)
    assert float(scores["t_loss"]) == pytest.approx(float(expected))
