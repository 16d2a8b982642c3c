"""Recipes by name: read from YAML, listed, and told apart by the hash of their content."""

from __future__ import annotations

import hashlib
import json
import os
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import InputError, did_you_mean
from ..paths import shipped_folder
from .mix_schema import Mix
from .schema import Recipe

# Of what becomes of a row, whatever the recipe says: standardisation, conformers, duplicates.
# Raised when these change, so that molecules made by other rules are not taken for the same.
RULES = 3

_Model = TypeVar("_Model", bound=BaseModel)


class _SafeLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # in C five times as fast
    """Safe YAML that also refuses a key written twice, where plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key}' is written twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_recipe(name_or_path: str | os.PathLike) -> Recipe | Mix:
    """Read a recipe, or a mix of recipes (which has ``members``), by its name or from a YAML file.

    Raises InputError naming the file, the key and the nearest known key when the file holds what
    the schema does not, and for a mix whose members are no recipes.
    """
    path = _recipe_file(str(name_or_path))
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_SafeLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds {type(content).__name__}, a recipe is a mapping of keys: "
            f"see {shipped_folder('data_recipes') / 'README.md'}"
        )
    if "members" in content:
        recipe = _validated(Mix, content, str(path))
        _check_members(recipe, path)
    else:
        recipe = make_recipe(content, str(path))
    recipe._folder = path.parent
    return recipe


def make_recipe(content: dict[str, Any], where: str = "recipe") -> Recipe:
    """Check a dictionary against the schema; ``where`` opens the message when it is refused."""
    return _validated(Recipe, content, where)


def _validated(model: type[_Model], content: dict[str, Any], where: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(
            "; ".join(f"{where}: {_explain(item, model)}" for item in error.errors())
        ) from None


def _check_members(mix: Mix, path: Path) -> None:
    """Raise InputError where a member names no recipe, or the mix itself."""
    known = list_recipes()
    for name, member in mix.members.items():
        try:
            file = member_file(member.recipe, path.parent, known)
        except InputError as refusal:
            raise InputError(f"{path}: member '{name}': {refusal}") from None
        if file.resolve() == path.resolve():
            raise InputError(
                f"{path}: member '{name}' is the mix itself: name recipes of datasets alone"
            )


def member_file(recipe: str, folder: Path, known: dict[str, Path] | None = None) -> Path:
    """The file of a member's recipe, which is a name or a YAML file beside the mix."""
    if recipe.endswith((".yaml", ".yml")):
        beside = folder / recipe
        return _recipe_file(str(beside if beside.is_file() else recipe))
    return _recipe_file(recipe, known)


def _explain(error: dict, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return (f"{key}: " if key else "") + error["msg"].removeprefix("Value error, ")
    allowed = _allowed_keys(error["loc"][:-1], model)
    nearest = did_you_mean(str(error["loc"][-1]), allowed)
    return f"unknown key '{key}'{nearest}; known here: {', '.join(allowed)}"


def _allowed_keys(location: tuple, model: type[BaseModel]) -> list[str]:
    """The keys of the part of a recipe that a path of keys and list positions leads to."""
    for part in location:
        if part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, as in `list[Label]` or `Join | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        model = _model_in(argument)
        if model is not None:
            return model
    return None


def recipe_folders() -> list[Path]:
    """Where recipes are looked for, in this order.

    The folders of MOLNB_RECIPES, data_recipes of the working directory, the recipes that come with
    molnb.
    """
    names = os.environ.get("MOLNB_RECIPES", "").split(os.pathsep)
    return [
        *(Path(name) for name in names if name),
        Path("data_recipes"),
        shipped_folder("data_recipes"),
    ]


def list_recipes() -> dict[str, Path]:
    """Every recipe that can be named, and its file; the first folder that has a name wins."""
    files: dict[str, Path] = {}
    for folder in recipe_folders():
        for path in sorted(folder.glob("*.yaml")):
            files.setdefault(path.stem, path)
    return dict(sorted(files.items()))


def _recipe_file(name: str, known: dict[str, Path] | None = None) -> Path:
    """The file of a recipe given by its name (of those ``known``, or of all) or by the file."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        if not Path(name).is_file():
            raise InputError(f"There is no recipe file {name}.")
        return Path(name)
    files = list_recipes() if known is None else known
    if name not in files:
        raise InputError(
            f"There is no recipe '{name}'{did_you_mean(name, files)}. "
            f"`molnb recipes` lists all {len(files)}. "
            "Give a YAML file instead, or name its folder in MOLNB_RECIPES."
        )
    return files[name]


def without_computed(recipe: Recipe) -> Recipe:
    """The recipe without computed labels: molecules and conformers, in a fraction of the time."""
    labels = [
        label for label in recipe.labels if label.computed is None and label.residual_of is None
    ]
    names = {label.name for label in labels}
    tasks = []
    for task in recipe.tasks:
        remaining = [name for name in task.labels if name in names]
        if remaining:
            tasks.append(task.model_copy(update={"labels": remaining}))
    changes = {"labels": labels, "tasks": tasks} | _splits_without(recipe, names)
    reduced = recipe.model_copy(update=changes)
    reduced._folder = recipe._folder
    return reduced


def _splits_without(recipe: Recipe, labels: set[str]) -> dict[str, Any]:
    """The splits that need none but these labels; a default one that does gives way to its base."""
    splits = {
        name: split
        for name, split in recipe.splits.items()
        if split.stratify is None or split.stratify in labels
    }
    default = recipe.default_split
    if default not in splits:
        default = recipe.splits[default].of
    return {"splits": splits, "default_split": default}


def recipe_id(recipe: Recipe, source_sha256: str) -> str:
    """Eight hex digits for the content of a recipe and of its sources, wherever the files lie."""
    return _content_id(recipe.model_dump(mode="json", exclude_defaults=True), source_sha256)


def molecules_id(recipe: Recipe, source_sha256: str) -> str:
    """Eight hex digits for what decides the molecules, conformers and labels.

    Splits, tasks, citation and what is only said of a dataset do not count.
    """
    deciding = {
        "source",
        "columns",
        "structure",
        "conformers",
        "labels",
        "flags",
        "where",
        "max_spread",
    }
    content = recipe.model_dump(mode="json", include=deciding, exclude_defaults=True)
    content["repeats"] = recipe.repeat_policy
    content["kinds"] = {label.name: recipe.kind_of(label.name) for label in recipe.source_labels}
    content["texts"] = recipe.text_columns
    return _content_id(content, source_sha256)


def mix_id(mix: Mix, members: dict[str, str]) -> str:
    """Eight hex digits for the content of a mix and the recipe ids of its curated members."""
    content = mix.model_dump(mode="json", exclude_defaults=True)
    return _digest([RULES, content, members])


def _content_id(content: dict[str, Any], source_sha256: str) -> str:
    # What stands at its default does not count, so that a new key leaves the ids of recipes
    # without it as they are; whoever changes a default raises RULES. The bytes of the source count,
    # not where they lie; the digests of all its files are in source_sha256.
    for key in ("file", "url", "sha256", "mirrors", "bytes", "rows", "about_rows"):
        content["source"].pop(key, None)
    content["source"].get("join", {}).pop("sha256", None)
    for split in content.get("splits", {}).values():
        if "sha256" in split:  # likewise of a file that lists a split
            split.pop("file", None)
            split.pop("url", None)
    return _digest([RULES, content, source_sha256])


def _digest(content: list) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
