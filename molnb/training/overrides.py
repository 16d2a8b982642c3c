"""A configuration with fields replaced by name, from Python or the command line."""

from __future__ import annotations

import ast
import difflib
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ..errors import InputError
from .config import RunConfig


def change(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """A configuration with fields replaced; dotted names reach into its parts, text is read as
    the field's type.
    """
    for key, value in changes.items():
        config = _replace_in(config, key.split("."), value, key)
    return config


def _replace_in(record: Any, path: list[str], value: Any, key: str) -> Any:
    names = [f.name for f in fields(record)]
    if path[0] not in names:
        raise InputError(
            f"unknown setting {key!r}{_nearest(path[0], names)}: {type(record).__name__} has {', '.join(names)}"
        )
    old = getattr(record, path[0])
    if len(path) > 1:
        if not is_dataclass(old):
            raise InputError(f"setting {key!r}: {path[0]} has no parts")
        return replace(record, **{path[0]: _replace_in(old, path[1:], value, key)})
    return replace(record, **{path[0]: _as_type(value, old, key)})


def _as_type(value: Any, old: Any, key: str) -> Any:
    """A value as the type of the one it replaces: 1 for 1.0, text from a command line read as a
    Python literal.
    """
    if isinstance(value, str) and not isinstance(old, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            pass  # a name, such as a split, where the default is None
    if isinstance(old, bool) != isinstance(value, bool) and old is not None:
        raise InputError(f"setting {key!r} is {value!r}: give a {type(old).__name__}, like {old!r}")
    if isinstance(old, float) and isinstance(value, int):
        return float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        return tuple(value)
    if old is not None and value is not None and not isinstance(value, type(old)):
        raise InputError(f"setting {key!r} is {value!r}: give a {type(old).__name__}, like {old!r}")
    return value


def _nearest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
