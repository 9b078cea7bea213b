"""Parts of all pages: templates that escape their input, pictures as data URIs, the Content Security Policy."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from metakd_monai.data.fingerprint import code_fingerprint

ASSETS = Path(__file__).with_name("assets")
NIIVUE = "niivue.umd.js"
THUMBNAIL = 96  # pixels
JPEG_QUALITY = 82


@cache
def templates() -> Environment:
    """Return the templates; everything inserted is escaped, so names of cases are harmless."""
    loader = PackageLoader("metakd_monai.apps.report", "assets")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render_page(name: str, script: str, *others: str, **content: Any) -> str:
    """Return a page.

    Args:
        name: of its template.
        script: of this package, which the page runs.
        others: scripts that this one starts.
        content: the template's other variables.
    """
    made = {"policy": content_policy(script, *others), "css": read_safe("page.css"), "script": read_safe(script)}
    return templates().get_template(name).render(**made, **content)


def read_asset(name: str) -> str:
    """Return a file of this package as text."""
    return (ASSETS / name).read_text(encoding="utf-8")


def read_safe(name: str) -> Markup:
    """Return a style sheet or script of this package, not to be escaped."""
    return Markup(read_asset(name))  # our own file


@cache
def pack_niivue() -> str:
    """Return the viewer's code, gzip in base64."""
    return base64.b64encode(gzip.compress((ASSETS / NIIVUE).read_bytes(), mtime=0)).decode()


@cache
def content_policy(*scripts: str) -> str:
    """Return a policy that lets a page run only these scripts of the package and fetch nothing."""
    digests = (base64.b64encode(hashlib.sha256((ASSETS / name).read_bytes()).digest()).decode() for name in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )


@cache
def code_of_pages() -> str:
    """Return a checksum of the code and assets that decide how pages look."""
    digest = hashlib.sha256(code_fingerprint(("apps/report", "apps/predict/preview")).encode())
    for path in sorted(ASSETS.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def picture_file(path: Path) -> str | None:
    """Return a PNG file as a data URI; None if it does not exist."""
    return data_uri("png", path.read_bytes()) if path.is_file() else None


def draw_thumbnail(picture: np.ndarray) -> str:
    """Return a small JPEG of a picture ``(rows, columns, 3)`` in 0..1, as a data URI."""
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=JPEG_QUALITY)
    return data_uri("jpeg", content.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Return a picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
