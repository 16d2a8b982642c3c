"""Files inside zip and tar archives, read where they are: nothing is unpacked under its own name.

An archive is listed once. Of a packed tar a plain one is made in a temporary folder, from which the
members are read at their places; zip archives and plain tars are read as they are. Text streams;
readers that need a file on a disk get a temporary copy.
"""

from __future__ import annotations

import fnmatch
import io
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from ...errors import InputError, did_you_mean
from .packing import (
    CountedStream,
    DamagedError,
    is_packed,
    open_unpacked,
    refuse_bomb,
    without_packing,
)
from .scratch import scratch_file

ENDINGS = (".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")
MAX_OPEN = 4  # archives whose lists are kept
_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")  # with files, and without
_BLOCK = 512  # bytes, the unit of a tar
_N_LISTED = 12
_WILD = re.compile(r"[*?\[]")
_NOTES = re.compile(r"(readme|licen[cs]e|copying|changelog|citation)\b", re.IGNORECASE)
_AGAIN = "Fetch or pack it again."


class _Entry(NamedTuple):
    """A member as the archive lists it: where it lies, and why it is not read."""

    name: str
    size: int
    place: Any  # offset in the tar, or ZipInfo
    refusal: str | None = None


class Member:
    """A file in an archive, to be opened like a path."""

    __slots__ = ("_archive", "_entry", "name", "full_name")

    def __init__(self, archive: _Archive, entry: _Entry):
        self._archive = archive
        self._entry = entry
        self.name = PurePosixPath(entry.name).name
        self.full_name = entry.name

    def __str__(self) -> str:
        return f"{self._archive.path}: {self._entry.name}"

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its content as a stream of bytes."""
        if mode != "rb":
            raise ValueError(f"members are read as bytes, not {mode!r}")
        return io.BufferedReader(self._archive.open_entry(self._entry, self))

    @property
    def key(self) -> tuple:
        """What tells its content from any other."""
        return (*_archive_key(self._archive.path), self._entry.name)


def is_archive_name(name: str) -> bool:
    """Whether a file's name says that it is an archive."""
    return without_packing(name).lower().endswith(ENDINGS)


def all_members(path: Path) -> list[Member]:
    """Every file of an archive that a recipe may name, in the order of its numbers and letters."""
    archive = _open_archive(path)
    return [Member(archive, entry) for entry in archive.entries]


def chosen_members(path: Path, member: str) -> list[Member]:
    """The files of an archive that a name or a pattern picks, in the order of their numbers.

    A name without folders fits in any folder. Raises InputError where nothing fits, where a name
    fits several, and for links, devices and what is packed with a password.
    """
    members = all_members(path)
    exact = [m for m in members if m.full_name == member.removeprefix("./")]
    fitting = exact or [m for m in members if _fits(m, member)]
    if not fitting:
        names = [m.full_name for m in members]
        raise InputError(
            f"{path} holds no file '{member}'{did_you_mean(member, names)}. "
            f"It holds: {listed(names)}."
        )
    if len(fitting) > 1 and not _WILD.search(member):
        raise InputError(
            f"{path} holds '{member}' {len(fitting)} times: {listed(m.full_name for m in fitting)}."
            " Name one with its folder."
        )
    return _admitted(path, fitting)


def only_member(path: Path, is_readable: Callable[[str], bool]) -> Member:
    """The one readable file of an archive; where there are several, InputError lists them.

    What is called README or LICENSE does not count.
    """
    members = all_members(path)
    readable = [m for m in members if is_readable(m.name) and not _NOTES.match(m.name)]
    if len(readable) == 1:
        return _admitted(path, readable)[0]
    names = listed(m.full_name for m in readable or members)
    if readable:
        raise InputError(
            f"{path} holds {len(readable):,} files that could be read: {names}. Say which: "
            "source.member of a recipe (a name, or a pattern as '*.sdf'), or unpack it and name "
            "the file."
        )
    raise InputError(f"{path} holds no file that is read. It holds: {names or 'nothing'}.")


def on_disk(path: Path | Member) -> Path:
    """A file as it lies on a disk, unpacked; a temporary copy where it is packed or in an archive.

    The same copy serves again while few others are made.
    """
    if isinstance(path, Path) and (path.is_dir() or not is_packed(path)):
        return path
    key = path.key if isinstance(path, Member) else _archive_key(path)

    def write(file: BinaryIO) -> None:
        try:
            with open_unpacked(path) as content:
                shutil.copyfileobj(content, file, 1 << 20)
        except DamagedError as error:
            raise InputError(f"{path} is damaged or cut off ({error}). {_AGAIN}") from None

    return scratch_file(key, without_packing(path.name), write)


def natural_key(name: str) -> list[str | int]:
    """What sorts names by the numbers in them: "b2" before "b10"."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", name)]


def listed(names: Iterable[str], most: int = _N_LISTED) -> str:
    """Some names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _fits(member: Member, pattern: str) -> bool:
    name = member.full_name if "/" in pattern else member.name
    return fnmatch.fnmatchcase(name, pattern)


def _admitted(path: Path, members: list[Member]) -> list[Member]:
    """The members, none of them refused and together of a size that can be."""
    for member in members:
        entry = member._entry
        if entry.refusal is not None:
            raise InputError(f"{path}: '{entry.name}' {entry.refusal}")
    total = sum(member._entry.size for member in members)
    if members[0]._archive.is_zip:
        refuse_bomb(path, total, lambda: path.stat().st_size)
    return members


# ------------------------------------------------------------------------------------ archives


class _Archive:
    """A zip or tar archive and what it lists."""

    is_zip = False

    def __init__(self, path: Path):
        self.path = path
        self.entries: list[_Entry] = []

    def _add(self, name: str, size: int, place: Any, refusal: str | None) -> None:
        _refuse_escape(self.path, name)
        name = name.removeprefix("./")
        parts = PurePosixPath(name).parts
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            return  # what a file manager left
        self.entries.append(_Entry(name, size, place, refusal))


class _Zip(_Archive):
    is_zip = True

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{path} is a damaged or cut off zip ({error}). {_AGAIN}") from None
        for info in self._zip.infolist():
            if not info.is_dir():
                self._add(info.filename, info.file_size, info, _zip_refusal(info))

    def open_entry(self, entry: _Entry, member: Member) -> io.RawIOBase:
        try:
            stream = self._zip.open(entry.place)
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise InputError(f"{member} is damaged, or packed strangely ({error})") from None
        return CountedStream(stream, "zip", member, lambda: self.path.stat().st_size)


def _zip_refusal(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 1:
        return "is encrypted: unpack it with its password, and name the file that comes out."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link, and links are not followed: name the file itself."
    return None


class _Tar(_Archive):
    def __init__(self, path: Path):
        super().__init__(path)
        try:
            with tarfile.open(self._plain(), "r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members = []  # 133,885 of them would stay in memory
                    if not info.isdir():
                        self._add(info.name, info.size, info.offset_data, _tar_refusal(info))
                end = tar.offset
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is a damaged or cut off tar ({error}). {_AGAIN}") from None
        with self._plain().open("rb") as file:
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes anything else for the end
                raise InputError(
                    f"{path} is a damaged or cut off tar: behind {len(self.entries):,} files "
                    f"there is no mark of its end. {_AGAIN}"
                )

    def _plain(self) -> Path:
        """The tar without packing; made again where it had to make room for others."""
        return on_disk(self.path)

    def open_entry(self, entry: _Entry, member: Member) -> io.RawIOBase:
        file = self._plain().open("rb")
        file.seek(entry.place)
        return _Slice(file, entry.size)


def _tar_refusal(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return "is a link, and links are not followed: name the file itself."
    if not info.isreg() or info.issparse():
        return "is no plain file (a device, a pipe or a sparse file): unpack it yourself."
    return None


class _Slice(io.RawIOBase):
    """Some bytes of a file from where it stands; the file is closed with them."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._n_left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = self._file.read(min(len(buffer), self._n_left))
        if not piece and self._n_left and len(buffer):
            raise DamagedError("tar", "the archive ends before its member does")
        self._n_left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def _refuse_escape(path: Path, name: str) -> None:
    """Raise InputError for a member that would lie outside of the folder it is unpacked in."""
    parts = re.split(r"[/\\]", name)
    if name[:1] in ("/", "\\") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise InputError(
            f"{path} lists '{name}', which would lie outside of the folder that it is unpacked in. "
            "Such an archive is not read: ask where it comes from."
        )


_archives: dict[tuple, _Archive] = {}


def _open_archive(path: Path) -> _Archive:
    """An archive with its list, as long as the file is the same."""
    if not path.is_file():
        raise InputError(f"{path} is no file, and no archive to take a member of")
    key = _archive_key(path)
    archive = _archives.pop(key, None)
    if archive is None:
        archive = _read_archive(path)
        while len(_archives) >= MAX_OPEN:
            _archives.pop(next(iter(_archives)))
    _archives[key] = archive
    return archive


def _read_archive(path: Path) -> _Archive:
    archive = _opened_archive(path)
    archive.entries.sort(key=lambda entry: natural_key(entry.name))
    return archive


def _opened_archive(path: Path) -> _Archive:
    try:
        with open_unpacked(path) as content:
            start = content.read(_BLOCK)
    except DamagedError as error:
        raise InputError(f"{path} is damaged or cut off ({error}). {_AGAIN}") from None
    if start.startswith(_ZIP_MARKS):
        return _Zip(path)
    if start[257:262] == b"ustar" or (start and _is_tar_header(start)):
        return _Tar(path)
    raise InputError(
        f"{path} is neither a zip nor a tar, so it has no members (source.member of a recipe). "
        "Leave the member out, or name the archive."
    )


def _is_tar_header(start: bytes) -> bool:
    """Whether a block is the header of a tar, also of one older than POSIX."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _archive_key(path: Path) -> tuple:
    status = path.stat()
    return (str(path.resolve()), status.st_size, status.st_mtime_ns)
