"""Scaffolds of curated molecules as numbers, read once from the parts of their shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import InputError
from ..shards import Shards

SCAFFOLD = "scaffold"


class ScaffoldCodes(NamedTuple):
    """The scaffold of each molecule as a number, and which number stands for having none.

    All acyclic molecules together are one more class, as in `count_scaffolds(acyclic=True)`.
    """

    codes: np.ndarray  # int [molecule]
    n: int  # numbers in use, that of acyclic molecules included
    acyclic: int | None  # None where every molecule has a ring


def scaffold_codes(datasets: Sequence[Shards]) -> ScaffoldCodes:
    """One number for each scaffold of some datasets, which may share scaffolds.

    Texts are coded by Arrow a part at a time, so that memory holds each scaffold once and an
    integer a molecule. Raises InputError for shards that do not keep scaffolds.
    """
    column = pa.chunked_array(_dictionaries(datasets)).unify_dictionaries()
    codes = [chunk.indices.to_numpy() for chunk in column.chunks]
    names = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
    acyclic = pc.index(names, "").as_py()
    return ScaffoldCodes(
        codes=np.concatenate(codes or [np.zeros(0, np.int32)]),
        n=len(names),
        acyclic=None if acyclic < 0 else acyclic,
    )


def _dictionaries(datasets: Sequence[Shards]) -> Iterator[pa.Array]:
    """The scaffolds of each part as an Arrow dictionary array; none is empty text."""
    for shards in datasets:
        for path in shards.parts() or [None]:
            if path is None or SCAFFOLD not in pq.read_schema(path).names:
                raise InputError(
                    f"{shards.path} keeps no scaffolds, so nothing can be drawn by them: curate it "
                    "again, or draw uniformly (--set sampling.kind uniform)"
                )
            column = pq.read_table(path, columns=[SCAFFOLD])[SCAFFOLD]
            filled = pc.fill_null(column.combine_chunks(), "")
            yield pc.dictionary_encode(filled)
