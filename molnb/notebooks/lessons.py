"""The lessons that come with molnb, and copies to work in, which are never replaced unasked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..files import check_output, writing
from ..paths import shipped_folder

NOTEBOOKS = shipped_folder("notebooks")
_NUMBERED = "[0-9][0-9]_*.ipynb"


def list_notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """The numbered lessons, in order."""
    return sorted(folder.glob(_NUMBERED))


class Copies(NamedTuple):
    """What became of each lesson, named by its path in the folder."""

    folder: Path
    copied: list[str]
    equal: list[str]  # there already
    different: list[str]  # there, and not as it comes with molnb: left alone


def copy_lessons(folder: str | os.PathLike, force: bool = False) -> Copies:
    """Copy lessons and solutions into a folder; what differs there is replaced with `force` only.

    All places are tried before anything is written: InputError where one cannot be.
    """
    copies = Copies(Path(folder), [], [], [])
    lessons = [*list_notebooks(), *list_notebooks(NOTEBOOKS / "solutions")]
    places = {
        lesson: check_output(copies.folder / lesson.relative_to(NOTEBOOKS), force=True)
        for lesson in lessons
    }
    for lesson, place in places.items():
        name = lesson.relative_to(NOTEBOOKS).as_posix()
        content = lesson.read_bytes()
        if place.exists() and place.read_bytes() == content:
            copies.equal.append(name)
        elif place.exists() and not force:
            copies.different.append(name)
        else:
            with writing(place) as partial:
                partial.write_bytes(content)
            copies.copied.append(name)
    return copies
