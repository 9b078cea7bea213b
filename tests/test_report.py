"""Pages for a browser: what is packed into them, what they say, and that no name becomes code."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import threading
import urllib.error
import urllib.request
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pytest
from report_cases import make_result
from test_predict import predict, run

from metakd_monai.apps.report.case_page import MOST_BYTES
from metakd_monai.apps.report.case_result import CaseResult, find_results, read_volumes
from metakd_monai.apps.report.cohort_page import write_cohort_page
from metakd_monai.apps.report.packed_volume import choose_cutout, pack, pack_images, scale_greys
from metakd_monai.apps.report.page_parts import ASSETS, NIIVUE
from metakd_monai.apps.report.page_server import open_server
from metakd_monai.cli.view import choose_page
from metakd_monai.errors import UserError

HOSTILE = "<img src=x onerror=alert(1)>'\"&{{7*7}}<!--"
FORMULA = "=HYPERLINK(1)"


class Reader(HTMLParser):
    """Lists the elements of a page, and its text without scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.inside = [], "", ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text += data

    def handle_endtag(self, tag):
        self.inside = ""

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def out(tmp_path, cohort):
    """Two results, one with a map of uncertainty, one with a warning."""
    folder = tmp_path / "out"
    make_result(cohort / "Simulated_000", folder, "A", unsure=True)
    make_result(cohort / "Simulated_001", folder, "B", warnings=("only a part was scanned?",))
    return folder


def unpack(text):
    """Undo the packing voxel by voxel, as its description says."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))
    differences = np.asarray(image.dataobj).ravel(order="F").astype(int)
    nx, nxy = image.shape[0], image.shape[0] * image.shape[1]
    values = [0] * nxy
    for difference in differences:
        guess = (values[-1] + values[-nx] + values[-nxy]) // 3
        values.append((guess + int(difference)) % 256)
    return np.array(values[nxy:]).reshape(image.shape, order="F"), image.affine


def test_a_packed_volume_is_the_cut_out_volume():
    affine = np.array([[-2.0, 0, 0, 5], [0, -2, 0, 7], [0, 0, 3, -9], [0, 0, 0, 1]])
    volume = np.zeros((20, 30, 10), np.uint8)
    volume[5:12, 8:20, 3:7] = np.random.default_rng(0).integers(1, 256, (7, 12, 4))
    cutout = choose_cutout(volume > 0, affine)
    voxels, found = unpack(pack(volume[cutout.part], cutout))
    assert voxels.shape == (11, 16, 8)  # a margin of two voxels
    assert np.array_equal(voxels, volume[3:14, 6:22, 1:9])
    np.testing.assert_allclose(found @ [2, 2, 2, 1], affine @ [5, 8, 3, 1])


def test_fewer_greys_where_all_of_them_would_be_too_large():
    image = np.random.default_rng(0).random((40, 40, 40)) + 1
    cutout = choose_cutout(image > 0, np.eye(4))
    whole, levels = pack_images({"flair": image}, cutout, 10**6)
    assert levels == 255
    room = int(0.6 * len(whole["flair"]))
    packed, levels = pack_images({"flair": image}, cutout, room)
    assert 0.85 * room < len(packed["flair"]) <= room
    voxels, _ = unpack(packed["flair"])
    assert voxels.max() == levels
    assert np.abs(voxels / levels - scale_greys(image)).max() <= 0.5001 / levels


def test_a_huge_volume_is_thinned_out():
    cutout = choose_cutout(np.ones((300, 300, 300), bool), np.eye(4))
    assert cutout.step == 2
    np.testing.assert_allclose(cutout.affine, np.diag([2, 2, 2, 1]))


def test_the_report_has_a_page_for_each_case_and_one_for_all(out):
    result = run("report", out)
    assert result.exit_code == 0, result.output
    assert "2 of 2 pages" in result.output
    page, index = Reader(out / "A.html"), Reader(out / "index.html")
    assert "Given: FLAIR, T1, T1ce, T2. Missing: none." in page.text
    assert "0.81 (0.70 to 0.90)" in page.text
    assert "a" * 64 in page.text
    assert "/somewhere" not in page.text
    assert [a["href"] for a in index.of("a")] == ["B.html", "A.html"]  # what has a warning comes first
    assert "only a part was scanned?" in index.text
    assert len(index.of("img")) == 2
    assert all((out / name).stat().st_size < MOST_BYTES for name in ("A.html", "B.html"))


def test_the_page_holds_the_images_the_mask_and_the_map(out):
    run("report", out)
    content = (out / "A.html").read_text(encoding="utf-8")
    view = json.loads(re.search(r'id="view">(.*?)</script>', content, re.DOTALL)[1])
    assert list(view["images"]) == ["flair", "t1", "t1ce", "t2"]
    volumes = read_volumes(find_results(out)[0])
    labels, affine = unpack(view["maps"]["labels"])
    assert np.array_equal(np.bincount(labels.ravel())[1:], np.bincount(volumes.labels.ravel())[1:])
    voxel = np.linalg.solve(affine, [*view["centre"], 1])[:3].round().astype(int)
    assert labels[tuple(voxel)] > 0  # the crosshair starts within the tumour
    bits, _ = unpack(view["maps"]["uncertainty"])
    assert 0 < bits.max() <= view["bits"]


def test_nothing_is_fetched_and_only_scripts_of_ours_run(out):
    run("report", out)
    for name in ("A.html", "index.html"):
        page = Reader(out / name)
        policy = next(meta["content"] for meta in page.of("meta") if meta.get("http-equiv"))
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        content = (out / name).read_text(encoding="utf-8")
        script = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
        links = [*page.of("img"), *page.of("script"), *page.of("link")]
        assert all(not re.match("(https?:)?//", link.get("src", link.get("href", ""))) for link in links)


def test_the_viewer_is_the_one_that_its_notice_names():
    notice = (ASSETS / "niivue.license.txt").read_text()
    assert hashlib.sha256((ASSETS / NIIVUE).read_bytes()).hexdigest() in notice
    assert "BSD 2-Clause" in notice


@pytest.mark.parametrize("name", [HOSTILE.replace("/", ""), FORMULA, "a b#?%"])
def test_hostile_names_stay_text(out, cohort, name):
    make_result(cohort / "Simulated_002", out, name, warnings=(HOSTILE,))
    result = run("report", out)
    assert result.exit_code == 0, result.output
    for page in (Reader(out / f"{name}.html"), Reader(out / "index.html")):
        assert all("onerror" not in image for image in page.of("img"))
        assert HOSTILE in page.text
        assert name in page.text
    links = [urllib.request.unquote(a["href"]) for a in Reader(out / "index.html").of("a")]
    assert f"{name}.html" in links
    cells = [cell["data-value"] for cell in Reader(out / "index.html").of("th") if "data-value" in cell]
    assert not any(cell.startswith("=") for cell in cells)


def test_a_page_is_left_as_it_is_until_its_report_changes(out):
    run("report", out)
    before = (out / "A.html").stat().st_mtime_ns
    run("report", out)
    assert (out / "A.html").stat().st_mtime_ns == before
    path = out / "A.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "warnings": ["changed"]}))
    run("report", out)
    assert "changed" in Reader(out / "A.html").text


def test_without_the_images_there_is_a_page_without_viewer(out, cohort, tmp_path):
    moved = shutil.copytree(cohort / "Simulated_003", tmp_path / "moved")
    make_result(moved, out, "C")
    shutil.rmtree(moved)
    result = run("report", out)
    assert result.exit_code == 0
    assert "C: page without viewer: " in result.output
    page = Reader(out / "C.html")
    assert page.of("canvas") == []
    assert "No viewer: " in page.text
    shutil.copytree(cohort / "Simulated_003", moved)  # the disk is there again
    assert "page without viewer" not in run("report", out).output
    assert len(Reader(out / "C.html").of("canvas")) == 1


def test_several_processes_write_the_same_pages(out):
    run("report", out)
    before = {path.name: path.read_bytes() for path in out.glob("*.html")}
    for path in out.glob("*.html"):
        path.unlink()
    assert run("report", out, "--jobs", 2).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.glob("*.html")} == before


def test_what_cannot_be_reported_is_told_in_one_line(out, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("report", tmp_path / "empty")
    assert result.exit_code == 2
    assert f"{tmp_path / 'empty'}: no case found; expected CASE.json and CASE.nii.gz" in result.output
    assert f"{tmp_path / 'nowhere'}: no such folder" in run("report", tmp_path / "nowhere").output
    assert f"{tmp_path / 'nowhere'}: no such folder or case" in run("view", tmp_path / "nowhere").output
    for end in (".json", ".nii.gz"):
        (out / f"A{end}").rename(out / f"index{end}")
    path = out / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "case": "index"}))
    result = run("report", out)
    assert result.exit_code == 1
    assert "index: no page: a case named index" in result.output
    assert "1 of 2 pages" in result.output


def test_a_thousand_cases_have_a_page_that_opens(out):
    run("report", out)
    report = find_results(out)[0].report
    results = [CaseResult(out, {**report, "case": f"Case {n:04d}"}) for n in range(1000)]
    for result in results:
        result.page.symlink_to(out / "A.html")
    page = write_cohort_page(out, results)
    assert len(Reader(page).of("a")) == 1000
    assert page.stat().st_size < 8_000_000


def test_predict_writes_the_report(tmp_path, cohort, weights):
    result = predict(cohort / "Simulated_000", tmp_path / "out", weights, "--report")
    assert result.exit_code == 0, result.output
    page = Reader(tmp_path / "out" / "Simulated_000.html")
    assert len(page.of("canvas")) == 1
    assert "Slices through the largest tumour" in page.text


def test_the_picture_of_a_raw_preparation_is_in_the_page(out, cohort, tmp_path):
    prepared = shutil.copytree(cohort / "Simulated_003", tmp_path / "prepared")
    (prepared / "check.png").write_bytes(b"\x89PNG")
    make_result(prepared, out, "C")
    run("report", out)
    assert "How the raw scans were prepared" in Reader(out / "C.html").text
    assert "How the raw scans were prepared" not in Reader(out / "A.html").text


def test_view_finds_the_page(out):
    assert choose_page(out) == out / "index.html"
    for name in ("B", "B.json", "B.nii.gz", "B.html"):
        assert choose_page(out / name) == out / "B.html"
    with pytest.raises(UserError, match=r"nobody: no such case; expected one of .*A\.json"):
        choose_page(out / "nobody")


def ask(port, path, host="127.0.0.1"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_only_pages_are_served_and_only_to_this_machine(out):
    run("report", out)
    (out / "sub").mkdir()
    (out / "sub" / "x.html").write_text("inside")
    (out.parent / "outside.html").write_text("outside")
    with open_server(out, 0) as server:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert ask(port, "/A.html") == (200, (out / "A.html").read_bytes())
        assert ask(port, "/") == (200, (out / "index.html").read_bytes())
        for path in ("/A.json", "/A.nii.gz", "/../outside.html", "/%2e%2e/outside.html", "/sub/x.html", "/none.html"):
            assert ask(port, path)[0] == 404, path
        assert ask(port, "/A.html", host="evil.example:80")[0] == 404
        with pytest.raises(UserError, match=f"port {port}: cannot be used"):
            open_server(out, port)
        server.shutdown()


def test_a_benchmark_has_its_pictures_and_its_worst_cases_first(tmp_path, cohort):
    lines = ["case,subset,region,postprocessing,metric,value"]
    for case, dice in (("good", 0.9), ("<b>bad", 0.2), ("fair", 0.5)):
        lines += [f"{case},{subset},WT,none,Dice,{dice}" for subset in ("flair", "flair+t1ce")]
        lines += [f"{case},flair,WT,other,Dice,0", f"{case},flair,WT,none,Hausdorff95,7"]
    (tmp_path / "scores.csv").write_text("\n".join([*lines, ""]))
    (tmp_path / "heatmap.png").write_bytes(b"\x89PNG")
    make_result(cohort / "Simulated_000", tmp_path, "good")
    result = run("report", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(Reader(tmp_path / "good.html").of("canvas")) == 1
    page = Reader(tmp_path / "index.html")
    cells = [cell["data-value"] for cell in page.of("td")]
    assert cells[::4] == ["<b>bad", "fair", "good", "flair", "flair+t1ce"]
    assert cells[3::4] == ["0.200", "0.500", "0.900", "0.533", "0.533"]
    assert [link["href"] for link in page.of("a")] == ["good.html"]
    assert f"metakd predict CASE_DIR --output {tmp_path.name} --report" in page.text  # for those without a page
    assert [image["alt"] for image in page.of("img")] == ["Mean Dice of each subset"]


def test_a_training_has_its_curves(tmp_path):
    rows = [f"{n},{1 / n},{0.5 if n % 2 else ''}" for n in range(1, 201)]
    (tmp_path / "training.csv").write_text("\n".join(["iteration,loss,lr", *rows, ""]))
    assert run("report", tmp_path).exit_code == 0
    page = Reader(tmp_path / "index.html")
    assert [image["alt"] for image in page.of("img")] == ["training.csv"]
    (tmp_path / "training.csv").write_text("iteration,loss\n1,x\n")
    result = run("report", tmp_path)
    assert result.exit_code == 2
    assert "training.csv: 'x' found (loss); expected numbers" in result.output
