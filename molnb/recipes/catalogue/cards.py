"""The card of a recipe: everything that it says of a dataset, as text for a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from ...paths import curated_folders, home
from ...shards import read_manifest
from ...texts import GAP, aligned, described, readable_bytes, shortened, wrapped
from ..fetched.downloads import DOWNLOADS, path_here
from ..label_schema import STAR, Label, Task
from ..mix_schema import Mix
from ..registry import load_recipe, recipe_id
from ..schema import Recipe
from ..source_schema import PART, GivenGeometry, Source
from ..sources import remote_parts
from ..split_schema import Split
from .listing import geometry_kind, source_bytes

MOST_LABELS = 40  # of one level and theory that are listed one by one
_STRUCTURES = ("sdf", "mol", "xyz", "folder")  # formats whose records hold the structure


def recipe_card(recipe: Recipe | Mix | str | os.PathLike) -> str:
    """What a recipe, or a mix, says of its dataset, and what of it lies here already; plain text.

    A name or a YAML file is read first.
    """
    if isinstance(recipe, str | os.PathLike):
        recipe = load_recipe(recipe)
    if isinstance(recipe, Mix):
        return "\n".join(_mix_lines(recipe))
    return "\n".join(_lines(recipe))


def _lines(recipe: Recipe) -> Iterator[str]:
    yield from _head(recipe)
    if recipe.warning:
        yield ""
        yield from wrapped(recipe.warning, first="  Warning: ")
    yield from ["", "Source", *described(_source_terms(recipe))]
    yield from ["", "Molecules", *described(_molecule_terms(recipe))]
    yield from _label_lines(recipe)
    yield from ["", "Splits", *aligned(_split_rows(recipe), indent=GAP)]
    yield from _end(recipe)
    yield from ["", "Here", *described(_here_terms(recipe))]
    yield from ["", "Commands", *_commands(recipe)]


def _mix_lines(mix: Mix) -> Iterator[str]:
    yield from _head(mix)
    yield from ["", f"Members ({len(mix.members)})"]
    rows = [("name", "recipe", "split", "weight", "changes")]
    for name, member in mix.members.items():
        split = member.split or "its default"
        rows.append((name, member.recipe, split, f"{member.weight:g}", ", ".join(member.changes)))
    yield from aligned(rows, right=[3], indent=GAP)
    dropped = "are taken out of training" if mix.leaks == "drop" else "are counted and stay"
    yield from ["", "Leaks"]
    yield from wrapped(f"molecules of training that another member tests on {dropped}")
    yield from _end(mix)
    yield from ["", "Commands", f"  molnb curate {mix.name}"]


def _head(recipe: Recipe | Mix) -> Iterator[str]:
    yield from wrapped(f"{recipe.name}: {recipe.title}", indent="")
    if recipe.description:
        yield ""
        yield from wrapped(recipe.description)


def _end(recipe: Recipe | Mix) -> Iterator[str]:
    """Licence, citation, faults: what recipes and mixes state alike."""
    yield from ["", "Licence", *wrapped(recipe.licence)]
    yield from ["", "Citation", *wrapped(recipe.citation)]
    for title, points in (
        ("Known faults", recipe.faults),
        ("What could not be verified here", recipe.unverified),
    ):
        if points:
            yield from ["", title]
            for point in points:
                yield from wrapped(point, "    ", "  - ")


# -------------------------------------------------------------------------------------- source


def _source_terms(recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    source = recipe.source
    where = ", as RDKit installs it" if source.kind == "rdkit" else ""
    yield "file", None if source.file is None else source.file + where
    yield "address", source.url
    for mirror in source.mirrors:
        yield "mirror", mirror
    parts = source.part_names
    if parts:
        words = f"{len(parts):,}: {parts[0]} to {parts[-1]}, in the place of {PART}"
        yield "parts", words
    yield "in it", source.member
    n_byte = source_bytes(recipe)
    yield "size", "not stated" if n_byte is None else f"{readable_bytes(n_byte)} ({n_byte:,} bytes)"
    yield "rows", _rows(source)
    yield "format", _format(source)
    if source.kind == "url" and source.parts is None:
        yield "SHA-256", source.sha256 or "not published; that of the first download is kept"
    yield "joined", _joined(source)
    yield "columns", _columns(recipe)
    if recipe.columns.geometry is not None:
        yield "coordinates", _geometry_columns(recipe.columns.geometry)
    for column, values in recipe.where.items():
        values = values if isinstance(values, list) else [values]
        yield "only rows", f"{column} is {' or '.join(map(str, values))}"
    yield "disk", recipe.disk
    yield "time", recipe.time


def _format(source: Source) -> str:
    words = source.format or "by the file's ending"
    if source.delimiter is not None:
        words += f", separated by {source.delimiter!r}"
    if isinstance(source.header, list):
        words += ", without a header"
    return words


def _joined(source: Source) -> str | None:
    join = source.join
    if join is None:
        return None
    return f"{join.file or join.member} ({join.format}), where its {join.column} is {join.key}"


def _columns(recipe: Recipe) -> str:
    columns = recipe.columns
    words = [f"SMILES in {_choice(columns.smiles)}"]
    if columns.smiles is None:
        words = ["structures of the records"]
        if recipe.source.format not in (None, *_STRUCTURES):
            words = ["bonds from the geometry"]
    if columns.id:
        words.append(f"identifiers in {_choice(columns.id)}")
    if columns.keep:
        words.append(f"kept as text: {', '.join(columns.keep)}")
    return "; ".join(words)


def _choice(column: str | list[str] | None) -> str:
    return column if isinstance(column, str) else " or ".join(column or [])


def _geometry_columns(columns: GivenGeometry) -> str:
    words = f"elements in {columns.numbers}, {columns.unit} in {columns.coords}"
    if columns.bonds:
        words += f", bonds in {columns.bonds}"
    if columns.charges:
        words += f", charges in {columns.charges}"
    return words


# ----------------------------------------------------------------------------------- molecules


def _molecule_terms(recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    structure = recipe.structure
    metals = {"drop": "complexes of metals are dropped", "remove": "metals are cut off"}
    loose = {"keep": "stay", "drop": "are dropped"}[structure.loose_duplicates]
    yield (
        "structure",
        f"up to {structure.max_heavy_atoms} heavy atoms; {metals[structure.metals]}; "
        f"stereoisomers and tautomers of one molecule {loose}",
    )
    conformers = recipe.conformers
    if conformers.kind == "given":
        yield "geometry", "given by the source, checked and kept; structures as they were drawn"
    else:
        yield (
            "geometry",
            f"{geometry_kind(conformers)} here: ETKDGv3, then MMFF94 or UFF (seed "
            f"{conformers.seed})",
        )
    if recipe.source_labels:
        yield "repeats", _repeats(recipe)
    for name, flag in recipe.flags.items():
        values = " or ".join(f"{value:g}" for value in flag.equals)
        marked = f"{flag.label} is {values}"
        if flag.listed is not None:
            marked = f"its identifier stands in {flag.listed.url or flag.listed.file}"
        yield "flag", f"{name}: {marked} ({flag.why})"


def _repeats(recipe: Recipe) -> str:
    kept = {
        "median": "the median of its values",
        "mean": "the mean of its values",
        "first": "the value of its first row",
        "drop": "no value where its rows differ",
    }
    words = f"a molecule in several rows gets {kept[recipe.repeat_policy]}"
    for label, spread in recipe.max_spread.items():
        words += f"; none of {label} where they are more than {spread:g} apart"
    return words


# -------------------------------------------------------------------------------------- labels


def _label_lines(recipe: Recipe) -> Iterator[str]:
    """Labels by level, theory and geometry, with what each is; then the tasks made of them."""
    groups: dict[tuple[str, str, str], list[Label]] = {}
    for label in recipe.labels:
        groups.setdefault((label.level, label.theory, label.geometry), []).append(label)
    yield from ["", f"Labels ({len(recipe.labels)})" if recipe.labels else "Labels: none"]
    for (level, theory, geometry), labels in groups.items():
        on = "no geometry" if geometry == "none" else geometry
        yield from wrapped(f"of {level}s, {theory}, on {on}:", "    ", "  ")
        rows = [_label_cells(recipe, label) for label in labels[:MOST_LABELS]]
        yield from aligned(rows, indent="    ")
        if len(labels) > MOST_LABELS:
            yield f"    and {len(labels) - MOST_LABELS:,} more"
    if recipe.tasks:
        yield from ["", f"Tasks ({len(recipe.tasks)})"]
        yield from aligned([_task_cells(task) for task in recipe.tasks], indent=GAP)


def _label_cells(recipe: Recipe, label: Label) -> tuple[str, str, str, str]:
    """Name, unit or classes, range, and what it is and where from."""
    names = recipe.names_of_classes(label.name)
    unit = label.unit if names is None else shortened("/".join(names), 24)
    limits = "" if label.range is None else f"{label.range[0]:g} to {label.range[1]:g}"
    return label.name, unit, limits, f"{label.quantity}{_origin(label)}"


def _origin(label: Label) -> str:
    """Where a label is from, as far as its name does not tell, and what is done to it."""
    words = []
    if STAR in label.name:
        words.append(f"one of every column {_choice(label.column)}")
    elif label.column is not None and label.columns != [label.name]:
        words.append(f"column {_choice(label.column)}")
    if label.minus is not None:
        words.append(f"minus column {label.minus}")
    if label.computed is not None:
        words.append("computed")
    if label.transform is not None:
        words.append(f"{label.transform} of {label.source_unit}")
    elif label.source_unit is not None and label.source_unit != label.unit:
        words.append(f"from {label.source_unit}")
    if label.relation is not None:
        words.append(f"relation in {label.relation}")
    if label.optional:
        words.append("may be absent")
    return f" ({'; '.join(words)})" if words else ""


def _task_cells(task: Task) -> tuple[str, str, str]:
    n_label = len(task.labels)
    labels = task.labels[0] if n_label == 1 else f"{n_label:,}: {', '.join(task.labels)}"
    return task.name, f"{task.level}, {task.kind}, {task.loss}", labels


def _rows(source: Source) -> str:
    if source.rows is not None:
        return f"{source.rows:,}"
    if source.about_rows is not None:
        return f"about {source.about_rows:,}, as others report; held to nothing"
    return "not stated"


def _split_rows(recipe: Recipe) -> list[tuple[str, str]]:
    rows = []
    for name, split in recipe.splits.items():
        default = " (default)" if name == recipe.default_split else ""
        rows.append((name + default, _split_words(split)))
    return rows


def _split_words(split: Split) -> str:
    shares = " / ".join(f"{share:g}" for share in split.fractions)
    seeded = f"{shares}, seed {split.seed}"
    return {
        "random": f"{seeded}, by loose groups",
        "scaffold": f"{seeded}, by scaffolds",
        "butina": f"{seeded}, by clusters of ECFP4 similarity {split.similarity:g}",
        "cluster": f"{seeded}, by clusters of ECFP4 similarity {split.similarity:g}",
        "time": f"{shares}, the latest by {split.column} are the test",
        "column": f"as the column {split.column} says",
        "shuffle": f"{seeded}, rows shuffled as published",
        "file": f"as {split.file or split.url} says, by {split.by}",
        "subset": f"{split.of} with {split.share:g} times as many training as test molecules",
    }[split.kind] + (f", stratified by {split.stratify}" if split.stratify else "")


# ---------------------------------------------------------------------------------------- here


def _here_terms(recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    if recipe.source.kind == "url":
        yield "downloaded", _downloaded(recipe)
    curated = [_curated_words(recipe, folder) for folder in curated_folders(recipe.name)]
    yield "curated", curated[0] if curated else "no"
    for words in curated[1:]:
        yield "", words


def _downloaded(recipe: Recipe) -> str:
    """Which of the files of a source lie here already."""
    folder = home() / DOWNLOADS
    present = [path_here(remote, folder) for remote in remote_parts(recipe)]
    n_present = sum(path is not None for path in present)
    if not n_present:
        return "no"
    if len(present) > 1:
        return f"{n_present} of {len(present)} parts"
    return str(present[0])


def _curated_words(recipe: Recipe, folder: Path) -> str:
    try:
        manifest = read_manifest(folder)
    except InputError as error:
        return str(error)
    words = f"{folder} ({manifest['n_kept']:,} molecules"
    sha256 = manifest.get("source", {}).get("sha256")
    if manifest.get("recipe_id") != recipe_id(recipe, sha256):
        words += ", of another source or state of the recipe"
    return words + ")"


def _commands(recipe: Recipe) -> list[str]:
    curate = f"molnb curate {recipe.name}"
    if recipe.source.kind != "url":
        return [f"  {curate}"]
    rows = [
        (f"molnb fetch {recipe.name}", "the download alone"),
        (curate, "molecules, geometries, labels"),
        (f"{curate} --source FILE", "from a copy of yours"),
    ]
    return aligned(rows, indent="  ")
