"""Honest tables: benchmark tasks, folds, methods, results, intervals, sentences.

Names are imported on first use, so that `scaling`, which reads runs alone, needs no RDKit.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

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
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
