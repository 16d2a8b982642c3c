"""Arrays of molecules that heads read beside an encoder's vectors: columns, and training spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..data.dataset import Corpus
from ..errors import InputError, did_you_mean
from ..models.heads import Beside
from ..models.model import Model
from ..objectives.interface import Objective
from ..objectives.targets import CHUNK, Moments
from ..shapes import Float, Int
from ..shards import Shards


def check_beside(objective: Objective, datasets: Sequence[Shards]) -> None:
    """Raise InputError for datasets that lack an array which heads read.

    Also for one that is not of molecules, and for other columns than the run learnt from.
    """
    widths = objective.beside_widths or [None] * len(objective.beside)
    for name, width in zip(objective.beside, widths):
        for shards in datasets:
            _check_array(name, width, shards)


def _check_array(name: str, width: int | None, shards: Shards) -> None:
    how = f"molnb.shards.add_array(shards, {name!r}, 'molecule', values)"
    if name not in shards.array_names:
        levels = shards.manifest.get("added_arrays", {})
        known = [other for other, level in levels.items() if level == "molecule"]
        raise InputError(
            f"{shards.path} has no array {name!r}{did_you_mean(name, known)}, which heads read "
            f"beside molecules (objective.beside); it has {', '.join(known) or 'none'}: add it "
            f"({how})"
        )
    level = shards.array_level(name)
    if level != "molecule":
        raise InputError(
            f"the array {name!r} of {shards.path} is of level {level!r}, and heads read arrays of "
            f"molecules beside them (objective.beside): name another one, or add one ({how})"
        )
    n_column = count_columns(name, shards)
    if width is not None and n_column != width:
        raise InputError(
            f"the array {name!r} of {shards.path} has columns {n_column}, and the run learnt from "
            f"{width}: add it as it was there ({how})"
        )


def count_columns(name: str, shards: Shards) -> int:
    """How many numbers a molecule has in an array; several axes are laid in a row."""
    return int(np.prod(shards.array(name).shape[1:]))


def fill_scales(model: Model, corpus: Corpus, train_ids: Int[np.ndarray, " train"]) -> None:
    """Give heads that read arrays the mean and spread of each column over training rows."""
    readers = [module for module in model.heads.modules() if isinstance(module, Beside)]
    if not readers:
        return
    moments = _moments(readers[0], corpus, train_ids)  # all heads of a run read the same
    deviation = moments.deviation
    # a constant column: sums of equal numbers may still leave a spread of the last digit
    is_spread = (moments.highest > moments.lowest) & (deviation > 0) & np.isfinite(deviation)
    inverse = np.where(is_spread, 1 / np.where(is_spread, deviation, 1.0), 0.0)
    for reader in readers:
        reader.mean.copy_(torch.from_numpy(np.where(is_spread, moments.mean, 0.0)))
        reader.inverse_sd.copy_(torch.from_numpy(inverse))


def _moments(reader: Beside, corpus: Corpus, ids: Int[np.ndarray, " train"]) -> Moments:
    """Moments of all columns that a head reads, a chunk of molecules at a time."""
    moments = Moments(reader.n_column)
    for start in range(0, len(ids), CHUNK):
        moments.add(_columns(reader, corpus, ids[start : start + CHUNK]))
    return moments


def _columns(
    reader: Beside, corpus: Corpus, ids: Int[np.ndarray, " k"]
) -> Float[np.ndarray, "k column"]:
    """What a head reads of some molecules, in the units of the arrays; NaN where no number is."""
    columns = []
    for name, width in reader.widths.items():
        values = corpus.array_of_molecules(name, ids).astype(np.float64)
        columns.append(values.reshape(len(ids), width))
    table = np.concatenate(columns, 1)
    return np.where(np.isfinite(table), table, np.nan)
