"""A page on curated molecules: counts, labels, splits, sizes, provenance; quick for many."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_shards import make_shards

from molnb.cli import main
from molnb.data.inspection import inspect_shards
from molnb.files import write_json, write_table, writing_array
from molnb.paths import MANIFEST
from molnb.shards import FORMAT, Shards

N_MANY = 100_000


def test_a_page_says_what_the_manifest_counts(nci: Shards) -> None:
    manifest = nci.manifest
    page = " ".join(inspect_shards(nci).split())
    known = manifest["labels"]["gap"]["known"]
    split = manifest["splits"]["scaffold"]
    texts = nci.table(["scaffold"])["scaffold"].to_pylist()
    stated = [
        f"dropped {manifest['n_dropped']:,}",
        f"number {nci.n:,}",
        f"gap molecule eV {known:,} {100 * known / nci.n:.1f} % nci_orbitals",
        "energy molecule eV",
        f"scaffold {split['train']:,} {split['val']:,} {split['test']:,} default",
        f"scaffolds {len(set(texts) - {''}):,}, effective number",
        f"{100 * texts.count('') / nci.n:.1f} % without a ring",
        f"recipe nci, {manifest['recipe_id']}",
        manifest["source"]["sha256"],
        f"rdkit {manifest['versions']['rdkit']}",
        manifest["created"],
        f"heavy atoms {np.mean(nci.array('n_heavy')):.1f} on average",
        f"of {len(manifest['files'])} of {len(manifest['files'])} files",
        f"{sum(manifest['files'].values()) / nci.n:,.0f} bytes a molecule",
    ]
    assert [words for words in stated if words not in page] == []


def test_classes_and_notices_are_told(tmp_path: Path) -> None:
    from made_data import ALKANES, make_binary

    shards = make_binary(tmp_path, "toxic", ALKANES, {"hit": [0, 1, 1, None] * 3})
    page = inspect_shards(shards.path)
    assert "0: 3, 1: 6" in page and " 9  75.0 %  toxic" in page
    shards.manifest["notices"] = ["something that should be known"]
    assert "- something that should be known" in inspect_shards(shards)


def test_a_manifest_that_says_little_is_inspected_too(tmp_path: Path) -> None:
    page = inspect_shards(make_shards(tmp_path / "trees").path)
    assert "number        40" in page and "of_bond" in page


def test_the_latest_of_a_recipe_is_meant_by_its_name(
    nci: Shards, home: Path, capsys: pytest.CaptureFixture
) -> None:
    import os
    import shutil

    for name, age in (("nci-00000001", 100), ("nci-00000002", 0), ("nci_other-00000003", 0)):
        folder = shutil.copytree(nci.path, home / "data" / name)
        stamp = time.time() - age
        os.utime(folder / MANIFEST, (stamp, stamp))
    assert main(["inspect", "nci"]) == 0
    assert capsys.readouterr().out.startswith("nci-00000002: ")
    assert main(["inspect", "wehi"]) == 2, "nothing is curated for a look"
    assert "curate it first" in capsys.readouterr().err


def many_molecules(folder: Path) -> Path:
    """Shards of 100,000 molecules as far as a page reads them, 200 labels among it."""
    rng = np.random.default_rng(0)
    n_atom = rng.integers(5, 60, N_MANY)
    arrays = {
        "n_heavy": n_atom.astype(np.int32),
        "charge": np.zeros(N_MANY, np.int8),
        "atom_offset": np.concatenate([[0], np.cumsum(n_atom)]),
        "bond_offset": np.concatenate([[0], np.cumsum(n_atom)]),
        "split_random": np.zeros(N_MANY, np.int8),
    }
    for name, values in arrays.items():
        with writing_array(folder / "arrays" / f"{name}.npy", values.dtype, values.shape) as append:
            append(values)
    for part in range(50):
        texts = [f"c1ccccc1{'C' * k}" for k in rng.integers(0, 3000, N_MANY // 50)]
        table = pa.table({"scaffold": texts})
        write_table(table, folder / "shards" / f"part-{part:05d}.parquet")
    described = {"unit": "eV", "level": "molecule", "known": 7, "missing": {}}
    labels = {f"y{k}": {"name": f"y{k}", **described} for k in range(200)}
    files = [*folder.glob("arrays/*"), *folder.glob("shards/*")]
    manifest = {
        "format": FORMAT,
        "name": "many",
        "n_kept": N_MANY,
        "labels": labels,
        "tasks": {},
        "splits": {"random": {"train": N_MANY, "val": 0, "test": 0}},
        "default_split": "random",
        "files": {file.relative_to(folder).as_posix(): file.stat().st_size for file in files},
    }
    write_json(manifest, folder / MANIFEST)
    return folder


def test_a_hundred_thousand_molecules_take_no_second(tmp_path: Path) -> None:
    folder = many_molecules(tmp_path / "many-00000000")
    start = time.process_time()
    page = inspect_shards(folder)
    assert time.process_time() - start < 1.0
    assert "100,000" in page and "scaffolds     3,000, effective number" in page
    assert "and 140 more, 7 to 7 known" in page
    assert json.loads((folder / MANIFEST).read_text())["n_kept"] == N_MANY
