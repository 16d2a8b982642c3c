"""Checks of shapes while tests run: signatures state them, and only tests evaluate them.

Whether a call is as its signature says depends on the types, shapes and number formats of what goes
in and comes out, and on nothing else. So a call of which all these were seen before is not checked
again: training steps take a fifth less time.
"""

from __future__ import annotations

import inspect
import re
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
    if inspect.isfunction(function) and not states_shape(function):
        # most functions, among them those that are called most often; one within another is made
        # anew at each call, and its check would take longer to make than a training step
        is_inner = "<locals>" in function.__qualname__
        return function if is_inner or typechecker is check_shapes else typechecker(function)
    check = partial(jaxtyped, typechecker=typechecker, **options)
    if not inspect.isfunction(function) or _reads_values(function):
        return check(function)
    memory = _memory_of(function)

    @wraps(function)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        if not memory.checks:
            memory.checks[:] = _make_checks(check, function, memory.current)
        came_in = describe(args), describe(kwargs) if kwargs else None
        known = memory.seen.get(came_in)
        if known is None:
            memory.current.function = function
            returned = memory.checks[0](*args, **kwargs)
            memory.seen.setdefault(came_in, set()).add(describe(returned))
            return returned
        returned = function(*args, **kwargs)
        came_out = describe(returned)
        if came_out not in known:
            memory.current.result = returned
            memory.checks[1](*args, **kwargs)
            memory.current.result = None
            known.add(came_out)
        return returned

    return remembering


def states_shape(function: FunctionType) -> bool:
    """Whether an annotation of a function names a type of jaxtyping, or what stands for one."""
    for annotation in function.__annotations__.values():
        if not isinstance(annotation, str):
            named = [annotation]
        else:  # of a module whose annotations are not evaluated
            words = re.findall(r"[A-Za-z_]\w*", annotation)
            named = [function.__globals__.get(word) for word in words]
        if any("jaxtyping" in repr(value) for value in named):
            return True
    return False


class Memory:
    """What is known of a function, or of all functions that a function makes within itself."""

    def __init__(self):
        self.seen: dict[Hashable, set[Hashable]] = {}  # what came out, by what went in
        self.checks: list[Callable] = []  # made at the first call: most functions have none
        self.current = threading.local()  # the `function` that is called, or its `result`


MEMORIES: dict[Hashable, Memory] = {}  # of functions within functions, which are made at each call


def _memory_of(function: FunctionType) -> Memory:
    """A memory of its own, but for functions that differ in nothing that their checks look at."""
    if "<locals>" not in function.__qualname__:
        return Memory()
    defaults = describe(function.__defaults__), describe(function.__kwdefaults__)
    return MEMORIES.setdefault((function.__code__, *defaults), Memory())


def _make_checks(
    check: Callable, function: FunctionType, current: threading.local
) -> tuple[Callable, Callable]:
    """The checked function, and a check of what it was given beside what it has returned."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return current.function(*args, **kwargs)

    def give_result(*args: Any, **kwargs: Any) -> Any:
        return current.result

    def checked(stand_in: FunctionType) -> Callable:
        # annotations are read by the names of the function's own module
        code = stand_in.__code__
        stand_in = FunctionType(code, function.__globals__, closure=stand_in.__closure__)
        return check(update_wrapper(stand_in, function))

    return checked(call), checked(give_result)


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
