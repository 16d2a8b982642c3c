"""Mixes are recipes of recipes: read strictly, with what they change in their members."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_mixes import write_member, write_mix

from molnb.curation.pipeline import curate
from molnb.curation.smiles_corpus import load_molecules
from molnb.errors import InputError
from molnb.recipes.mix_members import member_recipes, member_sources, replaced
from molnb.recipes.mix_schema import Mix
from molnb.recipes.registry import list_recipes, load_recipe, mix_id


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes, named in MOLNB_RECIPES, with the recipe `small`."""
    monkeypatch.setenv("MOLNB_RECIPES", str(tmp_path))
    write_member(tmp_path, "small", [("CCO", "train", 1)], {"y": {}})
    return tmp_path


def test_a_mix_is_listed_and_loaded_by_name_as_any_recipe(folder: Path) -> None:
    write_mix(folder, {"s": {"recipe": "small"}, "n": {"recipe": "nci", "weight": 2}})
    assert "blend" in list_recipes()
    mix = load_recipe("blend")
    assert isinstance(mix, Mix) and list(mix.members) == ["s", "n"]
    recipes = member_recipes(mix)
    assert [recipe.name for recipe in recipes.values()] == ["small", "nci"]
    assert recipes["n"] == load_recipe("nci")


def test_changes_replace_keys_at_any_depth_and_leave_the_others(folder: Path) -> None:
    changes = {
        "structure": {"max_heavy_atoms": 9},
        "conformers": {"seed": 5},
        "splits": {"random": {"kind": "random", "seed": 3}},
    }
    write_mix(folder, {"s": {"recipe": "small", "changes": changes, "split": "random"}})
    recipe = member_recipes(load_recipe("blend"))["s"]
    assert recipe.structure.max_heavy_atoms == 9 and recipe.structure.metals == "drop"
    assert recipe.conformers.seed == 5 and recipe.conformers.kind == "made"
    assert set(recipe.splits) == {"own", "random"} and recipe.default_split == "own"
    assert recipe.labels == load_recipe("small").labels


def test_a_part_of_another_kind_and_a_list_are_replaced_whole() -> None:
    content = {"source": {"kind": "file", "file": "a.csv", "rows": 3}, "faults": ["x", "y"]}
    url = {"kind": "url", "url": "https://example.org/a.csv"}
    assert replaced(content, {"source": url, "faults": ["z"]}) == {"source": url, "faults": ["z"]}
    assert replaced(content, {"source": {"rows": 4}})["source"] == content["source"] | {"rows": 4}
    assert content["source"]["rows"] == 3


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"recipe": "smal"}, r"member 's': There is no recipe 'smal' \(did you mean 'small'\?\)"),
        ({"recipe": "none.yaml"}, r"member 's': There is no recipe file none.yaml"),
        ({"recipe": "blend"}, "member 's' is the mix itself"),
        ({"recipe": "small", "wieght": 2}, r"'members.s.wieght' \(did you mean 'weight'\?\)"),
        ({"recipe": "small", "weight": 0}, "members.s.weight"),
    ],
)
def test_a_mix_that_cannot_be_is_refused_when_it_is_read(
    member: dict, message: str, folder: Path
) -> None:
    path = write_mix(folder, {"s": member})
    with pytest.raises(InputError, match=message):
        load_recipe(path)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"recipe": "small", "split": "onw"}, r"no split 'onw' \(did you mean 'own'\?\)"),
        (
            {"recipe": "small", "changes": {"strucutre": {}}},
            r"mix blend, member 's': unknown key 'strucutre' \(did you mean 'structure'\?\)",
        ),
        ({"recipe": "other.yaml"}, "other.yaml is a mix itself: name its members here instead"),
    ],
)
def test_a_member_that_cannot_be_is_refused_before_any_work(
    member: dict, message: str, folder: Path
) -> None:
    write_mix(folder, {"x": "small"}).rename(folder / "other.yaml")
    path = write_mix(folder, {"first": "small", "s": member})
    with pytest.raises(InputError, match=message):
        curate(path, workers=0, home=folder, progress=False)
    assert not (folder / "data").exists()


def test_sources_of_a_mix_name_its_members(folder: Path) -> None:
    path = write_mix(folder, {"small": "small"})
    with pytest.raises(InputError, match="does not say whose file it is: give a dictionary"):
        curate(path, source="mine.csv", workers=0, home=folder, progress=False)
    with pytest.raises(InputError, match=r"no member 'smal' \(did you mean 'small'\?\)"):
        curate(path, source={"smal": "mine.csv"}, workers=0, home=folder, progress=False)
    assert member_sources(load_recipe(path), None) == {}


def test_molecules_without_geometries_are_read_from_members_not_from_the_mix(folder: Path) -> None:
    write_mix(folder, {"small": "small"})
    with pytest.raises(InputError, match="blend is a mix of small: read the molecules of one"):
        load_molecules("blend", progress=False)


def test_the_id_of_a_mix_follows_from_its_content_and_its_members(folder: Path) -> None:
    path = write_mix(folder, {"s": "small"})
    ids = {"s": "0123abcd"}
    first = mix_id(load_recipe(path), ids)
    assert first == mix_id(load_recipe(path), ids)
    assert first != mix_id(load_recipe(path), {"s": "other000"})
    assert first != mix_id(load_recipe(write_mix(folder, {"s": "small"}, leaks="drop")), ids)
