"""Checks of shapes while tests run: signatures state them, and only tests evaluate them.

Whether a call is as its signature says depends on the types, shapes and number formats of what goes
in and comes out, and on nothing else. So a call of which all these were seen before is not checked
again: training steps take a fifth less time.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Hashable
from functools import partial, update_wrapper, wraps
from pathlib import Path
from types import FunctionType
from typing import Any

LONGEST = 32  # things in a row that are looked at one by one; a call with more is always checked

PACKAGE = Path(__file__).resolve().parents[1] / "molnb"
# Rooms where all annotations are checked, not shapes alone. Elsewhere tests hand stand-ins (a
# namespace for shards) and wrong types on purpose (a number for a SMILES, to read the message).
FULLY_CHECKED = ["molnb.data", "molnb.models", "molnb.objectives"]


def install() -> None:
    """Check shapes in all modules imported from now on; nothing without jaxtyping and beartype."""
    try:
        import beartype  # noqa: F401
        import jaxtyping
        from jaxtyping import install_import_hook
    except ImportError:
        return
    # what the hooks put before each function, by this name
    jaxtyping.jaxtyped = partial(check_once, jaxtyping.jaxtyped)
    install_import_hook(modules_with_shapes(), typechecker="shape_checker.check_shapes")
    # the hook that is installed last is asked first
    install_import_hook(FULLY_CHECKED, typechecker="beartype.beartype")


def modules_with_shapes() -> list[str]:
    """The modules of molnb that import names of shapes."""
    return [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for file in sorted(PACKAGE.rglob("*.py"))
        if "shapes import" in file.read_text(encoding="utf-8")
    ]


def check_shapes(function: Callable) -> Callable:
    """The function with those of its annotations checked that state a shape."""
    from beartype import beartype

    function.__annotations__ = {
        name: annotation
        for name, annotation in function.__annotations__.items()
        if "jaxtyping" in repr(annotation)
    }
    return beartype(function)


def check_once(
    jaxtyped: Callable, function: Any = None, *, typechecker: Callable, **options: Any
) -> Any:
    """A function checked by jaxtyping where its types and shapes, in and out, are new to it."""
    if function is None:
        return partial(check_once, jaxtyped, typechecker=typechecker, **options)
    check = partial(jaxtyped, typechecker=typechecker, **options)
    if not inspect.isfunction(function) or _reads_values(function):
        return check(function)
    seen: dict[Hashable, set[Hashable]] = {}  # what came out, by what went in
    checked: list[Callable] = []  # made at the first call: most functions have none
    result = threading.local()

    def give_result(*args: Any, **kwargs: Any) -> Any:
        return result.value

    @wraps(function)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        if not checked:
            # annotations are read by the names of the function's own module
            given = FunctionType(
                give_result.__code__, function.__globals__, closure=give_result.__closure__
            )
            checked[:] = check(function), check(update_wrapper(given, function))
        came_in = describe(args), describe(kwargs) if kwargs else None
        known = seen.get(came_in)
        if known is None:
            returned = checked[0](*args, **kwargs)
            seen.setdefault(came_in, set()).add(describe(returned))
            return returned
        returned = function(*args, **kwargs)
        came_out = describe(returned)
        if came_out not in known:
            result.value = returned
            checked[1](*args, **kwargs)
            result.value = None
            known.add(came_out)
        return returned

    return remembering


def _reads_values(function: FunctionType) -> bool:
    """Whether a signature has a shape that depends on a value, as "{n}" does."""
    return any("{" in str(annotation) for annotation in function.__annotations__.values())


def describe(value: Any) -> Hashable:
    """All that a check of a value may look at: equal for two values that pass or fail alike."""
    kind = type(value)
    look = LOOKS.get(kind)
    if look is None:
        look = LOOKS[kind] = _look_at(kind)
    return look(value)


def _look_at(kind: type) -> Callable[[Any], Hashable]:
    """How values of a type are described."""
    if hasattr(kind, "shape") and hasattr(kind, "dtype"):
        return lambda value: (kind, value.shape, value.dtype)
    if issubclass(kind, str | type):  # of a choice of words, or a class by name
        return lambda value: (kind, value)
    if issubclass(kind, dict):
        return lambda value: (kind, describe(tuple(value.items())))
    if hasattr(kind, "_fields"):  # a record, which is checked by its class alone
        return lambda value: kind
    if issubclass(kind, tuple | list | set | frozenset):

        def look(value: Any) -> Hashable:
            # of more things than these no two are taken to be alike
            return (kind, *map(describe, value)) if len(value) <= LONGEST else object()

        return look
    return lambda value: kind


LOOKS: dict[type, Callable[[Any], Hashable]] = {}  # by the type of a value
