"""A file server on 127.0.0.1 that does what servers do: cut, refuse, ignore Range, change files."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


@dataclass
class Files:
    """What a server holds; `faults` answer the first requests, one each."""

    content: dict[str, bytes]
    etag: str | None = '"one"'
    faults: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)  # the headers of every request
    url: str = ""

    def ranges(self) -> list[str | None]:
        """Return the Range of every request so far."""
        return [headers.get("Range") for headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    files: Files
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.files.asked.append(dict(self.headers.items()))
        if self.files.faults:
            self.files.faults.pop(0)(self)
        else:
            serve(self)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def content(self) -> bytes:
        return self.files.content[self.path.partition("?")[0]]

    def answer(self, status: int, body: bytes, **headers: object) -> None:
        """Send headers and body; Content-Length is the body's unless it is given, or None."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_response(status)
        for name, value in ({"ETag": self.files.etag, "Content-Length": len(body)} | given).items():
            if value is not None:
                self.send_header(name, str(value))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


def serve(handler: Handler, most: int | None = None) -> None:
    """Answer well, as nginx does; after `most` bytes the connection is cut."""
    try:
        content = handler.content
    except KeyError:
        handler.answer(404, b"no such file")
        return
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    same = handler.headers.get("If-Range", handler.files.etag) == handler.files.etag
    first = int(asked[1]) if asked and same else 0
    if first and first >= len(content):
        handler.answer(416, b"", Content_Range=f"bytes */{len(content)}")
        return
    rest, headers = content[first:], dict[str, object]()
    if asked and same:
        headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    handler.answer(206 if headers else 200, rest[:most], Content_Length=len(rest), **headers)


def cut(most: int) -> Answer:
    """Return a fault: the connection breaks after some bytes."""
    return lambda handler: serve(handler, most)


def status(code: int, **headers: object) -> Answer:
    """Return a fault: an answer that is no file."""
    return lambda handler: handler.answer(code, b"<html>sorry</html>", **headers)


def whole(handler: Handler) -> None:
    """Answer as a server that knows no Range."""
    handler.answer(200, handler.content)


@contextmanager
def serving(files: Files) -> Iterator[Files]:
    """Serve some files, each at its path below `url`."""
    handler = type("Bound", (Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        files.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield files
        finally:
            server.shutdown()
