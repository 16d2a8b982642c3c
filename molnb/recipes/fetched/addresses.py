"""Fetch a file from one address: go on where a download stopped, refuse what is no file of data."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ...errors import InputError
from ...progress import Progress
from ...texts import readable_bytes

ATTEMPTS = 3
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60
LARGE_BYTES = 100_000_000  # from here on the size is told before a download begins
LOCAL_HOSTS = ("localhost", "127.0.0.1")
_PASSING = (429, 500, 502, 503, 504)  # answers of a busy server: worth another attempt
_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.I | re.S)
_HEAD_BYTES = 1 << 14
_POINTER = b"version https://git-lfs.github.com/spec/"


class AddressError(Exception):
    """An address that gives no file; the text says why, without the address."""


def is_address(text: str | None) -> bool:
    """Whether a text is the address of a file elsewhere, and no path."""
    return text is not None and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def fetch_file(address: str, partial: Path, n_expected: int | None, progress: bool) -> None:
    """Fetch the file of an address into ``partial``, or what is missing of it there.

    ``n_expected`` is its size in bytes, where that is known before. Raises AddressError where the
    address gives no file, InputError where the disk has no room for it.
    """
    if not _is_allowed(address):
        raise AddressError("only https addresses are downloaded")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _fetch(address, partial, n_expected, progress)
            return
        except (OSError, http.client.HTTPException) as error:  # time-outs are OSErrors too
            answer = getattr(error, "code", None)
            reason = f"the server answers {answer} {getattr(error, 'reason', '')}".rstrip()
            if answer is not None and answer not in _PASSING:
                raise AddressError(reason) from None
            if attempt == ATTEMPTS:
                reason = _fault(error) if answer is None else reason
                raise AddressError(_interrupted(partial, reason)) from None
            time.sleep(attempt)


def _fault(error: Exception) -> str:
    """What went wrong on the way, without the wrapping of Python's own."""
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause)


def _interrupted(partial: Path, reason: str) -> str:
    n_byte = partial.stat().st_size if partial.exists() else 0
    kept = f"; {readable_bytes(n_byte)} of it are kept, the same command goes on from there"
    return f"not fetched in {ATTEMPTS} attempts ({reason})" + (kept if n_byte else "")


def _is_allowed(address: str, after: str | None = None) -> bool:
    """Whether an address may be fetched: https, or a server of this computer.

    Behind another address (``after``) that was https, only https.
    """
    parts = urlparse(address)
    if parts.scheme == "https":
        return True
    was_secure = after is not None and urlparse(after).scheme == "https"
    return parts.scheme == "http" and parts.hostname in LOCAL_HOSTS and not was_secure


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's word that the file lies elsewhere, unless that is a less safe place."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str):  # noqa: ANN202
        if not _is_allowed(newurl, req.full_url):
            raise AddressError(
                f"the server leads to {newurl}, which is not https: nothing is fetched from there"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(address: str, partial: Path, n_expected: int | None, progress: bool) -> None:
    """Fetch a file, or what is missing of it where the server still has the same version."""
    version = _noted_version(partial)
    offset = partial.stat().st_size if version is not None and partial.exists() else 0
    # If-Range: the rest is sent only if the file is still this version, else all of it.
    headers = {"Range": f"bytes={offset}-", "If-Range": version} if offset else {}
    headers["User-Agent"] = "molnb"  # some servers refuse Python's own name
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 (checked before)
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            if response.status == 206 and not _continues(response.headers, version, offset):
                forget_part(partial)
                raise ConnectionError("the file changed while it was fetched")
            resumed = response.status == 206
            _append(response, partial, resumed, n_expected, progress)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not offset:
            raise
        # Nothing lies beyond what we have: all of it, if the server's file ends there.
        if _total_bytes(error.headers) not in (None, offset):
            forget_part(partial)
            raise ConnectionError("the file changed while it was fetched") from None


def _append(
    response: Any, partial: Path, resumed: bool, n_expected: int | None, progress: bool
) -> None:
    """Write what a server sends behind what there is of a file, or in its place."""
    offset = partial.stat().st_size if resumed else 0
    length = response.headers.get("Content-Length")
    n_coming = int(length) if length is not None else None
    chunk = response.read(CHUNK_BYTES)
    if not resumed:
        _refuse_what_is_no_data(chunk)
        # The version is noted first, so that no part ever lies beside another version's note.
        forget_part(partial)
    n_total = n_expected if n_coming is None else offset + n_coming
    check_room(partial.parent, None if n_total is None else n_total - offset)
    if n_total is not None and n_total - offset >= LARGE_BYTES:
        _announce(partial, n_total, offset, urlparse(response.url).hostname)
    n_byte = 0
    with _writing(partial, resumed) as file, _bar(partial, n_total, offset, progress) as bar:
        if not resumed:
            _note_version(partial, _server_version(response.headers))
        while chunk:
            file.write(chunk)
            n_byte += len(chunk)
            bar.advance(len(chunk))
            chunk = _next_chunk(response)
    if n_coming is None and not response.chunked and n_total is not None:
        n_coming = n_total - offset  # nothing but the recipe tells whether all of it came
    if n_coming is not None and n_byte < n_coming:
        raise ConnectionError(f"the connection ended after {n_byte:,} of {n_coming:,} bytes")


def _next_chunk(response: Any) -> bytes:
    """What comes next; a fault of the network is told from one of the disk, an OSError too."""
    try:
        return response.read(CHUNK_BYTES)
    except OSError as error:
        raise ConnectionError(str(error)) from None


@contextlib.contextmanager
def _writing(partial: Path, resumed: bool) -> Iterator[Any]:
    """The file that a download is written to; a fault of the disk is an InputError."""
    try:
        with partial.open("ab" if resumed else "wb") as file:
            yield file
    except ConnectionError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "Free space" if full else "See to your rights there"
        raise InputError(
            f"cannot write {partial}: {error.strerror}. {advice}, or set MOLNB_HOME to another "
            "folder; the same command then goes on."
        ) from None


def _refuse_what_is_no_data(first: bytes) -> None:
    """Raise AddressError where a file begins like a page of HTML, or is nothing."""
    if not first:
        raise AddressError("the server sent an empty file")
    if _PAGE.match(first):
        raise AddressError(
            f"the server sent a page of HTML{_title(first)} and no data: open the address in a "
            "browser"
        )
    if first.startswith(_POINTER):
        raise AddressError("the server sent a pointer of Git LFS, and not the file it stands for")


def refuse_page(path: Path) -> None:
    """Raise InputError where a file that somebody saved is a page of HTML."""
    with path.open("rb") as file:
        first = file.read(_HEAD_BYTES)
    if _PAGE.match(first):
        raise InputError(
            f"{path} is a page of HTML{_title(first)} and no data: save the file that the page "
            "leads to"
        )


def _title(page: bytes) -> str:
    """The title of a page of HTML between commas; nothing without one."""
    title = _TITLE.search(page)
    words = " ".join(title[1].decode("utf-8", "replace").split())[:80] if title else ""
    return f", '{words}'," if words else ""


# ----------------------------------------------------------------------------- size and progress


def check_room(folder: Path, n_byte: int | None) -> None:
    """Raise InputError where a folder's disk has no room for so many bytes more."""
    if n_byte is None:
        return
    n_free = shutil.disk_usage(folder).free
    if n_byte > n_free:
        raise InputError(
            f"{folder} has room for {readable_bytes(n_free)}, {readable_bytes(n_byte)} are to be "
            "fetched: free space, or set MOLNB_HOME to a folder on a larger disk."
        )


def _announce(partial: Path, n_total: int, offset: int, host: str | None) -> None:
    rest = f", {readable_bytes(offset)} of it are here" if offset else ""
    n_free = readable_bytes(shutil.disk_usage(partial.parent).free)
    print(
        f"molnb: fetching {_plain_name(partial)}, {readable_bytes(n_total)}{rest}, from {host} "
        f"into {partial.parent} ({n_free} free)",
        file=sys.stderr,
        flush=True,
    )


def _bar(partial: Path, n_total: int | None, offset: int, progress: bool) -> Progress:
    rest = " (the rest)" if offset else ""
    label = f"{_plain_name(partial)}{rest}, bytes"
    return Progress(label, None if n_total is None else n_total - offset, visible=progress)


def _plain_name(partial: Path) -> str:
    """The name of a file without what molnb puts around it."""
    return re.sub(r"^[0-9a-f]{8}-", "", partial.name).removesuffix(".part")


# ------------------------------------------------------------------------------------ versions


def version_file(partial: Path) -> Path:
    """Beside an unfinished download: the ETag or date of the version it is a part of."""
    return partial.with_name(partial.name + ".version")


def _noted_version(partial: Path) -> str | None:
    try:
        return version_file(partial).read_text(encoding="utf-8") or None
    except OSError:
        return None


def _note_version(partial: Path, version: str | None) -> None:
    if version is not None:
        version_file(partial).write_text(version, encoding="utf-8")


def _server_version(headers: Message) -> str | None:
    """What tells versions of a file apart; a weak ETag does not promise the same bytes."""
    etag = headers.get("ETag")
    if etag is not None and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified")


def _continues(headers: Message, version: str | None, offset: int) -> bool:
    """Whether a partial answer begins where our part ends, and is of the same version.

    Some servers do not know If-Range and send the rest of whatever they have.
    """
    start = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    if start is not None and int(start[1]) != offset:
        return False
    return _server_version(headers) in (None, version)


def _total_bytes(headers: Message) -> int | None:
    total = re.match(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
    return None if total is None else int(total[1])


def forget_part(partial: Path) -> None:
    """Begin a download anew; the file stays, empty, because it may be locked."""
    with contextlib.suppress(FileNotFoundError):
        os.truncate(partial, 0)
    version_file(partial).unlink(missing_ok=True)
