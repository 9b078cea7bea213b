"""The recipe of the shipped weights as one script, with a handful of iterations in each part."""

import os
import subprocess

import pytest
from conftest import REPOSITORY

from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.apps.simulation.training.anatomy import make_embedded
from metakd_monai.apps.simulation.training.atlas_files import write_atlas
from metakd_monai.apps.simulation.training.case_maker import case_maker
from metakd_monai.weights.load import load_network

SMALL = {
    "network_def#channels": "[4,6,8]",
    "max_iterations": 2,
    "lr_scheduler#iterations": 2,
    "meta_cases": 1,
    "validation_cases": 1,
    "training_cases": 2,
    "spacing": "[8,8,8]",
    "roi_size": "[16,16,16]",
    "num_workers": 0,
    "device": "cpu",
}
SMALL_REAL = """[options]
max_iterations = 2
meta_interval = 2
meta_cases = 1
num_workers = 0
"""


def words(options):
    return [str(word) for name, value in options.items() for word in (f"--{name}", value)]


@pytest.mark.slow
def test_the_whole_recipe_makes_weights_that_can_be_shipped(tmp_path):
    for name, number in (("real", 2), ("cases", 8)):
        simulate_cohort(tmp_path / name, number, spacing=6.0, make_case=case_maker(number, 6.0))
    write_atlas(tmp_path / "atlas", "one", make_embedded(0, 6.0).tissue.numpy(), 6.0)
    script = REPOSITORY / "scripts" / "reproduce" / "train_shipped.sh"
    places = [tmp_path / "out", tmp_path / "atlas", tmp_path / "real", tmp_path / "cases"]
    plan = (script.parent / "shipped.toml").read_text().replace("[methods", f"{SMALL_REAL}[methods")
    (tmp_path / "plan.toml").write_text(plan)
    environment = {**os.environ, "PLAN": str(tmp_path / "plan.toml"), "REAL_OPTIONS": "--device cpu"}
    done = subprocess.run(
        [script, *places, *words(SMALL)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert load_network(tmp_path / "out" / "model.pt").pooling == 2
    assert (tmp_path / "out" / "real" / "report.md").read_text().startswith("# 1 method on 8 cases")
