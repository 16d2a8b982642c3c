"""Every shipped recipe says what must be said, and runs on a file in its documented layout."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import documented_layouts as layouts
import numpy as np
import pytest
import yaml
from documented_layouts import Found
from made_server import serve

from molnb.curation.pipeline import curate
from molnb.recipes.mix_schema import Mix
from molnb.recipes.registry import make_recipe
from molnb.recipes.schema import Recipe
from molnb.shards import Shards

FOLDER = Path(__file__).resolve().parents[2] / "data_recipes"
FILES = sorted(FOLDER.glob("*.yaml"))
CONTENT = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES}
MIXES = {name for name, content in CONTENT.items() if "members" in content}
QUANTUM = (
    "qm9 qm7 qm7b pcqm4m_g25_n4 pm6_83m qmugs geom_drugs compas_1d zinc12k zinc250k unimol zinc20 "
    "wehi_xtb"
).split()
# What is converted before it is stored: energies are in eV, lengths in Å, polarisabilities in Å³.
NOT_STORED = {"Hartree", "kcal/mol", "kJ/mol", "meV", "a0", "a0^2", "a0^3", "nm", "1/cm"}
ENERGIES = ("energy", "enthalpy", "orbital", "gap", "potential", "affinity")


def shipped(name: str) -> Recipe:
    return make_recipe(CONTENT[name], name)


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_a_shipped_recipe_or_mix_validates_and_bears_the_name_of_its_file(name: str) -> None:
    if name in MIXES:
        read = Mix.model_validate(CONTENT[name])
    else:
        read = shipped(name)
    assert read.name == name
    assert read.title and read.description and read.licence and read.citation


@pytest.mark.parametrize("name", sorted(set(CONTENT) - MIXES))
def test_what_must_be_downloaded_says_what_to_expect_and_what_nobody_checked(name: str) -> None:
    recipe = shipped(name)
    for label in recipe.labels:
        assert label.quantity and label.unit and label.theory and label.geometry
    if recipe.source.kind == "url":
        assert recipe.disk and recipe.time
        assert recipe.faults or recipe.warning or recipe.unverified
        addresses = [recipe.source.url, *recipe.source.mirrors]
        assert all(urlparse(address).scheme == "https" for address in addresses)
        if recipe.source.sha256 is None:
            assert recipe.unverified, "no hash: say that the content is not verified"


@pytest.mark.parametrize("name", sorted(MIXES))
def test_the_members_of_a_mix_are_shipped_recipes_with_the_splits_they_name(name: str) -> None:
    mix = Mix.model_validate(CONTENT[name])
    for member in mix.members.values():
        if member.recipe not in CONTENT:
            continue  # of another family, which names its own
        content = CONTENT[member.recipe] | member.changes
        recipe = make_recipe(content, f"{name}, member {member.recipe}")
        assert member.split is None or member.split in recipe.splits


@pytest.mark.parametrize("name", QUANTUM)
def test_units_follow_the_promise(name: str) -> None:
    for label in shipped(name).labels:
        assert label.unit not in NOT_STORED, label.name
        words = label.quantity.lower()
        if label.level == "molecule" and label.unit != "as in the file":
            if any(word in words for word in ENERGIES):
                assert label.unit == "eV" or "population" in words, label.name
            if "dipole" in words:
                assert label.unit == "D"
            if "polarisability" in words:
                assert label.unit == "Å^3"


@pytest.mark.parametrize("name", sorted(set(CONTENT) - MIXES))
def test_every_task_predicts_something_that_is_no_count_of_atoms(name: str) -> None:
    recipe = shipped(name)
    if name not in QUANTUM:
        return
    for task in recipe.tasks:
        for label in task.labels:
            assert recipe.label(label).quantity not in ("total energy", "internal energy at 0 K")


# ----------------------------------------------------------------------------- end to end


def served(name: str, address: str, **changes) -> Recipe:
    """A shipped recipe that fetches from a folder of this computer, whatever its rows and hash."""
    content = CONTENT[name] | changes
    source = dict(content["source"])
    for key in ("rows", "sha256", "bytes", "mirrors"):
        source.pop(key, None)
    asked = urlparse(source["url"])
    query = f"?{asked.query}" if asked.query else ""
    source["url"] = f"{address}{asked.path}{query}"
    if name == "pm6_83m":
        source["parts"] = [1, 2]
    if name == "zinc20":
        source["parts"] = ["AA/AAEA", "AB/ABEA"]
    flags = {}
    for key, flag in content.get("flags", {}).items():
        if "listed" in flag:
            path = urlparse(flag["listed"]["url"]).path
            listed = {k: v for k, v in flag["listed"].items() if k != "n"}
            flag = flag | {"listed": listed | {"url": f"{address}{path}"}}
        flags[key] = flag
    # Published splits are of all rows of a set; here are two or three.
    splits = {"random": {"kind": "random"}}
    return make_recipe(
        content | {"source": source, "flags": flags, "splits": splits, "default_split": "random"}
    )


def curated(recipe: Recipe, home: Path) -> Shards:
    return curate(recipe, workers=0, home=home, progress=False)


def check(shards: Shards, found: Found) -> None:
    """Rows in, molecules, values in the right unit, labels at their atoms, distances as given."""
    table = shards.table().to_pylist()
    by_smiles = {row["smiles"]: row for row in table}
    assert shards.manifest["n_source"] == found.n_row
    assert set(by_smiles) == found.smiles
    for smiles, values in found.values.items():
        for name, value in values.items():
            assert by_smiles[smiles][name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    for smiles, labels in found.atoms.items():
        for name, values in labels.items():
            assert by_smiles[smiles][name][: len(values)] == pytest.approx(values, abs=1e-6)
    for smiles, expected in found.distances.items():
        row = by_smiles[smiles]
        xyz = np.array(row["coords"][: 3 * row["n_atoms"]]).reshape(-1, 3)
        i, j = np.triu_indices(len(xyz), 1)
        measured = np.sort(np.linalg.norm(xyz[i] - xyz[j], axis=1))
        np.testing.assert_allclose(measured, expected, atol=2e-4)
    for name, marked in found.marked.items():
        assert [smiles for smiles, row in by_smiles.items() if row[name]] == marked
    for row in table:
        for prefix in ("", "gfn2_"):
            names = [prefix + name for name in ("homo", "lumo", "gap")]
            if all(row.get(name) is not None for name in names):
                homo, lumo, gap = (row[name] for name in names)
                assert gap == pytest.approx(lumo - homo, abs=0.01)


@pytest.mark.parametrize(
    "name",
    [
        "qm9",
        "qm7",
        "qm7b",
        "pcqm4m_g25_n4",
        "pm6_83m",
        "qmugs",
        "geom_drugs",
        "unimol",
        "zinc20",
        "compas_1d",
        "zinc12k",
        "zinc250k",
    ],
)
def test_a_recipe_runs_on_a_file_in_its_documented_layout(name: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    found = getattr(layouts, name)(files)
    with serve(files) as address:
        check(curated(served(name, address), tmp_path), found)


def test_qm9_as_a_table_of_smiles_is_read_as_toymix_changes_it(tmp_path: Path) -> None:
    found = layouts.qm9_table(tmp_path)
    with serve(tmp_path) as address:
        changes = CONTENT["toymix"]["members"]["qm9"]["changes"]
        shards = curated(served("qm9", address, **changes), tmp_path)
    check(shards, found)
    values = {row["smiles"]: row for row in shards.table().to_pylist()}
    assert values["C"]["u0_atom"] == pytest.approx(-17.17, abs=0.005)
    assert any("marks 1 molecules" in notice for notice in shards.manifest["notices"])


def test_qm9_with_atoms_and_whole_coordinates_is_read_by_the_same_recipe(tmp_path: Path) -> None:
    found = layouts.qm9_parquet(tmp_path)
    content = CONTENT["qm9"] | {"splits": {"random": {"kind": "random"}}, "flags": {}}
    recipe = make_recipe(content | {"default_split": "random"})
    file = tmp_path / "qm9_3d.parquet"
    shards = curate(recipe, source=file, workers=0, home=tmp_path, progress=False)
    check(shards, found)
    assert "u0_atom" not in shards.manifest["labels"]


def test_the_numbers_in_qm7b_s_comments_become_its_labels(tmp_path: Path) -> None:
    """The frames alone, without the archive and with conformers made here."""
    (tmp_path / "dsgdb7njp.xyz").write_text(layouts.qm7b_frames())
    source = {"kind": "file", "file": str(tmp_path / "dsgdb7njp.xyz"), "format": "xyz"}
    source["header"] = CONTENT["qm7b"]["source"]["header"]
    content = CONTENT["qm7b"] | {"source": source, "conformers": {"kind": "made"}}
    check(curated(make_recipe(content), tmp_path), Found(2, {"C", "O"}, layouts.qm7b_values()))


def test_wehi_gets_the_labels_of_nci(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    shards = curate("wehi_xtb", n=2, workers=0, home=tmp_path, progress=False)
    ours = shipped("wehi_xtb").labels
    assert ours == shipped("nci").labels
    for row in shards.table().to_pylist():
        assert row["gap"] == pytest.approx(row["lumo"] - row["homo"], abs=1e-6)


def test_values_of_another_unit_lie_outside_of_the_ranges_of_qm9() -> None:
    """Numbers of methane and water are inside once converted, and outside as the file has them."""
    recipe = shipped("qm9")
    converted = "alpha homo gap r2 zpve u0 u298 h298 g298 u0_atom u298_atom h298_atom g298_atom"
    for smiles, row in layouts.QM9.items():
        for column, value in zip(layouts.QM9_COLUMNS, row, strict=True):
            label = recipe.label(column)
            low, high = label.range
            assert low <= value * label.scale <= high, (smiles, column)
            if column in converted.split() and column not in ("alpha", "r2"):
                assert not low <= value <= high, (smiles, column)


def test_published_sizes_follow_from_the_declared_splits() -> None:
    for name, n, sizes in (
        ("qm9", 133_885, (107_109, 13_388, 13_388)),
        ("zinc12k", 12_000, (9_600, 1_200, 1_200)),
    ):
        recipe = shipped(name)
        split = recipe.splits["toymix"]
        n_val = int(n * split.fractions[1])
        n_test = int(n * split.fractions[2])
        assert (split.kind, split.seed, recipe.source.rows) == ("shuffle", 42, n)
        assert (n - n_val - n_test, n_val, n_test) == sizes


def test_the_little_data_of_qm9_is_nested_shares_of_the_test_set() -> None:
    splits = shipped("qm9").splits
    shares = {name: splits[name].share for name in ("train50", "train100", "train200")}
    assert shares == {"train50": 0.5, "train100": 1.0, "train200": 2.0}
    for name in shares:
        assert (splits[name].of, splits[name].stratify) == ("scaffold", "gap")
