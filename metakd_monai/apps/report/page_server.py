"""The pages and pictures of a folder, served to browsers on this machine only."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from metakd_monai.apps.report.case_page import INDEX
from metakd_monai.errors import UserError

LOOPBACK = "127.0.0.1"
TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png"}
HOSTS = (LOOPBACK, "localhost")  # other names that lead to this machine are those of someone else's page


class PageHandler(BaseHTTPRequestHandler):
    """Serves the pages and pictures of a folder, and no other files."""

    def __init__(self, *arguments: Any, directory: Path, **others: Any) -> None:
        self.directory = directory
        super().__init__(*arguments, **others)

    def do_GET(self) -> None:
        """Send a page."""
        page = self.find_page()
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content = page.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[page.suffix])
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def find_page(self) -> Path | None:
        """Return the requested file; None if there is none."""
        name = unquote(urlsplit(self.path).path).removeprefix("/") or INDEX
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        page = self.directory / name
        if host not in HOSTS or name != page.name or page.suffix not in TYPES or not page.is_file():
            return None
        return page

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def open_server(directory: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a folder's pages, to be run with ``serve_forever``; raises UserError for a port in use."""
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(PageHandler, directory=directory))
    except OSError as error:
        raise UserError(f"port {port}: cannot be used ({error.strerror}); expected a free one, or 0 for any") from None
