"""Splits that list rows of a recipe's own file, where the user has put another in its place."""

from __future__ import annotations

from .schema import Recipe


def without_listed_rows(recipe: Recipe) -> Recipe:
    """The recipe without splits that number rows in a list at a url, and subsets of these.

    Row 7 of a file of one's own is another molecule. What is left out is said in the recipe's
    warning; where it was the default split, the first other one is.
    """
    listed = {
        name
        for name, split in recipe.splits.items()
        if split.kind == "file" and split.url is not None and split.by == "row"
    }
    listed |= {name for name, split in recipe.splits.items() if split.of in listed}
    splits = {name: split for name, split in recipe.splits.items() if name not in listed}
    if not listed or not splits:
        return recipe
    default = recipe.default_split if recipe.default_split in splits else next(iter(splits))
    left_out = (
        f"left out: split {', '.join(sorted(listed))}, which numbers rows of the recipe's own file "
        "(fetched by hand, that file is read from a folder named in MOLNB_SOURCES)"
    )
    warning = left_out if recipe.warning is None else f"{recipe.warning}; {left_out}"
    update = {"splits": splits, "default_split": default, "warning": warning}
    changed = recipe.model_copy(update=update)
    changed._folder = recipe.folder
    return changed
