"""train_real.json: training on real cases goes on from given weights; what comes out is published and used."""

import subprocess
import sys

import torch
from conftest import CHANNELS, REPOSITORY

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.networks import MetaKDUNet


def run(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_weights_are_trained_on_and_published(cohort, tmp_path):
    start = MetaKDUNet(channels=CHANNELS, modality_specific_scales=1)
    torch.save(start.state_dict(), tmp_path / "start.pt")
    options = {"max_iterations": 3, "meta_interval": 2, "meta_cases": 2, "num_workers": 0, "device": "cpu"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    overlays = ["--overlay", "experimental.json", "--overlay", "train_real.json", "--subsets_per_sample", 2]
    given = ["--dataset_dir", cohort, "--output_dir", tmp_path / "out", "--init_weights", tmp_path / "start.pt"]
    done = run("-m", "metakd_monai", "train", *overlays, *given, *words)
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "out" / "training.csv").read_text().splitlines()
    assert len(rows) == 4
    published = tmp_path / "published" / "model.pt"
    source = tmp_path / "out" / "model.pt"
    script = REPOSITORY / "scripts" / "weights" / "publish.py"
    done = run(script, source, "--output", published, "--input-stride", 2, "--window", "whole")
    assert done.returncode == 0, done.stderr
    predictor = Predictor(published)
    assert predictor.network.pooling == 2
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), predictor.network.parameters(), strict=True))
    logits = predictor.segment(predictor.read(find_cases(cohort)[0]))
    assert logits.isfinite().all()
