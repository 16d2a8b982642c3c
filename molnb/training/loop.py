"""The loop. Read it from top to bottom: corrupt, predict, score, step, log, save.

`training_steps` is a generator and the only loop there is; `train` drains it, `fit` drains it with
`await` so that a notebook stays alive. A killed run goes on from its last checkpoint and ends in
the same bits on the CPU: which samples form a step, what is hidden and which noise is added depend
only on (seed, step, sample), dropout only on (seed, step).
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..data.crops import crop
from ..data.dataset import Corpus
from ..data.masked import MaskedBatch
from ..data.sampling import batches, sample_ids
from ..errors import InputError
from ..files import write_json
from ..models.heads import LabelHead
from ..models.model import Model
from ..objectives.answers import Answers
from ..objectives.class_counts import count_classes, rare_classes
from ..objectives.interface import Objective, SumCount, weighted_loss
from ..objectives.supervised import Supervised
from ..objectives.targets import label_values, scale_tasks
from ..objectives.trivial_baselines import label_baselines, pretrain_baselines
from ..rng import hash_sample, integer_seed
from .checkpoints import BEST, last_checkpoint, load_weights, write_checkpoint, write_weights
from .config import RunConfig
from .device import autocast, choose_device
from .optimizer import gather_state, learning_rate, make_optimizer, restore_state
from .ownership import check_mine, is_mine, owned
from .rows import Rows, check_patience, open_corpus, row_notes, training_rows
from .runs import NOTES, Run, check_start, find_run, make_model, start_run

EVAL_SEED = 0  # one noise for all runs, so their validation losses are comparable
EVAL_STEP = -1
N_SAMPLE = 512  # training molecules on which classes are told apart at every validation
DROPOUT_CHANNEL = 100  # of the random numbers that seed torch's own generator


@dataclass(frozen=True)
class Report:
    """A step that was made: its rows as logged, and the loss of the training batch."""

    step: int
    steps: int
    loss: float
    seconds: float
    rows: tuple[dict, ...]


class Session:
    """A run in memory: model, optimiser and data. Making one changes nothing on disk."""

    def __init__(self, run: Run, device: str):
        self.run = run
        self.config = run.config
        self.device = choose_device(device)
        self.objective = self.config.objective
        self.corpus = open_corpus(self.config)
        self.rows = training_rows(self.corpus, self.config)
        check_patience(self.config, self.rows)
        self.model = make_model(self.config)
        if self.config.start_from:
            start_from(self.model, find_run(self.config.start_from), self.config.frozen_layers)
        self.model.to(self.device)
        if self.config.compile:
            self.model.fuse()
        self.optimizer = make_optimizer(self.config, self.model)
        self.step = 0

    @property
    def train_ids(self) -> np.ndarray:
        """Ids in the corpus of the molecules to learn from."""
        return self.rows.train

    @property
    def val_ids(self) -> np.ndarray:
        """Ids in the corpus of the molecules to validate on."""
        return self.rows.val

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.run.path / "checkpoints"

    def masked_batches(
        self,
        ids: np.ndarray,
        seed: int,
        step: int,
        drop_features: float | None = None,
        max_atoms: int | None = None,
    ) -> list[MaskedBatch]:
        """These molecules in groups of similar size, with what the objective withholds."""
        budget = self.config.pair_budget
        groups = batches(self.corpus, ids, budget, self.objective.tasks, max_atoms)
        return [
            self.objective.corrupt(crop(batch, max_atoms, seed, step), seed, step, drop_features)
            for batch in groups
        ]


def resume(session: Session) -> None:
    """Go on where the run stopped: its last checkpoint, and no row logged after it."""
    checkpoint = last_checkpoint(session.checkpoints)
    if checkpoint is not None:
        origin = f"the checkpoint in {session.checkpoints}"
        restore_state(session.model, session.optimizer, checkpoint.tensors, origin)
        session.step = checkpoint.step
    session.run.forget_after(session.step if checkpoint is not None else -1)


def save(session: Session) -> None:
    """Keep the run as it is, to be used and resumed."""
    state = gather_state(session.model, session.optimizer)
    write_checkpoint(session.checkpoints, session.step, state)
    write_weights(session.model, session.run.path / "weights.safetensors")
    session.run.write_status(weights_step=session.step)


def start_from(model: Model, run: Run, frozen_layers: int) -> None:
    """Take over a run's encoder, and its masking heads where both runs have them.

    Freezes what embeds the input and the first `frozen_layers` blocks, unless that is 0.
    """
    trained = run.load_model()
    model.encoder.load_state_dict(trained.encoder.state_dict())
    for name, head in model.heads.items():
        if name in trained.heads and not isinstance(head, LabelHead):
            head.load_state_dict(trained.heads[name].state_dict())
    if frozen_layers:
        for name, parameter in model.encoder.named_parameters():
            if model.encoder.depth_of(name) <= frozen_layers:
                parameter.requires_grad_(False)


def add_counts(groups: Sequence[MaskedBatch]) -> dict[str, float]:
    """How many things each term is a sum over, in all groups of molecules together."""
    sums: dict[str, float] = {}
    for masked in groups:
        for name, count in masked.counts.items():
            sums[name] = sums.get(name, 0.0) + count
    return sums


def take_step(session: Session) -> tuple[float, dict[str, float]]:
    """One update of the weights: the loss, and each term of the global batch."""
    config = session.config
    step = session.step
    n_train = len(session.train_ids)
    ids = session.train_ids[sample_ids(config.seed, step, config.global_batch, n_train)]
    groups = session.masked_batches(ids, config.seed, step, max_atoms=config.max_atoms)
    counts = add_counts(groups)
    weights = session.objective.weights(counts)
    session.model.train()
    session.optimizer.zero_grad(set_to_none=True)
    sums: dict[str, torch.Tensor] = {}
    for part, masked in enumerate(groups):
        seed = integer_seed(config.seed, step, part, DROPOUT_CHANNEL)
        terms = _terms_of_training(session, masked, seed)
        loss_part = weighted_loss(terms, weights, counts)
        if loss_part.requires_grad:
            loss_part.backward()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term.total.detach()
    rate = learning_rate(config, step)
    for group in session.optimizer.param_groups:
        group["lr"] = group["share"] * rate
    norm = torch.nn.utils.clip_grad_norm_(session.model.parameters(), config.clip_norm)
    means = {name: float(value) / counts[name] for name, value in sums.items() if counts[name]}
    loss = sum(weights[name] * value for name, value in means.items() if name in weights)
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} at step {step + 1} of {config.steps}: lower the learning rate "
            f"({config.learning_rate:g}) and start again; the last checkpoint is untouched"
        )
    session.optimizer.step()
    session.step += 1
    return loss, means | {"gradient_norm": float(norm), "learning_rate": rate}


def _terms_of_training(session: Session, masked: MaskedBatch, seed: int) -> dict[str, SumCount]:
    """Each term of the objective over a group of molecules, with dropout drawn from a seed.

    The caller's own random numbers stay as they are.
    """
    on_gpu = [session.device] if session.device.type == "cuda" else []
    with torch.random.fork_rng(on_gpu), autocast(session.device, session.config.precision):
        torch.manual_seed(seed)
        return session.objective.loss_terms(session.model, masked.to(session.device))


@torch.no_grad()
def score(
    model: Model,
    objective: Objective,
    groups: Sequence[MaskedBatch],
    device: torch.device,
    precision: str = "float32",
) -> dict[str, float | int | None]:
    """Each term of an objective over masked batches, in evaluation mode; None where undefined."""
    model.eval()
    sums: dict[str, float] = {}
    answers = Answers()
    for masked in groups:
        with autocast(device, precision):
            terms = objective.examine(model, masked.to(device), answers)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.total)
    counts = add_counts(groups)
    means = {name: value / counts[name] for name, value in sums.items() if counts[name]}
    return means | objective.rankings(answers)


@dataclass(frozen=True)
class Examined:
    """Molecules that are scored again and again: their `part`, how features are shown, batches."""

    part: str
    features: str
    groups: list[MaskedBatch]


def validation_batches(session: Session) -> list[Examined]:
    """What is scored at every validation, with one noise for all runs.

    That are the validation molecules, with features hidden and visible apart, and where classes are
    told apart a fixed sample of training molecules: a batch is too small to rank.
    """
    shares = {"visible": 0.0}
    if not session.objective.learns_labels:
        shares = {"hidden": 1.0, "visible": 0.0}
    examined = []
    if len(session.val_ids):
        for features, drop in shares.items():
            groups = session.masked_batches(session.val_ids, EVAL_SEED, EVAL_STEP, drop)
            examined.append(Examined("val", features, groups))
    if session.objective.tells_classes:
        sample = hash_sample(session.train_ids, N_SAMPLE)
        groups = session.masked_batches(sample, EVAL_SEED, EVAL_STEP, 0.0)
        examined.append(Examined("train_sample", "visible", groups))
    return examined


def validate(session: Session, examined: Sequence[Examined]) -> list[dict]:
    """One row for each part and way to show features, with the loss as training weighs it."""
    rows = []
    for entry in examined:
        precision = session.config.precision
        terms = score(session.model, session.objective, entry.groups, session.device, precision)
        weights = session.objective.weights(add_counts(entry.groups))
        loss = sum(weights[name] * value for name, value in terms.items() if name in weights)
        row = {"step": session.step, "part": entry.part, "features": entry.features, "loss": loss}
        rows.append(row | terms)
    return rows


def write_baselines(session: Session, examined: Sequence[Examined]) -> None:
    """Measure once what each term must beat, and keep it in the run's folder."""
    file = session.run.path / "baselines.json"
    if file.exists() or not len(session.val_ids):
        return
    groups = {entry.features: entry.groups for entry in examined if entry.part == "val"}
    if isinstance(session.objective, Supervised):
        val = [masked.batch for masked in groups["visible"]]
        scores = label_baselines(session.corpus, session.objective, session.train_ids, val)
    else:
        scores = pretrain_baselines(session.corpus, session.train_ids, groups["hidden"])
    write_json(scores, file)


def say_notes(session: Session) -> None:
    """Say once, on the error stream and in the run's folder, what its rows cannot tell."""
    file = session.run.path / NOTES
    if file.exists():
        return
    notes = row_notes(session.corpus, session.config, session.rows)
    if session.objective.tells_classes:
        notes += class_notes(session.corpus, session.objective, session.rows)
    write_json(notes, file)
    for note in notes:
        print(f"{session.run.name}: {note}", file=sys.stderr)


def class_notes(corpus: Corpus, objective: Supervised, rows: Rows) -> list[str]:
    """Which classes are too rare to be learnt or to be scored, a sentence for each part."""
    meanings = {
        "training": "so few teach little, and of none nothing is learnt",
        "validation": "of so few a ranking says little, and of none it is undefined (null)",
    }
    notes = []
    for (part, meaning), ids in zip(meanings.items(), rows, strict=True):
        phrases = []
        for scaled in objective.tasks_scaled:
            if scaled.of_classes and len(ids):
                task = corpus.tasks[scaled.key]
                counts = count_classes(task, label_values(corpus, scaled.key, ids))
                phrases += rare_classes(task, scaled.labels, counts)
        if phrases:
            notes.append(
                f"Rare classes among {len(ids):,} {part} rows: {'; '.join(phrases)}: {meaning}."
            )
    return notes


def out_of_patience(session: Session) -> bool:
    """Whether too many validations were worse than the best; keeps the weights of a new best."""
    losses = [row["loss"] for row in session.run.metrics("val")]
    if session.config.patience is None or not losses:
        return False
    best = losses.index(min(losses))
    n_since = len(losses) - 1 - best
    if n_since == 0:
        write_weights(session.model, session.checkpoints / BEST)
    return n_since >= session.config.patience


def take_best(session: Session) -> None:
    """With patience, the weights of a finished run are the best and not the last."""
    file = session.checkpoints / BEST
    if session.config.patience is not None and file.exists():
        load_weights(session.model, file)
        write_weights(session.model, session.run.path / "weights.safetensors")
        session.run.write_status(weights_step=session.run.best()["step"])


def training_steps(run: Run, device: str = "auto") -> Iterator[Report]:
    """The loop: makes a run's next steps, and yields a report after each.

    Closing the generator early leaves a run that can be used and resumed. Raises InputError where
    another process trains the run.
    """
    if run.state == "done":
        return
    with owned(run.path):
        if run.state == "done":  # by another process, since the look above
            return
        session = Session(run, device)
        resume(session)
        yield from _owned_steps(session)


def _owned_steps(session: Session) -> Iterator[Report]:
    """The loop of a run that this process owns, from where the run stands to its end."""
    run = session.run
    config = session.config
    began = time.time()
    seconds_before = run.status().get("seconds", 0.0)
    say_notes(session)
    validation = validation_batches(session)
    write_baselines(session, validation)
    state = "stopped"
    device = str(session.device)
    run.write_status(state="running", step=session.step, steps=config.steps, device=device)
    try:
        if session.step == 0:
            run.log(validate(session, validation), seconds_before)
            out_of_patience(session)  # weights that training never improves on are the best
        if session.step == 0 and not config.start_from:
            session.model.encoder.begin_training()
        finished = session.step >= config.steps
        while not finished:
            loss, terms = take_step(session)
            finished = session.step == config.steps
            rows = []
            if session.step % config.log_every == 0 or finished:
                row = {"step": session.step, "part": "train", "features": "mixed", "loss": loss}
                rows.append(row | terms)
            validated = session.step % config.eval_every == 0 or finished
            if validated:
                rows += validate(session, validation)
            seconds = seconds_before + time.time() - began
            check_mine(run.path)
            run.log(rows, seconds)
            if validated and len(session.val_ids):
                finished = out_of_patience(session) or finished
            if session.step % config.checkpoint_every == 0 or finished:
                save(session)
                run.write_status(step=session.step, seconds=round(seconds, 2))
            yield Report(session.step, config.steps, loss, seconds, tuple(rows))
        take_best(session)
        state = "done"
    except GeneratorExit:
        if is_mine(run.path):
            save(session)
        raise
    except BaseException:
        state = "failed"
        raise
    finally:
        seconds = round(seconds_before + time.time() - began, 2)
        if is_mine(run.path):
            run.write_status(state=state, step=session.step, seconds=seconds)


def prepare_run(config: RunConfig | Run | str | Path, out: str | Path | None = None) -> Run:
    """The run to train: that of a folder, or a new one of a configuration.

    Scales of labels, where a configuration lacks them, are read from the training rows.
    """
    if isinstance(config, Run):
        return config
    if not isinstance(config, RunConfig):
        return Run(config)
    if config.start_from:
        check_start(config)
    if isinstance(config.objective, Supervised) and not config.objective.tasks_scaled:
        config = _with_scales(config)
    elif config.patience is not None:
        check_patience(config, training_rows(open_corpus(config), config))
    return start_run(config, out)


def _with_scales(config: RunConfig) -> RunConfig:
    """A configuration that learns labels, with the tasks it learns and their scales."""
    corpus = open_corpus(config)
    names = config.objective.task_names or tuple(corpus.tasks)
    if not names:
        raise InputError(
            f"{', '.join(config.data)} has no labels to learn: curate it with some (--label "
            "COLUMN:UNIT)"
        )
    objective = replace(config.objective, task_names=names)
    rows = training_rows(corpus, replace(config, objective=objective))
    check_patience(config, rows)
    scaled = scale_tasks(corpus, names, rows.train, objective.class_weights)
    return replace(config, objective=replace(objective, tasks_scaled=scaled))


Watch = Callable[[Report], bool | None]


def train(
    config: RunConfig | Run | str | Path,
    out: str | Path | None = None,
    watch: Watch | None = None,
    device: str = "auto",
) -> Run:
    """Train a configuration, or go on with a run's folder; returns the run.

    It ends with the last step, or when `watch`, which is called with each report, returns False.
    """
    run = prepare_run(config, out)
    with closing(training_steps(run, device)) as steps:
        for report in steps:
            if watch is not None and watch(report) is False:
                break
    return run


async def fit(
    config: RunConfig | Run | str | Path,
    out: str | Path | None = None,
    watch: Watch | None = None,
    device: str = "auto",
) -> Run:
    """`train` for a notebook cell, `await fit(...)`: curves grow, Stop works, papermill waits."""
    run = prepare_run(config, out)
    # closed also when the cell is interrupted: the run stays usable
    with closing(training_steps(run, device)) as steps:
        for report in steps:
            await asyncio.sleep(0)
            if watch is not None and watch(report) is False:
                break
    return run
