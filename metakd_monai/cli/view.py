"""``metakd view``."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from metakd_monai.cli.report import report_folder
from metakd_monai.errors import UserError


@click.command()
@click.argument("path", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option("--serve", is_flag=True, help="Serve the pages to this machine only, even if it has a display.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port to serve on; 0: any free one."
)
@click.pass_context
def view(ctx: click.Context, path: Path, serve: bool, port: int) -> None:
    """Open the report of OUTPUT: what metakd report takes, or a case in it, as OUT/CASE or OUT/CASE.json.

    Pages that metakd report would write are written first. Where there is no display, they are served on the loopback
    address until Ctrl-C; from another machine, see them through: ssh -L 8765:127.0.0.1:8765 HOST
    """
    page = choose_page(path)
    all_written = report_folder(page.parent, jobs=1)
    if not page.is_file():
        raise UserError(f"{page}: no page; see above for the reason")
    if serve or not open_page(page):
        serve_page(page, port)
    ctx.exit(0 if all_written else 1)


def choose_page(path: Path) -> Path:
    """Return the page to open, of a folder or a case in it; raises UserError when there is no such case."""
    from metakd_monai.apps.report.case_page import INDEX
    from metakd_monai.apps.report.case_result import find_results

    if path.is_dir():
        return path / INDEX
    try:
        results = find_results(path.parent)
    except UserError as error:
        raise UserError(f"{path}: no such folder or case; {error}") from None
    names = ("", ".json", ".nii.gz", ".png", ".html")
    named = [result.page for result in results if path.name in [f"{result.case_id}{end}" for end in names]]
    if not named:
        raise UserError(f"{path}: no such case; expected one of {path.parent}, such as {results[0].beside('.json')}")
    return named[0]


def open_page(page: Path) -> bool:
    """Open a page in the browser and say where it is; return whether there is a display and a browser."""
    has_display = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    opened = has_display and webbrowser.open(page.absolute().as_uri())
    if opened:
        click.echo(f"opened {page}")
    return opened


def serve_page(page: Path, port: int) -> None:
    """Serve a page and those beside it until Ctrl-C; raises UserError for a port that cannot be used."""
    from urllib.parse import quote

    from metakd_monai.apps.report.page_server import open_server

    with open_server(page.parent, port) as server:
        host, found = server.server_address[:2]
        click.echo(f"http://{host!s}:{found}/{quote(page.name)} (Ctrl-C ends it)")
        server.serve_forever()
