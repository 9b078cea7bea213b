"""The pages and pictures of a folder, served to the browsers of this machine alone."""

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
HOSTS = (LOOPBACK, "localhost")  # that a browser may ask for: another name that leads here is someone else's page


class PageHandler(BaseHTTPRequestHandler):
    """Answers with the pages and pictures of a folder, and with nothing else that lies there."""

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
        """Return the file that is asked for; None where there is none."""
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
