"""Names of a package that are imported on first use: to import the package costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


class NamesOnFirstUse:
    """What a package whose `globals()` are the namespace takes as its `__getattr__` and so on.

    `modules` has below each module of the package the names that it defines, spaces between.
    """

    def __init__(self, namespace: dict[str, Any], modules: Mapping[str, str]):
        self.namespace = namespace
        self.package = namespace["__name__"]
        self.module_of = {
            name: module for module, names in modules.items() for name in names.split()
        }

    def find(self, name: str) -> Any:
        """`__getattr__`: what a module defines under this name, imported now.

        Raises ModuleNotFoundError, saying how to install it, for a package that is not there.
        """
        if name not in self.module_of:
            raise AttributeError(f"module {self.package!r} has no attribute {name!r}")
        try:
            module = import_module(f".{self.module_of[name]}", self.package)
        except ModuleNotFoundError as error:
            from .extras import explain_missing

            explanation = explain_missing(error)
            if not explanation:
                raise
            message = f"{self.package}.{name} {explanation}"
            raise ModuleNotFoundError(message, name=error.name) from error
        attribute = getattr(module, name)
        self.namespace[name] = attribute  # the next use does not ask again
        return attribute

    def listing(self) -> list[str]:
        """`__dir__`: names that are there, and those that would be imported."""
        return sorted({*self.namespace, *self.module_of})
