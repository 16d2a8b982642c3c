"""Every byte of curated molecules is rechecked, and what differs is named with both values."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_data import ALKANES, make_dataset
from made_shards import make_shards

from molnb.cli import main
from molnb.data import verification
from molnb.data.verification import verify_shards
from molnb.files import file_digest, write_json
from molnb.paths import MANIFEST
from molnb.shards import SHA256, Shards, add_array, load_shards


@pytest.fixture
def copy(untouched_nci: Path, tmp_path: Path) -> Shards:
    """The molecules of nci, to be damaged."""
    return load_shards(shutil.copytree(untouched_nci, tmp_path / "nci-00000000"))


def changed_array(shards: Shards, name: str, change: Callable[[np.ndarray], None]) -> Path:
    """An array written anew with some of its values changed, its hash in the manifest likewise."""
    file = shards.path / "arrays" / f"{name}.npy"
    values = np.load(file)
    change(values)
    np.save(file, values)
    manifest = shards.manifest
    manifest["files"][f"arrays/{name}.npy"] = file.stat().st_size
    manifest[SHA256][f"arrays/{name}.npy"] = file_digest(file)
    write_json(manifest, shards.path / MANIFEST)
    return file


def test_curated_molecules_are_what_their_manifest_says(
    copy: Shards, capsys: pytest.CaptureFixture
) -> None:
    digests = {name: file_digest(copy.path / name) for name in copy.manifest["files"]}
    assert copy.manifest[SHA256] == digests
    assert main(["verify", str(copy.path)]) == 0
    printed = capsys.readouterr().out
    n_file = len(digests)
    assert f"{n_file} files, {n_file} of them by SHA-256" in printed
    assert printed.endswith("all as the manifest says\n") and "note" not in printed


def test_one_changed_byte_is_named_with_both_hashes(
    copy: Shards, capsys: pytest.CaptureFixture
) -> None:
    file = sorted(copy.path.glob("shards/*.parquet"))[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert main(["verify", str(copy.path)]) == 2
    printed = capsys.readouterr().out
    name = file.relative_to(copy.path).as_posix()
    words = f"differs: {name} has SHA-256 {file_digest(file)}, the manifest "
    assert words + copy.manifest[SHA256][name] in printed
    assert printed.endswith("1 difference\n")


def test_missing_and_cut_files_are_all_named(copy: Shards) -> None:
    (copy.path / "dropped.parquet").unlink()
    coords = copy.path / "arrays" / "coords.npy"
    size = coords.stat().st_size
    coords.write_bytes(coords.read_bytes()[:-4])
    missing, cut = sorted(verify_shards(copy.path).differences, reverse=True)
    n_byte = copy.manifest["files"]["dropped.parquet"]
    assert missing == f"dropped.parquet is missing, the manifest has {n_byte:,} bytes"
    assert cut == f"arrays/coords.npy has {size - 4:,} bytes, the manifest {size:,}"


def set_at(position: int, value: float) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[position] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("atom_offset", set_at(3, 0), "array atom_offset falls from"),
        ("atom_offset", set_at(0, 1), "array atom_offset begins with 1, not with 0"),
        ("bond_offset", set_at(-1, 10**9), "array bonds has"),
        ("bonds", set_at(0, 60_000), "array bonds names 2 times an atom that its molecule"),
        ("parent", set_at(0, 60_000), "array parent names 1 times an atom that its molecule"),
        ("n_heavy", set_at(0, 10_000), "n_heavy is above the number of atoms in 1 of"),
        ("split_random", set_at(0, 7), "split random has the value 7, parts are 0 to"),
        ("nci_orbitals.index", set_at(-1, 10**6), "array nci_orbitals.index names molecules"),
        ("nci_orbitals.index", set_at(1, 0), "array nci_orbitals.index does not ascend"),
        ("nci_charges.offset", set_at(1, 1), "task nci_charges: 2 molecules do not have a value"),
        ("nci_dipole.values", set_at(0, np.nan), "label dipole is known"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named_though_every_hash_is_right(
    copy: Shards, name: str, change: Callable[[np.ndarray], None], words: str
) -> None:
    changed_array(copy, name, change)
    differences = verify_shards(copy.path).differences
    assert differences and words in "; ".join(differences)


def test_sides_of_a_split_are_counted_against_the_manifest(copy: Shards) -> None:
    side = np.load(copy.path / "arrays" / "split_random.npy")
    changed_array(copy, "split_random", set_at(int(np.flatnonzero(side == 0)[0]), 2))
    of_train, of_test = verify_shards(copy.path).differences
    stated = copy.manifest["splits"]["random"]
    assert of_train == (
        f"split random has {stated['train'] - 1} molecules in train, the manifest says "
        f"{stated['train']}"
    )
    assert "in test" in of_test


def test_values_that_mostly_lie_outside_their_range_are_named(copy: Shards) -> None:
    labels = {label["name"]: label for label in copy.manifest["recipe"]["labels"]}
    labels["gap"]["range"] = [1000, 2000]
    write_json(copy.manifest, copy.path / MANIFEST)
    (words,) = verify_shards(copy.path).differences
    assert words.startswith("label gap lies outside 1000 to 2000 in ")


def test_shards_without_hashes_are_compared_by_size_and_it_is_said(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "trees")
    verification = verify_shards(shards)
    assert verification.differences == ()
    (note,) = verification.notes
    assert note.startswith(f"{len(shards.manifest['files'])} files have no SHA-256")
    assert "sizes were compared" in note


def test_an_added_array_has_its_hash(copy: Shards) -> None:
    shards = add_array(copy, "weight", "molecule", np.arange(float(copy.n)))
    assert verify_shards(shards).differences == ()
    file = shards.path / "arrays" / "weight.npy"
    assert shards.manifest[SHA256]["arrays/weight.npy"] == file_digest(file)
    np.save(file, np.arange(copy.n)[::-1].astype(float))
    (words,) = verify_shards(shards).differences
    assert words.startswith("arrays/weight.npy has SHA-256")


def test_a_file_that_nothing_reads_is_a_note(copy: Shards) -> None:
    (copy.path / "arrays" / "stray.npy").write_bytes(b"x")
    verification = verify_shards(copy)
    assert verification.differences == ()
    assert verification.notes == ("arrays/stray.npy is not in the manifest, so nothing reads it",)


def test_an_array_that_is_none_is_a_difference(copy: Shards) -> None:
    file = copy.path / "arrays" / "n_heavy.npy"
    file.write_bytes(b"x" * file.stat().st_size)
    copy.manifest[SHA256]["arrays/n_heavy.npy"] = file_digest(file)
    write_json(copy.manifest, copy.path / MANIFEST)
    (words,) = verify_shards(copy.path).differences
    assert words.startswith("a file is not readable: ")


def test_what_was_taken_over_keeps_the_hash_that_it_had(home: Path) -> None:
    """Damage that lies before another split of the same molecules is found after it, too."""
    from curated_files import FEW, curate_smiles

    first = curate_smiles(home, FEW)
    part = first.parts()[0]
    name = part.relative_to(first.path).as_posix()
    second = curate_smiles(home, FEW, splits={"scaffold": {"kind": "scaffold", "seed": 1}})
    assert second.path != first.path and second.manifest["adopted_from"] == first.path.name
    assert second.manifest[SHA256][name] == first.manifest[SHA256][name]
    assert verify_shards(second).differences == ()
    shutil.rmtree(second.path)
    first.manifest[SHA256][name] = "0" * 64  # as if the part had been another when it was written
    write_json(first.manifest, first.path / MANIFEST)
    third = curate_smiles(home, FEW, splits={"scaffold": {"kind": "scaffold", "seed": 2}})
    (words,) = verify_shards(third).differences
    assert words.startswith(f"{name} has SHA-256") and words.endswith("0" * 64)


def test_known_values_that_are_kept_alone_are_what_their_manifest_says(tmp_path: Path) -> None:
    """As a task of many labels keeps them, few of which a molecule has."""
    labels = {
        f"x{label}": [float(row) if (row + label) % 6 == 0 else None for row in range(12)]
        for label in range(40)
    }
    shards = make_dataset(tmp_path, "wide", ALKANES, labels, [{"name": "w", "labels": [*labels]}])
    assert shards.array("w.values").ndim == 1
    assert not verify_shards(shards).differences
    for wrong, message in ((40, "names label 40, the task has 40"), (3, "x3 is known 3 times")):
        changed_array(shards, "w.label", lambda numbers, wrong=wrong: numbers.put(0, wrong))
        assert any(message in fault for fault in verify_shards(shards).differences), wrong


def test_known_values_are_told_by_label_in_whatever_pieces_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {
        f"x{label}": [float(row) if (row + label) % 6 == 0 else None for row in range(12)]
        for label in range(40)
    }
    shards = make_dataset(tmp_path, "wide", ALKANES, labels, [{"name": "w", "labels": [*labels]}])
    expected = [[value for value in of_label if value is not None] for of_label in labels.values()]
    for piece in (1, 7, 80, 1000):
        monkeypatch.setattr(verification, "PIECE", piece)
        known = verification._known_of_labels(shards, "w", 40)
        assert [values.tolist() for values in known] == expected, piece
