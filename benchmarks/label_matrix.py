"""Prints what labels of the size of LargeMix take: bytes on disk, and memory while a run learns.

    python benchmarks/label_matrix.py                          5.4 million molecules, 3,309 labels
    python benchmarks/label_matrix.py --molecules 200000       a part of it, in proportion
    python benchmarks/label_matrix.py --keep DATA              keep the made data, or use kept ones

Four datasets are made, of chains of 3 to 5 atoms, so that labels outweigh structures: 25 numbers of
3.81 million molecules, of which half lack five; 1,328 binary assays of 1.56 million, 10.8 % of the
cells known; 978 labels of three ordered classes of 15,220 and of 11,622. That is the sparsity of
LargeMix (Beaini et al. 2023, arXiv 2310.04292); values are random. They are written in pieces.

A process of its own trains a narrow graph network on all of them, with labels and by masking alone,
and reads its anonymous memory every 2 ms: pages that map no file. Pages that map the arrays are a
cache, which the system takes back where memory is short. Told is the peak, and which functions ran
when it was reached. Datasets are drawn at a temperature of 3, so that every step has labels of all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from memory import read_status

from molnb.data.draws import Sampling
from molnb.errors import InputError
from molnb.files import write_json, writing_array
from molnb.models.graph.config import GraphConfig
from molnb.objectives.pretraining import Pretrain
from molnb.objectives.supervised import Supervised
from molnb.paths import MANIFEST
from molnb.shards import ARRAYS, FORMAT, UNKNOWN_CLASS, Shards, load_shards
from molnb.texts import readable_bytes
from molnb.training.config import RunConfig
from molnb.training.loop import prepare_run, training_steps
from molnb.vocabulary import N_ATOM_FEATURE, N_BOND_FEATURE

MODEL = GraphConfig(
    d_input=16, d_atom=32, d_bond=16, d_input_hidden=64, d_bond_hidden=32, encodings=()
)
OBJECTIVES = {"labels": Supervised(), "masking": Pretrain()}
SHARES = (0.92, 0.04, 0.04)  # of molecules that are trained on, validated on, tested on
CLASSES = {"binary": ("0", "1"), "classes": ("down", "same", "up"), "regression": ()}
FREQUENCY = {"binary": (0.985, 0.015), "classes": (0.04, 0.92, 0.04)}  # of the classes
LOSSES = {"binary": "bce", "classes": "hybrid_ce", "regression": "mae"}
KNOWN = 0.108  # share of the cells of assays; of the first assay none are, of the last twice that
N_ABSENT = 5  # numbers that half of the molecules lack
PIECE = 8192  # molecules that are made together
INTERVAL_S = 0.002


class Made(NamedTuple):
    """A dataset to be made: its molecules, and the labels of its one task."""

    name: str
    n: int
    n_label: int
    kind: str


LARGEMIX = (
    Made("pcqm", 3_810_323, 25, "regression"),
    Made("pcba", 1_563_664, 1328, "binary"),
    Made("l1000_vcap", 15_220, 978, "classes"),
    Made("l1000_mcf7", 11_622, 978, "classes"),
)
N_FULL = sum(made.n for made in LARGEMIX)


# ------------------------------------------------------------------------------------------ data


def make_datasets(n: int, folder: Path, seed: int = 0) -> list[Shards]:
    """LargeMix in numbers, n molecules of it, in folders below `folder`."""
    datasets = []
    for number, made in enumerate(LARGEMIX):
        smaller = made._replace(n=max(made.n * n // N_FULL, 64))
        rng = np.random.default_rng((seed, number))
        datasets.append(make_dataset(smaller, folder / made.name, rng))
    return datasets


def make_dataset(made: Made, folder: Path, rng: np.random.Generator) -> Shards:
    """One dataset, written a piece of molecules at a time."""
    write_structures(made, folder / ARRAYS, rng)
    write_labels(made, folder / ARRAYS, rng)
    labels = [
        {"name": f"{made.name}_{number}", "quantity": "made", "unit": "1"}
        for number in range(made.n_label)
    ]
    if CLASSES[made.kind]:
        labels = [label | {"classes": list(CLASSES[made.kind])} for label in labels]
    task = {"level": "molecule", "kind": made.kind, "loss": LOSSES[made.kind], "labels": labels}
    files = {f"{ARRAYS}/{file.name}": file.stat().st_size for file in (folder / ARRAYS).iterdir()}
    manifest = {
        "format": FORMAT,
        "name": made.name,
        "n_kept": made.n,
        "tasks": {made.name: task},
        "splits": {"random": {}},
        "default_split": "random",
        "files": files,
    }
    write_json(manifest, folder / MANIFEST)
    return load_shards(folder)


def pieces(n: int) -> Iterator[int]:
    """How many molecules each piece has."""
    for first in range(0, n, PIECE):
        yield min(PIECE, n - first)


def write_structures(made: Made, out: Path, rng: np.random.Generator) -> None:
    """Chains of carbon, nitrogen and oxygen, and the part of the split that each is in."""
    n_atom = rng.integers(3, 6, made.n, dtype=np.int32)
    atom_offset = np.concatenate([[0], np.cumsum(n_atom)])
    part = rng.choice(3, made.n, p=SHARES).astype(np.int8)
    _save(out, "n_heavy", n_atom)
    _save(out, "n_heavy_bond", n_atom - 1)
    _save(out, "atom_offset", atom_offset)
    _save(out, "bond_offset", atom_offset - np.arange(made.n + 1))
    _save(out, "split_random", part)
    n = int(atom_offset[-1])
    of_atoms = {
        "numbers": (np.uint8, ()),
        "atom_feats": (np.uint8, (N_ATOM_FEATURE,)),
        "coords": (np.float32, (3,)),
        "parent": (np.uint16, ()),
    }
    of_bonds = {"bonds": (np.uint16, (2,)), "bond_feats": (np.uint8, (N_BOND_FEATURE,))}
    with contextlib.ExitStack() as files:
        append = {
            name: files.enter_context(_rows(out, name, dtype, (length, *width)))
            for arrays, length in ((of_atoms, n), (of_bonds, n - made.n))
            for name, (dtype, width) in arrays.items()
        }
        for first in range(0, made.n, PIECE):
            for name, values in _chains(n_atom[first : first + PIECE], rng).items():
                append[name](values)


def _chains(n_atom: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Atoms and bonds of some chains, one after another."""
    start = np.cumsum(n_atom) - n_atom
    place = np.arange(n_atom.sum()) - np.repeat(start, n_atom)
    is_end = (place == 0) | (place == np.repeat(n_atom, n_atom) - 1)
    feats = np.zeros((len(place), N_ATOM_FEATURE), np.uint8)
    feats[:, 1] = np.where(is_end, 1, 2)  # neighbours
    feats[:, 2] = 5  # no charge
    feats[:, 5] = 2  # SP3
    feats[:, 9] = 4  # valence
    second = place[place > 0]
    kinds = np.zeros((len(second), N_BOND_FEATURE), np.uint8)
    kinds[:, 0] = rng.random(len(second)) < 0.2
    return {
        "numbers": rng.choice([6, 7, 8], len(place), p=[0.6, 0.2, 0.2]),
        "atom_feats": feats,
        "coords": place[:, None] * [1.5, 0, 0] + rng.normal(0, 0.1, (len(place), 3)),
        "parent": place,
        "bonds": np.stack([second - 1, second], 1),
        "bond_feats": kinds,
    }


def write_labels(made: Made, out: Path, rng: np.random.Generator) -> None:
    """The arrays of a task of molecules, as curation writes them."""
    _save(out, f"{made.name}.index", np.arange(made.n))
    if made.kind == "binary":
        write_sparse_labels(made, out, rng)
        return
    _save(out, f"{made.name}.offset", np.arange(made.n + 1))
    dtype = np.float64 if made.kind == "regression" else np.int8
    with _rows(out, f"{made.name}.values", dtype, (made.n, made.n_label)) as append:
        for n in pieces(made.n):
            append(_dense_values(made, n, rng))


def _dense_values(made: Made, n: int, rng: np.random.Generator) -> np.ndarray:
    if made.kind == "classes":
        return rng.choice(3, (n, made.n_label), p=FREQUENCY["classes"])
    values = rng.normal(3.0, 2.0, (n, made.n_label))
    values[rng.random(n) < 0.5, -N_ABSENT:] = np.nan
    return values


def write_sparse_labels(made: Made, out: Path, rng: np.random.Generator) -> None:
    """Known values alone with their labels; the first assays are known less than the last."""
    share = np.float32(KNOWN * 2 / made.n_label) * np.arange(made.n_label, dtype=np.float32)

    def known_cells(seed: int) -> Iterator[np.ndarray]:
        again = np.random.default_rng(seed)  # cells are drawn twice: counted first, then written
        for n in pieces(made.n):
            yield again.random((n, made.n_label), np.float32) < share

    seed = int(rng.integers(2**32))
    count = np.concatenate([is_known.sum(1) for is_known in known_cells(seed)])
    offset = np.concatenate([[0], np.cumsum(count)])
    _save(out, f"{made.name}.offset", offset)
    n_value = (int(offset[-1]),)
    with (
        _rows(out, f"{made.name}.values", np.int8, n_value) as append_values,
        _rows(out, f"{made.name}.label", np.uint16, n_value) as append_labels,
    ):
        for is_known in known_cells(seed):
            label = np.nonzero(is_known)[1]
            append_labels(label)
            append_values(rng.random(len(label)) < FREQUENCY["binary"][1])


def _rows(
    out: Path, name: str, dtype: Any, shape: tuple[int, ...]
) -> contextlib.AbstractContextManager[Callable[[np.ndarray], None]]:
    return writing_array(out / f"{name}.npy", dtype, shape)


def _save(out: Path, name: str, values: np.ndarray) -> None:
    with _rows(out, name, values.dtype, values.shape) as append:
        append(values)


def label_bytes(shards: Shards) -> int:
    """Bytes that the labels of a dataset take on disk."""
    prefixes = tuple(f"{ARRAYS}/{task}." for task in shards.tasks)
    sizes = shards.manifest["files"].items()
    return sum(size for name, size in sizes if name.startswith(prefixes))


def known_cells(shards: Shards) -> int:
    """How many values of labels a dataset knows."""
    (name,) = shards.tasks
    values = shards.array(f"{name}.values")
    return sum(_n_known(values[first : first + 2**20]) for first in range(0, len(values), 2**20))


def _n_known(values: np.ndarray) -> int:
    is_known = np.isfinite(values) if values.dtype.kind == "f" else values != UNKNOWN_CLASS
    return int(np.count_nonzero(is_known))


# ---------------------------------------------------------------------------------------- memory


class Peak:
    """The highest anonymous memory of this process so far, and what ran then; a thread reads it."""

    def __init__(self):
        self.kib = 0
        self.where = ""
        self.main = threading.get_ident()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while True:
            kib = read_status("self", "RssAnon")
            if kib > self.kib:
                self.kib = kib
                self.where = self._running()
            time.sleep(INTERVAL_S)

    def _running(self) -> str:
        """The functions of molnb that run, the outermost first."""
        names = []
        frame = sys._current_frames().get(self.main)
        while frame is not None:
            if "molnb/" in frame.f_code.co_filename:
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        return " > ".join(dict.fromkeys(reversed(names)))


class Measured(NamedTuple):
    """Seconds until the first step and of each, and the highest anonymous memory (MiB)."""

    before_s: float
    step_s: float
    imported_mib: float
    before_mib: float
    peak_mib: float
    where: str
    loss: float


def make_config(objective: str, data: list[Path], settings: argparse.Namespace) -> RunConfig:
    """A short run of a narrow graph network on all datasets."""
    return RunConfig(
        name="matrix",
        data=tuple(map(str, data)),
        model=MODEL,
        objective=OBJECTIVES[objective],
        steps=settings.steps,
        global_batch=settings.batch,
        learning_rate=1e-3,
        warmup_steps=5,
        n_val=settings.validation,
        eval_every=settings.steps,
        checkpoint_every=settings.steps,
        sampling=Sampling(temperature=3.0),
    )


def train_here(config: RunConfig, out: Path) -> Measured:
    """Train in this process."""
    peak = Peak()
    time.sleep(5 * INTERVAL_S)
    imported = peak.kib
    began = time.perf_counter()
    ends = []
    losses = []
    before = 0
    with contextlib.closing(training_steps(prepare_run(config, out), "cpu")) as steps:
        for report in steps:
            before = before or peak.kib
            ends.append(time.perf_counter())
            losses.append(report.loss)
    # a validation and a checkpoint follow the last step
    step_s = (ends[-2] - ends[0]) / (len(ends) - 2) if len(ends) > 2 else float("nan")
    sizes = (kib / 1024 for kib in (imported, before, peak.kib))
    return Measured(ends[0] - began, step_s, *sizes, peak.where, losses[-1])


def measure(
    objective: str, data: list[Path], settings: argparse.Namespace, folder: Path
) -> Measured:
    """Train in a process of its own."""
    numbers = (settings.steps, settings.batch, settings.validation)
    options = ["--steps", "--batch", "--validation"]
    command = [sys.executable, __file__, "--train", objective, str(folder / objective)]
    command += [text for pair in zip(options, map(str, numbers)) for text in pair]
    command += ["--data", *map(str, data)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise InputError(f"the run with {objective} ended with {process.returncode}")
    return Measured(*json.loads(process.stdout.splitlines()[-1]))


def print_labels(datasets: list[Shards]) -> None:
    """Molecules, labels, known cells and bytes of each task."""
    total = 0
    for shards in datasets:
        (task,) = shards.tasks.values()
        n_byte = label_bytes(shards)
        n_known = known_cells(shards)
        total += n_byte
        print(
            f"{shards.name:<11} {shards.n:>10,} molecules, {len(task['labels']):>5,} labels, "
            f"{n_known:>12,} known: {readable_bytes(n_byte)} on disk, {n_byte / n_known:.2f} bytes "
            "a value",
            flush=True,
        )
    print(f"all labels: {readable_bytes(total)} on disk", flush=True)


def print_measured(objective: str, measured: Measured) -> None:
    print(
        f"{objective:<8} first step after {measured.before_s:.1f} s, then {measured.step_s:.3f} s "
        f"each; anonymous memory {measured.imported_mib:.0f} MiB with the libraries, "
        f"{measured.before_mib:.0f} MiB up to the first step, {measured.peak_mib:.0f} MiB at most "
        f"(in {measured.where or 'no function of molnb'}); last loss {measured.loss:.3f}",
        flush=True,
    )


def run_all(settings: argparse.Namespace, folder: Path) -> None:
    """Make the data where they are not there, and measure."""
    began = time.perf_counter()
    paths = [folder / made.name for made in LARGEMIX]
    if all((path / MANIFEST).exists() for path in paths):
        datasets = [load_shards(path) for path in paths]
    else:
        datasets = make_datasets(settings.molecules, folder)
        print(f"made in {time.perf_counter() - began:.0f} s", flush=True)
    print_labels(datasets)
    with tempfile.TemporaryDirectory() as out:
        for objective in settings.objectives:
            print_measured(objective, measure(objective, paths, settings, Path(out)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, default=N_FULL, metavar="N")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--validation", type=int, default=4096, help="molecules")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="data stay here, or are here")
    parser.add_argument(
        "--objectives", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES)
    )
    parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--data", nargs="+", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.train:
        objective, out = settings.train
        config = make_config(objective, settings.data, settings)
        print(json.dumps(train_here(config, Path(out))))
        return 0
    if not Path("/proc/self/status").exists():
        raise InputError("memory is read from /proc, which this system lacks: run it on Linux")
    if settings.keep:
        run_all(settings, settings.keep)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run_all(settings, Path(folder))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
