"""The recipes of a mix's members: loaded, with what the mix changes in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import InputError, did_you_mean
from .mix_schema import Mix, MixMember
from .registry import load_recipe, make_recipe, member_file
from .schema import Recipe


def member_recipes(mix: Mix) -> dict[str, Recipe]:
    """The recipe of every member of a mix, by the member's name.

    Raises InputError for a member that is a mix itself, that lacks the split it should have, or in
    which something is changed that recipes do not have.
    """
    return {name: _member_recipe(mix, name, member) for name, member in mix.members.items()}


def _member_recipe(mix: Mix, name: str, member: MixMember) -> Recipe:
    where = f"mix {mix.name}, member '{name}'"
    recipe = load_recipe(member_file(member.recipe, mix.folder))
    if isinstance(recipe, Mix):
        raise InputError(
            f"{where}: {member.recipe} is a mix itself: name its members here instead "
            f"({', '.join(recipe.members)})"
        )
    folder = recipe.folder
    if member.changes:
        content = replaced(recipe.model_dump(), member.changes)
        recipe = make_recipe(content, where)
        recipe._folder = folder
    if member.split is not None and member.split not in recipe.splits:
        raise InputError(
            f"{where}: recipe {recipe.name} has no split '{member.split}'"
            f"{did_you_mean(member.split, recipe.splits)}; it has {', '.join(recipe.splits)}"
        )
    return recipe


def replaced(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested content with some keys changed, at any depth; lists are replaced whole.

    So is a part whose kind is changed: its other keys belong to the kind that it had.
    """
    result = dict(content)
    for key, change in changes.items():
        before = result.get(key)
        is_part = isinstance(change, Mapping) and isinstance(before, Mapping)
        if is_part and change.get("kind", before.get("kind")) == before.get("kind"):
            result[key] = replaced(dict(before), change)
        else:
            result[key] = change
    return result


def member_sources(mix: Mix, source: Any) -> dict[str, Any]:
    """What replaces the source of each member, by its name; empty for None.

    Raises InputError where a mix is given one file, or a source for what is no member of it.
    """
    if source is None:
        return {}
    members = ", ".join(mix.members)
    if not isinstance(source, Mapping):
        raise InputError(
            f"{mix.name} is a mix of {members}, so {os.fspath(source)!r} does not say whose file "
            "it is: give a dictionary of members and files (on the command line MEMBER=FILE)"
        )
    for name in source:
        if name not in mix.members:
            raise InputError(
                f"{mix.name} has no member {name!r}{did_you_mean(name, mix.members)}: its members "
                f"are {members}"
            )
    return dict(source)
