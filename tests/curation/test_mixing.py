"""Datasets of a mix become one: molecules joined or apart, labels, splits, leaks, all counted."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curated_files import file_digests, refuse_conformers
from made_mixes import curate_here, write_member, write_mix

from molnb.cli import main
from molnb.curation.mixes import mixing
from molnb.curation.mixes.mix_columns import MEANING
from molnb.curation.mixes.mix_parts import JOINED
from molnb.curation.mixes.mix_plan import MemberRows, make_plan
from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.data.tasks import LabelColumn
from molnb.files import write_table
from molnb.shards import EVERY_SPLIT, LOOSE_KEYS, Shards, load_shards

LABEL = {"y": {}}
CHAINS = [
    "CCO",
    "CCCO",
    "CCN",
    "CCCN",
    "CC(C)O",
    "CCOC",
    "CCS",
    "CCF",
    "CCCl",
    "CC=O",
    "CC#N",
    "CCBr",
]


def pair(folder: Path, first: list[tuple], second: list[tuple], **keys) -> Shards:
    """A mix of two members: the first knows `y`, the second `z`."""
    write_member(folder, "a", first, {"y": {}})
    write_member(folder, "b", second, {"z": {}})
    return curate_here(folder, write_mix(folder, {"a": "a", "b": "b"}, **keys))


def rows_of(shards: Shards, *columns: str) -> list[tuple]:
    return [tuple(row.values()) for row in shards.table(list(columns)).to_pylist()]


# ------------------------------------------------------------------------------------- molecules


def test_a_molecule_of_two_members_is_one_sample_with_the_labels_of_both(tmp_path: Path) -> None:
    shards = pair(
        tmp_path,
        [("CCO", "train", 1), ("CCN", "train", 2)],
        [("CCS", "test", 30), ("OCC", "train", 10)],
    )
    assert rows_of(shards, "smiles", "dataset", "y", "z") == [
        ("CCO", "a+b", 1.0, 10.0),
        ("CCN", "a", 2.0, None),
        ("CCS", "b", None, 30.0),
    ]
    assert [shards.array(f"of_{name}.index").tolist() for name in "yz"] == [[0, 1], [0, 2]]
    assert shards.array("of_z.values").ravel().tolist() == [10, 30]
    assert shards.array("split_mix").tolist() == [0, 0, 2]
    assert shards.manifest["mix"]["joined"] == {"a+b": 1}


def test_every_row_of_every_member_is_a_sample_or_a_lost_row_that_says_why(tmp_path: Path) -> None:
    shards = pair(
        tmp_path,
        [("CCO", "train", 1), ("no molecule", "train", 2), ("CCO", "train", 1)],
        [("OCC", "train", 10), ("CCS", "val", 3)],
    )
    assert shards.manifest["n_sampled"] == 5 and shards.n == 2
    lost = shards.dropped().to_pylist()
    assert [
        (row["row"], row["dataset"], row["detail"]) for row in lost if row["step"] == "mix"
    ] == [(3, "b", "row 0")]
    assert sorted([row["row"] for row in lost] + shards.array("row").tolist()) == [0, 1, 2, 3, 4]
    assert shards.manifest["dropped"]["mix"] == {JOINED: 1}
    counted = sum(sum(reasons.values()) for reasons in shards.manifest["dropped"].values())
    assert len(lost) == counted == shards.manifest["n_dropped"] == 3


def test_stereoisomers_and_charges_as_drawn_are_molecules_of_their_own(tmp_path: Path) -> None:
    shards = pair(
        tmp_path,
        [("C[C@H](O)F", "train", 1), ("CC(=O)O", "train", 2)],
        [("C[C@@H](O)F", "train", 3), ("CC(O)F", "train", 4), ("CC(O)=O", "train", 5)],
    )
    assert [dataset for (dataset,) in rows_of(shards, "dataset")] == ["a", "a+b", "b", "b"]
    assert len(set(rows_of(shards, "identity"))) == 4
    assert len(set(shards.table(["group"])["group"].to_pylist())) == 2


def test_where_sides_differ_samples_stay_apart_with_one_identity_and_the_leak_is_counted(
    tmp_path: Path,
) -> None:
    first = [("CCO", "train", 1), ("CCN", "test", 2), ("CCF", "", 3)]
    second = [("CCO", "test", 3), ("CCN", "train", 4), ("CCF", "train", 5), ("CCS", "train", 6)]
    shards = pair(tmp_path, first, second)
    by_identity = dict.fromkeys(rows_of(shards, "identity"), 0)
    assert shards.n == 7 and len(by_identity) == 4
    mix = shards.manifest["mix"]
    assert mix["joined"] == {} and mix["apart"] == {"geometry": 0, "side": 3}
    assert mix["leaks"] == [
        {"train": "a", "held_out_by": "b", "n": 1},
        {"train": "b", "held_out_by": "a", "n": 1},
    ]
    assert "a in b 1, b in a 1; 2 samples, kept (leaks: drop takes them out)" in shards.summary()
    dropped = pair(tmp_path, first, second, leaks="drop")
    assert shards.array("split_mix").tolist() == [0, 2, -1, 2, 0, 0, 0]
    assert dropped.array("split_mix").tolist() == [-1, 2, -1, 2, -1, 0, 0]
    assert dropped.manifest["splits"]["mix"]["without_side"] == 3
    assert "2 samples, taken out of training" in dropped.summary()


def test_a_tautomer_that_another_member_tests_on_leaks_too(tmp_path: Path) -> None:
    shards = pair(tmp_path, [("CC(C)=O", "train", 1)], [("CC(O)=C", "test", 3), ("CS", "train", 4)])
    assert shards.manifest["mix"]["leaks"] == [{"train": "a", "held_out_by": "b", "n": 1}]


def test_what_a_split_means_to_be_seen_is_no_leak(tmp_path: Path) -> None:
    """A fourth part of a published split; val and test of the same molecules would leak."""
    parts = [("CCO", "train", 1), ("CCN", "train", 1)]
    a = curate_here(tmp_path, write_member(tmp_path, "a", parts, {"y": {}}))
    b = curate_here(tmp_path, write_member(tmp_path, "b", parts, {"z": {}}))
    counts = []
    for sides in ([3, 3], [3, 2], [1, 2]):
        table = pq.read_table(b.path / "splits.parquet")
        side = pa.array(sides, pa.int8())
        position = table.schema.get_field_index("split_own")
        write_table(table.set_column(position, "split_own", side), b.path / "splits.parquet")
        members = [MemberRows("a", a, "own", 0), MemberRows("b", b, "own", 2)]
        counts.append(make_plan(members, tmp_path / "spill", drop_leaks=True).account["leaking"])
    assert counts == [0, 1, 2]


def test_geometries_of_another_rule_keep_samples_apart(tmp_path: Path) -> None:
    write_member(tmp_path, "a", [("CCCCO", "train", 1)], {"y": {}})
    write_member(tmp_path, "b", [("CCCCO", "train", 2)], {"z": {}})
    other = {"recipe": "b.yaml", "changes": {"conformers": {"seed": 7}}}
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": other}))
    assert shards.manifest["mix"]["apart"] == {"geometry": 1, "side": 0}
    assert rows_of(shards, "dataset") == [("a",), ("b",)]
    assert len(set(rows_of(shards, "identity"))) == 1
    coords = [np.array(row) for (row,) in rows_of(shards, "coords")]
    assert not np.allclose(*coords, atol=1e-3)


def test_given_geometries_of_two_datasets_never_join(tmp_path: Path) -> None:
    """As if both had been: the manifests of two members say so before they are joined."""
    write_member(tmp_path, "a", [("CCO", "train", 1), ("CCN", "train", 1)], {"y": {}})
    write_member(tmp_path, "b", [("CCO", "train", 2)], {"z": {}})
    for name in "ab":
        file = curate_here(tmp_path, tmp_path / f"{name}.yaml").path / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["recipe"]["conformers"]["kind"] = "given"
        file.write_text(json.dumps(manifest))
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}))
    assert [dataset for (dataset,) in rows_of(shards, "dataset")] == ["a", "a", "b"]
    assert shards.manifest["mix"]["apart"] == {"geometry": 1, "side": 0}


def test_samples_have_the_structure_and_geometry_of_their_member(tmp_path: Path) -> None:
    rows = [(smiles, "train", i) for i, smiles in enumerate(CHAINS)]
    shards = pair(tmp_path, rows[:7], rows[4:])
    members = [curate_here(tmp_path, tmp_path / f"{name}.yaml") for name in "ab"]
    joined = Corpus([shards], hydrogens=True)
    apart = Corpus(members, hydrogens=True)
    assert shards.n == 12 and apart.n == 15
    same = [apart.datasets[0].smiles().index(smiles) for smiles in CHAINS[:7]]
    same += [members[0].n + members[1].smiles().index(smiles) for smiles in CHAINS[7:]]
    ours = joined.batch(np.arange(12))
    theirs = apart.batch(np.array(same))
    for name in ("numbers", "atom_feats", "coords"):
        assert (ours.atom[name] == theirs.atom[name]).all()
    assert (ours.bond["bonds"] == theirs.bond["bonds"]).all()


# --------------------------------------------------------------------------- the slow plain version


def plain_join(members: dict[str, Shards]) -> tuple[dict, dict, int]:
    """Samples by (SMILES, side) with their members; leaks by pair; molecules apart by side."""
    samples: dict[tuple, list[str]] = {}
    keys: dict[str, set] = {}
    for name, shards in members.items():
        sides = shards.array("split_own").tolist()
        for row, side in zip(shards.rows(["smiles", *LOOSE_KEYS]), sides, strict=True):
            samples.setdefault((row["smiles"], side), []).append(name)
            keys[row["smiles"]] = {row[key] for key in LOOSE_KEYS}
    leaks: dict[tuple, set] = {}
    for (smiles, side), names in samples.items():
        for (other, other_side), others in samples.items():
            if side != 0 or other_side not in (1, 2) or not keys[smiles] & keys[other]:
                continue
            for train in names:
                for tested in others:
                    if train != tested:
                        leaks.setdefault((train, tested), set()).add((smiles, side))
    apart = 0
    for smiles in keys:
        owners = [samples[key] for key in samples if key[0] == smiles]
        apart += len(owners) > 1 and len({name for names in owners for name in names}) > 1
    return samples, {pair: len(those) for pair, those in leaks.items()}, apart


@pytest.mark.parametrize("seed", [1, 2])
def test_joins_and_leaks_are_those_of_a_plain_program(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    members = {}
    for name in "abc":
        parts = draw.choices(["train", "train", "val", "test", ""], k=9)
        rows = [*zip(draw.sample(CHAINS, 9), parts, range(9), strict=True)]
        members[name] = curate_here(tmp_path, write_member(tmp_path, name, rows, {name: {}}))
    shards = curate_here(tmp_path, write_mix(tmp_path, {name: name for name in "abc"}))
    samples, leaks, apart = plain_join(members)
    table = rows_of(shards, "smiles", "split_mix", "dataset")
    assert {(smiles, side): names.split("+") for smiles, side, names in table} == samples
    counted = shards.manifest["mix"]
    pairs = {(leak["train"], leak["held_out_by"]): leak["n"] for leak in counted["leaks"]}
    assert pairs == leaks and leaks
    assert counted["apart"]["side"] == apart
    for name, member in members.items():
        values = dict(rows_of(member, "smiles", name))
        for smiles, value, names in rows_of(shards, "smiles", name, "dataset"):
            assert value == (values[smiles] if name in names.split("+") else None)


# ---------------------------------------------------------------------------------------- labels


def test_labels_of_one_meaning_are_one_column_and_their_conflicts_are_listed(
    tmp_path: Path,
) -> None:
    first = [("CCO", "train", 1), ("CCN", "train", 2), ("CCS", "train", None), ("CF", "train", 5)]
    second = [("CCN", "train", 3), ("CCS", "train", 4), ("CF", "train", 5 + 1e-9)]
    write_member(tmp_path, "a", first, LABEL)
    write_member(tmp_path, "b", second, LABEL)
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}))
    assert list(shards.tasks) == ["of_y"] and list(shards.manifest["labels"]) == ["y"]
    assert [value for (value,) in rows_of(shards, "y")] == [1, 2, 4, 5]
    assert shards.manifest["labels"]["y"]["known"] == 4
    (conflict,) = shards.conflicts().to_pylist()
    assert conflict["dataset"] == "a+b" and conflict["label"] == "y" and conflict["row"] == 1
    assert (conflict["kept"], conflict["values"], conflict["rows"]) == (2.0, [2.0, 3.0], [1, 0])
    assert "the first member's value is kept: y 1 (conflicts.parquet)" in shards.summary()


def test_what_rows_of_a_member_disagree_on_stays_listed_under_the_sample(tmp_path: Path) -> None:
    write_member(tmp_path, "a", [("CCO", "train", 1)], {"y": {"unit": "eV"}})
    second = [("CCS", "train", 3), ("OCC", "train", 4), ("CCO", "train", 8)]
    write_member(tmp_path, "b", second, LABEL, repeats="drop")
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}))
    (conflict,) = shards.conflicts().to_pylist()
    assert (conflict["row"], conflict["label"], conflict["dataset"]) == (0, "b_y", "b")
    assert conflict["values"] == [4.0, 8.0] and conflict["kept"] is None
    assert shards.manifest["labels"]["b_y"]["missing"] == {"rows disagree": 1}
    assert shards.manifest["labels"]["a_y"]["missing"] == {"in no dataset that has it": 1}


def test_labels_of_a_mix_mean_the_same_by_the_rule_of_datasets_read_together() -> None:
    assert (*MEANING, "classes") == LabelColumn._fields


@pytest.mark.parametrize("difference", ["quantity", "unit", "theory", "geometry", "classes"])
def test_labels_of_one_name_that_differ_are_renamed(difference: str, tmp_path: Path) -> None:
    changes = {difference: "eV" if difference == "unit" else "another"}
    keys = {}
    if difference == "classes":
        changes = {}
        keys = {"tasks": [{"name": "of_y", "labels": ["y"], "kind": "binary", "loss": "bce"}]}
    write_member(tmp_path, "a", [("CCO", "train", 1), ("CCN", "train", 0)], LABEL)
    write_member(tmp_path, "b", [("CCO", "train", 0), ("CCS", "train", 1)], {"y": changes}, **keys)
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}))
    assert list(shards.tasks) == ["a_of_y", "b_of_y"]
    assert rows_of(shards, "a_y", "b_y") == [(1, 0), (0, None), (None, 1)]
    assert shards.conflicts().num_rows == 0
    assert shards.manifest["mix"]["renamed"] == {"a_y": "a", "b_y": "b"}


def test_flags_texts_and_reserved_names_find_columns_of_their_own(tmp_path: Path) -> None:
    rows = [("CCO", "train", 1, "x"), ("CCN", "train", 2, "z")]
    for name in "ab":
        table = write_member(tmp_path, name, [], {"dataset": {}}).with_suffix(".csv")
        lines = [f"{smiles},{part},{y},{name}{note}\n" for smiles, part, y, note in rows]
        keys = {
            "columns": {"keep": ["Note"]},
            "flags": {"high": {"label": "dataset", "equals": [2], "why": "a test"}},
        }
        write_member(tmp_path, name, [], {"dataset": {"theory": name}}, **keys)
        table.write_text("smiles,part,dataset,Note\n" + "".join(lines))
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}))
    assert rows_of(shards, "dataset", "a_dataset", "b_dataset") == [("a+b", 1, 1), ("a+b", 2, 2)]
    assert rows_of(shards, "a_Note", "b_Note", "a_high", "b_high") == [
        ("ax", "bx", False, False),
        ("az", "bz", True, True),
    ]


def computed(name: str, level: str, **keys: str) -> dict:
    declared = {"quantity": name, "unit": "1", "theory": "GFN2-xTB", "geometry": "made"}
    return {"name": name, "level": level, **declared, **keys}


def test_labels_of_atoms_and_residuals_are_those_of_the_members(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    labels = [
        computed("energy", "molecule", computed="xtb.energy"),
        computed("above_atoms", "molecule", residual_of="energy"),
        computed("partial_charge", "atom", computed="xtb.charges"),
    ]
    tasks = [
        {"name": "residual", "labels": ["above_atoms"]},
        {"name": "charges", "labels": ["partial_charge"], "level": "atom", "fold": "sum"},
    ]
    for name, part in (("a", slice(0, 4)), ("b", slice(2, 6))):
        rows = [(smiles, "train") for smiles in CHAINS[part]]
        write_member(tmp_path, name, rows, {}, labels=labels, tasks=tasks)
    shards = curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}))
    first = curate_here(tmp_path, tmp_path / "a.yaml")
    second = curate_here(tmp_path, tmp_path / "b.yaml")
    # charges mean the same in both; a residual is its dataset's
    assert list(shards.tasks) == ["a_residual", "charges", "b_residual"]
    assert rows_of(shards, "a_above_atoms")[:4] == rows_of(first, "above_atoms")
    assert rows_of(shards, "b_above_atoms")[2:] == rows_of(second, "above_atoms")
    assert shards.array("b_residual.index").tolist() == [2, 3, 4, 5]
    fit = shards.manifest["fits"]["b_above_atoms"]
    assert fit == second.manifest["fits"]["above_atoms"] and fit["of"] == "energy"
    charges = np.concatenate(
        [first.array("charges.values"), second.array("charges.values")[second_half(second) :]]
    )
    assert (shards.array("charges.values") == charges).all()
    assert shards.conflicts().num_rows == 0


def second_half(shards: Shards) -> int:
    """Atoms before the third molecule."""
    return int(shards.array("atom_offset")[2])


# --------------------------------------------------------------------------- folders, interruptions


def test_members_are_folders_of_their_own_that_any_mix_takes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = pair(tmp_path, [("CCO", "train", 1)], [("CCN", "train", 2)])
    refuse_conformers(monkeypatch)
    alone = curate_here(tmp_path, tmp_path / "a.yaml")
    assert shards.manifest["mix"]["members"]["a"]["folder"] == alone.path.name
    assert shards.manifest["mix"]["members"]["a"]["recipe_id"] == alone.manifest["recipe_id"]
    path = write_mix(tmp_path, {"b": {"recipe": "b.yaml", "weight": 3}, "a": "a"})
    other = curate_here(tmp_path, path)
    assert other.path != shards.path and other.smiles() == ["CCN", "CCO"]
    assert other.manifest["mix"]["members"]["b"]["weight"] == 3
    again = curate_here(tmp_path, path)
    assert again.path == other.path


def test_an_interrupted_join_is_made_anew_and_ends_in_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = pair(tmp_path, [("CCO", "train", 1)], [("CCN", "train", 2), ("CCO", "train", 3)])
    digests = file_digests(shards)
    for file in [shards.path / "manifest.json", shards.path / "arrays" / "coords.npy"]:
        file.unlink()
    (shards.path / "shards" / "part-00007.parquet").write_bytes(b"left behind")

    def stop(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mixing, "write_arrays", stop)
        curate_here(tmp_path, tmp_path / "blend.yaml")
    assert not (shards.path / "manifest.json").exists()
    refuse_conformers(monkeypatch)
    assert file_digests(curate_here(tmp_path, tmp_path / "blend.yaml")) == digests


def test_parts_of_members_that_join_wholly_leave_no_empty_part(tmp_path: Path) -> None:
    rows = [(smiles, "train", 1) for smiles in CHAINS]
    shards = pair(tmp_path, rows, rows[::-1])
    assert shards.n == len(CHAINS) and len(shards.parts()) == 1
    assert load_shards(shards.path).table(["z"])["z"].null_count == 0


def test_sources_and_samples_are_those_of_members(tmp_path: Path) -> None:
    rows = [(smiles, "train", 1) for smiles in CHAINS]
    pair(tmp_path, rows[:2], rows[2:4])
    file = tmp_path / "another.csv"
    file.write_text("smiles,part,z\nCCCCCC,train,4\nCCCCC,val,5\nCCCC,test,6\nCCC,test,7\n")
    shards = curate(
        tmp_path / "blend.yaml",
        source={"b": file},
        n=3,
        workers=0,
        home=tmp_path,
        progress=False,
    )
    assert shards.path.name.endswith("-n3") and shards.manifest["n_source"] == 6
    assert [dataset for (dataset,) in rows_of(shards, "dataset")] == ["a", "a", "b", "b", "b"]
    sizes = shards.manifest["mix"]["members"]["b"]["sides"]
    assert sum(sizes.values()) == 3 and set(sizes) == set(EVERY_SPLIT)


def test_the_summary_names_members_joins_and_what_stays_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_member(tmp_path, "a", [("CCO", "train", 1), ("CCN", "train", 2)], {"y": {}})
    write_member(tmp_path, "b", [("CCO", "train", 1), ("CCN", "val", 2)], {"z": {}})
    curate_here(tmp_path, write_mix(tmp_path, {"a": "a", "b": "b"}), progress=True)
    printed = capsys.readouterr().out
    assert "b: 2 rows, 2 molecules = 1 samples + 1 joined to earlier ones" in printed
    assert "samples of several members: a+b 1" in printed
    assert "0 for another rule of geometry, 1 for another side of the split" in printed
    assert "leaks, training of one member in val or test of another: a in b 1" in printed


def test_a_mix_is_listed_and_curated_by_command_as_any_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    write_member(tmp_path, "a", [("CCO", "train", 1)], {"y": {}}, structure={"max_heavy_atoms": 9})
    write_mix(tmp_path, {"a": "a"}, title="a blend of one")
    monkeypatch.setenv("MOLNB_RECIPES", str(tmp_path))
    assert main(["recipes"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["blend", "a"] in lines, "its name and its members"
    assert main(["curate", "blend", "--workers", "0", "--out", str(tmp_path)]) == 0
    shards = load_shards(capsys.readouterr().out.splitlines()[-1])
    assert shards.name == "blend" and shards.smiles() == ["CCO"]
    assert shards.manifest["recipe"]["structure"]["max_heavy_atoms"] == 9
    assert main(["curate", "blend", "--label", "y:1"]) == 2
    assert "a recipe says this itself" in capsys.readouterr().err
