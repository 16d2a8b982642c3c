"""A run's tasks on its test rows, beside the training mean and ridge regression on ECFP counts.

    python benchmarks/multitask_table.py RUN [RUN ...] [--part test]

One line a task and method, means over the labels that can be scored: of numbers the mean absolute
error in standard deviations of training labels, as tables of multi-task models give it; of classes
the area under the ROC curve and average precision. Ridge learns each label alone, from the same
training rows, its penalty chosen on the run's validation rows from 0.1 to 10,000; of classes it is
fitted to 0 and 1, which ranks. With several runs (seeds) the network's numbers are means and half
the range of the runs. The first line says on which tasks the network beats both, and where its
spread over seeds is more than a quarter of what it is better by.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge

from molnb.chemistry.fingerprints import ecfp_counts
from molnb.data.dataset import Corpus
from molnb.evaluation.run_answers import smiles_of
from molnb.inference.predictor import predict_stored
from molnb.objectives.ranking import auroc, average_precision
from molnb.objectives.targets import ScaledTask
from molnb.training.rows import open_corpus, training_rows
from molnb.training.runs import Run, find_run

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0)


def labels_of(corpus: Corpus, task: ScaledTask, ids: np.ndarray) -> np.ndarray:
    """Labels of molecules, NaN where unknown; numbers in standard deviations of training rows."""
    table = np.full((len(ids), len(task.labels)), np.nan)
    labels = corpus.labels(ids, [task.key]).get(task.key)
    if labels is not None:
        table[labels.index.numpy()] = labels.values.double().numpy()
    return (table - np.array(task.mean)) / np.array(task.scale)


def scores(task: ScaledTask, truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Means over labels of a task; NaN where none can be scored."""
    columns = [(t[np.isfinite(t)], g[np.isfinite(t)]) for t, g in zip(truth.T, guess.T)]
    if not task.of_classes:
        return {"MAE / sd": float(np.mean([np.abs(t - g).mean() for t, g in columns if len(t)]))}
    return {
        "AUROC": float(np.nanmean([auroc(g, t > 0.5) for t, g in columns])),
        "AP": float(np.nanmean([average_precision(g, t > 0.5) for t, g in columns])),
    }


def ridge(
    counts: Sequence[np.ndarray], truths: Sequence[np.ndarray], of_classes: bool
) -> np.ndarray:
    """Guesses for the last of three sets of rows, from the first; the second chooses penalties."""
    guesses = np.zeros((len(counts[2]), truths[0].shape[1]))
    for number in range(guesses.shape[1]):
        train, val = (np.isfinite(truth[:, number]) for truth in truths[:2])
        best = np.inf
        for penalty in PENALTIES:
            model = Ridge(penalty).fit(counts[0][train], truths[0][train, number])
            target = truths[1][val, number]
            guess = model.predict(counts[1][val])
            loss = -auroc(guess, target > 0.5) if of_classes else np.abs(guess - target).mean()
            if np.nan_to_num(loss, nan=0.0) < best:
                best = np.nan_to_num(loss, nan=0.0)
                guesses[:, number] = model.predict(counts[2])
    return guesses


def network(run: Run, corpus: Corpus, task: ScaledTask, ids: np.ndarray) -> np.ndarray:
    """The run's answers, numbers in standard deviations of training rows."""
    guess = predict_stored(run.load_model(), run.config, corpus, ids, task.key)
    return guess if task.of_classes else (guess - np.array(task.mean)) / np.array(task.scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--part", default="test")
    args = parser.parse_args()
    runs = [find_run(name) for name in args.runs]
    config = runs[0].config
    corpus = open_corpus(config)
    rows = training_rows(corpus, config)
    lines: list[str] = []
    verdicts: list[str] = []
    for task in config.objective.tasks_scaled:
        labelled = corpus.labelled([task.key])
        parts = [*rows, corpus.ids(args.part, config.split)]
        parts = [np.intersect1d(part, labelled) for part in parts]
        truths = [labels_of(corpus, task, part) for part in parts]
        counts = [ecfp_counts(smiles_of(corpus, part)).astype(np.float32) for part in parts]
        lines.append(
            f"{task.key}: {len(parts[2]):,} molecules of {args.part}, {len(parts[0]):,} learnt"
        )
        of_runs = [scores(task, truths[2], network(run, corpus, task, parts[2])) for run in runs]
        methods = {
            "mean": scores(task, truths[2], np.zeros_like(truths[2])),
            "ridge on ECFP counts": scores(task, truths[2], ridge(counts, truths, task.of_classes)),
        }
        for name, values in methods.items():
            words = " ".join(f"{metric} {value:.3f}" for metric, value in values.items())
            lines.append(f"  {name:24} {words}")
        for metric in of_runs[0]:
            values = np.array([of_run[metric] for of_run in of_runs])
            spread = float(np.ptp(values)) / 2
            words = f" ± {spread:.3f} ({len(values)} seeds)" if len(runs) > 1 else ""
            lines.append(f"  {config.name:24} {metric} {values.mean():.3f}{words}")
        metric = next(iter(of_runs[0]))
        bars = [values[metric] for values in methods.values()]
        verdicts.append(verdict(task, metric, [of_run[metric] for of_run in of_runs], bars))
    print("; ".join(verdicts))
    print("\n".join(lines))


def verdict(task: ScaledTask, metric: str, of_runs: Sequence[float], bars: Sequence[float]) -> str:
    """Whether the network beats all that needs none, and by how much more than seeds differ."""
    sign = 1 if task.of_classes else -1  # of errors less is better
    gain = min(sign * (np.mean(of_runs) - bar) for bar in bars)
    if gain <= 0:
        return f"{task.key}: NOT better than what needs no network ({metric} {gain:+.3f})"
    spread = float(np.ptp(of_runs)) / 2
    compared = "less" if spread < gain / 4 else "MORE"
    seeds = f"; seeds ± {spread:.3f}, {compared} than a quarter of it" if len(of_runs) > 1 else ""
    return f"{task.key}: better by {gain:.3f} {metric}{seeds}"


if __name__ == "__main__":
    main()
