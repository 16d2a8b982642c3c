"""A comparison as a table, and what it allows to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..shapes import Bool
from .comparison import Comparison
from .statistics import corrected_interval

NOT_CONCLUDED = "not trained to conclusion"
REFERENCE, BAR = (
    "LightGBM",
    "kNN",
)  # what differences are to; whose test error a network's training error must pass
NETWORK, PLAIN = "network", "other"


def comparison_table(
    result: Comparison, reference: str = REFERENCE, keep: Bool[np.ndarray, " row"] | None = None
) -> list[dict]:
    """One row a method, best first: errors in the label's unit, and the paired difference to the
    reference.

    `mae` and `spearman` are means over folds, `rmse` is over all rows; `low` to `high` is the
    corrected 95 % interval of the difference. A network whose training error has not passed the
    test error of kNN is marked in `note`: it says nothing about its kind. `keep` judges by some of
    the test rows; nothing is fitted again.
    """
    ratio = float(np.mean([len(f.test) / len(f.train) for f in result.folds]))
    against, truth, rows = result.fold_mae(reference, keep), result.benchmark.values, []
    bar = float(result.fold_mae(BAR, keep).mean()) if BAR in result.predicted else np.inf
    for name, predicted in result.predicted.items():
        mae = result.fold_mae(name, keep)
        known = np.isfinite(predicted) if keep is None else np.isfinite(predicted) & keep
        difference = corrected_interval(mae - against, ratio)
        learnt = float(np.mean(result.train_mae[name]))
        unfinished = name in result.networks and not learnt < bar
        rows.append({
            "method": name,
            "kind": NETWORK if name in result.networks else PLAIN,
            "mae": float(mae.mean()),
            "rmse": float(np.sqrt(np.mean((predicted - truth)[known] ** 2))),
            "spearman": result.fold_spearman(name, keep),
            "train_mae": learnt,
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": int(known.sum()),
            "seconds": result.seconds[name],
            "note": NOT_CONCLUDED if unfinished else "",
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["mae"])


def readable_table(rows: Sequence[dict], reference: str = REFERENCE) -> list[dict]:
    """The columns of a table that people read, rounded; the difference to the reference with its
    interval.
    """
    found = []
    for r in rows:
        low, middle, high = (
            round(r[name], 3) + 0.0 for name in ("low", "difference", "high")
        )  # + 0.0: no minus zero
        other = r["method"] != reference
        row = {"method": r["method"], "MAE": f"{r['mae']:.3f}", "RMSE": f"{r['rmse']:.3f}"}
        row |= {"Spearman": f"{r['spearman']:.2f}", "training MAE": f"{r['train_mae']:.3f}"}
        row |= {f"MAE minus {reference}": f"{middle:+.3f}" if other else "reference"}
        found.append(
            row
            | {"95 % interval": f"{low:+.3f} to {high:+.3f}" if other else "", "note": r["note"]}
        )
    return found


def conclusions(rows: Sequence[dict], unit: str, reference: str = REFERENCE) -> list[str]:
    """What a table allows to say, in sentences; the first is about networks. Unfinished networks
    are named, not judged.

    Better or worse means that the corrected interval of the difference excludes zero; nothing else
    counts.
    """
    networks = [r for r in rows if r["kind"] == NETWORK]
    judged = [r for r in networks if not r["note"]]
    found = [_first_sentence(networks, judged, reference)]
    for kind, ours in (
        ("network", judged),
        ("other method", [r for r in rows if r["kind"] != NETWORK]),
    ):
        for verdict, mine in (("better", "high"), ("worse", "low")):
            sure = [r for r in ours if (r["high"] < 0 if mine == "high" else r["low"] > 0)]
            if sure:
                named = ", ".join(f"{r['method']} ({_signed(r)})" for r in sure)
                found.append(
                    f"{kind.capitalize()}s {verdict} than {reference} beyond the interval: {named}."
                )
    open_ones = [
        r["method"]
        for r in judged + [r for r in rows if r["kind"] != NETWORK]
        if r["low"] <= 0 <= r["high"]
    ]
    open_ones = [name for name in open_ones if name != reference]
    if open_ones:
        found.append(
            f"Not to be told apart from {reference} with these folds: {', '.join(open_ones)}."
        )
    unfinished = [r for r in networks if r["note"]]
    if unfinished:
        named = ", ".join(
            f"{r['method']} ({r['train_mae']:.2f} on its own training rows)" for r in unfinished
        )
        found.append(f"{NOT_CONCLUDED.capitalize()}, so without a verdict: {named}.")
    return found + (
        [f"Numbers are differences of mean absolute errors, in {unit}."]
        if unit not in ("", "1")
        else []
    )


def _first_sentence(networks: Sequence[dict], judged: Sequence[dict], reference: str) -> str:
    better = [r for r in judged if r["high"] < 0]
    if not networks:
        return f"No network was compared; {reference} is what the other methods are held against."
    if not judged:
        return "No network was trained to conclusion: this table says nothing about networks."
    best = min(judged, key=lambda r: r["mae"])
    if better:
        return f"{len(better)} of {len(judged)} networks beat {reference}; the best is {best['method']} ({_signed(best)})."
    return f"No network beats {reference}; the best is {best['method']} ({_signed(best)})."


def _signed(row: dict) -> str:
    return f"{row['difference']:+.2f}, 95 % {row['low']:+.2f} to {row['high']:+.2f}"
