"""Graph networks on the device: do they compute what a CPU does, how fast, and resumed?

They are compared in evaluation mode, where nothing is drawn, on all levels of made-up labels. The
device is given the molecules in the opposite order, so that on a CPU too its sums come in another
one. Both are in float32 with TF32 off; the limits are those of `gpu_agreement`, a term 1e-5 of
itself, vectors and all gradients together 1e-4, one parameter 1e-3. bf16 is told and not judged,
but is finite.

A step is forward, backward and AdamW on molecules as they come, whose encodings are there already,
with a loss of made-up labels of molecules and atoms. The compiled step is a row of its own, which
says so where the code cannot be made.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_agreement import LIMITS, N_MOL, Answers, errors
from gpu_runs import resume_within_seeds
from gpu_setting import Setting, Skipped
from gpu_speed import N_COMPILED_ON_CPU, Measured, Step, make_optimizer, time_what_fits
from torch import Tensor

from molnb.data.batch import LEVELS, MolBatch, SparseLabels, every_index
from molnb.data.dataset import Corpus
from molnb.data.masked import MaskedBatch
from molnb.models.families import build_encoder
from molnb.models.graph.config import GraphConfig
from molnb.models.graph.sizes import MINIMOL, SIZES
from molnb.models.model import Model
from molnb.objectives.interface import weighted_loss
from molnb.objectives.supervised import Supervised
from molnb.objectives.targets import ScaledTask

NETWORKS = {"150k": SIZES["150k"], "10m": SIZES["10m"], "minimol": MINIMOL}  # that are timed
N_TIMED_MOL = 2048  # of a step on a GPU: MiniMol's
N_BLOCK_ON_CPU = 2
N_LABEL = 3  # of a task
PARTS = ("molecule", "atom")  # levels whose labels a timed step learns
SMALL = GraphConfig(n_layer=3, d_input=32, d_atom=64, d_bond=32, n_head=4)
COMPARED = {
    "gine": SMALL,
    "mpnn": replace(SMALL, layer="mpnn", pooling="mean", residual="all"),
    "gps": replace(SMALL, layer="gps", pair_encodings=("hops", "commute"), n_kernel=8),
}


def need_geometric(setting: Setting) -> None:
    """Raise Skipped where graph networks cannot be built."""
    if importlib.util.find_spec("torch_geometric") is None:
        raise Skipped("torch_geometric is not installed, which graph networks need")


# ---------------------------------------------------------------------------------- made-up labels


def make_objective(levels: Sequence[str] = LEVELS) -> Supervised:
    """Numbers to learn at each level."""
    labels = tuple(f"label_{number}" for number in range(N_LABEL))
    tasks = (
        ScaledTask(
            key=level,
            level=level,
            kind="regression",
            loss="mae",
            labels=tuple(f"{level}_{label}" for label in labels),
            units=("",) * N_LABEL,
            mean=(0.0,) * N_LABEL,
            scale=(1.0,) * N_LABEL,
        )
        for level in levels
    )
    return Supervised(tasks_scaled=tuple(tasks))


def with_labels(batch: MolBatch, levels: Sequence[str] = LEVELS) -> MolBatch:
    """A batch with made-up labels, which depend on a molecule and not on its place in the batch."""
    labels = {}
    for level in levels:
        index = every_index(batch, level)
        phase = phases(batch, level, index)[:, None] * torch.arange(1, N_LABEL + 1)
        labels[level] = SparseLabels(index, torch.sin(phase))
    return replace(batch, labels=labels)


def phases(batch: MolBatch, level: str, index: Tensor) -> Tensor:
    """A number for everything of a level: of elements, or of places in the molecule."""
    numbers = batch.numbers.float()
    if level == "molecule":
        return torch.zeros(batch.n_mol).index_add(0, batch.mol_of_atom(), numbers)
    if level == "atom":
        return numbers + batch.position()
    if level == "bond":
        return numbers[batch.bond_ends()].sum(1)
    return (index[:, 1] + 2 * index[:, 2]).float()


# --------------------------------------------------------------------------------------- agreement


def agree_of_graphs(setting: Setting) -> dict[str, Any]:
    """Errors of the device from the CPU, both in float32, by network; `ok` within the limits."""
    torch.set_float32_matmul_precision("highest")
    networks = {name: compare(config, setting) for name, config in COMPARED.items()}
    worst = {name: max(of["device"][name] for of in networks.values()) for name in LIMITS}
    finite = all(of["bfloat16_finite"] for of in networks.values())
    shares = ", ".join(f"{name} {worst[name]:.0e} of {LIMITS[name]:.0e}" for name in LIMITS)
    narrow = max(of["bfloat16"]["gradients"] for of in networks.values())
    return {
        "ok": finite and all(worst[name] <= limit for name, limit in LIMITS.items()),
        "line": f"float32, largest relative error: {shares}; bf16 gradients {narrow:.0e}",
        "limits": LIMITS,
        "models": networks,
    }


def compare(config: GraphConfig, setting: Setting) -> dict[str, Any]:
    """Errors of the device from the CPU, in float32 and in bf16."""
    corpus = Corpus([setting.data], encodings=config.encodings)
    by_size = np.argsort(corpus.n_atoms, kind="stable")
    ids = by_size[(np.linspace(0, 0.95, N_MOL) * (corpus.n - 1)).astype(int)]
    cpu = answers(config, corpus, ids, torch.device("cpu"))
    opposite = partial(answers, config, corpus, ids[::-1].copy(), setting.device)
    device = in_opposite_order(opposite(), corpus, ids)
    narrow = in_opposite_order(opposite(narrow=True), corpus, ids)
    tensors = [*narrow.gradients.values(), *narrow.vectors.values()]
    return {
        "device": errors(device, cpu),
        "bfloat16": errors(narrow, cpu),
        "bfloat16_finite": all(bool(values.isfinite().all()) for values in tensors),
    }


def answers(
    config: GraphConfig,
    corpus: Corpus,
    ids: np.ndarray,
    device: torch.device,
    narrow: bool = False,
) -> Answers:
    """Loss of each task, gradients of their sum, and vectors; with `narrow` forward in bf16."""
    objective = make_objective()
    masked = objective.corrupt(with_labels(corpus.batch(ids)), 0, 0).to(device)
    model = shaken(make_model(config, objective)).to(device).eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
        terms = objective.loss_terms(model, masked)
        losses = {name: term.total for name, term in terms.items() if name.endswith("_loss")}
    sum(losses.values()).backward()
    gradients = {
        name: parameter.grad.cpu().double()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=narrow):
        encoding = model(masked).encoding
    vectors = {
        level: encoding.rows(level, every_index(masked.batch, level)).cpu().double()
        for level in ("molecule", "atom", "bond")
    }
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    return Answers(values, gradients, vectors)


def in_opposite_order(answer: Answers, corpus: Corpus, ids: np.ndarray) -> Answers:
    """The answers for molecules `ids` that were computed from the last to the first."""
    sizes = {"molecule": 0 * ids + 1, "atom": corpus.n_atoms[ids], "bond": corpus.n_bonds[ids]}
    vectors = {
        level: torch.cat(values.split(sizes[level][::-1].tolist())[::-1])
        for level, values in answer.vectors.items()
    }
    return answer._replace(vectors=vectors)


def make_model(config: GraphConfig, objective: Supervised) -> Model:
    """A new network with its heads."""
    torch.manual_seed(0)
    built = build_encoder(config)
    return Model(built.encoder, objective.make_heads(built.encoder, built.masking_heads))


def shaken(model: Model) -> Model:
    """The model with no parameter at a special value: heads that start at zero say nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


# ------------------------------------------------------------------------------------------- speed


def time_network(setting: Setting, name: str, compiled: bool) -> dict[str, Any]:
    """Training steps of a network in float32 and in bf16, or compiled in bf16: speed and memory.

    On a CPU of few molecules and blocks, and compiled as far as the graph, without code.
    """
    config = NETWORKS[name]
    if not setting.on_gpu:
        config = replace(config, n_layer=N_COMPILED_ON_CPU if compiled else N_BLOCK_ON_CPU)
    corpus = Corpus([setting.data], encodings=config.encodings)
    batch = N_TIMED_MOL if setting.on_gpu else setting.batch
    batch_of = partial(make_batch, corpus)
    steps = {}
    for precision in ("bfloat16",) if compiled else ("float32", "bfloat16"):
        make_step = partial(network_step, config, setting.device, precision, compiled)
        measured = time_what_fits(setting, make_step, batch_of, batch)
        if not all(map(math.isfinite, measured.losses)):
            raise ValueError(f"a loss is no number: {measured.losses}")
        steps[precision] = describe_steps(measured)
    told = "; ".join(in_words(precision, measured) for precision, measured in steps.items())
    return {"ok": True, "line": told, "compiled": compiled, "steps": steps}


def describe_steps(measured: Measured) -> dict[str, Any]:
    """What is kept of timed steps."""
    speed = {"molecules_a_second": measured.batch / measured.seconds}
    return speed | measured._asdict()


def in_words(precision: str, measured: dict[str, Any]) -> str:
    """Timed steps in a sentence."""
    peak = measured["peak_gib"]
    memory = "" if peak is None else f", peak {peak:.2f} GiB"
    return (
        f"{precision}, batch {measured['batch']}: {measured['molecules_a_second']:.0f} molecules/s"
        f"{memory}, first step {measured['first_seconds']:.1f} s"
    )


def make_batch(corpus: Corpus, n_mol: int) -> MaskedBatch:
    """The first molecules of the data, from the start again where these are too few."""
    batch = corpus.batch(np.resize(np.arange(corpus.n), n_mol))
    return make_objective(PARTS).corrupt(with_labels(batch, PARTS), 0, 0)


def network_step(
    config: GraphConfig,
    device: torch.device,
    precision: str,
    compiled: bool,
    masked: MaskedBatch,
) -> Step:
    """A function that takes one training step of a graph network."""
    objective = make_objective(PARTS)
    model = make_model(config, objective).to(device).train()
    if compiled:
        model.encoder.fuse(**({} if device.type == "cuda" else {"backend": "eager"}))
    optimizer = make_optimizer(model, device)
    weights = objective.weights(masked.counts)
    masked = masked.to(device)
    narrow = precision == "bfloat16"

    def step() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            terms = objective.loss_terms(model, masked)
        loss = weighted_loss(terms, weights, masked.counts)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


# -------------------------------------------------------------------------------------------- runs


def resume_graph(setting: Setting) -> dict[str, Any]:
    """A run of the smallest network in float32, resumed as `gpu_runs` says."""
    return resume_within_seeds(setting, SIZES["150k"], "float32")
