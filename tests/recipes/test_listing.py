"""All recipes side by side: aligned, grouped, fast, and whole where one of them is broken."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from molnb.cli import main
from molnb.errors import InputError
from molnb.recipes.catalogue.cards import recipe_card
from molnb.recipes.catalogue.licences import short_licence
from molnb.recipes.catalogue.listing import recipe_rows, recipes_table, recipes_text
from molnb.recipes.mix_schema import Mix
from molnb.recipes.registry import load_recipe, make_recipe, recipe_id
from molnb.texts import WIDTH

N_MANY = 60


def written(name: str, **keys) -> dict:
    """The content of a recipe that downloads a table of one label, with some keys changed."""
    label = {
        "name": "gap",
        "column": "gap",
        "quantity": "gap",
        "unit": "eV",
        "theory": "B3LYP",
        "geometry": "none",
    }
    content = {
        "name": name,
        "title": f"the dataset {name}",
        "licence": "CC-BY-4.0 (of the data)",
        "citation": "somebody",
        "source": {"kind": "url", "url": f"https://example.org/{name}.csv", "bytes": 82_000_000},
        "labels": [label],
        "tasks": [{"name": name, "labels": ["gap"]}],
    }
    content["source"]["rows"] = 133_885
    return content | keys


def mix() -> Mix:
    members = {name: {"recipe": name} for name in ("nci", "chembl2321810")}
    return Mix(name="both", title="two", licence="MIT", citation="x", members=members)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes that molnb looks into first."""
    monkeypatch.setenv("MOLNB_RECIPES", str(tmp_path))
    return tmp_path


def test_recipes_stand_in_aligned_columns_by_group(folder: Path) -> None:
    content = written("downloaded_one", conformers={"kind": "given"})
    (folder / "downloaded_one.yaml").write_text(yaml.safe_dump(content))
    lines = recipes_text().splitlines()
    assert max(len(line) for line in lines if not line.startswith("files to copy")) <= WIDTH
    head = lines[0]
    (line,) = [line for line in lines if line.startswith("downloaded_one")]
    for column, text in (
        ("name", "downloaded_one"),
        ("geometry", "given"),
        ("licence", "CC BY-4.0"),
    ):
        assert line[head.index(column) :].startswith(text)
    for column, text in (("rows", "133,885"), ("size", "82 MB"), ("labels", "1"), ("tasks", "1")):
        assert line[: head.index(column) + len(column)].endswith(text)
    groups = [line.partition(":")[0] for line in lines]
    assert groups.index("embedded") < lines.index(line) and "downloads" in groups
    assert groups.index("downloads") < lines.index(line)
    nci = next(line for line in lines if line.startswith("nci "))
    assert nci.split() == ["nci", "4,999", "193", "kB", "m", "a", "b", "p", "11", "7", "made",
                           "BSD-3-Clause"]  # fmt: skip


def test_rows_that_others_report_are_marked_and_change_no_id(folder: Path) -> None:
    content = written("reported")
    content["source"] |= {"about_rows": content["source"].pop("rows")}
    (folder / "reported.yaml").write_text(yaml.safe_dump(content))
    (line,) = [line for line in recipes_text().splitlines() if line.startswith("reported")]
    assert "~133,885" in line.split()
    recipe = load_recipe("reported")
    assert "about 133,885, as others report" in recipe_card(recipe)
    content["source"].pop("about_rows")
    assert recipe_id(recipe, "") == recipe_id(make_recipe(content), "")
    content["source"] |= {"rows": 5, "about_rows": 5}
    with pytest.raises(InputError, match="one of the keys rows and about_rows"):
        make_recipe(content)


def test_a_long_name_cuts_the_licence_short(folder: Path) -> None:
    name = "a" * 38
    content = written(name, licence="a long text that names no licence that is known")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (line,) = [line for line in recipes_text().splitlines() if line.startswith(name)]
    assert len(line) <= WIDTH and line.endswith("...")


def test_a_recipe_that_cannot_be_read_hides_no_other(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "broken.yaml").write_text("name: broken\nlicense: MIT\n")
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    assert "\nnci " in printed
    assert "recipes that cannot be read:" in printed and "unknown key 'license'" in printed
    assert "broken" not in set(recipes_table()["name"])


def test_a_mix_is_listed_by_its_members(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import molnb.recipes.catalogue.listing as listing

    (folder / "both.yaml").write_text("{}")
    read = listing.load_recipe
    monkeypatch.setattr(
        listing, "load_recipe", lambda path: mix() if path.stem == "both" else read(path)
    )
    lines = recipes_text().splitlines()
    assert "mixes: several of the above as one training set" in lines
    (line,) = [line for line in lines if line.startswith("both ")]
    assert line.split(maxsplit=1)[1] == "nci + chembl2321810"
    assert recipe_rows([mix()])[0]["members"] == ["nci", "chembl2321810"]


def test_columns_that_a_star_stands_for_are_not_counted_as_one() -> None:
    content = written("wide")
    content["labels"][0] |= {"name": "assay_*", "column": "assayID-*", "level": "molecule"}
    content["tasks"] = [{"name": "wide", "labels": ["assay_*"]}]
    assert recipe_rows([make_recipe(content)])[0]["labels"] == "1*"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BSD-3-Clause (part of the RDKit distribution; no licence of its own)", "BSD-3-Clause"),
        ("CC BY 4.0", "CC BY 4.0"),
        ("molecules CC0, labels CC BY-NC-SA 4.0", "CC0 + CC BY-NC-SA 4.0"),
        ("not stated by the authors", "not stated"),
        ("the user's own; ask", "the user's own"),
        ("submitted", "submitted"),
    ],
)
def test_licences_have_short_names(text: str, name: str) -> None:
    assert short_licence(text) == name


def test_sixty_recipes_are_listed_in_under_a_second(folder: Path) -> None:
    for number in range(N_MANY):
        content = written(f"set_{number}")
        labels = [content["labels"][0] | {"name": f"y{k}", "column": f"y{k}"} for k in range(20)]
        content |= {"labels": labels, "tasks": []}
        (folder / f"set_{number}.yaml").write_text(yaml.safe_dump(content))
    code = (
        "import time, resource\nfrom molnb.cli import main\nmain(['recipes'])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('CPU', used.ru_utime + used.ru_stime)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 10, "on a busy machine"
    assert sum(line.startswith("set_") for line in done.stdout.splitlines()) == N_MANY
    assert float(done.stdout.split()[-1]) < 1.0, "CPU seconds, the start of Python included"
