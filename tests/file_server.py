"""A server of this computer that has the faults of servers: for tests of downloads."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections import Counter
from collections.abc import Iterator

N_SENT = 100_000  # bytes before a connection breaks
PAGE = b"<!DOCTYPE html>\n<html><head><title>Please\n log in</title></head><body>No.</body></html>"


class FileServer:
    """Files and faults by path; requests are noted as "path first-byte".

    Faults: a number of an HTTP error; "busy" (503 once), "cut" (the first answer breaks off),
    "cut for ever", "chunks cut" and "no length cut" (without a length), "no ranges" (cut, and
    ranges are ignored), "page" (of HTML), "empty", or another address to be led to.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, int | str] = {}
        self.requests: list[str] = []
        self.address = ""

    def add(self, path: str, content: bytes, fault: int | str = "") -> str:
        """Serve a file; returns its address."""
        self.files[path] = content
        self.faults[path] = fault
        return self.address + path

    def counts(self) -> Counter[str]:
        """How often each path was requested."""
        return Counter(line.split()[0] for line in self.requests)


def _answer(handler: http.server.BaseHTTPRequestHandler, server: FileServer) -> None:
    path = handler.path
    is_first = path not in server.counts()
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
    server.requests.append(f"{path} {start}")
    fault = server.faults.get(path, 404)
    if isinstance(fault, int) or (fault == "busy" and is_first):
        handler.send_error(fault if isinstance(fault, int) else 503)
        return
    if "://" in fault:
        handler.send_response(302)
        handler.send_header("Location", fault)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    content = {"page": PAGE, "empty": b""}.get(fault, server.files[path])
    tag = hashlib.md5(content).hexdigest()
    if fault == "no ranges" or handler.headers.get("If-Range") != f'"{tag}"':
        start = 0
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", f'"{tag}"')
    if fault == "chunks cut":
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (N_SENT, content[:N_SENT]))
        if not is_first:
            rest = content[N_SENT:]
            handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))
        return
    if fault != "no length cut":
        handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    breaks = fault == "cut for ever"
    breaks = breaks or (is_first and fault in ("cut", "no ranges", "no length cut"))
    handler.wfile.write(content[start : start + N_SENT] if breaks else content[start:])


@contextlib.contextmanager
def file_server() -> Iterator[FileServer]:
    """A running server, without files yet."""
    server = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            _answer(self, server)

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        server.address = f"http://127.0.0.1:{running.server_port}"
        yield server
        running.shutdown()
