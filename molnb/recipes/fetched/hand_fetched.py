"""Files that were fetched by hand lie in the folders of MOLNB_SOURCES, which are looked at first.

So a computer without a network runs the same recipes. A file is known by the name at the end of its
address, in a folder named like the recipe or beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlparse

from ...errors import InputError

VARIABLE = "MOLNB_SOURCES"


def source_folders() -> list[Path]:
    """The folders that MOLNB_SOURCES names; raises InputError where one is none."""
    names = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    folders = [Path(name).expanduser() for name in names]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"{VARIABLE} names {folder}, which is no folder: name the folder of the files that "
                f"you fetched by hand (several with '{os.pathsep}' between them), or unset it"
            )
    return folders


def name_at_end(address: str) -> str:
    """The name that an address gives its file: behind the last slash, or in what is asked for.

    ``https://.../download?path=%2F&files=a.tar.gz`` gives it the name a.tar.gz.
    """
    parts = urlparse(address)
    name = Path(unquote(parts.path)).name or "file"
    if Path(name).suffix:
        return name
    asked = [Path(value).name for _, value in parse_qsl(parts.query)]
    return next((value for value in asked if Path(value).suffix), name)


def find_hand_fetched(addresses: Iterable[str], recipe: str | None) -> Path | None:
    """The file of one of some addresses in the folders of MOLNB_SOURCES; None without any."""
    for folder in source_folders():
        for name in dict.fromkeys(map(name_at_end, addresses)):
            for path in _places(folder, name, recipe):
                if path.is_file():
                    return path
    return None


def advice_by_hand(address: str, recipe: str | None) -> str:
    """What to do where an address cannot be reached from this computer."""
    name = name_at_end(address)
    folders = source_folders()
    if folders:
        here = " or ".join(str(path) for path in _places(folders[0], name, recipe))
        return f"Fetch it by hand and put it at {here} (not there now)"
    below = f"{recipe}/{name} or " if recipe else ""
    return (
        f"Fetch it by hand into a folder of your choice, as {below}{name}, and name the folder in "
        f"{VARIABLE}"
    )


def _places(folder: Path, name: str, recipe: str | None) -> list[Path]:
    return [folder / recipe / name, folder / name] if recipe else [folder / name]
