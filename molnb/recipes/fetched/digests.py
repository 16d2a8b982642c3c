"""SHA-256 of source files, remembered so that a large file is read for it once."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from ...errors import InputError
from ...files import file_digest, write_json

# A file changed this recently may change again and still bear the same time: some file systems
# keep times to two seconds.
SETTLED_NANOSECONDS = 2_000_000_000


def remembered_digest(path: Path, home: Path) -> str:
    """SHA-256 of a file, read only where its size or time of change is not the one remembered.

    Digests stand in ``data/.digests.json`` of the home folder, by resolved path.
    """
    memory = home / "data" / ".digests.json"
    status = path.stat()
    key = str(path.resolve())
    digests = _load(memory)
    entry = digests.get(key)
    if isinstance(entry, list) and entry[:2] == [status.st_size, status.st_mtime_ns]:
        return entry[2]
    settled = time.time_ns() - status.st_mtime_ns > SETTLED_NANOSECONDS
    digest = file_digest(path)
    if settled:
        digests = {name: value for name, value in _load(memory).items() if Path(name).exists()}
        digests[key] = [status.st_size, status.st_mtime_ns, digest]
        with contextlib.suppress(OSError, InputError):  # no right, or no room, to write: forgotten
            write_json(digests, memory)
    return digest


def _load(memory: Path) -> dict[str, list]:
    """What is remembered; nothing where the file is absent or damaged."""
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
