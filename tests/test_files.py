import itk
import nibabel as nib
import numpy as np
import pytest
from conftest import shared

from metakd_monai.cases import Case, find_cases, recognise
from metakd_monai.files import write_safely
from metakd_monai.nifti import check_image, check_labels, read_nifti, read_voxels, write_like
from metakd_monai.vocabulary import Modality, UserError

F, T1, T1CE, T2 = Modality
BRATS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
BRATS_AFFINE[1, 3] = 239


def save(path, shape=(4, 5, 6), affine=BRATS_AFFINE, value=None):
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) if value is None else np.full(shape, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), affine), path)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BraTS20_Training_001_t1ce.nii.gz", T1CE),
        ("Brats18_TCIA13_652_1_t1.nii", T1),
        ("BraTS-GLI-00000-000-t2f.nii.gz", F),
        ("BraTS-GLI-00000-000-t2w.nii.gz", T2),
        ("BraTS-GLI-00000-000-t1c.nii.gz", T1CE),
        ("BraTS-GLI-00000-000-t1n.nii.gz", T1),
        ("x_fla.nii.gz", F),
        ("x_t1Gd.nii.gz", T1CE),
        ("sub-01_FLAIR.nii.gz", F),
        ("sub-01_T1w.nii.gz", T1),
        ("sub-01_ce-gadolinium_T1w.nii.gz", T1CE),
        ("sub-01_space-T1w_FLAIR.nii.gz", F),
        ("T2.nii.gz", T2),
        ("BraTS20_Training_001_seg.nii.gz", None),
        ("W39_1998.09.19_Segm.nii", None),
        ("BRATS_001.nii.gz", None),
        ("not2day.nii.gz", None),  # whole tokens only
    ],
)
def test_modality_by_whole_tokens(name, expected):
    assert recognise(name) is expected


@pytest.mark.parametrize(
    ("names", "case_id"),
    [
        (["BraTS20_Training_001_flair.nii.gz", "BraTS20_Training_001_t1.nii.gz"], "BraTS20_Training_001"),
        (["BraTS-GLI-00000-000-t2f.nii.gz"], "BraTS-GLI-00000-000"),
        (["sub-01_T1w.nii.gz", "sub-01_ce-gadolinium_T1w.nii.gz"], "sub-01"),
        (["flair.nii.gz", "t1.nii.gz"], "folder"),
    ],
)
def test_case_is_named_by_what_its_files_share(tmp_path, names, case_id):
    for name in names:
        save(tmp_path / "folder" / name)
    (case,) = find_cases(tmp_path)
    assert case.case_id == case_id
    assert len(case.files) == len(names)


def test_finds_cases_at_any_depth_with_labels_and_without(tmp_path):
    save(tmp_path / "HGG" / "a" / "a_flair.nii.gz")
    save(tmp_path / "HGG" / "a" / "a_seg.nii.gz")
    save(tmp_path / "LGG" / "b" / "b_t2.nii")
    save(tmp_path / "LGG" / "b" / "._b_t1.nii")  # macOS litter
    a, b = find_cases(tmp_path)
    assert (a.case_id, set(a.files), a.label.name) == ("a", {F}, "a_seg.nii.gz")
    assert (b.case_id, set(b.files), b.label) == ("b", {T2}, None)
    assert b.as_item() == {"image": {"t2": str(tmp_path / "LGG/b/b_t2.nii")}, "case_id": "b"}


def test_et_label_goes_by_the_case_s_name(tmp_path):
    assert Case("BraTS-GLI-00000-000", {}).et_label == 3
    assert Case("BraTS2021_00000", {}).et_label == 4


def test_one_bad_case_of_many_carries_its_problem(tmp_path):
    for name in ("a/a_t1.nii.gz", "a/a_t1n.nii.gz", "b/b_t1.nii.gz"):
        save(tmp_path / name)
    bad, good = find_cases(tmp_path)
    assert good.as_item()["case_id"] == "b"
    with pytest.raises(UserError, match="two files for 't1'"):
        bad.as_item()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: None, "no modality found; expected files such as"),
        (lambda d: save(d / "a_seg.nii.gz"), "no modality found"),
        (lambda d: [save(d / "a_t1.nii.gz"), save(d / "a_t1n.nii.gz")], r"two files for 't1' \(a_t1.nii.gz, a_t1n"),
    ],
)
def test_find_cases_refuses(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        find_cases(tmp_path)


def test_a_folder_of_another_format_is_told_which(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a_t1.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(UserError, match=r"no modality found; expected .*; a_t1\.nrrd: NRRD found; expected NIfTI"):
        find_cases(tmp_path)
    with pytest.raises(UserError, match=r"a_t1\.nrrd: NRRD found; expected NIfTI.*, or a folder of cases"):
        find_cases(tmp_path / "a" / "a_t1.nrrd")


def test_find_cases_refuses_what_is_no_folder(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        find_cases(tmp_path / "nowhere")
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="not a NIfTI file"):
        find_cases(tmp_path / "a.txt")


def test_reading_damaged_files_costs_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="unreadable or truncated"):
        read_nifti(tmp_path / "b.nii.gz")
    whole = save(tmp_path / "c.nii.gz", (20, 20, 20)).read_bytes()
    (tmp_path / "c.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"c\.nii\.gz: unreadable or truncated"):
        read_voxels(tmp_path / "c.nii.gz")


def test_check_image():
    check_image("a", np.array([0.0, 1.0, 2.0]), "t1")
    with pytest.raises(UserError, match="t1 has 2 voxels that are NaN or infinite"):
        check_image("a", np.array([0.0, np.nan, np.inf]), "t1")
    with pytest.raises(UserError, match="t1 is constant"):
        check_image("a", np.full(3, 7.0), "t1")
    with pytest.raises(UserError, match="t1 is constant"):  # z-scored over what is not 0, nothing would be left
        check_image("a", np.array([0.0, 7.0, 7.0]), "t1")


@pytest.mark.parametrize(("values", "found"), [([0, 1, 2, 4], 4), ([0, 3], 3), ([0, 1, 2], None)])
def test_check_labels(values, found):
    assert check_labels(np.array(values), "x") == found


@pytest.mark.parametrize(
    ("values", "message"),
    [([0, 5], "label values 5 found"), ([0.5], "label values 0.5 found"), ([3, 4], "labels 3 and 4 found together")],
)
def test_check_labels_refuses(values, message):
    with pytest.raises(UserError, match=message):
        check_labels(np.array(values), "x")


def assert_same_grid_for_itk(first, second):
    a, b = (itk.imread(str(path)) for path in (first, second))
    assert list(itk.origin(a)) == list(itk.origin(b))
    assert list(itk.spacing(a)) == list(itk.spacing(b))
    assert list(itk.size(a)) == list(itk.size(b))
    assert np.array_equal(itk.array_from_matrix(a.GetDirection()), itk.array_from_matrix(b.GetDirection()))


@pytest.mark.parametrize("name", ["brats", "oblique", "qform only"])
def test_written_mask_has_exactly_the_input_s_grid(tmp_path, name):
    affine = BRATS_AFFINE
    if name == "oblique":
        turn = np.array([[0.98, -0.17, 0.05], [0.17, 0.98, 0.02], [-0.05, -0.02, 0.99]])
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(turn)[0] * [0.7, 0.9, 1.3]
        affine[:3, 3] = [-31.7, 12.123456, 3.3]
    source = save(tmp_path / "in.nii.gz", affine=affine)
    if name == "qform only":
        image = nib.load(source)
        image.set_sform(None, 0)
        image.set_qform(affine, 1)
        image = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
        nib.save(image, source)
    mask = np.random.default_rng(0).integers(0, 5, (4, 5, 6), dtype=np.uint8)
    write_like(tmp_path / "out.nii.gz", mask, source)
    assert_same_grid_for_itk(source, tmp_path / "out.nii.gz")
    written, original = nib.load(tmp_path / "out.nii.gz"), nib.load(source)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(written.dataobj), mask)
    for field in ("qform_code", "sform_code", "xyzt_units", "srow_x", "quatern_b", "pixdim"):
        assert np.array_equal(written.header[field], original.header[field]), field


def test_written_mask_has_exactly_the_grid_of_a_real_case(tmp_path):
    source = shared("data", "tcga_cc-by", "TCGA-FG-6692") / "TCGA-FG-6692_flair.nii.gz"
    write_like(tmp_path / "out.nii.gz", np.zeros((240, 240, 155), np.uint8), source)
    assert_same_grid_for_itk(source, tmp_path / "out.nii.gz")


def test_write_safely_leaves_the_old_file_when_it_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(UserError, match=r"a.txt: cannot be written \(disk full\)"):
        write_safely(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_safely_says_when_the_folder_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_safely(tmp_path / "file" / "a.txt", lambda path: path.touch())
