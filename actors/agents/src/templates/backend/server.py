"""Serves the interface of app.py, and the files of the folder frontend. It has the standard library only."""

import importlib
import importlib.util
import json
import logging
import os
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

# A project of pages alone has no app.py.
HANDLE: Any = importlib.import_module("app").handle if importlib.util.find_spec("app") else None
LOG = logging.getLogger(__name__)
FILES = Path(__file__).resolve().parent.parent / "frontend"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
BODY_BYTES_MAX = 1024 * 1024
# Calls of app.handle come one by one, so that it needs no locks.
TURN = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    # A client that says nothing for so many seconds is left.
    timeout = 30
    server_version = "web"
    sys_version = ""

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def answer(self) -> None:
        """Answers a request: health, the interface, or a file."""
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path == "/health":
            self.send(HTTPStatus.OK, {"status": "ok"})
        elif path.startswith("/api/") and HANDLE is not None:
            self.call(path, dict(parse_qsl(address.query, keep_blank_values=True)))
        elif self.command == "GET":
            self.file(path)
        else:
            self.refuse(HTTPStatus.NOT_FOUND)

    def call(self, path: str, query: dict) -> None:
        """Lets app.handle answer."""
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if length < 0 or "Transfer-Encoding" in self.headers:
            self.refuse(HTTPStatus.LENGTH_REQUIRED)
            return
        if length > BODY_BYTES_MAX:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            body = json.loads(self.rfile.read(length)) if length else None
        except (ValueError, RecursionError):
            self.refuse(HTTPStatus.BAD_REQUEST)
            return
        try:
            with TURN:
                status, value = HANDLE({"method": self.command, "path": path, "query": query, "body": body})
            self.send(HTTPStatus(status), value)
        except Exception:
            LOG.exception("%s %s", self.command, path)
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    def file(self, path: str) -> None:
        """Sends a file of the page, and nothing else."""
        if "\0" in path:
            self.refuse(HTTPStatus.NOT_FOUND)
            return
        wanted = (FILES / (path.lstrip("/") or "index.html")).resolve()
        kind = TYPES.get(wanted.suffix)
        if kind is None or ".test." in wanted.name or not wanted.is_relative_to(FILES) or not wanted.is_file():
            self.refuse(HTTPStatus.NOT_FOUND)
            return
        self.write(HTTPStatus.OK, kind, wanted.read_bytes())

    def refuse(self, status: HTTPStatus) -> None:
        """Ends a request without a result; what was not read of it cannot be the next one."""
        self.close_connection = True
        self.send(status, {"error": status.phrase})

    def send(self, status: HTTPStatus, value: object) -> None:
        """Sends a value as JSON."""
        body = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(value).encode()
        self.write(status, "application/json", body)

    def write(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        """Sends a response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serves until the process ends."""
    logging.basicConfig(level=logging.INFO)
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080")))
    with ThreadingHTTPServer(address, Handler) as server:
        print(f"listening on port {server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
