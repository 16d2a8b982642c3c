"""Encodings kept beside shards: computed once, in pieces, and read by every run after that.

An encoding of heavy atoms has rows for heavy atoms, or bonds between them, alone. With hydrogens it
is another one of another graph, and lies beside it under its own name.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import InputError
from ...files import writing_array
from ...progress import Progress
from ...shards import Shards, adding_arrays, array_file, check_free, enter_arrays
from .catalogue import check_names, encode_all, parse

MOLECULES_AT_ONCE = 8192


def stored_name(name: str, hydrogens: bool) -> str:
    """The name of the array that an encoding is kept in."""
    return f"{name}_all_atoms" if hydrogens else name


def stored_level(name: str, hydrogens: bool) -> str:
    """What that array has a row for."""
    level = parse(name).level
    return level if hydrogens else f"heavy_{level}"


def is_stored(shards: Shards, name: str, hydrogens: bool) -> bool:
    """Whether shards keep an encoding. Raises InputError where another array has its name."""
    array = stored_name(name, hydrogens)
    if array not in shards.array_names:
        return False
    level = shards.manifest.get("added_arrays", {}).get(array)
    shape = shards.array(array).shape[1:]
    width = parse(name).width
    if level != stored_level(name, hydrogens) or shape != (width,):
        raise InputError(
            f"{shards.path} has an array {array!r} that is no encoding (level {level}, shape "
            f"{list(shape)} instead of [{width}]): add it again under another name"
        )
    return True


def keep_encodings(shards: Shards, names: Sequence[str], hydrogens: bool = False) -> Shards:
    """The shards with these encodings beside them; those that lack are computed, which is said.

    A process that comes while another computes waits for it. Where the folder is read-only the
    shards stay as they are, and batches compute what they lack.
    """
    check_names(names)
    if all(is_stored(shards, name, hydrogens) for name in names):
        return shards
    with contextlib.ExitStack() as turn:
        try:
            current = turn.enter_context(adding_arrays(shards.path))
        except OSError as error:
            _say_once(
                f"{shards.path}: encodings cannot be kept here ({error.strerror}), so they are "
                "computed for each batch"
            )
            return shards
        missing = [name for name in names if not is_stored(current, name, hydrogens)]
        if not missing:
            return current
        start = time.monotonic()
        _write(current, missing, hydrogens)
        kept = enter_arrays(
            current,
            {stored_name(name, hydrogens): stored_level(name, hydrogens) for name in missing},
        )
    print(
        f"{shards.path.name}: computed {', '.join(missing)} of {shards.n:,} molecules in "
        f"{time.monotonic() - start:.1f} s and kept them there",
        file=sys.stderr,
    )
    return kept


@functools.cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)


def _write(shards: Shards, names: Sequence[str], hydrogens: bool) -> None:
    """Write the arrays of encodings, all in one pass over the molecules."""
    with contextlib.ExitStack() as files:
        append: dict[str, Callable[[np.ndarray], None]] = {}
        for name in names:
            array = stored_name(name, hydrogens)
            check_free(shards, array)
            n_row = int(shards.offsets(stored_level(name, hydrogens))[-1])
            shape = (n_row, parse(name).width)
            file = writing_array(array_file(shards, array), np.float32, shape)
            append[name] = files.enter_context(file)
        progress = files.enter_context(Progress(f"encodings of {shards.name}", shards.n))
        for begin in range(0, shards.n, MOLECULES_AT_ONCE):
            end = min(begin + MOLECULES_AT_ONCE, shards.n)
            n_atoms, bonds = _graphs(shards, begin, end, hydrogens)
            for name, values in encode_all(names, n_atoms, bonds).items():
                append[name](values)
            progress.advance(end - begin)


def _graphs(shards: Shards, begin: int, end: int, hydrogens: bool) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of each molecule from `begin` to `end`, and their bonds counted over all of them."""
    bond_offset = np.asarray(shards.array("bond_offset")[begin : end + 1])
    bonds = np.asarray(shards.array("bonds")[bond_offset[0] : bond_offset[-1]], np.int64)
    n_bond = np.diff(bond_offset)
    if hydrogens:
        n_atoms = np.diff(shards.array("atom_offset")[begin : end + 1])
        n_seen = n_bond
    else:  # heavy atoms, and bonds between them, come first
        n_atoms = np.asarray(shards.array("n_heavy")[begin:end], np.int64)
        n_seen = np.asarray(shards.array("n_heavy_bond")[begin:end], np.int64)
    mol = np.repeat(np.arange(end - begin), n_bond)
    number = np.arange(len(bonds)) - (bond_offset[:-1] - bond_offset[0])[mol]
    first_atom = np.cumsum(n_atoms) - n_atoms
    return n_atoms, (bonds + first_atom[mol][:, None])[number < n_seen[mol]]
