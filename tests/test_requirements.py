"""Each room of the package imports what its extra brings, and the set-up files name the same."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable

import pytest
from requirements import EXTRAS, ROOT, core, everything, normal, packages_of
from test_house_style import (
    MODULES,
    NEEDS_GEOMETRIC,
    ORDER,
    TORCH_ONLY,
    imported_rooms,
    room,
)

INSTALLED_AS = {"yaml": "pyyaml", "sklearn": "scikit-learn"}
UNMENTIONED = {"shapes.py": {"jaxtyping"}}  # used where it is, and nothing is lost without it


def third_party(nodes: Iterable[ast.AST]) -> set[str]:
    """Packages that import statements need, beside Python and molnb."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names}
    tops -= {*sys.stdlib_module_names, "molnb"}
    return {normal(INSTALLED_AS.get(name, name)) for name in tops}


def extra_of_rooms() -> dict[str, str]:
    """The extra that each room needs, from the table in CONTRIBUTING.md; "" is the core."""
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in lines if line[:2] == "| "]
    column = next(cells.index("extra") for cells in rows if cells[1] == "folder")
    return {
        cells[1].rstrip("/"): cells[column]
        for cells in rows
        if cells[1].rstrip("/") in (*ORDER, "root")
    }


def test_every_room_has_an_extra() -> None:
    rooms = extra_of_rooms()
    assert set(rooms) == {*ORDER, "root"}
    assert set(rooms.values()) <= {"", *EXTRAS}
    assert {name for name in rooms if not rooms[name]} == {*TORCH_ONLY, "root", "commands"}


@pytest.mark.parametrize("name", ["root", *ORDER])
def test_modules_import_at_once_what_the_extra_of_their_room_brings(name: str) -> None:
    extra = extra_of_rooms()[name]
    brought = core() | (packages_of(extra) if extra else set())
    for path in MODULES:
        if room(path) == name:
            needed = third_party(ast.parse(path.read_text(encoding="utf-8")).body)
            here = brought | packages_of("gnn") if path in NEEDS_GEOMETRIC else brought
            assert needed <= here, f"{path.name}; the extra of {name} is {extra or 'none'}"


@pytest.mark.parametrize("name", ORDER[:-1])
def test_the_extra_of_a_room_is_enough_for_the_rooms_that_it_imports(name: str) -> None:
    """The last room has the commands, which say themselves what they need.

    So does the door to Graphium's numbers, whose features are made of SMILES.
    """
    extras = extra_of_rooms()
    doors = [ROOT / "molnb/models/graph/official.py"]
    paths = [path for path in MODULES if room(path) == name and path not in doors]
    rooms = set().union(*map(imported_rooms, paths))
    needed = set().union(*(packages_of(extras[other]) for other in rooms if extras[other]))
    assert needed <= (packages_of(extras[name]) if extras[name] else set())


@pytest.mark.parametrize("name", ["root", *ORDER])
def test_what_modules_import_anywhere_is_named_as_a_requirement(name: str) -> None:
    """Also what comes with another package: else nothing could say how to get it."""
    for path in MODULES:
        if room(path) == name:
            needed = third_party(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            needed -= UNMENTIONED.get(path.name, set())
            assert needed <= core() | packages_of("all"), path.name


def test_all_brings_what_every_extra_but_dev_brings() -> None:
    assert packages_of("all") == set().union(*(packages_of(e) for e in EXTRAS if e != "dev"))


def test_environment_yml_names_the_packages_of_pyproject() -> None:
    environment = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^      - ([A-Za-z][\w.-]*) +# \w", environment, flags=re.M)
    assert sorted(map(normal, listed)) == sorted(everything())


def test_constraints_pin_every_direct_dependency_without_a_local_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert everything() <= {normal(pin.partition("==")[0]) for pin in pins}


def test_the_ways_to_set_up_name_extras_that_there_are() -> None:
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile")}
    named = {
        extra
        for text in texts.values()
        for extras in re.findall(r"(?:\.|molnb|\.whl)\[([a-z,]+)\]|EXTRAS := (\S+)", text)
        for extra in ",".join(filter(None, extras)).split(",")
    }
    assert {"all", "dev"} <= named <= set(EXTRAS)
