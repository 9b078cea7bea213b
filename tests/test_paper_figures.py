"""The paper's figures of one's own runs: what is drawn is what the logs say, and each has a caption."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CHANNELS
from PIL import Image

from metakd_monai.apps.paper import (
    draw_alpha,
    draw_fill,
    draw_importance,
    draw_losses,
    draw_modalities,
    draw_networks,
    normalization_lines,
)
from metakd_monai.apps.paper.alpha_figure import read_methods
from metakd_monai.apps.paper.mask_figures import dice_of
from metakd_monai.apps.paper.run_curves import MISSING, smooth
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES

SETTINGS = {"method": "metakd", "seed": 3, "max_iterations": 4, "alpha": 0.1, "p_norm": 1, "normalization": "softmax"}


def write_log(path: Path, columns: dict[str, list[float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([list(columns), *zip(*columns.values(), strict=True)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training's folder, made up."""
    folder = tmp_path / "run"
    steps = [1, 2, 3, 4]
    meta = {"iteration": steps, "meta_loss": [1.0, 0.9, 0.8, 0.7]}
    meta |= {f"importance_{name}": [0.25, 0.25, 0.25, 0.1 * n] for n, name in enumerate(MODALITY_NAMES, 1)}
    meta |= {f"fill_{kind}_{names}": [0.4, 0.3, 0.2, 0.1] for kind in ("l2", "cosine") for names in MISSING}
    write_log(folder / "meta.csv", meta)
    write_log(folder / "training.csv", {"iteration": steps, "task_loss": [1.2, 1.0, 0.8, 0.6]})
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    torch.manual_seed(0)
    torch.save(MetaKDUNet(channels=CHANNELS).state_dict(), folder / "model.pt")
    return folder


def check_files(files: list[Path], *words: str) -> None:
    png, svg, caption = files
    assert [path.suffix for path in files] == [".png", ".svg", ".md"]
    with Image.open(png) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert "<svg" in svg.read_text()
    for word in words:
        assert word in caption.read_text()


def test_importance_losses_and_fill_are_drawn_with_what_was_run(run, tmp_path):
    told = ["seed 3", "max_iterations 4", f"run/meta.csv, SHA-256 {checksum(run / 'meta.csv')}"]
    check_files(draw_importance(run, tmp_path / "fig5a"), *told, "flair 0.100, t1 0.200, t1ce 0.300, t2 0.400")
    check_files(draw_fill(run, tmp_path / "fig6"), *told)
    check_files(draw_losses(run, tmp_path / "fig5c"), *told, "meta-validation: cases with all they have")
    before = (tmp_path / "fig5a.svg").read_bytes()
    draw_importance(run, tmp_path / "fig5a")
    assert (tmp_path / "fig5a.svg").read_bytes() == before


def test_validation_cases_are_taken_where_there_are_some(run, tmp_path):
    write_log(run / "validation.csv", {"iteration": [4], "val_loss": [0.9]})
    check_files(draw_losses(run, tmp_path / "fig5c"), "; validation: cases", "run/validation.csv")


def test_means_of_the_last_values_by_hand():
    assert smooth(np.array([1.0, 2.0, 6.0, 4.0]), 2).tolist() == [1, 1.5, 4, 5]
    assert smooth(np.array([1.0, 2.0]), 50).tolist() == [1, 1.5]


def test_logs_that_have_not_what_is_drawn(run, tmp_path):
    write_log(run / "meta.csv", {"iteration": [1], "other": [1.0]})
    for draw, what in (
        (draw_importance, "no importance"),
        (draw_fill, "no fill_l2_t1ce"),
        (draw_losses, "no meta_loss"),
    ):
        with pytest.raises(UserError, match=what):
            draw(run, tmp_path / "x")
    with pytest.raises(UserError, match=r"meta\.csv: no such file"):
        draw_importance(tmp_path / "nowhere", tmp_path / "x")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A comparison's folder, made up: three alphas, p = 2, two other normalisations."""
    changes = {"MetaKD": {}, "a 0": {"alpha": 0}, "a 1": {"alpha": 1}, "MSE": {"p_norm": 2}}
    changes |= {name: {"normalization": name} for name in ("relu", "sigmoid")}
    rows = []
    for n, (name, change) in enumerate(changes.items()):
        folder = tmp_path / "study" / name.replace(" ", "_") / "seed0" / "fold0"
        folder.mkdir(parents=True)
        (folder / "settings.json").write_text(json.dumps({**SETTINGS, **change}))
        rows += [[s, r, name, 10 * n + len(s)] for s in ("t1", "flair+t1+t1ce") for r in REGION_NAMES]
    names = ("modalities", "region", "method", "dice_percent")
    columns = zip(*rows, strict=True)
    write_log(
        tmp_path / "study" / "table.csv", {name: list(column) for name, column in zip(names, columns, strict=True)}
    )
    return tmp_path / "study"


def test_alpha_and_normalisations_are_read_off_a_comparison(study, tmp_path):
    found = {one["method"]: one for one in read_methods(study, "t1")}
    assert found["a 1"]["dice"] == dict.fromkeys(REGION_NAMES, 22.0)
    check_files(
        draw_alpha(study, tmp_path / "fig3"), "Methods: MetaKD, a 0, a 1, MSE. 4 iterations each", "study/table.csv"
    )
    lines = normalization_lines(study)
    assert lines[-3:] == [
        "| softmax | 13.00 | 13.00 | 13.00 |",
        "| relu | 53.00 | 53.00 | 53.00 |",
        "| sigmoid | 63.00 | 63.00 | 63.00 |",
    ]


def test_one_alpha_makes_no_curve(study, tmp_path):
    for name in ("a_0", "a_1"):
        path = study / name / "seed0" / "fold0" / "settings.json"
        path.write_text(json.dumps({**SETTINGS, "p_norm": 2}))
    with pytest.raises(UserError, match=r"alphas \[0\.1\] of p 1 found; expected two or more"):
        draw_alpha(study, tmp_path / "fig3")


def test_masks_of_each_sequence_and_of_several_networks(run, cohort, tmp_path):
    case = find_cases(cohort)[0]
    check_files(draw_modalities(run, case, tmp_path / "fig1"), "seed 3", "normalised", "run/model.pt")
    networks = {"ours": run / "model.pt", "the same": run / "model.pt"}
    check_files(draw_networks(networks, case, tmp_path / "fig4"), "Networks: ours, the same. Each gets t1 alone.")


def test_a_case_that_lacks_something_is_refused(run, cohort, tmp_path):
    (case,) = (case for case in find_cases(cohort) if case.case_id == "Simulated_001")
    files = {m: file for m, file in case.files.items() if m.value != "t2"}
    with pytest.raises(UserError, match="Simulated_001: sequences or label missing"):
        draw_modalities(run, type(case)(case.case_id, files, case.label), tmp_path / "x")


def test_dice_in_titles_by_hand():
    labels, mask = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, :2], mask[0, 0, :4] = 4, 2  # enhancing tumour against oedema
    assert dice_of(mask, labels) == "ET 0.00  TC 0.00  WT 0.67"
