"""How a recipe divides its molecules into train, val and test."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .source_schema import SHA256, Strict

SplitKind = Literal[
    "random", "scaffold", "butina", "cluster", "time", "column", "shuffle", "file", "subset"
]
_TAKES = {  # keys that belong to some kinds alone, and to which
    "column": ("column", "time"),
    "parts": ("column",),
    "similarity": ("butina", "cluster"),
    "file": ("file",),
    "url": ("file",),
    "member": ("file",),
    "sha256": ("file",),
    "by": ("file",),
    "of": ("subset",),
    "share": ("subset",),
    "stratify": ("subset",),
    "bins": ("subset",),
}


_COLUMN = "a split of kind column or time, and only that, takes the key column"


class Split(Strict):
    """How molecules are divided into train, val and test.

    Loose groups (stereoisomers, protomers, tautomers) stay on one side, but for published splits
    and the user's own (column, shuffle, file, subset): what they part is counted.

    - ``random``, ``scaffold``: by loose groups, or by groups that share a scaffold.
    - ``butina``: by clusters of ECFP4 similarity at least ``similarity``, up to 100,000 molecules;
      ``cluster``: likewise by sphere exclusion, for any number.
    - ``time``: by the values of ``column``, the latest are the test.
    - ``column``: says train, val, test or test_seen of every row; ``parts`` says what other texts
      mean. Where it (or a ``file``) names no val, that is held back from train: ``val_share`` of
      its molecules, by loose groups.
    - ``shuffle``: the rows of the source, 0, 1, ..., shuffled by Python's random.shuffle with
      ``seed``; train first, then val, then test, as the second paper's.
    - ``file``: lists of rows (or ids, or SMILES: ``by``) under train, val, test and test_seen in a
      file, or at a url.
    - ``subset``: the split ``of``, with a share of its training molecules left in train, as many as
      ``share`` times the test molecules, in equal numbers of ``bins`` quantiles of the label
      ``stratify``.
    """

    kind: SplitKind
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = Field(0, ge=0)
    column: str | None = None
    parts: dict[str, Literal["train", "val", "test", "test_seen"]] = {}
    val_share: float = Field(0.1, ge=0, lt=1)
    similarity: float = Field(0.4, gt=0, lt=1)
    file: str | None = None
    url: str | None = None
    member: str | None = None
    sha256: str | None = Field(None, pattern=SHA256)
    by: Literal["row", "id", "smiles"] = "row"
    of: str | None = None
    share: float = Field(1.0, gt=0)
    stratify: str | None = None
    bins: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Split:
        for key, kinds in _TAKES.items():
            default = type(self).model_fields[key].default
            if getattr(self, key) != default and self.kind not in kinds:
                if key == "column":
                    raise ValueError(_COLUMN)
                raise ValueError(
                    f"a split of kind {self.kind} takes no key {key}: that is for "
                    f"{', '.join(kinds)}"
                )
        if self.kind in ("column", "time") and self.column is None:
            raise ValueError(_COLUMN)
        if self.kind == "file" and (self.file is None) == (self.url is None):
            raise ValueError("a split of kind file takes one of the keys file and url")
        if self.kind == "subset" and self.of is None:
            raise ValueError("a split of kind subset names in 'of' the split that it is of")
        return self

    @model_validator(mode="after")
    def _sum_to_one(self) -> Split:
        if abs(sum(self.fractions) - 1) > 1e-9 or min(self.fractions) < 0:
            raise ValueError(
                f"fractions {list(self.fractions)} (train, val, test) must be positive and sum to 1"
            )
        return self
