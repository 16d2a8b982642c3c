"""How fast a training step is: molecules a second, share of the card, memory a molecule.

A step is forward, backward and AdamW (fused on a GPU) on molecules of one size, 25 heavy atoms, or
another by `--atoms`, repeated where the data have too few; in bf16 (geometry and weights in
float32). 25 atoms are 26 nodes, which a GPU pads to 32. Where a batch does not fit, half of it is
tried. Seconds are the median of steps after some that do not count; FLOPs those of
`flops.count_training` for the atoms that there are, two a multiplication; the card's rate is
measured in the same process. GiB a molecule is the difference of the peaks of a batch and of half
of it, by the difference in molecules.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gpu_card import matrix_rate
from gpu_setting import Setting, Skipped, wait
from two_track import SIZES, widths

from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.config import TwoTrackConfig
from molnb.models.unimol2.encoder import make_two_track
from molnb.models.unimol2.flops import count_training
from molnb.objectives.interface import weighted_loss
from molnb.objectives.pretraining import Pretrain

LARGEST = "1100m"  # three steps of it are enough
N_WARM = 3
N_TIMED = 10
N_COMPILED_ON_CPU = 1  # blocks: tracing takes as long as there are blocks

Step = Callable[[], torch.Tensor]  # takes a training step, returns its loss


class Measured(NamedTuple):
    """Steps on a batch: the first one's seconds, the median, peak memory (no GPU: None), losses."""

    batch: int
    first_seconds: float
    seconds: float
    peak_gib: float | None
    losses: list[float]


def time_size(setting: Setting, size: str, compiled: bool) -> dict[str, Any]:
    """A training step of a size of model: speed, share of the card's rate, memory."""
    config = SIZES[size]
    if compiled and not setting.on_gpu:
        config = replace(config, n_layer=N_COMPILED_ON_CPU)
    corpus = Corpus([setting.data])
    make_step = partial(our_step, config, setting.device, compiled)
    timed = partial(time_batches, setting, corpus, make_step, few=size == LARGEST)
    measured = timed(setting.batch)
    half = None
    # of compiled code the peak is enough: another batch could mean other code, after minutes
    if setting.on_gpu and not compiled and measured.batch > 1:
        half = timed(measured.batch // 2)
    if not all(map(math.isfinite, measured.losses)):
        raise ValueError(f"a loss is no number: {measured.losses}")
    rate = matrix_rate(setting.device, torch.bfloat16)
    return describe_speed(setting, config, measured, half, rate)


def describe_speed(
    setting: Setting,
    config: TwoTrackConfig,
    measured: Measured,
    half: Measured | None,
    rate: float,
) -> dict[str, Any]:
    """What is told of timed steps."""
    speed = measured.batch / measured.seconds
    achieved = speed * flops(config, setting.atoms)
    nodes = setting.atoms + 1
    length = padded_nodes(nodes) if setting.on_gpu else nodes
    of_molecule = None
    if half is not None:
        of_molecule = (measured.peak_gib - half.peak_gib) / (measured.batch - half.batch)
    fewer = "" if measured.batch == setting.batch else f" ({setting.batch} do not fit)"
    memory = "" if measured.peak_gib is None else f", peak {measured.peak_gib:.1f} GiB"
    if of_molecule is not None:
        memory += f", {1024 * of_molecule:.0f} MiB a molecule"
    return {
        "ok": True,
        "line": (
            f"batch {measured.batch}{fewer}: {speed:.1f} molecules/s, {achieved / rate:.1%} of the "
            f"card{memory}; losses {measured.losses[0]:.3f} to {measured.losses[-1]:.3f}"
        ),
        "batch": measured.batch,
        "molecules_a_second": speed,
        "step_seconds": measured.seconds,
        "first_step_seconds": measured.first_seconds,
        "flops": achieved,
        "matrix_flops": rate,
        "share_of_card": achieved / rate,
        "peak_gib": measured.peak_gib,
        "gib_a_molecule": of_molecule,
        "padded_nodes": 1 - nodes / length,
        "losses": measured.losses,
    }


def need_reference(setting: Setting) -> None:
    """Raise Skipped where the authors' code is not there."""
    if setting.reference is None:
        raise Skipped("no checkouts of the reference: --reference Uni-Mol --core Uni-Core")


def beside_reference(setting: Setting, size: str) -> dict[str, Any]:
    """Ours and the reference's plain PyTorch in one process, on the largest batch that fits both.

    The reference runs in bf16 as its own `bfloat16()` makes it.
    """
    config = SIZES[size]
    corpus = Corpus([setting.data])
    try:
        theirs = time_batches(
            setting, corpus, partial(their_step, setting, config), setting.batch, few=True
        )
    except ModuleNotFoundError as error:
        raise Skipped(f"the reference needs {error.name}, which is not installed") from None
    make_step = partial(our_step, config, setting.device, False)
    ours = time_batches(setting, corpus, make_step, theirs.batch, few=True)
    if ours.batch < theirs.batch:
        raise ValueError(f"{ours.batch} molecules fit ours, {theirs.batch} the reference")
    ratio = theirs.seconds / ours.seconds
    line = f"{size}, batch {ours.batch}: ours / reference {ratio:.2f} in molecules/s"
    memory = None
    if setting.on_gpu:
        memory = ours.peak_gib / theirs.peak_gib
        line += f", {memory:.2f} in peak memory ({ours.peak_gib:.1f}, {theirs.peak_gib:.1f} GiB)"
    return {
        "ok": True,
        "line": line,
        "speed_ratio": ratio,
        "memory_ratio": memory,
        "ours": ours._asdict(),
        "reference": theirs._asdict(),
    }


# ------------------------------------------------------------------------------------------ timing


def time_batches(
    setting: Setting,
    corpus: Corpus,
    make_step: Callable[[MaskedBatch], Step],
    batch: int,
    few: bool = False,
) -> Measured:
    """Time a batch of molecules of one size, or the largest half of half of it that fits."""
    batch_of = partial(make_batch, corpus, n_atom=setting.atoms)
    return time_what_fits(setting, make_step, batch_of, batch, few)


def time_what_fits(
    setting: Setting,
    make_step: Callable[[MaskedBatch], Step],
    batch_of: Callable[[int], MaskedBatch],
    batch: int,
    few: bool = False,
) -> Measured:
    """Time a batch, or the largest half of half of it that fits; InputError where none does."""
    n_mol = batch
    while n_mol:
        free(setting.device)
        try:
            return time_steps(setting, make_step, batch_of(n_mol), few)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            print(f"{n_mol} molecules do not fit: {str(error).splitlines()[0]}", flush=True)
        n_mol //= 2
    raise InputError(f"not even one molecule fits {setting.device}: choose a smaller --size")


def time_steps(
    setting: Setting, make_step: Callable[[MaskedBatch], Step], masked: MaskedBatch, few: bool
) -> Measured:
    """Median seconds of steps on a batch; with `few`, of three after one that does not count."""
    n_warm = 1 if few or not setting.on_gpu else N_WARM
    n_timed = 3 if few or not setting.on_gpu else N_TIMED
    device = setting.device
    step = make_step(masked)
    seconds = []
    losses = []
    for _ in range(n_warm + n_timed):
        wait(device)
        start = time.perf_counter()
        losses.append(step())
        wait(device)
        seconds.append(time.perf_counter() - start)
    return Measured(
        batch=masked.batch.n_mol,
        first_seconds=seconds[0],
        seconds=statistics.median(seconds[n_warm:]),
        peak_gib=torch.cuda.max_memory_allocated(device) / 2**30 if setting.on_gpu else None,
        losses=[float(loss) for loss in losses],
    )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory was too small, as torch says it or as a library of the card does."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in text


def free(device: torch.device) -> None:
    """Give back what the batch before took, and begin to count the peak of memory again."""
    gc.collect()
    if device.type == "cuda":
        wait(device)  # starts the card's runtime, without which there are no counts to set back
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def make_batch(corpus: Corpus, n_mol: int, n_atom: int) -> MaskedBatch:
    """Molecules of one size, with noise and masks; raises InputError where the data have none."""
    ids = np.flatnonzero(corpus.n_atoms == n_atom)
    if not len(ids):
        sizes = ", ".join(map(str, np.unique(corpus.n_atoms)))
        raise InputError(
            f"the data have no molecule of {n_atom} heavy atoms: choose --atoms from {sizes}"
        )
    return Pretrain().corrupt(corpus.batch(np.resize(ids, n_mol)), 0, 0)


def padded_nodes(nodes: int) -> int:
    """Nodes that a GPU computes for a molecule: full eights."""
    return -(-nodes // 8) * 8


def flops(config: TwoTrackConfig, n_atom: int) -> int:
    """FLOPs of a training step on one molecule as molnb computes it, without padding."""
    return 2 * sum(count_training(config, n_atom).values())


# ------------------------------------------------------------------------------------------- steps


def our_step(
    config: TwoTrackConfig, device: torch.device, compiled: bool, masked: MaskedBatch
) -> Step:
    """A function that takes one training step of molnb's model in bf16."""
    torch.manual_seed(0)
    objective = Pretrain()
    with device:  # 1.1B are drawn on the GPU in a second, and not on one core
        model = Model(*make_two_track(config)).train()
    if compiled:
        fuse(model, device)
    optimizer = make_optimizer(model, device)
    weights = objective.weights(masked.counts)
    masked = masked.to(device)

    def step() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            terms = objective.loss_terms(model, masked)
        loss = weighted_loss(terms, weights, masked.counts)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def fuse(model: Model, device: torch.device) -> None:
    """Compile the model; on a CPU the graph is made but no code, which would take minutes."""
    if device.type == "cuda":
        model.fuse()
        return
    model.encoder.fuse(backend="eager")
    model.heads["movement"].fuse(backend="eager")


def their_step(setting: Setting, config: TwoTrackConfig, masked: MaskedBatch) -> Step:
    """A function that takes one training step of the reference in bf16."""
    import reference

    device = setting.device
    classes = reference.load(setting.reference, setting.core)
    model = reference.make_model(classes, widths(config)).to(device).bfloat16().train()
    optimizer = make_optimizer(model, device)
    arrays = {name: array.to(device) for name, array in reference.make_batch(masked).items()}

    def step() -> torch.Tensor:
        loss = reference.reference_losses(classes, model, arrays)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def make_optimizer(model: torch.nn.Module, device: torch.device) -> torch.optim.AdamW:
    """AdamW as training makes it: one kernel on a GPU."""
    return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda" or None)
