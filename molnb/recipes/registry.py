"""Recipes by name: read from YAML, listed, and told apart by the hash of their content."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import InputError
from .schema import Recipe, _did_you_mean


class _SafeLoader(yaml.SafeLoader):
    """Safe YAML that also refuses a key written twice, where plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key}' is written twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_recipe(name_or_path: str | os.PathLike) -> Recipe:
    """Read a recipe by its name or from a YAML file.

    Raises InputError naming the file, the key and the nearest known key when the file holds what
    the schema does not.
    """
    path = _find(str(name_or_path))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_SafeLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds {type(content).__name__}, a recipe is a mapping of keys: see data_recipes/README.md"
        )
    recipe = make_recipe(content, str(path))
    recipe._folder = path.parent
    return recipe


def make_recipe(content: dict[str, Any], where: str = "recipe") -> Recipe:
    """Check a dictionary against the schema; ``where`` opens the message when it is refused."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise InputError(
            "; ".join(f"{where}: {_explain(item)}" for item in error.errors())
        ) from None


def _explain(error: dict) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return (f"{key}: " if key else "") + error["msg"].removeprefix("Value error, ")
    known = _known_keys(error["loc"][:-1])
    near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
    return f"unknown key '{key}'{_did_you_mean(near)}; known here: {', '.join(known)}"


def _known_keys(location: tuple) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location:
        if part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


def recipe_folders() -> list[Path]:
    """Where recipes are looked for: MOLNB_RECIPES, then data_recipes here, then data_recipes of
    the checkout.
    """
    named = [Path(part) for part in os.environ.get("MOLNB_RECIPES", "").split(os.pathsep) if part]
    return [*named, Path("data_recipes"), Path(__file__).resolve().parents[2] / "data_recipes"]


def list_recipes() -> dict[str, Path]:
    """Every recipe that can be named, and its file; the first folder that has a name wins."""
    found: dict[str, Path] = {}
    for folder in recipe_folders():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        if not Path(name).is_file():
            raise InputError(f"There is no recipe file {name}.")
        return Path(name)
    known = list_recipes()
    if name not in known:
        near = _did_you_mean(difflib.get_close_matches(name, known, 1))
        raise InputError(
            f"There is no recipe '{name}'{near}. Known: {', '.join(known) or 'none'}. "
            "Give a YAML file instead, or name its folder in MOLNB_RECIPES."
        )
    return known[name]


def without_computed(recipe: Recipe) -> Recipe:
    """The recipe without labels that are computed here: molecules and conformers alone, in a
    fraction of the time.
    """
    labels = [x for x in recipe.labels if x.computed is None and x.residual_of is None]
    names = {label.name for label in labels}
    tasks = [
        task.model_copy(update={"labels": [x for x in task.labels if x in names]})
        for task in recipe.tasks
    ]
    fewer = recipe.model_copy(
        update={"labels": labels, "tasks": [task for task in tasks if task.labels]}
    )
    fewer._folder = recipe._folder
    return fewer


def recipe_id(recipe: Recipe, source_sha256: str) -> str:
    """Eight hex digits for the content of a recipe and of its sources; where the file lies does
    not count.
    """
    return _digest(
        recipe.model_dump(mode="json", exclude={"source": {"file", "url", "sha256"}}), source_sha256
    )


def molecules_id(recipe: Recipe, source_sha256: str) -> str:
    """Eight hex digits for what decides the molecules, conformers and labels: not the splits,
    tasks or citation.
    """
    deciding = {"source", "columns", "structure", "conformers", "labels", "flags"}
    content = recipe.model_dump(mode="json", include=deciding)
    for place in ("file", "url", "sha256"):
        content["source"].pop(place)
    return _digest(content, source_sha256)


def _digest(content: dict, source_sha256: str) -> str:
    text = json.dumps(
        [content, source_sha256], sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def plain_name(text: str) -> str:
    """A name of lower-case letters, digits and underscores for any column or file name."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"
    return name if name[0].isalpha() else f"x{name}"
