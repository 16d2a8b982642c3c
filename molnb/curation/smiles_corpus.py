"""Molecules without geometries: a source read, standardised and freed of duplicates.

This is curation up to its merge: the same slices on the same workers, restartable, nothing lost
silently. It costs about 3 ms a molecule and a core, where conformers and labels cost ten times that
and more, and is all scaffolds need. Questions to them are asked in SQL and answered by DuckDB out
of core.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .. import paths as places
from ..errors import InputError
from ..files import write_json, write_table
from ..processes import Pool, count_cores
from ..recipes.readers.record import ROWS_PER_GROUP
from ..recipes.registry import (
    list_recipes,
    load_recipe,
    make_recipe,
    molecules_id,
    without_computed,
)
from ..recipes.schema import Recipe
from ..recipes.snapshot import snapshot_schema
from ..recipes.sources import find_source, recipe_for_file, with_source
from ..shards import Shards
from .chunks import Job, read_slice
from .deduplication import connect
from .pipeline import (
    alone,
    merge_once,
    run_pass,
    take_snapshot,
    untouched_if_refused,
    write_dropped,
)
from .reuse import report_versions, versions

FEW = 400  # molecules that are read faster here than on workers that must start first


@dataclass(frozen=True)
class Molecules:
    """Distinct molecules of a source, with their keys and scaffolds, and the count of what was
    lost on the way.
    """

    name: str
    n: int  # molecules
    n_sampled: int  # rows that were read
    n_source: int  # rows there are
    dropped: dict[str, dict[str, int]]  # step -> reason -> rows
    held: (
        pa.Table | tuple[Path, ...]
    )  # row, smiles, inchikey14, tautomer_key, scaffold; in Parquet files or in memory

    def __repr__(self) -> str:
        return f"Molecules({self.name}: {self.summary()})"

    def summary(self) -> str:
        """Molecules, the rows they come from, and what was dropped by reason, in a line."""
        of = (
            f"{self.n_sampled:,}"
            if self.n_sampled == self.n_source
            else f"{self.n_sampled:,} of {self.n_source:,}"
        )
        lost = {reason: count for found in self.dropped.values() for reason, count in found.items()}
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in lost.items())
        return f"{self.n:,} molecules from {of} rows" + (f"; dropped: {reasons}" if reasons else "")


def load_molecules(
    what: str | os.PathLike | Recipe | Shards | Molecules | Sequence[str],
    source: str | os.PathLike | dict | None = None,
    n: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    home: str | os.PathLike | None = None,
    progress: bool = True,
    name: str | None = None,
) -> Molecules:
    """The molecules of a recipe, of a file, of curated shards, or of a list of SMILES; read once,
    later only opened.

    ``source``, ``n``, ``workers``, ``cluster`` and ``home`` mean what they mean to `curate`;
    ``name`` names a list. Shards lack the molecules that got no conformer; reading their recipe
    again gives those too. A list is not kept on disk. Raises InputError for an unknown corpus and
    where no row becomes a molecule.
    """
    if isinstance(what, Molecules):
        return what
    if n is not None and n < 1:
        raise InputError(f"n={n}: a sample has at least 1 row; leave n out for all rows.")
    if isinstance(what, Shards):
        m = what.manifest
        files = tuple(what.path / name for name in sorted(m["files"]) if name.startswith("shards/"))
        return Molecules(what.name, what.n, m["n_sampled"], m["n_source"], m["dropped"], files)
    home = Path(home or places.home())
    if not isinstance(what, str | os.PathLike | Recipe):
        return _of_list(list(what), name or "list", workers, progress)
    recipe = without_computed(with_source(_find_recipe(what), source))
    found = find_source(recipe, home)
    whole = home / "data" / f"{recipe.name}-{molecules_id(recipe, found.sha256)}-molecules"
    folder = whole if n is None or _holds_all(whole, n) else whole.with_name(f"{whole.name}-n{n}")
    job = Job(folder, recipe)
    if not (folder / "molecules.json").exists():
        with alone(folder), untouched_if_refused(job):
            counts = take_snapshot(job, found, n)
            _read(job, counts, count_cores() if workers is None else workers, cluster, progress)
        if counts["sampled"] == counts["rows"] and not whole.exists():
            folder = folder.rename(whole)  # the sample was all of it
    about = json.loads((folder / "molecules.json").read_text(encoding="utf-8"))
    report_versions(about.pop("versions"), folder)
    molecules = Molecules(recipe.name, **about, held=(folder / "molecules.parquet",))
    if progress:
        print(f"{molecules.name}: {molecules.summary()}")
    return molecules


def _holds_all(folder: Path, n: int) -> bool:
    """Whether all rows were read before, and are no more than were asked for."""
    done = folder / "molecules.json"
    return done.exists() and json.loads(done.read_text(encoding="utf-8"))["n_source"] <= n


def _find_recipe(what: str | os.PathLike | Recipe) -> Recipe:
    """A recipe as it is, by its name, or made for a file of one's own."""
    if isinstance(what, Recipe):
        return what
    if (
        str(what) in list_recipes()
        or str(what).endswith((".yaml", ".yml"))
        or not Path(what).is_file()
    ):
        return load_recipe(what)  # which refuses an unknown name, with the nearest known one
    return recipe_for_file(what)


def _of_list(smiles: list, name: str, workers: int | None, progress: bool) -> Molecules:
    if not smiles:
        raise InputError(f"{name} is empty: 0 SMILES. Give at least one.")
    for place, one in enumerate(smiles):
        if not (one is None or isinstance(one, str) or isinstance(one, float) and math.isnan(one)):
            raise InputError(
                f"{name}: entry {place} is {one!r} ({type(one).__name__}), not a SMILES: give a list of str."
            )
    content = {"name": "list", "title": name, "licence": "not stated", "citation": "not stated"}
    recipe = make_recipe(content | {"source": {"kind": "file", "file": "list.smi"}}, name)
    with tempfile.TemporaryDirectory(prefix="molnb-") as folder:
        job = Job(Path(folder), recipe)
        rows = [
            {"row": i, "line": i + 1, "structure": one.strip() if isinstance(one, str) else None}
            for i, one in enumerate(smiles)
        ]
        job.work.mkdir()
        given = pa.Table.from_pylist(rows, snapshot_schema(recipe))
        pq.write_table(given, job.work / "source.parquet", row_group_size=ROWS_PER_GROUP)
        workers = workers if workers is not None else 0 if len(rows) <= FEW else count_cores()
        _read(
            job,
            {"rows": len(rows), "sampled": len(rows)},
            workers,
            None,
            progress and len(rows) > FEW,
        )
        about = json.loads((job.folder / "molecules.json").read_text(encoding="utf-8"))
        del about["versions"]
        with (job.folder / "molecules.parquet").open(
            "rb"
        ) as file:  # not mapped: the folder goes away
            return Molecules(name, **about, held=pq.read_table(file))


def _read(job: Job, counts: dict[str, Any], workers: int, cluster: str | None, shown: bool) -> None:
    """Pass 1 and the merge of a curation; leaves the molecules, the dropped rows, and
    ``molecules.json`` last.
    """
    with Pool(workers, cluster) as pool:
        run_pass(job, pool, read_slice, "read", counts["sampled"], 100, "reading", shown)
    n_kept = merge_once(job)["n_kept"]
    dropped = write_dropped(job)
    if n_kept + dropped["n"] != counts["sampled"]:
        raise RuntimeError(
            f"{counts['sampled']} rows became {n_kept} molecules + {dropped['n']} dropped"
        )
    if n_kept == 0:
        reasons = ", ".join(
            f"{r} {c:,}" for step in dropped["by_step"].values() for r, c in step.items()
        )
        raise InputError(
            f"0 of {counts['sampled']:,} rows of {job.recipe.title} became molecules ({reasons}): is this the column "
            "of the structures?"
        )
    columns = ["row", "line", "id", "smiles", "inchikey14", "tautomer_key", "scaffold", "n_heavy"]
    write_table(
        pq.read_table(job.work / "kept.parquet", columns=columns), job.folder / "molecules.parquet"
    )
    about = {
        "n": n_kept,
        "n_sampled": counts["sampled"],
        "n_source": counts["rows"],
        "dropped": dropped["by_step"],
    }
    write_json(about | {"versions": versions()}, job.folder / "molecules.json")
    shutil.rmtree(job.work, ignore_errors=True)


def query_molecules(sql: str, **tables: Molecules | pa.Table) -> pa.Table:
    """The answer to a question in SQL, in which molecules and tables have the names they are given
    here.

    Molecules are read from their files as the query needs them, and DuckDB spills to disk what
    outgrows the memory.
    """
    con = connect(places.home() / "data" / ".spill")
    try:
        for name, table in tables.items():
            held = table.held if isinstance(table, Molecules) else table
            if isinstance(held, pa.Table):
                con.register(name, held)
            else:
                files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in held)
                con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{files}])")
        return con.sql(sql).to_arrow_table()
    finally:
        con.close()
