"""What two corpora share: scaffolds, molecules on them, and molecules by the loose keys."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..errors import InputError
from .scaffolds import Scaffolds
from .smiles_corpus import Molecules, query_molecules

# Table 1 of the Uni-Mol2 paper (arXiv:2406.14969): corpus, molecules (rounded there), Murcko
# scaffolds.
PUBLISHED = (
    ("Uni-Mol (published)", 19_000_000, 4_224_621),
    ("Uni-Mol2 (published)", 884_000_000, 73_725_454),
)


def corpora_table(corpora: Sequence[Scaffolds]) -> pd.DataFrame:
    """Molecules and scaffolds of corpora, a row each, under those of the Uni-Mol2 paper."""
    rows = [*PUBLISHED, *((corpus.name, corpus.corpus.n, len(corpus)) for corpus in corpora)]
    table = pd.DataFrame(rows, columns=["corpus", "molecules", "Murcko scaffolds"])
    return table.assign(**{"molecules a scaffold": table["molecules"] / table["Murcko scaffolds"]})


def top_scaffolds(first: Scaffolds, second: Scaffolds, k: int = 40) -> pd.DataFrame:
    """The k most frequent scaffolds of two corpora side by side (the paper's Figure 1), by rank.

    Columns of each corpus: scaffold, n, share (0 to 1) and n_elsewhere, the count in the other
    corpus, each followed by the corpus's name. Where a corpus has fewer, its values are missing.
    """
    if k < 1:
        raise InputError(f"k={k}: show 1 scaffold or more")
    names = [first.name, second.name]
    if first.name == second.name:
        names[1] += " (2)"
    sides = [_top_beside(first, second, k), _top_beside(second, first, k)]
    sides = [side.add_suffix(f" {name}") for side, name in zip(sides, names, strict=True)]
    return pd.concat(sides, axis=1).sort_index().reset_index()


def _top_beside(corpus: Scaffolds, reference: Scaffolds, k: int) -> pd.DataFrame:
    """The k most frequent scaffolds of a corpus, by rank, with their count in another corpus."""
    table = query_molecules(
        "SELECT a.rank, a.scaffold, a.n, a.share, coalesce(b.n, 0) AS n_elsewhere "
        "FROM a LEFT JOIN b USING (scaffold) ORDER BY a.rank",
        a=corpus.arrow.slice(0, k),
        b=reference.arrow,
    )
    return table.astype({"n": "Int64", "n_elsewhere": "Int64"}).set_index("rank")


def shared_scaffolds(first: Scaffolds, second: Scaffolds) -> pd.DataFrame:
    """Scaffolds that both corpora have, frequent ones first.

    Columns: scaffold, n_1, share_1 (0 to 1), n_2, share_2.
    """
    if first.kind != second.kind:
        raise InputError(
            f"{first.kind} and {second.kind} scaffolds do not compare: count both the same way"
        )
    return query_molecules(
        "SELECT scaffold, a.n AS n_1, a.share AS share_1, b.n AS n_2, b.share AS share_2 FROM a "
        "JOIN b USING (scaffold) ORDER BY least(a.share, b.share) DESC, scaffold",
        a=first.arrow,
        b=second.arrow,
    )


def shared_molecules(first: Molecules, second: Molecules) -> pd.DataFrame:
    """Molecules that both corpora have, up to stereo, protonation and (most) tautomers.

    A row is a pair: row_1, smiles_1, row_2, smiles_2, and whether they agree in inchikey14 and in
    tautomer_key.
    """
    return query_molecules(
        "WITH pairs AS (SELECT a.row AS row_1, b.row AS row_2 FROM a JOIN b USING (inchikey14) "
        "UNION SELECT a.row, b.row FROM a JOIN b USING (tautomer_key)) "
        "SELECT row_1, a.smiles AS smiles_1, row_2, b.smiles AS smiles_2, "
        "a.inchikey14 = b.inchikey14 AS inchikey14, "
        "a.tautomer_key = b.tautomer_key AS tautomer_key "
        "FROM pairs JOIN a ON a.row = row_1 JOIN b ON b.row = row_2 ORDER BY row_1, row_2",
        a=first,
        b=second,
    )


def overlap(first: Scaffolds, second: Scaffolds) -> pd.DataFrame:
    """What two corpora share, a row each: scaffolds, molecules on them, molecules by loose keys.

    Shares are of the corpus in the row: of its scaffolds, its counted molecules, all its molecules.
    """
    shared = shared_scaffolds(first, second)
    pairs = shared_molecules(first.corpus, second.corpus)
    rows = []
    for number, corpus in enumerate((first, second), 1):
        n_on_shared = int(shared[f"n_{number}"].sum())
        n_molecule = pairs[f"row_{number}"].nunique()
        rows.append(
            {
                "corpus": corpus.name,
                "scaffolds": len(corpus),
                "shared scaffolds": len(shared),
                "shared scaffolds (share)": len(shared) / len(corpus),
                "molecules on them": n_on_shared,
                "molecules on them (share)": n_on_shared / corpus.n_molecule,
                "shared molecules": n_molecule,
                "shared molecules (share)": n_molecule / corpus.corpus.n,
            }
        )
    return pd.DataFrame(rows)
