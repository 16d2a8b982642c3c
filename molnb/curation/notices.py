"""What a user should know of a curation beside its counts, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..recipes.schema import Recipe
from ..shards import EVERY_SPLIT
from .flag_lists import flag_notices

MOST_NAMED = 3  # labels that are named one by one
_KEPT = {
    "median": "the median is kept (of classes the most frequent)",
    "mean": "the mean is kept (of classes the most frequent)",
    "first": "the first is kept",
    "drop": "no value is kept",
}


def make_notices(
    recipe: Recipe,
    molecules: dict[str, Any],
    labels: dict[str, dict],
    splits: dict[str, dict],
) -> list[str]:
    """Sentences on the file, labels, repeated molecules and splits.

    ``molecules`` holds the accounts of the source's label columns and of copies, ``labels`` what
    molecules know of each label, ``splits`` the reports of splits, as the manifest has them.
    """
    columns = molecules.get("columns", {})
    duplicates = molecules["duplicates"]
    return [
        *_warning(recipe),
        *_notices_of_encoding(molecules.get("foreign_lines")),
        *_notices_of_labels(recipe, columns),
        *_notices_of_loss(columns, labels),
        *_notices_of_geometry(recipe, duplicates),
        *_notices_of_repeats(recipe, duplicates),
        *flag_notices(recipe, molecules),
        *_notices_of_splits(splits, duplicates.get("across_splits", {})),
    ]


def _warning(recipe: Recipe) -> Iterator[str]:
    """What the recipe warns of, in one line."""
    if recipe.warning is not None:
        yield " ".join(recipe.warning.split())


def _notices_of_encoding(foreign: dict[str, int] | None) -> Iterator[str]:
    """That some lines could only be read as of another encoding than UTF-8."""
    if foreign is not None:
        yield (
            f"{foreign['n']:,} lines of the file are no UTF-8 and were read as Windows-1252, the "
            f"first is line {foreign['first']}: if names look wrong, save the file as UTF-8"
        )


def _notices_of_labels(recipe: Recipe, columns: dict[str, dict]) -> Iterator[str]:
    for name, column in columns.items():
        for reason, unread in column.get("unread", {}).items():
            line = "" if unread["line"] is None else f" in line {unread['line']}"
            first = " ".join((unread["first"] or "").split())  # a value may have several lines
            yield (
                f"label '{name}': {unread['n']:,} cells are no value, {reason}; the first is "
                f"'{first}'{line}"
            )
        yield from _notices_of_values(recipe, name, column)
        if "example" in column:
            before, after = column["example"]
            label = recipe.label(name)
            yield (
                f"label '{name}' is transformed: the first value, {before:g} {label.source_unit}, "
                f"is stored as {after:g} {label.unit}"
            )
        if column.get("looks_binary"):
            yield (
                f"label '{name}' holds 0 and 1 alone and is declared as a number: to learn classes "
                f"declare it binary (--label '{recipe.label(name).column}:binary'; in a recipe "
                "kind: binary)"
            )


def _notices_of_values(recipe: Recipe, name: str, column: dict[str, Any]) -> Iterator[str]:
    """That values are bounds or approximate, or lie where none should."""
    label = recipe.label(name)
    if "relations" in column:
        relations = ", ".join(f"{sign} {n:,}" for sign, n in column["relations"].items())
        yield (
            f"label '{name}': {sum(column['relations'].values()):,} values are bounds or "
            f"approximate ({relations}) and are used as they stand; the column "
            f"'{recipe.relation_columns[name]}' says which"
        )
    if "outside" in column:
        outside = column["outside"]
        line = "" if outside["line"] is None else f" in line {outside['line']}"
        low, high = label.range
        yield (
            f"label '{name}': {outside['n']:,} of {column['known']:,} values lie outside its range "
            f"of {low:g} to {high:g} {label.unit}, and are kept; the first is "
            f"{outside['first']:g}{line}"
        )


def _notices_of_loss(columns: dict[str, dict], labels: dict[str, dict]) -> Iterator[str]:
    """That labels of the source have nothing left to learn among the molecules."""
    unknown = [name for name in columns if not labels[name]["known"]]
    if len(unknown) > MOST_NAMED:
        yield f"{_several(unknown)} are known of no molecule; nothing can be learnt from them"
        unknown = []
    for name in unknown:
        yield (
            f"label '{name}' is known of no molecule: its {columns[name]['known']:,} values stand "
            "in rows that were dropped, that disagree, or that are not in the sample; nothing can "
            "be learnt from it"
        )
    only_class = {}
    for name in columns:
        classes = [text for text, n in labels[name].get("class_counts", {}).items() if n]
        if len(classes) == 1:
            only_class[name] = classes[0]
    if len(only_class) > MOST_NAMED:
        yield f"{_several([*only_class])} are of one class in all molecules that have them"
        return
    for name, only in only_class.items():
        yield (
            f"label '{name}': all {labels[name]['known']:,} molecules that have it are of one "
            f"class ({only}), the rows of other classes were dropped or are not in the sample; "
            "there is nothing to tell apart"
        )


def _several(names: Sequence[str]) -> str:
    """Many labels in a sentence: their number, and the first of them."""
    first = ", ".join(map(repr, names[:MOST_NAMED]))
    return f"{len(names):,} labels ({first} and {len(names) - MOST_NAMED:,} more)"


def _notices_of_geometry(recipe: Recipe, duplicates: dict[str, Any]) -> Iterator[str]:
    """That labels belong to a geometry which is not the one stored."""
    if recipe.conformers.kind == "given":
        return
    names: dict[str, list[str]] = {}
    for label in recipe.source_labels:
        if label.geometry != "none":
            names.setdefault(label.geometry, []).append(label.name)
    for geometry, labels in names.items():
        n_more = len(labels) - 3
        listed = ", ".join(labels[:3]) + (f" and {n_more} more" if n_more > 0 else "")
        copies = ""
        if duplicates["copies"]:
            copies = (
                f"; of the {duplicates['copies']:,} rows that repeat a molecule, in the same "
                "geometry or another, the values are not used"
            )
        yield (
            f"{listed}: the recipe says geometry '{geometry}', but the coordinates stored here are "
            f"conformers made from the structure (ETKDGv3, then a force field){copies}"
        )


def _notices_of_repeats(recipe: Recipe, duplicates: dict[str, Any]) -> Iterator[str]:
    n_conflict = duplicates["conflicting"]
    if n_conflict:
        policy = _KEPT[duplicates.get("policy", "first")]
        yield (
            f"{n_conflict:,} molecules stand in several rows whose values differ: {policy}; all "
            "values are listed in conflicts.parquet (Shards.conflicts), another policy is chosen "
            "by 'repeats' (--repeats)"
        )
    for name, n in duplicates.get("too_far_apart", {}).items():
        yield (
            f"label '{name}': {n:,} molecules have no value, because theirs lie further apart than "
            f"{recipe.max_spread[name]:g} {recipe.label(name).unit} (max_spread)"
        )
    if duplicates["known_only_in_a_copy"]:
        yield (
            f"{duplicates['known_only_in_a_copy']:,} molecules have a value that only a later row "
            "knows"
        )


def _notices_of_splits(splits: dict[str, dict], across: dict[str, int]) -> Iterator[str]:
    for name, split in splits.items():
        if split.get("val_from_train"):
            yield (
                f"split {name}: its {split['kind']} names no validation rows, so "
                f"{split['val_from_train']:,} training molecules are held back as val (val_share "
                "of the split)"
            )
        if split.get("without_side"):
            no_time = " (no readable time)" if split.get("kind") == "time" else ""
            yield f"split {name}: {split['without_side']:,} molecules are in no part of it{no_time}"
        n_across = across.get(name) or split.get("across_parts")
        if n_across:
            what = "time" if split.get("kind") == "time" else "part"
            yield (
                f"split {name}: {n_across:,} molecules stand in rows of several {what}s; the "
                f"{what} of the first row counts"
            )
        yield from _notices_of_listing(name, split)
        if split.get("parted_groups"):
            yield (
                f"split {name}: {split['parted_groups']:,} molecules of val and test have a "
                "stereoisomer, tautomer or salt in training, so scores on them flatter"
            )
        if split.get("train_short"):
            yield (
                f"split {name}: its share of {split['test_counted']:,} test molecules is "
                f"{split['train_short']:,} more than there are to train on, so all of them remain"
            )
        empty = [part for part in EVERY_SPLIT if not split[part]]
        if empty:
            yield (
                f"split {name}: no molecules for {' and '.join(empty)}; curate more rows, or "
                f"choose another split or other fractions ({_use_of(empty)})"
            )


def _notices_of_listing(name: str, split: dict[str, Any]) -> Iterator[str]:
    """What of a split file is not used."""
    if split.get("unknown_entries"):
        yield (
            f"split {name}: {split['unknown_entries']:,} entries of its file are not in the source"
        )
    if split.get("other_lists"):
        lists = ", ".join(split["other_lists"][:5])
        yield f"split {name}: lists of its file that are no part are not used: {lists}"


def _use_of(empty: list[str]) -> str:
    """What cannot be done without these parts."""
    uses = {
        "train": "nothing can be learnt",
        "val": "training has no validation score and cannot stop early",
        "test": "nothing is left to be tested on",
    }
    return "; ".join(uses[part] for part in empty)
