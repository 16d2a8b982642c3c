"""What a worker does with a slice of rows: read and standardise them; give kept molecules
conformers and labels.

Each slice ends in files that appear whole or not at all, so a killed curation goes on with the
slices that are missing. A row that fails is written down with its step, reason and detail; nothing
is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..chemistry.conformer import make_conformer
from ..chemistry.failures import MoleculeError
from ..chemistry.features import molecule_arrays
from ..chemistry.identity import identity_keys, murcko_scaffold, undefined_stereo
from ..chemistry.parsing import parse_molblock, parse_smiles
from ..chemistry.standardization import standardize
from ..chemistry.xtb import XTB, UndefinedLabelError, xtb_labels
from ..files import write_table
from ..processes import Slice
from ..recipes.schema import Recipe
from ..recipes.snapshot import snapshot_schema
from ..shards import DROPPED_SCHEMA, part_schema

DIED = "worker died (machine-dependent)"

READ_SCHEMA = pa.schema(
    [*DROPPED_SCHEMA, ("smiles", pa.string()), ("atom_order", pa.list_(pa.uint16())), ("charge", pa.int32()),
     ("n_heavy", pa.int32()), ("inchikey14", pa.string()), ("tautomer_key", pa.string()), ("scaffold", pa.string()),
     ("undefined_stereo", pa.int32()), ("cleared_isotopes", pa.int32())]
)  # fmt: skip


class Job(NamedTuple):
    """What every slice of a curation needs to know."""

    folder: Path
    recipe: Recipe

    @property
    def work(self) -> Path:
        """Unfinished business; deleted when the manifest is written."""
        return self.folder / "work"

    @property
    def sample(self) -> Path:
        """The sampled rows of the source, where only some were asked for."""
        return self.work / "sample.npy"

    def slice_file(self, stage: str, index: int) -> Path:
        """Where a slice of a stage ends: ``read``, ``failed`` (no conformer) or ``part``."""
        if stage == "part":
            return self.folder / "shards" / f"part-{index:05d}.parquet"
        return self.work / stage / f"slice-{index:05d}.parquet"

    def schema(self) -> pa.Schema:
        """Columns of this recipe's parts; residuals are not among them, they depend on the
        training rows.
        """
        labels = [label.model_dump() for label in self.recipe.labels if label.residual_of is None]
        return part_schema(labels, list(self.recipe.flags))


def read_rows(path: Path, rows: np.ndarray) -> pa.Table:
    """Some rows of a Parquet file, by ascending position, touching only the row groups they lie
    in.
    """
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    group = np.searchsorted(starts, rows, side="right") - 1
    pieces = [
        file.read_row_group(int(g)).take(pa.array(rows[group == g] - starts[g]))
        for g in np.unique(group)
    ]
    return pa.concat_tables(pieces)


# ------------------------------------------------------------------------------- pass 1: parse, standardise, keys


def read_slice(job: Job, piece: Slice, write: bool = True) -> None:
    """Parse and standardise a slice of the sampled rows and give each its keys, or its reason to
    be dropped.
    """
    rows = np.arange(piece.start, piece.stop)
    died = {int(i) for i in piece.died}
    positions = np.load(job.sample, mmap_mode="r")[rows] if job.sample.exists() else rows
    given = read_rows(job.work / "source.parquet", np.asarray(positions)).to_pylist()
    required = [label.name for label in job.recipe.labels if label.missing == "drop"]
    read = [
        _read_row(row, job.recipe, required, position in died)
        for position, row in zip(rows, given, strict=True)
    ]
    if write:
        _refuse_all_unexpected(read)
        write_table(pa.Table.from_pylist(read, READ_SCHEMA), job.slice_file("read", piece.index))


def _read_row(
    row: dict[str, Any], recipe: Recipe, required: list[str], died: bool
) -> dict[str, Any]:
    block = recipe.columns.smiles is None
    out = {key: row[key] for key in ("row", "line", "id")} | {
        "input_smiles": None if block else row["structure"]
    }
    if died:
        return out | {"step": "worker", "reason": DIED, "detail": ""}
    if row["problem"] is not None:
        return out | {"step": "read", "reason": "malformed row", "detail": row["problem"]}
    for name in required:
        if row[name] is None:
            return out | {"step": "label", "reason": "label missing", "detail": name}
    try:
        return out | _standard_columns(
            (parse_molblock if block else parse_smiles)(row["structure"] or ""), recipe
        )
    except MoleculeError as failure:
        return out | {"step": failure.step, "reason": failure.reason, "detail": failure.detail}
    except (
        ValueError,
        RuntimeError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        return out | _unexpected("standardise", error)


def _standard_columns(mol: Any, recipe: Recipe) -> dict[str, Any]:
    standard = standardize(mol, recipe.structure.max_heavy_atoms)
    inchikey14, tautomer_key = identity_keys(standard.mol)
    return {
        "smiles": standard.smiles,
        "atom_order": standard.order,
        "charge": standard.charge,
        "n_heavy": standard.mol.GetNumAtoms(),
        "inchikey14": inchikey14,
        "tautomer_key": tautomer_key,
        "scaffold": murcko_scaffold(standard.mol),
        "undefined_stereo": undefined_stereo(standard.mol),
        "cleared_isotopes": standard.cleared_isotopes,
    }


def _unexpected(step: str, error: Exception) -> dict[str, str]:
    """A row must not stop a week of others; a fault of every row still does, see below."""
    return {
        "step": step,
        "reason": "unexpected error",
        "detail": f"{type(error).__name__}: {error}"[:300],
    }


def _refuse_all_unexpected(rows: list[dict[str, Any]]) -> None:
    if len(rows) > 3 and all(row.get("reason") == "unexpected error" for row in rows):
        raise RuntimeError(
            f"every one of {len(rows)} rows failed unexpectedly; the first: {rows[0]['detail']}"
        )


# --------------------------------------------------------------------------------- pass 3: conformers and labels


def label_slice(job: Job, piece: Slice, write: bool = True) -> None:
    """Give a slice of the kept molecules conformers, arrays and labels; those that get none are
    written as failed.
    """
    kept = read_rows(job.work / "kept.parquet", np.arange(piece.start, piece.stop)).to_pylist()
    parts, failed = [], []
    for position, row in enumerate(kept, piece.start):
        try:
            if position in piece.died:
                failed.append(row | {"step": "worker", "reason": DIED, "detail": ""})
            else:
                parts.append(row | _conformer_columns(row["smiles"], job.recipe))
        except MoleculeError as failure:
            failed.append(
                row | {"step": failure.step, "reason": failure.reason, "detail": failure.detail}
            )
        except (
            ValueError,
            RuntimeError,
            ArithmeticError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            failed.append(row | _unexpected("conformer", error))
    if write:
        _refuse_all_unexpected(failed if not parts else [])
        write_table(
            pa.Table.from_pylist(failed, DROPPED_SCHEMA), job.slice_file("failed", piece.index)
        )
        write_table(
            _part_table(parts, job.schema()), job.slice_file("part", piece.index)
        )  # last: says "done"


def _conformer_columns(smiles: str, recipe: Recipe) -> dict[str, Any]:
    conformer = make_conformer(smiles, recipe.conformers.seed)
    arrays = molecule_arrays(smiles)
    columns = {
        "smiles_3d": conformer.smiles_3d,
        "n_atoms": len(arrays["numbers"]),
        "numbers": arrays["numbers"],
        "coords": conformer.coords.ravel(),
        "force_field": conformer.force_field,
        "converged": conformer.converged,
        "force_field_energy": conformer.energy,
        "atom_feats": arrays["atom_feats"].ravel(),
        "bonds": arrays["bonds"].ravel(),
        "bond_feats": arrays["bond_feats"].ravel(),
        "parent": arrays["parent"],
    }
    if recipe.needs_xtb():
        try:
            xtb = xtb_labels(
                arrays["numbers"], conformer.coords, arrays["charge"], conformer.converged
            )
        except UndefinedLabelError as why:
            return columns | {"missing": why.reason}
        computed = _computed(xtb, arrays)
        columns |= {
            label.name: computed[label.computed] for label in recipe.labels if label.computed
        }
    return columns


def _computed(xtb: XTB, arrays: dict[str, Any]) -> dict[str, Any]:
    """Every computed label by its name in recipes; lists in stored order of atoms, bonds and
    heavy-atom pairs.
    """
    bonds, n_heavy = arrays["bonds"], arrays["n_heavy"]
    values = {f"xtb.{name}": float(getattr(xtb, name)) for name in XTB._fields[:7]}
    values["xtb.charges"] = xtb.charges
    values["xtb.bond_orders"] = xtb.bond_orders[bonds[:, 0], bonds[:, 1]]
    values["xtb.pair_orders"] = xtb.bond_orders[np.triu_indices(n_heavy, 1)]
    return values


def _part_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        columns.append(
            _list_array(values, field.type)
            if pa.types.is_list(field.type)
            else pa.array(values, field.type)
        )
    return pa.Table.from_arrays(columns, schema=schema)


def _list_array(values: list, kind: pa.ListType) -> pa.Array:
    """Ragged numpy arrays as one Arrow column, without a Python object a number; None stays
    null.
    """
    dtype = kind.value_type.to_pandas_dtype()
    arrays = [np.asarray(() if value is None else value, dtype) for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int32)
    flat = np.concatenate([np.zeros(0, dtype), *arrays])
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=kind, mask=mask)


def source_label_columns(recipe: Recipe) -> list[str]:
    """Names of the labels that come with the rows of the source."""
    return snapshot_schema(recipe).names[5:]
