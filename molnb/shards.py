"""The format on disk: Parquet parts to share, flat memory-mapped arrays to train from, a manifest
that counts all.

A folder of shards holds
    manifest.json            what it is, where it came from, every count, the size of every file; written last
    shards/part-*.parquet    one row a molecule, in the order of the source; units in the field metadata
    derived.parquet          labels that depend on the training rows (row, value)
    splits.parquet           row, loose group, one column a split (0 train, 1 val, 2 test)
    dropped.parquet          every other row of the source with step, reason and detail
    arrays/*.npy             the same molecules as flat arrays with offsets, for training
Reading needs numpy and pyarrow alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError

FORMAT = "molnb-shards-1"
SPLIT_VALUES = ("train", "val", "test")


# ------------------------------------------------------------------------------------------------------- schema

_PLAIN = [
    ("row", pa.int64(), "row of the source, 0-based"),
    ("line", pa.int64(), "line of the source the row starts on, 1-based"),
    ("id", pa.string(), "identifier in the source"),
    ("input_smiles", pa.string(), "as in the source; null for a mol block"),
    (
        "smiles",
        pa.string(),
        "canonical isomeric SMILES of the neutral parent; the order of all atoms below",
    ),
    ("smiles_3d", pa.string(), "the isomer that the conformer is"),
    ("inchikey14", pa.string(), "first block of the InChIKey"),
    ("tautomer_key", pa.string(), "tautomer-insensitive key"),
    ("scaffold", pa.string(), "Murcko scaffold without stereo; empty for acyclic molecules"),
    ("n_heavy", pa.int32(), ""),
    ("n_atoms", pa.int32(), "hydrogens included"),
    ("charge", pa.int32(), "e"),
    ("undefined_stereo", pa.int32(), "centres and double bonds left open"),
    ("cleared_isotopes", pa.int32(), "atoms that lost an isotope label"),
    ("atom_order", pa.list_(pa.uint16()), "index in the input of each heavy atom"),
    (
        "numbers",
        pa.list_(pa.uint8()),
        "atomic numbers: heavy atoms in SMILES order, then hydrogens",
    ),
    ("coords", pa.list_(pa.float32()), "Å, x y z of each atom, centred"),
    ("force_field", pa.string(), ""),
    ("converged", pa.bool_(), "whether the force field reached a minimum"),
    ("force_field_energy", pa.float64(), "eV"),
    ("atom_feats", pa.list_(pa.uint8()), "9 an atom"),
    ("bonds", pa.list_(pa.uint16()), "2 a bond: heavy-heavy bonds first, then bonds to hydrogen"),
    ("bond_feats", pa.list_(pa.uint8()), "3 a bond"),
    ("parent", pa.list_(pa.uint16()), "the heavy atom whose label takes in this atom's"),
    ("missing", pa.string(), "why computed labels are absent"),
]
COLUMNS = tuple(name for name, _, _ in _PLAIN)


def part_schema(labels: list[dict], flags: list[str]) -> pa.Schema:
    """Columns of a part: the fixed ones, the labels (a number, or a list an atom, bond or pair),
    the flags.
    """
    fields = [
        pa.field(name, kind, metadata={"about": about} if about else None)
        for name, kind, about in _PLAIN
    ]
    for label in labels:
        kind = pa.float64() if label["level"] == "molecule" else pa.list_(pa.float32())
        about = {
            key: str(label[key]) for key in ("unit", "quantity", "theory", "geometry", "level")
        }
        fields.append(pa.field(label["name"], kind, metadata=about))
    return pa.schema(fields + [pa.field(name, pa.bool_()) for name in flags])


DROPPED_SCHEMA = pa.schema(
    [("row", pa.int64()), ("line", pa.int64()), ("id", pa.string()), ("input_smiles", pa.string()),
     ("step", pa.string()), ("reason", pa.string()), ("detail", pa.string())]
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------ reading


class Shards:
    """Curated molecules on disk: their manifest, tables read when asked for, and memory-mapped
    arrays.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self._arrays: dict[str, np.ndarray] = {}

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.manifest["name"]

    @property
    def n(self) -> int:
        """Number of molecules."""
        return self.manifest["n_kept"]

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"Shards({self.path.name}: {self.n:,} molecules, tasks: {', '.join(self.tasks) or 'none'})"

    @property
    def tasks(self) -> dict[str, dict]:
        """Level, kind, loss and labels of every task."""
        return self.manifest["tasks"]

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All arrays by name, mapped into memory when first used."""
        return _Arrays(self)

    def array(self, name: str) -> np.ndarray:
        """One array by name, read-only, mapped into memory."""
        if name not in self._arrays:
            path = self.path / "arrays" / f"{name}.npy"
            if f"arrays/{name}.npy" not in self.manifest["files"]:
                raise InputError(
                    f"{self.path} has no array '{name}'; it has: {', '.join(self.arrays)}"
                )
            empty = (
                0 in np.load(path, allow_pickle=False, mmap_mode=None).shape
                if path.stat().st_size < 1024
                else False
            )
            self._arrays[name] = np.load(path, allow_pickle=False, mmap_mode=None if empty else "r")
        return self._arrays[name]

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """The molecules as a table, in sample order: parts, derived labels and splits side by
        side.
        """
        extra = {}
        for name in ("derived", "splits"):
            if f"{name}.parquet" in self.manifest["files"]:
                for field in pq.read_schema(self.path / f"{name}.parquet"):
                    if field.name != "row":
                        extra[field.name] = name
        known = self._part_schema().names
        wanted = [*known, *extra] if columns is None else columns
        for name in wanted:
            if name not in known and name not in extra:
                raise InputError(
                    f"{self.path.name} has no column '{name}'; it has: {', '.join([*known, *extra])}"
                )
        stored = [name for name in wanted if name in known] or ["row"]
        table = pa.concat_tables([pq.read_table(path, columns=stored) for path in self._parts()])
        for name in wanted:
            if name in extra:
                other = pq.read_table(self.path / f"{extra[name]}.parquet", columns=[name])
                table = table.append_column(other.schema.field(name), other.column(name))
        return table.select(wanted)

    def dropped(self) -> pa.Table:
        """Every row of the source that is no molecule here, with step, reason and detail."""
        return pq.read_table(self.path / "dropped.parquet")

    def smiles(self) -> list[str]:
        """The canonical isomeric SMILES, in sample order."""
        return self.table(["smiles"]).column(0).to_pylist()

    def summary(self) -> str:
        """What came in, what was kept, what was lost and why: the lines that curate prints."""
        return "\n".join(_summary(self.manifest, self.path))

    def _parts(self) -> list[Path]:
        return [
            self.path / name
            for name in sorted(self.manifest["files"])
            if name.startswith("shards/")
        ]

    def _part_schema(self) -> pa.Schema:
        return pq.read_schema(self._parts()[0])


class _Arrays(Mapping):
    """The arrays of shards by name, opened when asked for."""

    def __init__(self, shards: Shards):
        self._shards = shards

    def __getitem__(self, name: str) -> np.ndarray:
        if f"arrays/{name}.npy" not in self._shards.manifest["files"]:
            raise KeyError(name)
        return self._shards.array(name)

    def __iter__(self) -> Iterator[str]:
        files = self._shards.manifest["files"]
        return (name[7:-4] for name in files if name.startswith("arrays/"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load_shards(path: str | os.PathLike) -> Shards:
    """Open curated molecules; every file must be there in full length.

    Raises InputError when the folder holds no finished shards, or a file is missing or cut short.
    """
    path = Path(path)
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = (
            "an unfinished curation; run the same curate again to finish it"
            if (path / "work").exists()
            else "no shards"
        )
        raise InputError(f"{path} has no manifest.json: it holds {what}.") from None
    except ValueError as error:
        raise InputError(
            f"{path / 'manifest.json'} is damaged ({error}). Delete it and curate again."
        ) from None
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {manifest.get('format')}, this molnb reads {FORMAT}: curate again."
        )
    for name, size in manifest["files"].items():
        try:
            there = (path / name).stat().st_size
        except FileNotFoundError:
            raise InputError(f"{path / name} is missing. Delete {path} and curate again.") from None
        if there != size:
            raise InputError(
                f"{path / name} has {there:,} bytes, its manifest says {size:,}: it was cut short or changed. "
                f"Delete {path} and curate again."
            )
    return Shards(path, manifest)


def _summary(m: dict[str, Any], path: Path) -> Iterator[str]:
    of = "" if m["n_sampled"] == m["n_source"] else f" (a sample of {m['n_source']:,})"
    yield f"{m['title']} [{path.name}]"
    yield f"  {m['n_sampled']:,} rows{of} = {m['n_kept']:,} molecules + {m['n_dropped']:,} dropped"
    for step, reasons in m["dropped"].items():
        yield f"    {step}: " + ", ".join(
            f"{reason} {count:,}" for reason, count in reasons.items()
        )
    counts = m["counts"]
    fields = ", ".join(f"{name} {n:,}" for name, n in counts["force_field"].items())
    yield (
        f"  conformers: {fields}, {counts['unconverged']:,} not converged; "
        f"{counts['undefined_stereo']:,} molecules with open stereo, {counts['loose_duplicates']:,} loose duplicates"
    )
    if counts.get("repeated_join_keys"):
        yield (
            f"  {counts['repeated_join_keys']:,} rows of the joined table repeat a key and were "
            "not used"
        )
    for name, task in m["tasks"].items():
        known = ", ".join(f"{x['name']} [{x['unit']}] {x['known']:,}" for x in task["labels"])
        yield f"  {name} ({task['level']}): {known} known of {m['n_kept']:,}"
    for name, split in m["splits"].items():
        sizes = "/".join(f"{split[part]:,}" for part in SPLIT_VALUES)
        near = split["nn_similarity_median"]
        similar = (
            ""
            if near is None
            else f", test to nearest training molecule: median Tanimoto {near:.2f}"
        )
        yield f"  split {name}: {sizes} train/val/test{similar}"
    if m["adopted_from"]:
        yield f"  {m['seconds']['finish']:.1f} s; conformers and labels taken over from {m['adopted_from']}"
    else:
        who = m["workers"] if isinstance(m["workers"], str) else f"{m['workers']} workers"
        yield f"  {sum(m['seconds'].values()):.1f} s with {who}"
