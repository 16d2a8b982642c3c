"""Checks of shapes while tests run: signatures state them, and only tests evaluate them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "molnb"
# Rooms where all annotations are checked, not shapes alone. Elsewhere tests hand stand-ins (a
# namespace for shards) and wrong types on purpose (a number for a SMILES, to read the message).
FULLY_CHECKED = ["molnb.data", "molnb.models", "molnb.objectives"]


def install() -> None:
    """Check shapes in all modules imported from now on; nothing without jaxtyping and beartype."""
    try:
        import beartype  # noqa: F401
        from jaxtyping import install_import_hook
    except ImportError:
        return
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
