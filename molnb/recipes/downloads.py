"""Fetch a file once, check its SHA-256, go on where an interrupted download stopped."""

from __future__ import annotations

import hashlib
import os
import re
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from urllib.parse import urlparse

from ..errors import InputError
from ..files import file_digest

ATTEMPTS = 3
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60
LOCAL_HOSTS = ("localhost", "127.0.0.1")


def download(url: str, sha256: str | None, folder: Path) -> Path:
    """The file behind a url, in a folder; it is fetched unless it lies there.

    Raises InputError when its content is not what ``sha256`` says, and for an address that is not
    https.
    """
    address = urlparse(url)
    local = address.scheme == "http" and address.hostname in LOCAL_HOSTS
    if address.scheme != "https" and not local:
        raise InputError(f"{url}: only https addresses are downloaded")
    path = download_path(url, sha256, folder)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    _fetch_with_retries(url, partial)
    digest = file_digest(partial)
    _version_file(partial).unlink(missing_ok=True)
    if sha256 is not None and digest != sha256:
        partial.unlink()
        raise InputError(
            f"{url} has SHA-256 {digest}, the recipe expects {sha256}: the file changed or is "
            "damaged. Kept nothing."
        )
    os.replace(partial, path)
    return path


def download_path(url: str, sha256: str | None, folder: Path) -> Path:
    """Where the file behind a url is kept: a name of its own for each url and expected content."""
    tag = hashlib.blake2b(f"{url} {sha256}".encode(), digest_size=4).hexdigest()
    name = Path(urlparse(url).path).name or "file"
    return folder / f"{tag}-{name}"


def _fetch_with_retries(url: str, partial: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _fetch(url, partial)
            return
        except urllib.error.HTTPError as error:
            raise InputError(f"{url}: the server answers {error.code} {error.reason}.") from None
        except OSError as error:  # URLError, time-outs and broken connections are OSErrors
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{url} could not be fetched in {ATTEMPTS} attempts ({error}). Run the same "
                    f"command again to go on from {partial}, or give a local file with source=PATH."
                ) from None
            time.sleep(attempt)


def _fetch(url: str, partial: Path) -> None:
    """Fetch a file, or what is missing of it where the server still has the same version."""
    version = _noted_version(partial)
    offset = partial.stat().st_size if version is not None and partial.exists() else 0
    # If-Range: the rest is sent only if the file is still this version, else all of it.
    headers = {"Range": f"bytes={offset}-", "If-Range": version} if offset else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (https, checked above)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            if response.status == 206 and not _continues(response.headers, version, offset):
                _forget(partial)
                raise ConnectionError("the file changed while it was fetched")
            _append(response, partial, resumed=response.status == 206)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not offset:
            raise
        # Nothing lies beyond what we have: all of it, if the server's file ends there.
        if _total_bytes(error.headers) not in (None, offset):
            _forget(partial)
            raise ConnectionError("the file changed while it was fetched") from None


def _append(response, partial: Path, resumed: bool) -> None:
    if not resumed:
        # The version is noted first, so that no part ever lies beside another version's note.
        _forget(partial)
        version = _server_version(response.headers)
        if version is not None:
            _version_file(partial).write_text(version, encoding="utf-8")
    n_byte = 0
    with partial.open("ab" if resumed else "wb") as file:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            n_byte += len(chunk)
    expected = response.headers.get("Content-Length")
    if expected is not None and n_byte < int(expected):
        raise ConnectionError(f"the connection ended after {n_byte} of {expected} bytes")


# ------------------------------------------------------------------------------------ versions


def _version_file(partial: Path) -> Path:
    """Beside an unfinished download: the ETag or date of the version it is a part of."""
    return partial.with_name(partial.name + ".version")


def _noted_version(partial: Path) -> str | None:
    try:
        return _version_file(partial).read_text(encoding="utf-8") or None
    except OSError:
        return None


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


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _version_file(partial).unlink(missing_ok=True)
