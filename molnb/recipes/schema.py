"""A recipe says which molecules, from where, with which labels, in which unit.

A recipe separates the *source* (file, format, column map, hash) from the *meaning* (labels,
policies, splits), so that the same meaning can be applied to a file of one's own. Recipes are plain
YAML, read safely; a key that is not known is refused. ``data_recipes/README.md`` is the schema on a
page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PrivateAttr,
    field_validator,
    model_validator,
)

from ..errors import did_you_mean
from ..shards import part_schema
from ..units import conversion_factor
from .transforms import parse_transform

Level = Literal["molecule", "atom", "bond", "pair"]

COMPUTED: dict[str, Level] = {
    "xtb.energy": "molecule",
    "xtb.homo": "molecule",
    "xtb.lumo": "molecule",
    "xtb.gap": "molecule",
    "xtb.dipole": "molecule",
    "xtb.solvation_water": "molecule",
    "xtb.solvation_octanol": "molecule",
    "xtb.charges": "atom",
    "xtb.bond_orders": "bond",
    "xtb.pair_orders": "pair",
}
"""Labels that molnb can compute on its own conformer, and the level each belongs to."""

LOSS_OF_CLASSES = {"binary": "bce", "classes": "ce"}

# Every column and array of shards; a label or flag of that name would hide it.
RESERVED = frozenset(part_schema([], []).names) | {"group", "index", "offset"}
# Letters of any script, digits, underscores: names of folders, files and heads of a model.
PLAIN_NAME = r"^[^\W_]\w*$"
MAX_NAME_BYTES = 80  # of a plain name; systems of files take 255 in all
# As the author of a table wrote it, but for ends and controls: names of labels.
WRITTEN_NAME = r"^[^\s\x00-\x1f]([^\x00-\x1f]*[^\s\x00-\x1f])?$"


def plain_name(text: str) -> str:
    """A name of letters, digits and underscores, in lower case, for any column or file name.

    It is cut so that two of them, joined, are still the name of a file.
    """
    name = re.sub(r"[\W_]+", "_", text.lower()).strip("_") or "unnamed"
    name = name if name[0].isalpha() else f"x{name}"
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip("_")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Join(_Strict):
    """A second, small table whose columns are added to the rows of the source by an identifier."""

    file: str
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    format: Literal["csv", "tsv", "parquet"] = "csv"
    key: str
    column: str


class Source(_Strict):
    """Where the rows come from. Leave ``format`` out to go by the file's ending."""

    kind: Literal["rdkit", "file", "url"]
    file: str | None = None
    url: str | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    format: (
        Literal["smi", "csv", "tsv", "sdf", "mol", "xyz", "folder", "xlsx", "parquet"] | None
    ) = None
    delimiter: str | None = None
    header: bool | list[str] = True
    join: Join | None = None

    @model_validator(mode="after")
    def _file_or_url(self) -> Source:
        has_url = self.url is not None
        has_file = self.file is not None
        if has_url != (self.kind == "url") or has_file != (self.kind != "url"):
            raise ValueError(
                "kind 'url' takes the key 'url', kinds 'rdkit' and 'file' take the key 'file'"
            )
        return self


class Columns(_Strict):
    """Which columns hold structure and identifier; ``smiles: null`` is the SDF record's own.

    Columns in ``keep`` stand in the shards as text, as they were written.
    """

    smiles: str | None = "smiles"
    id: str | None = None
    keep: list[str] = []


class Structure(_Strict):
    """The size limit; what becomes of loose duplicates (stereoisomers, tautomers) and of metals."""

    max_heavy_atoms: int = Field(64, ge=1, le=255)
    loose_duplicates: Literal["keep", "drop"] = "keep"
    metals: Literal["drop", "remove"] = "drop"  # complexes, and salts in which the metal matters


class Conformers(_Strict):
    """How the one conformer is made: ETKDGv3, then MMFF94, or UFF where MMFF94 lacks parameters."""

    seed: int = Field(0, ge=0)


class Label(_Strict):
    """One column of numbers, or of classes, which are stored as the numbers 0, 1, 2, ...

    Two labels are the same where quantity, unit, level of theory, geometry and classes are.
    """

    name: str = Field(pattern=WRITTEN_NAME)
    quantity: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    theory: str = Field(min_length=1)
    geometry: str = Field(min_length=1)
    level: Level = "molecule"
    column: str | None = None
    computed: str | None = None
    residual_of: str | None = None
    source_unit: str | None = None
    transform: str | None = None
    classes: dict[str, int] | None = None
    missing: Literal["keep", "drop"] = "keep"

    @field_validator("classes", mode="before")
    @classmethod
    def _classes_as_text(cls, classes: Any) -> Any:
        """Names of classes as the file has them: YAML reads 1 as a number and yes as a truth."""
        if not isinstance(classes, dict):
            return classes
        if any(isinstance(name, bool) for name in classes):
            raise ValueError(
                "classes named yes, no, true, false, on or off must stand between quotes, as in "
                "{'no': 0, 'yes': 1}: else YAML reads them as truth values"
            )
        return {
            str(name) if isinstance(name, int | float) else name: number
            for name, number in classes.items()
        }

    @model_validator(mode="after")
    def _numbered_classes(self) -> Label:
        if self.classes is None:
            return self
        if self.column is None:
            raise ValueError(f"label '{self.name}': only a label read from a column has classes")
        numbers = set(self.classes.values())
        if len(numbers) < 2 or numbers != set(range(len(numbers))):
            raise ValueError(
                f"label '{self.name}' has classes numbered {sorted(numbers)}: number them 0, 1, "
                "... without a gap, two at least"
            )
        return self

    @property
    def class_names(self) -> list[str] | None:
        """What each class is called, in the order of their numbers; None without classes."""
        if self.classes is None:
            return None
        texts = list(self.classes)
        numbers = list(self.classes.values())
        return [texts[numbers.index(number)] for number in range(max(numbers) + 1)]

    @model_validator(mode="after")
    def _one_origin(self) -> Label:
        origins = [self.column, self.computed, self.residual_of]
        if len(origins) - origins.count(None) != 1:
            raise ValueError(
                f"label '{self.name}' takes exactly one of the keys column, computed, residual_of"
            )
        if self.name.lower() in RESERVED:
            raise ValueError(
                f"label name '{self.name}' is a column that every shard has; give the label "
                f"another (label_{plain_name(self.name)}, say: in a recipe 'name', on the command "
                f"line --label '{self.column or self.name}=NAME:UNIT')"
            )
        if self.computed is not None and self.computed not in COMPUTED:
            raise ValueError(
                f"'{self.computed}' cannot be computed; these can: {', '.join(COMPUTED)}"
            )
        if self.computed is not None and self.level != COMPUTED[self.computed]:
            raise ValueError(
                f"'{self.computed}' has level {COMPUTED[self.computed]}, not {self.level}"
            )
        if self.column is not None and self.level != "molecule":
            raise ValueError(
                f"label '{self.name}': only molecule-level labels can be read from a column"
            )
        _ = self.scale
        self._check_transform()
        return self

    def _check_transform(self) -> None:
        if self.transform is None:
            return
        if self.column is None or self.classes is not None:
            raise ValueError(
                f"label '{self.name}': only numbers read from a column can be transformed"
            )
        if self.source_unit is None:
            raise ValueError(
                f"label '{self.name}' is transformed: say in source_unit what the file holds, and "
                "in unit what is stored"
            )
        unit = parse_transform(self.transform, self.source_unit).unit
        if unit != self.unit:
            raise ValueError(
                f"label '{self.name}': {self.transform} of {self.source_unit} gives the unit "
                f"{unit}, not {self.unit}"
            )

    @property
    def scale(self) -> float:
        """The factor from the unit in the file to the unit in the shards."""
        if self.source_unit is None or self.transform is not None:
            return 1.0
        return conversion_factor(self.source_unit, self.unit)


class Task(_Strict):
    """A named group of labels that share level, kind and loss: one head of a model."""

    name: str = Field(pattern=PLAIN_NAME)
    labels: list[str] = Field(min_length=1)
    level: Level = "molecule"
    kind: Literal["regression", "binary", "classes"] = "regression"
    loss: Literal["mae", "mse", "smooth_mae", "bce", "ce"] = "smooth_mae"
    fold: Literal["sum"] | None = None


class Split(_Strict):
    """How molecules are divided into train, val and test.

    Loose groups stay on one side, but for the user's own split: of kind ``column``, which says
    train, val or test of every row. Where it names no val, that is held back from train:
    ``val_share`` of its molecules, by loose groups.
    """

    kind: Literal["random", "scaffold", "column"]
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = Field(0, ge=0)
    column: str | None = None
    val_share: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _column_named(self) -> Split:
        if (self.kind == "column") != (self.column is not None):
            raise ValueError("a split of kind column, and only that, takes the key column")
        return self

    @model_validator(mode="after")
    def _sum_to_one(self) -> Split:
        if abs(sum(self.fractions) - 1) > 1e-9 or min(self.fractions) < 0:
            raise ValueError(
                f"fractions {list(self.fractions)} (train, val, test) must be positive and sum to 1"
            )
        return self


class Flag(_Strict):
    """A yes/no column that marks rows whose label has one of these exact values."""

    label: str
    equals: list[FiniteFloat]
    why: str


def _default_splits() -> dict[str, Split]:
    return {"random": Split(kind="random"), "scaffold": Split(kind="scaffold")}


class Recipe(_Strict):
    """Which molecules, from where, which labels, in which unit."""

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
    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        _check_labels(self)
        _check_tasks(self)
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
        if flag.label not in names or recipe.label(flag.label).column is None:
            raise ValueError(f"flag '{name}' needs a label read from a column, not '{flag.label}'")
        if name.lower() in RESERVED | recipe.split_names | set(lower_names):
            raise ValueError(f"flag name '{name}' is taken; choose another")


def _check_tasks(recipe: Recipe) -> None:
    labels = {label.name: label for label in recipe.labels}
    for task in recipe.tasks:
        for name in task.labels:
            if name not in labels:
                raise ValueError(
                    f"task '{task.name}' names label '{name}', which is not declared"
                    f"{did_you_mean(name, labels)}"
                )
            _check_task_label(task, labels[name])
            if recipe.kind_of(name) != task.kind:
                raise ValueError(
                    f"label '{name}' is in tasks of two kinds: {recipe.kind_of(name)} and "
                    f"{task.kind}"
                )
        for kind, loss in LOSS_OF_CLASSES.items():
            if (task.kind == kind) != (task.loss == loss):
                raise ValueError(
                    f"task '{task.name}': kind {kind} goes with loss {loss}, and only with it"
                )
        if task.kind == "classes" and len(task.labels) > 1:
            raise ValueError(
                f"task '{task.name}' of kind classes has {len(task.labels)} labels: give each a "
                "task of its own"
            )
        if task.fold is not None and task.level != "atom":
            raise ValueError(
                f"task '{task.name}': fold is for atom-level tasks, this one is {task.level}-level"
            )


def _check_task_label(task: Task, label: Label) -> None:
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
    if label.level != task.level:
        raise ValueError(
            f"task '{task.name}' is {task.level}-level, its label '{label.name}' {label.level}"
        )
    if label.computed == "xtb.energy":
        raise ValueError(
            f"task '{task.name}' predicts the raw energy '{label.name}', which is atom counting "
            "(R2 0.999993); declare a label with residual_of and predict that"
        )
