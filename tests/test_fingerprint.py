"""Results say which code made them, and no module that decides them is forgotten."""

import json
import shutil

import pytest
from test_layers import PACKAGE, modules_imported
from test_predict import predict

from metakd_monai import __version__
from metakd_monai.data import fingerprint
from metakd_monai.data.fingerprint import (
    BESIDE,
    MASK_CODE,
    RAW_CODE,
    SCORE_CODE,
    TRAINING_CODE,
    code_fingerprint,
    sources_of,
)


def reached_from(parts: tuple[str, ...]) -> set[str]:
    """Walk the imports of modules and folders, and name every module that is reached."""
    found, waiting = set(), list(sources_of(parts))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(modules_imported(path))
    return {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in found}


def forgotten(start: tuple[str, ...], parts: tuple[str, ...]) -> set[str]:
    """Name what is reached from modules and is neither one of the parts nor beside them."""
    known = tuple(f"{part}/" for part in (*parts, *BESIDE))
    return {module for module in reached_from(start) if not f"{module}/".startswith(known)}


def test_no_module_of_a_result_is_forgotten():
    assert forgotten(("apps/predict",), MASK_CODE) == set()
    assert forgotten(("apps/benchmark",), SCORE_CODE) == set()
    assert forgotten(("apps/raw",), RAW_CODE) == set()
    assert forgotten(TRAINING_CODE, (*TRAINING_CODE, "inferers")) == set()
    assert forgotten(("apps/predict",), MASK_CODE[1:]) != set()  # the walk does find what is forgotten


@pytest.mark.parametrize("parts", [MASK_CODE, RAW_CODE, SCORE_CODE, TRAINING_CODE])
def test_every_part_has_sources(parts):
    assert len(set(parts)) == len(parts)
    for part in parts:
        assert list(sources_of((part,))), part
        assert all(path.is_file() for path in sources_of((part,)))


def test_one_changed_letter_is_other_code_and_ends_of_lines_are_not(tmp_path, monkeypatch):
    shutil.copytree(PACKAGE, tmp_path / "package")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "package")
    fingerprint_now = code_fingerprint.__wrapped__
    path = tmp_path / "package" / "networks" / "fusion.py"
    before = fingerprint_now(MASK_CODE)
    assert before == code_fingerprint(MASK_CODE)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert fingerprint_now(MASK_CODE) == before
    path.write_bytes(path.read_bytes() + b"#")
    assert fingerprint_now(MASK_CODE) != before
    (tmp_path / "package" / "processes" / "startup.py").write_text("")
    after = fingerprint_now(MASK_CODE)
    (tmp_path / "package" / "processes" / "startup.py").write_text("changed = 1")
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
