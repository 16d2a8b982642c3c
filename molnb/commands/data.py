"""Commands on data: curate a recipe or a table of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .options import SEVERAL, Add, refuse_given

_LABELS = """
Labels are stored as they are: --label logS:log(mol/L), or under another name with COLUMN=NAME:UNIT.
Classes: --label toxic:binary (0 and 1, true and false), --label
"outcome=mutagenic:binary(mutagens=1,nonmutagens=0)", --label "grade:classes(low,medium,high)".
A conversion is asked for: --transform NAME:-log10:nM->M (log10, -log10, log1p or a factor). COLUMN
is matched against the header, longest first, so it may hold colons and equal signs.
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
}

# Modules with the work itself are imported inside the commands: `molnb --help` answers at once, and
# a machine that only trains needs no RDKit to do so.


def run_curate(args: argparse.Namespace) -> int:
    """make shards from a recipe, or from your own file (CSV, SMI, SDF, ...) or a folder of SDF"""
    from ..curation.pipeline import curate
    from ..recipes.registry import list_recipes
    from ..recipes.sources import recipe_for_file

    refuse_given(
        args,
        seed="the seeds of conformers and splits stand in the recipe",
        device="curation uses CPUs",
    )
    described = {name: getattr(args, option) for option, name in _DESCRIBING.items()}
    recipe = args.recipe
    if recipe not in list_recipes() and Path(recipe).suffix not in (".yaml", ".yml"):
        if not Path(recipe).exists():
            raise InputError(
                f"{recipe!r} is neither a recipe ({', '.join(list_recipes())}) nor a file: "
                "name one of them"
            )
        recipe = recipe_for_file(recipe, **described)
    elif any(described.values()):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in _DESCRIBING)
        raise InputError(
            f"{options} describe a file of yours; a recipe says this itself: leave them out"
        )
    shards = curate(recipe, n=args.n, workers=args.workers, cluster=args.cluster, home=args.out)
    print(shards.path)
    return 0


def curated_folder(name: str) -> Path:
    """The folder of a dataset; the name of a recipe is curated, unless it has been before."""
    from ..paths import find_data

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
    """The command curate."""
    command = add(
        "curate", run_curate, "workers", out="folder that gets data/ (default: MOLNB_HOME, here)"
    )
    command.add_argument(
        "recipe", metavar="NAME_OR_FILE", help="a recipe's name or YAML file, or a table of yours"
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
    command.epilog = _LABELS
    command.add_argument("--n", type=int, help="a sample of this many rows instead of all")
    command.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler, as tcp://host:8786"
    )
