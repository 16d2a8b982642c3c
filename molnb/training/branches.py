"""Branches: runs that go on from a checkpoint of another, at its rate, and then cool down.

A stable run passes through the beginning of every shorter one. So a curve of losses over steps
needs one run with checkpoints that are kept (`keep_every`), and of each point the fall alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..errors import InputError
from ..paths import home
from .checkpoints import Checkpoint, check_kept, checkpoint_at, kept_steps
from .config import COOLING, RunConfig
from .runs import CHECKPOINTS, Run, find_run, stored_form
from .schedules import fall_begins
from .sharding import Sharding

# What a branch decides itself: where it ends, and what is written meanwhile.
OWN = (
    "name",
    "branch",
    "branch_step",
    "steps",
    "decay_steps",
    "decay_power",
    "patience",
    "eval_every",
    "checkpoint_every",
    "keep_every",
    "log_every",
)


def check_branch(config: RunConfig) -> None:
    """Raise InputError where a branch would be another curve than its parent, or cannot begin."""
    parent = find_run(config.branch)
    ours = stored_form(config)
    theirs = stored_form(parent.config)
    differing = [name for name in ours if name not in OWN and ours[name] != theirs[name]]
    if differing:
        raise InputError(
            f"{config.name} cannot go on from {parent.path}, it differs in {', '.join(differing)}: "
            "give it what its parent has there, or train it from its beginning"
        )
    latest = fall_begins(parent.config)
    if config.branch_step > latest:
        raise InputError(
            f"branch_step is {config.branch_step:,}, and the rate of {parent.path} falls from step "
            f"{latest:,} on: begin there or before"
        )
    check_kept(parent.path / CHECKPOINTS, config.branch_step)


def parent_checkpoint(
    config: RunConfig, places: Mapping[str, torch.Tensor], sharding: Sharding | None
) -> Checkpoint:
    """The checkpoint that a branch begins with, read as `last_checkpoint` reads it."""
    folder = find_run(config.branch).path / CHECKPOINTS
    return checkpoint_at(folder, config.branch_step, places, sharding)


def cool_downs(
    run: Run | str | Path, steps: Sequence[int], share: float = COOLING
) -> list[RunConfig]:
    """The configurations of branches of a stable run that cool down to an end at each of `steps`.

    Each begins at the last checkpoint that is kept for good (`keep_every`) before its fall, which
    takes a `share` of its end; it may end after its parent. It costs its fall and less than
    `keep_every` steps before it: of a run of T steps, ends at T/2, T/4, T/8, ... cost 0.2 T
    together, where runs of their own would cost T; ten ends at even distances 1.1 T instead of
    5.5 T. Raises InputError where no checkpoint lies before a fall.
    """
    parent = run if isinstance(run, Run) else find_run(run)
    config = parent.config
    if config.schedule != "stable" or config.keep_every is None:
        raise InputError(
            f"{parent.path} cannot be cooled down: its schedule is {config.schedule}, its "
            f"keep_every {config.keep_every}. Train one with schedule stable and a keep_every"
        )
    if not 0 < share < 1:
        raise InputError(f"share is {share}: give what a fall has of all steps, between 0 and 1")
    return [_cool_down(parent, config, int(end), share) for end in steps]


def _cool_down(parent: Run, config: RunConfig, end: int, share: float) -> RunConfig:
    """The branch that ends after `end` steps."""
    n_fall = max(1, round(share * end))
    latest = min(end - n_fall, fall_begins(config))
    folder = parent.path / CHECKPOINTS
    kept = [step for step in kept_steps(folder) if step % config.keep_every == 0]
    before = [step for step in kept if step <= latest]
    if not before:
        there = ", ".join(f"{step:,}" for step in kept) or "none"
        raise InputError(
            f"a run of {end:,} steps that falls over the last {n_fall:,} needs a checkpoint of "
            f"step {latest:,} or before, and {parent.path} keeps those of {there}: end later, or "
            "train it further"
        )
    return replace(
        config,
        name=f"{config.name}-{end}",
        branch=_name_of(parent),
        branch_step=before[-1],
        steps=end,
        decay_steps=n_fall,
        patience=None,
        keep_every=None,
    )


def _name_of(run: Run) -> str:
    """A run as a configuration names it: by name below ``MOLNB_HOME/runs``, else by path."""
    is_inside = run.path.resolve().parent == (home() / "runs").resolve()
    return run.path.name if is_inside else str(run.path)
