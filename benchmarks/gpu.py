r"""How well a training step uses a GPU: molecules a second, share of its rate, memory a molecule.

    python benchmarks/gpu.py --data wehi-c33f9634               every scale, bf16, compiled
    python benchmarks/gpu.py --data ... --size 84m --batch 128  does that batch fit?
    python benchmarks/gpu.py --data ... --size 84m --reference Uni-Mol --core Uni-Core
                                                                beside the authors' model

A step is forward, backward and AdamW on molecules of 23 heavy atoms (24 nodes, to which both sides
pad), repeated where the data have too few. Batches double until one does not fit; the best rate is
printed. molnb's model runs in bf16 (geometry and weights in fp32) through torch.compile; the
reference in bf16 as its own `bfloat16()` makes it, plain PyTorch, at the largest batch that fits
it. FLOPs are those of `count_training`, two a multiplication; the card's rate is measured by a
product of matrices of 8,192 rows. Without a GPU, `--device cpu` runs the same code, slowly: for
tests.
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
from two_track import SIZES, widths

from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.flops import count_training
from molnb.models.unimol2.sizes import PAPER
from molnb.objectives.interface import weighted_loss
from molnb.objectives.pretraining import Pretrain
from molnb.paths import find_data
from molnb.training.device import choose_device


class Measured(NamedTuple):
    """A training step: seconds, and peak memory in GiB (0 where there is no GPU)."""

    batch: int
    seconds: float
    gib: float


def main() -> int:
    args = read_arguments()
    device = choose_device(args.device)
    rate = matrix_rate(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"{name}, torch {torch.__version__}: {rate / 1e12:.1f} TFLOP/s in a bf16 product of "
        "matrices"
    )
    corpus = Corpus([find_data(args.data)])
    for size in args.size:
        config = SIZES[size]
        work = flops(config, args.atoms)
        make_step = partial(our_step, config, device, not args.no_compile)
        best = show(size, "ours", sweep(args, device, make_step, corpus), work, rate)
        if args.reference:
            make_step = partial(their_step, args, config, device)
            slower = show(size, "reference", sweep(args, device, make_step, corpus), work, rate)
            print(f"  ours / reference: {best / slower:.2f} molecules/s, each at its best batch")
    return 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
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
    return parser.parse_args()


def make_batch(corpus: Corpus, n_mol: int, n_atom: int) -> MaskedBatch:
    """Molecules of one size, with noise and masks; raises InputError where the data have none."""
    ids = np.flatnonzero(corpus.n_atoms == n_atom)
    if not len(ids):
        sizes = ", ".join(map(str, np.unique(corpus.n_atoms)))
        raise InputError(
            f"the data have no molecule of {n_atom} heavy atoms: choose --atoms from {sizes}"
        )
    return Pretrain().corrupt(corpus.batch(np.resize(ids, n_mol)), 0, 0)


def our_step(
    config: TwoTrackConfig, device: torch.device, compiled: bool, masked: MaskedBatch
) -> Callable[[], None]:
    """A function that does one training step of molnb's model in bf16."""
    torch.manual_seed(0)
    objective = Pretrain()
    model = Model(*make_two_track(config)).to(device).train()
    if compiled:
        model.fuse()
    optimizer = make_optimizer(model, device)
    weights = objective.weights(masked.counts)
    masked = masked.to(device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            terms = objective.loss_terms(model, masked)
        weighted_loss(terms, weights, masked.counts).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def their_step(
    args: argparse.Namespace, config: TwoTrackConfig, device: torch.device, masked: MaskedBatch
) -> Callable[[], None]:
    """A function that does one training step of the reference in bf16."""
    import reference

    classes = reference.load(args.reference, args.core)
    model = reference.make_model(classes, widths(config)).to(device).bfloat16().train()
    optimizer = make_optimizer(model, device)
    arrays = {name: array.to(device) for name, array in reference.make_batch(masked).items()}

    def step() -> None:
        reference.reference_losses(classes, model, arrays)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def make_optimizer(model: torch.nn.Module, device: torch.device) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")


def sweep(
    args: argparse.Namespace,
    device: torch.device,
    make_step: Callable[[MaskedBatch], Callable[[], None]],
    corpus: Corpus,
) -> list[Measured]:
    """Time batches of 8, 16, 32, ... molecules until one does not fit, or of `--batch` alone."""
    n_mol = args.batch or 8
    largest = args.batch or args.largest
    measured = []
    while n_mol <= largest:
        try:
            step = make_step(make_batch(corpus, n_mol, args.atoms))
            measured.append(measure(step, n_mol, args.steps, device))
        except torch.OutOfMemoryError:
            break
        finally:
            free(device)
        n_mol *= 2
    if not measured:
        raise InputError(
            f"not even {n_mol} molecules fit {device}: choose a smaller --size or --batch"
        )
    return measured


def measure(step: Callable[[], None], n_mol: int, repeats: int, device: torch.device) -> Measured:
    """Median seconds of a step after three that are not counted, and the card's peak memory."""
    for _ in range(3):
        step()
    seconds = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        step()
        wait(device)
        seconds.append(time.perf_counter() - start)
    gib = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return Measured(n_mol, statistics.median(seconds), gib)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def flops(config: TwoTrackConfig, n_atom: int) -> int:
    """FLOPs of a training step on one molecule as molnb computes it.

    The reference is counted by the same number: what is compared is work done, not spent.
    """
    return 2 * sum(count_training(config, n_atom).values())


def show(size: str, side: str, measured: list[Measured], work: int, rate: float) -> float:
    """Print a line a batch; returns the best molecules a second."""
    for batch, seconds, gib in measured:
        achieved = work * batch / seconds
        print(
            f"  {size:>6} {side:<10} batch {batch:>5} {batch / seconds:10.1f} molecules/s "
            f"{achieved / 1e12:8.1f} TFLOP/s {achieved / rate:6.1%} of the card {gib:7.1f} GiB",
            flush=True,
        )
    smallest = measured[0]
    largest = measured[-1]
    if len(measured) > 1 and largest.gib:
        slope = (largest.gib - smallest.gib) / (largest.batch - smallest.batch)
        print(f"  {size:>6} {side:<10} {slope * 1024:.1f} MiB a molecule")
    return max(batch / seconds for batch, seconds, _ in measured)


def matrix_rate(device: torch.device) -> float:
    """FLOP/s of a square product in bf16, the best of five."""
    n = 8192 if device.type == "cuda" else 512
    matrix = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    fastest = float("inf")
    for _ in range(5):
        wait(device)
        start = time.perf_counter()
        matrix @ matrix
        wait(device)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * n**3 / fastest


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
