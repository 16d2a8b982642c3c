"""A recipe is strict: what the schema does not know is refused, and only content makes its id."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from molnb.errors import InputError
from molnb.recipes.registry import list_recipes, load_recipe, make_recipe, molecules_id, recipe_id

PLAIN = {
    "name": "mine",
    "title": "mine",
    "licence": "not stated",
    "citation": "not stated",
    "source": {"kind": "file", "file": "mine.csv"},
    "labels": [
        {
            "name": "ic50",
            "column": "IC50",
            "quantity": "IC50",
            "unit": "uM",
            "theory": "assay",
            "geometry": "none",
        },
        {
            "name": "energy",
            "computed": "xtb.energy",
            "quantity": "energy",
            "unit": "eV",
            "theory": "GFN2-xTB",
            "geometry": "MMFF94",
        },
    ],
    "tasks": [{"name": "mine", "labels": ["ic50"]}],
}


def changed(**keys) -> dict:
    return PLAIN | keys


@pytest.mark.parametrize("name", ["nci", "wehi", "chembl2321810"])
def test_the_recipes_that_need_no_download_say_everything_about_every_label(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.source.kind == "rdkit"
    assert recipe.licence and recipe.citation and {"random", "scaffold"} <= set(recipe.splits)
    for label in recipe.labels:
        assert label.quantity and label.unit and label.theory and label.geometry
    assert {name for name in list_recipes()} >= {"nci", "wehi", "chembl2321810"}


def test_nci_asks_for_labels_on_every_level_and_never_for_the_raw_energy() -> None:
    recipe = load_recipe("nci")
    assert {task.level for task in recipe.tasks} == {"molecule", "atom", "bond", "pair"}
    assert "energy" not in {name for task in recipe.tasks for name in task.labels}
    with pytest.raises(InputError, match="raw energy 'energy', which is atom counting"):
        make_recipe(changed(tasks=[{"name": "e", "labels": ["energy"]}]))


def test_an_unknown_key_is_refused_with_file_key_and_nearest_known_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changed(strucutre={"max_heavy_atoms": 30})))
    with pytest.raises(
        InputError, match=rf"{path}: unknown key 'strucutre' \(did you mean 'structure'\?\)"
    ):
        load_recipe(path)
    path.write_text(yaml.safe_dump(changed(structure={"max_heavy_atom": 30})))
    with pytest.raises(
        InputError, match=r"'structure.max_heavy_atom' \(did you mean 'max_heavy_atoms'\?\)"
    ):
        load_recipe(path)
    path.write_text(
        yaml.safe_dump(changed(tasks=[{"name": "mine", "labels": ["ic50"], "lost": "mae"}]))
    )
    with pytest.raises(InputError, match=r"'tasks.0.lost' \(did you mean 'loss'\?\)"):
        load_recipe(path)


def test_a_key_written_twice_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(yaml.safe_dump(PLAIN) + "title: again\n")
    with pytest.raises(InputError, match="key 'title' is written twice"):
        load_recipe(path)
    path.write_text("name: [unclosed\n")
    with pytest.raises(InputError, match="is not readable as YAML"):
        load_recipe(path)
    path.write_text("!!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="is not readable as YAML"):
        load_recipe(path)


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no recipe 'ncii' \(did you mean 'nci'\?\).*MOLNB_RECIPES"
    ):
        load_recipe("ncii")
    with pytest.raises(InputError, match="no recipe file"):
        load_recipe(tmp_path / "nothing.yaml")


def test_recipes_of_one_s_own_are_found_by_molnb_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(PLAIN))
    monkeypatch.setenv("MOLNB_RECIPES", str(tmp_path))
    assert load_recipe("mine").label("ic50").unit == "uM"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"labels": [PLAIN["labels"][0] | {"computed": "xtb.gap"}], "tasks": []},
            "exactly one of the keys",
        ),
        (
            {"labels": [PLAIN["labels"][0] | {"name": "charge"}], "tasks": []},
            "a column that every shard has",
        ),
        (
            {"labels": [PLAIN["labels"][0] | {"name": "offset"}], "tasks": []},
            "a column that every shard has",
        ),
        (
            {"labels": [PLAIN["labels"][1] | {"computed": "xtb.gab"}], "tasks": []},
            "these can: xtb.energy",
        ),
        (
            {"labels": [PLAIN["labels"][1] | {"computed": "xtb.charges"}], "tasks": []},
            "has level atom, not molecule",
        ),
        (
            {"labels": [PLAIN["labels"][0] | {"source_unit": "furlong"}]},
            "no conversion from furlong to uM",
        ),
        ({"tasks": [{"name": "mine", "labels": ["ic5"]}]}, r"did you mean 'ic50'\?"),
        (
            {"tasks": [{"name": "mine", "labels": ["ic50"], "level": "atom"}]},
            "its label 'ic50' molecule",
        ),
        (
            {"tasks": [{"name": "mine", "labels": ["ic50"], "kind": "binary"}]},
            "kind binary goes with loss bce, not smooth_mae",
        ),
        (
            {"tasks": [{"name": "mine", "labels": ["ic50"], "loss": "hybrid_ce"}]},
            "kind regression goes with loss smooth_mae or mae or mse, not hybrid_ce",
        ),
        (
            {"tasks": [{"name": "mine", "labels": ["ic50"], "loss": "huber"}]},
            "'smooth_mae'",
        ),
        ({"default_split": "time"}, "none of the splits random, scaffold"),
        (
            {"splits": {"random": {"kind": "random", "fractions": [0.8, 0.1, 0.2]}}},
            "must be positive and sum to 1",
        ),
        ({"source": {"kind": "url", "file": "x.csv"}}, "kind 'url' takes the key 'url'"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(keys: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_recipe(changed(**keys))


@pytest.mark.parametrize(
    ("source_unit", "factor"),
    [("Hartree", 27.211386245988), ("kcal/mol", 4184 / 96485.33212), ("kJ/mol", 0.01036427)],
)
def test_units_are_converted_by_a_declared_pair(source_unit: str, factor: float) -> None:
    label = PLAIN["labels"][0] | {"unit": "eV", "source_unit": source_unit}
    assert make_recipe(changed(labels=[label])).labels[0].scale == pytest.approx(factor, rel=1e-7)


def test_the_recipe_id_is_content_and_the_molecules_id_only_what_decides_the_molecules() -> None:
    plain = make_recipe(PLAIN)
    moved = make_recipe(changed(source={"kind": "file", "file": "elsewhere.csv"}))
    assert recipe_id(plain, "a") == recipe_id(moved, "a") != recipe_id(plain, "b")
    assert len(recipe_id(plain, "a")) == 8
    cited = make_recipe(changed(citation="a paper", default_split="random"))
    assert recipe_id(cited, "a") != recipe_id(plain, "a")
    assert molecules_id(cited, "a") == molecules_id(plain, "a")
    smaller = make_recipe(changed(structure={"max_heavy_atoms": 20}))
    assert molecules_id(smaller, "a") != molecules_id(plain, "a")


def with_classes(classes: object, tasks: list[dict] | None = None, **flags: dict) -> dict:
    """A recipe with one label of classes."""
    meaning = {"quantity": "q", "unit": "1", "theory": "assay", "geometry": "none"}
    return {
        "name": "mine",
        "title": "mine",
        "licence": "none",
        "citation": "none",
        "source": {"kind": "file", "file": "mine.csv"},
        "labels": [{"name": "y", "column": "y", "classes": classes, **meaning}],
        "tasks": tasks or [],
        "flags": flags,
    }


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("{-1: 0, 1: 1}", ["-1", "1"]),
        ("{'-1': 0, 1: 1}", ["-1", "1"]),
        ("{0.5: 0, 2.5: 1}", ["0.5", "2.5"]),
        ("{1: 0, 2: 1, 3: 2}", ["1", "2", "3"]),
        ("{'no': 0, 'yes': 1}", ["no", "yes"]),
        ("{low: 0, 10: 1}", ["low", "10"]),
    ],
)
def test_classes_in_a_recipe_may_be_numbers(written: str, names: list[str]) -> None:
    recipe = make_recipe(with_classes(yaml.safe_load(written)))
    assert recipe.label("y").class_names == names


@pytest.mark.parametrize("written", ["{no: 0, yes: 1}", "{true: 1, false: 0}", "{on: 1, a: 0}"])
def test_classes_that_yaml_takes_for_truth_values_are_refused_with_the_way_out(
    written: str,
) -> None:
    with pytest.raises(InputError, match="must stand between quotes, as in {'no': 0, 'yes': 1}"):
        make_recipe(with_classes(yaml.safe_load(written)))


@pytest.mark.parametrize(
    ("classes", "kind"),
    [({"a": 0, "b": 1}, "binary"), ({"-1": 0, "1": 1}, "binary"), ({"a": 0, "b": 0, "c": 1},
     "binary"), ({"a": 0, "b": 1, "c": 2}, "classes"), (None, "regression")],
)  # fmt: skip
def test_a_label_of_classes_is_read_as_such_also_without_a_task(
    classes: dict | None, kind: str
) -> None:
    assert make_recipe(with_classes(classes)).kind_of("y") == kind


@pytest.mark.parametrize("name", ["row", "Row", "y", "Y", "split_random", "SPLIT_Random", "Id"])
def test_a_flag_hides_no_column_whatever_its_case(name: str) -> None:
    flag = {"label": "y", "equals": [1.0], "why": "x"}
    with pytest.raises(InputError, match=f"flag name '{name}' is taken"):
        make_recipe(with_classes(None, **{name: flag}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_flag_marks_only_values_that_are_there(value: float) -> None:
    flag = {"label": "y", "equals": [value], "why": "x"}
    with pytest.raises(InputError, match="finite number"):
        make_recipe(with_classes(None, bad=flag))


def several_of_classes(second: dict[str, int]) -> dict:
    """A recipe with two labels of classes in one task."""
    content = with_classes({"low": 0, "medium": 1, "high": 2})
    (label,) = content["labels"]
    other = label | {"name": "z", "column": "z", "classes": second}
    task = {"name": "both", "labels": ["y", "z"], "kind": "classes", "loss": "ce"}
    return content | {"labels": [label, other], "tasks": [task]}


def test_labels_of_the_same_classes_share_a_task() -> None:
    recipe = make_recipe(several_of_classes({"low": 0, "medium": 1, "high": 2}))
    assert recipe.tasks[0].labels == ["y", "z"] and recipe.kind_of("z") == "classes"


def test_labels_of_fewer_classes_share_a_task_with_those_of_more() -> None:
    content = several_of_classes({"no": 0, "yes": 1})
    content["tasks"][0]["loss"] = "hybrid_ce"
    (task,) = make_recipe(content).tasks
    assert (task.kind, task.loss) == ("classes", "hybrid_ce")


def test_labels_of_different_classes_do_not_share_a_task() -> None:
    message = r"labels of different classes, 'y' \(low, medium, high\) and 'z' \(no, a bit, much\)"
    with pytest.raises(InputError, match=message):
        make_recipe(several_of_classes({"no": 0, "a bit": 1, "much": 2}))
