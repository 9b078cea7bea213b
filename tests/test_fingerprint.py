"""Results say which code made them, and no module that decides them is forgotten."""

import json
import shutil

import pytest
from test_layers import MODULES, PACKAGE, imported, room
from test_predict import predict

from metakd_monai import __version__, fingerprint
from metakd_monai.fingerprint import BESIDE_MASKS, MASK_CODE, SCORE_CODE, TRAINING_CODE, code_fingerprint, sources_of

SOURCES = {room(path): [other for other in MODULES if room(other) == room(path)] for path in MODULES}


def reached_from(*names: str) -> set[str]:
    """Walk the imports of modules and sub-packages."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(other for path in SOURCES[name] for other in imported(path))
    return found


def test_no_module_of_a_mask_is_forgotten():
    assert reached_from("predict") == {*MASK_CODE, *BESIDE_MASKS}
    assert not {*MASK_CODE} & {*BESIDE_MASKS}


def test_no_module_of_a_score_or_a_training_is_forgotten():
    beside = {*BESIDE_MASKS, "endings", "spreadsheets", "startup", "workers"}  # how it runs and is written
    assert reached_from("benchmark") - beside <= {*SCORE_CODE}
    reached = reached_from(*TRAINING_CODE)
    apart = {"__init__", "fingerprint", "inferers", "shipped", "spreadsheets", "temporaries"}
    assert reached - apart <= {*TRAINING_CODE}


@pytest.mark.parametrize("parts", [MASK_CODE, SCORE_CODE, TRAINING_CODE])
def test_every_part_has_sources(parts):
    assert len(set(parts)) == len(parts)
    files = list(sources_of(parts))
    assert {room(path) for path in files} == set(parts)
    assert all(path.is_file() for path in files)


def test_one_changed_letter_is_other_code_and_ends_of_lines_are_not(tmp_path, monkeypatch):
    shutil.copytree(PACKAGE, tmp_path / "package")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "package")
    fingerprint_now = code_fingerprint.__wrapped__
    path = tmp_path / "package" / "networks" / "rows.py"
    before = fingerprint_now(MASK_CODE)
    assert before == code_fingerprint(MASK_CODE)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert fingerprint_now(MASK_CODE) == before
    path.write_bytes(path.read_bytes() + b"#")
    assert fingerprint_now(MASK_CODE) != before
    (tmp_path / "package" / "preview.py").write_text("")
    after = fingerprint_now(MASK_CODE)
    (tmp_path / "package" / "preview.py").write_text("changed = 1")
    assert fingerprint_now(MASK_CODE) == after


def test_a_mask_of_other_code_is_not_done_before(cohort, weights, tmp_path):
    case, out = cohort / "Simulated_000", tmp_path / "out"
    assert predict(case, out, weights, "--no-preview").exit_code == 0
    report = out / "Simulated_000.json"
    content = json.loads(report.read_text())
    assert content["settings"]["code_sha256"] == code_fingerprint()
    assert content["settings"]["version"] == __version__
    for change in ({"code_sha256": "0" * 64}, {"code_sha256": None}):
        report.write_text(json.dumps({**content, "settings": {**content["settings"], **change}}))
        result = predict(case, out, weights, "--no-preview")
        assert result.exit_code == 1
    assert predict(case, out, weights, "--no-preview", "--overwrite").exit_code == 0
    assert json.loads(report.read_text())["settings"] == content["settings"]
