r"""Features, batches and training steps of the graph network beside Graphium's own, in one run.

    python benchmarks/graph_networks.py --reference graphium --python GRAPHIUM_ENV/bin/python
    python benchmarks/graph_networks.py ... --rows features step --rounds 5
    python benchmarks/graph_networks.py ... --sides reference          nothing of ours is timed

The reference runs from a checkout, by a Python of its own (`--python`; see
`graphium_reference.py`). Before anything is timed, both sides must give the same features of the
same SMILES, and on the same weights the same outputs, losses and gradients. Then each side runs in
processes of its own, in turn; one thread, but where two processes are named. Printed are medians
over rounds, of the median of the passes in each. Rows:

    features  1,000 SMILES each of the checkout's micro_ZINC, micro_qm9 and pcqm4mv2-2k, one after
              another, to all arrays under the settings of ToyMix; the reference on one core, molnb
              too, and to what shards keep (integers and encodings) on one and in two processes
    collate   a mini-ToyMix (below) to batches of 200 with the labels of three tasks, all in memory
              or mapped; the reference from its graphs, molnb from shards that keep the encodings.
              The reference's batch has 98 columns of numbers an atom and bond, molnb's the integers
              that say the same
    step      forward, backward and optimiser step of the published GINE (181,730 parameters, its
              dropout) on the same batches, made beforehand: the reference as it ships, with the
              debugging flag that its trainer always sets, and without, outside of its loop
    epoch     the same through the loop of each, with the batches made on the way, logging and the
              learning rate, but without validation and checkpoints: the reference by its Lightning
              trainer, from memory; molnb by `training_steps`, from shards
    gpu       steps on a GPU, where there is one; the reference's side may fail there, and then
              molnb stands alone

The mini-ToyMix is molnb's recipe `toymix` with 600 rows of each of its three sets (micro_qm9 and
micro_ZINC of the checkout; Tox21 by `--tox21`, else fetched), curated once under `--home`. Its
SMILES and labels, standardised where they are numbers, are given to both. GiB is the peak of the
timed process, and in brackets what it held before the first pass: libraries, weights, data.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import graphium_reference as reference
import numpy as np
import torch
from torch import Tensor

import molnb
from molnb.errors import InputError
from molnb.training.device import keep_freed_memory, processor_name

ROWS = ("features", "collate", "step", "epoch", "gpu")
SIDES = ("reference", "ours")
SETS = {  # a file of the checkout, and its column of SMILES
    "micro_ZINC": ("tests/data/micro_ZINC.csv", "SMILES"),
    "micro_qm9": ("graphium/data/QM9/micro_qm9.csv", "smiles"),
    "pcqm4mv2-2k": ("tests/data/pcqm4mv2-2k.csv", "smiles"),
}
N_SMILES = 1000  # of each set
N_ROW = 600  # of each member of the mix
N_MOL = 200  # of a batch, as published for processors
TASKS = {"qm9": "qm9", "tox21": "tox21", "zinc": "zinc12k"}  # theirs, and ours in the mix
STANDARDISED = ("qm9", "zinc")
ENCODINGS = ("eigenpairs_8", "return_probabilities_16")
LEARNING_RATE = 4e-5
N_EPOCH = 3  # timed in a pass of both loops
NEVER = 1_000_000  # steps
TOLERANCE = 1e-5  # of the largest magnitude
SHARE_OF_LARGEST = 1e-4  # a gradient this much smaller than the largest counts as its round-off
HALF_DIGIT = 2**-10  # a last digit of float16 between 1 and 2, in which the reference keeps numbers
SIMPLE = 1e-3  # an eigenvalue this far from all others has one eigenvector
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "ignore",
}


class Timed(NamedTuple):
    """What is timed: molecules of a pass, what is made anew for it untimed, and the pass.

    A pass that returns CPU and wall seconds has timed itself.
    """

    n_mol: int
    make: Callable[[], Any]
    run: Callable[[Any], object]


def read_smiles(checkout: Path, name: str) -> list[str]:
    """The first thousand SMILES of a file in the checkout."""
    file, column = SETS[name]
    with (checkout / file).open(newline="") as lines:
        return [row[column] for row in csv.DictReader(lines)][:N_SMILES]


# -------------------------------------------------------------------- molecules of the mix, once


def make_mix(args: argparse.Namespace) -> tuple[Path, dict]:
    """Shards of the mini-ToyMix, and its molecules drawn in batches: ids, SMILES, labels."""
    from molnb.curation.pipeline import curate
    from molnb.data.dataset import Corpus
    from molnb.data.encodings.stored import keep_encodings

    sources = {
        "qm9": args.reference / SETS["micro_qm9"][0],
        "zinc12k": args.reference / SETS["micro_ZINC"][0],
    }
    if args.tox21:
        sources["tox21"] = args.tox21
    shards = curate("toymix", source=sources, n=N_ROW, home=args.home, progress=False)
    shards = keep_encodings(shards, ENCODINGS)
    corpus = Corpus([shards])
    n = corpus.n // N_MOL * N_MOL
    ids = np.random.default_rng(0).permutation(corpus.n)[:n]
    smiles = shards.table(["smiles"])["smiles"].to_pylist()
    labels = {task: _dense_labels(corpus, ids, name) for task, name in TASKS.items()}
    for task in STANDARDISED:
        known = np.ma.masked_invalid(labels[task].numpy())
        values = (known - known.mean(0)) / known.std(0)
        labels[task] = torch.from_numpy(values.filled(np.nan).astype(np.float32))
    chosen = [smiles[i] for i in ids]
    return shards.path, {"ids": torch.from_numpy(ids), "smiles": chosen, "labels": labels}


def _dense_labels(corpus, ids: np.ndarray, task: str) -> Tensor:
    """Labels of a task, [mol, label] in float32, NaN where unknown."""
    known = corpus.labels(ids, [task])[task]
    labels = torch.full((len(ids), known.values.shape[1]), torch.nan)
    labels[known.index] = known.values.float()
    return labels


# --------------------------------------------------------------------------- the reference's side


def prepare(args: argparse.Namespace) -> None:
    """Write what the reference gives, one file for each purpose.

    `graphs.pt` and `batches.pt` hold the mix, as it and as molnb read it; `network.pt` the weights;
    `answers.pt` features, outputs, losses and gradients to be compared.
    """
    graphium = reference.load(args.reference)
    mix = torch.load(args.folder / "mix.pt", weights_only=True)
    graphs = reference.featurize(graphium, mix["smiles"])
    samples = reference.make_samples(graphs, mix["smiles"], mix["labels"])
    pieces = [samples[start : start + N_MOL] for start in range(0, len(samples), N_MOL)]
    batches = [reference.collate(graphium, reference.copy_samples(piece)) for piece in pieces]
    predictor = reference.make_predictor(graphium)
    reference.perturb(predictor.model, 0.1, seed=0)
    network = {
        "weights": predictor.model.state_dict(),
        "config": reference.network_config(graphium),
    }
    losses = reference.reference_losses(predictor, batches[0])
    losses["total"].backward()
    parameters = predictor.model.named_parameters()
    answers = {
        "features": {name: _features(graphium, args.reference, name) for name in SETS},
        "outputs": reference.reference_outputs(predictor, batches[0]),
        "losses": {name: loss.detach() for name, loss in losses.items()},
        "gradients": {name: p.grad for name, p in parameters if p.grad is not None},
    }
    torch.save([reference.graph_arrays(graph) for graph in graphs], args.folder / "graphs.pt")
    torch.save([reference.batch_arrays(batch) for batch in batches], args.folder / "batches.pt")
    torch.save(network, args.folder / "network.pt")
    torch.save(answers, args.folder / "answers.pt")


def _features(graphium, checkout: Path, name: str) -> list[dict[str, Tensor]]:
    """The reference's arrays of each molecule of a set."""
    graphs = reference.featurize(graphium, read_smiles(checkout, name))
    return [{array: graph[array] for array in reference.ARRAYS} for graph in graphs]


def their_task(args: argparse.Namespace) -> Timed:
    """What the reference does in a task: `features <set>`, `collate`, `step`, `quiet step`, ..."""
    graphium = reference.load(args.reference)
    kind, _, name = args.task.partition(" ")
    if kind == "features":
        smiles = read_smiles(args.reference, name)
        return Timed(len(smiles), lambda: smiles, lambda x: reference.featurize(graphium, x))
    samples = _their_samples(args.folder)
    n_mol = sum(map(len, samples))
    if kind == "epoch":
        return _their_epochs(args, graphium, samples, detect_anomaly=name != "quiet")
    if kind == "collate":
        return Timed(
            n_mol,
            make=lambda: [reference.copy_samples(batch) for batch in samples],
            run=lambda fresh: [reference.collate(graphium, batch) for batch in fresh],
        )
    batches = [reference.collate(graphium, reference.copy_samples(batch)) for batch in samples]
    batches = [reference.to_device(batch, args.device) for batch in batches]
    network = torch.load(args.folder / "network.pt", weights_only=True)
    predictor = reference.make_predictor(graphium, network["weights"]).to(args.device).train()
    optimizer = reference.make_optimizer(predictor)

    def run(fresh: list[dict]) -> None:
        # from 1: in step 0, and every 300 from there, it would compute its metrics too
        for number, batch in enumerate(fresh, 1):
            shipped = name != "quiet"
            reference.training_step(predictor, optimizer, batch, number, detect_anomaly=shipped)

    return Timed(n_mol, lambda: [reference.copy_batch(batch) for batch in batches], run)


def _their_epochs(
    args: argparse.Namespace, graphium, samples: list[list[dict]], detect_anomaly: bool
) -> Timed:
    """Epochs of its trainer, of which the first does not count."""
    network = torch.load(args.folder / "network.pt", weights_only=True)
    every = [one for batch in samples for one in batch]

    def run(predictor: torch.nn.Module) -> tuple[float, float]:
        seconds = reference.fit(
            graphium, predictor, every, N_MOL, N_EPOCH + 1, args.folder, detect_anomaly
        )
        cpu, wall = np.sum(seconds[1:], 0)
        return float(cpu), float(wall)

    return Timed(
        n_mol=N_EPOCH * len(every),
        make=lambda: reference.make_predictor(graphium, network["weights"]),
        run=run,
    )


def _their_samples(folder: Path) -> list[list[dict]]:
    """The mix as its dataset holds it, in batches."""
    mix = torch.load(folder / "mix.pt", weights_only=True)
    stored = torch.load(folder / "graphs.pt", weights_only=True)
    graphs = [reference.make_graph(arrays) for arrays in stored]
    samples = reference.make_samples(graphs, mix["smiles"], mix["labels"])
    return [samples[start : start + N_MOL] for start in range(0, len(samples), N_MOL)]


# ----------------------------------------------------------------------------------------- our side


def our_task(args: argparse.Namespace) -> Timed:
    """What molnb does in a task: `features`, `integers` or `pair` of a set, or another row."""
    from molnb.models.graph import official

    kind, _, name = args.task.partition(" ")
    if kind in ("features", "integers", "pair"):
        smiles = read_smiles(args.reference, name)
        if kind == "pair":
            return _in_two_processes(smiles)
        if kind == "integers":
            return Timed(len(smiles), lambda: smiles, lambda fresh: [official.read_graphs(fresh)])
        return Timed(len(smiles), lambda: smiles, official.reference_features)
    keep_freed_memory()  # as training does
    if kind == "collate":
        return _our_collation(args)
    session = make_session(args)
    if kind == "epoch":
        return _our_epochs(session)
    return _our_steps(session, session.train_ids.reshape(-1, N_MOL))


def _our_steps(session, pieces: np.ndarray) -> Timed:
    """Steps of molnb's loop on molecules [step, mol], whose batches lie ready on the device."""
    from molnb.training.loop import take_step

    groups = [session.masked_batches(ids, seed=0, step=0) for ids in pieces]
    groups = [[masked.to(session.device) for masked in batch] for batch in groups]

    def run(fresh: Iterator[list]) -> None:
        session.masked_batches = lambda *_, **__: next(fresh)
        for _ in pieces:
            take_step(session)

    return Timed(n_mol=pieces.size, make=lambda: iter(groups), run=run)


def make_session(args: argparse.Namespace):
    """A run of the published GINE on the mix, with the reference's weights in its encoder."""
    from molnb.objectives.supervised import Supervised
    from molnb.training.config import RunConfig
    from molnb.training.loop import prepare_run
    from molnb.training.session import Session

    mix = torch.load(args.folder / "mix.pt", weights_only=True)
    copied, model_config = load_copied(args.folder)
    config = RunConfig(
        name="graph_networks",
        data=(str(args.data),),
        model=model_config,
        objective=Supervised(task_names=tuple(TASKS.values()), head_dropout=0.18),
        steps=NEVER,
        global_batch=N_MOL,
        learning_rate=LEARNING_RATE,
        train_ids=tuple(mix["ids"].tolist()),
        val_ids=(),
        eval_every=NEVER,
        checkpoint_every=NEVER,
        precision="float32",
    )
    session = Session(prepare_run(config, args.folder / "runs"), args.device)
    lacking = session.model.encoder.load_state_dict(copied.encoder.state_dict(), strict=False)
    if lacking.unexpected_keys:
        raise InputError(f"the encoder has no place for {', '.join(lacking.unexpected_keys)}")
    return session


def load_copied(folder: Path) -> tuple:
    """The reference's weights in molnb's network and heads, and its encoder's configuration."""
    from molnb.models.graph import official

    network = torch.load(folder / "network.pt", weights_only=True)
    model = official.load_reference(network["weights"], network["config"])
    return model, official.reference_config(network["config"])


def _our_epochs(session) -> Timed:
    """Epochs of molnb's loop, after its first step, before which it validates."""
    from molnb.training.loop import training_steps

    steps = training_steps(session.run, "cpu")
    next(steps)
    n = N_EPOCH * len(session.train_ids) // N_MOL
    return Timed(
        n_mol=n * N_MOL,
        make=lambda: steps,
        run=lambda fresh: [next(fresh) for _ in range(n)],
    )


def _in_two_processes(smiles: list[str]) -> Timed:
    """Integers and encodings by two processes, which are started before anything is timed."""
    from molnb.models.graph import official

    pool = ProcessPoolExecutor(2)
    pieces = [smiles[start : start + 500] for start in range(0, len(smiles), 500)]
    return Timed(
        n_mol=len(smiles),
        make=lambda: pieces,
        run=lambda fresh: list(pool.map(official.read_graphs, fresh)),
    )


def _our_collation(args: argparse.Namespace) -> Timed:
    """Batches of the mix from its shards, with labels and the encodings kept there."""
    from molnb.data.dataset import Corpus
    from molnb.shards import load_shards

    mix = torch.load(args.folder / "mix.pt", weights_only=True)
    corpus = Corpus([load_shards(args.data)], encodings=ENCODINGS)
    tasks = list(TASKS.values())
    pieces = mix["ids"].numpy().reshape(-1, N_MOL)
    return Timed(
        n_mol=pieces.size,
        make=lambda: pieces,
        run=lambda fresh: [corpus.batch(ids, tasks) for ids in fresh],
    )


# ------------------------------------------------------------------------------- one side, one task


def time_side(args: argparse.Namespace) -> None:
    """Time one task of one side in this process; prints seconds of a pass and GiB as JSON."""
    torch.set_num_threads(1)
    task = our_task(args) if args.side == "ours" else their_task(args)
    gc.collect()
    before = read_gib("VmRSS")
    _pass(task, args.device)  # what the first one costs does not count
    passes = [_pass(task, args.device) for _ in range(args.repeats)]
    cpu, wall = (statistics.median(seconds) for seconds in zip(*passes, strict=True))
    peak = read_gib("VmHWM")
    if args.device == "cuda":
        before = 0.0
        peak = torch.cuda.max_memory_allocated() / 2**30
    measured = {"n_mol": task.n_mol, "cpu": cpu, "wall": wall, "gib": peak, "before": before}
    print(json.dumps(measured))


def _pass(task: Timed, device: str) -> tuple[float, float]:
    """CPU and wall seconds of one pass."""
    fresh = task.make()
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
    cpu_start = time.process_time()
    wall_start = time.perf_counter()
    result = task.run(fresh)
    if isinstance(result, tuple):
        return result
    if device == "cuda":
        torch.cuda.synchronize()
    return time.process_time() - cpu_start, time.perf_counter() - wall_start


def read_gib(field: str) -> float:
    """Resident memory of this process, now (VmRSS) or at its peak (VmHWM); 0 but on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    return int(re.search(rf"{field}:\s+(\d+) kB", status.read_text())[1]) / 2**20


# ------------------------------------------------------------------------------ both sides agree


def check(args: argparse.Namespace) -> None:
    """Refuse to time sides that differ in features, outputs, losses or gradients."""
    from molnb.models.graph import official

    answers = torch.load(args.folder / "answers.pt", weights_only=True)
    for name, features in answers["features"].items():
        smiles = read_smiles(args.reference, name)
        ours = official.reference_features(smiles)
        different = []
        for one, mine, theirs in zip(smiles, ours, features, strict=True):
            arrays = differing(mine, {key: values.numpy() for key, values in theirs.items()})
            if arrays:
                different.append(f"{one}: {', '.join(arrays)}")
        print(f"{name}: {len(different)} of {len(smiles)} molecules differ in features", flush=True)
        if different:
            raise InputError(
                f"{name}: the two sides differ, so their times mean nothing:\n  "
                + "\n  ".join(different[:10])
            )
    model, _ = load_copied(args.folder)
    arrays = torch.load(args.folder / "batches.pt", weights_only=True)[0]
    batch = official.make_reference_batch(arrays)
    ours = official.reference_outputs(model, batch)
    losses = official.reference_losses(model, batch)
    gradients = official.reference_gradients(model, batch)
    shares = {
        "outputs": largest_share(ours, answers["outputs"]),
        "losses": largest_share(losses, answers["losses"]),
        "gradients": largest_share(gradients, answers["gradients"], SHARE_OF_LARGEST),
    }
    text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    print(f"largest differences in parts of what is allowed ({TOLERANCE:.0e}): {text}", flush=True)
    if max(shares.values()) > 1:
        raise InputError("the two sides differ, so their times mean nothing")


def differing(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> list[str]:
    """Names of the arrays of a molecule that are not the same.

    Bonds and features must be equal, eigenvalues and return probabilities but for the last digit of
    float16. Of eigenvectors only those of simple eigenvalues are determined, up to their sign.
    """
    names = []
    for name in ("edge_index", "feat", "edge_feat"):
        if not np.array_equal(np.asarray(ours[name], np.float32), theirs[name].astype(np.float32)):
            names.append(name)
    for name in ("laplacian_eigval", "rw_return_probs"):
        if not _close(ours[name], theirs[name]):
            names.append(name)
    if not names and not _same_vectors(ours, theirs):
        names.append("laplacian_eigvec")
    return names


def _close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether arrays are equal but for the last digit of float16."""
    theirs = theirs.astype(np.float64)
    allowed = HALF_DIGIT * np.maximum(np.abs(theirs), 1)
    return ours.shape == theirs.shape and bool((np.abs(ours - theirs) <= allowed).all())


def _same_vectors(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    """Whether the eigenvectors of simple eigenvalues are equal up to sign, in each fragment."""
    edges = theirs["edge_index"].astype(np.int64)
    fragment = fragments(edges, len(theirs["feat"]))
    for number in np.unique(fragment):
        atoms = np.flatnonzero(fragment == number)
        for k, simple in enumerate(_simple(edges, atoms)[: theirs["laplacian_eigvec"].shape[1]]):
            if not simple:
                continue
            mine = np.asarray(ours["laplacian_eigvec"][atoms, k], np.float64)
            their = theirs["laplacian_eigvec"][atoms, k].astype(np.float64)
            sign = np.sign(mine @ their) or 1.0
            if not _close(sign * mine, their):
                return False
    return True


def fragments(edges: np.ndarray, n_atom: int) -> np.ndarray:
    """The number of the fragment of each atom: the least atom that bonds lead to."""
    fragment = np.arange(n_atom)
    while True:
        before = fragment.copy()
        np.minimum.at(fragment, edges[0], before[edges[1]])
        if np.array_equal(before, fragment):
            return fragment


def _simple(edges: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Which eigenvalues of a fragment's Laplacian, ascending, stand apart from all others."""
    adjacent = np.zeros((atoms.max() + 1, atoms.max() + 1))
    inside = np.isin(edges[0], atoms)
    adjacent[edges[0][inside], edges[1][inside]] = 1
    adjacent = adjacent[np.ix_(atoms, atoms)]
    values = np.linalg.eigvalsh(np.diag(adjacent.sum(0)) - adjacent)
    apart = np.diff(values, prepend=-np.inf, append=np.inf) > SIMPLE
    return apart[:-1] & apart[1:]


def largest_share(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], share_of_largest: float = 0.0
) -> float:
    """The largest difference of arrays of one name, in parts of what is allowed.

    Allowed is TOLERANCE of an array's largest entry, or of a share of the largest entry of all.
    """
    floor = share_of_largest * max(float(values.abs().max()) for values in theirs.values())
    shares = [0.0]
    for name, values in theirs.items():
        difference = float((ours[name].detach() - values).abs().max())
        shares.append(difference / (TOLERANCE * max(float(values.abs().max()), floor)))
    return max(shares)


# ---------------------------------------------------------------------------------- sides in turn


class Contest(NamedTuple):
    """Tasks of both sides that are compared; the first of ours is what the others are held to."""

    title: str
    reference: tuple[str, ...]
    ours: tuple[str, ...]


def make_contests(rows: Sequence[str]) -> list[Contest]:
    """What is compared in these rows."""
    contests = []
    if "features" in rows:
        for name in SETS:
            contests.append(
                Contest(
                    title=f"features of {name}",
                    reference=(f"features {name}",),
                    ours=(f"features {name}", f"integers {name}", f"pair {name}"),
                )
            )
    if "collate" in rows:
        contests.append(Contest("collation", ("collate",), ("collate",)))
    if "step" in rows:
        contests.append(Contest("training step", ("step", "step quiet"), ("step",)))
    if "epoch" in rows:
        contests.append(Contest("epochs", ("epoch", "epoch quiet"), ("epoch",)))
    if "gpu" in rows:
        contests.append(Contest("training step, GPU", ("gpu", "gpu quiet"), ("gpu",)))
    return contests


def describe(side: str, task: str) -> str:
    """A task of a side in words."""
    kind, _, name = task.partition(" ")
    if kind == "integers":
        return f"{side}, as shards keep them"
    if kind == "pair":
        return f"{side}, as shards keep them, two processes"
    if side == "ours" or kind in ("features", "collate"):
        return side
    return f"{side}, without its debugging flag" if name == "quiet" else f"{side}, as shipped"


def run_side(args: argparse.Namespace, side: str, task: str) -> dict[str, float] | None:
    """What `time_side` measures in a process of its own.

    None where the reference does not run on a GPU.
    """
    device = "cuda" if task.startswith("gpu") else "cpu"
    options = ["--side", side, "--task", task, "--device", device]
    options += ["--repeats", str(args.repeats)]
    process = call(args, side, options)
    if process.returncode == 0:
        return json.loads(process.stdout.splitlines()[-1])
    if side == "reference" and device == "cuda":
        return None
    raise InputError(
        f"the process for {side} ({task}) ended with {process.returncode}:\n"
        f"{process.stderr[-2000:]}"
    )


def call(
    args: argparse.Namespace, side: str, options: Sequence[str]
) -> subprocess.CompletedProcess:
    """This script again, for one side, by that side's Python."""
    python = args.python if side == "reference" else sys.executable
    command = [str(python), __file__, "--reference", str(args.reference), *options]
    command += ["--folder", str(args.folder), "--data", str(args.data)]
    path = str(Path(molnb.__file__).parents[1])
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def compare(args: argparse.Namespace, contest: Contest) -> None:
    """Time the tasks of both sides in turn; prints medians and ratios."""
    tasks = [(side, task) for side in args.sides for task in getattr(contest, side)]
    rounds = []
    for _ in range(args.rounds):
        measured = {key: run_side(args, *key) for key in tasks}
        rounds.append({key: seconds for key, seconds in measured.items() if seconds})
    print(f"{contest.title}: {_load()}")
    for side, task in tasks:
        of_task = [measured[side, task] for measured in rounds if (side, task) in measured]
        if of_task:
            _show(describe(side, task), task, of_task)
        else:
            print(f"  {describe(side, task)}: does not run on this GPU")
    for side, task in tasks:
        if side == "reference" and "ours" in args.sides:
            for ours in contest.ours:
                _show_ratio(rounds, (side, task), ("ours", ours))
    if "ours" in args.sides:
        for ours in contest.ours:
            if ours.startswith("pair"):
                alone = ours.replace("pair", "integers")
                _show_ratio(rounds, ("ours", alone), ("ours", ours))


def _load() -> str:
    """How busy the machine is, as far as it tells."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def _show(title: str, task: str, measured: list[dict[str, float]]) -> None:
    n_mol, cpu, wall, gib, before = (
        statistics.median(one[name] for one in measured)
        for name in ("n_mol", "cpu", "wall", "gib", "before")
    )
    rates = sorted(one["n_mol"] / one["wall"] for one in measured)
    # the time of other processes is not this one's
    of_cpu = "" if task.startswith("pair") else f"{n_mol / cpu:,.0f} a CPU-s"
    print(
        f"  {title:<38}{n_mol / wall:>10,.0f} molecules/s ({rates[0]:,.0f} to {rates[-1]:,.0f})"
        f"{of_cpu:>16}{gib:7.2f} GiB ({before:.2f})",
        flush=True,
    )


def _show_ratio(rounds: list[dict], slow: tuple[str, str], fast: tuple[str, str]) -> None:
    """Print the median of the ratios of two (side, task) in rounds with both, and their range."""
    keys = (slow, fast)
    both = [[measured[key] for key in keys] for measured in rounds if set(keys) <= set(measured)]
    if not both:
        return
    quantities = ["wall"] if fast[1].startswith(("pair", "gpu")) else ["wall", "cpu"]
    ranges = []
    for name in [*quantities, "gib"]:
        ratios = [theirs[name] / ours[name] for theirs, ours in both]
        median = statistics.median(ratios)
        ranges.append(f"{name} {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    title = f"{describe(*slow)} / {describe(*fast)}"
    print(f"  {title}: {', '.join(ranges)}", flush=True)


def make_files(args: argparse.Namespace) -> None:
    """The mix, what the reference gives of it, and the same batches for our side."""
    args.data, mix = make_mix(args)
    torch.save(mix, args.folder / "mix.pt")
    process = call(args, "reference", ["--side", "reference", "--task", "prepare"])
    if process.returncode:
        raise InputError(f"the reference does not run:\n{process.stderr[-2000:]}")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--reference", required=True, type=Path, metavar="GRAPHIUM", help="checkout of Graphium"
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=sys.executable,
        help="the Python that has what Graphium needs (default: this one)",
    )
    parser.add_argument("--tox21", type=Path, help="table of Tox21 (default: fetched)")
    parser.add_argument(
        "--home", type=Path, help="where the mix is curated (default: MOLNB_HOME, or here)"
    )
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, help="default: all")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turn")
    parser.add_argument(
        "--repeats", type=int, default=3, help="timed passes a process, after one that is not"
    )
    for name in ("side", "task", "device", "folder", "data"):
        kind = Path if name in ("folder", "data") else str
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = read_arguments()
    if args.side:
        prepare(args) if args.task == "prepare" else time_side(args)
        return 0
    reference.find_checkout(args.reference)
    rows = [row for row in args.rows if row != "gpu" or torch.cuda.is_available()]
    print(f"{processor_name()}, torch {torch.__version__}, one thread, {_load()}", flush=True)
    if "gpu" in args.rows and "gpu" not in rows:
        print("no GPU here: that row is left out")
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        make_files(args)
        if "ours" in args.sides:
            check(args)
        for contest in make_contests(rows):
            compare(args, contest)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
