"""Scaffolds: how often which ring system with its linkers occurs in a corpus.

A Murcko scaffold is what is left of a molecule without its side chains; the generic one keeps no
elements and no bond orders either. Acyclic molecules have no scaffold: they are a class of their
own, left out of scaffold counts by default, and else named `(acyclic)`. Shares are of the molecules
that are counted. Counting is done by DuckDB, so a corpus may be larger than the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from rdkit import Chem

from ..chemistry.failures import guarded
from ..chemistry.identity import murcko_scaffold
from ..errors import InputError
from ..processes import Pool, count_cores
from ..shapes import Float, Int
from ..shards import Shards
from .smiles_corpus import Molecules, load_molecules, query_arrow, query_molecules

ACYCLIC = "(acyclic)"
KINDS = ("murcko", "generic")
FEW = 10_000  # scaffolds that are made generic here rather than on workers
N_PER_CALL = 2000  # scaffolds that a worker makes generic in one call


@dataclass(frozen=True)
class Scaffolds:
    """The scaffolds of a corpus, most frequent first, equally frequent ones by the alphabet."""

    corpus: Molecules
    kind: str  # "murcko" or "generic"
    arrow: pa.Table  # scaffold, n, share (0 to 1), rank (from 1)
    n_acyclic: int  # molecules without a ring, whether or not they are in the table
    generic: dict[str, str] | None = None  # Murcko scaffold -> generic one

    def __len__(self) -> int:
        return len(self.arrow)

    def __repr__(self) -> str:
        return (
            f"Scaffolds({self.name}: {len(self):,} {self.kind}, in {self.n_molecule:,} molecules)"
        )

    @property
    def name(self) -> str:
        """The name of the corpus."""
        return self.corpus.name

    @cached_property
    def counts(self) -> Int[np.ndarray, " scaffold"]:
        """Molecules a scaffold, descending."""
        return self.arrow["n"].to_numpy()

    @cached_property
    def n_molecule(self) -> int:
        """Molecules that are counted."""
        return int(self.counts.sum())

    @cached_property
    def table(self) -> pd.DataFrame:
        """All scaffolds: scaffold, n, share (0 to 1), rank (from 1)."""
        return self.arrow.to_pandas()

    def most_frequent(self, k: int) -> pd.DataFrame:
        """The first k scaffolds, with the columns of `table`."""
        return self.arrow.slice(0, k).to_pandas()


# ------------------------------------------------------------------------------------ counting


def count_scaffolds(
    corpus: Molecules | Shards | str | Sequence[str], kind: str = "murcko", acyclic: bool = False
) -> Scaffolds:
    """Count the scaffolds of a corpus, shards, a recipe by its name, or a list of SMILES.

    With `acyclic`, molecules without a ring count as one more scaffold, `(acyclic)`. Raises
    InputError where nothing is left to count.
    """
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}: choose one of {', '.join(KINDS)}")
    corpus = load_molecules(corpus)
    counts = query_arrow(
        "SELECT coalesce(scaffold, '') AS scaffold, count(*)::BIGINT AS n FROM a GROUP BY 1",
        a=corpus,
    )
    n_acyclic = pc.sum(counts.filter(pc.field("scaffold") == "")["n"]).as_py() or 0
    generic = None
    if kind == "generic":
        names = counts["scaffold"].to_pylist()
        generic = _all_generic([name for name in names if name])
        generic_names = pa.array([generic.get(name, "") for name in names])
        counts = counts.set_column(0, "scaffold", generic_names)
    only_cyclic = "" if acyclic else "WHERE scaffold <> ''"
    table = query_arrow(
        f"SELECT if(scaffold = '', '{ACYCLIC}', scaffold) AS scaffold, sum(n)::BIGINT AS n, "
        "sum(n) / sum(sum(n)) OVER () AS share, "
        "row_number() OVER (ORDER BY sum(n) DESC, scaffold) AS rank "
        f"FROM a {only_cyclic} GROUP BY a.scaffold ORDER BY rank",
        a=counts,
    )
    if not len(table):
        raise InputError(
            f"{corpus.name}: all {corpus.n:,} molecules are acyclic, there is no scaffold to "
            "count; acyclic=True counts them as a class of their own"
        )
    return Scaffolds(corpus, kind, table, n_acyclic, generic)


@guarded("standardisation failed")
def generic_scaffold(smiles: str) -> str:
    """The carbon skeleton of a scaffold: atoms carbon, bonds single, side chains taken off.

    A centre with more than four neighbours becomes `*`. Source: Bemis & Murcko, J. Med. Chem. 39,
    2887 (1996).
    """
    # Unsanitised: a scaffold cut from a molecule need not be a valid structure (O=[n+]1[c-]cccc1,
    # in nci).
    mol = Chem.RWMol(Chem.MolFromSmiles(smiles, sanitize=False))
    for bond in mol.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in list(mol.GetAtoms()):
        carbon = Chem.Atom(6 if atom.GetDegree() <= 4 else 0)
        mol.ReplaceAtom(atom.GetIdx(), carbon)
    Chem.SanitizeMol(mol)
    return murcko_scaffold(mol.GetMol())


def _all_generic(names: list[str]) -> dict[str, str]:
    if len(names) <= FEW:
        return dict(_generic_pairs(names))
    with Pool(count_cores()) as pool:
        calls = [
            pool.submit(_generic_pairs, names[start : start + N_PER_CALL])
            for start in range(0, len(names), N_PER_CALL)
        ]
        return {name: generic for call in calls for name, generic in call.result()}


def _generic_pairs(names: list[str]) -> list[tuple[str, str]]:
    return [(name, generic_scaffold(name)) for name in names]


def molecules_on(scaffolds: Scaffolds, name: str, n: int | None = None) -> pd.DataFrame:
    """The molecules of a scaffold in source order, at most n of them: row and smiles."""
    if pc.index(scaffolds.arrow["scaffold"], name).as_py() < 0:
        raise InputError(
            f"no molecule of {scaffolds.name} has the {scaffolds.kind} scaffold {name!r}: names "
            "are canonical SMILES without stereo, as count_scaffolds writes them, or "
            f"{ACYCLIC!r} where that is counted"
        )
    # The corpus knows Murcko scaffolds alone; acyclic molecules have an empty one there.
    murcko = [name]
    if scaffolds.generic is not None:
        murcko = [key for key, generic in scaffolds.generic.items() if generic == name]
    if name == ACYCLIC:
        murcko = [""]
    limit = "" if n is None else f"LIMIT {int(n)}"
    return query_molecules(
        "SELECT row, smiles FROM a "
        f"WHERE coalesce(scaffold, '') IN (SELECT scaffold FROM b) ORDER BY row {limit}",
        a=scaffolds.corpus,
        b=pa.table({"scaffold": pa.array(murcko, pa.string())}),
    )


# ----------------------------------------------------------------------- one corpus in numbers


def entropy(shares: Float[np.ndarray, " scaffold"]) -> float:
    """Shannon entropy of shares or probabilities, in nats; zeros add nothing."""
    shares = np.asarray(shares, float)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def effective_number(shares: Float[np.ndarray, " scaffold"]) -> float:
    """How many equally frequent scaffolds would have the entropy of these shares: exp(entropy)."""
    return math.exp(entropy(shares))


def coverage(scaffolds: Scaffolds, k: int | Sequence[int] | None = None) -> float | np.ndarray:
    """Share (0 to 1) of the counted molecules on the k most frequent scaffolds; or for every k."""
    curve = np.cumsum(scaffolds.counts) / scaffolds.n_molecule
    if k is None:
        return curve
    ranks = np.asarray(k)
    if ranks.min() < 1:
        raise InputError(f"k={ranks.min()}: coverage is of 1 scaffold or more")
    shares = curve[np.minimum(ranks, len(curve)) - 1]
    return float(shares) if ranks.ndim == 0 else shares


def expected_scaffolds(scaffolds: Scaffolds, sizes: Sequence[int]) -> Float[np.ndarray, " size"]:
    """How many scaffolds a random sample of so many molecules holds on average.

    Drawn without replacement. The number of scaffolds a molecule falls as a corpus grows; two
    corpora compare fairly at one size. Exact, by the hypergeometric distribution (rarefaction:
    Hurlbert, Ecology 52, 577 (1971)).
    """
    n = scaffolds.n_molecule
    sizes = np.asarray(sizes)
    if sizes.min() < 0 or sizes.max() > n:
        raise InputError(
            f"sizes from {sizes.min():,} to {sizes.max():,}: {scaffolds.name} has {n:,} molecules "
            "to draw from"
        )
    # Scaffolds of one count are missed with one probability: computed once for each count.
    counts, n_scaffold = np.unique(scaffolds.counts, return_counts=True)
    return np.array([np.sum(n_scaffold * (1 - _unseen(n, counts, int(size)))) for size in sizes])


def _unseen(n: int, counts: np.ndarray, size: int) -> np.ndarray:
    """Probability that a sample misses each of some classes of a population of n.

    That is C(n - count, size) / C(n, size), by logarithms of factorials.
    """
    n_others = n - counts
    possible = n_others >= size
    log_all = math.lgamma(n + 1) - math.lgamma(n - size + 1)
    logs = [
        math.lgamma(m + 1) - math.lgamma(m - size + 1) - log_all if fits else 0.0
        for m, fits in zip(n_others, possible)
    ]
    return np.where(possible, np.exp(logs), 0.0)


def describe_scaffolds(scaffolds: Scaffolds) -> pd.Series:
    """A corpus in numbers, named after it: molecules, scaffolds, singletons, entropy, coverage.

    "for half the molecules" is how many of the most frequent scaffolds it takes to cover 50 %.
    Corpora side by side: ``pd.concat([describe_scaffolds(x) for x in ...], axis=1)``.
    """
    counts = scaffolds.counts
    n = scaffolds.n_molecule
    shares = counts / n
    description = {
        "molecules": scaffolds.corpus.n,
        "acyclic": scaffolds.n_acyclic,
        "scaffolds": len(counts),
        "scaffolds a molecule": len(counts) / n,
        "seen once": int((counts == 1).sum()),
        "seen once (share)": float((counts == 1).mean()),
        "entropy (nats)": entropy(shares),
        "effective number": effective_number(shares),
        "for half the molecules": int(np.searchsorted(np.cumsum(shares), 0.5) + 1),
        "top 10 (share)": coverage(scaffolds, 10),
        "top 40 (share)": coverage(scaffolds, 40),
    }
    return pd.Series(description, name=scaffolds.name, dtype=object)
