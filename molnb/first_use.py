"""Names of a package that are imported on first use: to import the package costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_on_first_use(
    namespace: dict[str, Any], modules: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """`__all__`, `__getattr__` and `__dir__` of a package, whose `globals()` are the namespace.

    `modules` has below it each module and the names that it defines, spaces between. A name whose
    module needs a package that is not installed raises ModuleNotFoundError that says how to.
    """
    package = namespace["__name__"]
    module_of = {name: module for module, names in modules.items() for name in names.split()}

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(f".{module_of[name]}", package)
        except ModuleNotFoundError as error:
            from .extras import explain_missing

            explanation = explain_missing(error)
            if not explanation:
                raise
            message = f"{package}.{name} {explanation}"
            raise ModuleNotFoundError(message, name=error.name) from error
        value = getattr(module, name)
        namespace[name] = value
        return value

    return list(module_of), find, lambda: sorted({*namespace, *module_of})
