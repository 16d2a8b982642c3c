"""Scores of a run as people read them: rounded, each with its interval, a mean over labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

HEADINGS = {
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "spearman": "Spearman",
    "auroc": "AUROC",
    "ap": "average precision",
    "brier": "Brier",
    "accuracy": "accuracy",
}
UNITLESS_SCORES = ("auroc", "ap", "brier", "accuracy", "r2", "spearman")
_COUNTS = ("n", "positives")


def readable_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `evaluate` as text: `0.812 (0.774 to 0.846)`, with counts.

    Where a method has several labels, a row of the mean of its scores follows that can be averaged,
    without an interval; a score that is undefined for a label does not count in it.
    """
    if not len(table):
        return table
    scores = [name for name in HEADINGS if name in table and table[name].notna().any()]
    readable = pd.DataFrame(
        {
            "label": _with_units(table),
            "method": table["method"],
            "n": table["n"].map("{:,}".format),
        }
    )
    if table["positives"].notna().any():
        readable["positives"] = table["positives"].map(_count)
    for name in scores:
        readable[HEADINGS[name]] = [
            _with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for _, row in table.iterrows()
        ]
    means = _means(table, [name for name in scores if name in UNITLESS_SCORES])
    return pd.concat([readable, means], ignore_index=True).fillna("")


def _with_units(table: pd.DataFrame) -> list[str]:
    return [
        f"{label} ({unit})" if unit not in ("", "1") else label
        for label, unit in zip(table["label"], table["unit"], strict=True)
    ]


def _count(value: float | None) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"


def _with_interval(score: float, low: float, high: float) -> str:
    if pd.isna(score):
        return "undefined"
    if pd.isna(low) or pd.isna(high):
        return f"{score:.3f}"
    return f"{score:.3f} ({low:.3f} to {high:.3f})"


def _means(table: pd.DataFrame, scores: list[str]) -> pd.DataFrame:
    """A row a method with the mean over its labels; none where there is one label."""
    if table["label"].nunique() < 2 or not scores:
        return pd.DataFrame()
    rows = []
    for method, lines in table.groupby("method", sort=False):
        row = {"label": f"mean of {len(lines)} labels", "method": method}
        for name in scores:
            if lines[name].notna().any():
                row[HEADINGS[name]] = f"{np.nanmean(lines[name].astype(float)):.3f}"
        rows.append(row)
    return pd.DataFrame(rows)
