"""The half of a recipe that says what the rows mean: labels, tasks and flags."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from ..shards import part_schema
from ..units import conversion_factor
from .source_schema import SHA256, Strict
from .values.transforms import parse_transform

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

STAR = "*"  # in the name and column of a label: one of every column that fits
# By kind; the first is what a table of one's own gets.
LOSSES = {
    "regression": ("smooth_mae", "mae", "mse"),
    "binary": ("bce",),
    "classes": ("ce", "hybrid_ce"),
}

# Every column and array of shards; a label or flag of that name would hide it.
_OF_SNAPSHOT = "structure problem geometry_key " + " ".join(
    f"geometry_{name}" for name in ("numbers", "coords", "bonds", "charges")
)
RESERVED = (
    frozenset(part_schema([], []).names) | {"group", "index", "offset"} | set(_OF_SNAPSHOT.split())
)
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


class Label(Strict):
    """One column of numbers, or of classes, which are stored as the numbers 0, 1, 2, ...

    Two labels are the same where quantity, unit, level of theory, geometry and classes are.

    Of a list in ``column`` the first counts that the file has; ``*`` in ``column`` and in ``name``
    makes a label of every column that fits. An ``optional`` label may be absent from a file.
    ``minus`` is a second column, in the same unit, that is taken from the first.
    ``relation`` is a column of >, < or ~; what stands so qualified, there or before the number, is
    ``missing``, or the ``value`` with its relation kept beside it. ``range`` is what values, in
    ``unit``, can be: where most are outside, the unit is wrong. Values of atoms, bonds and pairs
    stand in the ``order`` of the row's structure, or of its atom ``maps``; those of ``ordered``
    pairs are a square, first row first.
    """

    name: str = Field(pattern=WRITTEN_NAME)
    quantity: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    theory: str = Field(min_length=1)
    geometry: str = Field(min_length=1)
    level: Level = "molecule"
    column: str | list[str] | None = None
    minus: str | None = None
    computed: str | None = None
    residual_of: str | None = None
    optional: bool = False
    source_unit: str | None = None
    transform: str | None = None
    classes: dict[str, int] | None = None
    missing: Literal["keep", "drop"] = "keep"
    decimal: Literal[".", ","] = "."
    percent: bool = False
    relation: str | None = None
    qualified: Literal["missing", "value"] = "missing"
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    order: Literal["structure", "maps"] = "structure"
    pairs: Literal["unordered", "ordered"] = "unordered"

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
                f"line --label '{(self.columns or [self.name])[0]}=NAME:UNIT')"
            )
        if self.computed is not None and self.computed not in COMPUTED:
            raise ValueError(
                f"'{self.computed}' cannot be computed; these can: {', '.join(COMPUTED)}"
            )
        if self.computed is not None and self.level != COMPUTED[self.computed]:
            raise ValueError(
                f"'{self.computed}' has level {COMPUTED[self.computed]}, not {self.level}"
            )
        self._check_cells()
        _ = self.scale
        self._check_transform()
        return self

    def _check_cells(self) -> None:
        """Raise ValueError for keys that say how cells are read, where they have no meaning."""
        if self.column is None and self.optional:
            raise ValueError(f"label '{self.name}': only a label read from a column is optional")
        if self.column is None and self.reads_numbers_only:
            raise ValueError(
                f"label '{self.name}': minus, decimal, percent, relation, qualified and range are "
                "for labels read from a column"
            )
        if self.classes is not None and self.reads_numbers_only:
            raise ValueError(
                f"label '{self.name}' is of classes: minus, decimal, percent, relation, qualified "
                "and range are for numbers"
            )
        if self.minus is not None and (
            self.level != "molecule" or self.relation or self.qualified == "value"
        ):
            raise ValueError(
                f"label '{self.name}': minus is for exact numbers of molecules, without relation "
                "and qualified"
            )
        n_star = self.name.count(STAR)
        if self.minus is not None and n_star:
            raise ValueError(f"label '{self.name}': minus goes with one column, without {STAR}")
        if n_star > 1 or any(column.count(STAR) != n_star for column in self.columns):
            raise ValueError(
                f"label '{self.name}': write one {STAR} in the name and one in the column, or none"
            )
        if self.level != "molecule" and (self.classes or self.relation or self.percent):
            raise ValueError(
                f"label '{self.name}' is of {self.level}s: classes, relation and percent are for "
                "labels of molecules"
            )
        if self.pairs == "ordered" and self.level != "pair":
            raise ValueError(f"label '{self.name}': ordered pairs are for labels of level pair")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(
                f"label '{self.name}' has the range {list(self.range)}: low, then high"
            )

    @property
    def reads_numbers_only(self) -> bool:
        """Whether a key says how numbers are read of a column, or what they can be."""
        is_plain = (self.decimal, self.percent, self.qualified) == (".", False, "missing")
        return not is_plain or any(
            key is not None for key in (self.minus, self.relation, self.range)
        )

    @property
    def columns(self) -> list[str]:
        """The columns that the label may stand in, the first that a file has counts."""
        if self.column is None:
            return []
        return [self.column] if isinstance(self.column, str) else list(self.column)

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


class Task(Strict):
    """A named group of labels that share level, kind and loss: one head of a model.

    ``smooth_mae`` is Huber's loss, from squared to absolute at one standard deviation.
    ``hybrid_ce`` is for classes in an order: cross entropy, and the squared error of the expected
    class number.
    """

    name: str = Field(pattern=PLAIN_NAME)
    labels: list[str] = Field(min_length=1)
    level: Level = "molecule"
    kind: Literal["regression", "binary", "classes"] = "regression"
    loss: Literal["mae", "mse", "smooth_mae", "bce", "ce", "hybrid_ce"] = "smooth_mae"
    fold: Literal["sum"] | None = None


class IdList(Strict):
    """A text file, or one at a url, with an identifier in each line that ``pattern`` fits.

    The pattern's group is the identifier; the rows may have ``prefix`` in front of it. The first
    ``head`` and the last ``foot`` lines are no part of the list; ``n`` is how many it must name.
    """

    file: str | None = None
    url: str | None = None
    sha256: str | None = Field(None, pattern=SHA256)
    pattern: str = r"\s*(\S+)"
    prefix: str = ""
    head: int = Field(0, ge=0)
    foot: int = Field(0, ge=0)
    n: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _readable(self) -> IdList:
        if (self.file is None) == (self.url is None):
            raise ValueError("a list of identifiers takes one of the keys file and url")
        try:
            n_group = re.compile(self.pattern).groups
        except re.error as error:
            raise ValueError(
                f"pattern '{self.pattern}' is no regular expression: {error}"
            ) from None
        if n_group != 1:
            raise ValueError(f"pattern '{self.pattern}' has {n_group} groups: write one, (...)")
        return self


class Flag(Strict):
    """A yes/no column: rows whose label has one of these exact values, or that a list names."""

    label: str | None = None
    equals: list[FiniteFloat] = []
    listed: IdList | None = None
    why: str

    @model_validator(mode="after")
    def _values_or_list(self) -> Flag:
        has_values = self.label is not None and bool(self.equals)
        if has_values == (self.listed is not None) or (self.label is None) != (not self.equals):
            raise ValueError("a flag takes the keys label and equals, or else listed")
        return self
