"""The loop. Read it from top to bottom: corrupt, predict, score, step, log, save.

`training_steps` is a generator and the only loop there is; `train` drains it, `fit` drains it with
`await` so that a notebook stays alive. A killed run goes on from its last checkpoint and ends in
the same bits on the CPU: which samples form a step, what is hidden and which noise is added depend
only on (seed, step, sample), dropout only on (seed, step).
"""

from __future__ import annotations

import asyncio
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file

from ..data.dataset import Corpus
from ..data.masked import MaskedBatch
from ..errors import InputError
from ..files import write_json
from ..models.width_transfer import describe_rates
from ..objectives.class_counts import count_classes, rare_classes
from ..objectives.label_metrics import task_means
from ..objectives.supervised import Supervised
from ..objectives.targets import label_cells, scale_tasks, unknown_notes
from ..objectives.trivial_baselines import label_baselines, pretrain_baselines
from ..rng import hash_sample
from .accounts import RunMeter
from .beside import count_columns
from .branches import check_branch
from .checkpoints import BEST, write_tensors
from .config import RunConfig
from .device import choose_device
from .drawing import draw_notes
from .groups import add_counts, add_gradients, count_hands, make_label_metrics, score
from .optimizer import TRACES_EVERY, clear_traces
from .ownership import check_mine, is_mine, owned
from .ranks import check_hands, current, explain_lost, joined, world_size
from .rows import Rows, check_patience, open_corpus, row_notes, training_rows
from .runs import NOTES, WEIGHTS, Onlooker, Run, check_start, is_begun, start_run, width_factors
from .schedules import learning_rate
from .scored_labels import BEST_FILE, FILE, make_label_table, write_label_scores
from .session import Session, resume, save
from .sharding import clip_gradients, whole_tensors
from .threads import one_thread

EVAL_SEED = 0  # one noise for all runs, so their validation losses are comparable
EVAL_STEP = -1
MOST_RARE = 20  # labels with rare classes that are named
N_SAMPLE = 512  # training molecules on which classes are told apart at every validation


@dataclass(frozen=True)
class Report:
    """A step that was made: its rows as logged, and the loss of the training batch."""

    step: int
    steps: int
    loss: float
    seconds: float
    rows: tuple[dict, ...]


def take_step(session: Session) -> tuple[float, dict[str, float]]:
    """One update of the weights: the loss, and each term of the global batch."""
    config = session.config
    step = session.step
    ids = session.sample(step)
    n_hand = count_hands(session, ids)
    groups = session.masked_batches(
        ids, config.seed, step, None, config.max_atoms, n_hand, draw=True, shared=True
    )
    counts = session.ranks.add(add_counts(groups) | session.accounts.count(groups))
    computed = session.accounts.take_from(counts)
    weights = session.objective.weights(counts)
    session.model.train()
    session.optimizer.zero_grad(set_to_none=True)
    sums = add_gradients(session, groups, weights, counts, n_hand)
    rate = learning_rate(config, step)
    for group in session.optimizer.param_groups:
        group["lr"] = group["share"] * rate
    with one_thread():
        norm = clip_gradients(session.model.parameters(), config.clip_norm)
    means = session.objective.means(sums, counts)
    told = session.objective.reported_weights(counts)
    loss = sum(told[name] * value for name, value in means.items() if name in told)
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} at step {step + 1} of {config.steps}: lower the learning rate "
            f"({config.learning_rate:g}) and start again; the last checkpoint is untouched"
        )
    with one_thread():
        session.optimizer.step()
        if session.average is not None:
            session.average.add(step)
    session.step += 1
    session.accounts.add(computed)
    if session.step % TRACES_EVERY == 0:
        clear_traces(session.optimizer)
    return loss, means | {"gradient_norm": float(norm), "learning_rate": rate}


@dataclass(frozen=True)
class Examined:
    """Molecules that are scored again and again: their `part`, how features are shown, batches."""

    part: str
    features: str
    groups: list[MaskedBatch]


def validation_batches(session: Session) -> list[Examined]:
    """What is scored at every validation, with one noise for all runs.

    That are the validation molecules of the split, and those held out at random, with features
    hidden and visible apart, and where classes are told apart a fixed sample of training molecules:
    a batch is too small to rank.
    """
    shares = {"visible": 0.0}
    if not session.objective.learns_labels:
        shares = {"hidden": 1.0, "visible": 0.0}
    examined = []
    for part, ids in (("val", session.val_ids), ("val_random", session.rows.val_random)):
        for features, drop in shares.items() if len(ids) else ():
            groups = session.masked_batches(ids, EVAL_SEED, EVAL_STEP, drop)
            examined.append(Examined(part, features, groups))
    if session.objective.tells_classes:
        sample = hash_sample(session.train_ids, N_SAMPLE)
        groups = session.masked_batches(sample, EVAL_SEED, EVAL_STEP, 0.0)
        examined.append(Examined("train_sample", "visible", groups))
    return examined


def validate(session: Session, examined: Sequence[Examined]) -> list[dict]:
    """One row for each part and way to show features, with the loss as objectives report it.

    It is that of the average of the weights where the run keeps one. Scores of single labels, with
    intervals, wait in the session until the weights are saved.
    """
    rows = []
    of_labels = []
    for entry in examined:
        metrics = make_label_metrics(session.objective, entry.groups, session.references)
        with session.judged():
            terms = score(
                session.model,
                session.objective,
                entry.groups,
                session.device,
                session.config.precision,
                session.team,
                metrics,
            )
        of_labels.append((entry.part, metrics.rows()))
        weights = session.objective.reported_weights(add_counts(entry.groups))
        loss = sum(weights[name] * value for name, value in terms.items() if name in weights)
        row = {"step": session.step, "part": entry.part, "features": entry.features, "loss": loss}
        means = task_means(of_labels[-1][1])
        rows.append(row | terms | {name: means[name] for name in means if name not in terms})
    if session.objective.learns_labels:
        session.label_scores = make_label_table(session.corpus, session.step, of_labels)
    return rows


def write_baselines(session: Session, examined: Sequence[Examined]) -> None:
    """Measure once what each term must beat, and keep it in the run's folder."""
    file = session.run.path / "baselines.json"
    if file.exists() or not len(session.val_ids) or not session.ranks.is_first:
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
    if file.exists() or not session.ranks.is_first:
        return
    notes = row_notes(session.corpus, session.config, session.rows)
    notes += draw_notes(session.corpus, session.config, session.rows.train)
    if session.config.model.width_transfer != 1:
        parameters = dict(session.model.named_parameters())
        factors = width_factors(session.config, session.model)
        notes.append(describe_rates(parameters, factors, session.config.learning_rate))
    if isinstance(session.objective, Supervised):
        names = session.objective.task_names or session.objective.tasks
        notes += unknown_notes(session.corpus, names, session.objective.tasks_scaled)
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
    for (part, meaning), ids in zip(meanings.items(), (rows.train, rows.val), strict=True):
        phrases = []
        for scaled in objective.tasks_scaled:
            if scaled.of_classes and len(ids):
                task = corpus.tasks[scaled.key]
                counts = count_classes(task, label_cells(corpus, scaled.key, ids))
                phrases += rare_classes(task, scaled.labels, counts, scaled.learnt)
        if phrases:
            more = f"; and {len(phrases) - MOST_RARE:,} labels more" * (len(phrases) > MOST_RARE)
            listed = "; ".join(phrases[:MOST_RARE]) + more
            notes.append(f"Rare classes among {len(ids):,} {part} rows: {listed}: {meaning}.")
    return notes


def out_of_patience(session: Session) -> bool:
    """Whether too many validations were worse than the best; keeps the weights of a new best."""
    if session.config.patience is None or not len(session.val_ids):
        return False
    losses = [row["loss"] for row in session.run.metrics("val")] or [0.0]
    best = losses.index(min(losses))
    n_since = len(losses) - 1 - best
    if session.ranks.agree(n_since == 0):
        with session.judged():
            weights = whole_tensors(session.model.state_dict())
            if session.ranks.is_first:
                write_tensors(weights, session.checkpoints / BEST)
        if session.ranks.is_first and session.label_scores is not None:
            write_label_scores(session.label_scores, session.checkpoints / BEST_FILE)
    return session.ranks.agree(n_since >= session.config.patience)


def take_best(session: Session) -> None:
    """With patience, the weights of a finished run are the best and not the last."""
    file = session.checkpoints / BEST
    if session.config.patience is not None and file.exists() and session.ranks.is_first:
        write_tensors(load_file(file), session.run.path / WEIGHTS)
        of_labels = session.checkpoints / BEST_FILE
        if of_labels.exists():
            shutil.copyfile(of_labels, session.run.path / FILE)
        session.run.write_status(weights_step=session.run.best()["step"])


def training_steps(run: Run, device: str = "auto", shard: bool = False) -> Iterator[Report]:
    """The loop: makes a run's next steps, and yields a report after each.

    With `shard` processes keep a part each of the encoder's blocks (`sharding`).

    Closing the generator early leaves a run that can be used and resumed, and so does asking it to
    stop (`Run.stop`). Raises InputError where another process trains the run.
    """
    if run.state == "done":
        return
    ranks = current()
    check_hands(run.config.hands, ranks.size)
    if not ranks.is_first:
        run = Onlooker(run.path)
    with owned(run.path) if ranks.is_first else nullcontext():
        if ranks.agree(run.state == "done"):  # by another process, since the look above
            return
        run.go_on()
        session = Session(run, device, shard)
        resume(session)
        with session.team, session.writer:
            yield from _owned_steps(session)


def _owned_steps(session: Session) -> Iterator[Report]:
    """The loop of a run that this process owns, from where the run stands to its end."""
    run = session.run
    config = session.config
    meter = RunMeter(session, run.status())
    say_notes(session)
    validation = validation_batches(session)
    write_baselines(session, validation)
    state = "stopped"
    run.write_status(
        state="running",
        step=session.step,
        steps=config.steps,
        device=str(session.device),
        train_molecules=len(session.train_ids),
    )
    try:
        if session.step == 0:
            run.log(validate(session, validation), meter.seconds_before)
            out_of_patience(session)  # weights that training never improves on are the best
        if session.step == 0 and not config.start_from:
            session.model.encoder.begin_training()
        finished = session.step >= config.steps
        while not finished:
            with meter.stepping():
                loss, terms = take_step(session)
            finished = session.step == config.steps
            rows = []
            if session.step % config.log_every == 0 or finished:
                row = {"step": session.step, "part": "train", "features": "mixed", "loss": loss}
                row |= terms | {"samples": session.sample_digest(session.step - 1)}
                rows.append(row | session.accounts.logged())
            validated = session.step % config.eval_every == 0 or finished
            if validated:
                rows += validate(session, validation)
            seconds = meter.seconds
            if session.ranks.is_first:
                check_mine(run.path)
            run.log(rows, seconds)
            if validated and len(session.val_ids):
                finished = out_of_patience(session) or finished
            if config.saves_at(session.step) or finished:
                save(session, **meter.gather())
            yield Report(session.step, config.steps, loss, seconds, tuple(rows))
            if session.ranks.agree(run.asked_to_stop) and not finished:
                save(session, **meter.gather())
                session.writer.wait()
                return
        session.writer.wait()
        take_best(session)
        state = "done"
    except GeneratorExit:
        if session.ranks.size == 1 and is_mine(run.path):
            save(session)
            session.writer.wait()
        raise
    except BaseException as error:
        state = "failed"
        lost = explain_lost(error) if isinstance(error, RuntimeError) else None
        if lost is not None:
            raise InputError(f"{run.path}, step {session.step:,}: {lost}") from error
        raise
    finally:
        if session.ranks.is_first and is_mine(run.path):
            # another process may be gone: nothing is gathered here. And why it failed is to be
            # read, not that a full disk has no room for the state too
            with suppress(InputError) if state == "failed" else nullcontext():
                run.write_status(state=state, step=session.step, **meter.read())
            run.go_on()


def prepare_run(config: RunConfig | Run | str | Path, out: str | Path | None = None) -> Run:
    """The run to train: that of a folder, or a new one of a configuration.

    Scales of labels, where a configuration lacks them, are read from the training rows, and columns
    of arrays that heads read from the datasets.
    """
    if isinstance(config, Run):
        return config
    if not isinstance(config, RunConfig):
        return Run(config)
    if config.start_from:
        check_start(config)
    config = replace(config, hands=max(config.hands, world_size()))
    if config.objective.beside:
        config = _with_widths(config)
    if isinstance(config.objective, Supervised) and not config.objective.tasks_scaled:
        config = _with_scales(config)
    elif config.patience is not None:
        check_patience(config, training_rows(open_corpus(config), config))
    if config.branch is not None and not is_begun(out):
        check_branch(config)
    return start_run(config, out)


def shared_run(make: Callable[[], Run]) -> Run:
    """The run that the first of several processes makes, in all of them."""
    ranks = current()
    if ranks.size == 1:
        return make()
    return Run(ranks.from_first(lambda: str(make().path)))


def _with_widths(config: RunConfig) -> RunConfig:
    """A configuration with the columns of the arrays that heads read beside molecules."""
    # those of other data may stand in a configuration that was taken from another run
    config = replace(config, objective=replace(config.objective, beside_widths=()))
    corpus = open_corpus(config)  # refused where datasets differ
    widths = [count_columns(name, corpus.datasets[0]) for name in config.objective.beside]
    return replace(config, objective=replace(config.objective, beside_widths=tuple(widths)))


def _with_scales(config: RunConfig) -> RunConfig:
    """A configuration that learns labels, with the tasks it learns and their scales."""
    corpus = open_corpus(config)
    chosen = config.objective.task_names
    names = chosen or tuple(corpus.tasks)
    if not names:
        raise InputError(
            f"{', '.join(config.data)} has no labels to learn: curate it with some (--label "
            "COLUMN:UNIT)"
        )
    objective = replace(config.objective, task_names=names)
    rows = training_rows(corpus, replace(config, objective=objective))
    check_patience(config, rows)
    # who names a task expects it to be learnt; of a mix a few rows may lack some whole task
    skip = not chosen
    scaled = scale_tasks(corpus, names, rows.train, objective.class_weights, skip)
    return replace(config, objective=replace(objective, tasks_scaled=scaled))


Watch = Callable[[Report], bool | None]


def train(
    config: RunConfig | Run | str | Path,
    out: str | Path | None = None,
    watch: Watch | None = None,
    device: str = "auto",
    shard: bool = False,
) -> Run:
    """Train a configuration, or go on with a run's folder; returns the run.

    It ends with the last step, or when `watch`, which is called with each report, returns False.
    Under torchrun all processes call this with the same configuration, and train one run. With
    `shard` each keeps a part of the encoder's blocks, with their gradients and optimiser state,
    where otherwise each keeps all (FSDP2 instead of DDP): the same steps for less memory.
    """
    with joined(choose_device(device), shard):
        run = shared_run(lambda: prepare_run(config, out))
        with closing(training_steps(run, device, shard)) as steps:
            for report in steps:
                if watch is not None and watch(report) is False:
                    run.stop()
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
                run.stop()
    return run
