r"""How well does a training step use a GPU? Molecules a second, share of the card's matrix rate,
memory a molecule.

    python benchmarks/gpu.py --data wehi-c33f9634                                        every scale, bf16, compiled
    python benchmarks/gpu.py --data ... --size 84m --reference Uni-Mol --core Uni-Core   beside the authors' model
    python benchmarks/gpu.py --data ... --size 84m --batch 128                           does that batch fit?

A step is forward, backward and AdamW on molecules of 23 heavy atoms (24 nodes, to which both sides
pad), repeated where the data have too few. Batches double until one does not fit; the best rate is
printed. Ours runs in bf16 (geometry and weights in fp32) through torch.compile; the reference in
bf16 as its own `bfloat16()` makes it, plain PyTorch, at the largest batch that fits it. FLOPs are
those of `count_training`, two a multiplication; the card's rate is measured by a product of
matrices of 8,192 rows. Without a GPU, `--device cpu` runs the same code, slowly: for tests.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import TwoTrack
from molnb.models.unimol2.flops import count_training
from molnb.models.unimol2.sizes import LAPTOP, PAPER
from molnb.objectives.pretraining import Pretrain
from molnb.paths import find_data
from molnb.training.device import choose_device
from molnb.training.loop import compile_encoder

SIZES = PAPER | LAPTOP | {"small": TwoTrackConfig(6, 256, 16, 256, 128, 32)}


class Measured(NamedTuple):
    """A training step: seconds, and peak memory in GiB (0 where there is no GPU)."""

    batch: int
    seconds: float
    gib: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="curated dataset, a folder or its name")
    parser.add_argument("--size", nargs="+", default=list(PAPER), choices=list(SIZES))
    parser.add_argument("--atoms", type=int, default=23, help="heavy atoms of the molecules")
    parser.add_argument("--batch", type=int, help="this number of molecules only")
    parser.add_argument("--largest", type=int, default=4096, help="largest batch to try")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each batch")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-compile", action="store_true", help="plain PyTorch for ours too")
    parser.add_argument("--reference", type=Path, metavar="UNI_MOL", help="checkout of Uni-Mol")
    parser.add_argument("--core", type=Path, metavar="UNI_CORE", help="checkout of Uni-Core")
    args = parser.parse_args()
    device = choose_device(args.device)
    rate = matrix_rate(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"{name}, torch {torch.__version__}: {rate / 1e12:.1f} TFLOP/s in a bf16 product of matrices"
    )
    corpus = Corpus([find_data(args.data)])
    for size in args.size:
        config = SIZES[size]
        ours = sweep(args, device, partial(our_step, config, device, not args.no_compile), corpus)
        best = show(size, "ours", ours, flops(config, args.atoms), rate)
        if args.reference:
            theirs = sweep(args, device, partial(their_step, args, config, device), corpus)
            slower = show(size, "reference", theirs, flops(config, args.atoms), rate)
            print(f"  ours / reference: {best / slower:.2f} molecules/s, each at its best batch")
    return 0


def ask(corpus: Corpus, n: int, n_atom: int) -> MaskedBatch:
    """n molecules of one size, with noise and masks."""
    ids = np.flatnonzero(corpus.n_atoms == n_atom)
    if not len(ids):
        there = ", ".join(map(str, np.unique(corpus.n_atoms)))
        raise InputError(
            f"the data have no molecule of {n_atom} heavy atoms: choose --atoms from {there}"
        )
    return Pretrain().ask(corpus.batch(np.resize(ids, n)), 0, 0)


def our_step(
    config: TwoTrackConfig, device: torch.device, compiled: bool, question: MaskedBatch
) -> Callable[[], None]:
    """A training step of ours."""
    torch.manual_seed(0)
    objective = Pretrain()
    model = Model(TwoTrack(config), objective).to(device).train()
    if compiled:
        compile_encoder(model)
    optimizer = make_optimizer(model, device)
    counts, weights, question = (
        question.counts,
        objective.weights(question.counts),
        question.to(device),
    )

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            terms = objective.terms(model, question)
        sum(weights[k] * t.total / counts[k] for k, t in terms.items() if weights.get(k)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def their_step(
    args, config: TwoTrackConfig, device: torch.device, question: MaskedBatch
) -> Callable[[], None]:
    """A training step of the reference in bf16."""
    import reference as theirs
    from two_track import widths

    loaded = theirs.load(args.reference, args.core)
    model = theirs.make_model(loaded, widths(config)).to(device).bfloat16().train()
    optimizer = make_optimizer(model, device)
    batch = {k: v.to(device) for k, v in theirs.make_batch(question).items()}

    def step() -> None:
        theirs.reference_losses(loaded, model, batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def make_optimizer(model: torch.nn.Module, device: torch.device) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")


def sweep(
    args, device: torch.device, make: Callable[[MaskedBatch], Callable], corpus: Corpus
) -> list[Measured]:
    """Batches of 8, 16, 32, ... until one does not fit, or only the one asked for."""
    found, n = [], args.batch or 8
    while n <= (args.batch or args.largest):
        try:
            found.append(measure(make(ask(corpus, n, args.atoms)), n, args.steps, device))
        except torch.OutOfMemoryError:
            break
        finally:
            free(device)
        n *= 2
    if not found:
        raise InputError(f"not even {n} molecules fit {device}: choose a smaller --size or --batch")
    return found


def measure(step: Callable[[], None], n: int, repeats: int, device: torch.device) -> Measured:
    """Median seconds of a step after three that are not counted, and the memory the card held at
    most.
    """
    for _ in range(3):
        step()
    seconds = []
    for _ in range(repeats):
        wait(device)
        began = time.perf_counter()
        step()
        wait(device)
        seconds.append(time.perf_counter() - began)
    gib = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return Measured(n, statistics.median(seconds), gib)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def flops(config: TwoTrackConfig, n_atom: int) -> int:
    """FLOPs of a training step on one molecule as ours computes it, also for the reference: work
    done, not spent.
    """
    return 2 * sum(count_training(config, n_atom).values())


def show(size: str, side: str, found: list[Measured], work: int, rate: float) -> float:
    """Print a line a batch; returns the best molecules a second."""
    for m in found:
        achieved = work * m.batch / m.seconds
        print(
            f"  {size:>6} {side:<10} batch {m.batch:>5} {m.batch / m.seconds:10.1f} molecules/s "
            f"{achieved / 1e12:8.1f} TFLOP/s {achieved / rate:6.1%} of the card {m.gib:7.1f} GiB",
            flush=True,
        )
    if len(found) > 1 and found[-1].gib:
        slope = (found[-1].gib - found[0].gib) / (found[-1].batch - found[0].batch)
        print(f"  {size:>6} {side:<10} {slope * 1024:.1f} MiB a molecule")
    return max(m.batch / m.seconds for m in found)


def matrix_rate(device: torch.device) -> float:
    """FLOP/s of a square product in bf16, the best of five."""
    n = 8192 if device.type == "cuda" else 512
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(5):
        wait(device)
        began = time.perf_counter()
        a @ a
        wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
