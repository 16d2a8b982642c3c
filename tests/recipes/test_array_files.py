"""NPZ, MAT, HDF5, msgpack and extended XYZ files give records, and what is unsafe is refused."""

from __future__ import annotations

import importlib
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.errors import InputError
from molnb.recipes.readers import column_names, read_records
from molnb.recipes.readers.record import Record
from molnb.recipes.source_schema import Source
from molnb.recipes.sources import recipe_for_file

h5py = pytest.importorskip("h5py")
msgpack = pytest.importorskip("msgpack")
savemat = pytest.importorskip("scipy.io").savemat

N = 10
RNG = np.random.default_rng(0)
# The layout of QM7: Coulomb matrices, positions, padded atomic numbers, one row of energies, and
# five folds, each a list of rows.
QM7 = {
    "X": RNG.normal(size=(N, 4, 4)).astype(np.float32),
    "R": RNG.normal(size=(N, 4, 3)).astype(np.float32),
    "Z": np.array([[6, 1, 1, 0]] * N, np.float32),
    "T": RNG.normal(size=(1, N)),
    "P": RNG.permutation(N).reshape(5, 2),
    "smiles": np.array(["C" * k for k in range(1, N + 1)]),
}


def source(path: Path, **keys: str) -> Source:
    return Source(kind="file", file=str(path), **keys)


def records(path: Path, columns: list[str] | None = None) -> list[Record]:
    return list(read_records(source(path), path, columns))


def fields(path: Path, columns: list[str] | None = None) -> list[dict]:
    return [record.fields for record in records(path, columns)]


def write_qm7(path: Path) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **QM7)
    elif path.suffix == ".mat":
        savemat(path, QM7)
    else:
        with h5py.File(path, "w") as file:
            for name, values in QM7.items():
                file[name] = values.astype("S") if values.dtype.kind == "U" else values
    return path


def refusal(path: Path, columns: list[str] | None = None) -> str:
    with pytest.raises(InputError) as refused:
        records(path, columns)
    assert str(path) in str(refused.value)
    return str(refused.value)


# -------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("ending", ["npz", "mat", "h5"])
def test_arrays_with_equal_first_axis_are_a_table(tmp_path: Path, ending: str) -> None:
    path = write_qm7(tmp_path / f"qm7.{ending}")
    names = column_names(source(path), path)
    assert {*QM7} < {*names} and "Z[3]" in names and "T[0]" not in names
    rows = fields(path)
    assert len(rows) == N
    for k, row in enumerate(rows):
        assert row["smiles"] == "C" * (k + 1) and row["T"] == QM7["T"][0, k]
        assert isinstance(row["T"], float)
        for name in ("X", "R", "Z"):
            assert np.array_equal(row[name], QM7[name][k])
        assert k in QM7["P"][row["P"]], "the number of the fold that the row is in"
    chosen = fields(path, ["smiles", "Z[1]"])
    assert {"smiles", "Z[1]"} <= {*chosen[0]} <= {"smiles", "Z", "Z[1]"}
    assert [row["Z[1]"] for row in chosen] == [1.0] * N


@pytest.mark.parametrize("ending", ["npz", "mat", "h5"])
def test_a_damaged_file_of_arrays_is_one_message(tmp_path: Path, ending: str) -> None:
    data = write_qm7(tmp_path / f"qm7.{ending}").read_bytes()
    path = tmp_path / f"cut.{ending}"
    for n in (5, len(data) // 2):
        path.write_bytes(data[:n])
        assert "again" in refusal(path)


def test_a_matlab_file_of_version_7_3_has_its_axes_reversed(tmp_path: Path) -> None:
    path = tmp_path / "new.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name in ("R", "Z", "T"):
            file[name] = QM7[name].T
        file["#refs#/a"] = np.zeros(3)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    rows = fields(path)
    assert len(rows) == N and np.array_equal(rows[3]["R"], QM7["R"][3])
    assert rows[3]["T"] == QM7["T"][0, 3]


def test_python_objects_in_an_npz_are_refused_only_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "objects.npz"
    objects = np.array([{"a": 1}, {"a": 2}], object)
    np.savez(path, smiles=np.array(["C", "CC"]), notes=objects)
    assert "'notes' holds Python objects (a pickle), which could run code" in refusal(path)
    assert fields(path, ["smiles"]) == [{"smiles": "C"}, {"smiles": "CC"}]


def test_a_large_npz_does_not_enter_memory_at_once(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    n_byte = 100_000_000
    np.savez(path, z=np.zeros((n_byte // 4000, 1000), np.float32), y=np.arange(n_byte // 4000))
    tracemalloc.start()
    n_row = sum(1 for _ in read_records(source(path), path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_row == n_byte // 4000 and peak < n_byte / 2


def test_an_array_in_the_order_of_fortran_and_one_row_are_read(tmp_path: Path) -> None:
    matrix = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "f.npz", f=np.asfortranarray(matrix), c=matrix)
    for row in fields(tmp_path / "f.npz"):
        assert np.array_equal(row["f"], row["c"])
    np.savez(tmp_path / "empty.npz", a=np.float64(3))
    assert "holds no arrays with rows (a)" in refusal(tmp_path / "empty.npz")


# ------------------------------------------------------------------------------ HDF5 by groups


def test_each_group_of_an_hdf5_file_is_a_molecule(tmp_path: Path) -> None:
    path = tmp_path / "ani.h5"
    with h5py.File(path, "w") as file:
        for k in (10, 9, 1):
            group = file.create_group(f"s0/mol_{k}")
            group["species"] = np.array([6] + [1] * k)
            group["coordinates"] = RNG.normal(size=(2, k + 1, 3))
            group["energies"] = np.array([1.0, 2.0])
            group["smiles"] = "C"
            group.attrs["source"] = "made"
    assert column_names(source(path), path)[0] == "name"
    rows = fields(path)
    assert [row["name"] for row in rows] == ["s0/mol_1", "s0/mol_9", "s0/mol_10"]
    assert rows[1]["coordinates"].shape == (2, 10, 3) and rows[1]["smiles"] == "C"
    assert rows[0]["source"] == "made"
    (row, *_) = fields(path, ["species", "energies[1]"])
    assert row["energies[1]"] == 2.0 and "coordinates" not in row


def test_a_table_of_records_in_hdf5_has_its_fields_as_columns(tmp_path: Path) -> None:
    path = tmp_path / "table.h5"
    table = np.array([(b"CCO", 1.5), (b"CCN", 2.5)], [("smiles", "S3"), ("y", "f8")])
    with h5py.File(path, "w") as file:
        file["group/table"] = table
    assert fields(path) == [{"smiles": "CCO", "y": 1.5}, {"smiles": "CCN", "y": 2.5}]


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["y"] = np.arange(3)
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["x"] = np.arange(3)
        file["y"] = h5py.ExternalLink("secret.h5", "/y")
    assert "'/y' is a link to another file (secret.h5)" in refusal(tmp_path / "links.h5")
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        file.create_group("a")
        file["a/b"] = file["a"]
    assert "more than 12 deep" in refusal(tmp_path / "circle.h5")


# ------------------------------------------------------------------------------------- msgpack


def crude(n_molecule: int) -> dict:
    """Molecules as GEOM's crude files have them."""
    return {
        "C" * k: {
            "charge": 0,
            "totalconfs": 2,
            "conformers": [
                {"boltzmannweight": 0.75, "xyz": [[6.0, 0.0, 0.0, 0.1 * k], [1.0, 1.0, 0.0, 0.0]]},
                {"boltzmannweight": 0.25, "xyz": [[6.0, 0.0, 0.0, 0.2 * k], [1.0, 0.0, 1.0, 0.0]]},
            ],
        }
        for k in range(1, n_molecule + 1)
    }


def test_the_crude_layout_of_geom_is_a_record_a_molecule(tmp_path: Path) -> None:
    path = tmp_path / "drugs_crude.msgpack"
    path.write_bytes(msgpack.packb(crude(3)) + msgpack.packb(crude(2)))
    rows = fields(path)
    assert [row["smiles"] for row in rows] == ["C", "CC", "CCC", "C", "CC"]
    assert rows[1]["numbers"] == [6, 1] and rows[1]["totalconfs"] == 2
    assert np.shape(rows[1]["coords"]) == (2, 2, 3) and rows[1]["coords"][1][0] == [0.0, 0.0, 0.4]
    assert rows[1]["conformers.boltzmannweight"] == [0.75, 0.25]
    assert {"smiles", "numbers", "coords", "conformers.boltzmannweight"} <= {
        *column_names(source(path), path)
    }
    assert fields(path, ["conformers.boltzmannweight[1]"])[0]["conformers.boltzmannweight[1]"] == (
        0.25
    )


def test_conformers_of_other_atoms_make_a_malformed_row(tmp_path: Path) -> None:
    content = crude(2)
    content["CC"]["conformers"][1]["xyz"][0][0] = 7.0
    path = tmp_path / "drugs.msgpack"
    path.write_bytes(msgpack.packb(content))
    good, bad = records(path)
    assert good.problem is None
    assert bad.problem == "the conformers do not list the same atoms in one order"


def test_plain_records_and_damage_in_msgpack(tmp_path: Path) -> None:
    path = tmp_path / "plain.msgpack"
    rows = [{"smiles": "CCO", "y": 1.5}, {"smiles": "CCN", "y": 2.5}]
    for data in (msgpack.packb(rows), b"".join(map(msgpack.packb, rows))):
        path.write_bytes(data)
        assert fields(path) == rows
        path.write_bytes(data[:-3])
        assert "damaged or cut off msgpack file" in refusal(path)
    path.write_bytes(msgpack.packb("text"))
    assert "no msgpack stream of maps" in refusal(path)
    path.write_bytes(b"")
    assert "is empty: 0 rows" in refusal(path)


# -------------------------------------------------------------------------------- extended XYZ

EXTENDED = """3
Lattice="9 0 0 0 9 0 0 0 9" Properties=id:I:1:species:S:1:pos:R:3:forces:R:3:fixed:L:1 \
energy=-76.4 config_type='a b' relaxed name=water
7 O 0 0 0.12 0.1 0.2 0.3 T
8 H 0 0.76 -0.48 0.4 0.5 0.6 F
9 H 0 -0.76 -0.48 0.7 0.8 0.9 F
"""


def test_extended_xyz_has_its_values_and_columns_of_atoms(tmp_path: Path) -> None:
    path = tmp_path / "water.xyz"
    path.write_text(EXTENDED * 2)
    first, second = records(path)
    assert first.problem is None and "O  " in first.molblock and "0.7600" in first.molblock
    assert first.fields == {
        "name": "water",
        "Lattice": "9 0 0 0 9 0 0 0 9",
        "energy": "-76.4",
        "config_type": "a b",
        "relaxed": "T",
        "id": [7, 8, 9],
        "forces": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]],
        "fixed": [True, False, False],
    }
    assert second.line == 6
    assert {*column_names(source(path), path)} == {*first.fields}
    recipe = recipe_for_file(path, labels={"energy": "eV"})
    assert recipe.columns.smiles is None and recipe.labels[0].column == "energy"


@pytest.mark.parametrize(
    "wrong, problem",
    [
        (("forces:R:3", "forces:R"), "is no list of name:kind:number"),
        (("pos:R:3", "where:R:3"), "has no species, or no pos"),
        (("0.1 0.2 0.3 T", "0.1 0.2 x T"), "the column 'forces' of the atoms: could not"),
        (("0.4 0.5 0.6 F", "0.4"), "the column 'forces' of the atoms"),
    ],
)
def test_a_malformed_extended_frame_does_not_change_the_next(
    tmp_path: Path, wrong: tuple[str, str], problem: str
) -> None:
    path = tmp_path / "water.xyz"
    path.write_text(EXTENDED.replace(*wrong) + EXTENDED)
    first, second = records(path)
    assert problem in first.problem and second.problem is None


def test_a_comment_that_only_looks_like_values_stays_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "water.xyz"
    path.write_text(EXTENDED.splitlines()[0] + "\nthe acid CC(=O)O at T=0\n" + "O 0 0 0\n" * 3)
    assert {*fields(path)[0]} == {"name"}


# ------------------------------------------------------------------------------------- Parquet


def test_lists_json_and_bytes_of_parquet_are_read_as_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "smiles": [b"CCO", b"CCN"],
            "z": pa.array([[8, 6], [7]], pa.list_(pa.uint8())),
            "json": pa.array(["[1, 2]", None], pa.json_()),
            "raw": [pickle.dumps(1, 2), None],
        }
    )
    pq.write_table(table, tmp_path / "mine.parquet")
    first, second = fields(tmp_path / "mine.parquet")
    assert first == {"smiles": "CCO", "z": [8, 6], "json": "[1, 2]", "raw": pickle.dumps(1, 2)}
    assert second["raw"] is None and second["json"] is None


@pytest.mark.parametrize("ending, package", [("h5", "h5py"), ("mat", "scipy"), ("msgpack", None)])
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, package: str | None
) -> None:
    path = tmp_path / f"mine.{ending}"
    write_qm7(path) if package else path.write_bytes(msgpack.packb(crude(1)))

    def absent(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert f"needs {package or 'msgpack'} to be read: pip install" in refusal(path)
