"""A recipe says which molecules, from where, with which labels, in which unit.

A recipe separates the *source* (file, format, column map, hash) from the *meaning* (labels,
policies, splits), so that the same meaning can be applied to a file of one's own. Recipes are plain
YAML, read safely; a key that is not known is refused. ``data_recipes/README.md`` is the schema on a
page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from ..errors import did_you_mean
from ..shards import part_schema
from ..units import CONVERSIONS

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

# Every column and array of shards; a label or flag of that name would hide it.
RESERVED = frozenset(part_schema([], []).names) | {"group", "index", "offset"}


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
    format: Literal["smi", "csv", "tsv", "sdf", "parquet"] | None = None
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
    """Which columns hold structure and identifier; ``smiles: null`` is the SDF record's own."""

    smiles: str | None = "smiles"
    id: str | None = None


class Structure(_Strict):
    """The size limit; what becomes of loose duplicates (stereoisomers, tautomers) and of metals."""

    max_heavy_atoms: int = Field(64, ge=1, le=255)
    loose_duplicates: Literal["keep", "drop"] = "keep"
    metals: Literal["drop", "remove"] = "drop"  # complexes, and salts in which the metal matters


class Conformers(_Strict):
    """How the one conformer is made: ETKDGv3, then MMFF94, or UFF where MMFF94 lacks parameters."""

    seed: int = Field(0, ge=0)


class Label(_Strict):
    """One column of numbers.

    Two labels are the same where quantity, unit, level of theory and geometry are.
    """

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    quantity: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    theory: str = Field(min_length=1)
    geometry: str = Field(min_length=1)
    level: Level = "molecule"
    column: str | None = None
    computed: str | None = None
    residual_of: str | None = None
    source_unit: str | None = None
    missing: Literal["keep", "drop"] = "keep"

    @model_validator(mode="after")
    def _one_origin(self) -> Label:
        origins = [self.column, self.computed, self.residual_of]
        if len(origins) - origins.count(None) != 1:
            raise ValueError(
                f"label '{self.name}' takes exactly one of the keys column, computed, residual_of"
            )
        if self.name in RESERVED:
            raise ValueError(
                f"label name '{self.name}' is a column that every shard has; choose another"
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
        return self

    @property
    def scale(self) -> float:
        """The factor from the unit in the file to the unit in the shards."""
        if self.source_unit in (None, self.unit):
            return 1.0
        if (self.source_unit, self.unit) not in CONVERSIONS:
            pairs = ", ".join(f"{a} to {b}" for a, b in CONVERSIONS)
            raise ValueError(
                f"no conversion from {self.source_unit} to {self.unit} (known: {pairs})"
            )
        return CONVERSIONS[self.source_unit, self.unit]


class Task(_Strict):
    """A named group of labels that share level, kind and loss: one head of a model."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    labels: list[str] = Field(min_length=1)
    level: Level = "molecule"
    kind: Literal["regression", "binary"] = "regression"
    loss: Literal["mae", "mse", "smooth_mae", "bce"] = "smooth_mae"
    fold: Literal["sum"] | None = None


class Split(_Strict):
    """How molecules are divided into train, val and test; loose groups always stay on one side."""

    kind: Literal["random", "scaffold"]
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = Field(0, ge=0)

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
    equals: list[float]
    why: str


def _default_splits() -> dict[str, Split]:
    return {"random": Split(kind="random"), "scaffold": Split(kind="scaffold")}


class Recipe(_Strict):
    """Which molecules, from where, which labels, in which unit."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9_]*$")
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

    def label(self, name: str) -> Label:
        """The label of that name."""
        return next(label for label in self.labels if label.name == name)

    def needs_xtb(self) -> bool:
        """True when a label of this recipe is computed with GFN2-xTB."""
        return any((label.computed or "").startswith("xtb.") for label in self.labels)


def _check_labels(recipe: Recipe) -> None:
    names = [label.name for label in recipe.labels]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"label '{name}' is declared {names.count(name)} times")
    for label in recipe.labels:
        if label.residual_of is not None and label.residual_of not in names:
            raise ValueError(
                f"label '{label.name}' is a residual of '{label.residual_of}', which is not a label"
            )
    for name, flag in recipe.flags.items():
        if flag.label not in names or recipe.label(flag.label).column is None:
            raise ValueError(f"flag '{name}' needs a label read from a column, not '{flag.label}'")
        if name in RESERVED or name in names:
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
        if (task.kind == "binary") != (task.loss == "bce"):
            raise ValueError(
                f"task '{task.name}': kind binary goes with loss bce, and only with it"
            )
        if task.fold is not None and task.level != "atom":
            raise ValueError(
                f"task '{task.name}': fold is for atom-level tasks, this one is {task.level}-level"
            )


def _check_task_label(task: Task, label: Label) -> None:
    if label.level != task.level:
        raise ValueError(
            f"task '{task.name}' is {task.level}-level, its label '{label.name}' {label.level}"
        )
    if label.computed == "xtb.energy":
        raise ValueError(
            f"task '{task.name}' predicts the raw energy '{label.name}', which is atom counting "
            "(R2 0.999993); declare a label with residual_of and predict that"
        )
