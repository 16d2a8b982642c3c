"""What a worker does with a slice of rows: standardise them; give molecules conformers and labels.

Each slice ends in files that appear whole or not at all, so a killed curation goes on with the
slices that are missing. A row that fails is written down with its step, reason and detail; nothing
is left out.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..chemistry.aligned_labels import MisalignedError, align, make_numbering
from ..chemistry.conformer import Conformer
from ..chemistry.failures import MoleculeError
from ..chemistry.features import molecule_arrays
from ..chemistry.given_geometry import PLACED, given_molecule
from ..chemistry.identity import identity_keys, murcko_scaffold, undefined_stereo
from ..chemistry.parsing import has_3d_coords, parse_molblock, parse_smiles
from ..chemistry.standardization import standardize
from ..chemistry.xtb import UndefinedLabelError, xtb_labels
from ..files import write_table
from ..processes import Slice
from ..recipes.schema import Recipe
from ..recipes.values.row_filters import FILTER, FILTER_CELL
from ..shards import (
    DROPPED_SCHEMA,
    GIVEN,
    GIVEN_COMPLETED,
    GIVEN_PERCEIVED,
    part_schema,
)
from .geometries import make_conformers, read_given

DIED = "worker died (machine-dependent)"
# Faults of the program, or of a library, that one row has met. What is wrong with the machine
# (OSError, ImportError) is not among them: it stops the work.
FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)

READ_SCHEMA = pa.schema(
    [
        *DROPPED_SCHEMA,
        ("smiles", pa.string()),
        ("stereo_groups", pa.string()),
        ("removed", pa.string()),
        ("atom_order", pa.list_(pa.uint16())),
        ("charge", pa.int32()),
        ("n_heavy", pa.int32()),
        ("inchikey14", pa.string()),
        ("tautomer_key", pa.string()),
        ("scaffold", pa.string()),
        ("undefined_stereo", pa.int32()),
        ("cleared_isotopes", pa.int32()),
        ("given_coords", pa.bool_()),  # the structure holds a 3D conformer, which is not kept
        # of a molecule whose geometry is given
        ("geometry_key", pa.string()),
        ("coords", pa.list_(pa.float32())),
        ("n_conformers", pa.int32()),
        ("smiles_3d", pa.string()),
        ("embedded_by", pa.string()),
        ("missing", pa.string()),  # why a label of atoms, bonds or pairs has no value
    ]
)


class Job(NamedTuple):
    """What every slice of a curation needs to know."""

    folder: Path
    recipe: Recipe

    @property
    def work(self) -> Path:
        """Where unfinished work lies; deleted when the manifest is written."""
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

    def read_schema(self) -> pa.Schema:
        """Columns of what is read: those of every row, and labels of atoms, bonds and pairs."""
        lists = [(label.name, pa.list_(pa.float32())) for label in self.recipe.list_labels]
        return pa.schema([*READ_SCHEMA, *lists])

    def schema(self) -> pa.Schema:
        """Columns of this recipe's parts, without residuals, which depend on the training rows."""
        labels = [label.model_dump() for label in self.recipe.labels if label.residual_of is None]
        texts = [*self.recipe.relation_columns.values(), *self.recipe.text_columns]
        return part_schema(labels, list(self.recipe.flags), texts)


def read_rows(path: Path, rows: np.ndarray, without: Collection[str] = ()) -> pa.Table:
    """Some rows of a Parquet file, by ascending position, from the row groups they lie in alone.

    Columns ``without`` which it goes are not read.
    """
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    group_of_row = np.searchsorted(starts, rows, side="right") - 1
    columns = [name for name in file.schema_arrow.names if name not in without]
    pieces = []
    for group in np.unique(group_of_row):
        inside = rows[group_of_row == group] - starts[group]
        pieces.append(file.read_row_group(int(group), columns).take(pa.array(inside)))
    return pa.concat_tables(pieces)


def _outcome(step: str, reason: str, detail: str) -> dict[str, str]:
    return {"step": step, "reason": reason, "detail": detail}


def _failure(failure: MoleculeError) -> dict[str, str]:
    return _outcome(failure.step, failure.reason, failure.detail)


def _unexpected(step: str, error: Exception) -> dict[str, str]:
    """A row must not stop a week of others; a fault of every row still does, see below."""
    return _outcome(step, "unexpected error", f"{type(error).__name__}: {error}"[:300])


def _refuse_all_unexpected(rows: list[dict[str, Any]]) -> None:
    if len(rows) > 3 and all(row.get("reason") == "unexpected error" for row in rows):
        raise RuntimeError(
            f"every one of {len(rows)} rows failed unexpectedly; the first: {rows[0]['detail']}"
        )


# ------------------------------------------------------- pass 1: parse, standardise, keys


def read_slice(job: Job, piece: Slice, write: bool = True) -> None:
    """Parse and standardise a slice of the sampled rows, and write down what became of each."""
    positions = np.arange(piece.start, piece.stop)
    numbers = positions
    if job.sample.exists():
        numbers = np.asarray(np.load(job.sample, mmap_mode="r")[positions])
    unused = {label.name for label in job.recipe.molecule_labels if label.missing == "keep"}
    rows = read_rows(job.work / "source.parquet", numbers, unused).to_pylist()
    read = [
        _read_row(row, job.recipe, died=position in piece.died)
        for position, row in zip(positions.tolist(), rows, strict=True)
    ]
    if write:
        _refuse_all_unexpected(read)
        write_table(_table_of(read, job.read_schema()), job.slice_file("read", piece.index))


def _read_row(row: dict[str, Any], recipe: Recipe, died: bool) -> dict[str, Any]:
    """A row of the source as READ_SCHEMA has it: standardised, or with its reason to be dropped."""
    is_block = recipe.columns.smiles is None
    columns = {
        "row": row["row"],
        "line": row["line"],
        "id": row["id"],
        "input_smiles": None if is_block else row["structure"],
    }
    if died:
        return columns | _outcome("worker", DIED, "")
    if row["problem"] is not None:
        return columns | _outcome("read", "malformed row", row["problem"])
    if row.get(FILTER) is not None:
        return columns | _outcome("filter", f"where: {row[FILTER]}", row[FILTER_CELL])
    for label in recipe.labels:
        if label.missing == "drop" and row[label.name] is None:
            return columns | _outcome("label", "label missing", label.name)
    try:
        if recipe.conformers.kind == "given":
            return columns | _given_columns(row, recipe)
        mol = parse_molblock(row["structure"] or "") if is_block else parse_smiles(row["structure"])
        columns["given_coords"] = has_3d_coords(mol)
        return columns | _standard_columns(mol, row, recipe)
    except MoleculeError as failure:
        return columns | _failure(failure)
    except FAULTS as error:
        return columns | _unexpected("standardise", error)


def _standard_columns(mol: Any, row: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    structure = recipe.structure
    standard = standardize(mol, structure.max_heavy_atoms, structure.metals)
    columns = {
        "smiles": standard.smiles,
        "stereo_groups": standard.stereo_groups,
        "removed": ".".join(standard.removed),
        "atom_order": standard.order,
        "charge": standard.charge,
        "cleared_isotopes": standard.cleared_isotopes,
        **_keys(standard.mol),
    }
    return columns | _list_columns(mol, standard.order, standard.mol, row, recipe)


def _given_columns(row: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Columns of a row whose geometry is its source's: nothing of it is standardised."""
    mol, drawn, perceived = read_given(row, recipe)
    given = given_molecule(mol, recipe.structure.max_heavy_atoms, drawn)
    embedded_by = GIVEN if not perceived else GIVEN_PERCEIVED
    if PLACED in given.order:
        embedded_by = GIVEN_COMPLETED
    heavy = given.order[: given.mol.GetNumAtoms()]
    columns = {
        "smiles": given.smiles,
        "stereo_groups": "",
        "removed": "",
        "atom_order": heavy,
        "charge": given.charge,
        "cleared_isotopes": given.cleared_isotopes,
        "geometry_key": given.geometry_key,
        "coords": given.coords.ravel(),
        "n_conformers": len(given.coords),
        "smiles_3d": given.smiles_3d,
        "embedded_by": embedded_by,
        **_keys(given.mol),
    }
    return columns | _list_columns(mol, heavy, given.mol, row, recipe)


def _keys(mol: Any) -> dict[str, Any]:
    """What tells a stored molecule apart from others, or puts it beside them."""
    inchikey14, tautomer_key = identity_keys(mol)
    return {
        "n_heavy": mol.GetNumAtoms(),
        "inchikey14": inchikey14,
        "tautomer_key": tautomer_key,
        "scaffold": murcko_scaffold(mol),
        "undefined_stereo": undefined_stereo(mol),
    }


def _list_columns(
    mol: Any, order: Any, parent: Any, row: dict[str, Any], recipe: Recipe
) -> dict[str, Any]:
    """Labels of atoms, bonds and pairs in stored order; of those that do not fit, the reason."""
    known = [label for label in recipe.list_labels if row[label.name] is not None]
    if not known:
        return {}
    numbering = make_numbering(mol, order, parent)
    columns: dict[str, Any] = {}
    reasons = []
    for label in known:
        by_maps = label.order == "maps"
        ordered = label.pairs == "ordered"
        try:
            columns[label.name] = align(row[label.name], label.level, numbering, by_maps, ordered)
        except MisalignedError as error:
            reasons.append(error.reason)
    return columns | {"missing": "; ".join(dict.fromkeys(reasons)) or None}


# ------------------------------------------------------- pass 3: conformers and labels


def label_slice(job: Job, piece: Slice, write: bool = True) -> None:
    """Give a slice of the molecules conformers, arrays and labels, and write down what fails."""
    positions = np.arange(piece.start, piece.stop)
    table = read_rows(job.work / "kept.parquet", positions)
    # Numbers of labels, of which there may be thousands, go from table to table as they are.
    measured = [label.name for label in job.recipe.molecule_labels]
    rows = table.drop_columns(measured).to_pylist()
    molecules = []
    made = []  # places of these in the slice
    failed = []
    for position, row in enumerate(rows, piece.start):
        if position in piece.died:
            failed.append(row | _outcome("worker", DIED, ""))
            continue
        try:
            molecules.append(row | _conformer_columns(row, job.recipe))
            made.append(position - piece.start)
        except MoleculeError as failure:
            failed.append(row | _failure(failure))
        except FAULTS as error:
            failed.append(row | _unexpected("conformer", error))
    if write:
        _refuse_all_unexpected(failed if not molecules else [])
        failed_table = pa.Table.from_pylist(failed, DROPPED_SCHEMA)
        write_table(failed_table, job.slice_file("failed", piece.index))
        # The part comes last: it says that the slice is done.
        part = _table_of(
            molecules, job.schema(), table.select(measured).take(pa.array(made, pa.int64()))
        )
        write_table(part, job.slice_file("part", piece.index))


def _conformer_columns(row: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Geometry, arrays and computed labels of a molecule to keep."""
    arrays = molecule_arrays(row["smiles"])
    columns = {
        "n_atoms": len(arrays["numbers"]),
        "numbers": arrays["numbers"],
        "atom_feats": arrays["atom_feats"].ravel(),
        "bonds": arrays["bonds"].ravel(),
        "bond_feats": arrays["bond_feats"].ravel(),
        "parent": arrays["parent"],
    }
    if recipe.conformers.kind == "given":
        return columns | {"force_field": "none"}
    conformers = make_conformers(row["smiles"], recipe.conformers)
    first = conformers.first
    columns |= {
        "smiles_3d": first.smiles_3d,
        "coords": conformers.coords.ravel(),
        "n_conformers": len(conformers.coords),
        "embedded_by": first.embedded_by,
        "force_field": first.force_field,
        "converged": first.converged,
        "force_field_energy": first.energy,
    }
    if not recipe.needs_xtb():
        return columns
    try:
        computed = _xtb_columns(arrays, first)
    except UndefinedLabelError as error:
        return columns | {"missing": error.reason}
    return columns | {
        label.name: computed[label.computed] for label in recipe.labels if label.computed
    }


def _xtb_columns(arrays: dict[str, Any], conformer: Conformer) -> dict[str, Any]:
    """Every computed label by its name in recipes.

    Lists are in the stored order of atoms, bonds and pairs of heavy atoms.
    """
    xtb = xtb_labels(arrays["numbers"], conformer.coords, arrays["charge"], conformer.converged)
    labels: dict[str, Any] = {f"xtb.{name}": value for name, value in xtb.of_molecule().items()}
    begin, end = arrays["bonds"].T
    labels["xtb.charges"] = xtb.charges
    labels["xtb.bond_orders"] = xtb.bond_orders[begin, end]
    labels["xtb.pair_orders"] = xtb.bond_orders[np.triu_indices(arrays["n_heavy"], 1)]
    return labels


# ------------------------------------------------------------------------------ to Arrow


def _table_of(
    rows: list[dict[str, Any]], schema: pa.Schema, others: pa.Table | None = None
) -> pa.Table:
    """Rows as a table of this schema; columns that ``others`` has are taken from there."""
    columns = []
    for field in schema:
        if others is not None and field.name in others.column_names:
            columns.append(others.column(field.name).cast(field.type))
            continue
        values = [row.get(field.name) for row in rows]
        make = _list_array if pa.types.is_list(field.type) else pa.array
        columns.append(make(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _list_array(values: list, kind: pa.ListType) -> pa.Array:
    """Ragged numpy arrays as one Arrow column; None stays null.

    Arrow itself would make a Python object of every number.
    """
    dtype = kind.value_type.to_pandas_dtype()
    arrays = [np.asarray(() if value is None else value, dtype) for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    flat = np.concatenate([np.zeros(0, dtype), *arrays])
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=kind, mask=mask)
