"""Molecules without geometries: a source read, standardised and freed of duplicates.

This is curation up to its merge: the same slices on the same workers, restartable, nothing lost
silently. It costs about 3 ms a molecule and a core, where conformers and labels cost ten times that
and more, and is all that scaffolds need. Tables are made of the molecules in SQL, by DuckDB, out of
core.
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

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .. import paths
from ..errors import InputError
from ..files import write_json, write_table
from ..processes import Pool, count_cores
from ..recipes.mix_schema import Mix
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
from ..recipes.sources import find_source, recipe_for_file, stated_digest, with_source
from ..shards import Shards
from .chunks import Job
from .database import connect, parquet_table
from .passes import (
    READING,
    check_row_counts,
    count_reasons,
    merge_once,
    run_pass,
    take_snapshot,
    write_dropped,
)
from .pipeline import locked, refuse_counts, removed_if_refused
from .reuse import report_versions, versions

FEW = 400  # molecules that are read faster here than on workers that must start first


@dataclass(frozen=True)
class Molecules:
    """Distinct molecules of a source, with keys and scaffolds, and counts of what was lost."""

    name: str
    n: int  # molecules
    n_sampled: int  # rows that were read
    n_source: int  # rows there are
    dropped: dict[str, dict[str, int]]  # step -> reason -> rows
    # row, smiles, inchikey14, tautomer_key, scaffold; in memory or in Parquet files
    rows: pa.Table | tuple[Path, ...]

    def __repr__(self) -> str:
        return f"Molecules({self.name}: {self.summary()})"

    def summary(self) -> str:
        """Molecules, the rows they come from, and what was dropped by reason, in a line."""
        rows = f"{self.n_sampled:,}"
        if self.n_sampled != self.n_source:
            rows += f" of {self.n_source:,}"
        line = f"{self.n:,} molecules from {rows} rows"
        counts = count_reasons(self.dropped)
        if counts:
            line += "; dropped: " + ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
        return line


def load_molecules(
    corpus: str | os.PathLike | Recipe | Shards | Molecules | Sequence[str],
    source: str | os.PathLike | dict | None = None,
    n: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    home: str | os.PathLike | None = None,
    progress: bool = True,
    name: str | None = None,
) -> Molecules:
    """The molecules of a recipe, a file, shards, or a list of SMILES; read once, later only opened.

    ``source``, ``n``, ``workers``, ``cluster`` and ``home`` mean what they mean to `curate`;
    ``name`` names a list. Shards lack the molecules that got no conformer; reading their recipe
    again gives those too. A list is not kept on disk. Raises InputError for an unknown corpus and
    where no row becomes a molecule.
    """
    if isinstance(corpus, Molecules):
        return corpus
    refuse_counts(n, workers)
    if isinstance(corpus, Shards):
        return _of_shards(corpus)
    if not isinstance(corpus, str | os.PathLike | Recipe):
        return _of_list(list(corpus), name or "list", workers, progress)
    home = Path(home or paths.home())
    recipe = without_computed(with_source(_find_recipe(corpus), source))
    workers = count_cores() if workers is None else workers
    folder = _read_recipe(recipe, n, workers, cluster, home, progress)
    counts = _read_counts(folder)
    report_versions(counts.pop("versions"), folder)
    molecules = Molecules(recipe.name, **counts, rows=(folder / "molecules.parquet",))
    if progress:
        print(f"{molecules.name}: {molecules.summary()}")
    return molecules


def _of_shards(shards: Shards) -> Molecules:
    manifest = shards.manifest
    return Molecules(
        shards.name,
        shards.n,
        manifest["n_sampled"],
        manifest["n_source"],
        manifest["dropped"],
        rows=tuple(shards.parts()),
    )


def _find_recipe(corpus: str | os.PathLike | Recipe) -> Recipe:
    """A recipe as it is, by its name, or made for a file of one's own."""
    if isinstance(corpus, Recipe):
        return corpus
    is_recipe_file = str(corpus).endswith((".yaml", ".yml"))
    if str(corpus) in list_recipes() or is_recipe_file or not Path(corpus).is_file():
        recipe = load_recipe(corpus)  # which refuses an unknown name, with the nearest known one
        if isinstance(recipe, Mix):
            raise InputError(
                f"{corpus} is a mix of {', '.join(recipe.members)}: read the molecules of one of "
                "them, or curate the mix and give its shards"
            )
        return recipe
    return recipe_for_file(corpus)


# ---------------------------------------------------------------------------- reading a recipe


def _read_recipe(
    recipe: Recipe, n: int | None, workers: int, cluster: str | None, home: Path, progress: bool
) -> Path:
    """The folder of a recipe's molecules, which are read where they have not been before."""
    located = None
    sha256 = stated_digest(recipe)
    if sha256 is None:
        located = find_source(recipe, home, progress)
        sha256 = located.sha256
    all_rows = home / "data" / f"{recipe.name}-{molecules_id(recipe, sha256)}-molecules"
    use_all = n is None or _holds_all(all_rows, n)
    folder = all_rows if use_all else all_rows.with_name(f"{all_rows.name}-n{n}")
    if (folder / "molecules.json").exists():
        return folder
    located = located or find_source(recipe, home, progress)
    job = Job(folder, recipe)
    with locked(folder), removed_if_refused(job):
        counts = take_snapshot(job, located, n)
        _read_molecules(job, counts, workers, cluster, progress)
    if counts["sampled"] == counts["rows"] and not all_rows.exists():
        return folder.rename(all_rows)  # the sample was all of it
    return folder


def _holds_all(folder: Path, n: int) -> bool:
    """Whether all rows were read before, and are no more than n."""
    return (folder / "molecules.json").exists() and _read_counts(folder)["n_source"] <= n


def _read_counts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "molecules.json").read_text(encoding="utf-8"))


def _read_molecules(
    job: Job, counts: dict[str, Any], workers: int, cluster: str | None, progress: bool
) -> None:
    """Pass 1 and the merge of a curation.

    Leaves the molecules, the dropped rows, and ``molecules.json`` last.
    """
    with Pool(workers, cluster) as pool:
        run_pass(job, pool, READING, counts["sampled"], progress)
    n_kept = merge_once(job)["n_kept"]
    dropped = write_dropped(job)
    advice = "Is this the column of the structures?"
    check_row_counts(job.recipe.title, counts["sampled"], n_kept, dropped, advice)
    columns = ["row", "line", "id", "smiles", "inchikey14", "tautomer_key", "scaffold", "n_heavy"]
    molecules = pq.read_table(job.work / "kept.parquet", columns=columns)
    write_table(molecules, job.folder / "molecules.parquet")
    content = {
        "n": n_kept,
        "n_sampled": counts["sampled"],
        "n_source": counts["rows"],
        "dropped": dropped,
        "versions": versions(),
    }
    write_json(content, job.folder / "molecules.json")
    shutil.rmtree(job.work, ignore_errors=True)


# ------------------------------------------------------------------------------ reading a list


def _of_list(smiles: list, name: str, workers: int | None, progress: bool) -> Molecules:
    _refuse_no_smiles(smiles, name)
    many = len(smiles) > FEW
    if workers is None:
        workers = count_cores() if many else 0
    content = {"name": "list", "title": name, "licence": "not stated", "citation": "not stated"}
    recipe = make_recipe(content | {"source": {"kind": "file", "file": "list.smi"}}, name)
    rows = [
        {"row": i, "line": i + 1, "structure": text.strip() if isinstance(text, str) else None}
        for i, text in enumerate(smiles)
    ]
    snapshot = pa.Table.from_pylist(rows, snapshot_schema(recipe))
    with tempfile.TemporaryDirectory(prefix="molnb-") as folder:
        job = Job(Path(folder), recipe)
        job.work.mkdir()
        pq.write_table(snapshot, job.work / "source.parquet", row_group_size=ROWS_PER_GROUP)
        n_row = {"rows": len(rows), "sampled": len(rows)}
        _read_molecules(job, n_row, workers, None, progress and many)
        counts = _read_counts(job.folder)
        del counts["versions"]
        # Read, not mapped into memory: the folder goes away.
        with (job.folder / "molecules.parquet").open("rb") as file:
            return Molecules(name, **counts, rows=pq.read_table(file))


def _refuse_no_smiles(smiles: list, name: str) -> None:
    if not smiles:
        raise InputError(f"{name} is empty: 0 SMILES. Give at least one.")
    for position, text in enumerate(smiles):
        missing = text is None or isinstance(text, float) and math.isnan(text)
        if not missing and not isinstance(text, str):
            raise InputError(
                f"{name}: entry {position} is {text!r} ({type(text).__name__}), not a SMILES: "
                "give a list of str."
            )


# ------------------------------------------------------------------------------------- queries


def query_molecules(sql: str, **tables: Molecules | pd.DataFrame | pa.Table) -> pd.DataFrame:
    """The result of a query in SQL, in which molecules and tables bear the names given here.

    Molecules are read from their files as the query needs them, and DuckDB spills to disk what
    outgrows the memory.
    """
    return query_arrow(sql, **tables).to_pandas()


def query_arrow(sql: str, **tables: Molecules | pd.DataFrame | pa.Table) -> pa.Table:
    """The same result as an Arrow table, which is smaller and keeps integers with nulls."""
    con = connect(paths.home() / "data" / ".spill")
    try:
        for name, table in tables.items():
            rows = table.rows if isinstance(table, Molecules) else table
            if isinstance(rows, tuple):
                con.execute(f"CREATE VIEW {name} AS SELECT * FROM {parquet_table(con, rows)}")
            else:
                con.register(name, rows)
        return con.sql(sql).to_arrow_table()
    finally:
        con.close()
