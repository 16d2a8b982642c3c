"""Scores of a run as people read them: rounded, each with its interval, a mean over labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..units import readable
from .metrics import METRICS

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
    scores = [name for name in METRICS if name in table and table[name].notna().any()]
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
        as_text[METRICS[name].heading] = [_cell(row, name) for _, row in table.iterrows()]
    means = _means(table, [name for name in scores if not METRICS[name].in_unit])
    return pd.concat([as_text, means], ignore_index=True).fillna("")


def _cell(row: pd.Series, name: str) -> str:
    """A score of a row; empty where labels of its kind have no such score."""
    if row["kind"] not in METRICS[name].of_kind:
        return ""
    values = [row[column] for column in (name, f"{name}_low", f"{name}_high")]
    if pd.isna(values[0]):
        return "undefined"
    texts = [readable(value, in_unit=METRICS[name].in_unit) for value in values]
    return texts[0] if pd.isna(values).any() else f"{texts[0]} ({texts[1]} to {texts[2]})"


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
        of_this_kind = [name for name in scores if kind in METRICS[name].of_kind]
        if n_label < 2 or not of_this_kind:
            continue
        labels = "labels" if n_kind == 1 else _LABELS[kind]
        for method, lines in of_kind.groupby("method", sort=False):
            row = {"label": f"mean of {len(lines)} {labels}", "method": method}
            for name in of_this_kind:
                if lines[name].notna().any():
                    mean = float(np.nanmean(lines[name].astype(float)))
                    row[METRICS[name].heading] = readable(mean, in_unit=False)
            rows.append(row)
    return pd.DataFrame(rows)
