"""What the manifest counts: properties of the molecules, and labels that are known or missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .parts import read_parts
from .residuals import ABSENT_ELEMENT


def count_molecules(parts: list[Path]) -> dict[str, Any]:
    """Counts over the molecules of all parts: open stereo, isotopes, convergence, force fields.

    Parts that an earlier version wrote do not say what embedded a molecule, which is left out.
    """
    totals: Counter = Counter()
    counted = ["undefined_stereo", "cleared_isotopes", "converged", "smiles", "smiles_3d"]
    written = pq.read_schema(parts[0]).names if parts else []
    by_value = {name: Counter() for name in ("force_field", "embedded_by") if name in written}
    for table in read_parts(parts, [*counted, *by_value]):
        for name, counter in by_value.items():
            counter.update(table.column(name).to_pylist())
        totals["n"] += len(table)
        for name in ("undefined_stereo", "cleared_isotopes"):
            totals[name] += int(np.count_nonzero(table.column(name).to_numpy()))
        totals["unconverged"] += table.column("converged").to_pylist().count(False)
        differs = pc.not_equal(table.column("smiles"), table.column("smiles_3d"))
        totals["isomer_chosen"] += int(pc.sum(differs).as_py() or 0)
    values = {name: dict(sorted(counter.items())) for name, counter in by_value.items()}
    return dict(totals) | values


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
