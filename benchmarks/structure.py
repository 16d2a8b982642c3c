"""Prints the shape of the package, read from its syntax trees: sizes, imports, names, docstrings.

    python benchmarks/structure.py               this checkout
    python benchmarks/structure.py ../other      another one, to compare

Nothing is imported or run. An import counts if the module cannot be loaded without it: not inside
a function, and not under `if TYPE_CHECKING`.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = "molnb"
COLUMNS = 100
# variables whose names say nothing of what they hold
VAGUE = set("found one mine there here known asked given at place kept said own".split())
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class Module(NamedTuple):
    """A module: its dotted name, that of the package it lies in, its lines and its syntax tree."""

    name: str
    package: str
    lines: list[str]
    tree: ast.Module


def read_modules(checkout: Path) -> list[Module]:
    """All modules of the package in a checkout."""
    modules = []
    for path in sorted((checkout / PACKAGE).rglob("*.py")):
        package = path.parent.relative_to(checkout).parts
        name = package if path.stem == "__init__" else (*package, path.stem)
        text = path.read_text(encoding="utf-8")
        module = Module(".".join(name), ".".join(package), text.splitlines(), ast.parse(text))
        modules.append(module)
    return modules


def imported(module: Module, names: set[str]) -> set[str]:
    """Which of the package's modules this one cannot be loaded without."""
    needed = set()
    for node in run_on_import(module.tree):
        if isinstance(node, ast.Import):
            needed |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.package.split(".")
            parents = parents[: len(parents) + 1 - node.level] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            # `from package import name`: a module of the package, or a name in its __init__
            submodules = {f"{source}.{alias.name}" for alias in node.names} & names
            needed |= submodules or {source}
    return needed & names - {module.name}


def run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Everything of a module that is outside functions and not for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not for_types and not isinstance(child, FUNCTION):
            yield child
            yield from run_on_import(child)


def longest_chain(modules: list[Module]) -> list[str]:
    """The longest chain of modules of which each imports the next; a circle if there is one."""
    names = {module.name for module in modules}
    needed = {module.name: imported(module, names) for module in modules}
    chains: dict[str, list[str]] = {}
    try:
        for name in TopologicalSorter(needed).static_order():
            below = [chains[other] for other in sorted(needed[name])]
            chains[name] = [name, *max(below, key=len, default=[])]
    except CycleError as error:
        return error.args[1][::-1]
    return max(sorted(chains.values()), key=len)


def find_public(node: ast.AST) -> Iterator[ast.AST]:
    """Functions and methods with neither an underscore before their name nor their class's."""
    for child in ast.iter_child_nodes(node):
        if not getattr(child, "name", "_").startswith("_"):
            if isinstance(child, FUNCTION):
                yield child
            elif isinstance(child, ast.ClassDef):
                yield from find_public(child)


def vague_names(function: ast.AST) -> set[str]:
    """Parameters and variables of a function that say nothing of what they hold."""
    nodes = list(ast.walk(function))
    stores = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    parameters = [n for n in nodes if isinstance(n, ast.arg)]
    return ({n.id for n in stores} | {n.arg for n in parameters}) & VAGUE


def is_parallel(node: ast.Assign) -> bool:
    """Whether several values are given to several names at once, as in `a, b = 1, 2`."""
    return isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Tuple)


def share(n: int, total: int) -> str:
    """A count of a total, with the share in per cent."""
    return f"{n:,} of {total:,} ({n / max(total, 1):.1%})"


def describe(modules: list[Module]) -> Iterator[str]:
    """The report on a package, line by line."""
    nodes = [node for module in modules for node in ast.walk(module.tree)]
    folders = Counter(".".join(module.package.split(".")[1:2]) or "root" for module in modules)
    listed = ", ".join(f"{folder} {n}" for folder, n in sorted(folders.items()))
    yield f"modules      {len(modules)}: {listed}"
    lines = [line for module in modules for line in module.lines]
    n_long = sum(len(line) > COLUMNS for line in lines)
    yield f"lines        {share(n_long, len(lines))} over {COLUMNS} columns"
    yield f"statements   {sum(isinstance(node, ast.stmt) for node in nodes):,}"
    functions = [node for node in nodes if isinstance(node, FUNCTION)]
    lengths = [function.end_lineno - function.lineno + 1 for function in functions]
    n_line = max(lengths)
    longest = functions[lengths.index(n_line)].name
    median = statistics.median(lengths)
    yield f"functions    {len(lengths):,}: median {median:g} lines, longest {n_line} ({longest})"
    vague = [names for names in map(vague_names, functions) if names]
    words = Counter(word for names in vague for word in names)
    listed = ", ".join(f"{word} {n}" for word, n in words.most_common()) or "none"
    yield f"vague names  {share(len(vague), len(functions))} functions: {listed}"
    assignments = [node for node in nodes if isinstance(node, ast.Assign)]
    parallel = [node for node in assignments if is_parallel(node)]
    yield f"assignments  {share(len(parallel), len(assignments))} parallel tuples"
    public = [function for module in modules for function in find_public(module.tree)]
    documented = list(filter(ast.get_docstring, public))
    yield f"docstrings   {share(len(documented), len(public))} public functions"
    chain = longest_chain(modules)
    kind = "circle" if chain[0] in chain[1:] else "longest chain"
    yield f"imports      {kind} of {len(set(chain))}: {' > '.join(chain)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument(
        "checkout", type=Path, nargs="?", default=root, help="folder of a clone (default: this one)"
    )
    checkout = parser.parse_args().checkout
    modules = read_modules(checkout)
    if not modules:
        print(f"{checkout} holds no package {PACKAGE}: give the root of a clone", file=sys.stderr)
        return 2
    print("\n".join(describe(modules)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
