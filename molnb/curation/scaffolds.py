"""Scaffolds: how often which ring system with its linkers occurs in a corpus, and what two corpora
share.

A Murcko scaffold is what is left of a molecule without its side chains; the generic one keeps no
elements and no bond orders either. Acyclic molecules have no scaffold: they are a class of their
own, left out of scaffold counts unless asked for, and then named `(acyclic)`. Shares are of the
molecules that are counted. Counting is done by DuckDB, so a corpus may be larger than the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rdkit import Chem

from ..chemistry.failures import guarded
from ..chemistry.identity import murcko_scaffold
from ..errors import InputError
from ..processes import Pool, count_cores
from ..shapes import Float, Int
from ..shards import Shards
from .smiles_corpus import Molecules, load_molecules, query_molecules

ACYCLIC = "(acyclic)"
KINDS = ("murcko", "generic")
TAU = 0.005  # the Uni-Mol2 paper's
FEW = 10_000  # scaffolds that are made generic here rather than on workers
# Table 1 of the Uni-Mol2 paper (arXiv:2406.14969): corpus, molecules (rounded there), Murcko
# scaffolds.
PUBLISHED = (
    ("Uni-Mol (published)", 19_000_000, 4_224_621),
    ("Uni-Mol2 (published)", 884_000_000, 73_725_454),
)


@dataclass(frozen=True)
class Scaffolds:
    """The scaffolds of a corpus, most frequent first; of equally frequent ones, first in the
    alphabet.
    """

    corpus: Molecules
    kind: str  # "murcko" or "generic"
    table: pa.Table  # scaffold, n, share (0 to 1), rank (from 1)
    n_acyclic: int  # molecules without a ring; in the table only where that was asked for
    generic: dict[str, str] | None = None  # Murcko scaffold -> generic one

    def __len__(self) -> int:
        return len(self.table)

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
        return self.table["n"].to_numpy()

    @cached_property
    def n_molecule(self) -> int:
        """Molecules that are counted."""
        return int(self.counts.sum())


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
    found = query_molecules(
        "SELECT coalesce(scaffold, '') AS scaffold, count(*)::BIGINT AS n FROM a GROUP BY 1",
        a=corpus,
    )
    n_acyclic, generic = pc.sum(found.filter(pc.field("scaffold") == "")["n"]).as_py() or 0, None
    if kind == "generic":
        names = found["scaffold"]
        generic = _all_generic([name for name in names.to_pylist() if name])
        found = found.set_column(
            0, "scaffold", [[generic.get(name, "") for name in names.to_pylist()]]
        )
    where = "" if acyclic else "WHERE scaffold <> ''"
    table = query_molecules(
        f"SELECT if(scaffold = '', '{ACYCLIC}', scaffold) AS scaffold, sum(n)::BIGINT AS n, "
        "sum(n) / sum(sum(n)) OVER () AS share, row_number() OVER (ORDER BY sum(n) DESC, scaffold) AS rank "
        f"FROM a {where} GROUP BY a.scaffold ORDER BY rank",
        a=found,
    )
    if not len(table):
        raise InputError(
            f"{corpus.name}: all {corpus.n:,} molecules are acyclic, there is no scaffold to count; acyclic=True "
            "counts them as a class of their own"
        )
    return Scaffolds(corpus, kind, table, n_acyclic, generic)


@guarded("standardisation failed")
def generic_scaffold(smiles: str) -> str:
    """The carbon skeleton of a scaffold: every atom a carbon, every bond single, side chains left
    over taken off.

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
        parts = [
            pool.submit(_generic_pairs, names[start : start + 2000])
            for start in range(0, len(names), 2000)
        ]
        return {name: generic for part in parts for name, generic in part.result()}


def _generic_pairs(names: list[str]) -> list[tuple[str, str]]:
    return [(name, generic_scaffold(name)) for name in names]


# ------------------------------------------------------------------------------------------------ one corpus in numbers


def entropy(shares: Float[np.ndarray, " scaffold"]) -> float:
    """Shannon entropy of shares or probabilities, in nats; zeros add nothing."""
    shares = np.asarray(shares, float)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def effective_number(shares: Float[np.ndarray, " scaffold"]) -> float:
    """How many equally frequent scaffolds would have the entropy of these shares: exp(entropy)."""
    return math.exp(entropy(shares))


def coverage(scaffolds: Scaffolds, k: int | Sequence[int] | None = None) -> float | np.ndarray:
    """Share (0 to 1) of the counted molecules on the k most frequent scaffolds; for every k
    where none is given.
    """
    curve = np.cumsum(scaffolds.counts) / scaffolds.n_molecule
    if k is None:
        return curve
    asked = np.asarray(k)
    if asked.min() < 1:
        raise InputError(f"k={asked.min()}: coverage is of 1 scaffold or more")
    found = curve[np.minimum(asked, len(curve)) - 1]
    return float(found) if asked.ndim == 0 else found


def expected_scaffolds(scaffolds: Scaffolds, sizes: Sequence[int]) -> Float[np.ndarray, " size"]:
    """How many scaffolds a random sample of so many molecules holds on average (drawn without
    replacement).

    The number of scaffolds a molecule falls as a corpus grows; two corpora compare fairly at one
    size. Exact, by the hypergeometric distribution (rarefaction: Hurlbert, Ecology 52, 577 (1971)).
    """
    n, sizes = scaffolds.n_molecule, np.asarray(sizes)
    if sizes.min() < 0 or sizes.max() > n:
        raise InputError(
            f"sizes from {sizes.min():,} to {sizes.max():,}: {scaffolds.name} has {n:,} molecules to draw from"
        )
    values, times = np.unique(scaffolds.counts, return_counts=True)
    return np.array([np.sum(times * (1 - _unseen(n, values, int(size)))) for size in sizes])


def _unseen(n: int, counts: np.ndarray, size: int) -> np.ndarray:
    """Probability that a sample misses each of some classes of a population of n."""
    left = n - counts
    fits = left >= size
    whole = math.lgamma(n + 1) - math.lgamma(n - size + 1)
    logs = [
        math.lgamma(m + 1) - math.lgamma(m - size + 1) - whole if fit else 0.0
        for m, fit in zip(left, fits)
    ]
    return np.where(fits, np.exp(logs), 0.0)


def describe_scaffolds(scaffolds: Scaffolds) -> dict[str, str | int | float]:
    """One row about a corpus: molecules, scaffolds, singletons, entropy, coverage.

    "for half the molecules" is how many of the most frequent scaffolds it takes to cover 50 %.
    """
    counts, n = scaffolds.counts, scaffolds.n_molecule
    shares = counts / n
    return {
        "corpus": scaffolds.name,
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


def corpora_table(corpora: Sequence[Scaffolds]) -> list[dict[str, str | int | float]]:
    """Molecules and scaffolds of corpora under those of the paper (Table 1 of Uni-Mol2), a row
    each.
    """
    rows = [(name, molecules, found) for name, molecules, found in PUBLISHED]
    rows += [(one.name, one.corpus.n, len(one)) for one in corpora]
    return [
        {
            "corpus": name,
            "molecules": molecules,
            "Murcko scaffolds": found,
            "molecules a scaffold": molecules / found,
        }
        for name, molecules, found in rows
    ]


def molecules_on(scaffolds: Scaffolds, name: str, n: int | None = None) -> pa.Table:
    """The molecules of a scaffold in source order, at most n of them: row and smiles."""
    if pc.index(scaffolds.table["scaffold"], name).as_py() < 0:
        raise InputError(
            f"no molecule of {scaffolds.name} has the {scaffolds.kind} scaffold {name!r}: names are canonical SMILES "
            f"without stereo, as count_scaffolds writes them, or {ACYCLIC!r} where that is counted"
        )
    names = [key for key, generic in (scaffolds.generic or {name: name}).items() if generic == name]
    wanted = pa.table(
        {"scaffold": pa.array(["" if name == ACYCLIC else key for key in names or [""]])}
    )
    limit = "" if n is None else f"LIMIT {int(n)}"
    return query_molecules(
        f"SELECT row, smiles FROM a WHERE coalesce(scaffold, '') IN (SELECT scaffold FROM b) ORDER BY row {limit}",
        a=scaffolds.corpus,
        b=wanted,
    )


# ---------------------------------------------------------------------------------------------------------- two corpora


def top_scaffolds(first: Scaffolds, second: Scaffolds, k: int = 40) -> pa.Table:
    """The k most frequent scaffolds of two corpora side by side (the paper's Figure 1), and their
    count in the other.

    Columns: rank, then for each corpus scaffold, n, share, n_elsewhere; the shorter one ends in
    nulls.
    """
    if k < 1:
        raise InputError(f"k={k}: show 1 scaffold or more")
    columns = {"rank": pa.array(range(1, min(k, max(len(first), len(second))) + 1))}
    names = (
        (first.name, second.name)
        if first.name != second.name
        else (first.name, f"{second.name} (2)")
    )
    for name, here, other in zip(names, (first, second), (second, first)):
        top = query_molecules(
            "SELECT a.scaffold, a.n, a.share, coalesce(b.n, 0) AS n_elsewhere FROM a LEFT JOIN b USING (scaffold) "
            "ORDER BY a.rank",
            a=here.table.slice(0, k),
            b=other.table,
        )
        for column in top.column_names:
            values = top[column].to_pylist()
            columns[f"{column} {name}"] = pa.array(
                values + [None] * (len(columns["rank"]) - len(values))
            )
    return pa.table(columns)


def shared_scaffolds(first: Scaffolds, second: Scaffolds) -> pa.Table:
    """Scaffolds that both corpora have, frequent ones first: scaffold, n_1, share_1 (0 to 1),
    n_2, share_2.
    """
    if first.kind != second.kind:
        raise InputError(
            f"{first.kind} and {second.kind} scaffolds do not compare: count both the same way"
        )
    return query_molecules(
        "SELECT scaffold, a.n AS n_1, a.share AS share_1, b.n AS n_2, b.share AS share_2 FROM a "
        "JOIN b USING (scaffold) ORDER BY least(a.share, b.share) DESC, scaffold",
        a=first.table,
        b=second.table,
    )


def shared_molecules(first: Molecules, second: Molecules) -> pa.Table:
    """Molecules of one corpus that the other has too, up to stereo, protonation and (most)
    tautomers.

    A row is a pair: row_1, smiles_1, row_2, smiles_2, and whether they agree in inchikey14 and in
    tautomer_key.
    """
    return query_molecules(
        "WITH pairs AS (SELECT a.row AS row_1, b.row AS row_2 FROM a JOIN b USING (inchikey14) UNION "
        "SELECT a.row, b.row FROM a JOIN b USING (tautomer_key)) "
        "SELECT row_1, a.smiles AS smiles_1, row_2, b.smiles AS smiles_2, a.inchikey14 = b.inchikey14 AS inchikey14, "
        "a.tautomer_key = b.tautomer_key AS tautomer_key FROM pairs JOIN a ON a.row = row_1 JOIN b ON b.row = row_2 "
        "ORDER BY row_1, row_2",
        a=first,
        b=second,
    )


def overlap(first: Scaffolds, second: Scaffolds) -> list[dict[str, str | int | float]]:
    """What two corpora share, a row each: scaffolds, molecules on them, and molecules by the loose
    keys.

    Shares are of the corpus in the row: of its scaffolds, its counted molecules, all its molecules.
    """
    scaffolds, pairs = (
        shared_scaffolds(first, second),
        shared_molecules(first.corpus, second.corpus),
    )
    rows = []
    for number, one in enumerate((first, second), 1):
        n_on = int(scaffolds[f"n_{number}"].to_numpy().sum())
        n_both = len(set(pairs[f"row_{number}"].to_pylist()))
        rows.append(
            {
                "corpus": one.name,
                "scaffolds": len(one),
                "shared scaffolds": len(scaffolds),
                "shared scaffolds (share)": len(scaffolds) / len(one),
                "molecules on them": n_on,
                "molecules on them (share)": n_on / one.n_molecule,
                "shared molecules": n_both,
                "shared molecules (share)": n_both / one.corpus.n,
            }
        )
    return rows


# ------------------------------------------------------------------------------------------------------------ sampling


def scaffold_weights(
    scaffolds: Scaffolds | np.ndarray, tau: float = TAU
) -> Float[np.ndarray, " scaffold"]:
    """Probability to draw each scaffold, P = softmax(share / tau): Equation 1 of the Uni-Mol2
    paper.

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
    """Draw n molecules, with replacement: first a scaffold by `scaffold_weights`, then one of its
    molecules evenly.

    Returns positions in the corpus (in shards: sample ids). Acyclic molecules are drawn only where
    they were counted.
    """
    if n < 0:
        raise InputError(f"n={n}: draw 0 molecules or more")
    names = scaffolds.generic or {}
    place = query_molecules(
        "SELECT b.rank - 1 AS place, row_number() OVER (ORDER BY a.row) - 1 AS position FROM a LEFT JOIN b "
        f"ON if(coalesce(a.scaffold, '') = '', '{ACYCLIC}', a.scaffold) = b.scaffold",
        a=scaffolds.corpus,
        b=_ranks(scaffolds, names),
    ).filter(pc.field("place").is_valid())
    place = place.sort_by([("place", "ascending"), ("position", "ascending")])[
        "position"
    ].to_numpy()
    first = np.cumsum(scaffolds.counts) - scaffolds.counts
    random = np.random.default_rng(seed)
    chosen = random.choice(len(scaffolds), n, p=scaffold_weights(scaffolds, tau))
    return place[first[chosen] + random.integers(0, scaffolds.counts[chosen])]


def _ranks(scaffolds: Scaffolds, names: dict[str, str]) -> pa.Table:
    """Rank by the name that the corpus has: Murcko scaffolds, also where generic ones are
    counted.
    """
    if not names:
        return scaffolds.table
    known = pa.table({"murcko": list(names), "scaffold": list(names.values())})
    known = pa.concat_tables([known, pa.table({"murcko": [ACYCLIC], "scaffold": [ACYCLIC]})])
    return query_molecules(
        "SELECT murcko AS scaffold, rank FROM a JOIN b USING (scaffold)", a=known, b=scaffolds.table
    )
