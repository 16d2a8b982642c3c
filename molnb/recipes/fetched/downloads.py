"""A file that lies elsewhere, and how it comes here: by hand, from before, or from its addresses.

Its SHA-256 is the one that the recipe states. Where it states none, the one of the first use is
written beside the downloads, and held to from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from ...files import file_digest, writing
from ...texts import readable_bytes
from .addresses import (
    LARGE_BYTES,
    AddressError,
    check_room,
    fetch_file,
    forget_part,
    is_address,
    refuse_page,
)
from .digests import remembered_digest
from .hand_fetched import advice_by_hand, find_hand_fetched, name_at_end

DOWNLOADS = "downloads"  # the folder in the home folder


class RemoteFile(NamedTuple):
    """What a recipe says of a file elsewhere."""

    url: str
    mirrors: tuple[str, ...] = ()  # further addresses of the same bytes
    sha256: str | None = None
    n_byte: int | None = None
    recipe: str | None = None  # its name

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, in the order in which they are tried."""
        return (self.url, *self.mirrors)

    @property
    def expects(self) -> str:
        """Whose word the stated SHA-256 is."""
        return f"recipe '{self.recipe}' expects" if self.recipe else "the recipe expects"


class FetchedFile(NamedTuple):
    """A file of a recipe on this computer; ``origin`` says whether it was here before."""

    path: Path
    n_byte: int
    sha256: str
    origin: str  # "fetched now", "fetched before", "fetched by hand", "local"


def download(
    url: str,
    sha256: str | None,
    folder: Path,
    mirrors: Sequence[str] = (),
    recipe: str | None = None,
) -> Path:
    """The file behind a url, in a folder; it is fetched unless it lies there, or was by hand.

    Raises InputError when its content is not what ``sha256`` says, or where that is None not what
    it was before, and for an address that is not https.
    """
    return get_file(RemoteFile(url, tuple(mirrors), sha256, None, recipe), folder).path


def get_file(remote: RemoteFile, folder: Path, progress: bool = True) -> FetchedFile:
    """A file from MOLNB_SOURCES, the folder of downloads, or the first address that gives it.

    Raises InputError with the reason of every address where none gives the file, and where the
    content is not the one expected.
    """
    for address in remote.addresses:
        if not is_address(address):
            raise InputError(f"{address}: only https addresses are downloaded")
    record = record_path(remote, folder)
    by_hand = find_hand_fetched(remote.addresses, remote.recipe)
    path = by_hand or download_path(remote.url, remote.sha256, folder)
    if by_hand is not None:
        refuse_page(by_hand)
    if not path.exists():
        with _locked_part(path, folder) as partial:
            if not path.exists():
                return _fetch_from_any(remote, partial, path, record, progress)
    digest = remembered_digest(path, folder.parent)
    _hold_to(remote, digest, path, record)
    if remote.sha256 is None and not record.exists():
        _write_record(record, digest, path)
    origin = "fetched before" if by_hand is None else "fetched by hand"
    return FetchedFile(path, path.stat().st_size, digest, origin)


def download_path(url: str, sha256: str | None, folder: Path) -> Path:
    """Where the file behind a url is kept: a name of its own for each url and expected content."""
    tag = hashlib.blake2b(f"{url} {sha256}".encode(), digest_size=4).hexdigest()
    return folder / f"{tag}-{name_at_end(url)}"


def announce_parts(remotes: Sequence[RemoteFile], n_byte: int | None, folder: Path) -> None:
    """Say how much is to come for a source of many parts, where its recipe states their size.

    Raises InputError where the disk has no room for those that are not here.
    """
    missing = [remote for remote in remotes if path_here(remote, folder) is None]
    if len(remotes) < 2 or n_byte is None or not missing:
        return
    n_coming = n_byte * len(missing) // len(remotes)
    existing = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    check_room(existing, n_coming)
    if n_coming >= LARGE_BYTES:
        print(
            f"molnb: {len(missing)} of {len(remotes)} parts of {remotes[0].recipe} are to be "
            f"fetched into {folder}, about {readable_bytes(n_coming)}",
            file=sys.stderr,
            flush=True,
        )


def path_here(remote: RemoteFile, folder: Path) -> Path | None:
    """Where a file is on this computer already, fetched or laid by hand; None where it is not."""
    by_hand = find_hand_fetched(remote.addresses, remote.recipe)
    if by_hand is not None:
        return by_hand
    path = download_path(remote.url, remote.sha256, folder)
    return path if path.exists() else None


# ------------------------------------------------------------------------------------ addresses


def _fetch_from_any(
    remote: RemoteFile, partial: Path, path: Path, record: Path, progress: bool
) -> FetchedFile:
    """The file from the first address that gives the content expected."""
    failures: list[str] = []
    for address in remote.addresses:
        part = partial if address == remote.url else _part_of(address, remote, path.parent)
        try:
            fetch_file(address, part, remote.n_byte, progress)
            digest = file_digest(part)
            _refuse_other_content(remote, digest, part, record)
        except AddressError as error:
            failures.append(f"{address}: {error}")
            _tell(failures, remote)
            if part != partial:
                _remove_if_empty(part)
            continue
        _put_in_place(part, path)
        if remote.sha256 is None:
            _write_record(record, digest, path)
        _forget_parts(remote, path)
        _tell_other_size(remote, path)
        return FetchedFile(path, path.stat().st_size, digest, "fetched now")
    advice = advice_by_hand(remote.url, remote.recipe)
    separator = "\n  "
    where = f"{name_at_end(remote.url)} could not be fetched:{separator}" if failures[1:] else ""
    raise InputError(
        f"{where}{separator.join(failures)}{separator if where else '. '}{advice}; or give a local "
        "file with --source FILE (source=PATH)."
    )


def _part_of(address: str, remote: RemoteFile, folder: Path) -> Path:
    """The unfinished download from a mirror; what two servers sent is never joined."""
    path = download_path(address, remote.sha256, folder)
    return path.with_name(path.name + ".part")


def _tell(failures: list[str], remote: RemoteFile) -> None:
    """Say on stderr why an address failed, where another is left to try."""
    if len(failures) < len(remote.addresses):
        following = remote.addresses[len(failures)]
        print(f"molnb: {failures[-1]}; trying {following}", file=sys.stderr, flush=True)


def _tell_other_size(remote: RemoteFile, path: Path) -> None:
    n_byte = path.stat().st_size
    if remote.n_byte is not None and n_byte != remote.n_byte:
        print(
            f"molnb: {path.name} has {n_byte:,} bytes, {remote.expects} {remote.n_byte:,}",
            file=sys.stderr,
        )


def _refuse_other_content(remote: RemoteFile, digest: str, part: Path, record: Path) -> None:
    """Raise AddressError, and keep nothing, where a file is not the one expected."""
    if remote.sha256 is not None:
        if digest == remote.sha256:
            return
        reason = f"{remote.expects} {remote.sha256}: the file changed or is damaged. Kept nothing"
    else:
        recorded = recorded_digest(record)
        if recorded in (None, digest):
            return
        reason = (
            f"{recorded} was recorded when it was first fetched: the file changed. Kept nothing. "
            f"To accept the new content, delete {record} and run the same command again"
        )
    forget_part(part)
    raise AddressError(f"SHA-256 {digest}, {reason}")


def _put_in_place(part: Path, path: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def _forget_parts(remote: RemoteFile, path: Path) -> None:
    """Remove what failed addresses left of a file that another gave."""
    for address in remote.addresses:
        part = _part_of(address, remote, path.parent)
        forget_part(part)
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked_part(path: Path, folder: Path) -> Iterator[Path]:
    """The unfinished download of a file, for this process alone.

    Raises InputError where another process fetches the same file. Nothing is left where nothing
    came.
    """
    partial = path.with_name(path.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = partial.open("ab")
    except OSError as error:
        raise InputError(
            f"cannot write {partial}: {error.strerror}. Set MOLNB_HOME to another folder."
        ) from None
    with lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"Another process is fetching {path}; wait for it, then run the same command again."
            ) from None
        except (ImportError, OSError):
            pass  # Windows, or a file system without locks: whoever is second fetches it too
        try:
            yield partial
        finally:
            _remove_if_empty(partial)


def _remove_if_empty(part: Path) -> None:
    if part.exists() and not part.stat().st_size:
        part.unlink(missing_ok=True)


# ------------------------------------------------------------------------------ recorded digests


def record_path(remote: RemoteFile, folder: Path) -> Path:
    """Where the SHA-256 of the first use is written; `sha256sum -c` reads it."""
    path = download_path(remote.url, remote.sha256, folder)
    return path.with_name(path.name + ".sha256")


def recorded_digest(record: Path) -> str | None:
    """The SHA-256 of the first use; None where nothing is recorded."""
    try:
        words = record.read_text(encoding="utf-8").split()
    except OSError:
        return None
    if not words or len(words[0]) != 64:
        raise InputError(
            f"{record} holds no SHA-256: delete it, and the file's hash is recorded anew"
        )
    return words[0]


def _write_record(record: Path, digest: str, path: Path) -> None:
    with contextlib.suppress(PermissionError), writing(record) as partial:
        partial.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def _hold_to(remote: RemoteFile, digest: str, path: Path, record: Path) -> None:
    """Raise InputError where a file on this computer is not the one expected."""
    again = f"delete {path} to have it fetched again"
    if remote.sha256 is not None:
        if digest != remote.sha256:
            raise InputError(
                f"{path} has SHA-256 {digest}, {remote.expects} {remote.sha256}: the file changed "
                f"or is damaged; {again}, or take the key sha256 out of the recipe if the new "
                "content is meant."
            )
        return
    recorded = recorded_digest(record)
    if recorded not in (None, digest):
        raise InputError(
            f"{path} has SHA-256 {digest}, and {recorded} was recorded when it was first used: the "
            f"file changed; {again}, or, to accept the new content, delete {record}."
        )
