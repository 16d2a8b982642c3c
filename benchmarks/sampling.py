"""Uniform against scaffold-tempered sampling: the validation losses of small pretrainings.

    python benchmarks/sampling.py DATA [--steps 300] [--batch 32] [--seeds 0 1] [--taus 0.005 0.05]

All runs learn from the molecules that are in training of both splits, random and scaffold, with the
smallest laptop model; each is scored on validation molecules of either split, the same for all,
with features hidden and visible. A line a run: effective number of scaffolds, different molecules
seen, losses.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from molnb import RunConfig, make_preset
from molnb.data.dataset import Corpus
from molnb.data.draws import Sampling
from molnb.rng import hash_sample
from molnb.training.drawing import effective_number, train_scaffolds
from molnb.training.loop import EVAL_SEED, EVAL_STEP, Examined, train, validate
from molnb.training.session import Session, resume

N_VAL = 512  # molecules of each split
SPLITS = ("random", "scaffold")
SHARES = {"hidden": 1.0, "visible": 0.0}


def make_config(data: str, options: argparse.Namespace, seed: int, sampling: Sampling) -> RunConfig:
    """The run of a seed and a sampling on molecules that both splits train on."""
    corpus = Corpus([data])
    in_both = np.intersect1d(*(corpus.ids("train", split) for split in SPLITS))
    return make_preset(
        "laptop_0m1",
        [data],
        steps=options.steps,
        global_batch=options.batch,
        warmup_steps=options.steps // 10,
        eval_every=options.steps,
        checkpoint_every=options.steps,
        train_ids=tuple(in_both.tolist()),
        n_val=0,
        seed=seed,
        sampling=sampling,
    )


def score(run) -> dict[str, float]:
    """Validation losses of a finished run by split and features."""
    session = Session(run, "auto")
    resume(session)
    losses = {}
    for split in SPLITS:
        ids = hash_sample(session.corpus.ids("val", split), N_VAL)
        examined = [
            Examined(split, features, session.masked_batches(ids, EVAL_SEED, EVAL_STEP, share))
            for features, share in SHARES.items()
        ]
        with session.team:
            rows = validate(session, examined)
        losses |= {f"{split} {row['features']}": row["loss"] for row in rows}
    return losses


def describe_draws(run) -> str:
    """The effective number of scaffolds that a run drew from, and the molecules that it saw."""
    session = Session(run, "auto")
    config = run.config
    seen = [session.draws.positions(step, config.global_batch) for step in range(config.steps)]
    scaffolds = train_scaffolds(session.corpus, session.train_ids)
    drawn = np.bincount(scaffolds.codes, session.draws.probabilities(), scaffolds.n)
    return (
        f"effective scaffolds {effective_number(drawn):,.1f} of {scaffolds.n:,}, "
        f"{len(np.unique(np.concatenate(seen))):,} of {len(session.train_ids):,} molecules seen"
    )


def main() -> None:
    """Train and score each seed with each sampling."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="curated folder")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--taus", type=float, nargs="+", default=[0.005, 0.05])
    options = parser.parse_args()
    samplings = [Sampling(), *(Sampling("scaffold", tau) for tau in options.taus)]
    for seed in options.seeds:
        for sampling in samplings:
            with tempfile.TemporaryDirectory() as folder:
                config = make_config(options.data, options, seed, sampling)
                run = train(config, Path(folder, "run"))
                losses = ", ".join(f"{name} {loss:.4f}" for name, loss in score(run).items())
                name = sampling.kind if sampling.kind == "uniform" else f"tau {sampling.tau:g}"
                print(f"seed {seed}, {name}: {describe_draws(run)}; {losses}", flush=True)


if __name__ == "__main__":
    main()
