"""Scaffold-aware sampling: draw scaffolds by a softmax of their shares, then molecules evenly.

For looking at a corpus; a run draws by `data.draws`, without a generator's state.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..shapes import Float, Int
from .scaffolds import ACYCLIC, Scaffolds
from .smiles_corpus import query_arrow

TAU = 0.005  # the Uni-Mol2 paper's


def scaffold_weights(
    scaffolds: Scaffolds | np.ndarray, tau: float = TAU
) -> Float[np.ndarray, " scaffold"]:
    """Probability to draw each scaffold, softmax(share / tau): Equation 1 of the Uni-Mol2 paper.

    Large tau draws scaffolds evenly, small tau the most frequent ones only. Where every share is
    far below tau, as in a corpus of 10^8 molecules, this is almost uniform; in a small corpus whose
    first scaffold has a share of 10 %, the same tau draws almost nothing else. `effective_number`
    of the result says which of the two it is.
    """
    if not tau > 0:
        raise InputError(f"tau={tau}: it must be above 0 (the paper's is {TAU})")
    counts = scaffolds.counts if isinstance(scaffolds, Scaffolds) else np.asarray(scaffolds)
    scaled = counts / counts.sum() / tau
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()


def draw_by_scaffold(
    scaffolds: Scaffolds, n: int, tau: float = TAU, seed: int = 0
) -> Int[np.ndarray, " draw"]:
    """Positions in the corpus of n molecules drawn with replacement (in shards: sample ids).

    First a scaffold is drawn by `scaffold_weights`, then one of its molecules evenly. Acyclic
    molecules are drawn only where they were counted.
    """
    if n < 0:
        raise InputError(f"n={n}: draw 0 molecules or more")
    positions = _positions_by_rank(scaffolds)
    n_before = np.cumsum(scaffolds.counts) - scaffolds.counts
    random = np.random.default_rng(seed)
    ranks = random.choice(len(scaffolds), n, p=scaffold_weights(scaffolds, tau))
    return positions[n_before[ranks] + random.integers(0, scaffolds.counts[ranks])]


def _positions_by_rank(scaffolds: Scaffolds) -> np.ndarray:
    """Positions in the corpus of all counted molecules, those of the first scaffold first."""
    ranked = query_arrow(
        "SELECT position FROM ("
        "SELECT b.rank, row_number() OVER (ORDER BY a.row) - 1 AS position FROM a LEFT JOIN b "
        f"ON if(coalesce(a.scaffold, '') = '', '{ACYCLIC}', a.scaffold) = b.scaffold"
        ") WHERE rank IS NOT NULL ORDER BY rank, position",
        a=scaffolds.corpus,
        b=_murcko_ranks(scaffolds),
    )
    return ranked["position"].to_numpy()


def _murcko_ranks(scaffolds: Scaffolds) -> pa.Table:
    """The rank of each Murcko scaffold, which is what the corpus knows, also of generic ones."""
    if not scaffolds.generic:
        return scaffolds.arrow
    murcko = [*scaffolds.generic, ACYCLIC]
    generic = [*scaffolds.generic.values(), ACYCLIC]
    return query_arrow(
        "SELECT murcko AS scaffold, rank FROM a JOIN b USING (scaffold)",
        a=pa.table({"murcko": murcko, "scaffold": generic}),
        b=scaffolds.arrow,
    )
