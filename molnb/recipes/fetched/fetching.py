"""All files of a recipe, fetched without curating them: for a login node that has the network.

Of a mix the files of all members. What is fetched is what `curate` would fetch, at the same place.
"""

from __future__ import annotations

import os
from pathlib import Path

from ... import paths
from ...texts import readable_bytes
from ..mix_members import member_recipes
from ..mix_schema import Mix
from ..registry import load_recipe
from ..schema import Recipe
from ..sources import (
    join_path,
    remote_join,
    remote_parts,
    source_parts,
    source_path,
)
from .addresses import is_address
from .digests import remembered_digest
from .downloads import (
    DOWNLOADS,
    FetchedFile,
    RemoteFile,
    announce_parts,
    get_file,
)


def fetch(
    recipe: str | os.PathLike | Recipe | Mix,
    home: str | os.PathLike | None = None,
    progress: bool = True,
) -> list[FetchedFile]:
    """Every file of a recipe or a mix on this computer: its source, joined table, split files.

    What lies elsewhere is fetched into ``downloads/`` of ``home`` (MOLNB_HOME, or here) unless it
    is there, or in a folder of MOLNB_SOURCES. Raises InputError where a file cannot be had, or is
    not the one expected; what was fetched before it stays.
    """
    home = Path(home or paths.home())
    files: dict[Path, FetchedFile] = {}
    for member in each_recipe(recipe):
        announce_parts(remote_parts(member), member.source.bytes, home / DOWNLOADS)
        for remote in _remote_files(member):
            file = get_file(remote, home / DOWNLOADS, progress)
            files.setdefault(file.path, file)
        for path in _local_files(member):
            if path.is_file() and path not in files:
                digest = remembered_digest(path, home)
                files[path] = FetchedFile(path, path.stat().st_size, digest, "local")
    return list(files.values())


def describe_files(files: list[FetchedFile]) -> str:
    """A line a file: size, where it is from, SHA-256 and path; then how many there are."""
    lines = [
        f"{readable_bytes(file.n_byte):>10}  {file.origin:<15}  {file.sha256}  {file.path}"
        for file in files
    ]
    n_new = sum(file.origin == "fetched now" for file in files)
    total = readable_bytes(sum(file.n_byte for file in files))
    named = "1 file" if len(files) == 1 else f"{len(files):,} files"
    return "\n".join([*lines, f"{named}, {total}; {n_new:,} fetched now"])


def each_recipe(recipe: str | os.PathLike | Recipe | Mix) -> list[Recipe]:
    """The recipes of a mix, with what it changes in each; a recipe itself."""
    loaded = load_recipe(recipe) if isinstance(recipe, str | os.PathLike) else recipe
    return list(member_recipes(loaded).values()) if isinstance(loaded, Mix) else [loaded]


def _remote_files(recipe: Recipe) -> list[RemoteFile]:
    """What a recipe has elsewhere."""
    remotes = remote_parts(recipe)
    join = recipe.source.join
    if join is not None and is_address(join.file):
        remotes.append(remote_join(recipe.source, recipe.name))
    for split in recipe.splits.values():
        if split.url is not None:
            remotes.append(RemoteFile(split.url, (), split.sha256, None, recipe.name))
    for flag in recipe.flags.values():
        if flag.listed is not None and flag.listed.url is not None:
            listed = flag.listed
            remotes.append(RemoteFile(listed.url, (), listed.sha256, None, recipe.name))
    return remotes


def _local_files(recipe: Recipe) -> list[Path]:
    """What a recipe has on this computer from the start."""
    source = recipe.source
    files = []
    if source.kind != "url":
        files = [source_path(part, recipe.folder) for part in source_parts(source)]
    if source.join is not None and source.join.file and not is_address(source.join.file):
        files.append(join_path(source, recipe.folder))
    return files
