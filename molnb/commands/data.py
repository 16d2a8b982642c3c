"""Commands on data: fetch or curate a recipe, or a table of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError, did_you_mean
from ..paths import MANIFEST, find_data, home
from .options import SEVERAL, Add, refuse_given

_LABELS = """
Labels are stored as they are: --label logS:log(mol/L), or under another name with COLUMN=NAME:UNIT.
Classes: --label toxic:binary (0 and 1, true and false), --label
"outcome=mutagenic:binary(mutagens=1,nonmutagens=0)", --label "grade:classes(low,medium,high)".
A conversion is asked for: --transform NAME:-log10:nM->M (log10, -log10, log1p or a factor). COLUMN
is matched against the header, longest first, so it may hold colons and equal signs.
Cells that are no plain numbers are missing and counted, unless the table is described: >, < and ~
before a number or in a column of their own (--relation IC50=Relation) are used with --qualified
IC50=value, and kept in the column "IC50 relation"; --percent IC50 cuts off percent signs, --decimal
, reads 4,5; --range LABEL=LOW..HIGH, in the unit that is stored, tells of values outside, and
refuses a column most of whose values are. Of repeated measurements further apart than --max-spread
LABEL=NUMBER there is no value. --where "Units=nM" leaves out all other rows; given several times
for one column it keeps any of the values.
"""

_SOURCES = """
What is there is not fetched again; an interrupted download goes on. MOLNB_SOURCES names a folder
(or several) of files that were fetched by hand: it is looked at first, by the name at the end of
the address, below a folder named like the recipe or in the folder itself.
"""

# Options that describe a table of one's own, and the argument of `recipe_for_file` each becomes.
_DESCRIBING = {
    "smiles": "smiles",
    "label": "labels",
    "transform": "transforms",
    "id": "identifier",
    "keep": "keep",
    "split_column": "split_column",
    "repeats": "repeats",
    "where": "where",
    "relation": "relations",
    "qualified": "qualified",
    "decimal": "decimal",
    "percent": "percent",
    "max_spread": "max_spread",
    "range": "ranges",
    "conformers": "conformers",
}

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def run_fetch(args: argparse.Namespace) -> int:
    """get the files of a recipe from the network, and curate later, where there is none"""
    from ..recipes.fetched.fetching import describe_files, fetch

    refuse_given(
        args,
        seed="nothing is random here",
        workers="files are fetched one after the other",
        device="nothing is computed",
    )
    print(describe_files(fetch(args.recipe, args.out)))
    return 0


def run_curate(args: argparse.Namespace) -> int:
    """make shards from a recipe, or from your own file (CSV, SMI, SDF, ...) or a folder of SDF"""
    from ..curation.pipeline import curate
    from ..recipes.registry import list_recipes, load_recipe
    from ..recipes.sources import recipe_for_file

    refuse_given(
        args,
        seed="the seeds of conformers and splits stand in the recipe",
        device="curation uses CPUs",
    )
    described = {name: getattr(args, option) for option, name in _DESCRIBING.items()}
    recipe = args.recipe
    source = None
    if recipe not in list_recipes() and Path(recipe).suffix not in (".yaml", ".yml"):
        if not Path(recipe).exists():
            raise InputError(
                f"{recipe!r} is neither a recipe{did_you_mean(recipe, list_recipes())} nor a file: "
                "name one of them; `molnb recipes` lists the recipes"
            )
        if args.source:
            raise InputError(
                f"--source gives a recipe another file, and {recipe} is a file itself: leave "
                "--source out, or name a recipe"
            )
        recipe = recipe_for_file(recipe, **described)
    elif any(value for name, value in described.items() if name != "conformers"):
        given = [name for name in _DESCRIBING if getattr(args, name) and name != "conformers"]
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(
            f"{options} describe a file of yours; a recipe says this itself: leave them out"
        )
    else:
        recipe = _with_conformers(load_recipe(recipe), args.conformers)
        source = _other_source(args.source, recipe)
    shards = curate(
        recipe, source, n=args.n, workers=args.workers, cluster=args.cluster, home=args.out
    )
    print(shards.path)
    return 0


def _with_conformers(recipe: Any, kind: str | None) -> Any:
    """The recipe with geometries from where an option says, instead of where it says itself."""
    from ..recipes.registry import make_recipe

    if (
        kind is None
        or getattr(recipe, "members", None) is not None
        or recipe.conformers.kind == kind
    ):
        return recipe
    changed = make_recipe(recipe.model_dump() | {"conformers": {"kind": kind}}, recipe.name)
    changed._folder = recipe.folder
    return changed


def _other_source(texts: list[str], recipe: Any) -> str | dict[str, str] | None:
    """The file that a recipe is to read from, or those of the members of a mix, by member."""
    members = getattr(recipe, "members", None)
    if not texts:
        return None
    if members is None:
        if len(texts) > 1:
            raise InputError(
                f"--source is given {len(texts)} times, and '{recipe.name}' reads one file: give "
                "one; '{part}' in its name stands for the numbers of a recipe's parts"
            )
        return texts[0]
    files: dict[str, str] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or name not in members:
            raise InputError(
                f"--source {text}: of a mix say whose file it is, as MEMBER=FILE; the members of "
                f"'{recipe.name}' are {', '.join(members)}"
            )
        if name in files:
            raise InputError(f"--source gives member '{name}' two files: give it one")
        files[name] = file
    return files


def is_export_of_data(args: argparse.Namespace) -> bool:
    """Whether an export is of curated molecules, and not of a notebook."""
    if args.file is not None or args.split is not None:
        return True
    folders = (Path(args.notebook), home() / "data" / args.notebook)
    return any((folder / MANIFEST).is_file() for folder in folders)


def export_data(args: argparse.Namespace) -> int:
    """Write curated molecules to a file for other programs."""
    from ..curation.exporting.exports import export_shards, label_headers
    from ..shards import load_shards

    refuse_given(args, out="curated molecules are written to FILE: molnb export DIR FILE")
    if args.single:
        raise InputError("--single: it is of pages, and curated molecules are no page")
    shards = load_shards(find_data(args.notebook))
    if args.file is None:
        raise InputError(
            f"{args.notebook} is curated molecules: name the file they go to, as in "
            f"molnb export {args.notebook} {shards.name}.sdf (.csv, .lmdb)"
        )
    for path in export_shards(shards, args.file, args.split, args.force):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    if args.split is not None or args.file.suffix.lower() == ".lmdb":
        print(f"target: {', '.join(label_headers(shards).values()) or 'no labels of molecules'}")
    return 0


def curated_folder(name: str) -> Path:
    """The folder of a dataset; the name of a recipe is curated, unless it has been before."""
    try:
        return find_data(name)
    except InputError as refusal:
        try:
            from ..curation.pipeline import curate
            from ..recipes.registry import list_recipes
        except ModuleNotFoundError:  # a machine that only trains
            raise refusal from None
        if name not in list_recipes():
            raise
        return curate(name).path


def add_data(add: Add) -> None:
    """The commands fetch and curate."""
    command = add("fetch", run_fetch, out="folder that gets downloads/ (default: MOLNB_HOME, here)")
    command.add_argument("recipe", metavar="RECIPE", help="a recipe's name or YAML file, or a mix")
    command.epilog = _SOURCES
    command = add(
        "curate", run_curate, "workers", out="folder that gets data/ (default: MOLNB_HOME, here)"
    )
    command.add_argument(
        "recipe", metavar="NAME_OR_FILE", help="a recipe's name or YAML file, or a table of yours"
    )
    command.add_argument(
        "--source",
        metavar="FILE",
        help="a file of yours in the place of the recipe's, of any name; of a mix MEMBER=FILE",
        **SEVERAL,
    )
    command.add_argument(
        "--smiles", metavar="COLUMN", help="column of your table that holds SMILES"
    )
    command.add_argument(
        "--label", metavar="COLUMN:UNIT", help="a label and its unit, see below", **SEVERAL
    )
    command.add_argument(
        "--transform", metavar="NAME:FUNCTION", help="convert a label, see below", **SEVERAL
    )
    command.add_argument("--id", metavar="COLUMN", help="column that names the molecules")
    command.add_argument(
        "--keep", metavar="COLUMN", help="a column to carry along as text", **SEVERAL
    )
    command.add_argument(
        "--split-column", metavar="COLUMN", help="column that says train, val or test"
    )
    command.add_argument(
        "--repeats",
        choices=("median", "mean", "first", "drop"),
        help="value of a molecule that was measured several times (default: median)",
    )
    command.add_argument(
        "--conformers",
        choices=("made", "given"),
        help="given: keep the geometries of the file, and its structures as drawn; made: make them "
        "(default: as the recipe says, else made)",
    )
    _add_cells(command)
    command.epilog = _LABELS
    command.add_argument("--n", type=int, help="a sample of this many rows instead of all")
    command.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler, as tcp://host:8786"
    )


def _add_cells(command: argparse.ArgumentParser) -> None:
    """Options that say which rows of one's own table count, and how its cells are read."""
    command.add_argument(
        "--where", metavar="COLUMN=VALUE", help="keep the rows whose cell holds this", **SEVERAL
    )
    command.add_argument(
        "--relation", metavar="LABEL=COLUMN", help="column of >, < or ~ of a label", **SEVERAL
    )
    command.add_argument(
        "--qualified",
        metavar="LABEL=value|missing",
        help="use what stands behind >, < or ~, or not (default: missing)",
        **SEVERAL,
    )
    command.add_argument(
        "--decimal", choices=(".", ","), help="sign before the decimals of all numbers"
    )
    command.add_argument(
        "--percent", metavar="LABEL", help="a label written with percent signs", **SEVERAL
    )
    command.add_argument(
        "--range", metavar="LABEL=LOW..HIGH", help="what its values can be", **SEVERAL
    )
    command.add_argument(
        "--max-spread", metavar="LABEL=NUMBER", help="how far repeats may lie apart", **SEVERAL
    )
