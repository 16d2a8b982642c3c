"""A configuration with fields replaced by name, from Python or the command line."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from ..errors import InputError, did_you_mean

Record = TypeVar("Record")  # a dataclass, such as RunConfig


def change(config: Record, changes: Mapping[str, Any]) -> Record:
    """A configuration with fields replaced.

    Dotted names reach into its parts; text is read as the type of what it replaces.
    """
    for key, value in changes.items():
        config = _replace_in(config, key.split("."), value, key)
    return config


def read_setting(config: Any, key: str) -> Any:
    """The value that a setting has, by the name that `change` knows it by."""
    name, _, rest = key.partition(".")
    if isinstance(config, Mapping):
        return config.get(key)  # names of tasks or settings may have dots of their own
    value = getattr(config, name)
    return read_setting(value, rest) if rest else value


def _replace_in(record: Any, path: list[str], value: Any, key: str) -> Any:
    name = path[0]
    names = [f.name for f in fields(record)]
    if name not in names:
        raise InputError(
            f"unknown setting {key!r}{did_you_mean(name, names)}: {type(record).__name__} has "
            f"{', '.join(names)}"
        )
    old = getattr(record, name)
    declared = next(f.type for f in fields(record) if f.name == name)
    if len(path) == 1:
        new = _as_type(value, old, key)
        if new is None and "None" not in str(declared):
            raise InputError(
                f"setting {key!r} cannot be None: give a {type(old).__name__}, like {old!r}"
            )
        return replace(record, **{name: new})
    if isinstance(old, Mapping):
        item = ".".join(path[1:])  # names of tasks or settings, which may have dots of their own
        # weights by name are numbers; what is declared as any object is read where it is used
        holds_numbers = "object" not in str(declared)
        changed = _as_type(value, 1.0, key) if holds_numbers else value
        return replace(record, **{name: {**old, item: changed}})
    if not is_dataclass(old):
        raise InputError(f"setting {key!r}: {name} has no parts")
    return replace(record, **{name: _replace_in(old, path[1:], value, key)})


def _as_type(value: Any, old: Any, key: str) -> Any:
    """A value as the type of the one it replaces.

    1 becomes 1.0 where a float stands; text from a command line is read as a Python literal, where
    several names stand as names with commas between them.
    """
    if isinstance(value, str) and not isinstance(old, str):
        value = "None" if value.lower() == "none" else value
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            pass  # a name, such as a split, where the default is None
    if old is None or value is None:
        return value
    if isinstance(old, Mapping) and isinstance(value, str):
        return _as_shares(value, key)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is int and _holds_integers(old):
        return (value,)  # one number where several may stand
    if isinstance(old, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(old, tuple) and isinstance(value, str):
        return tuple(name.strip() for name in value.split(","))
    if isinstance(old, bool) != isinstance(value, bool) or not isinstance(value, type(old)):
        raise InputError(f"setting {key!r} is {value!r}: give a {type(old).__name__}, like {old!r}")
    return value


def _holds_integers(old: Any) -> bool:
    """Whether a value is whole numbers in a row: there may be more or fewer of them."""
    return isinstance(old, tuple) and bool(old) and all(type(number) is int for number in old)


def _as_shares(text: str, key: str) -> dict[str, float]:
    """Numbers by name, as in ``nci=3,wehi=1``."""
    shares = {}
    for pair in text.split(","):
        name, _, number = pair.rpartition("=")
        try:
            shares[name.strip()] = float(number)
        except ValueError:
            name = ""
        if not name.strip():
            raise InputError(f"setting {key!r} is {text!r}: write numbers by name, as nci=3,wehi=1")
    return shares
