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


def count_known(parts: list[Path], label: dict, folder: Path) -> dict[str, Any]:
    """How many molecules have a label, of each class too, and why the others have none.

    ``label`` holds ``names_of_classes``, which is None for numbers.
    """
    column = label["residual_of"] or label["name"]
    n_known = 0
    missing: Counter = Counter()
    classes: Counter = Counter()
    disagreeing = _without_value(folder, label["name"])
    for table in read_parts(parts, [column, "missing", "row"]):
        absent = pc.is_null(table.column(column))
        n_known += len(table) - int(pc.sum(absent).as_py() or 0)
        lacking = table.filter(absent)
        rows = lacking.column("row").to_pylist()
        for row, reason in zip(rows, lacking.column("missing").to_pylist(), strict=True):
            unknown = "rows disagree" if row in disagreeing else "not in the source"
            missing[reason or unknown] += 1
        if label["names_of_classes"] is not None:
            classes.update(table.column(column).drop_null().to_pylist())
    if label["residual_of"] is not None:
        residuals = pq.read_table(folder / "derived.parquet", columns=[label["name"]]).column(0)
        n_unpriced = residuals.null_count - sum(missing.values())
        n_known -= n_unpriced
        if n_unpriced:
            missing[ABSENT_ELEMENT] = n_unpriced
    counts = {"known": n_known, "missing": dict(sorted(missing.items()))}
    if label["names_of_classes"] is not None:
        names = enumerate(label["names_of_classes"])
        counts["class_counts"] = {name: classes[number] for number, name in names}
    return counts


def _without_value(folder: Path, label: str) -> set[int]:
    """Rows of molecules that lost a label because the rows they stand in disagree."""
    file = folder / CONFLICTS
    if not file.exists():  # taken over from a curation that listed none
        return set()
    table = pq.read_table(file, columns=["row", "label", "kept"])
    lost = pc.and_(pc.equal(table["label"], label), pc.is_null(table["kept"]))
    return set(table.filter(lost).column("row").to_pylist())
