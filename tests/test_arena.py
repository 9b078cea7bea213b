"""Plans: what they may say, how cases are dealt, one whole comparison, going on after a kill, and tests by hand."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import CHANNELS, REPOSITORY
from PIL import Image
from scipy.stats import ttest_rel, wilcoxon

from metakd_monai.apps.arena import arena_run, read_plan, run_plan
from metakd_monai.apps.arena.arena_cells import choose_parts, make_cells
from metakd_monai.apps.arena.arena_report import table_lines, table_tex
from metakd_monai.apps.arena.cell import RECORD, run_cell
from metakd_monai.apps.arena.cell_processes import run_cells, why_failed
from metakd_monai.apps.arena.dice_of_methods import MethodDice, compare_methods, gather
from metakd_monai.apps.arena.folds import Tumour, deal, link_cases
from metakd_monai.apps.benchmark.benchmark_items import labelled_items
from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES, Score
from metakd_monai.cli import main
from metakd_monai.cli.train import check_training, train_method
from metakd_monai.data.datalists import make_datalist, read_layout, write_datalist
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import REGION_NAMES
from metakd_monai.weights.load import load_network

PLAN = """
folds = 2
least_et = 0.0
overlays = ["experimental.json"]
[options]
max_iterations = 2
batch_size = 1
roi_size = [16, 16, 16]
"network_def#channels" = [4, 8, 16]
meta_interval = 1
meta_cases = 1
validation_fraction = 0
checkpoint_interval = 1
num_workers = 0
[methods.MetaKD]
[methods."alpha 0"]
overlay = "methods/alpha_0.json"
"""


def write_plan(folder: Path, text: str = PLAN) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def run_here(cells, train, jobs, device):
    """Run cells one after the other in this process."""
    for cell in cells:
        run_cell(cell, train)
        yield cell, None


@pytest.fixture(scope="module")
def output(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a plan of two methods, two folds and one seed makes."""
    folder = tmp_path_factory.mktemp("arena")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena_run, "run_cells", run_here)
        assert run_plan(read_plan(write_plan(folder), cohort), folder / "out", train_method)
    return folder / "out"


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_table_is_the_mean_of_the_folds_scores(cohort, output):
    rows = read_rows(output / "table.csv")
    assert {row["method"] for row in rows} == {"MetaKD", "alpha 0"}
    assert len(rows) == 2 * 16 * 3
    folds = [read_rows(output / "MetaKD" / "seed0" / f"fold{n}" / "benchmark" / "scores.csv") for n in (0, 1)]
    names = [{row["case"] for row in rows} for rows in folds]
    assert names[0] | names[1] == {path.name for path in cohort.iterdir()}
    assert not names[0] & names[1]
    dice = [
        float(row["value"])
        for row in (*folds[0], *folds[1])
        if (row["metric"], row["subset"], row["region"]) == ("Dice", "flair+t2", "WT")
    ]
    (found,) = (
        row for row in rows if (row["modalities"], row["region"], row["method"]) == ("flair+t2", "WT", "MetaKD")
    )
    assert float(found["dice_percent"]) == pytest.approx(100 * np.mean(dice))


def test_the_importance_is_told_of_methods_that_distil_by_it(output):
    text = (output / "report.md").read_text().split("## Learned importance")[1].split("## Costs")[0]
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| MetaKD") or "alpha" in line]
    assert rows == [["| MetaKD", "Dice alone"], ["| MetaKD", "seed 0, start"], ["| MetaKD", "seed 0, end"]]


def test_a_fold_is_trained_on_the_others(output):
    cell = output / "MetaKD" / "seed0" / "fold0"
    tested = {row["case"] for row in read_rows(cell / "benchmark" / "scores.csv")}
    trained = {path.name for path in (output / "folds" / "without0").iterdir()}
    assert len(trained | tested) == 6
    assert not trained & tested
    assert len(read_rows(cell / "training.csv")) == 2
    assert not (cell / "checkpoint.pt").exists()


def test_methods_differ_in_what_they_train_alone(output):
    settings = [
        json.loads((output / name / "seed0" / "fold1" / "settings.json").read_text()) for name in ("MetaKD", "alpha_0")
    ]
    differ = {name for name in settings[0] if settings[0][name] != settings[1][name]}
    assert differ == {"method", "alpha"}


def test_every_file_of_the_manifest_has_its_hash(cohort, output):
    manifest = json.loads((output / "manifest.json").read_text())
    results = {output / name: value for name, value in manifest["results"].items()}
    cells = {output / cell / name: v for cell, r in manifest["cells"].items() for name, v in r["files"].items()}
    inputs = {Path(name): value for name, value in manifest["inputs"].items()}
    for path, value in {**results, **cells, **inputs}.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == value
    assert len([path for path in inputs if path.parent.parent == cohort]) == 6 * 5
    assert {"report.md", "table.csv", "table.tex", "means.svg", "gains.png"} <= set(manifest["results"])


def test_report_and_pictures(output):
    text = (output / "report.md").read_text()
    for heading in ("Every subset", "Differences", "More sequences, worse masks", "Costs"):
        assert f"## {heading}\n" in text
    assert "2 folds; 2 iterations; seeds: MetaKD 1, alpha 0 1." in text
    with Image.open(output / "gains.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_a_second_run_trains_nothing_and_says_the_same(cohort, output, monkeypatch):
    before = {path.name: path.read_bytes() for path in output.glob("*.*")}
    monkeypatch.setattr(arena_run, "run_cells", lambda cells, *_: iter(pytest.fail("trained again") for _ in cells))
    assert run_plan(read_plan(output.parent / "plan.toml", cohort), output, train_method)
    assert {path.name: path.read_bytes() for path in output.glob("*.*")} == before


def test_only_the_cases_of_the_chosen_folds_are_counted(cohort, output, tmp_path):
    shutil.copytree(output, tmp_path / "out", symlinks=True)
    plan = read_plan(write_plan(tmp_path, "only = [0]\n" + PLAN.replace("least_et = 0", "least_et = 1000")), cohort)
    assert run_plan(plan, tmp_path / "out", train_method)
    assert "ET over the 0 cases" in (tmp_path / "out" / "report.md").read_text()


def test_other_settings_are_refused(cohort, output, tmp_path):
    path = write_plan(tmp_path, PLAN.replace("meta_interval = 1", "meta_interval = 2"))
    with pytest.raises(UserError, match="fold0: made with other --meta_interval; expected those, or a new folder"):
        run_plan(read_plan(path, cohort), output, train_method)


def test_what_is_not_complete_is_named(cohort, output, tmp_path, monkeypatch):
    monkeypatch.setattr(arena_run, "run_cells", lambda cells, *_: ((cell, "no luck") for cell in cells))
    text = f'{PLAN}[methods.later]\noverlay = "methods/lckd.json"\n'
    assert not run_plan(read_plan(write_plan(tmp_path, text), cohort), output, train_method)
    report = (output / "report.md").read_text()
    assert "Not complete: later" in report
    assert "Failed: later, seed 0, fold 1: no luck" in report
    assert "| ET MetaKD | ET alpha 0 |" in report


def test_weights_that_are_none_are_refused_before_a_folder_is_made(cohort, tmp_path):
    plan = read_plan(write_plan(tmp_path), cohort, weights=tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"none\.pt"):
        run_plan(plan, tmp_path / "out", train_method)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("folds = 2", "fold = 2"), "fold: unknown; did you mean folds"),
        (("folds = 2", "folds = 1"), "folds is 1; expected 2 or more"),
        (("folds = 2", 'folds = "2"'), "folds is '2'; expected a whole number"),
        (("folds = 2", "seeds = [0, 0]"), r"seeds is \[0, 0\]; expected different whole numbers"),
        (("folds = 2", "seeds = []"), "no seeds found"),
        (("folds = 2", "only = [4]"), "expected folds below 4"),
        (("folds = 2", 'reference = "Meta"'), "reference is 'Meta'; expected one of MetaKD, alpha 0"),
        (("folds = 2", 'datalist = "a.json"\ncases = "b"'), "both of cases and datalist found"),
        (("[methods.MetaKD]", '[methods."../x"]'), "methods: '../x' found; expected letters"),
        (("[methods.MetaKD]", "[methods.MetaKD]\nfaith = 1"), "faith: unknown; did you mean faithful"),
        (("[methods.MetaKD]", "[methods.MetaKD]\noverlay = 1"), "MetaKD: overlay is 1; expected a text"),
        (("[methods.MetaKD]", "[methods.MetaKD]\noverlay = [1]"), "MetaKD: overlay has 1; expected texts"),
        (("folds = 2", 'window = "1,2"'), "plan.toml: window: '1,2' found"),
        (("[methods.MetaKD]", '[methods."table.csv"]'), "'table.csv' is the name of a file"),
        (("folds = 2", "input_stride = 0"), "input_stride is 0; expected 1 or more"),
        (("[methods.MetaKD]", '[methods."alpha_0"]'), "'alpha 0' and 'alpha_0' would share the folder alpha_0"),
        (("[methods.MetaKD]", "[methods.folds]"), "'folds' and 'the folder of cases' would share the folder folds"),
    ],
)
def test_plans_that_cannot_be(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_plan(write_plan(tmp_path, PLAN.replace(*change)), None if "datalist" in change[1] else tmp_path)


def test_a_plan_without_cases_or_methods_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither of cases and datalist found"):
        read_plan(write_plan(tmp_path))
    with pytest.raises(UserError, match="no methods found"):
        read_plan(write_plan(tmp_path, "folds = 2\n"), tmp_path)


def test_faithful_options_count_in_a_faithful_plan_alone(tmp_path):
    text = f'{PLAN}[methods.RFNet]\noptions = {{alpha = 1}}\nfaithful = {{alpha = 2, dropping_law = "subset"}}\n'
    plan = read_plan(write_plan(tmp_path, text), tmp_path)
    assert plan.options_of(plan.methods[-1])["alpha"] == 1
    assert "dropping_law" not in plan.options_of(plan.methods[-1])
    plan = read_plan(write_plan(tmp_path, f"faithful = true\n{text}"), tmp_path)
    assert plan.options_of(plan.methods[-1])["alpha"] == 2


def test_a_datalist_says_what_is_trained_on_and_scored(cohort, tmp_path):
    made = make_datalist(read_layout(cohort), folds=2, meta_cases=1, test_fraction=0.34)
    write_datalist(tmp_path / "list.json", made)
    plan = read_plan(write_plan(tmp_path), datalist=tmp_path / "list.json")
    parts, sizes = choose_parts(plan)
    assert {fold: [item["case_id"] for item in items] for fold, items in parts.items()} == {
        0: [item["case_id"] for item in made["test"]]
    }
    assert all(size.enhancing > 0 for size in sizes.values())
    cell = make_cells(plan, tmp_path / "out", parts)[0]
    assert (cell.settings["datalist"], cell.settings["fold"]) == (str(tmp_path / "list.json"), 0)
    assert "dataset_dir" not in cell.settings
    with pytest.raises(UserError, match="found twice"):
        choose_parts(replace(plan, only=(0, 1)))


def test_weights_to_begin_with_lose_the_stride_that_training_has_by_itself(tmp_path, cohort):
    torch.save(MetaKDUNet(channels=CHANNELS, input_stride=2).state_dict(), tmp_path / "given.pt")
    for text, stride in ((PLAN, 2), (f"input_stride = 2\n{PLAN}", 1)):
        plan = read_plan(write_plan(tmp_path, text), cohort, tmp_path / "given.pt")
        cell = make_cells(plan, tmp_path / str(stride), choose_parts(plan)[0])[0]
        assert load_network(cell.settings["init_weights"]).pooling == stride
        assert cell.asked["--init_weights"] == f"start_{checksum(tmp_path / 'given.pt')[:12]}.pt"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--uncertainty"], "--uncertainty found with a plan"),
        (["--datalist", "nowhere.json"], "nowhere.json: no such file"),
        (["--cases", "a", "--cases", "b"], "--cases twice found with a plan"),
    ],
)
def test_options_that_mean_nothing_with_a_plan(tmp_path, arguments, message):
    result = CliRunner().invoke(main, ["study", str(write_plan(tmp_path)), "-o", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_a_typo_in_an_option_is_told_before_anything_is_trained(cohort, tmp_path):
    path = write_plan(tmp_path, PLAN.replace("max_iterations", "max_iteration"))
    result = CliRunner().invoke(main, ["study", str(path), "--cases", str(cohort), "-o", str(tmp_path / "out")])
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "--max_iteration: unknown; did you mean --max_iterations" in result.output


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "scripts" / "reproduce").glob("*.toml")), ids=lambda path: path.stem
)
def test_plans_that_come_with_it_name_what_there_is(path, tmp_path):
    for plan in (found := read_plan(path, tmp_path), replace(found, faithful=True)):
        for one in plan.methods:
            check_training(plan.overlays_of(one), plan.options_of(one))


def test_each_fold_gets_large_and_small_tumours():
    sizes = {f"case{n}": Tumour(n, n, n) for n in range(8)}
    dealt = deal(sizes, 2, 0)
    assert sorted(name for fold in dealt for name in fold) == sorted(sizes)
    for pair in (("case7", "case6"), ("case1", "case0")):
        assert all(len(set(fold) & set(pair)) == 1 for fold in dealt)
    assert deal(sizes, 2, 0) == dealt
    with pytest.raises(UserError, match="4 folds of 7 labelled cases"):
        deal({name: sizes[name] for name in list(sizes)[1:]}, 4, 0)


def test_linked_cases_are_the_cases(cohort, tmp_path):
    items = labelled_items(cohort)
    link_cases(items, tmp_path)
    linked = labelled_items(tmp_path)
    assert [item["case_id"] for item in linked] == [item["case_id"] for item in items]
    for mine, theirs in zip(linked, items, strict=True):
        assert {m: Path(file).resolve() for m, file in mine["image"].items()} == {
            m: Path(file).resolve() for m, file in theirs["image"].items()
        }
        assert Path(mine["label"]).resolve() == Path(theirs["label"]).resolve()


def method(name: str, gaps: np.ndarray) -> MethodDice:
    """Two seeds, a case for each gap, that lies above 50 in each subset; the seeds differ by 1."""
    dice = 50 + gaps[None, :, None, None] + np.array([-0.5, 0.5])[:, None, None, None] + np.arange(15)[:, None] / 10
    return MethodDice(
        name, (0, 1), tuple(map(str, range(len(gaps)))), np.broadcast_to(dice, (2, len(gaps), 15, 3)).copy()
    )


def test_differences_by_hand():
    gaps = np.array([1.0, 2.0, -1.0, 4.0, 3.0, 5.0])
    first, second = method("a", gaps), method("b", np.zeros(6))
    found = compare_methods(first, second)
    assert found["WT"].mean == pytest.approx(gaps.mean())
    assert found["WT"].wilcoxon_p == pytest.approx(wilcoxon(gaps).pvalue)
    assert found["WT"].low < gaps.mean() < found["WT"].high
    assert found["WT"].cases == 6
    assert np.isnan(found["WT"].t_p)  # all subsets differ alike
    first.dice[:, :, 0] += 6
    means = [[one.as_means()[name, "ET"] for name in SUBSET_NAMES] for one in (first, second)]
    assert compare_methods(first, second)["ET"].t_p == pytest.approx(ttest_rel(*means, alternative="greater").pvalue)
    first.dice[:, 0, :, 0] = second.dice[:, 0, :, 0] = np.nan  # a case without enhancing tumour
    assert compare_methods(first, second)["ET"].cases == 5
    assert np.isnan(compare_methods(first, first)["ET"].wilcoxon_p)


def test_best_and_second_are_marked_and_seeds_spread():
    methods = [method("a", np.zeros(2)), method("b_2", np.ones(2)), method("c", -np.ones(2))]
    lines = table_lines(methods)
    assert lines[2].startswith("| ● | ○ | ○ | ○ | *50.00* | **51.00** | 49.00 |")
    assert lines[-2].startswith("| mean of 15 |  |  |  | *50.70* | **51.70** | 49.70 |")
    assert lines[-1].startswith("| sd over seeds |  |  |  | 0.71 | 0.71 |")
    text = table_tex(methods)
    assert r"\textit{50.00} & \textbf{51.00} & 49.00" in text
    assert r"b\_2" in text
    assert text.count(r"\\") == 2 + 15 + 2


def test_small_enhancing_tumours_do_not_count_and_cases_must_agree():
    scores = [Score(case, name, r, "none", "Dice", 0.5) for case in "ab" for name in SUBSET_NAMES for r in REGION_NAMES]
    found = gather("m", {0: scores}, ["a", "b"], frozenset("b"))
    assert np.isnan(found.dice[0, 1, :, 0]).all()
    assert found.dice[0, 1, :, 1:] == pytest.approx(50)
    with pytest.raises(UserError, match="m, seed 0: other cases found than the 3 of the plan"):
        gather("m", {0: scores}, ["a", "b", "c"], frozenset())


def test_why_a_process_failed(tmp_path):
    (tmp_path / "log.txt").write_text("first\nmetakd: no such thing\n")
    assert why_failed(0, tmp_path / "log.txt") is None
    assert why_failed(1, tmp_path / "log.txt") == "metakd: no such thing"
    assert why_failed(-9, tmp_path / "log.txt").startswith("killed by SIGKILL")


def fail(names, settings):
    return "training failed: for a test"


@pytest.mark.slow
def test_processes_fail_alone_and_their_runs_go_on(cohort, tmp_path):
    plan = read_plan(write_plan(tmp_path, PLAN.split('[methods."alpha 0"]')[0]), cohort)
    assert not run_plan(plan, tmp_path / "out", fail, jobs=2)
    failed = json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"]
    assert set(failed.values()) == {"training failed: for a test"}
    assert run_plan(plan, tmp_path / "out", train_method, jobs=2)
    assert json.loads((tmp_path / "out" / "MetaKD" / "seed0" / "fold0" / RECORD).read_text())["iterations"] == 2
    assert list(run_cells([], train_method, 1, "cpu")) == []
