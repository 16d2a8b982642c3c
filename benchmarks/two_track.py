r"""How fast and how large is our two-track model beside the authors' own? Ratios, on the same
molecules.

    python benchmarks/two_track.py --reference Uni-Mol --core Uni-Core                 84M and `small`, all questions
    python benchmarks/two_track.py ... --size small --tasks step forward --rounds 5
    python benchmarks/two_track.py --size small                                        ours alone, no checkouts

Before anything is timed, both sides get the same weights and the same molecules and must give the
same outputs, losses and gradients (see `agreement.py`). Then each side runs in processes of its
own, in turn, and the medians of the ratios are printed. Tasks:

    step      forward and backward pass, training mode with its dropout, 8 molecules of 20 to 28 heavy atoms
    forward   evaluation mode without gradients, the same molecules
    mixture   forward and backward pass of 1,024 molecules of `wehi` in batches of 128, gradients accumulated within a
              batch: ours in groups of similar size, the reference in micro-batches of --micro (128:
              the whole batch)
    loader    ours alone: from shards on disk to batches with noise and masks, one core, and its share of a step

The reference starts from arrays that are padded and expanded already, ours expands bonds and paths
within its time. CPU-seconds are those of the process, all threads. Peak memory is of the timed
process, weights and gradients included.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molnb.data.batch import MolBatch
from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.data.sampling import batches, sample_ids
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import TwoTrack
from molnb.models.unimol2.sizes import LAPTOP, PAPER
from molnb.objectives.pretraining import Pretrain
from molnb.paths import find_data
from molnb.training.device import keep_freed_memory

SIZES = PAPER | LAPTOP | {"small": TwoTrackConfig(6, 256, 16, 256, 128, 32)}
HEAVY = (20, 28)
TASKS = ("step", "forward", "mixture", "loader")
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}  # threads that wait must not count as work
QUESTION = ("hidden", "noisy", "visible")


# ------------------------------------------------------------------------------------------------ molecules


def load_corpus(data: str | None) -> Corpus:
    """Curated molecules: a folder or name, or a sample of `wehi` that is curated now (half a
    minute).
    """
    if data is None:
        from molnb.curation.pipeline import curate

        return Corpus([curate("wehi", n=2000)])
    return Corpus([find_data(data)])


def eight(corpus: Corpus) -> np.ndarray:
    """Eight molecules whose sizes are spread evenly over 20 to 28 heavy atoms, both ends
    included (or the nearest).
    """
    sizes = np.linspace(*HEAVY, 8).round().astype(int)
    return np.array([np.abs(corpus.n_atoms - n).argmin() for n in sizes])


def questions(corpus: Corpus, task: str) -> list[list[MaskedBatch]]:
    """For each batch its groups, as our loop forms them; one group of eight except for the
    mixture.
    """
    objective = Pretrain()
    if task != "mixture":
        return [[objective.ask(corpus.batch(eight(corpus)), 0, 0)]]
    found = []
    for step in range(8):
        ids = sample_ids(0, step, 128, corpus.n)
        found.append([objective.ask(b, 0, step) for b in batches(corpus, ids, pair_budget=16_384)])
    return found


def whole(corpus: Corpus, task: str, micro: int) -> list[list[MaskedBatch]]:
    """The same molecules in micro-batches as they come, for the reference."""
    if task != "mixture":
        return questions(corpus, task)
    objective = Pretrain()
    drawn = [sample_ids(0, step, 128, corpus.n) for step in range(8)]
    return [
        [objective.ask(corpus.batch(ids[i : i + micro]), 0, step) for i in range(0, 128, micro)]
        for step, ids in enumerate(drawn)
    ]


def pack(groups: list[list[MaskedBatch]]) -> list[list[dict]]:
    """Questions as plain tensors, which a file can hold and a process can read without running
    code.
    """
    return [[_pack(q) for q in batch] for batch in groups]


def _pack(question: MaskedBatch) -> dict:
    batch = {f.name: getattr(question.batch, f.name) for f in fields(MolBatch)}
    return (
        batch | {name: getattr(question, name) for name in QUESTION} | {"counts": question.counts}
    )


def unpack(stored: dict) -> MaskedBatch:
    batch = MolBatch(**{f.name: stored[f.name] for f in fields(MolBatch)})
    return MaskedBatch(batch, *(stored[name] for name in QUESTION), stored["counts"])


# ------------------------------------------------------------------------------------------------ one side, timed


def our_pass(
    config: TwoTrackConfig, task: str, groups: list[list[MaskedBatch]]
) -> Callable[[], None]:
    """One pass of ours over all batches."""
    objective = Pretrain()
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    model = Model(TwoTrack(config), objective).train(task != "forward")

    def run() -> None:
        for batch in groups:
            model.zero_grad(set_to_none=True)
            for question in batch:
                terms = objective.terms(model, question)
                if task != "forward":
                    score(objective, terms, question).backward()

    return torch.no_grad()(run) if task == "forward" else run


def score(objective: Pretrain, terms: dict, question: MaskedBatch) -> Tensor:
    weights = objective.weights(question.counts)
    return sum(
        weights[k] * t.total / question.counts[k] for k, t in terms.items() if weights.get(k)
    )


def their_pass(
    args, config: TwoTrackConfig, task: str, groups: list[list[MaskedBatch]]
) -> Callable[[], None]:
    """One pass of the reference over all batches; its arrays are made beforehand."""
    import reference as theirs

    loaded = theirs.load(args.reference, args.core)
    model = theirs.make_model(loaded, widths(config)).train(task != "forward")
    arrays = [[theirs.make_batch(q) for q in batch] for batch in groups]

    def run() -> None:
        for batch in arrays:
            model.zero_grad(set_to_none=True)
            for micro in batch:
                loss = theirs.reference_losses(loaded, model, micro)["loss"]
                if task != "forward":
                    loss.backward()

    return torch.no_grad()(run) if task == "forward" else run


def widths(config: TwoTrackConfig) -> dict[str, int]:
    """A configuration under the reference's names."""
    return dict(
        encoder_layers=config.n_layer,
        encoder_embed_dim=config.d_atom,
        encoder_attention_heads=config.n_head,
        encoder_ffn_embed_dim=config.d_ffn,
        pair_embed_dim=config.d_pair,
        pair_hidden_dim=config.d_hidden,
    )


def child(args) -> None:
    """Time one side in this process and print what it took as JSON."""
    torch.set_num_threads(args.threads)
    stored = torch.load(args.file, weights_only=True)
    groups = [[unpack(q) for q in batch] for batch in stored]
    config, task = SIZES[args.size[0]], args.tasks[0]
    make = our_pass if args.side == "ours" else lambda *given: their_pass(args, *given)
    run = make(config, task, groups)
    if task != "mixture":  # minutes long: what the first call costs does not show
        run()
    cpu, wall = [], []
    for _ in range(args.repeats):
        began = time.process_time(), time.perf_counter()
        run()
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    print(
        json.dumps(
            {"cpu": statistics.median(cpu), "wall": statistics.median(wall), "gib": peak_gib()}
        )
    )


def peak_gib() -> float:
    """Peak resident memory of this process alone; `ru_maxrss` would start at that of the process
    that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS counts bytes


# ------------------------------------------------------------------------------------------------ both, in turn


def start(args, side: str, size: str, task: str, file: Path) -> dict[str, float]:
    """Run one side in a process of its own."""
    given = [
        "--side",
        side,
        "--size",
        size,
        "--tasks",
        task,
        "--file",
        str(file),
        "--threads",
        str(args.threads),
    ]
    given += ["--repeats", str(1 if task == "mixture" else args.repeats)]
    if args.reference:
        given += ["--reference", str(args.reference), "--core", str(args.core)]
    environment = os.environ | ENVIRONMENT
    done = subprocess.run(
        [sys.executable, __file__, *given], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise InputError(
            f"the process for {side} ({size}, {task}) ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def check(args, size: str, corpus: Corpus) -> None:
    """Same weights, same molecules: outputs, losses and gradients must agree, or nothing is
    timed.
    """
    import agreement
    import reference as theirs

    from molnb.models.unimol2.official import load_reference

    loaded = theirs.load(args.reference, args.core)
    names = widths(SIZES[size])
    their_model = theirs.make_model(loaded, names, perturb=0.1).eval()
    our_model = load_reference(their_model.state_dict(), names)
    both = agreement.run_both(
        loaded, their_model, our_model, questions(corpus, "step")[0][0], "pretrain"
    )
    decided = [d for d in both.gradients if not d.undetermined]
    worst = {
        k: max(d.share for d in found)
        for k, found in (("outputs", both.outputs), ("losses", both.losses))
    }
    worst["gradients"] = max(d.share for d in decided)
    shares = ", ".join(f"{k} {v:.0%}" for k, v in worst.items())
    print(f"{size}: largest differences in parts of what is allowed (1e-5): {shares}", flush=True)
    print(
        f"   {len(decided)} gradients; {len(both.gradients) - len(decided)} the reference itself gives no better"
    )
    if max(worst.values()) > 1:
        raise InputError(
            f"{size}: the two sides differ, so their times mean nothing: run benchmarks/agreement.py"
        )


def compare(args, size: str, task: str, corpus: Corpus, folder: Path) -> None:
    """Both sides in turn; prints medians and the median of the ratios."""
    files = {"ours": folder / "ours.pt", "reference": folder / "reference.pt"}
    torch.save(pack(questions(corpus, task)), files["ours"])
    torch.save(pack(whole(corpus, task, args.micro)), files["reference"])
    sides = ("reference", "ours") if args.reference else ("ours",)
    rounds = [
        {side: start(args, side, size, task, files[side]) for side in sides}
        for _ in range(args.rounds)
    ]
    n = 1024 if task == "mixture" else 8
    for side in sides:
        cpu, wall, gib = (
            statistics.median(r[side][k] for r in rounds) for k in ("cpu", "wall", "gib")
        )
        print(
            f"  {task:<8} {side:<10} {cpu:8.2f} CPU-s {wall:8.2f} s {n / wall:8.2f} molecules/s {gib:6.2f} GiB"
        )
    if len(sides) == 2:
        ratios = {
            k: sorted(r["reference"][k] / r["ours"][k] for r in rounds)
            for k in ("cpu", "wall", "gib")
        }
        line = ", ".join(
            f"{k} {statistics.median(v):.2f} ({v[0]:.2f} to {v[-1]:.2f})" for k, v in ratios.items()
        )
        print(f"  {task:<8} reference / ours: {line}", flush=True)


def time_loader(args, size: str, corpus: Corpus, folder: Path) -> None:
    """Molecules a second from shards to batches on one core, alone and with noise and masks."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    objective, n_step = Pretrain(), 20
    made = {
        "batches": lambda ids, step: list(batches(corpus, ids, 131_072)),
        "batches with noise and masks": lambda ids, step: [
            objective.ask(b, 0, step) for b in batches(corpus, ids, 131_072)
        ],
    }
    rates = {}
    for name, make in made.items():
        times = []
        for _ in range(5):
            began = time.process_time()
            for step in range(n_step):
                make(sample_ids(0, step, 1024, corpus.n), step)
            times.append(time.process_time() - began)
        rates[name] = 1024 * n_step / statistics.median(times)
        print(f"  loader   {name}: {rates[name]:,.0f} molecules/s on one core")
    file = folder / "ours.pt"
    torch.save(pack(questions(corpus, "step")), file)
    step = start(args, "ours", size, "step", file)["cpu"] / 8
    print(
        f"  loader   {100 / rates['batches with noise and masks'] / step:.3f} % of a training step of {size}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reference", type=Path, metavar="UNI_MOL", help="checkout of Uni-Mol")
    parser.add_argument("--core", type=Path, metavar="UNI_CORE", help="checkout of Uni-Core")
    parser.add_argument(
        "--size",
        nargs="+",
        default=["84m", "small"],
        choices=list(SIZES),
        help="sizes of the model",
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument(
        "--data", help="curated dataset to draw molecules from (default: a sample of wehi)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turn")
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed passes a process, after one that is not"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--micro",
        type=int,
        default=128,
        help="molecules of a micro-batch of the reference (mixture)",
    )
    parser.add_argument("--side", choices=("ours", "reference"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        child(args)
        return 0
    if bool(args.reference) != bool(args.core):
        raise InputError("give both --reference and --core, or neither (then only ours is timed)")
    corpus = load_corpus(args.data)
    print(f"torch {torch.__version__}, {args.threads} threads, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as folder:
        for size in args.size:
            if args.reference:
                check(args, size, corpus)
            for task in args.tasks:
                if task == "loader":
                    time_loader(args, size, corpus, Path(folder))
                elif task != "mixture" or size == "small":  # the reference would take hours at 84M
                    compare(args, size, task, corpus, Path(folder))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
