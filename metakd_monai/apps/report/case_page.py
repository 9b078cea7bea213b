"""The page of one case: a viewer with its images and mask, volumes, the Dice to expect, warnings, how it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from metakd_monai.apps.predict.preview import COLOURS, blend, busiest_slice, cut, largest_tumour, printable
from metakd_monai.apps.raw.case_folder import PICTURE
from metakd_monai.apps.report.case_facts import MEANING, NAMES, list_facts, list_names, list_regions
from metakd_monai.apps.report.case_result import CaseResult, Volumes, read_volumes
from metakd_monai.apps.report.packed_volume import BITS, Cutout, choose_cutout, pack_bits, pack_images, pack_labels
from metakd_monai.apps.report.page_parts import (
    NIIVUE,
    code_of_pages,
    draw_thumbnail,
    pack_niivue,
    picture_file,
    read_asset,
    render_page,
)
from metakd_monai.data.files import write_text
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import WORKING_AXES

INDEX = "index.html"  # the cohort's page
MOST_BYTES = 6_000_000  # of a page
TEXT_BYTES = 60_000  # of a page, apart from images, pictures and the viewer's code
HEAD_BYTES = 20_000  # the part of a page that holds the source and the thumbnail
PARTS = {
    "enhancing": "Enhancing tumour (ET)",
    "necrosis": "Necrosis and core that does not enhance (TC without ET)",
    "oedema": "Oedema and infiltration (WT without TC)",
}
SOURCE = '<meta name="metakd-source" content="'


def write_case_page(result: CaseResult) -> str | None:
    """Write the page of a case, unless the same report and code made it already; return why it has no viewer, if so.

    Raises:
        UserError: when it cannot be written.
    """
    if result.page.name.lower() == INDEX:
        raise UserError(f"a case named {result.case_id}: its page would be that of the cohort; expected another name")
    source = source_of(result)
    if read_source(result.page) == source:
        return None
    problem = None
    try:
        volumes = read_volumes(result)
    except UserError as error:
        volumes, problem = None, str(error)
    write_text(result.page, render(result, volumes, problem, source))
    return problem


def source_of(result: CaseResult) -> str:
    """Return a checksum of a page's sources: the report, and the code of pages."""
    content = json.dumps([result.report, code_of_pages()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read_head(page: Path) -> str:
    """Return the beginning of a page; nothing where there is none."""
    if not page.is_file():
        return ""
    with page.open("rb") as file:
        return file.read(HEAD_BYTES).decode("utf-8", "replace")


def read_source(page: Path) -> str:
    """Return the checksum in a page; nothing if it has none, such as a page without viewer, which is made again."""
    return read_head(page).partition(SOURCE)[2].partition('"')[0]


def render(result: CaseResult, volumes: Volumes | None, problem: str | None, source: str) -> str:
    """Return the page of a case; ``problem`` says why there are no volumes."""
    report = result.report
    pictures = {"preview": picture_file(result.beside(".png")), "check": picture_file(check_picture(report))}
    view, shown, thumbnail = None, "", None
    if volumes is not None:
        cutout = choose_cutout(shown_voxels(volumes), volumes.affine)
        room = MOST_BYTES - TEXT_BYTES - len(pack_niivue()) - sum(len(text or "") for text in pictures.values())
        view = describe_view(volumes, cutout, room)
        shown = describe_shown(view["levels"], cutout.step)
        thumbnail = draw_slice(volumes, cutout)
    warnings = [*report["warnings"], *([f"No viewer: {problem}"] if problem else [])]
    return render_page(
        "case.html",
        "viewer.js",
        NIIVUE,
        report=report,
        source="" if problem else source,
        thumbnail=thumbnail or "data:,",
        niivue=pack_niivue(),
        notice=read_asset("niivue.license.txt"),
        names=NAMES,
        given=list_names(report["modalities"].get("used", [])),
        absent=list_names(report["modalities"].get("missing", [])) or "none",
        warnings=[printable(str(text)) for text in warnings],
        parts=list_parts(),
        view=view,
        shown=shown,
        regions=list_regions(report),
        meaning=MEANING,
        facts=list_facts(report),
        **pictures,
    )


def list_parts() -> list[dict[str, Any]]:
    """Return the parts of a tumour as the page lists them, with their values in the shown mask."""
    values = {name: value for value, name in enumerate(COLOURS, 1)}
    return [
        {"name": name, "text": text, "value": values[name], "colour": colour_of(name)} for name, text in PARTS.items()
    ]


def colour_of(name: str) -> list[int]:
    """Return a colour from 0 to 255."""
    return [round(255 * share) for share in COLOURS[name]]


def shown_voxels(volumes: Volumes) -> np.ndarray:
    """Return the voxels to show: the brain and the mask."""
    shown: np.ndarray = volumes.labels > 0
    for image in volumes.images.values():
        shown |= image != 0
    return shown


def check_picture(report: Mapping[str, Any]) -> Path:
    """Return where the picture of a raw preparation would lie."""
    files = report["files"]
    first = files if isinstance(files, str) else next(iter(files.values()), "")
    return Path(first).parent / PICTURE


def describe_view(volumes: Volumes, cutout: Cutout, most_bytes: int) -> dict[str, Any]:
    """Return what the viewer's script reads: packed volumes, and how they are shown."""
    maps = {"labels": pack_labels(volumes.labels, cutout)}
    if volumes.uncertainty is not None:
        maps["uncertainty"] = pack_bits(volumes.uncertainty, cutout)
    images, levels = pack_images(volumes.images, cutout, most_bytes - sum(len(text) for text in maps.values()))
    colours = [[0, 0, 0], *(colour_of(name) for name in COLOURS)]
    table = {channel: [colour[n] for colour in colours] for n, channel in enumerate("RGB")}
    tumour = largest_tumour(volumes.labels[cutout.part])
    centre = [*(busiest_slice(tumour, axis) for axis in range(3)), 1]
    return {
        "images": images,
        "maps": maps,
        "first": next(iter(images)),
        "levels": levels,
        "bits": BITS,
        "labels": ["", *(PARTS[name] for name in COLOURS)],
        "colours": {**table, "A": [0, *[255] * len(COLOURS)], "I": list(range(len(colours)))},
        "centre": (cutout.affine @ centre)[:3].tolist(),
    }


def describe_shown(levels: int, step: int) -> str:
    """Say how the images of the viewer differ from the files."""
    coarse = "" if step == 1 else f" and one voxel in {step} along each axis"
    return f"The viewer shows {levels + 1} shades of grey{coarse}; the mask was made from the whole files."


def draw_slice(volumes: Volumes, cutout: Cutout) -> str:
    """Return a thumbnail: the axial slice with most of the largest tumour, in the first sequence."""
    turn = ornt_transform(io_orientation(volumes.affine), axcodes2ornt(WORKING_AXES))
    shown = next(iter(volumes.images.values())), volumes.labels
    image, labels = (apply_orientation(volume[cutout.part], turn) for volume in shown)
    index = busiest_slice(largest_tumour(labels), 2)
    return draw_thumbnail(blend(cut(image, 2, index), cut(labels, 2, index)))
