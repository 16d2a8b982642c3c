"""The half of a recipe that says where the rows come from: files, their format, their columns."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..units import length_factor

Format = Literal[
    "smi", "csv", "tsv", "sdf", "mol", "xyz", "folder", "xlsx", "parquet",
    "npz", "mat", "hdf5", "msgpack", "lmdb",
]  # fmt: skip
SHA256 = "^[0-9a-f]{64}$"
PART = "{part}"  # stands in an address for the number or the name of a part
_PART = re.compile(r"\{part(?::0(\d))?\}")  # {part:02} is a number of two digits


def part_address(address: str, part: int | str) -> str:
    """The address of one part: its number or name, in the place of ``{part}`` or ``{part:02}``."""
    return _PART.sub(lambda match: str(part).zfill(int(match[1] or 0)), address)


class Strict(BaseModel):
    """A part of a recipe: a key that it does not have is refused, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Join(Strict):
    """A second, small table whose columns are added to the rows of the source by an identifier.

    ``file`` is a path or an address. Where there is none the table lies in the archive of the
    source, as ``member``.
    """

    file: str | None = None
    member: str | None = None
    sha256: str | None = Field(None, pattern=SHA256)
    format: Literal["csv", "tsv", "parquet"] = "csv"
    key: str
    column: str

    @model_validator(mode="after")
    def _file_or_member(self) -> Join:
        if (self.file is None) == (self.member is None):
            raise ValueError("a joined table takes one of the keys file and member (of an archive)")
        return self


class Source(Strict):
    """Where the rows come from. Leave ``format`` out to go by the file's ending.

    ``mirrors`` are further addresses of the same bytes, tried in this order. ``parts`` are the
    first and the last number, or names, that stand for ``{part}`` in the address (``{part:02}``
    writes 1 as 01). ``member`` names the file, or by a pattern the files, of an archive that hold
    the rows. ``bytes`` and ``rows`` say what size and how many rows to expect; another number of
    rows is refused. ``about_rows`` is what others report: shown, and held to nothing. A ``header``
    of names says what the words of an XYZ comment are.
    """

    kind: Literal["rdkit", "file", "url"]
    file: str | None = None
    url: str | None = None
    mirrors: list[str] = []
    parts: tuple[int, int] | list[str] | None = None
    member: str | None = None
    sha256: str | None = Field(None, pattern=SHA256)
    bytes: int | None = Field(None, gt=0)
    rows: int | None = Field(None, gt=0)
    about_rows: int | None = Field(None, gt=0)
    format: Format | None = None
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
        if self.rows is not None and self.about_rows is not None:
            raise ValueError("a source takes one of the keys rows and about_rows")
        if self.mirrors and not has_url:
            raise ValueError("mirrors are further addresses of a url: kind 'url' alone has them")
        return self

    @model_validator(mode="after")
    def _numbered_parts(self) -> Source:
        addresses = [self.url or self.file, *self.mirrors]
        if self.parts is None:
            return self
        if any(_PART.search(address) is None for address in addresses):
            raise ValueError(
                f"a source with parts says in every address where their number stands: {PART}"
            )
        numbers = isinstance(self.parts, tuple)
        if numbers and (self.parts[0] > self.parts[1] or self.parts[0] < 0):
            raise ValueError(f"parts are [first, last] number, not {list(self.parts)}")
        if not numbers and (not self.parts or len(set(self.parts)) < len(self.parts)):
            raise ValueError("parts by name are one name at least, each once")
        if self.sha256 is not None:
            raise ValueError(
                "a source in parts has no one sha256: each part's is kept when fetched"
            )
        return self

    @property
    def part_names(self) -> list[int] | list[str]:
        """Numbers or names of the parts, in their order; none of a source in one piece."""
        if isinstance(self.parts, tuple):
            return list(range(self.parts[0], self.parts[1] + 1))
        return list(self.parts or [])


class GivenGeometry(Strict):
    """Columns that hold a geometry: atomic numbers (or symbols) and coordinates of all atoms.

    ``coords`` is flat or nested, of one conformer or of several; ``unit`` is that of its numbers.
    ``bonds`` is flat (i, j, order) in the order of the atoms, an order times ``order_factor`` is 1,
    2, 3, or 1.5 for aromatic; ``charges`` is the formal charge of each atom. Without ``bonds`` the
    atoms are matched with the row's SMILES; without both, bonds are perceived from the distances.
    So they are where the geometry is ``disagreeing`` with the SMILES, unless such rows are dropped.
    """

    numbers: str
    coords: str
    unit: str = "Å"
    bonds: str | None = None
    order_factor: float = Field(1.0, gt=0)
    charges: str | None = None
    disagreeing: Literal["drop", "geometry"] = "drop"

    @property
    def names(self) -> list[str]:
        """All the columns that it names."""
        named = [self.numbers, self.coords, self.bonds, self.charges]
        return [name for name in named if name is not None]

    @field_validator("unit")
    @classmethod
    def _unit_of_length(cls, unit: str) -> str:
        length_factor(unit)
        return unit


class Columns(Strict):
    """Which columns hold structure and identifier; ``smiles: null`` is the SDF record's own.

    Of a list of names the first counts that the file has. Columns in ``keep`` stand in the shards
    as text, as they were written. ``geometry`` names columns of atoms and coordinates where the
    structure itself (SDF, XYZ, CXSMILES) has none.
    """

    smiles: str | list[str] | None = "smiles"
    id: str | list[str] | None = None
    keep: list[str] = []
    geometry: GivenGeometry | None = None
