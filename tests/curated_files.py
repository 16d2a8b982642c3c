"""Tables of one's own, curated for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.curation import geometries
from molnb.curation.pipeline import curate
from molnb.files import file_digest
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards

# five molecules on four scaffolds, one of them written twice, and two without a ring
FEW = [
    "c1ccccc1C",
    "Cc1ccccc1",
    "c1ccccc1O",
    "c1ccncc1C",
    "CCO",
    "CCN",
    "O=C(c1ccccc1)c1ccccc1",
    "C1CCCCC1C",
]


def write_csv(folder: Path, smiles: list[str], name: str = "mine") -> Path:
    """A table of molecules, each with its number `y`."""
    path = folder / f"{name}.csv"
    path.write_text("smiles,y\n" + "".join(f"{s},{i}\n" for i, s in enumerate(smiles)))
    return path


def curate_smiles(folder: Path, smiles: list[str], **keys) -> Shards:
    """The molecules, curated by a recipe with some keys of its own."""
    recipe = recipe_for_file(write_csv(folder, smiles), labels={"y": "1"})
    recipe = make_recipe(recipe.model_dump() | keys)
    return curate(recipe, workers=0, home=folder, progress=False)


def file_digests(shards: Shards) -> dict[str, str]:
    """The digest of every file of shards but the manifest."""
    return {name: file_digest(shards.path / name) for name in shards.manifest["files"]}


def refuse_conformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a conformer that is computed fails the test."""

    def refuse(*_) -> None:
        pytest.fail("a conformer was computed")

    monkeypatch.setattr(geometries, "make_conformer", refuse)
