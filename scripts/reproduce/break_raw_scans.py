"""Break raw series on purpose and count what `metakd prepare` says of them: the failures in docs/how-to/raw-scans.md.

Usage: python scripts/reproduce/break_raw_scans.py DATA TEMPLATE OUT.csv

DATA holds raw_cc-by: three heads with skull. Each series is taken as it is, and broken in each way. At the end stands
of how many something was said; that headers disagree is said of sound series too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
from measure_raw_scans import read_options

from metakd_monai.apps.raw.prepare_case import choose_centre, find_mask, lay_on_atlas, lay_on_centre
from metakd_monai.apps.raw.prepared import PreparationError, Prepared
from metakd_monai.apps.raw.registration import rigid
from metakd_monai.apps.raw.template import SHAPE, Template, read_template
from metakd_monai.apps.raw.volumes import Volume, coarse, read_raw
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.vocabulary import Modality

FLAIR, T1, T1CE, T2 = Modality
HEADS = {
    "TCGA-FG-6692": {modality: f"TCGA-FG-6692_raw_{modality.value}.nii.gz" for modality in Modality},
    "openMS_patient03": {FLAIR: "study2_FLAIR.nii.gz", T1: "study2_T1W.nii.gz", T2: "study2_T2W.nii.gz"},
    "openMS_patient04": {FLAIR: "study1_FLAIR.nii.gz", T1: "study1_T1W.nii.gz", T2: "study1_T2W.nii.gz"},
}
SOUND, OTHER = "as it is", "another patient's"
Series = Mapping[Modality, Volume]


def flip(axis: int) -> Callable[[Volume], Volume]:
    """Return what turns the voxels of an upright volume around along an axis, and leaves the header."""
    return lambda volume: Volume(np.ascontiguousarray(np.flip(volume.voxels, axis)), volume.affine)


def halve(upper: bool) -> Callable[[Volume], Volume]:
    """Return what keeps the upper or the lower half of an upright volume."""

    def keep(volume: Volume) -> Volume:
        middle = volume.voxels.shape[2] // 2
        affine = volume.affine @ rigid(shift=(0, 0, middle)) if upper else volume.affine
        return Volume(volume.voxels[:, :, middle:] if upper else volume.voxels[:, :, :middle], affine)

    return keep


def noise(volume: Volume) -> Volume:
    """Return noise in place of a head."""
    values = np.random.default_rng(0).normal(size=volume.voxels.shape)
    return Volume(values.astype(np.float32), volume.affine)


def move(volume: Volume) -> Volume:
    """Return a volume whose header is off by 20 degrees and 30 mm; nothing is wrong with that."""
    return Volume(volume.voxels, rigid((12, -10, 12), (20, -20, 10), volume.middle) @ volume.affine)


WAYS = {
    SOUND: lambda volume: volume,
    "header moved": lambda volume: coarse(move(volume)),
    "left and right exchanged": flip(0),
    "front and back exchanged": flip(1),
    "upside down": flip(2),
    "upper half missing": halve(False),
    "lower half missing": halve(True),
    "noise": noise,
}


def prepare_centre(series: Series, centre: Modality, template: Template, strip: str) -> Prepared:
    """Return a case whose centre lies on the atlas; raises PreparationError."""
    done = Prepared(centre, {}, np.eye(4), {}, np.zeros(SHAPE, bool), *find_mask(series, centre, strip))
    lay_on_atlas(done, coarse(series[centre]), template)
    return done


def try_series(done: Prepared, small: Series, modality: Modality, broken: Volume) -> tuple[str, dict[str, float]]:
    """Lay one broken series on a sound centre; return what was said, and the figures."""
    case = deepcopy(done)  # registering adds to it
    case.warnings = []
    lay_on_centre(case, {done.centre: small[done.centre], modality: broken})
    said = [*case.left_out.values(), *case.warnings]
    return "; ".join(said), case.figures[modality.value]


def try_centre(series: Series, centre: Modality, broken: Volume, template: Template, strip: str) -> str:
    """Prepare a broken centre; return what was said."""
    try:
        return "; ".join(prepare_centre({**series, centre: broken}, centre, template, strip).warnings)
    except PreparationError as failure:
        return str(failure)


def rows(data: Path, template: Template, strip: str) -> list[dict[str, object]]:
    """Return what was said of each series, broken in each way."""
    heads = {
        name: {modality: coarse(read_raw(data / "raw_cc-by" / name / file)) for modality, file in files.items()}
        for name, files in HEADS.items()
    }
    found: list[dict[str, object]] = []

    def note(case: str, modality: Modality, way: str, said: str, figures: Mapping[str, float]) -> None:
        known = {name: figures[name] if figures else "" for name in ("nmi", "brain_nmi", "degrees", "cover")}
        found.append({"case": case, "sequence": modality.value, "way": way, **known, "said": said})
        print(found[-1], flush=True)

    for name, small in heads.items():
        centre = choose_centre(small, None)
        for way, spoil in WAYS.items():
            note(name, centre, way, try_centre(small, centre, spoil(small[centre]), template, strip), {})
        done = prepare_centre(small, centre, template, strip)
        for modality in (modality for modality in small if modality is not centre):
            for way, spoil in WAYS.items():
                note(name, modality, way, *try_series(done, small, modality, spoil(small[modality])))
            other = next(head for key, head in heads.items() if key != name and modality in head)
            note(name, modality, OTHER, *try_series(done, small, modality, other[modality]))
    return found


def main() -> None:
    """Break, count and print."""
    options = read_options(__doc__)
    found = rows(options.data, read_template(options.template), options.strip)
    write_csv(options.output, [list(found[0]), *(list(row.values()) for row in found)])
    tried, caught = Counter(row["way"] for row in found), Counter(row["way"] for row in found if row["said"])
    for way in tried:
        print(f"{way}: something was said of {caught[way]} of {tried[way]}")


if __name__ == "__main__":
    main()
