"""Honest tables: benchmark tasks, folds, methods, results, intervals, sentences."""

from __future__ import annotations

from .benchmark import BenchmarkTask, load_benchmark
from .classical import classical_methods, core_coverage, free_wilson
from .comparison import Comparison, Fitted, Method, compare, extend
from .folds import Fold, make_folds, random_folds
from .metrics import find_metric
from .networks import fold_config, frozen_encoder, trained_network
from .report import (
    comparison_table,
    conclusions,
    default_metric,
    readable_table,
)
from .results import fold_scores, load_results, write_results
from .run_scores import evaluate, predictions
from .similarity import nearest_training
from .statistics import corrected_interval

__all__ = [
    "BenchmarkTask",
    "Comparison",
    "Fitted",
    "Fold",
    "Method",
    "classical_methods",
    "compare",
    "comparison_table",
    "conclusions",
    "core_coverage",
    "corrected_interval",
    "default_metric",
    "evaluate",
    "extend",
    "find_metric",
    "fold_config",
    "fold_scores",
    "free_wilson",
    "frozen_encoder",
    "load_benchmark",
    "load_results",
    "make_folds",
    "nearest_training",
    "predictions",
    "random_folds",
    "readable_table",
    "trained_network",
    "write_results",
]
