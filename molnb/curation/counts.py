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
from .parts import read_parts
from .residuals import ABSENT_ELEMENT


def count_molecules(parts: list[Path]) -> dict[str, Any]:
    """Counts over the molecules of all parts: open stereo, isotopes, convergence, force fields.

    Of removed fragments and of stereo groups the molecules that have a kind of them.
    """
    totals: Counter = Counter()
    force_fields: Counter = Counter()
    removed: Counter = Counter()
    stereo: Counter = Counter()
    counted = ["undefined_stereo", "cleared_isotopes", "converged", "force_field"]
    texts = ["smiles", "smiles_3d", "removed", "stereo_groups"]
    for table in read_parts(parts, [*counted, *texts]):
        force_fields.update(table.column("force_field").to_pylist())
        totals["n"] += len(table)
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
    by_kind = {"force_field": force_fields, "removed": removed, "stereo_groups": stereo}
    return dict(totals) | {name: dict(sorted(kinds.items())) for name, kinds in by_kind.items()}


def count_known(parts: list[Path], label: dict, folder: Path) -> dict[str, Any]:
    """How many molecules have a label, and why the others have none."""
    column = label["residual_of"] or label["name"]
    n_known = 0
    missing: Counter = Counter()
    for table in read_parts(parts, [column, "missing"]):
        absent = pc.is_null(table.column(column))
        n_known += len(table) - int(pc.sum(absent).as_py() or 0)
        reasons = table.filter(absent).column("missing").to_pylist()
        missing.update("not in the source" if reason is None else reason for reason in reasons)
    if label["residual_of"] is not None:
        residuals = pq.read_table(folder / "derived.parquet", columns=[label["name"]]).column(0)
        n_unpriced = residuals.null_count - sum(missing.values())
        n_known -= n_unpriced
        if n_unpriced:
            missing[ABSENT_ELEMENT] = n_unpriced
    return {"known": n_known, "missing": dict(sorted(missing.items()))}
