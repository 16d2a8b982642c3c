"""Parameters of a notebook: those that its cell tagged `parameters` declares, and values for them.

A line there reads ``lr: float = 1e-3  # peak learning rate``. Types: int, float, str, bool, None,
list, tuple, dict, Literal, with `|` and `[...]` as in Python; without an annotation the default's
own type counts. The cell is parsed, never run. (papermill reads parameters too, but passes over
`int | None`, and over defaults with a `#` or `=` in them, such as SMILES.)
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ..errors import InputError, did_you_mean

SIZES = ("test", "tour", "full")
# What an annotation may be made of. A path is given to the notebook as text.
TYPES = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "Path": str,
    "Any": Any,
}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; `type` and `default` as written."""

    name: str
    type: str
    default: str
    meaning: str


def read_parameters(path: str | Path) -> dict[str, Parameter]:
    """Parameters of a notebook in their order; empty where no cell is tagged `parameters`."""
    source = _parameters_cell(path)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    parameters = {}
    for line in ast.parse(source).body:
        if isinstance(line, ast.AnnAssign) and line.value is not None:
            name = ast.unparse(line.target)
            annotation = ast.unparse(line.annotation)
        elif isinstance(line, ast.Assign) and len(line.targets) == 1:
            name = ast.unparse(line.targets[0])
            annotation = _type_of_default(line.value)
        else:
            continue
        default = ast.unparse(line.value)
        parameters[name] = Parameter(name, annotation, default, comments.get(line.end_lineno, ""))
    return parameters


def _parameters_cell(path: str | Path) -> str:
    """Source of the first cell tagged `parameters`, empty where there is none."""
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError):
        raise InputError(
            f"{path} is not a notebook (JSON with cells): give a path to an .ipynb file"
        ) from None
    tagged = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    return "".join(next(tagged, {"source": ""})["source"])


def _type_of_default(default: ast.expr) -> str:
    """Type of a default without annotation; "Any" where the default does not tell."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return "Any"
    return "Any" if value is None else type(value).__name__


def check_parameters(path: str | Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in the types the notebook declares; text, as a command line gives it, is converted.

    Refuses names the notebook does not have and values that do not fit. `1e-4` is a float here,
    although YAML 1.1 and with it papermill's parameter files read it as text.
    """
    declared = read_parameters(path)
    notebook = Path(path).name
    checked = {}
    for name, value in values.items():
        if name not in declared:
            nearest = did_you_mean(name, declared)
            raise InputError(
                f"{notebook} has no parameter {name!r}{nearest}: "
                f"it has {', '.join(declared) or 'none'}"
            )
        checked[name] = _check(notebook, declared[name], value)
    return checked


def _check(notebook: str, parameter: Parameter, value: Any) -> Any:
    """A value in the type of its parameter; raises InputError where it does not fit."""
    name = parameter.name
    try:
        adapter = TypeAdapter(_annotation(ast.parse(parameter.type, mode="eval").body))
    except (ValueError, TypeError, PydanticUserError):
        raise InputError(
            f"{notebook}: the type of {name}, {parameter.type}, is not made of "
            f"{', '.join(TYPES)}, Literal and None: declare it with these"
        ) from None
    try:
        fit = _fit_text if isinstance(value, str) else _fit
        checked = fit(value, adapter)
    except (ValueError, TypeError, SyntaxError):
        meaning = f" ({parameter.meaning})" if parameter.meaning else ""
        raise InputError(
            f"{notebook}: {name} = {value!r} is not of type {parameter.type}{meaning}: "
            f"give a value like the default, {parameter.default}"
        ) from None
    if name == "size" and checked not in SIZES:
        raise InputError(
            f"{notebook}: size = {value!r} is not one of {', '.join(SIZES)}: choose one of them"
        )
    return checked


def _annotation(node: ast.expr) -> Any:
    """The type that an annotation says; raises ValueError where it is not made of TYPES.

    Walks over the syntax instead of evaluating it, so that no code of a notebook runs.
    """
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_annotation(left), _annotation(right)]  # noqa: UP007 (also of None and Any)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[ast.literal_eval(choices)]
        case ast.Subscript(value=container, slice=ast.Tuple(elts=items)):
            return _annotation(container)[tuple(_item_type(item) for item in items)]
        case ast.Subscript(value=container, slice=item):
            return _annotation(container)[_item_type(item)]
    raise ValueError(f"{ast.unparse(node)} is not made of {', '.join(TYPES)}")


def _item_type(node: ast.expr) -> Any:
    """The type of the items of a container; `...` as in tuple[int, ...]."""
    if isinstance(node, ast.Constant) and node.value is ...:
        return ...
    return _annotation(node)


def _fit(value: Any, adapter: TypeAdapter) -> Any:
    """A value in the type of an adapter; raises ValueError where it does not fit."""
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        if not isinstance(value, list):
            raise
        return adapter.validate_python(tuple(value), strict=True)  # YAML and JSON have no tuples


def _fit_text(text: str, adapter: TypeAdapter) -> Any:
    """Text of a command line in the type of an adapter; raises ValueError or SyntaxError."""
    if text.lower() in ("none", "null"):
        try:
            return _fit(None, adapter)
        except ValidationError:
            pass  # a word like any other
    try:
        return adapter.validate_strings(text)
    except ValidationError:
        return _fit(ast.literal_eval(text), adapter)  # a container, written as in Python
