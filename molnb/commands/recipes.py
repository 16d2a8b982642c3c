"""The command recipes: all of them side by side, or the card of one."""

from __future__ import annotations

import argparse

from .options import Add


def show_recipes(args: argparse.Namespace) -> int:
    """list what can be curated, or print the card of a recipe"""
    from ..recipes.catalogue.cards import recipe_card
    from ..recipes.catalogue.listing import recipes_text

    print(recipes_text() if args.recipe is None else recipe_card(args.recipe))
    return 0


def add_recipes(add: Add) -> None:
    """The command recipes."""
    command = add("recipes", show_recipes)
    command.add_argument(
        "recipe", metavar="NAME", nargs="?", help="a recipe, by its name or YAML file: its card"
    )
