"""The LMDB of Uni-Mol: a key a molecule, its value a pickled map of SMILES, atoms, coordinates.

Keys are integers of four bytes, the highest first, as its pretraining counts them; its fine-tuning
takes any. A molecule's conformers are a list of float32 arrays [atom, 3] in Å, atoms symbols with
hydrogens, ``target`` a list of its labels.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...extras import how_to_install
from .exported_molecules import ExportedRow

_FIRST_MAP_BYTES = 1 << 26
_N_TOGETHER = 1024  # molecules in a transaction
# NumPy 2 calls its module by another name than NumPy 1, which reads these files at many places.
_NEW_MODULE = b"cnumpy._core.multiarray\n"
_OLD_MODULE = b"cnumpy.core.multiarray\n"
_PROTOCOL = 3  # names stand in it as lines, so that one may be replaced by a shorter one


class LmdbWriter:
    """Writes molecules into a new LMDB file, which grows as it is filled."""

    def __init__(self, path: Path):
        self._path = path
        self._waiting: list[tuple[bytes, bytes]] = []
        self._n_row = 0

    def __enter__(self) -> LmdbWriter:
        try:
            import lmdb
        except ModuleNotFoundError:
            raise InputError(
                f"an LMDB file needs lmdb to be written: {how_to_install('lmdb')}"
            ) from None
        self._full = lmdb.MapFullError
        self._environment = lmdb.open(
            str(self._path), subdir=False, lock=False, map_size=_FIRST_MAP_BYTES, sync=False
        )
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self._flush()
                self._environment.sync(True)
        finally:
            self._environment.close()

    def write(self, row: ExportedRow) -> None:
        """Add a molecule behind the others."""
        record = {"smi": row.smiles, "atoms": row.symbols, "coordinates": list(row.coords)}
        if row.labels:
            record["target"] = [math.nan if v is None else float(v) for v in row.labels.values()]
        value = pickle.dumps(record, _PROTOCOL).replace(_NEW_MODULE, _OLD_MODULE)
        self._waiting.append((self._n_row.to_bytes(4, "big"), value))
        self._n_row += 1
        if len(self._waiting) == _N_TOGETHER:
            self._flush()

    def _flush(self) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._waiting:
                        transaction.put(key, value, append=True)
            except self._full:  # nothing of the transaction was kept
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
                continue
            self._waiting = []
            return
