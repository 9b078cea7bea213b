"""The pictures of a study: every case, and the worst of all cases and subsets."""

from __future__ import annotations

from pathlib import Path

from metakd_monai.apps.benchmark.benchmark_items import Items
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import case_of
from metakd_monai.apps.study.evidence import Evidence
from metakd_monai.apps.study.pictures import (
    Scene,
    choose_subsets,
    draw_case,
    draw_gallery,
    make_scene,
    read_upright,
    worst_rows,
)
from metakd_monai.apps.study.study_cases import mask_of

GALLERY = "failures.png"


def draw_all(output: Path, predictor: Predictor, items: Items, evidence: Evidence) -> dict[str, str]:
    """Draw every case that was scored and the worst of all; return the names of the files by case."""
    worst = worst_rows(evidence)
    scenes: dict[str, Scene] = {}
    pictures: dict[str, str] = {}
    for item in items:
        case = str(item["case_id"])
        if case not in evidence.cases:
            continue
        loaded = predictor.load(case_of(item).as_item())
        scene = make_scene(loaded["image"].numpy(), loaded["available"].tolist(), read_upright(item["label"]))
        subsets = choose_subsets(evidence.full[case]).values()
        masks = {subset: scene.cut(read_upright(mask_of(output / "masks", subset, case))) for subset in subsets}
        pictures[case] = f"{case}.png"
        draw_case(output / pictures[case], scene, masks, evidence, case)
        if any(row.case == case for row in worst):
            scenes[case] = scene
    wanted = [scenes[row.case] for row in worst]
    maps = [read_upright(mask_of(output / "masks", row.subset, row.case)) for row in worst]
    cuts = [scene.cut(volume) for scene, volume in zip(wanted, maps, strict=True)]
    draw_gallery(output / GALLERY, wanted, cuts, evidence)
    return pictures
