"""The format on disk: the contract between curation, which writes it, and training, which reads it.

A folder of shards holds
    manifest.json            what it is, where it came from, every count, the size and SHA-256 of
                             every file (written last)
    shards/part-*.parquet    one row a molecule, in the order of the source; units in the metadata
    derived.parquet          labels that depend on the training rows (row, value)
    splits.parquet           row, loose group, one column a split (0 train, 1 val, 2 test,
                             3 test_seen, -1 in no part)
    conflicts.parquet        labels on which rows of one molecule disagree: all values, the one kept
    dropped.parquet          every other row of the source with step, reason and detail
    arrays/*.npy             the same molecules as flat arrays with offsets, for training
Reading needs numpy and pyarrow alone.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError
from .files import file_digest, write_json, writing_array
from .locks import waiting_turn
from .mix_summary import mix_lines
from .paths import MANIFEST

FORMAT = "molnb-shards-2"
SPLIT_VALUES = ("train", "val", "test", "test_seen")
EVERY_SPLIT = SPLIT_VALUES[:3]  # the parts that a split is expected to have
LOOSE_KEYS = ("inchikey14", "tautomer_key")  # columns that stereoisomers and tautomers agree in
ARRAYS = "arrays"  # the folder of them
# How coordinates were embedded that are the source's own.
GIVEN = "given"
GIVEN_COMPLETED = "given, hydrogens placed"
GIVEN_PERCEIVED = "given, bonds perceived"
SHA256 = "sha256"  # key of a manifest: the digest of every file by its name
# What an added array has a row for; those of heavy atoms leave out hydrogens and their bonds.
ADDED_LEVELS = ("molecule", "atom", "bond", "heavy_atom", "heavy_bond")
ADDING = ".adding"  # the lock of a folder that arrays are added to
MOST_LABELS = 20  # of a task that a summary names
SMALL_BYTES = 1024  # an array file this small may hold nothing
UNKNOWN_CLASS = -1  # among class numbers, which are kept as int8, where NaN stands among others


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
    (
        "stereo_groups",
        pa.string(),
        "CXSMILES extension of `smiles`: & both isomers, o one of two, wU an axis; empty for none",
    ),
    ("removed", pa.string(), "SMILES of the removed fragments, joined by dots; empty for none"),
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
    (
        "coords",
        pa.list_(pa.float32()),
        "Å, x y z of each atom, of one conformer after another; centred, unless they were given",
    ),
    ("n_conformers", pa.int32(), "geometries of the molecule"),
    ("geometry_key", pa.string(), "tells given geometries apart; null where they were made"),
    (
        "embedded_by",
        pa.string(),
        "ETKDGv3, or distance geometry alone: without its knowledge of torsions, where that failed",
    ),
    ("force_field", pa.string(), ""),
    ("converged", pa.bool_(), "whether the force field reached a minimum"),
    ("force_field_energy", pa.float64(), "eV"),
    ("atom_feats", pa.list_(pa.uint8()), "13 an atom"),
    ("bonds", pa.list_(pa.uint16()), "2 a bond: heavy-heavy bonds first, then bonds to hydrogen"),
    ("bond_feats", pa.list_(pa.uint8()), "4 a bond"),
    ("parent", pa.list_(pa.uint16()), "the heavy atom whose label takes in this atom's"),
    ("missing", pa.string(), "why computed labels are absent"),
]


def part_schema(labels: list[dict], flags: list[str], texts: Sequence[str] = ()) -> pa.Schema:
    """Columns of a part: those that all have, the labels, the flags, texts kept from the source.

    A label of molecules is a number, one of atoms, bonds or pairs a list of numbers.
    """
    fields = [
        pa.field(name, kind, metadata={"about": meaning} if meaning else None)
        for name, kind, meaning in _PLAIN
    ]
    for label in labels:
        kind = pa.float64() if label["level"] == "molecule" else pa.list_(pa.float32())
        declared = ("unit", "quantity", "theory", "geometry", "level")
        metadata = {key: str(label[key]) for key in declared}
        fields.append(pa.field(label["name"], kind, metadata=metadata))
    fields += [pa.field(name, pa.bool_()) for name in flags]
    about = {"about": "text of the source, as it was written"}
    fields += [pa.field(name, pa.string(), metadata=about) for name in texts]
    return pa.schema(fields)


DROPPED_SCHEMA = pa.schema(
    [("row", pa.int64()), ("line", pa.int64()), ("id", pa.string()), ("input_smiles", pa.string()),
     ("step", pa.string()), ("reason", pa.string()), ("detail", pa.string())]
)  # fmt: skip

CONFLICTS = "conflicts.parquet"
CONFLICTS_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("smiles", pa.string()),
        ("label", pa.string()),
        ("kept", pa.float64()),
        ("values", pa.list_(pa.float64())),
        ("rows", pa.list_(pa.int64())),
        ("lines", pa.list_(pa.int64())),
    ]
)


class Shards:
    """Curated molecules on disk: a manifest, tables read on request, memory-mapped arrays."""

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self._arrays: dict[str, np.ndarray] = {}
        self._heavy_offsets: dict[str, np.ndarray] = {}

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
        tasks = ", ".join(self.tasks) or "none"
        return f"Shards({self.path.name}: {self.n:,} molecules, tasks: {tasks})"

    @property
    def tasks(self) -> dict[str, dict]:
        """Level, kind, loss and labels of every task."""
        return self.manifest["tasks"]

    @functools.cached_property
    def array_names(self) -> list[str]:
        """Names of all arrays."""
        files = map(PurePosixPath, self.manifest["files"])
        return [file.stem for file in files if file.parent.name == ARRAYS]

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All arrays by name, mapped into memory when first used."""
        return _Arrays(self)

    def array(self, name: str) -> np.ndarray:
        """One array by name, read-only, mapped into memory."""
        if name not in self._arrays:
            if name not in self.array_names:
                raise InputError(
                    f"{self.path} has no array '{name}'; it has: {', '.join(self.array_names)}"
                )
            self._arrays[name] = _map_array(self.path / ARRAYS / f"{name}.npy")
        return self._arrays[name]

    def array_level(self, name: str) -> str:
        """What an array added by `add_array` has a row for, one of `ADDED_LEVELS`."""
        levels = self.manifest.get("added_arrays", {})
        if name not in levels:
            raise InputError(
                f"{self.path}: the array {name!r} was not added to these shards, so nothing says "
                f"what it belongs to; added were {', '.join(levels) or 'none'} (shards.add_array)"
            )
        return levels[name]

    def offsets(self, level: str) -> np.ndarray:
        """Where the rows of each molecule begin in arrays of a level, and where the last end."""
        if level == "molecule":
            return np.arange(self.n + 1)
        if level not in ("heavy_atom", "heavy_bond"):
            return self.array(f"{level}_offset")
        if level not in self._heavy_offsets:
            count = self.array("n_heavy" if level == "heavy_atom" else "n_heavy_bond")
            ends = np.cumsum(count, dtype=np.int64)
            self._heavy_offsets[level] = np.concatenate([[0], ends])
        return self._heavy_offsets[level]

    @functools.cached_property
    def columns(self) -> list[str]:
        """Names of all columns of `table`."""
        return [*self._part_schema().names, *self._side_columns]

    @functools.cached_property
    def _side_columns(self) -> dict[str, str]:
        """Columns that lie in a file beside the parts, and which one."""
        files = {}
        for name in ("derived.parquet", "splits.parquet"):
            if name in self.manifest["files"]:
                names = pq.read_schema(self.path / name).names
                files |= {column: name for column in names if column != "row"}
        return files

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """The molecules in sample order, with these columns (default: all)."""
        columns = self.columns if columns is None else columns
        for name in columns:
            if name not in self.columns:
                raise InputError(
                    f"{self.path.name} has no column '{name}'; it has: {', '.join(self.columns)}"
                )
        in_parts = [name for name in columns if name not in self._side_columns] or ["row"]
        table = pa.concat_tables([pq.read_table(path, columns=in_parts) for path in self.parts()])
        for name in columns:
            if name in self._side_columns:
                side = pq.read_table(self.path / self._side_columns[name], columns=[name])
                table = table.append_column(side.schema.field(name), side.column(name))
        return table.select(columns)

    @property
    def schema(self) -> pa.Schema:
        """The type of every column of `table`."""
        sides = [pq.read_schema(self.path / name) for name in set(self._side_columns.values())]
        kinds = {field.name: field for schema in [*sides, self._part_schema()] for field in schema}
        return pa.schema([kinds[name] for name in self.columns])

    def rows(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        """Some columns of `table`, a dictionary a molecule, read in pieces."""
        sides = {name: self.path / self._side_columns[name] for name in self._side_columns}
        tables = [self.parts(), *([path] for path in dict.fromkeys(sides.values()))]
        for pieces in zip(*(_table_rows(paths, columns) for paths in tables), strict=True):
            row = {name: value for piece in pieces for name, value in piece.items()}
            yield {name: row[name] for name in columns}

    def dropped(self) -> pa.Table:
        """Every row of the source that is no molecule here, with step, reason and detail."""
        return pq.read_table(self.path / "dropped.parquet")

    def conflicts(self) -> pa.Table:
        """Labels on which rows of one molecule disagree: all values, and the one that is kept.

        `row` is that of the molecule; `kept` is null where no value is. Classes are numbers.
        """
        if CONFLICTS not in self.manifest["files"]:  # made before conflicts were listed
            return CONFLICTS_SCHEMA.empty_table()
        return pq.read_table(self.path / CONFLICTS)

    def smiles(self) -> list[str]:
        """The canonical isomeric SMILES, in sample order; read once."""
        return list(self._smiles)

    @functools.cached_property
    def _smiles(self) -> tuple[str, ...]:
        return tuple(self.table(["smiles"]).column(0).to_pylist())

    def summary(self) -> str:
        """What came in, what was kept, what was lost and why: the lines that curate prints."""
        return "\n".join(_summary(self.manifest, self.path))

    def parts(self) -> list[Path]:
        """The Parquet files that hold the molecules, in sample order."""
        return [
            self.path / name
            for name in sorted(self.manifest["files"])
            if name.startswith("shards/")
        ]

    def _part_schema(self) -> pa.Schema:
        return pq.read_schema(self.parts()[0])


class _Arrays(Mapping):
    """The arrays of shards by name, each opened when it is first used."""

    def __init__(self, shards: Shards):
        self._shards = shards

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._shards.array_names:
            raise KeyError(name)
        return self._shards.array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards.array_names)

    def __len__(self) -> int:
        return len(self._shards.array_names)


def _table_rows(paths: list[Path], columns: list[str]) -> Iterator[dict[str, Any]]:
    """Those of some columns that tables of the same kind have, row by row."""
    for path in paths:
        file = pq.ParquetFile(path)
        names = [name for name in columns if name in file.schema_arrow.names] or ["row"]
        for rows in file.iter_batches(1024, columns=names):
            yield from rows.to_pylist()


def _map_array(path: Path) -> np.ndarray:
    """An array mapped into memory, read-only; one without entries cannot be mapped and is read."""
    if path.stat().st_size < SMALL_BYTES:
        array = np.load(path, allow_pickle=False)
        if 0 in array.shape:
            return array
    return np.load(path, allow_pickle=False, mmap_mode="r")


def label_numbers(values: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    """Values of a task as they are kept, as numbers of a type of floats; NaN where unknown."""
    numbers = np.asarray(values).astype(dtype, copy=False)
    if values.dtype.kind == "i":
        numbers[values == UNKNOWN_CLASS] = np.nan
    return numbers


def add_array(shards: Shards, name: str, level: str, values: np.ndarray) -> Shards:
    """Keep one more array of molecules, atoms or bonds beside shards; a batch can then carry it.

    `values` has a row for each molecule, for each atom (hydrogens included, in the order of
    `numbers`) or for each bond (in the order of `bonds`), of any numeric type; at the levels
    "heavy_atom" and "heavy_bond" for heavy atoms and the bonds between them alone. Raises
    InputError for a name that is taken by what curation wrote, an unknown level, or another number
    of rows. An array that was added before is replaced. Processes that add at once take turns.
    """
    if level not in ADDED_LEVELS:
        raise InputError(f"unknown level {level!r}: choose one of {', '.join(ADDED_LEVELS)}")
    values = np.asarray(values)
    n_row = int(shards.offsets(level)[-1])
    if values.ndim == 0 or len(values) != n_row or values.dtype.kind not in "biuf":
        raise InputError(
            f"{name!r} has shape {list(values.shape)} and type {values.dtype}: an array of "
            f"{level.replace('_', ' ')}s of {shards.path.name} has {n_row:,} rows of numbers"
        )
    with adding_arrays(shards.path) as current:
        check_free(current, name)
        with writing_array(array_file(current, name), values.dtype, values.shape) as append:
            append(values)
        return enter_arrays(current, {name: level})


@contextlib.contextmanager
def adding_arrays(path: Path) -> Iterator[Shards]:
    """Yield the shards of a folder as they are now, while no other process adds arrays to them.

    Raises OSError for a folder that is read-only.
    """
    with waiting_turn(path / ADDING):
        yield load_shards(path)


def check_free(shards: Shards, name: str) -> None:
    """Raise InputError where curation wrote an array of a name, which nothing may replace."""
    if name in shards.array_names and name not in shards.manifest.get("added_arrays", {}):
        raise InputError(f"{shards.path} has an array {name!r} of its own: choose another name")


def array_file(shards: Shards, name: str) -> Path:
    """The file of an array."""
    return shards.path / ARRAYS / f"{name}.npy"


def enter_arrays(shards: Shards, levels: Mapping[str, str]) -> Shards:
    """The shards with arrays in their manifest whose files are there, by the level of each.

    Only for whoever is inside `adding_arrays`.
    """
    manifest = dict(shards.manifest)
    manifest["added_arrays"] = {**manifest.get("added_arrays", {}), **levels}
    files = {f"{ARRAYS}/{name}.npy": array_file(shards, name) for name in levels}
    sizes = {name: file.stat().st_size for name, file in files.items()}
    digests = {name: file_digest(file) for name, file in files.items()}
    manifest["files"] = {**manifest["files"], **sizes}
    manifest[SHA256] = {**manifest.get(SHA256, {}), **digests}
    write_json(manifest, shards.path / MANIFEST)
    return load_shards(shards.path)


def read_manifest(path: Path) -> dict[str, Any]:
    """What a folder says of its shards; its files are not looked at.

    Raises InputError when the folder holds no finished shards.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        unfinished = "an unfinished curation; run the same curate again to finish it"
        content = unfinished if (path / "work").exists() else "no shards"
        raise InputError(f"{path} has no {MANIFEST}: it holds {content}.") from None
    except ValueError as error:
        raise InputError(
            f"{path / MANIFEST} is damaged ({error}). Delete it and curate again."
        ) from None
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {manifest.get('format')}, this molnb reads {FORMAT}: curate again."
        )
    return manifest


def load_shards(path: str | os.PathLike) -> Shards:
    """Open curated molecules; every file must be there in full length.

    Raises InputError when the folder holds no finished shards, or a file is missing or cut short.
    """
    path = Path(path)
    manifest = read_manifest(path)
    for name, size in manifest["files"].items():
        try:
            size_on_disk = (path / name).stat().st_size
        except FileNotFoundError:
            raise InputError(f"{path / name} is missing. Delete {path} and curate again.") from None
        if size_on_disk != size:
            raise InputError(
                f"{path / name} has {size_on_disk:,} bytes, its manifest says {size:,}: it was cut "
                f"short or changed. Delete {path} and curate again."
            )
    return Shards(path, manifest)


def _summary(manifest: dict[str, Any], path: Path) -> Iterator[str]:
    n_row = manifest["n_sampled"]
    n_kept = manifest["n_kept"]
    sample = "" if n_row == manifest["n_source"] else f" (a sample of {manifest['n_source']:,})"
    yield f"{manifest['title']} [{path.name}]"
    yield f"  {n_row:,} rows{sample} = {n_kept:,} molecules + {manifest['n_dropped']:,} dropped"
    for step, reasons in manifest["dropped"].items():
        yield f"    {step}: " + _counted(reasons)
    if "mix" in manifest:
        yield from mix_lines(manifest["mix"])
    counts = manifest["counts"]
    made = f"{_counted(counts['force_field'])}, {counts['unconverged']:,} not converged"
    if set(counts.get("embedded_by", ())) <= {GIVEN, GIVEN_COMPLETED, GIVEN_PERCEIVED}:
        made = _counted(counts["embedded_by"])
    if counts.get("conformers", n_kept) != n_kept:
        made += f" ({counts['conformers']:,} of {n_kept:,} molecules)"
    yield (
        f"  conformers: {made}; {counts['undefined_stereo']:,} molecules with open stereo, "
        f"{counts['loose_duplicates']:,} loose duplicates"
    )
    if counts.get("stereo_groups"):
        yield f"  stereo beyond SMILES: {_counted(counts['stereo_groups'])} (molecules)"
    if counts.get("removed"):
        yield f"  removed fragments: {_counted(counts['removed'])} (molecules)"
    if set(counts.get("embedded_by", ())) - {"ETKDGv3", GIVEN, GIVEN_COMPLETED, GIVEN_PERCEIVED}:
        yield f"  embedded by: {_counted(counts['embedded_by'])}"
    if counts.get("given_coords_replaced"):
        yield (
            f"  coordinates of {counts['given_coords_replaced']:,} records were replaced by "
            "conformers made here"
        )
    if counts.get("repeated_join_keys"):
        yield (
            f"  joined table: {counts['repeated_join_keys']:,} of its rows repeat the key of an "
            "earlier one and are not used"
        )
    for name, task in manifest["tasks"].items():
        labels = ", ".join(map(_counted_label, task["labels"][:MOST_LABELS]))
        if len(task["labels"]) > MOST_LABELS:
            n_known = sum(label["known"] for label in task["labels"])
            n_more = len(task["labels"]) - MOST_LABELS
            labels += f" and {n_more:,} labels more, {n_known:,} values in all,"
        yield f"  {name} ({task['level']}): {labels} known of {n_kept:,}"
    for name, split in manifest["splits"].items():
        parts = parts_present(split)
        sizes = "/".join(f"{split[part]:,}" for part in parts)
        similarity = split["nn_similarity_median"]
        nearest = "test to nearest training molecule: median Tanimoto"
        yield f"  split {split_title(name, split)}: {sizes} {'/'.join(parts)}" + (
            "" if similarity is None else f", {nearest} {similarity:.2f}"
        )
    for notice in manifest.get("notices", []):
        yield f"  note: {notice}"
    if manifest["adopted_from"]:
        source = f"conformers and labels taken over from {manifest['adopted_from']}"
        yield f"  {manifest['seconds']['finish']:.1f} s; {source}"
    else:
        workers = manifest["workers"]
        workers = workers if isinstance(workers, str) else f"{workers} workers"
        yield f"  {sum(manifest['seconds'].values()):.1f} s with {workers}"


def parts_present(split: Mapping[str, Any]) -> list[str]:
    """The parts of a split's report: train, val, test, and test_seen where it has molecules."""
    return [part for part in SPLIT_VALUES if part in EVERY_SPLIT or split.get(part)]


def split_title(name: str, split: Mapping[str, Any]) -> str:
    """The name of a split, of clusters with the similarity that they were made by."""
    kind = split.get("kind")
    if kind not in ("butina", "cluster"):
        return name
    prefix = "" if kind == name else f"{kind}, "
    return f"{name} ({prefix}similarity {split['similarity']:g})"


def _counted_label(label: dict[str, Any]) -> str:
    """A label with the number of molecules that have it, or that are of each class."""
    if "class_counts" in label:
        classes = ", ".join(f"{name}: {n:,}" for name, n in label["class_counts"].items())
        return f"{label['name']} {label['known']:,} ({classes})"
    return f"{label['name']} [{label['unit']}] {label['known']:,}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
