"""Honest tables: benchmark tasks, folds, methods, results, intervals, sentences.

Names are imported on first use, so that `scaling`, which reads runs alone, needs no RDKit.
"""

from __future__ import annotations

from ..first_use import NamesOnFirstUse

# Module -> names that it defines.
_PUBLIC = {
    "benchmark": "BenchmarkTask load_benchmark",
    "classical": "classical_methods core_coverage free_wilson",
    "comparison": "Comparison Fitted Method compare extend",
    "folds": "Fold make_folds random_folds",
    "metrics": "find_metric",
    "networks": "fold_config frozen_encoder trained_network",
    "report": "comparison_table conclusions default_metric readable_table",
    "results": "fold_scores load_results write_results",
    "run_scores": "evaluate predictions",
    "similarity": "nearest_training",
    "statistics": "corrected_interval",
}
_ON_FIRST_USE = NamesOnFirstUse(globals(), _PUBLIC)
__all__ = list(_ON_FIRST_USE.module_of)
__getattr__ = _ON_FIRST_USE.find
__dir__ = _ON_FIRST_USE.listing
