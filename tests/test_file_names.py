"""Which sequence and which label a name spells; the page for users is tested row by row."""

import random
import re

import pytest
from conftest import REPOSITORY

from metakd_monai.data.cases import Ambiguous, group_names, read_label, recognise
from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import WORDS
from metakd_monai.vocabulary import MODALITY_TOKENS, Modality

FLAIR, T1, T1CE, T2 = Modality
PAGE = (REPOSITORY / "docs" / "reference" / "file-names.md").read_text()
SPELLED = {
    T1CE: "T1_Gd|T1-Gd|T1_post|T1-post|T1_CE|T1_C|T1_contrast|T1Gad|T1GD|CT1|cT1|T1w_Gd|T1w-Gd|ce_T1|T1c|T1+C|T1 +C|"
    "T1+|T1 C+|t1_c+|T1w_ce|T1wCE|ce-T1|Gd-T1|GdT1|kmT1|T1_km|T1_mit_KM|T1 nach KM|T1_gado|T1_Gadovist|gado_T1w|T1WI+C|"
    "post_contrast_T1|T1_POSTCONTRAST|T1 weighted post contrast|T1postGD|T1wPostContrast|AX POST T1|post_T1|mprage_gd|"
    "3D_T1_MPRAGE_post|SAG T1 FSPGR C+|AX 3D T1 SPACE +C|T1_enhanced|T1_inj|T1_mdc|T1_gd_preop|P01_post_op_T1_gd|"
    "UCSD-PTGBM-0002_01_T1post|UPENN-GBM-00001_11_T1GD_unstripped|MR_T1c.36613|T1_Gd_to_T2|T1CE_to_FLAIR|reg_T1_mprage_gd|"
    "sub-01_ce-GD_T1w|T1_pc|contrast-enhanced_T1|T1mitKM|MPRAGE+C|T1W_CONTRAST|T1_Gd_DTPA|sT1W_3D_TFE_GD|sub-01_acq-postGd_T1w|t1ce2flair|T1_gd_2_FLAIR",
    T1: "T1_pre|T1_native|T1_nativ|nativ_T1|T1_without_contrast|t1_no_contrast|T1_noCE|T1_nonGd|T1 W/O|T1 C-|T1preGD|"
    "AX T1 PRE CONTRAST|pre_contrast_T1|T1 ohne KM|T1 vor KM|T1_unenhanced|T1_preop|P01_post-op_T1|P01_postop_T1|3DT1|"
    "MPRAGE|t1_mprage_sag|T1_to_T1ce|T1_reg_T1ce|t12t1ce|r_T1_FLAIR|rT1|sub-01_ses-post_T1w|sub-01_ce-none_T1w|Phase_2_T1|"
    "P_2_T1|T1_MNI|mT1|T1_001|UCSD-PTGBM-0002_01_T1pre|MU-Glioma-Post_0003_T1n|t1_brain_mask_applied|mask-P2_t1|since_T1|T1-w|T1_n4|T1_1",
    T2: "T2w|T2_gd|T22T1|T2-coreg-T1|T2_on_T1|T2_in_FLAIR_space|t2_space_sag|sub-01_ses-t1_T2w|reg_T2_T1|T2_2|AX T2",
    FLAIR: "FLAIR_to_T1|FLAIR_reg_T1|FLAIR_in_T1_space|FLAIR_to_SRI|space-T1w_FLAIR|T2_FLAIR|FLAIR_T2 axial|flair2t1|"
    "r_FLAIR_T1|rFLAIR|wFLAIR_T1|FLAIR2MNI|FLAIRtoT1|FLAIR_inT1|xFLAIRy|FLAIR_registered_to_T1|FLAIR-to-T1w_registered|t2_tirm_tra_dark-fluid|t2_space_da-fl_sag|"
    "P1_mask_flair|label_03_flair|FLAIR_post_gd|FLAIR_t2|BraTS-SSA-00002-000-t2f|P01-run-FLAIR|FLAIR2|VSD.O.MR_Flair.3661",
    None: "T2star|T2*|T2*w|sub-01_T2starw|T1map|T1_map|T1rho|sub-01_dwi|SWI|DTI_eddy_FA|ADC_reg_T1|dwi_to_T1|ASL_to_T1|"
    "T1_DCE|T1_sub|dT1|P01_to_T1|P01_in_T1_space|not2day|scan|T12|",
}
UNCLEAR = {
    "flair_t1": (FLAIR, T1),
    "T1 FLAIR": (FLAIR, T1),
    "P_FLAIR_001_t2": (FLAIR, T2),
    "T2_FLAIR_space": (FLAIR, T2),
    "r_T2_FLAIR": (FLAIR, T2),
    "t2_tirm_tra": (FLAIR, T2),
    "T1_T1ce": (T1, T1CE),
    "P01_post_T1": (T1, T1CE),
    "contrast_P01_T1": (T1, T1CE),
    "pre_T1_gd": (T1, T1CE),
    "T1_Gd_pre": (T1, T1CE),
    "T1_w_and_wo_contrast": (T1, T1CE),
    "T1 and T2": (T1, T2),
    "T1_xyz": (T1, T1CE),
    "FLAIR_T1_reg": (FLAIR, T1),
}


@pytest.mark.parametrize(
    ("name", "expected"), [(name, modality) for modality, names in SPELLED.items() for name in names.split("|")]
)
def test_a_name_that_spells_one_sequence_or_none(name, expected):
    assert recognise(name) is expected
    assert recognise(f"{name}.nii.gz") is expected


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_name_with_two_readings(name):
    assert recognise(name) == Ambiguous(UNCLEAR[name])


def rows(first):
    """The table of the page that begins with a heading."""
    table = PAGE[PAGE.index(first) :].splitlines()[2:]
    end = table.index("") if "" in table else len(table)
    return [line.strip("| ").split(" | ") for line in table[:end]]


@pytest.mark.parametrize("row", rows("| name | is | |"), ids=lambda row: row[1])
def test_the_page_on_sequences(row):
    kinds = {None: "none", **{m: m.value for m in Modality}}
    for name in re.findall(r"`([^`]+)`", row[0]):
        found = recognise(name)
        assert (row[1] == "refused") == isinstance(found, Ambiguous), name
        assert isinstance(found, Ambiguous) or kinds[found] == row[1].strip(), name


@pytest.mark.parametrize("row", rows("| name | is |\n"), ids=lambda row: row[1])
def test_the_page_on_labels(row):
    for name in re.findall(r"`([^`]+)`", row[0]):
        label = read_label(name)
        assert label is not None, name
        assert (label.reason or "the label") == row[1], name


def test_the_page_shows_the_words():
    said = {words[0]: re.findall(r"`([^`]+)`", words[1]) for words in rows("| what it says | words |")}
    for modality in Modality:
        assert said[modality.value] == [word for word, found in MODALITY_TOKENS.items() if found is modality]
    for kind, words in WORDS.items():
        assert kind is Kind.SEQUENCE or said[kind.value] == list(words)


@pytest.mark.parametrize("name", ["label_03_flair", "seg_7_t1", "P1_mask_flair", "t1_brain_mask_applied", "t1", "scan"])
def test_what_is_no_label_map(name):
    assert read_label(name) is None


def group(*names):
    """The one case of a folder, without endings of names."""
    (one,) = group_names([f"{name}.nii.gz" for name in names])
    return one


def files(one):
    return {modality.value: name.removesuffix(".nii.gz") for modality, name in one.files.items()}


def test_what_the_files_of_a_case_share_is_no_sequence():
    names = ["P1_t1_flair", "P1_t1_t1", "P1_t1_t1ce", "P1_t1_t2"]
    assert files(group(*names)) == dict(zip(("flair", "t1", "t1ce", "t2"), names, strict=True))
    assert set(files(group("flair_t1", "t1_t1", "t2_t1"))) == {"flair", "t1", "t2"}
    assert set(files(group("P1_post_T1", "P1_post_FLAIR"))) == {"t1", "flair"}
    assert set(files(group("P1_post_T1", "P1_pre_T1", "P1_FLAIR"))) == {"t1", "t1ce", "flair"}


@pytest.mark.parametrize("case", ["c++", "P1+C", "x+c", "P1_ce", "gd", "wo", "P1_native", "Smith_C"])
def test_a_case_s_name_may_end_as_a_contrast_agent_is_spelled(case):
    names = [f"{case}_{sequence}" for sequence in ("flair", "t1", "t1ce", "t2")]
    found = group(*names)
    assert found.prefix == case
    assert files(found) == dict(zip(("flair", "t1", "t1ce", "t2"), names, strict=True))
    alone = group(f"{case}_t1ce", f"{case}_t2")
    if case in ("wo", "P1_native"):  # without, and with
        assert "may be t1 or t1ce" in alone.problem
    else:
        assert files(alone)["t1ce"] == f"{case}_t1ce"


@pytest.mark.parametrize("copy", ["old_P01_t1ce", "P01_old_2_t1ce", "copy_P01_t1ce", "P01_t1ce_old"])
def test_a_copy_is_no_case_of_its_own(copy):
    found = group("P01_flair", "P01_t1", "P01_t1ce", "P01_t2", copy)
    assert files(found)["t1ce"] == "P01_t1ce"
    assert f"skipped {copy}.nii.gz (its name says" in found.notes[0]


def test_a_contrast_agent_is_one_where_nothing_says_otherwise():
    assert set(files(group("post_contrast_T1", "post_contrast_FLAIR"))) == {"flair", "t1ce"}
    assert set(files(group("contrast_T1", "contrast_T2"))) == {"t1ce", "t2"}
    assert files(group("P1_ce_T1", "P1_T1", "P1_FLAIR"))["t1ce"] == "P1_ce_T1"
    assert files(group("wpost_T1", "FLAIR"))["t1ce"] == "wpost_T1"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["FLAIR_t1", "FLAIR_t2"], "FLAIR_t1.nii.gz may be flair or t1"),
        (["P_FLAIR_001_t1", "P_FLAIR_001_t2"], "P_FLAIR_001_t1.nii.gz may be flair or t1"),
        (["P1_post_T1", "P1_post_T1_brain"], "P1_post_T1.nii.gz may be t1 or t1ce"),
        (["T1_post", "FLAIR_post", "T2_post"], "T1_post.nii.gz may be t1 or t1ce"),
        (["P1_ce_T1", "P1_ce_T2"], "P1_ce_T1.nii.gz may be t1 or t1ce"),
        (["P1_pre_FLAIR", "P1_post_FLAIR", "P1_T1"], "two files for 'flair'"),
        (["sub-1_run-1_T1w", "sub-1_run-2_T1w"], "two files for 't1'"),
        (["AX_T1", "SAG_T1"], "two files for 't1'"),
        (["P1_flair", "P2_t1"], "names of one patient or of several"),
        (["FLAIR_P1", "T1_P1", "FLAIR_P2", "T1_P2"], "two files for 'flair'"),
    ],
)
def test_a_case_that_is_not_clear_is_refused(names, problem):
    assert problem in group(*names).problem


@pytest.mark.parametrize(
    ("names", "chosen", "passed"),
    [
        (["P1_T1", "P1_T1_bias"], {"t1": "P1_T1"}, "P1_T1_bias.nii.gz (its name says bias)"),
        (["T1w", "run-2_T1w"], {"t1": "T1w"}, "run-2_T1w.nii.gz (its name says run-2)"),
        (["T1", "T1_brain", "T2_brain", "FLAIR_brain"], {"t1": "T1_brain"}, "T1.nii.gz (not of the same kind as most"),
        (["P1_T1", "P1_FLAIR", "P1_FLAIR_T1"], {"flair": "P1_FLAIR"}, "P1_FLAIR_T1.nii.gz (flair or t1?)"),
        (["P1_T1", "P1_seg_T1"], {"t1": "P1_T1"}, "P1_seg_T1.nii.gz (a label map?)"),
        (["P1_T1", "P1_DWI"], {"t1": "P1_T1"}, "P1_DWI.nii.gz (not one of the four sequences)"),
    ],
)
def test_what_is_passed_over_is_said_in_one_line(names, chosen, passed):
    found = group(*names)
    assert found.problem is None
    assert chosen.items() <= files(found).items()
    (note,) = found.notes
    assert note.startswith(f"skipped {passed}")
    assert "--names TABLE" in note


@pytest.mark.parametrize(
    ("names", "label", "noted"),
    [
        (["P1_seg", "P1_brainmask"], "P1_seg", "P1_brainmask.nii.gz (not of the tumour)"),
        (["P1_brain_mask", "P1_seg"], "P1_seg", "P1_brain_mask.nii.gz (not of the tumour)"),
        (["P1_auto_seg", "P1_seg"], "P1_seg", "P1_auto_seg.nii.gz (made by a program)"),
        (["P1_dseg", "P1_seg"], "P1_seg", "P1_dseg.nii.gz (not of the tumour)"),
        (["P1_seg", "P1_seg_resampled"], "P1_seg", "P1_seg_resampled.nii.gz (not the label)"),
        (["P1_mask"], None, "P1_mask.nii.gz (a mask of an unnamed structure)"),
        (["P1_manual_seg", "P1_fast_seg"], "P1_manual_seg", "P1_fast_seg.nii.gz (unknown: fast)"),
        (["P1_ET_mask", "P1_lesion_mask"], "P1_lesion_mask", "P1_ET_mask.nii.gz (of a part of the tumour)"),
    ],
)
def test_the_label_is_the_tumour_s(names, label, noted):
    found = group("P1_t1", "P1_flair", *names)
    assert found.label == (label and f"{label}.nii.gz")
    assert noted in found.notes[0]


def test_several_labels_are_refused_by_name_where_a_label_is_needed():
    found = group("P1_t1", "P1_seg_rater1", "P1_seg_rater2")
    assert (found.problem, found.label) == (None, None)
    assert "several label maps (P1_seg_rater1.nii.gz, P1_seg_rater2.nii.gz)" in found.label_problem


def test_patients_in_one_folder_are_grouped_by_how_names_begin():
    names = [f"{patient}_{what}.nii" for patient in ("P1", "P2", "P2_v2") for what in ("flair", "t1ce", "seg")]
    first, second, third = group_names(names)
    assert [one.prefix for one in (first, second, third)] == ["P1", "P2", "P2_v2"]
    assert (first.files[T1CE], second.label, third.label) == ("P1_t1ce.nii", "P2_seg.nii", "P2_v2_seg.nii")
    assert files(group("301_FLAIR", "401_T1", "501_T1_gd")) == {
        "flair": "301_FLAIR",
        "t1": "401_T1",
        "t1ce": "501_T1_gd",
    }


def test_any_row_of_words_is_read_and_no_file_is_lost():
    draw = random.Random(0)
    words = [word for known in WORDS.values() for word in known]
    words += [
        "P1",
        "001",
        "x",
        "ü",
        "sub-1",
        "ses-t1",
        "space-T1w",
        "ce-gd",
        "run-2",
        "+c",
        "c-",
        "w/o",
        "*",
        "Gd" * 60,
    ]
    for _ in range(1000):
        names = {"".join(draw.choice(words) + draw.choice("_-. ") for _ in range(4)) + f"{n}.nii" for n in range(3)}
        groups = group_names(sorted(names))
        used = [name for one in groups for name in one.files.values()]
        assert len(used) == len(set(used))
        assert set(used) <= names
        for one in groups:
            told = " ".join((*one.notes, one.problem or "", one.label_problem or ""))
            assert one.problem or len(groups) > 1 or all(n in told or n in (*used, one.label) for n in names)
