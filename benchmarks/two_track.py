r"""Times and memory of the two-track model beside the authors' own, on the same molecules.

    python benchmarks/two_track.py --reference Uni-Mol --core Uni-Core    84M and `small`, all tasks
    python benchmarks/two_track.py ... --size small --tasks step forward --rounds 5
    python benchmarks/two_track.py --size small             molnb's model alone, no checkouts

Before anything is timed, both sides get the same weights and the same molecules and must give the
same outputs, losses and gradients (see `agreement.py`). Then each side runs in processes of its
own, in turn, and the medians of the ratios are printed. Tasks:

    step      forward and backward pass, training mode with its dropout, 8 molecules of 20 to 28
              heavy atoms
    forward   evaluation mode without gradients, the same molecules
    mixture   forward and backward pass of 1,024 molecules of `wehi` in batches of 128, gradients
              accumulated within a batch: molnb's in groups of similar size, the reference's in
              micro-batches of --micro (128: the whole batch)
    subnormal float32 numbers below the smallest normal one in a step, for which some processors
              take many times as long as for others
    loader    molnb alone: from shards on disk to batches with noise and masks, one core, and its
              share of a step

The reference starts from arrays that are padded and expanded already, molnb expands bonds and paths
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
from pathlib import Path

import numpy as np
import torch

from molnb.data.batch import MolBatch
from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.data.sampling import batches, sample_ids
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.subnormals import SubnormalCounter
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.official import load_reference
from molnb.models.unimol2.sizes import LAPTOP, PAPER
from molnb.objectives.interface import weighted_loss
from molnb.objectives.pretraining import Pretrain
from molnb.paths import find_data
from molnb.training.device import keep_freed_memory, processor_name

SIZES = PAPER | LAPTOP | {"small": TwoTrackConfig(6, 256, 16, 256, 128, 32)}
HEAVY_ATOMS = (20, 28)
N_MOL = 8  # molecules of a step
GLOBAL_BATCH = 128  # molecules of a batch of the mixture
N_BATCH = 8  # batches of the mixture
TASKS = ("step", "forward", "mixture", "subnormal", "loader")
# threads that wait must not count as work
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

Groups = list[list[MaskedBatch]]  # of each global batch


# ------------------------------------------------------------------------------------- molecules


def load_corpus(data: str | None) -> Corpus:
    """A curated dataset by folder or name; by default 2,000 rows of `wehi`, curated now."""
    if data is not None:
        return Corpus([find_data(data)])
    from molnb.curation.pipeline import curate

    return Corpus([curate("wehi", n=2000)])


def step_ids(corpus: Corpus) -> np.ndarray:
    """Ids of eight molecules whose sizes are spread evenly over 20 to 28 heavy atoms.

    Where the data have none of a size, the nearest one.
    """
    sizes = np.linspace(*HEAVY_ATOMS, N_MOL).round().astype(int)
    return np.array([np.abs(corpus.n_atoms - size).argmin() for size in sizes])


def make_groups(corpus: Corpus, task: str) -> Groups:
    """The masked molecules of a task, each batch in groups as training forms them."""
    objective = Pretrain()
    if task != "mixture":
        return [[objective.corrupt(corpus.batch(step_ids(corpus)), 0, 0)]]
    groups = []
    for step in range(N_BATCH):
        ids = sample_ids(0, step, GLOBAL_BATCH, corpus.n)
        groups.append([objective.corrupt(batch, 0, step) for batch in batches(corpus, ids)])
    return groups


def make_micro_batches(corpus: Corpus, task: str, micro: int) -> Groups:
    """The same molecules in micro-batches as they come, for the reference."""
    if task != "mixture":
        return make_groups(corpus, task)
    objective = Pretrain()
    groups = []
    for step in range(N_BATCH):
        ids = sample_ids(0, step, GLOBAL_BATCH, corpus.n)
        pieces = [ids[start : start + micro] for start in range(0, GLOBAL_BATCH, micro)]
        groups.append([objective.corrupt(corpus.batch(piece), 0, step) for piece in pieces])
    return groups


def write_groups(groups: Groups, file: Path) -> None:
    """Keep masked batches as plain tensors, which a process can read without running code."""
    torch.save([[_pack(masked) for masked in batch] for batch in groups], file)


def load_groups(file: Path) -> Groups:
    """Undo `write_groups`."""
    stored = torch.load(file, weights_only=True)
    return [[_unpack(masked) for masked in batch] for batch in stored]


def _pack(masked: MaskedBatch) -> dict:
    return masked._asdict() | {"batch": vars(masked.batch)}


def _unpack(stored: dict) -> MaskedBatch:
    return MaskedBatch(**stored | {"batch": MolBatch(**stored["batch"])})


# ------------------------------------------------------------------------------- one side, timed


def our_pass(config: TwoTrackConfig, task: str, groups: Groups) -> Callable[[], None]:
    """A function that takes molnb's model once through all batches."""
    objective = Pretrain()
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    model = Model(*make_two_track(config)).train(task != "forward")

    def run() -> None:
        for batch in groups:
            model.zero_grad(set_to_none=True)
            for masked in batch:
                terms = objective.loss_terms(model, masked)
                if task != "forward":
                    weights = objective.weights(masked.counts)
                    weighted_loss(terms, weights, masked.counts).backward()

    return torch.no_grad()(run) if task == "forward" else run


def their_pass(
    args: argparse.Namespace, config: TwoTrackConfig, task: str, groups: Groups
) -> Callable[[], None]:
    """A function that takes the reference once through all batches, padded beforehand."""
    import reference

    classes = reference.load(args.reference, args.core)
    model = reference.make_model(classes, widths(config)).train(task != "forward")
    arrays = [[reference.make_batch(masked) for masked in batch] for batch in groups]

    def run() -> None:
        for batch in arrays:
            model.zero_grad(set_to_none=True)
            for micro_batch in batch:
                loss = reference.reference_losses(classes, model, micro_batch)["loss"]
                if task != "forward":
                    loss.backward()

    return torch.no_grad()(run) if task == "forward" else run


def count_side(args: argparse.Namespace) -> None:
    """Count the subnormal numbers of one side's step in this process; prints JSON."""
    torch.set_num_threads(1)  # results of other threads would not be seen
    groups = load_groups(args.file)
    config = SIZES[args.size[0]]
    if args.side == "ours":
        run = our_pass(config, "step", groups)
    else:
        run = their_pass(args, config, "step", groups)
    with SubnormalCounter() as counter:
        run()
    counts = {"subnormal": counter.of_operation.total(), "results": counter.n_result}
    print(json.dumps(counts))


def widths(config: TwoTrackConfig) -> dict[str, int]:
    """A configuration under the reference's names."""
    return {
        "encoder_layers": config.n_layer,
        "encoder_embed_dim": config.d_atom,
        "encoder_attention_heads": config.n_head,
        "encoder_ffn_embed_dim": config.d_ffn,
        "pair_embed_dim": config.d_pair,
        "pair_hidden_dim": config.d_hidden,
    }


def time_side(args: argparse.Namespace) -> None:
    """Time one side in this process; prints median seconds and peak memory as JSON."""
    torch.set_num_threads(args.threads)
    groups = load_groups(args.file)
    config = SIZES[args.size[0]]
    task = args.tasks[0]
    if args.side == "ours":
        run = our_pass(config, task, groups)
    else:
        run = their_pass(args, config, task, groups)
    if task != "mixture":  # minutes long: what the first call costs does not show
        run()
    cpu_seconds = []
    wall_seconds = []
    for _ in range(args.repeats):
        cpu_start = time.process_time()
        wall_start = time.perf_counter()
        run()
        cpu_seconds.append(time.process_time() - cpu_start)
        wall_seconds.append(time.perf_counter() - wall_start)
    cpu = statistics.median(cpu_seconds)
    wall = statistics.median(wall_seconds)
    print(json.dumps({"cpu": cpu, "wall": wall, "gib": peak_gib()}))


def peak_gib() -> float:
    """Peak resident memory of this process in GiB.

    `ru_maxrss` alone would start at that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS counts bytes


# --------------------------------------------------------------------------------- both, in turn


def run_side(
    args: argparse.Namespace, side: str, size: str, task: str, file: Path
) -> dict[str, float]:
    """Seconds (`cpu`, `wall`) and `gib` of one side, timed in a process of its own."""
    options = {
        "side": side,
        "size": size,
        "tasks": task,
        "file": file,
        "threads": args.threads,
        "repeats": 1 if task == "mixture" else args.repeats,
    }
    if args.reference:
        options |= {"reference": args.reference, "core": args.core}
    command = [sys.executable, __file__]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    environment = os.environ | ENVIRONMENT
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise InputError(
            f"the process for {side} ({size}, {task}) ended with {process.returncode}:\n"
            f"{process.stderr[-2000:]}"
        )
    return json.loads(process.stdout.splitlines()[-1])


def check(args: argparse.Namespace, size: str, corpus: Corpus) -> None:
    """Refuse to time sides whose outputs, losses or gradients differ on the same weights."""
    import agreement
    import reference

    classes = reference.load(args.reference, args.core)
    names = widths(SIZES[size])
    their_model = reference.make_model(classes, names, perturb=0.1).eval()
    our_model = load_reference(their_model.state_dict(), names)
    masked = make_groups(corpus, "step")[0][0]
    comparison = agreement.run_both(classes, their_model, our_model, masked, "pretrain")
    decided = [gradient for gradient in comparison.gradients if not gradient.undetermined]
    compared = {"outputs": comparison.outputs, "losses": comparison.losses, "gradients": decided}
    worst = {
        name: max(difference.share for difference in differences)
        for name, differences in compared.items()
    }
    shares = ", ".join(f"{name} {share:.0%}" for name, share in worst.items())
    n_undetermined = len(comparison.gradients) - len(decided)
    print(f"{size}: largest differences in parts of what is allowed (1e-5): {shares}", flush=True)
    print(f"   {len(decided)} gradients; {n_undetermined} the reference itself gives no better")
    if max(worst.values()) > 1:
        raise InputError(
            f"{size}: the two sides differ, so their times mean nothing: run "
            "benchmarks/agreement.py"
        )


def compare(args: argparse.Namespace, size: str, task: str, corpus: Corpus, folder: Path) -> None:
    """Time both sides in turn; prints medians and the median of the ratios."""
    files = {"ours": folder / "ours.pt", "reference": folder / "reference.pt"}
    write_groups(make_groups(corpus, task), files["ours"])
    write_groups(make_micro_batches(corpus, task, args.micro), files["reference"])
    sides = ("reference", "ours") if args.reference else ("ours",)
    rounds = [
        {side: run_side(args, side, size, task, files[side]) for side in sides}
        for _ in range(args.rounds)
    ]
    n_mol = GLOBAL_BATCH * N_BATCH if task == "mixture" else N_MOL
    for side in sides:
        cpu, wall, gib = (
            statistics.median(measured[side][quantity] for measured in rounds)
            for quantity in ("cpu", "wall", "gib")
        )
        print(
            f"  {task:<8} {side:<10} {cpu:8.2f} CPU-s {wall:8.2f} s "
            f"{n_mol / wall:8.2f} molecules/s {gib:6.2f} GiB",
            flush=True,
        )
    if len(sides) == 2:
        ranges = []
        for quantity in ("cpu", "wall", "gib"):
            ratios = [
                measured["reference"][quantity] / measured["ours"][quantity] for measured in rounds
            ]
            median = statistics.median(ratios)
            ranges.append(f"{quantity} {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"  {task:<8} reference / ours: {', '.join(ranges)}", flush=True)


def compare_subnormals(args: argparse.Namespace, size: str, corpus: Corpus, folder: Path) -> None:
    """Print how many subnormal numbers a step of each side computes."""
    file = folder / "ours.pt"
    write_groups(make_groups(corpus, "step"), file)
    for side in ("reference", "ours") if args.reference else ("ours",):
        counts = run_side(args, side, size, "subnormal", file)
        print(
            f"  subnormal {side:<10} {counts['subnormal']:,} numbers in the "
            f"{counts['results']:,} float32 results of a step",
            flush=True,
        )


def time_loader(args: argparse.Namespace, size: str, corpus: Corpus, folder: Path) -> None:
    """Print molecules a second from shards to batches on one core, without and with masks."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    loader_rate(corpus, args.repeats, masks=False)
    rate = loader_rate(corpus, args.repeats, masks=True)
    file = folder / "ours.pt"
    write_groups(make_groups(corpus, "step"), file)
    seconds = run_side(args, "ours", size, "step", file)["cpu"] / N_MOL
    print(f"  loader   {100 / rate / seconds:.3f} % of a training step of {size}")


def loader_rate(corpus: Corpus, n_pass: int, masks: bool) -> float:
    """Molecules a CPU-second as batches, with noise and masks if asked: the median of passes."""
    objective = Pretrain()
    n_step = 20
    n_mol = 1024
    seconds = []
    for _ in range(n_pass):
        start = time.process_time()
        for step in range(n_step):
            ids = sample_ids(0, step, n_mol, corpus.n)
            for batch in batches(corpus, ids, pair_budget=131_072):
                if masks:
                    objective.corrupt(batch, 0, step)
        seconds.append(time.process_time() - start)
    rate = n_mol * n_step / statistics.median(seconds)
    content = "batches with noise and masks" if masks else "batches"
    print(f"  loader   {content}: {rate:,.0f} molecules/s on one core")
    return rate


def read_arguments() -> argparse.Namespace:
    """The command line; raises InputError where only one of two checkouts is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reference", type=Path, metavar="UNI_MOL", help="checkout of Uni-Mol")
    parser.add_argument("--core", type=Path, metavar="UNI_CORE", help="checkout of Uni-Core")
    parser.add_argument(
        "--size",
        nargs="+",
        default=["84m", "small"],
        choices=list(SIZES),
        help="sizes of the model (default: 84m small)",
    )
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="default: all"
    )
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
        default=GLOBAL_BATCH,
        help="molecules of a micro-batch of the reference (mixture)",
    )
    parser.add_argument("--side", choices=("ours", "reference"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if bool(args.reference) != bool(args.core):
        raise InputError("give both --reference and --core, or neither (then only ours is timed)")
    return args


def main() -> int:
    args = read_arguments()
    if args.side:
        count_side(args) if args.tasks == ["subnormal"] else time_side(args)
        return 0
    corpus = load_corpus(args.data)
    print(f"{processor_name()}, torch {torch.__version__}, {args.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        for size in args.size:
            if args.reference:
                check(args, size, corpus)
            else:
                print(size)
            for task in args.tasks:
                if task == "loader":
                    time_loader(args, size, corpus, Path(folder))
                elif task == "subnormal":
                    compare_subnormals(args, size, corpus, Path(folder))
                elif task != "mixture" or size == "small":  # the reference takes hours at 84M
                    compare(args, size, task, corpus, Path(folder))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
