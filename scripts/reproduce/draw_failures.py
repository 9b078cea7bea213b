"""Draw masks that failed, on the axial slice where they differ most from the reference.

Usage: draw_failures.py --case WEIGHTS CASE [--case ...] --output PICTURE.png

CASE is the folder of a labelled case that WEIGHTS were not trained on; all its sequences are used.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from metakd_monai.apps.predict.predictor import Predictor, to_volume
from metakd_monai.apps.study.pictures import Scene, draw_panel, make_scene, new_row, read_upright, save
from metakd_monai.data.cases import find_labelled
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES


def segment(weights: Path, folder: Path) -> tuple[str, Scene, np.ndarray]:
    """Return the title of a case, the slice where its mask is wrong, and that slice of the mask."""
    case = find_labelled(folder)[0]
    predictor = Predictor(weights)
    item = predictor.read(case)
    mask = to_volume(predictor.label(item, predictor.segment(item), case.et_label), item)[0].numpy()
    loaded = predictor.load(case.as_item())
    assert case.label is not None
    truth = read_upright(case.label)
    wrong = make_scene(loaded["image"].numpy(), loaded["available"].tolist(), mask != truth)
    return case.case_id, replace(wrong, labels=wrong.cut(truth)), wrong.cut(mask)


def main() -> int:
    """Draw; 1 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, nargs=2, action="append", required=True, metavar=("WEIGHTS", "CASE"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        found = [segment(*one) for one in options.case]
        figure, panels = new_row(len(found))
        for panel, (title, scene, mask) in zip(panels, found, strict=True):
            draw_panel(panel, scene, "+".join(MODALITY_NAMES), mask, title)
        save(figure, options.output, "Filled: mask. Lines: reference, magenta WT, cyan TC")
    except UserError as error:
        print(f"draw_failures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
