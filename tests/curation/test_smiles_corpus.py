"""A corpus of SMILES: read once, without conformers, and nothing lost without its reason."""

from __future__ import annotations

from pathlib import Path

from curated_files import FEW

from molnb.curation.smiles_corpus import Molecules, load_molecules


def test_a_list_loses_copies_and_unreadable_rows_with_their_reasons() -> None:
    corpus = load_molecules(["CCO", "OCC", None, float("nan"), "c1cccc1", "C1CC1"])
    assert (corpus.n, corpus.n_sampled, corpus.n_source) == (2, 6, 6)
    assert corpus.n + sum(sum(reasons.values()) for reasons in corpus.dropped.values()) == 6
    assert "2 molecules from 6 rows" in corpus.summary()
    assert "empty structure 2" in corpus.summary()


def test_reading_a_recipe_needs_no_conformers_and_is_done_once(
    sample: Molecules, shared_home: Path
) -> None:
    folder = sample.rows[0].parent
    assert sample.n_sampled == 300 and sample.n_source == 4999
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "conflicts.parquet",
        "dropped.parquet",
        "molecules.json",
        "molecules.parquet",
    ]
    before = sample.rows[0].stat().st_mtime_ns
    again = load_molecules("nci", n=300, home=shared_home, progress=False)
    assert again == sample and again.rows[0].stat().st_mtime_ns == before


def test_a_sample_as_large_as_the_source_is_the_source(tmp_path: Path) -> None:
    (tmp_path / "mine.smi").write_text("\n".join(FEW) + "\n")
    first = load_molecules(tmp_path / "mine.smi", n=1000, workers=0, home=tmp_path, progress=False)
    second = load_molecules(tmp_path / "mine.smi", home=tmp_path, progress=False)
    assert first == second and first.n == 7
