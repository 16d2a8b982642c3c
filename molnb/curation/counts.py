"""What the manifest counts: properties of the molecules, and labels that are known or missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..chemistry.fragments import removed_kinds
from ..chemistry.stereo_groups import kinds_of_stereo
from ..shards import CONFLICTS
from .parts import read_parts
from .residuals import ABSENT_ELEMENT


def count_molecules(parts: list[Path]) -> dict[str, Any]:
    """Counts over the molecules of all parts: open stereo, isotopes, convergence, force fields.

    Of removed fragments and of stereo groups the molecules that have a kind of them.
    """
    totals: Counter = Counter()
    by_value = {name: Counter() for name in ("force_field", "embedded_by")}
    removed: Counter = Counter()
    stereo: Counter = Counter()
    counted = ["undefined_stereo", "cleared_isotopes", "converged", "n_conformers"]
    texts = ["smiles", "smiles_3d", "removed", "stereo_groups"]
    for table in read_parts(parts, [*counted, *texts, *by_value]):
        for name, counter in by_value.items():
            counter.update(table.column(name).to_pylist())
        totals["n"] += len(table)
        totals["conformers"] += int(pc.sum(table.column("n_conformers")).as_py() or 0)
        for name in ("undefined_stereo", "cleared_isotopes"):
            totals[name] += int(np.count_nonzero(table.column(name).to_numpy()))
        totals["unconverged"] += table.column("converged").to_pylist().count(False)
        differs = pc.not_equal(table.column("smiles"), table.column("smiles_3d"))
        totals["isomer_chosen"] += int(pc.sum(differs).as_py() or 0)
        parted = table.filter(pc.not_equal(table.column("removed"), ""))
        for row in parted.select(["smiles", "removed"]).to_pylist():
            removed.update(set(removed_kinds(row["smiles"], row["removed"])))
        for text in table.column("stereo_groups").to_pylist():
            stereo.update(kinds_of_stereo(text))
    kinds = by_value | {"removed": removed, "stereo_groups": stereo}
    return dict(totals) | {name: dict(sorted(counts.items())) for name, counts in kinds.items()}


def count_known(parts: list[Path], labels: list[dict], folder: Path) -> dict[str, dict[str, Any]]:
    """How many molecules have each label, of each class too, and why the others have none.

    ``labels`` hold ``names_of_classes``, which is None for numbers. All are counted in one pass.
    """
    column_of = {label["name"]: label["residual_of"] or label["name"] for label in labels}
    known: Counter = Counter()
    missing: dict[str, Counter] = {name: Counter() for name in column_of}
    classes: dict[str, Counter] = {name: Counter() for name in column_of}
    disagreeing = _without_value(folder)
    for table in read_parts(parts, [*dict.fromkeys(column_of.values()), "missing", "row"]):
        reasons = np.array(table.column("missing").to_pylist(), object)
        rows = table.column("row").to_numpy()
        for label in labels:
            name = label["name"]
            column = table.column(column_of[name])
            absent = pc.is_null(column).to_numpy()
            known[name] += len(table) - int(np.count_nonzero(absent))
            missing[name].update(_count_absent(absent, reasons, rows, disagreeing.get(name, [])))
            if label["names_of_classes"] is not None:
                classes[name].update(column.drop_null().to_pylist())
    counts = {}
    for label in labels:
        name = label["name"]
        if label["residual_of"] is not None:
            residuals = pq.read_table(folder / "derived.parquet", columns=[name]).column(0)
            n_unpriced = residuals.null_count - sum(missing[name].values())
            known[name] -= n_unpriced
            if n_unpriced:
                missing[name][ABSENT_ELEMENT] = n_unpriced
        counts[name] = {"known": known[name], "missing": dict(sorted(missing[name].items()))}
        if label["names_of_classes"] is not None:
            names = enumerate(label["names_of_classes"])
            counts[name]["class_counts"] = {text: classes[name][number] for number, text in names}
    return counts


def _count_absent(
    absent: np.ndarray, reasons: np.ndarray, rows: np.ndarray, disagreeing: list[int]
) -> dict[str, int]:
    """Why molecules of a part have no value of a label; ``reasons`` are those of computed ones."""
    is_told = reasons != None  # noqa: E711 (element by element)
    counts = Counter(reasons[absent & is_told].tolist())
    untold = absent & ~is_told
    n_disagree = int(np.count_nonzero(np.isin(rows[untold], disagreeing))) if disagreeing else 0
    n_other = int(np.count_nonzero(untold)) - n_disagree
    for reason, n in (("rows disagree", n_disagree), ("not in the source", n_other)):
        if n:
            counts[reason] = n
    return counts


def _without_value(folder: Path) -> dict[str, list[int]]:
    """Rows of molecules that lost a label because the rows they stand in disagree, by label."""
    file = folder / CONFLICTS
    if not file.exists():  # taken over from a curation that listed none
        return {}
    table = pq.read_table(file, columns=["row", "label", "kept"])
    lost = table.filter(pc.is_null(table["kept"]))
    rows: dict[str, list[int]] = {}
    for row, label in zip(lost["row"].to_pylist(), lost["label"].to_pylist(), strict=True):
        rows.setdefault(label, []).append(row)
    return rows
