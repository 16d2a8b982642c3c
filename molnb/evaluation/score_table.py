"""Scores of a run as people read them: rounded, each with its interval, a mean over labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..units import readable
from .intervals import SCORES

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
_LABELS = {
    "regression": "labels that are numbers",
    "binary": "binary labels",
    "classes": "labels of several classes",
}


def readable_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `evaluate` as text: `0.812 (0.774 to 0.846)`, with counts.

    Where a method has several labels of a kind, a row of the mean of its scores follows that can be
    averaged, without an interval; a score that is undefined for a label does not count in it.
    """
    if not len(table):
        return table
    scores = [name for name in HEADINGS if name in table and table[name].notna().any()]
    as_text = pd.DataFrame(
        {
            "label": _with_units(table),
            "method": table["method"],
            "n": table["n"].map("{:,}".format),
        }
    )
    if table["positives"].notna().any():
        as_text["positives"] = table["positives"].map(_count)
    for name in scores:
        as_text[HEADINGS[name]] = [_cell(row, name) for _, row in table.iterrows()]
    means = _means(table, [name for name in scores if name in UNITLESS_SCORES])
    return pd.concat([as_text, means], ignore_index=True).fillna("")


def _cell(row: pd.Series, name: str) -> str:
    """A score of a row; empty where labels of its kind have no such score."""
    if name not in SCORES[row["kind"]]:
        return ""
    score, *ends = (row[column] for column in (name, f"{name}_low", f"{name}_high"))
    if pd.isna(score):
        return "undefined"
    in_unit = name not in UNITLESS_SCORES
    shown = [readable(value, in_unit=in_unit) for value in (score, *ends)]
    return shown[0] if pd.isna(ends).any() else f"{shown[0]} ({shown[1]} to {shown[2]})"


def _with_units(table: pd.DataFrame) -> list[str]:
    return [
        f"{label} ({unit})" if unit not in ("", "1") else label
        for label, unit in zip(table["label"], table["unit"], strict=True)
    ]


def _count(value: float | None) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"


def _means(table: pd.DataFrame, scores: list[str]) -> pd.DataFrame:
    """A row a method and kind of label with the mean over those labels; none where there is one."""
    if not scores:
        return pd.DataFrame()
    rows = []
    n_kind = table["kind"].nunique()
    for kind, of_kind in table.groupby("kind", sort=False):
        n_label = of_kind["label"].nunique()
        own = [name for name in scores if name in SCORES[kind]]
        if n_label < 2 or not own:
            continue
        labels = "labels" if n_kind == 1 else _LABELS[kind]
        for method, lines in of_kind.groupby("method", sort=False):
            row = {"label": f"mean of {len(lines)} {labels}", "method": method}
            for name in own:
                if lines[name].notna().any():
                    mean = float(np.nanmean(lines[name].astype(float)))
                    row[HEADINGS[name]] = readable(mean, in_unit=False)
            rows.append(row)
    return pd.DataFrame(rows)
