"""The shipped mixes, whole, on small files in the layouts of their members."""

from __future__ import annotations

from pathlib import Path

import biology_layouts
import documented_layouts
import numpy as np
import pytest

from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.shards import Shards


def write_layout(layout: biology_layouts.Layout, folder: Path) -> Path:
    path = folder / layout.file
    path.write_bytes(layout.content)
    return path


def tox21(folder: Path) -> Path:
    layouts = [layout for layout in biology_layouts.LAYOUTS if layout.recipe == "tox21"]
    return write_layout(layouts[0], folder)


def l1000(cells: str):
    return lambda folder: write_layout(biology_layouts.l1000(cells), folder)


def documented(name: str, file: str):
    def write(folder: Path) -> Path:
        getattr(documented_layouts, name)(folder)
        (path,) = folder.rglob(file)
        return path

    return write


MEMBERS = {
    "toymix": {
        "qm9": documented("qm9_table", "qm9.csv.gz"),
        "tox21": tox21,
        "zinc12k": documented("zinc12k", "ZINC12k.csv.gz"),
    },
    "largemix": {
        "l1000_vcap": l1000("VCAP"),
        "l1000_mcf7": l1000("MCF7"),
        "pcba_1328": lambda folder: write_layout(biology_layouts.pcba(), folder),
        "pcqm4m_g25_n4": documented("pcqm4m_g25_n4", "PCQM4M_G25_N4.parquet"),
    },
    "ultralarge": {"pm6_83m": documented("pm6_83m", "*_01.parquet")},
    "unimol2": {
        "unimol": documented("unimol", "ligands.tar.gz"),
        "zinc20": documented("zinc20", "AAEA.smi"),
    },
}


def curated_mix(name: str, folder: Path) -> Shards:
    """The mix from a small file a member; splits of all rows of the real ones are left out."""
    sources = {}
    for member, write in MEMBERS[name].items():
        (folder / member).mkdir()
        sources[member] = write(folder / member)
    return curate(name, source=sources, workers=0, home=folder, progress=False)


@pytest.mark.parametrize("name", [*MEMBERS])
def test_a_mix_is_curated_and_read_with_the_tasks_of_all_members(name: str, tmp_path: Path) -> None:
    shards = curated_mix(name, tmp_path)
    described = shards.manifest["mix"]["members"]
    assert set(described) == set(MEMBERS[name])
    assert shards.n == sum(m["molecules"] - m["joined"] for m in described.values())
    corpus = Corpus([shards])
    batch = corpus.batch(np.arange(shards.n), list(shards.tasks))
    assert len(batch.labels) == len(shards.tasks)
    assert np.isfinite(batch.coords.numpy()).all()


def test_a_mix_without_downloads_has_the_labels_of_both_its_datasets(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    shards = curate("offline_mix", n=6, workers=0, home=tmp_path, progress=False)
    assert {"nci_orbitals", "nci_charges", "pic50"} <= set(shards.tasks)


def test_uni_mol_s_conformers_and_those_made_here_stand_side_by_side(tmp_path: Path) -> None:
    shards = curated_mix("unimol2", tmp_path)
    rows = shards.table(["dataset", "n_conformers", "embedded_by"]).to_pylist()
    assert {row["dataset"] for row in rows} == {"unimol", "zinc20"}
    for row in rows:
        given = row["dataset"] == "unimol"
        assert row["n_conformers"] == (3 if given else 11)
        assert (row["embedded_by"] == "given") == given
    n_atom = np.diff(shards.array("atom_offset"))
    assert len(shards.array("coords")) == (n_atom * shards.array("n_conformers")).sum()
