"""A mix: a recipe of recipes, whose members are curated and joined into one training set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from .label_schema import PLAIN_NAME
from .source_schema import Strict


class MixMember(Strict):
    """A dataset of a mix: its recipe, what is changed in it, and its split.

    ``recipe`` is a name, or a YAML file beside that of the mix. ``changes`` replaces keys of the
    recipe (source, columns, conformers, ...), key by key; a part whose ``kind`` it names, and every
    list, is replaced whole. ``split`` is one of the recipe's splits, by default its default.
    ``weight`` is the share of samples that a run draws from it, relative to the others, where it
    draws by weight.
    """

    recipe: str
    changes: dict[str, Any] = {}
    split: str | None = None
    weight: float = Field(1.0, gt=0)


class Mix(Strict):
    """Which datasets, with which splits, make one training set.

    Molecules of several members are one sample with the labels of all where the identity, the rule
    of geometry and the side of the split agree; else they stay samples of their own with one
    identity key. ``leaks: drop`` takes molecules out of training that another member tests on.
    """

    name: str = Field(pattern=PLAIN_NAME)
    title: str
    description: str = ""
    licence: str
    citation: str
    members: dict[str, MixMember] = Field(min_length=1)
    leaks: Literal["keep", "drop"] = "keep"
    faults: list[str] = []
    unverified: list[str] = []
    _folder: Path = PrivateAttr(default_factory=Path)

    @property
    def folder(self) -> Path:
        """The folder that files of members' recipes are looked up in."""
        return self._folder

    @model_validator(mode="after")
    def _plain_names(self) -> Mix:
        for name in self.members:
            if not name.replace("_", "").isalnum():
                raise ValueError(f"member '{name}': write letters, digits and underscores")
        return self
