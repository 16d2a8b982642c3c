"""QM9 and PCQM4Mv2 with their geometries, whole, where the files are at hand: every row accounted.

They are no part of the project; `test_given_geometries` holds the same on molecules made up here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from molnb.curation.pipeline import curate

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real files"),
]


def test_every_geometry_of_qm9_is_kept_as_it_was(tmp_path: Path) -> None:
    source = pq.read_table(SHARED / "qm9_3d.parquet").to_pydict()
    shards = curate("qm9", source=SHARED / "qm9_3d.parquet", home=tmp_path, progress=False)
    assert (shards.n, shards.manifest["n_source"]) == (128_744, 128_744)
    assert shards.manifest["labels"]["gap"]["known"] == 17_603
    smiles = shards.smiles()
    assert len(smiles) - len(set(smiles)) == 134, "kept as geometries of their own"
    offset = shards.array("atom_offset")
    coords = shards.array("coords")
    rows = shards.table(["row", "atom_order", "n_heavy"]).to_pylist()
    for k in range(0, shards.n, 97):
        row = rows[k]
        given = np.array(source["pos_1e4"][row["row"]]).reshape(-1, 3) * 1e-4
        stored = coords[offset[k] : offset[k + 1]]
        assert np.abs(stored[: row["n_heavy"]] - given[row["atom_order"]]).max() < 1e-4
        numbers = np.array(source["z"][row["row"]])
        hydrogens = sorted(map(tuple, np.round(given[numbers == 1], 4)))
        of_shards = sorted(map(tuple, np.round(stored[row["n_heavy"] :].astype(float), 4)))
        assert np.allclose(hydrogens, of_shards, atol=1e-4)
    table = shards.table(["homo", "lumo", "gap"]).to_pandas().dropna()
    assert np.abs(table.gap - (table.lumo - table.homo)).max() < 3e-3, "eV; given to 1e-4 Hartree"


def test_one_in_ten_geometries_of_pcqm4mv2_is_of_another_molecule_than_its_smiles(
    tmp_path: Path,
) -> None:
    source = SHARED / "pcqm4mv2_2k_3d.parquet"
    shards = curate("pcqm4m_g25_n4", source=source, home=tmp_path, progress=False)
    counts = shards.manifest["counts"]["embedded_by"]
    assert shards.manifest["n_source"] == 1_999
    assert counts == {"given": 1_792, "given, bonds perceived": 192}
    reasons = {row["reason"] for row in shards.dropped().to_pylist()}
    assert reasons == {"no bonds could be perceived"} and shards.n == 1_984
    assert shards.table(["alpha_gap"]).column(0).to_pandas().mean() == pytest.approx(5.16, abs=0.05)
