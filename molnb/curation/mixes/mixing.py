"""Mix -> shards: its members curated, each as by itself, then joined into one folder.

The folder is read as any other. Members stay folders of their own, so that another mix, or an
interrupted one, finds them again; the join is written anew until its manifest is there.
"""

from __future__ import annotations

import datetime
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from ... import paths
from ...files import check_folder, write_json, write_table
from ...processes import count_cores
from ...recipes.mix_members import member_recipes, member_sources
from ...recipes.mix_schema import Mix
from ...recipes.registry import mix_id
from ...shards import SHA256, Shards, load_shards
from ..arrays import write_arrays
from ..manifest import file_digests, file_sizes
from ..pipeline import curate, load_finished, locked
from ..reuse import versions
from .mix_columns import SPLIT, join_columns, join_tasks
from .mix_files import MixFiles
from .mix_manifest import describe_mix
from .mix_parts import write_derived, write_lost, write_parts
from .mix_plan import MemberRows, make_plan


def curate_mix(mix: Mix, source: Any, home: Path, progress: bool, **options: Any) -> Shards:
    """The shards of a mix: its members curated with these options of `curate`, and joined.

    ``source`` is None, or a dictionary of what replaces members' sources. Raises InputError for
    members that cannot be curated.
    """
    sources = member_sources(mix, source)
    recipes = member_recipes(mix)
    start = time.monotonic()
    shards = {
        name: curate(recipe, sources.get(name), home=home, progress=progress, **options)
        for name, recipe in recipes.items()
    }
    seconds = {"members": round(time.monotonic() - start, 3)}
    ids = {name: member.manifest["recipe_id"] for name, member in shards.items()}
    identity = {"recipe_id": mix_id(mix, ids), "n_asked": options["n"]}
    sample = "" if options["n"] is None else f"-n{options['n']}"
    folder = home / "data" / f"{mix.name}-{identity['recipe_id']}{sample}"
    if (folder / paths.MANIFEST).exists():
        return load_finished(folder, progress)
    check_folder(folder)
    members = _member_rows(mix, shards)
    with locked(folder):
        _remove_unfinished(folder)
        manifest = identity | {"workers": _workers(options)} | join_members(mix, members, folder)
        seconds["join"] = round(time.monotonic() - start - seconds["members"], 3)
        manifest["seconds"] = seconds
        manifest["files"] = file_sizes(folder)
        manifest[SHA256] = file_digests(folder, manifest["files"])
        write_json(manifest, folder / paths.MANIFEST)
        shutil.rmtree(folder / "work", ignore_errors=True)
    joined = load_shards(folder)
    if progress:
        print(joined.summary())
    return joined


def join_members(mix: Mix, members: list[MemberRows], folder: Path) -> dict[str, Any]:
    """Write every file of a mix but its manifest, which is returned, without id and sizes."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    columns = join_columns(members)
    tasks = join_tasks(members, columns)
    plan = make_plan(members, folder / "work" / "spill", mix.leaks == "drop")
    files = MixFiles(folder, members, columns, plan)
    parts = write_parts(files)
    write_derived(files)
    write_lost(files)
    sides = plan.samples.select(["row", "group"])
    side = plan.samples.column("side").cast(pa.int8())
    write_table(sides.append_column(f"split_{SPLIT}", side), folder / "splits.parquet")
    manifest = describe_mix(mix, files, tasks, parts)
    described = [
        {"name": task.name, "labels": list(task.labels), **task.declared} for task in tasks
    ]
    write_arrays(parts, described, set(manifest["fits"]), [SPLIT], folder)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return manifest | {
        "molecules_id": None,  # nothing takes a mix's molecules over: they are its members'
        "versions": versions(),
        "created": created,
    }


def _member_rows(mix: Mix, shards: dict[str, Shards]) -> list[MemberRows]:
    """The members with the split that counts and the number of their first row."""
    members = []
    first_row = 0
    for name, member in shards.items():
        split = mix.members[name].split
        # A file of the user's may be without the published one, which the member's notices say.
        if split not in member.manifest["splits"]:
            split = member.manifest["default_split"]
        members.append(MemberRows(name, member, split, first_row))
        first_row += member.manifest["n_source"]
    return members


def _remove_unfinished(folder: Path) -> None:
    """Delete what an interrupted join has left."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _workers(options: dict[str, Any]) -> int | str:
    if options["cluster"] is not None:
        return options["cluster"]
    return count_cores() if options["workers"] is None else options["workers"]
