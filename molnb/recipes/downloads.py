"""Fetch a file once, check its SHA-256, go on where an interrupted download stopped."""

from __future__ import annotations

import hashlib
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

from ..errors import InputError

ATTEMPTS = 3
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


def download(url: str, sha256: str | None, folder: Path) -> Path:
    """The file behind ``url``, in ``folder``; raises InputError when its content is not what
    ``sha256`` says.
    """
    parts = urlparse(url)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
    ):
        raise InputError(f"{url}: only https addresses are downloaded")
    tag = hashlib.blake2b(f"{url} {sha256}".encode(), digest_size=4).hexdigest()
    path = folder / f"{tag}-{Path(parts.path).name or 'file'}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    _fetch_all(url, partial)
    digest = _digest(partial)
    if sha256 is not None and digest != sha256:
        partial.unlink()
        raise InputError(
            f"{url} has SHA-256 {digest}, the recipe expects {sha256}: the file changed or is damaged. Kept nothing."
        )
    os.replace(partial, path)
    return path


def _fetch_all(url: str, partial: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch(url, partial)
        except urllib.error.HTTPError as error:
            if error.code == 416 and partial.exists():  # nothing left beyond what we have
                return None
            raise InputError(f"{url}: the server answers {error.code} {error.reason}.") from None
        except OSError as error:  # URLError, time-outs and broken connections are OSErrors
            if attempt == ATTEMPTS:
                raise InputError(
                    f"{url} could not be fetched in {ATTEMPTS} attempts ({error}). "
                    f"Run the same command again to go on from {partial}, or give a local file with source=PATH."
                ) from None
            time.sleep(attempt)
    return None


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (https, checked above)
        resumed = answer.status == 206
        expected = answer.headers.get("Content-Length")
        with partial.open("ab" if resumed else "wb") as file:
            got = 0
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                got += len(chunk)
    if expected is not None and got < int(expected):
        raise ConnectionError(f"the connection ended after {got} of {expected} bytes")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
