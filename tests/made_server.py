"""A folder of files at an address of this computer, as a server on the internet would have them."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlparse


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Files by the name in the path, or by ``files=NAME`` behind a question mark."""

    def translate_path(self, path: str) -> str:
        asked = urlparse(path)
        names = parse_qs(asked.query).get("files")
        return str(Path(self.directory) / (names[0] if names else Path(asked.path).name))

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address under which the files of a folder can be fetched while the block runs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
