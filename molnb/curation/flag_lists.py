"""Identifiers that a list names, for the flags of a recipe: read once, before rows are merged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..files import file_digest, write_json, write_table
from ..recipes.fetched.downloads import download
from ..recipes.label_schema import IdList
from ..recipes.readers.lines import read_lines
from ..recipes.schema import Recipe
from .chunks import Job
from .database import parquet_table, quoted

SCHEMA = pa.schema([("id", pa.string())])


def read_lists(job: Job) -> dict[str, dict[str, Any]]:
    """Write down the identifiers of each flag that a list makes; returns what was read, by flag.

    A list at a url that cannot be fetched leaves its flag unknown, where the user has replaced the
    source by a file of their own; else that is an error, as it is for the source.
    """
    finished = job.work / "flags.json"
    if finished.exists():
        return json.loads(finished.read_text(encoding="utf-8"))
    accounts: dict[str, dict[str, Any]] = {}
    for name, flag in job.recipe.flags.items():
        if flag.listed is None:
            continue
        try:
            ids = _identifiers(job, name, flag.listed)
        except InputError as error:
            if job.recipe.source.kind == "url" or flag.listed.url is None:
                raise
            accounts[name] = {"unknown": str(error)}
            continue
        spellings = {*ids, *(flag.listed.prefix + text for text in ids)}
        write_table(pa.table({"id": sorted(spellings)}, SCHEMA), _list_file(job, name))
        accounts[name] = {"listed": len(ids)}
    if accounts:
        job.work.mkdir(parents=True, exist_ok=True)
        write_json(accounts, finished)
    return accounts


def _list_file(job: Job, name: str) -> Path:
    """Where the identifiers of a flag lie while the rows are merged."""
    return job.work / "flags" / f"{list(job.recipe.flags).index(name)}.parquet"


def flag_columns(
    con: duckdb.DuckDBPyConnection, job: Job, values: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Each flag and the SQL that is true for the rows it marks; ``values``: the SQL of a label."""
    for number, (name, flag) in enumerate(job.recipe.flags.items()):
        if flag.listed is None:
            listed = ", ".join(map(repr, flag.equals))
            yield name, f"coalesce({values[flag.label]} IN ({listed}), false)"
        elif not _list_file(job, name).exists():
            yield name, "CAST(NULL AS BOOLEAN)"
        else:
            con.register(f"listed_{number}", pq.read_table(_list_file(job, name)))
            yield name, f"coalesce(d.id IN (SELECT id FROM listed_{number}), false)"


def count_marked(con: duckdb.DuckDBPyConnection, recipe: Recipe, kept: Path) -> dict[str, int]:
    """How many molecules to keep each flag marks."""
    if not recipe.flags:
        return {}
    counts = ", ".join(f"count_if({quoted(name)})" for name in recipe.flags)
    query = f"SELECT {counts} FROM {parquet_table(con, [kept])}"
    return dict(zip(recipe.flags, con.execute(query).fetchall()[0], strict=True))


def flag_notices(recipe: Recipe, molecules: dict[str, Any]) -> Iterator[str]:
    """That the flag of a list marks so many molecules, or none, or is unknown."""
    for name, account in molecules.get("flags", {}).items():
        n_marked = molecules["marked"][name]
        if "unknown" in account:
            yield (
                f"flag '{name}' is unknown, no row says yes or no: its list could not be fetched "
                f"({account['unknown']})"
            )
        elif n_marked:
            yield (
                f"flag '{name}' marks {n_marked:,} molecules "
                f"({recipe.flags[name].why}): they are kept"
            )
        else:
            yield f"flag '{name}' marks no molecule; its list names {account['listed']:,}"


def _identifiers(job: Job, name: str, listed: IdList) -> set[str]:
    """The identifiers of a list; InputError for a list without any, or not of the stated number."""
    path = _list_path(job, listed)
    pattern = re.compile(listed.pattern)
    lines = list(read_lines(path))
    matches = map(pattern.match, lines[listed.head : len(lines) - listed.foot])
    ids = {match[1] for match in matches if match is not None and match[1]}
    if not ids:
        raise InputError(
            f"{path}: no line holds an identifier as pattern '{listed.pattern}' says, which flag "
            f"'{name}' needs. Is it the right file?"
        )
    if listed.n is not None and len(ids) != listed.n:
        raise InputError(
            f"{path} names {len(ids):,} identifiers where the recipe states {listed.n:,} for flag "
            f"'{name}': it is damaged, or another file. Take the key n out of 'listed' if it is "
            "meant."
        )
    return ids


def _list_path(job: Job, listed: IdList) -> Path:
    """The file of a list, fetched where it is at a url."""
    if listed.url is not None:
        home = job.folder.parent.parent  # shards lie in home/data/
        return download(listed.url, listed.sha256, home / "downloads", recipe=job.recipe.name)
    path = job.recipe.folder / listed.file
    path = path if path.exists() else Path(listed.file)
    if not path.is_file():
        raise InputError(f"There is no file {path} (the list of a flag); name another in 'listed'.")
    if listed.sha256 is not None and file_digest(path) != listed.sha256:
        raise InputError(f"{path} has another SHA-256 than the recipe states: {listed.sha256}.")
    return path
