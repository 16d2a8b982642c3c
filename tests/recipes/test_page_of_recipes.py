"""The page of recipes: its example builds and curates, its table names what is shipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from molnb.curation.pipeline import curate

FOLDER = Path(__file__).resolve().parents[2] / "data_recipes"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
OWN = PAGE[PAGE.index("## Adding a dataset is adding a file") :]


def block(language: str) -> str:
    """The first block of code in a language in the section on datasets of one's own."""
    return re.search(rf"```{language}\n(.*?)```", OWN, flags=re.S)[1]


def test_a_dataset_is_added_by_the_file_that_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data_recipes").mkdir()
    (tmp_path / "data_recipes" / "caffeines.yaml").write_text(block("yaml"), encoding="utf-8")
    (tmp_path / "data_recipes" / "caffeines.csv").write_text(block("csv"), encoding="utf-8")
    shards = curate("caffeines", workers=0, home=tmp_path, progress=False)
    rows = {row["id"]: row for row in shards.table().to_pylist()}
    assert set(rows) == {"caffeine", "theobromine", "theophylline", "xanthine"}
    assert rows["caffeine"]["gap"] == pytest.approx(0.189 * 27.211386, rel=1e-6)
    assert rows["xanthine"]["gap"] is None and rows["xanthine"]["logS"] == -3.6


def test_every_recipe_of_the_tables_is_shipped_with_the_rows_they_state() -> None:
    section = PAGE[PAGE.index("## The recipes here") : PAGE.index("## Adding a dataset")]
    shipped = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+|[^|]*) \|", section, flags=re.M)
    assert len(rows) >= 20
    for name, n_row in rows:
        assert name in shipped, name
        source = shipped[name].get("source", {})
        stated = source.get("rows", source.get("about_rows"))
        if stated is not None and n_row.replace(",", "").isdecimal():
            assert int(n_row.replace(",", "")) == stated, name


def test_the_readme_says_how_many_recipes_there_are() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    n_recipe = len(list(FOLDER.glob("*.yaml")))
    assert f"`molnb recipes` lists {n_recipe} datasets and mixes" in readme
