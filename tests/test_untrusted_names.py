"""Text from outside that would become part of a path, and datalists that somebody else wrote."""

import json
import os

import pytest
from click.testing import CliRunner

from metakd_monai.bundle.split import split_cases
from metakd_monai.cli import main
from metakd_monai.data.cases import check_case_id, find_cases, safe_case_id
from metakd_monai.data.datalists import datalist_part, read_datalist
from metakd_monai.errors import UserError

BAD = {
    "": "expected a name that is not empty",
    " ": "expected a name that is not empty",
    ".": "begins with a dot",
    "..": "begins with a dot",
    ".x": "begins with a dot",
    "../x": "holds '/'",
    "/abs": "holds '/'",
    "a/b": "holds '/'",
    "..\\x": r"holds '\\\\'",
    "a\0b": r"holds '\\x00'",
    "a\nb": r"holds '\\n'",
    "a\x7f": r"holds '\\x7f'",
    "a\u2028": r"holds '\\u2028'",
    "\ud800": r"holds '\\ud800'",
    "caf\udce9": r"holds '\\udce9'",
    "x" * 226: "has 226 bytes; expected at most 225",
    "ü" * 113: "has 226 bytes",
    "c1_uncertainty": "ends like a map beside a mask",
    "c1_probabilities": "ends like a map beside a mask",
    5: "5 found; expected text",
    None: "expected text",
}
GOOD = ["BraTS-GLI-00000-000", "a b", "ünï", "=1+1", "{x}", "$x", "Mean", "-dash", "x" * 225, "a..b", "日本"]


@pytest.mark.parametrize("name", BAD, ids=lambda name: ascii(name)[:20])
def test_names_that_no_result_may_have(name):
    with pytest.raises(UserError, match=f"^case id: .*{BAD[name]}") as caught:
        check_case_id(name)
    assert str(caught.value).isascii()
    made = safe_case_id(name)
    assert check_case_id(made) == made


@pytest.mark.parametrize("name", GOOD, ids=lambda name: ascii(name)[:20])
def test_names_that_may_stay(name):
    assert check_case_id(name) == safe_case_id(name) == name
    assert len(os.fsencode(f".4194304.{name}_probabilities.nii.gz")) <= 255


def test_two_texts_do_not_become_one_name():
    made = [safe_case_id(text) for text in ("12/345", "12_345", "12:345", "../12/345", "", None)]
    assert made[1:3] == ["12_345", "12:345"]
    assert made[4] == made[5] == "unnamed"
    assert len(set(made)) == 5
    assert made[0].startswith("12_345_")


@pytest.mark.parametrize("name", ["../escape", "a\nb", "c1_uncertainty"])
def test_the_option_s_name_is_checked(name, cohort, tmp_path):
    flair = cohort / "Simulated_000" / "Simulated_000_flair.nii.gz"
    result = CliRunner().invoke(
        main, ["predict", "--flair", str(flair), "--case-id", name, "-o", str(tmp_path / "in" / "out")]
    )
    assert result.exit_code == 2
    assert "--case-id: " in result.output
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_cannot_be_a_case_s_does_not_stop_the_others(tmp_path):
    for name in ("ok", "a\nb", "c_uncertainty", "x" * 240):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t1.nii.gz").touch()
    cases = {case.case_id: case.problem for case in find_cases(tmp_path)}
    assert cases.pop("ok") is None
    assert all(problem.isprintable() and "name of the case" in problem for problem in cases.values())
    assert all(check_case_id(name) for name in cases)


ITEM = {"image": ["a_t1.nii.gz"], "case_id": "a", "label": "a_seg.nii.gz", "patient": "a", "fold": 0}
LISTS = ("training", "meta", "test", "testing")


def write(folder, change=None, part="training"):
    for name in ("a_t1.nii.gz", "a_seg.nii.gz"):
        (folder / name).touch()
    lists = {name: [dict(ITEM)] for name in LISTS}
    if change is not None:
        lists[part] = [dict(ITEM), change] if isinstance(change, dict) else change
    path = folder / "list.json"
    path.write_text(json.dumps(lists))
    return path


def test_a_sound_datalist_in_every_form_of_images(tmp_path):
    for image in (["a_t1.nii.gz"], "a_t1.nii.gz", {"t1": "a_t1.nii.gz"}, "."):
        items = datalist_part(write(tmp_path, {**ITEM, "image": image}), "validation", 0)
        assert len(items) == 2
    items = datalist_part(write(tmp_path, {**ITEM, "modalities": ["t1n"]}), "validation", 0)
    assert items[1]["image"] == {"t1n": str(tmp_path / "a_t1.nii.gz")}


@pytest.mark.parametrize("value", [None, 5, True, "x", {}, ["x"], [[]], [{}]], ids=repr)
@pytest.mark.parametrize("part", LISTS)
def test_a_list_of_another_kind(value, part, tmp_path):
    path = write(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    with pytest.raises(UserError, match=rf"list.json: {part}(\[0\](\.image)?)? is "):
        read_datalist(path)


WRONG = [None, -5, 1.5, True, "", [], {}, "\0", "\ud800", "x" * 5000, [5], [None], {"t1": 5}]


@pytest.mark.parametrize("field", ["image", "label", "case_id", "fold"])
@pytest.mark.parametrize("value", WRONG, ids=lambda value: ascii(value)[:12])
def test_a_field_of_another_kind(field, value, tmp_path):
    with pytest.raises(UserError, match=rf"list.json: training\[1\]\.{field}\W") as caught:
        read_datalist(write(tmp_path, {**ITEM, field: value}))
    assert "\n" not in str(caught.value)
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case_id": "../../x"}, r"test\[1\]\.case_id: '../../x' holds '/'"),
        ({"patient": []}, r"test\[1\]\.patient is \[\]; expected text"),
        ({"patient": "\ud800"}, r"test\[1\]\.patient is '\\ud800'; expected text"),
        ({"year": "2050"}, r"test\[1\]\.year is '2050'; expected one of 2018"),
        ({"fold": -1}, r"test\[1\]\.fold is -1; expected an integer"),
        ({"image": ["a_t1.nii.gz"] * 5}, r"test\[1\]\.image is .*expected one file, or 1 to 4 files"),
        ({"modalities": ["t1", "t2"]}, r"test\[1\]\.modalities is .*expected the sequence of each of the 1 files"),
        ({"modalities": ["adc"]}, r"test\[1\]\.modalities is \['adc'\]; expected some of flair"),
        ({"image": {"t1": "a_t1.nii.gz", "t1n": "a_t1.nii.gz"}}, r"test\[1\]\.modalities is .*each once"),
        ({"image": ["pipe"]}, r"test\[1\]\.image is 'pipe', a folder, a pipe or a device"),
        ({"label": "."}, r"test\[1\]\.label is '.', a folder, a pipe or a device"),
    ],
)
def test_entries_that_cannot_be_used(change, message, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        read_datalist(write(tmp_path, {**ITEM, **change}, "test"))


def test_a_pipe_as_datalist_and_one_nested_too_deeply(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match="not a file; expected a datalist"):
        read_datalist(tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="unreadable"):
        read_datalist(tmp_path / "deep.json")


def test_training_begins_only_when_all_its_files_are_there(tmp_path):
    path = write(tmp_path, {**ITEM, "image": ["b_t1.nii.gz"], "fold": 1})
    with pytest.raises(UserError, match=r"list.json: 1 of 6 files do not exist, the first is .*b_t1.nii.gz"):
        split_cases("", datalist=path)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere"), os.mkfifo])
def test_a_table_of_grades_that_is_no_file_is_passed_over(make, cohort, tmp_path, caplog):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data").symlink_to(cohort)
    make(tmp_path / "in" / "name_mapping.csv")
    result = CliRunner().invoke(
        main, ["datalist", str(tmp_path / "in"), "-o", str(tmp_path / "l.json"), "--folds", "2"]
    )
    assert result.exit_code == 0, result.output
    assert "name_mapping.csv: skipped, it is not a file" in caplog.text


def test_a_table_of_grades_with_an_endless_field(cohort, tmp_path):
    (tmp_path / "data").symlink_to(cohort)
    (tmp_path / "name_mapping.csv").write_text(f"Grade,BraTS_2020_subject_ID\nHGG,{'x' * 200_000}\n")
    result = CliRunner().invoke(main, ["datalist", str(tmp_path), "-o", str(tmp_path / "l.json")])
    assert result.exit_code == 2
    assert "name_mapping.csv: unreadable (field larger" in result.output
