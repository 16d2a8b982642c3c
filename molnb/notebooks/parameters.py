"""Parameters of a notebook: what its cell tagged `parameters` declares, and whether given values
fit.

A line there reads ``lr: float = 1e-3  # peak learning rate``. Types: int, float, str, bool, None,
list, tuple, dict, with `|` and `[...]` as in Python; without an annotation the default's own type
counts.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

SIZES = ("test", "tour", "full")
_CONTAINERS = {"list": list, "tuple": tuple, "dict": dict}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; `type` and `default` as written."""

    name: str
    type: str
    default: str
    meaning: str


def read_parameters(path: str | Path) -> dict[str, Parameter]:
    """Parameters of a notebook in their order; empty where no cell is tagged `parameters`."""
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError):
        raise InputError(
            f"{path} is not a notebook (JSON with cells): give a path to an .ipynb file"
        ) from None
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    source = "".join(tagged[0]["source"]) if tagged else ""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            name, kind = ast.unparse(node.targets[0]), _type_of(node.value)
        else:
            continue
        found[name] = Parameter(
            name, kind, ast.unparse(node.value), comments.get(node.end_lineno, "")
        )
    return found


def _type_of(default: ast.expr) -> str:
    """Type of a default without annotation; "Any" where it does not tell."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return "Any"
    return "Any" if value is None else type(value).__name__


def check_parameters(path: str | Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values in the types the notebook declares; text, as a command line gives it, is
    converted.

    Refuses names the notebook does not have and values that do not fit. `1e-4` is a float here,
    although YAML 1.1 and with it papermill's parameter files read it as text.
    """
    known = read_parameters(path)
    return {name: _check(Path(path).name, known, name, value) for name, value in given.items()}


def _check(notebook: str, known: Mapping[str, Parameter], name: str, value: Any) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
        raise InputError(f"{notebook} has no parameter {name!r}: {hint}")
    declared = known[name]
    try:
        value = _fit(value, ast.parse(declared.type, mode="eval").body)
    except (ValueError, TypeError, SyntaxError):
        meaning = f" ({declared.meaning})" if declared.meaning else ""
        raise InputError(
            f"{notebook}: {name} = {value!r} is not of type {declared.type}{meaning}: "
            f"give a value like the default, {declared.default}"
        ) from None
    if name == "size" and value not in SIZES:
        raise InputError(
            f"{notebook}: size = {value!r} is not one of {', '.join(SIZES)}: choose one of them"
        )
    return value


def _fit(value: Any, kind: ast.expr) -> Any:
    """The value in a type given as syntax; raises ValueError or TypeError where it does not fit."""
    if isinstance(kind, ast.BinOp):  # A | B; None first, since every text also fits str
        sides = sorted((kind.left, kind.right), key=lambda side: ast.unparse(side) != "None")
        try:
            return _fit(value, sides[0])
        except (ValueError, TypeError, SyntaxError):
            return _fit(value, sides[1])
    name = ast.unparse(kind.value if isinstance(kind, ast.Subscript) else kind)
    if name in _CONTAINERS:
        return _fit_container(value, name, kind)
    if name == "None":
        return _one_of(value, {None: None, "none": None, "null": None})
    if name == "bool":
        return _one_of(value, {True: True, False: False, "true": True, "false": False})
    if (
        name in ("int", "float")
        and isinstance(value, bool)
        or name == "int"
        and isinstance(value, float)
    ):
        raise TypeError
    if name in ("int", "float"):
        return int(value) if name == "int" else float(value)
    if name in ("str", "Path") and not isinstance(value, str):
        raise TypeError
    return value


def _one_of(value: Any, words: Mapping[Any, Any]) -> Any:
    key = value.lower() if isinstance(value, str) else value
    for word, meaning in words.items():
        if key == word and type(key) is type(word):
            return meaning
    raise ValueError


def _fit_container(value: Any, name: str, kind: ast.expr) -> Any:
    value = ast.literal_eval(value) if isinstance(value, str) else value
    if name == "tuple" and isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, _CONTAINERS[name]):
        raise TypeError
    if isinstance(kind, ast.Subscript) and name != "dict":
        item = kind.slice.elts[0] if isinstance(kind.slice, ast.Tuple) else kind.slice
        return type(value)(_fit(one, item) for one in value)
    return value
