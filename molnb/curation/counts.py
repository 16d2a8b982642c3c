"""What the manifest counts: properties of the molecules, and labels that are known or missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..shards import CONFLICTS
from .parts import read_parts
from .residuals import ABSENT_ELEMENT


def count_molecules(parts: list[Path]) -> dict[str, Any]:
    """Counts over the molecules of all parts: open stereo, isotopes, convergence, force fields."""
    totals: Counter = Counter()
    force_fields: Counter = Counter()
    counted = ["undefined_stereo", "cleared_isotopes", "converged", "force_field"]
    for table in read_parts(parts, [*counted, "smiles", "smiles_3d"]):
        force_fields.update(table.column("force_field").to_pylist())
        totals["n"] += len(table)
        for name in ("undefined_stereo", "cleared_isotopes"):
            totals[name] += int(np.count_nonzero(table.column(name).to_numpy()))
        totals["unconverged"] += table.column("converged").to_pylist().count(False)
        differs = pc.not_equal(table.column("smiles"), table.column("smiles_3d"))
        totals["isomer_chosen"] += int(pc.sum(differs).as_py() or 0)
    return dict(totals) | {"force_field": dict(sorted(force_fields.items()))}


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
