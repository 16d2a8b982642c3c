"""Tox21's 12 assays: networks that validation rows chose, beside LightGBM on ECFP counts.

    molnb curate tox21_xtb                                  with quantum labels beside the assays
    python benchmarks/tox21.py DATA VARIANT [...]           trains, scores validation rows
    python benchmarks/tox21.py DATA VARIANT [...] --test    reads the test part, for what was chosen

A variant is a network and how it is trained; each is learnt by every seed from the training part of
the published split, and stops by its loss on the validation part. Runs that are there already,
below --runs, are not learnt again. A line has areas under the ROC curve and average precisions,
means over the assays: of single runs (with the standard deviation over seeds), of the mean of their
probabilities, and of the mean of that and LightGBM's, or a random forest's. All methods learn from
the same rows and answer for the same. Validation rows stopped and chose the networks, so that only
--test, whose first lines say it, can tell what is better.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from multitask_table import ridge

from molnb import Run, Shards, load_benchmark, load_shards, make_preset, train
from molnb.chemistry.fingerprints import ecfp_counts
from molnb.data.dataset import Corpus
from molnb.evaluation.benchmark import BINARY, BenchmarkTask
from molnb.evaluation.classical import classical_methods, ecfp_and_descriptors
from molnb.evaluation.folds import Fold
from molnb.evaluation.intervals import draw_weights
from molnb.evaluation.run_answers import groups_of
from molnb.inference.predictor import predict_stored
from molnb.models.graph.sizes import SIZES
from molnb.objectives.ranking import auroc, average_precision
from molnb.objectives.targets import label_values
from molnb.paths import find_data
from molnb.training.rows import open_corpus

PRESET = "toymix_gine"
TASK = "tox21"
SPLIT = "toymix"
PROPERTIES = "energy orbitals dipole solvation charges bond_orders".split()
QUANTUM = tuple(f"{TASK}_{name}" for name in PROPERTIES)
BASELINE = "LightGBM"  # on ECFP counts
FOREST = "random forest"  # on counts and descriptors
CLASSICAL = (BASELINE, "LightGBM + descriptors", FOREST)
N_DRAW = 1000

# A 30th of an epoch is a step of 200 molecules.
ASSAYS = {
    "objective.task_names": (TASK,),
    "steps": 3000,
    "warmup_steps": 200,
    "eval_every": 100,
    "checkpoint_every": 1000,
    "patience": 8,
}
ELECTRONS = ASSAYS | {
    "objective.task_names": QUANTUM,
    "objective.head_dropout": 0.0,
    "steps": 2500,
    "eval_every": 500,
    "patience": None,
}
JOINT = ASSAYS | {
    "objective.task_names": (TASK, *QUANTUM),
    "objective.task_weights": dict.fromkeys(QUANTUM, 0.05),
}
BEFORE = "quantum"  # a run of seed 0 that others begin with: GFN2-xTB's labels of the same rows
# Changes of the preset, and the run that its encoder is taken from.
VARIANTS: dict[str, tuple[Mapping[str, Any], str | None]] = {
    "gine": (ASSAYS, None),
    "gine-small-batches": (ASSAYS | {"global_batch": 50}, None),
    "mpnn": (ASSAYS | {"model": SIZES["500k"]}, None),
    "joint": (JOINT, None),
    "from-quantum": (ASSAYS, BEFORE),
    "joint-from-quantum": (JOINT, BEFORE),
}


def train_variant(name: str, shards: Shards, seed: int, folder: Path) -> Run:
    """The finished run of a variant and a seed."""
    place = folder / f"{name}-{seed}"
    if (place / "config.json").exists() and Run(place).state == "done":
        return Run(place)
    changes, start = (VARIANTS | {BEFORE: (ELECTRONS, None)})[name]
    if start is not None:
        changes = {**changes, "start_from": str(train_variant(start, shards, 0, folder).path)}
    config = make_preset(PRESET, [shards], name=name, seed=seed, split=SPLIT, **changes)
    run = train(config, place)
    print(f"{place.name}: best at step {run.saved_scores()['step']}", flush=True)
    return run


def names_of_assays(shards: Shards) -> list[str]:
    """The names of the labels, in their order."""
    return [label["name"] for label in shards.manifest["tasks"][TASK]["labels"]]


def baseline_answers(shards: Shards, folder: Path) -> dict[str, np.ndarray]:
    """Classical methods' answers: a row a molecule, a column an assay; kept in a file.

    Ridge answers with numbers that rank. Rows that are learnt from are NaN, and, for all but ridge,
    what was not measured.
    """
    file = folder / "baselines.npz"
    if not file.exists():
        table = ecfp_and_descriptors(shards.smiles())
        assays = [load_benchmark(shards, TASK, label=label) for label in names_of_assays(shards)]
        columns = [_of_assay(assay, table) for assay in assays]
        tables = {name: np.stack([c[name] for c in columns], 1) for name in columns[0]}
        np.savez(file, **tables | {"ridge": _ridge(shards)})
    with np.load(file) as stored:
        return dict(stored)


def _of_assay(benchmark: BenchmarkTask, table: np.ndarray) -> dict[str, np.ndarray]:
    """What each classical method answers about one assay."""
    benchmark.cached(ecfp_counts, lambda: ecfp_counts(benchmark.smiles))
    benchmark.cached(ecfp_and_descriptors, lambda: table[benchmark.ids])
    is_learnt = np.isin(benchmark.ids, Corpus([benchmark.shards]).ids("train", SPLIT))
    fold = Fold(np.flatnonzero(is_learnt), np.flatnonzero(~is_learnt))
    columns = {}
    for name in CLASSICAL:
        columns[name] = np.full(benchmark.shards.n, np.nan)
        fitted = classical_methods(BINARY)[name](benchmark, fold, 0)
        columns[name][benchmark.ids[fold.test]] = fitted.test
    return columns


def _ridge(shards: Shards) -> np.ndarray:
    """What ridge regression on counts answers; validation rows choose its penalties."""
    corpus = Corpus([shards])
    parts = [corpus.labelled([TASK], corpus.ids(part, SPLIT)) for part in ("train", "val")]
    parts.append(np.arange(shards.n))
    counts = ecfp_counts(shards.smiles())
    truths = [np.concatenate(list(label_values(corpus, TASK, part))) for part in parts[:2]]
    return ridge([counts[part] for part in parts], truths, of_classes=True)


def scores_of_assays(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """AUROC and average precision, a row an assay."""
    rows = []
    for values, scores in zip(truth.T, guess.T):
        known = np.isfinite(values)
        positive = values[known] > 0.5
        rows.append([score(scores[known], positive) for score in (auroc, average_precision)])
    return np.array(rows)


def mean_scores(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """AUROC and average precision, means over assays."""
    return np.nanmean(scores_of_assays(truth, guess), 0)


def difference(
    truth: np.ndarray, guess: np.ndarray, other: np.ndarray, groups: np.ndarray
) -> tuple[float, float, float]:
    """The mean AUROC less that of another guess, and the ends of its 95 % interval.

    Relatives are drawn together, the same ones for both.
    """
    drawn = []
    for weights in draw_weights(groups, N_DRAW, 0):
        of_assays = []
        for values, one, two in zip(truth.T, guess.T, other.T):
            known = np.isfinite(values)
            rest = (values[known] > 0.5, weights[:, known])
            of_assays.append(auroc(one[known], *rest) - auroc(two[known], *rest))
        drawn.append(np.nanmean(of_assays, 0))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    found = mean_scores(truth, guess)[0] - mean_scores(truth, other)[0]
    return float(found), float(low), float(high)


class Method(NamedTuple):
    """A line of the table: probabilities by each of its runs, and what CPU a run took."""

    name: str
    guesses: Sequence[np.ndarray]
    seconds: str = ""

    @property
    def mean(self) -> np.ndarray:
        """The mean of the probabilities of all runs."""
        return np.mean(self.guesses, 0)


def gather(
    shards: Shards, names: Sequence[str], seeds: Sequence[int], ids: np.ndarray, folder: Path
) -> list[Method]:
    """The networks' answers, learnt where that was not done before."""
    methods = []
    for name in names:
        runs = [train_variant(name, shards, seed, folder) for seed in seeds]
        taken = [run.status().get("cpu_seconds", np.nan) for run in runs]
        guesses = [
            predict_stored(run.load_model(), run.config, open_corpus(run.config), ids, TASK)
            for run in runs
        ]
        methods.append(Method(name, guesses, f"{np.mean(taken):.0f}"))
    if len(methods) > 1:
        methods.append(Method("all of these", [g for method in methods for g in method.guesses]))
    return methods


HEADER = """\
| method | runs | AUROC: a run | mean of runs | with LightGBM | with forest \
| AP: a run | mean of runs | with LightGBM | with forest | CPU-s a run |
|---|---|---|---|---|---|---|---|---|---|---|"""


def line(method: Method, truth: np.ndarray, classical: Mapping[str, np.ndarray]) -> str:
    """A method's line of the table; a mean of probabilities is one of equal parts."""
    singles = np.array([mean_scores(truth, guess) for guess in method.guesses])
    joined = [method.mean] * (len(singles) > 1)
    if method.name not in classical:
        joined = [
            method.mean,
            *((method.mean + classical[name]) / 2 for name in (BASELINE, FOREST)),
        ]
    cells = [method.name, str(len(singles))]
    for column in range(2):
        spread = f" ± {singles[:, column].std(ddof=1):.3f}" if len(singles) > 1 else ""
        cells.append(f"{singles[:, column].mean():.3f}{spread}")
        scores = [f"{mean_scores(truth, guess)[column]:.3f}" for guess in joined]
        cells += scores or [""] * 3
    return f"| {' | '.join([*cells, method.seconds])} |"


def assay_lines(names: Sequence[str], truth: np.ndarray, methods: Sequence[Method]) -> list[str]:
    """A table of AUROC and average precision of each assay, by all runs of a method together."""
    scores = np.stack([scores_of_assays(truth, method.mean) for method in methods], 1)
    lines = ["| assay | positive | " + " | ".join(method.name for method in methods) + " |"]
    lines.append("|---" * (2 + len(methods)) + "|")
    for name, values, of_methods in zip(names, truth.T, scores):
        count = f"{np.nansum(values):.0f} of {np.isfinite(values).sum()}"
        cells = [f"{area:.3f}, {precision:.3f}" for area, precision in of_methods]
        lines.append(f"| {' | '.join([name, count, *cells])} |")
    return lines


def verdicts(
    method: Method, truth: np.ndarray, classical: Mapping[str, np.ndarray], groups: np.ndarray
) -> list[str]:
    """Whether networks, and means with a classical method, have a higher AUROC than that method."""
    sentences = []
    name = f"{method.name} ({len(method.guesses)} runs)"
    for other in (BASELINE, FOREST):
        guesses = {name: method.mean, f"{name} with it": (method.mean + classical[other]) / 2}
        for what, guess in guesses.items():
            found, low, high = difference(truth, guess, classical[other], groups)
            word = "above" if found > 0 else "NOT above"
            chance = "" if low > 0 or high < 0 else ", perhaps by chance"
            sentences.append(
                f"{what}: {word} {other} by AUROC, {found:+.3f} "
                f"(95 % interval {low:+.3f} to {high:+.3f}{chance})"
            )
    return sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a folder that the recipe tox21_xtb was curated to")
    parser.add_argument("variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/tox21"))
    parser.add_argument("--test", action="store_true", help="read the test part, not validation's")
    args = parser.parse_args()
    shards = load_shards(find_data(args.data))
    part = "test" if args.test else "val"
    corpus = Corpus([shards])
    ids = corpus.labelled([TASK], corpus.ids(part, SPLIT))
    truth = np.concatenate(list(label_values(corpus, TASK, ids)))
    networks = gather(shards, args.variants, args.seeds, ids, args.runs)
    classical = {name: rows[ids] for name, rows in baseline_answers(shards, args.runs).items()}
    if args.test:
        for method in networks:
            print(*verdicts(method, truth, classical, groups_of(corpus, ids)), sep="\n")
    print(f"{part}: {len(ids):,} molecules, {np.isfinite(truth).sum():,} known outcomes")
    print(HEADER)
    methods = [*(Method(name, [guess]) for name, guess in classical.items()), *networks]
    print(*(line(method, truth, classical) for method in methods), sep="\n")
    for method in networks:
        of_runs = [mean_scores(truth, guess) for guess in method.guesses]
        text = "; ".join(f"{area:.3f}, {precision:.3f}" for area, precision in of_runs)
        print(f"{method.name}, AUROC and AP of each run: {text}")
    print(*assay_lines(names_of_assays(shards), truth, methods), sep="\n")


if __name__ == "__main__":
    main()
