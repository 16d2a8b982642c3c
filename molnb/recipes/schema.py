"""A recipe says which molecules, from where, with which labels, in which unit.

A recipe separates the *source* (file, format, column map, hash) from the *meaning* (labels,
policies, splits), so that the same meaning can be applied to a file of one's own. Recipes are plain
YAML, read safely; a key that is not known is refused. ``data_recipes/README.md`` is the schema on a
page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, PrivateAttr, model_validator

from ..errors import did_you_mean
from .label_schema import LOSSES, PLAIN_NAME, RESERVED, Flag, Label, Task
from .source_schema import Columns, Source, Strict
from .split_schema import Split


class Structure(Strict):
    """The size limit; what becomes of loose duplicates (stereoisomers, tautomers) and of metals."""

    max_heavy_atoms: int = Field(64, ge=1, le=255)
    loose_duplicates: Literal["keep", "drop"] = "keep"
    metals: Literal["drop", "remove"] = "drop"  # complexes, and salts in which the metal matters


class Conformers(Strict):
    """Where the geometry is from: made here, or given by the source.

    Made: ETKDGv3, then MMFF94, or UFF where MMFF94 lacks parameters; ``n`` conformers, and with
    ``flat`` a drawing in the plane behind them. Given: the structure is taken as it was drawn,
    without standardisation, its coordinates are checked and kept.
    """

    kind: Literal["made", "given"] = "made"
    seed: int = Field(0, ge=0)
    n: int = Field(1, ge=1, le=100)
    flat: bool = False

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, content: Any) -> Any:
        return {"kind": content} if isinstance(content, str) else content

    @model_validator(mode="after")
    def _given_as_they_are(self) -> Conformers:
        if self.kind == "given" and (self.seed, self.n, self.flat) != (0, 1, False):
            raise ValueError(
                "given conformers are as many as the source has: leave out seed, n, flat"
            )
        return self


def _default_splits() -> dict[str, Split]:
    return {"random": Split(kind="random"), "scaffold": Split(kind="scaffold")}


class Recipe(Strict):
    """Which molecules, from where, which labels, in which unit.

    ``where`` keeps the rows whose cells hold one of these values. ``max_spread`` says of labels how
    far repeated measurements may lie apart: beyond it there is no value. ``warning`` is printed
    with what is curated, ``faults`` are known faults of the data, ``unverified`` what of the recipe
    nobody could check, ``disk`` and ``time`` what to expect.
    """

    name: str = Field(pattern=PLAIN_NAME)
    title: str
    description: str = ""
    licence: str
    citation: str
    source: Source
    columns: Columns = Columns()
    structure: Structure = Structure()
    conformers: Conformers = Conformers()
    labels: list[Label] = []
    tasks: list[Task] = []
    flags: dict[str, Flag] = {}
    splits: dict[str, Split] = Field(default_factory=_default_splits, min_length=1)
    default_split: str = "scaffold"
    repeats: Literal["median", "mean", "first", "drop"] | None = None
    max_spread: dict[str, FiniteFloat] = {}
    where: dict[str, str | float | bool | list[str | float | bool]] = {}
    warning: str | None = None
    faults: list[str] = []
    unverified: list[str] = []
    disk: str | None = None
    time: str | None = None
    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        _check_labels(self)
        _check_tasks(self)
        _check_measurements(self)
        _check_subsets(self)
        if self.default_split not in self.splits:
            raise ValueError(
                f"default_split '{self.default_split}' is none of the splits "
                f"{', '.join(self.splits)}"
            )
        return self

    @property
    def source_labels(self) -> list[Label]:
        """The labels that come with the rows of the source."""
        return [label for label in self.labels if label.column is not None]

    @property
    def molecule_labels(self) -> list[Label]:
        """Those of them that molecules have: a row's value is a number."""
        return [label for label in self.source_labels if label.level == "molecule"]

    @property
    def list_labels(self) -> list[Label]:
        """Those of them that atoms, bonds or pairs have: a row's value is a list."""
        return [label for label in self.source_labels if label.level != "molecule"]

    @property
    def folder(self) -> Path:
        """The folder that a relative ``source.file`` is looked up in."""
        return self._folder

    @property
    def repeat_policy(self) -> str:
        """What becomes of the values of a molecule that stands in several rows.

        Where the recipe does not say: their median if all labels of the source are of no geometry
        (assays), else the value of the first row, whose geometry it is.
        """
        if self.repeats is not None:
            return self.repeats
        measured = [label.geometry == "none" for label in self.source_labels]
        return "median" if measured and all(measured) else "first"

    @property
    def text_columns(self) -> dict[str, str]:
        """Columns of the source that are kept as text, by their name in the shards.

        A name that every shard has for something else, or a label, gets " (source)" behind it.
        """
        taken = set(RESERVED) | {label.name.lower() for label in self.labels}
        taken |= {name.lower() for name in self.flags} | self.split_names
        taken |= {name.lower() for name in self.relation_columns.values()}
        split_columns = [split.column for split in self.splits.values() if split.column]
        names: dict[str, str] = {}
        for column in dict.fromkeys([*self.columns.keep, *split_columns]):
            name = column
            while name.lower() in taken:
                name += " (source)"
            taken.add(name.lower())
            names[name] = column
        return names

    @property
    def relation_columns(self) -> dict[str, str]:
        """Of labels whose qualified values are used: the column of the shards with <, > or ~."""
        return {
            label.name: f"{label.name} relation"
            for label in self.source_labels
            if label.qualified == "value"
        }

    @property
    def split_names(self) -> set[str]:
        """The columns of shards that hold the splits, in lower case."""
        return {f"split_{name}".lower() for name in self.splits}

    def kind_of(self, label: str) -> str:
        """The kind of the tasks that name a label; where none does, what its classes make it."""
        kinds = [task.kind for task in self.tasks if label in task.labels]
        if kinds:
            return kinds[0]
        n_class = len(self.label(label).class_names or ())
        return {0: "regression", 2: "binary"}.get(n_class, "classes")

    def names_of_classes(self, label: str) -> list[str] | None:
        """What the classes of a label are called, by their numbers; None for numbers."""
        if self.kind_of(label) == "regression":
            return None
        return self.label(label).class_names or ["0", "1"]

    def label(self, name: str) -> Label:
        """The label of that name."""
        return next(label for label in self.labels if label.name == name)

    def needs_xtb(self) -> bool:
        """True when a label of this recipe is computed with GFN2-xTB."""
        return any((label.computed or "").startswith("xtb.") for label in self.labels)


def _check_labels(recipe: Recipe) -> None:
    names = [label.name for label in recipe.labels]
    lower_names = [name.lower() for name in names]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"label '{name}' is declared {names.count(name)} times: give one of them another "
                "name"
            )
        if lower_names.count(name.lower()) > 1:
            raise ValueError(
                f"label '{name}' has the name of another but for case: give one of them another"
            )
        if name.lower() in recipe.split_names:
            raise ValueError(
                f"label name '{name}' is the column of a split; give the label another (in a "
                f"recipe 'name', on the command line --label 'COLUMN=NAME:UNIT')"
            )
    for label in recipe.labels:
        if label.residual_of is not None and label.residual_of not in names:
            raise ValueError(
                f"label '{label.name}' is a residual of '{label.residual_of}', which is not a label"
            )
    for name, flag in recipe.flags.items():
        if flag.listed is not None:
            if recipe.columns.id is None:
                raise ValueError(f"flag '{name}' is a list of identifiers: name columns.id")
        elif flag.label not in names or recipe.label(flag.label).column is None:
            raise ValueError(f"flag '{name}' needs a label read from a column, not '{flag.label}'")
        if name.lower() in RESERVED | recipe.split_names | set(lower_names):
            raise ValueError(f"flag name '{name}' is taken; choose another")


def _check_measurements(recipe: Recipe) -> None:
    """Raise ValueError for keys of numbers on a label of classes, and for columns of two names."""
    names = {name.lower() for name in [*(label.name for label in recipe.labels), *recipe.flags]}
    relation_columns = recipe.relation_columns
    for label in recipe.source_labels:
        if label.reads_numbers_only and recipe.kind_of(label.name) != "regression":
            raise ValueError(
                f"label '{label.name}' is of classes: minus, decimal, percent, relation, qualified "
                "and range are for numbers"
            )
        column = relation_columns.get(label.name, "")
        if column.lower() in names | recipe.split_names:
            raise ValueError(
                f"label '{label.name}' keeps its relation in a column '{column}', which is taken: "
                "give one of them another name"
            )
    measured = [label.name for label in recipe.source_labels]
    for name, spread in recipe.max_spread.items():
        if name not in measured or recipe.kind_of(name) != "regression" or spread < 0:
            raise ValueError(
                f"max_spread of '{name}' is {spread:g}: it takes a label of numbers read from a "
                f"column, and a number of at least 0 in its unit{did_you_mean(name, measured)}"
            )


def _check_subsets(recipe: Recipe) -> None:
    for name, split in recipe.splits.items():
        if split.kind != "subset":
            continue
        if split.of not in recipe.splits or recipe.splits[split.of].kind == "subset":
            whole = [other for other, base in recipe.splits.items() if base.kind != "subset"]
            raise ValueError(
                f"split '{name}' is a subset of '{split.of}', and can be one of "
                f"{', '.join(whole) or 'none'}{did_you_mean(split.of, whole)}"
            )


def _check_tasks(recipe: Recipe) -> None:
    labels = {label.name: label for label in recipe.labels}
    for task in recipe.tasks:
        for name in task.labels:
            if name not in labels:
                raise ValueError(
                    f"task '{task.name}' names label '{name}', which is not declared"
                    f"{did_you_mean(name, labels)}"
                )
            _check_task_label(task, labels[name], [labels[n] for n in task.labels if n in labels])
            if recipe.kind_of(name) != task.kind:
                raise ValueError(
                    f"label '{name}' is in tasks of two kinds: {recipe.kind_of(name)} and "
                    f"{task.kind}"
                )
        if task.loss not in LOSSES[task.kind]:
            raise ValueError(
                f"task '{task.name}': kind {task.kind} goes with loss "
                f"{' or '.join(LOSSES[task.kind])}, not {task.loss}"
            )
        if task.kind == "classes":
            _check_same_classes(task, [labels[name] for name in task.labels])
        if task.fold is not None and task.level != "atom":
            raise ValueError(
                f"task '{task.name}': fold is for atom-level tasks, this one is {task.level}-level"
            )


def _check_same_classes(task: Task, labels: list[Label]) -> None:
    """Raise ValueError where labels that share a head call as many classes otherwise.

    A label may have fewer or more classes than another; as many in another order are a mistake.
    """
    first_of_size: dict[int, Label] = {}
    for label in labels:
        first = first_of_size.setdefault(len(label.class_names), label)
        if label.class_names != first.class_names:
            raise ValueError(
                f"task '{task.name}' has labels of different classes, "
                f"'{first.name}' ({', '.join(first.class_names)}) and "
                f"'{label.name}' ({', '.join(label.class_names)}): give each a task of its own"
            )


def _check_task_label(task: Task, label: Label, task_labels: list[Label]) -> None:
    n_class = len(label.class_names or ())
    if task.kind == "regression" and n_class:
        raise ValueError(
            f"task '{task.name}' is of numbers, its label '{label.name}' of classes: "
            f"kind {'binary' if n_class == 2 else 'classes'} fits"
        )
    if task.kind == "binary" and n_class not in (0, 2):
        raise ValueError(
            f"task '{task.name}' is binary, its label '{label.name}' has {n_class} classes"
        )
    if task.kind == "classes" and not n_class:
        raise ValueError(
            f"task '{task.name}' needs the classes of its label '{label.name}', as in "
            "classes: {low: 0, medium: 1, high: 2}"
        )
    pairs = {recipe_label.pairs for recipe_label in task_labels}
    if len(pairs) > 1:
        raise ValueError(
            f"task '{task.name}' has labels of ordered and of unordered pairs: make two tasks of it"
        )
    if label.level != task.level:
        raise ValueError(
            f"task '{task.name}' is {task.level}-level, its label '{label.name}' {label.level}"
        )
    if label.computed == "xtb.energy":
        raise ValueError(
            f"task '{task.name}' predicts the raw energy '{label.name}', which is atom counting "
            "(R2 0.999993); declare a label with residual_of and predict that"
        )
