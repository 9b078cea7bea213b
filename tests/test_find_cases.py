"""Folders to cases: listings of public data sets, names of cases, links, pipes, a site's own names."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import shared
from layouts import image_of, labels_of, write

from metakd_monai.apps.evaluate.folders import find_references
from metakd_monai.cli import main
from metakd_monai.data.cases import find_cases, find_labelled, name_files, read_name_table, recognise, walk
from metakd_monai.data.datalists import datalist_part
from metakd_monai.errors import UserError
from metakd_monai.transforms import LoadImageModalitiesd
from metakd_monai.vocabulary import Modality

FLAIR, T1, T1CE, T2 = Modality
FOUR = ("flair", "t1", "t1ce", "t2")


def listing(top: Path, *names: str) -> Path:
    """Empty files of these names."""
    for name in names:
        path = top / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return top


def stems(case):
    return [path.name.removesuffix(".nii.gz") for path in case.files.values()]


LISTINGS = {  # data set: the files of each sequence; the label; other files; the case
    "UCSF-PDGM": (
        [f"U-4_nifti/U-4_{s}" for s in ("FLAIR", "T1", "T1c", "T2")],
        "U-4_nifti/U-4_tumor_segmentation",
        [f"U-4_nifti/U-4_{s}" for s in ("FLAIR_bias", "T1c_bias", "DWI", "ADC", "SWI", "DTI_eddy_FA")]
        + [f"U-4_nifti/U-4_{s}" for s in ("brain_segmentation", "brain_parenchyma_segmentation")],
        "U-4",
    ),
    "UPENN-GBM": (
        [f"images_structural/UPENN-1_11/UPENN-1_11_{s}" for s in ("FLAIR", "T1", "T1GD", "T2")],
        None,
        [f"images_structural_unstripped/UPENN-1_11/UPENN-1_11_{s}_unstripped" for s in ("FLAIR", "T1", "T1GD", "T2")]
        + ["images_segm/UPENN-1_11_segm"],
        "UPENN-1_11",
    ),
    "LUMIERE": ([f"Patient-001/week-000/{s}" for s in ("FLAIR", "T1", "CT1", "T2")], None, [], "week-000"),
    "BIDS": (
        [f"sub-1/ses-1/anat/sub-1_ses-1_{s}" for s in ("FLAIR", "T1w", "ce-gadolinium_T1w", "T2w")],
        "sub-1/ses-1/anat/sub-1_ses-1_space-orig_label-lesion_mask",
        ["sub-1/ses-1/anat/sub-1_ses-1_run-2_T2w", "sub-1/ses-1/anat/sub-1_ses-1_T1map", "sub-1/ses-1/dwi/sub-1_dwi"],
        "sub-1_ses-1",
    ),
    "BIDS, acq": (
        [f"sub-1/anat/sub-1_acq-3D_{s}" for s in ("FLAIR", "T1w", "ce-GD_T1w", "T2w")],
        None,
        ["sub-1/anat/sub-1_acq-3D_T2starw"],
        "sub-1",
    ),
    "EGD": (
        [f"EGD-1/{n}/NIFTI/{n[2:]}" for n in ("3_FLAIR", "1_T1", "2_T1GD", "4_T2")],
        None,
        ["EGD-1/5_X/MASK"],
        "EGD-1",
    ),
    "MU-Glioma-Post": (
        [f"P_3/T_1/PatientID_3_Timepoint_1_brain_{s}" for s in ("t2f", "t1n", "t1c", "t2w")],
        "P_3/T_1/PatientID_3_Timepoint_1_tumorMask",
        [],
        "PatientID_3_Timepoint_1",
    ),
    "UCSD-PTGBM": (
        [f"UCSD-2_01/UCSD-2_01_{s}" for s in ("FLAIR", "T1pre", "T1post", "T2")],
        "UCSD-2_01/UCSD-2_01_BraTS_tumor_seg",
        ["UCSD-2_01/UCSD-2_01_enhancing_cellular_tumor_seg", "UCSD-2_01/UCSD-2_01_ADC"],
        "UCSD-2_01",
    ),
    "TCGA-GBM": ([f"T-02/T-02_1998.12.11_{s}" for s in ("flair", "t1", "t1Gd", "t2")], None, [], "T-02_1998.12.11"),
    "registered": ([f"P1/P1_{s}" for s in ("FLAIR_reg_T1ce", "T1_reg_T1ce", "T1ce", "T2_reg_T1ce")], None, [], "P1"),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listings_of_public_data_sets(name, tmp_path):
    sequences, label, others, case_id = LISTINGS[name]
    listing(tmp_path, *sequences, *others, *([label] if label else []))
    (case,) = find_cases(tmp_path)
    found = [str(path.relative_to(tmp_path)).removesuffix(".nii.gz") for path in case.files.values()]
    assert (found, list(case.files), case.problem, case.case_id) == (sequences, list(Modality), None, case_id)
    assert (case.label and str(case.label.relative_to(tmp_path))) == (label and f"{label}.nii.gz")
    assert len(case.notes) <= 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["P1/flair", "P2/flair"], ["P1", "P2"]),
        (["P1/brain_flair", "P2/brain_flair"], ["P1", "P2"]),
        (["P1/anat/t1", "P2/anat/t1"], ["P1", "P2"]),
        (["P1/baseline/t1", "P2/baseline/t1"], ["P1", "P2"]),
        (
            ["P1/baseline/t1", "P1/followup/t1", "P2/baseline/t1", "P2/followup/t1"],
            ["P1_baseline", "P1_followup", "P2_baseline", "P2_followup"],
        ),
        (["P1/P1_v1_t1", "P1/P1_v2_t1", "P2/P2_v1_t1"], ["P1_v1", "P1_v2", "P2_v1"]),
        (["P1_t1", "P1_t2", "P2_t1", "P2_t2"], ["P1", "P2"]),
        (["x/a_t1", "y/a_t1"], ["x", "y"]),
        (["t1/P1_t1", "t2/P1_t2", "t1/P2_t1", "t2/P2_t2"], ["P1", "P2"]),
        (["ok_01/ok_01_t1", "label_03/label_03_t1", "P1_mask/P1_mask_t1", "mask-P2/mask-P2_t1", "seg_7/seg_7_t1"],
         ["P1_mask", "label_03", "mask-P2", "ok_01", "seg_7"]),
    ],
)  # fmt: skip
def test_cases_have_names_of_their_own(names, expected, tmp_path):
    cases = find_cases(listing(tmp_path, *names))
    assert [case.case_id for case in cases] == expected
    assert not any(case.problem for case in cases)


def test_folders_that_are_no_case_are_counted_in_one_line(tmp_path, caplog):
    find_cases(listing(tmp_path, "P1/t1", *(f"P{n}/scan" for n in range(2, 7))))
    (line,) = caplog.messages
    assert re.search(r"name no sequence: 5 \(.*P2, .*P3, .*P4, \.\.\.\); expected names as in docs/reference/", line)


def test_each_folder_is_entered_once(tmp_path, caplog):
    listing(tmp_path, "c1/c1_t1")
    (tmp_path / "a").symlink_to(".")
    (tmp_path / "c1" / "b").symlink_to("..")
    (tmp_path / "c1" / "self").symlink_to("self")
    assert list(walk(tmp_path)) == [tmp_path, tmp_path / "c1"]
    (tmp_path / "b").symlink_to("c1")
    assert [case.case_id for case in find_cases(tmp_path)] == ["c1"]


def test_pipes_are_passed_over_and_told(tmp_path, caplog):
    listing(tmp_path, "c1/c1_t1")
    os.mkfifo(tmp_path / "c1" / "c1_t2.nii.gz")
    (case,) = find_cases(tmp_path)
    assert list(case.files) == [T1]
    assert "c1_t2.nii.gz: skipped, it is a pipe" in caplog.text


def test_folders_may_be_nested_without_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    file = Path("c1_t1.nii.gz")
    file.touch()
    os.chdir(tmp_path)
    (case,) = find_cases(".")
    for _ in range(1200):  # pytest could not remove them
        os.chdir("d")
    file.unlink()
    for _ in range(1200):
        os.chdir("..")
        os.rmdir("d")
    assert case.case_id == "c1"


def test_the_folder_given_is_itself_unclear(tmp_path):
    with pytest.raises(UserError, match=r"FLAIR_t1\.nii\.gz may be flair or t1; expected a name with one reading"):
        find_cases(listing(tmp_path, "FLAIR_t1"))


@pytest.mark.parametrize("source", ["a\0b", "x" * 5000])
def test_what_is_no_path(source):
    with pytest.raises(UserError, match=r"is not a path|no such file") as caught:
        find_cases(source)
    assert str(caught.value).isprintable()


def test_a_case_of_several_labels_is_segmented_and_not_learned_from(tmp_path):
    listing(tmp_path, "a/a_t1", "a/a_seg1", "a/a_seg2", "b/b_t1", "b/b_seg")
    assert [case.problem for case in find_cases(tmp_path)] == [None, None]
    first, second = find_labelled(tmp_path)
    assert "several label maps" in first.problem
    assert second.label is not None


def test_references_are_named_as_the_cases_are(tmp_path):
    listing(tmp_path, *(f"{p}/baseline/{what}" for p in ("P1", "P2") for what in ("t1", "seg", "brainmask")))
    assert list(find_references(tmp_path)) == ["P1", "P2"]
    flat = listing(tmp_path / "flat", "label_03", "P1_mask_seg", "P4_mask", "x", "x_brain_mask")
    assert list(find_references(flat)) == ["P1_mask", "P4_mask", "label_03", "x"]


def test_files_given_one_by_one_name_their_case(tmp_path):
    assert name_files([tmp_path / "P1_flair.nii.gz", tmp_path / "P1_T1_Gd.nii.gz"]) == "P1"
    assert name_files([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]) == tmp_path.name
    assert name_files([tmp_path / "P9" / "anat" / "flair.nii.gz"]) == "P9"


def test_a_site_s_own_names_go_first(tmp_path):
    table = tmp_path / "names.toml"
    table.write_text('"*_SPC" = "flair"\n"*_scan3.nii.gz" = "t1ce"\n"*_t1_old*" = "none"\n"*_mask" = "label"\n')
    names = [f"{p}_{what}" for p in ("P1", "P2") for what in ("spc", "scan3", "t1", "t1_old", "mask", "seg")]
    first, second = find_cases(listing(tmp_path / "in", *names), read_name_table(table))
    assert stems(first) == ["P1_spc", "P1_t1", "P1_scan3"]
    assert (second.case_id, second.label.name) == ("P2", "P2_mask.nii.gz")
    (tmp_path / "n.json").write_text('{"*_t1_bias": "t1"}')
    (case,) = find_cases(listing(tmp_path / "b", "a_t1", "a_t1_bias"), read_name_table(tmp_path / "n.json"))
    assert stems(case) == ["a_t1_bias"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.toml", None, "no such file"),
        ("x.toml", "= 3", "unreadable"),
        ("x.toml", "a = [[[", "unreadable"),
        ("x.json", "[]", "no table found"),
        ("x.toml", '"*_x" = "adc"', r"'\*_x' is 'adc'; expected one of flair, t1, t1ce, t2, label, none"),
        ("x.json", '{"*": 3}', "is 3; expected one of"),
    ],
)
def test_unusable_tables_of_names(name, text, message, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_name_table(tmp_path / name)


def test_a_datalist_keeps_what_the_table_said(tmp_path):
    for number in range(6):
        images = {f"P{number}_{what}.nii.gz": image_of(number, n, (16, 18, 14)) for n, what in enumerate(("spc", "t1"))}
        write(tmp_path / "in" / f"P{number}", {**images, f"P{number}_seg.nii.gz": labels_of("2021", (16, 18, 14))})
    (tmp_path / "names.toml").write_text('"*_spc" = "flair"\n')
    arguments = ["datalist", str(tmp_path / "in"), "-o", str(tmp_path / "list.json"), "--folds", "2"]
    result = CliRunner().invoke(main, [*arguments, "--names", str(tmp_path / "names.toml")])
    assert result.exit_code == 0, result.output
    item = datalist_part(tmp_path / "list.json", "test")[0]
    assert list(item["image"]) == ["flair", "t1"]
    assert LoadImageModalitiesd()(item)["available"].tolist() == [True, True, False, False]


def test_a_real_case_under_names_of_another_kind(tmp_path):
    source = shared("data", "tcga_cc-by", "TCGA-FG-6692")
    spelled = dict(zip(FOUR, ("FLAIR_to_T1", "T1_native", "T1_km", "T2"), strict=True))
    for sequence, name in spelled.items():
        (tmp_path / f"P1_{name}.nii.gz").symlink_to(source / f"TCGA-FG-6692_{sequence}.nii.gz")
    (case,) = find_cases(tmp_path)
    assert {m.value: path.resolve().name for m, path in case.files.items()} == {
        sequence: f"TCGA-FG-6692_{sequence}.nii.gz" for sequence in FOUR
    }


@pytest.mark.parametrize("name", ["a b c", "a&b|c", "Smith_C", "flair", "s*r", "P1_r2"])
def test_what_all_files_share_is_the_name_of_the_case(tmp_path, name):
    listing(tmp_path, *(f"{name}/{name}_{m.value}" for m in Modality))
    (case,) = find_cases(tmp_path)
    assert (case.case_id, set(case.files), case.problem) == (name, set(Modality), None)


@pytest.mark.parametrize("extra", ["P01_old_t1ce", "P01_brain_mask_t2", "P01_backup_flair"])
def test_a_copy_or_a_mask_of_a_sequence_is_no_case(tmp_path, extra):
    listing(tmp_path, *(f"P01_{m.value}" for m in Modality), extra)
    (case,) = find_cases(tmp_path)
    assert {path.name for path in case.files.values()} == {f"P01_{m.value}.nii.gz" for m in Modality}
    assert extra in case.notes[0]


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("WCONTRAST_3D_T1", "t1ce"),
        ("P1_wContrast.T1w", "t1ce"),
        ("T1_wGd", "t1ce"),
        ("withcontrast_T1", "t1ce"),
        ("P1_woContrast_T1", "t1"),
        ("T1_woGd", "t1"),
    ],
)
def test_with_and_without_may_be_glued_to_the_contrast_agent(name, sequence):
    assert recognise(name) == Modality(sequence)
