"""Labels in a line of text: which column, which name, which unit, which classes."""

from __future__ import annotations

import pytest

from molnb.errors import InputError
from molnb.recipes.values.label_grammar import describe_labels, parse_label

COLUMNS = ["smiles", "logS", "logS: measured", "a=b", "IC50", "IC50 (nM)", "溶解度", "Class"]


@pytest.mark.parametrize(
    ("text", "column", "name", "unit"),
    [
        ("logS:log(mol/L)", "logS", "logS", "log(mol/L)"),
        ("logS: measured", "logS", "logS", "measured"),  # a unit, if no longer column has one too
        ("logS: measured:log(mol/L)", "logS: measured", "logS: measured", "log(mol/L)"),
        ("logS: measured=s:1", "logS: measured", "s", "1"),
        ("a=b:nM", "a=b", "a=b", "nM"),
        ("a=b=c:nM", "a=b", "c", "nM"),
        ("IC50:nM", "IC50", "IC50", "nM"),
        ("IC50 (nM):nM", "IC50 (nM)", "IC50 (nM)", "nM"),
        ("IC50 (nM)=ic:nM", "IC50 (nM)", "ic", "nM"),
        ("溶解度:mg/L", "溶解度", "溶解度", "mg/L"),
        ("logS=溶解度:ratio a:b", "logS", "溶解度", "ratio a:b"),
        ("Class:binary nM", "Class", "Class", "binary nM"),  # no class: more stands behind
    ],
)
def test_the_longest_column_counts(text: str, column: str, name: str, unit: str) -> None:
    columns = [c for c in COLUMNS if text != c]
    label = parse_label(text, columns)
    assert (label.column, label.name, label.unit) == (column, name, unit)
    assert label.kind == "regression" and label.classes is None


@pytest.mark.parametrize(
    ("text", "kind", "classes"),
    [
        ("Class:binary", "binary", None),
        ("Class=c:binary", "binary", None),
        ("Class:binary(mutagens=1,nonmutagens=0)", "binary", {"mutagens": 1, "nonmutagens": 0}),
        ("Class:binary(no,yes)", "binary", {"no": 0, "yes": 1}),
        ("Class:binary(-1=0,1=1)", "binary", {"-1": 0, "1": 1}),
        ("Class:binary(a=b=1, c =0)", "binary", {"a=b": 1, "c": 0}),
        ("Class:binary(CI=0,CM=1,CA=1)", "binary", {"CI": 0, "CM": 1, "CA": 1}),
        ("Class:classes(low,medium,high)", "classes", {"low": 0, "medium": 1, "high": 2}),
        ("Class:classes(high=2,low=0,medium=1)", "classes", {"high": 2, "low": 0, "medium": 1}),
        ("Class:classes(溶,不溶)", "classes", {"溶": 0, "不溶": 1}),
        ("Class=x y:classes(1,2,3)", "classes", {"1": 0, "2": 1, "3": 2}),
    ],
)
def test_classes_are_numbered(text: str, kind: str, classes: dict | None) -> None:
    label = parse_label(text, COLUMNS)
    assert (label.kind, label.classes, label.column) == (kind, classes, "Class")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logS", "has no unit"),
        ("logS:", "has no unit"),
        ("logS=:nM", "has no unit"),
        ("logS=name", "has no unit"),
        ("logs:nM", "did you mean 'logS'"),
        ("Class:classes", "names no classes"),
        ("Class:binary(a=1,b=2)", "a binary label has 0 and 1"),
        ("Class:binary(a=1,b=1)", "nothing to tell apart"),
        ("Class:binary(a)", "nothing to tell apart"),
        ("Class:classes(a,a)", "each name once"),
        ("Class:classes(a=x,b=1)", "write NAME=NUMBER"),
        ("Class:binary()", "write NAME=NUMBER"),
    ],
)
def test_a_text_that_is_no_label_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        parse_label(text, COLUMNS)


def test_numbers_form_one_task_and_each_label_of_classes_another() -> None:
    texts = ["logS:1", "IC50:nM", "a=b:binary", "Class:classes(x,y,z)"]
    labels = [parse_label(text, COLUMNS) for text in texts]
    described = describe_labels(labels, [], "mine")
    tasks = {
        task["name"]: (task["labels"], task["kind"], task["loss"]) for task in described["tasks"]
    }
    assert tasks == {
        "mine": (["logS", "IC50"], "regression", "smooth_mae"),
        "mine_binary": (["a=b"], "binary", "bce"),
        "mine_class": (["Class"], "classes", "ce"),
    }
    alone = describe_labels([labels[2]], [], "mine")
    assert alone["tasks"][0]["name"] == "mine"


def test_a_transform_states_the_unit_that_it_gives() -> None:
    labels = [parse_label("IC50:nM", COLUMNS), parse_label("logS: measured=s:1", COLUMNS)]
    described = describe_labels(labels, ["IC50:-log10:nM->M", "s:log1p"], "mine")["labels"]
    assert [label["unit"] for label in described] == ["-log10(M)", "log1p(1)"]
    assert [label["source_unit"] for label in described] == ["nM", "1"]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("ic50:log10", "there is no label 'ic50'"),
        ("IC50:ln", "is unknown"),
        ("IC50:-log10:uM->M", "starts from uM, the label is in nM"),
        ("IC50:-log10:nM->kg", "no conversion from nM to kg"),
        ("IC50:1000", "changes the unit"),
        ("IC50:0:nM->M", "is unknown"),
        ("c:log10", "is binary, not of numbers"),
    ],
)
def test_a_transform_that_is_none_is_refused(transform: str, message: str) -> None:
    labels = [parse_label("IC50:nM", COLUMNS), parse_label("Class=c:binary", COLUMNS)]
    with pytest.raises(InputError, match=message):
        describe_labels(labels, [transform], "mine")


@pytest.mark.parametrize(
    "meaning",
    ["class(a=0,b=1)", "class", "Classification", "bool", "Boolean", "binary(a=0,b=1",
     "categorical", "category(a,b)", "multiclass(a,b)", "multi-class"],
)  # fmt: skip
def test_what_is_meant_as_classes_is_never_taken_for_a_unit(meaning: str) -> None:
    with pytest.raises(InputError, match="neither a unit nor a declaration of classes"):
        parse_label(f"Class:{meaning}", COLUMNS)


@pytest.mark.parametrize("meaning", ["Binary(-1=0,1=1)", "binary (-1=0,1=1)", "BINARY\t(-1=0,1=1)"])
def test_case_and_blanks_before_the_classes_do_not_count(meaning: str) -> None:
    label = parse_label(f"Class:{meaning}", COLUMNS)
    assert (label.kind, label.classes) == ("binary", {"-1": 0, "1": 1})


def test_classes_of_labels_with_nearly_one_name_are_tasks_of_their_own() -> None:
    texts = ["IC50 (nM)", "IC50_nM", "ic50 nM", "x" * 300 + "a", "x" * 300 + "b"]
    labels = [parse_label(f"{text}:classes(a,b,c)", texts) for text in texts]
    tasks = describe_labels(labels, (), "mine")["tasks"]
    assert [task["labels"] for task in tasks] == [[text] for text in texts]
    names = [task["name"] for task in tasks]
    assert len(set(names)) == 5 and max(map(len, names)) < 100


@pytest.mark.parametrize("inside", ["a,b=1,c=0", "a=0,b", "low,high=1", "a=1,b,c=0"])
def test_classes_are_numbered_all_or_none(inside: str) -> None:
    with pytest.raises(InputError, match="number all or none"):
        parse_label(f"Class:binary({inside})", COLUMNS)
