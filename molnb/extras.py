"""Packages beyond the core, and which extra of molnb brings them; read from its metadata."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata

# Packages that are not installed under the name they are imported by.
_INSTALLED_AS = {"yaml": "pyyaml", "sklearn": "scikit-learn"}


def require(*modules: str) -> None:
    """Raise ModuleNotFoundError for the first of these modules that is not installed.

    For a command that needs a whole extra: else the first import that fails names a smaller one.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def how_to_install(module: str) -> str:
    """The command that installs a module, by the name it is imported under."""
    name = module.partition(".")[0]
    package = _normal(_INSTALLED_AS.get(name, name))
    extra = _extra_of(package)
    wanted = f"'molnb[{extra}]'" if extra else package
    return f"pip install {wanted}"


def explain_missing(error: ModuleNotFoundError) -> str:
    """What is needed and how to get it, in a line; empty where a module of molnb's is missing."""
    if not error.name or error.name.partition(".")[0] == "molnb":
        return ""
    return f"needs {error.name}: {how_to_install(error.name)}"


def _extra_of(package: str) -> str | None:
    """The smallest extra that brings a package; None for what the core brings, or nothing does."""
    extras = packages_of_extras()
    bringing = [name for name in extras if package in extras[name]]
    return min(bringing, key=lambda name: (len(extras[name]), name), default=None)


def packages_of_extras() -> dict[str, set[str]]:
    """The packages that each extra brings, by the names they are installed under."""
    try:
        requirements = metadata.requires("molnb") or []
    except metadata.PackageNotFoundError:  # a checkout on the path, not installed
        requirements = []
    extras: dict[str, set[str]] = {}
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([\w.-]+)['\"]", requirement)
        if extra:
            package = re.match(r"[\w.-]+", requirement)[0]
            extras.setdefault(extra[1], set()).add(_normal(package))
    return extras


def _normal(package: str) -> str:
    """A package's name as it is compared: `torch_geometric` is `torch-geometric`."""
    return re.sub(r"[-_.]+", "-", package).lower()
