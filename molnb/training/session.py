"""A run in memory, its checkpoints, and the weights that it starts from."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.crops import crop
from ..data.masked import MaskedBatch
from ..data.sampling import batches
from ..models.heads import LabelHead
from ..models.model import Model
from ..objectives.label_metrics import References, label_references
from .accounts import StepAccounts
from .averages import Average
from .beside import fill_scales
from .branches import parent_checkpoint
from .checkpoints import (
    Writer,
    copy_to_cpu,
    export_weights,
    judged_weights,
    last_checkpoint,
    write_checkpoint,
    write_sharded_checkpoint,
    write_tensors,
)
from .device import choose_device, number_of
from .drawing import run_draws
from .optimizer import gather_state, make_optimizer, restore_state, split_places
from .ranks import current
from .rows import check_patience, open_corpus, training_rows
from .runs import CHECKPOINTS, WEIGHTS, Run, find_run, make_model
from .scored_labels import FILE, write_label_scores
from .sharding import connect, join_parts, kept_mib, own_part, shard_blocks
from .threads import N_SIDE, ThreadTeam


class Session:
    """A run in memory: model, optimiser and data. Making one changes nothing on disk.

    With `shard` the blocks of the encoder are split over processes (`sharding`).
    """

    def __init__(self, run: Run, device: str, shard: bool = False):
        self.run = run
        self.config = run.config
        self.ranks = current()
        self.device = choose_device(device)
        self.objective = self.config.objective
        self.corpus = open_corpus(self.config)
        self.rows = training_rows(self.corpus, self.config)
        check_patience(self.config, self.rows)
        self.draws = run_draws(self.corpus, self.config, self.rows.train)
        self.model = make_model(self.config)
        fill_scales(self.model, self.corpus, self.rows.train)
        if self.config.start_from:
            start_from(self.model, find_run(self.config.start_from), self.config.frozen_layers)
        self.model.to(self.device, number_of(self.config.precision))
        if self.config.compile:
            self.model.fuse()
        self.sharding = connect(self.device) if shard else None
        if self.sharding is not None:
            shard_blocks(self.model, self.sharding)
        self.optimizer = make_optimizer(self.config, self.model)
        decay = self.config.ema_decay
        self.average = None if decay is None else Average(self.model, decay)
        # blocks that are split are collected for one group of molecules at a time
        many = self.side_by_side and not shard
        self.team = ThreadTeam(self.device, N_SIDE if many else 1)
        self.writer = Writer()
        self.step = 0
        self.accounts = StepAccounts(self.model, self.device, self.config.precision)
        self.label_scores: pa.Table | None = None  # of the last validation, until they are saved
        self._flops_of_size = cache(lambda n: self.model.encoder.count_flops(n, n))

    def count_flops(self, ids: np.ndarray) -> int:
        """Floating-point operations of the encoder's forward pass over some molecules.

        As if each had as many bonds as atoms; larger ones count as cropped.
        """
        n_atoms = self.corpus.n_atoms[ids]
        if self.config.max_atoms is not None:
            n_atoms = np.minimum(n_atoms, self.config.max_atoms)
        sizes = Counter(n_atoms.tolist())
        return sum(n_mol * self._flops_of_size(n) for n, n_mol in sizes.items())

    @property
    def side_by_side(self) -> bool:
        """Whether several threads may train on a step's molecules, and a seed decides everything.

        Compiled code draws dropout from torch's generator, which all threads share.
        """
        own_dropout = self.model.encoder.own_dropout and not self.config.compile
        return self.device.type == "cpu" and own_dropout

    def judged(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that are scored and handed out.

        Those are their average, where the run keeps one.
        """
        return nullcontext() if self.average is None else self.average.shown()

    def kept_mib(self) -> float:
        """MiB of parameters, gradients, optimiser state and averages that this process keeps."""
        averages = {} if self.average is None else self.average.tensors
        return kept_mib(self.model, self.optimizer, averages.values())

    def sample(self, step: int) -> np.ndarray:
        """Ids in the corpus of the molecules of a step (from 0), whatever has happened before."""
        return self.train_ids[self.draws.positions(step, self.config.global_batch)]

    def sample_digest(self, step: int) -> str:
        """Eight hexadecimal digits of which molecules form a step, and in which order."""
        ids = self.sample(step).astype("<i8")
        return hashlib.blake2b(ids.tobytes(), digest_size=4).hexdigest()

    @property
    def train_ids(self) -> np.ndarray:
        """Ids in the corpus of the molecules to learn from."""
        return self.rows.train

    @property
    def val_ids(self) -> np.ndarray:
        """Ids in the corpus of the molecules to validate on."""
        return self.rows.val

    @cached_property
    def references(self) -> References:
        """What is known of the labels from training rows alone, for their scores."""
        return label_references(self.corpus, self.objective.tasks_scaled, self.train_ids)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.run.path / CHECKPOINTS

    def masked_batches(
        self,
        ids: np.ndarray,
        seed: int,
        step: int,
        drop_features: float | None = None,
        max_atoms: int | None = None,
        n_hand: int = 1,
        draw: bool = False,
        shared: bool = False,
    ) -> list[MaskedBatch]:
        """These molecules in groups of similar size, with what the objective withholds.

        With `draw` each is seen in a conformer drawn by (seed, step), else in its first. Groups
        that are `shared` are those of this process alone.
        """
        budget = self.config.group_budget(self.device)
        of_step = (seed, step) if draw else None
        groups = batches(
            self.corpus,
            ids,
            budget,
            self.objective.tasks,
            max_atoms,
            n_hand,
            of_step,
            self.config.model.padded,
            self.ranks.share if shared else list,
        )
        return [
            self.objective.corrupt(crop(batch, max_atoms, seed, step), seed, step, drop_features)
            for batch in groups
        ]


def resume(session: Session) -> None:
    """Go on where the run stopped: its last checkpoint, and no row logged after it.

    A branch that has none yet begins with one of its parent.
    """
    places = split_places(session.model)
    checkpoint = last_checkpoint(session.checkpoints, places, session.sharding)
    origin = f"the checkpoint in {session.checkpoints}"
    if checkpoint is None and session.config.branch is not None:
        checkpoint = parent_checkpoint(session.config, places, session.sharding)
        origin = f"the checkpoint of step {checkpoint.step:,} in {session.config.branch}"
    if checkpoint is not None:
        restore_state(session.model, session.optimizer, checkpoint.tensors, origin)
        if session.average is not None:
            session.average.restore(checkpoint.tensors, origin)
        session.step = checkpoint.step
        session.accounts.restore(checkpoint.noted, session.step * session.config.global_batch)
    if session.ranks.is_first:
        session.run.forget_after(session.step if checkpoint is not None else -1)
    session.ranks.wait()  # nobody removes a checkpoint that another still reads


def save(session: Session, **noted: Any) -> None:
    """Keep the run as it is, to be used and resumed; all its processes do this together.

    What is kept is copied now and written in the background (`Session.writer`), while the next
    steps are made, once the last are written; whoever needs the files waits for it. The run's
    status names the step, and what else is `noted`, once the files are there.
    """
    session.ranks.join_flags(session.model.buffers())
    sharding = session.sharding
    is_first = session.ranks.is_first
    if not is_first and sharding is None:
        return
    state = gather_state(session.model, session.optimizer)
    state |= {} if session.average is None else session.average.tensors
    session.writer.wait()  # the memory of the last copies is free again
    copies = copy_to_cpu({name: own_part(tensor) for name, tensor in state.items()})
    kept = copies.tensors if sharding is None else join_parts(copies.tensors, state, sharding)
    label_scores = session.label_scores
    session.label_scores = None
    computed = session.accounts.stored()
    step = session.step
    run = session.run
    folder = session.checkpoints
    keep_every = session.config.keep_every

    def write() -> None:
        copies.wait()
        if sharding is None:
            write_checkpoint(folder, step, kept, computed, keep_every)
            write_tensors(judged_weights(kept), run.path / WEIGHTS)
        else:
            write_sharded_checkpoint(folder, step, kept, sharding, computed, keep_every)
        if not is_first:
            return
        if sharding is not None:
            export_weights(folder, step, run.path / WEIGHTS)
        if label_scores is not None:
            write_label_scores(label_scores, run.path / FILE)
        run.write_status(weights_step=step, step=step, **noted)

    session.writer.start(write)


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
