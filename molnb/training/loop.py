"""The loop. Read it from top to bottom: ask, answer, score, step, log, save.

`training_steps` is a generator and the only loop there is; `train` drains it, `fit` drains it with
`await` so that a notebook stays alive. A killed run goes on from its last checkpoint and ends in
the same bits on the CPU: which samples form a step, what is hidden and which noise is added depend
only on (seed, step, sample), dropout only on (seed, step).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..data.crops import crop
from ..data.dataset import Corpus
from ..data.masked import MaskedBatch, SumCount
from ..data.sampling import batches, sample_ids
from ..errors import InputError
from ..files import write_json
from ..models.model import Model
from ..objectives.supervised import Supervised
from ..objectives.targets import ScaledTask
from ..objectives.trivial_baselines import label_baselines, pretrain_baselines
from ..rng import integer_seed
from .checkpoints import last_checkpoint, load_weights, write_best, write_checkpoint, write_weights
from .config import RunConfig
from .device import autocast, choose_device, keep_freed_memory
from .optimizer import gather_state, learning_rate, make_optimizer, restore_state
from .rows import training_rows
from .runs import Run, check_start, find_data, find_run, make_model, rewind_logs, start_run
from .unseen import silence_unseen

EVAL_SEED, EVAL_STEP = 0, -1  # one noise for all runs, so their validation losses are comparable
_DROPOUT = 100  # channel of the draws that seeds torch's own generator


@dataclass(frozen=True)
class Report:
    """What a step leaves behind: `rows` as logged, `loss` of the training batch."""

    step: int
    steps: int
    loss: float
    seconds: float
    rows: tuple[dict, ...]


class Session:
    """What a run holds in memory while it trains: corpus, model, optimiser, and the step it has
    reached.
    """

    def __init__(self, run: Run, device: str):
        self.run, self.config, self.device = run, run.config, choose_device(device)
        keep_freed_memory()
        self.objective = self.config.objective
        self.corpus = Corpus([find_data(d) for d in self.config.data], self.config.model.hydrogens)
        self.train_ids, self.val_ids = training_rows(self.corpus, self.config)
        self.model = make_model(self.config)
        if self.config.start_from:
            start_from(self.model, find_run(self.config.start_from), self.config.frozen_layers)
        silence_unseen(self.model, run, self.corpus, self.train_ids)
        self.model.to(self.device)
        if self.config.compile:
            compile_encoder(self.model)
        self.optimizer = make_optimizer(self.config, self.model)
        self.step = self._resume()

    def _resume(self) -> int:
        found = last_checkpoint(self.run)
        rewind_logs(self.run, found[0] if found else -1)
        if not found:
            return 0
        step, tensors = found
        restore_state(self.model, self.optimizer, tensors, self.run.path / "checkpoints")
        return step

    def questions(
        self,
        ids: np.ndarray,
        seed: int,
        step: int,
        drop_features: float | None = None,
        max_atoms: int | None = None,
    ) -> list[MaskedBatch]:
        """The objective's questions about these molecules, in groups of similar size."""
        groups = batches(self.corpus, ids, self.config.pair_budget, self.objective.tasks, max_atoms)
        return [
            self.objective.ask(crop(b, max_atoms, seed, step), seed, step, drop_features)
            for b in groups
        ]

    def save(self) -> None:
        write_checkpoint(self.run, self.step, gather_state(self.model, self.optimizer))
        write_weights(self.run, self.model)

    def out_of_patience(self) -> bool:
        """Keep the weights if the last validation is the best so far; true if too many were
        worse.
        """
        rows = self.run.metrics("val")
        if self.config.patience is None or not rows:
            return False
        losses = [row["loss"] for row in rows]
        if losses[-1] == min(losses) and losses.index(losses[-1]) == len(losses) - 1:
            write_best(self.run, self.step, self.model.state_dict())
        return len(losses) - 1 - losses.index(min(losses)) >= self.config.patience

    def take_best(self) -> None:
        """With patience, the weights of a finished run are the best and not the last."""
        if (
            self.config.patience is not None
            and (self.run.path / "checkpoints" / "best.safetensors").exists()
        ):
            load_weights(self.model, self.run.path / "checkpoints" / "best.safetensors")
            write_weights(self.run, self.model)


def compile_encoder(model: Model) -> None:
    """Fuse the encoder into few kernels (torch.compile): one graph for each padded length, any
    number of molecules.
    """
    torch._dynamo.config.recompile_limit = (
        64  # lengths go up in eights; dropout on and off are apart
    )
    model.encoder.compile(fullgraph=True, dynamic=None)


def start_from(model: Model, run: Run, frozen_layers: int) -> None:
    """Take a run's encoder; its heads stay behind. Freezes the embeddings and the first blocks
    if asked.
    """
    model.encoder.load_state_dict(run.load_model().encoder.state_dict())
    frozen = set(model.encoder.blocks[:frozen_layers].parameters())
    if frozen_layers:
        frozen |= {
            p
            for n, p in model.encoder.named_parameters()
            if not n.startswith(("blocks", "token", "movement"))
        }
    for parameter in frozen:
        parameter.requires_grad_(False)


def total(counts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Counts of several questions, added up by name."""
    return {
        name: sum(c.get(name, 0.0) for c in counts)
        for name in dict.fromkeys(n for c in counts for n in c)
    }


def take_step(session: Session) -> tuple[float, dict[str, float]]:
    """One update of the weights: loss, and each term of the global batch."""
    config, objective, step = session.config, session.objective, session.step
    ids = session.train_ids[
        sample_ids(config.seed, step, config.global_batch, len(session.train_ids))
    ]
    questions = session.questions(ids, config.seed, step, max_atoms=config.max_atoms)
    counts = total([q.counts for q in questions])
    weights = objective.weights(counts)
    session.model.train()
    session.optimizer.zero_grad(set_to_none=True)
    sums: dict[str, torch.Tensor] = {}
    for part, question in enumerate(questions):
        torch.manual_seed(integer_seed(config.seed, step, part, _DROPOUT))
        with autocast(session.device, config.precision):
            terms = objective.terms(session.model, question.to(session.device))
        scored = [
            weights[k] * t.total / counts[k]
            for k, t in terms.items()
            if weights.get(k) and counts[k]
        ]
        if scored:
            sum(scored).backward()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term.total.detach()
    for group in session.optimizer.param_groups:
        group["lr"] = group["share"] * learning_rate(config, step)
    norm = torch.nn.utils.clip_grad_norm_(session.model.parameters(), config.clip_norm)
    found = {k: float(v) / counts[k] for k, v in sums.items() if counts[k]}
    loss = sum(weights[k] * v for k, v in found.items() if k in weights)
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} at step {step + 1} of {config.steps}: lower the learning rate "
            f"({config.learning_rate:g}) and start again; the last checkpoint is untouched"
        )
    session.optimizer.step()
    session.step += 1
    return loss, found | {
        "gradient_norm": float(norm),
        "learning_rate": learning_rate(config, step),
    }


@torch.no_grad()
def score(
    model: Model,
    objective,
    questions: Sequence[MaskedBatch],
    device: torch.device,
    precision: str = "float32",
) -> dict[str, float]:
    """Each term of an objective over questions, in evaluation mode."""
    model.eval()
    sums: dict[str, float] = {}
    for question in questions:
        with autocast(device, precision):
            terms: dict[str, SumCount] = objective.terms(model, question.to(device))
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.total)
    counts = total([q.counts for q in questions])
    return {name: value / counts[name] for name, value in sums.items() if counts[name]}


def validation_questions(session: Session) -> dict[str, list[MaskedBatch]]:
    """The questions of validation: features hidden and visible apart, with the same noise for
    every run.
    """
    if isinstance(session.objective, Supervised):
        return {"visible": session.questions(session.val_ids, EVAL_SEED, EVAL_STEP, 0.0)}
    shown = {"hidden": 1.0, "visible": 0.0}
    return {
        name: session.questions(session.val_ids, EVAL_SEED, EVAL_STEP, drop)
        for name, drop in shown.items()
    }


def validate(session: Session, questions: dict[str, list[MaskedBatch]]) -> list[dict]:
    """One row for hidden and one for visible features, with the loss as training weighs it."""
    rows = []
    for features, asked in questions.items():
        terms = score(
            session.model, session.objective, asked, session.device, session.config.precision
        )
        weights = session.objective.weights(total([q.counts for q in asked]))
        loss = sum(weights[k] * v for k, v in terms.items() if k in weights)
        rows.append(
            {"step": session.step, "part": "val", "features": features, "loss": loss} | terms
        )
    return rows


def write_baselines(session: Session, questions: dict[str, list[MaskedBatch]]) -> None:
    """Measure once what each term must beat, and keep it in the run's folder."""
    file = session.run.path / "baselines.json"
    if file.exists() or not len(session.val_ids):
        return
    if isinstance(session.objective, Supervised):
        train = batches(
            session.corpus, session.train_ids, session.config.pair_budget, session.objective.tasks
        )
        found = label_baselines(session.objective, train, [q.batch for q in questions["visible"]])
    else:
        found = pretrain_baselines(session.corpus, session.train_ids, questions["hidden"])
    write_json(found, file)


def training_steps(run: Run, device: str = "auto") -> Iterator[Report]:
    """The loop: yields after each step.

    Closing the generator early leaves a run that can be used and resumed.
    """
    if run.status().get("state") == "done":
        return
    session = Session(run, device)
    config, began, before = session.config, time.time(), run.status().get("seconds", 0.0)
    questions = validation_questions(session)
    write_baselines(session, questions)
    state = "stopped"
    run.write_status(
        state="running", step=session.step, steps=config.steps, device=str(session.device)
    )
    try:
        if session.step == 0 and len(session.val_ids):
            _log(run, validate(session, questions), before)
        while session.step < config.steps:
            loss, terms = take_step(session)
            last, rows = session.step == config.steps, []
            if session.step % config.log_every == 0 or last:
                rows.append(
                    {"step": session.step, "part": "train", "features": "mixed", "loss": loss}
                    | terms
                )
            if (session.step % config.eval_every == 0 or last) and len(session.val_ids):
                rows += validate(session, questions)
            seconds = before + time.time() - began
            _log(run, rows, seconds)
            last = (rows and rows[-1]["part"] == "val" and session.out_of_patience()) or last
            if session.step % config.checkpoint_every == 0 or last:
                session.save()
                run.write_status(step=session.step, seconds=round(seconds, 2))
            yield Report(session.step, config.steps, loss, seconds, tuple(rows))
            if last:
                break
        session.take_best()
        state = "done"
    except GeneratorExit:
        session.save()
        raise
    except BaseException:
        state = "failed"
        raise
    finally:
        run.write_status(
            state=state, step=session.step, seconds=round(before + time.time() - began, 2)
        )


def _log(run: Run, rows: Sequence[dict], seconds: float) -> None:
    if not rows:
        return
    with (
        open(run.path / "metrics.jsonl", "a") as metrics,
        open(run.path / "timings.jsonl", "a") as timings,
    ):
        metrics.writelines(json.dumps(row) + "\n" for row in rows)
        timings.write(json.dumps({"step": rows[0]["step"], "seconds": round(seconds, 3)}) + "\n")


def prepare_run(config: RunConfig | Run | str | Path, out: str | Path | None = None) -> Run:
    """The run to train: a folder to go on with, or a configuration whose label scales are read
    from training rows.
    """
    if not isinstance(config, RunConfig):
        return config if isinstance(config, Run) else Run(config)
    if config.start_from:
        check_start(config)
    if isinstance(config.objective, Supervised) and not config.objective.tasks_scaled:
        corpus = Corpus([find_data(d) for d in config.data], config.model.hydrogens)
        if not config.objective.task_names:
            config = replace(
                config, objective=replace(config.objective, task_names=tuple(corpus.tasks))
            )
        if not config.objective.task_names:
            raise InputError(
                f"{', '.join(config.data)} has no labels to learn: curate it with some (--label COLUMN:UNIT)"
            )
        train, _ = training_rows(corpus, config)
        tasks = tuple(scale_task(corpus, name, train) for name in config.objective.tasks)
        config = replace(config, objective=replace(config.objective, tasks_scaled=tasks))
    return start_run(config, out)


def scale_task(corpus: Corpus, name: str, train: np.ndarray) -> ScaledTask:
    """A task with the mean and standard deviation of each label over training rows (1 where all
    are equal).
    """
    stored = corpus.tasks[name]
    known = corpus.batch(np.intersect1d(train, corpus.labelled([name])), [name]).labels
    if name not in known:
        raise InputError(
            f"task {name!r} has no label on any training row: choose another split, or another task"
        )
    values = known[name].values.double().numpy()
    mean, scale = np.nanmean(values, 0), np.nanstd(values, 0)
    if not np.isfinite(values[~np.isnan(values)]).all():
        raise InputError(
            f"task {name!r} has infinite values: correct them in the table and curate it again"
        )
    if stored["kind"] != "binary" and not (scale > 0).any():
        raise InputError(
            f"all {len(values)} training values of task {name!r} are {mean[0]:g}: there is nothing to learn"
        )
    if stored["kind"] == "binary":
        mean, scale = np.zeros_like(mean), np.ones_like(scale)
    labels = stored["labels"]
    return ScaledTask(
        name=name,
        level=stored["level"],
        kind=stored["kind"],
        loss=stored["loss"],
        labels=tuple(label["name"] for label in labels),
        units=tuple(label["unit"] for label in labels),
        mean=tuple(mean.tolist()),
        scale=tuple(np.where(scale > 0, scale, 1.0).tolist()),
    )


def train(
    config: RunConfig | Run | str | Path,
    out: str | Path | None = None,
    watch: Callable[[Report], bool | None] | None = None,
    device: str = "auto",
) -> Run:
    """Train to the end, or until `watch` returns False. A run's folder goes on where it stopped."""
    run = prepare_run(config, out)
    steps = training_steps(run, device)
    for report in steps:
        if watch is not None and watch(report) is False:
            steps.close()
    return run


async def fit(
    config: RunConfig | Run | str | Path,
    out: str | Path | None = None,
    watch: Callable[[Report], bool | None] | None = None,
    device: str = "auto",
) -> Run:
    """`train` for a notebook cell (`await fit(...)`): the curve updates, Stop works, and
    papermill waits.
    """
    run = prepare_run(config, out)
    steps = training_steps(run, device)
    try:
        for report in steps:
            await asyncio.sleep(0)
            if watch is not None and watch(report) is False:
                break
    finally:
        steps.close()  # also when the cell is interrupted: the run stays usable
    return run
