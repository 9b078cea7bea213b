"""Does MetaKD's machinery do what it should, on simulated cases whose truth is known?

Trains the bundle with alpha = 0.1, with alpha = 0 and without dropping of modalities, three seeds each, and reports
the Dice of all 15 subsets on cases that no training saw, and the importance that each seed learned. Enhancing tumour
is visible in T1ce alone. Finished runs are kept: start it again after an interruption.

Usage: compare_on_simulation.py OUTPUT [--iterations 300] [--seeds 3] [--jobs 2]
"""

import argparse
import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from monai.metrics import compute_dice
from tqdm import tqdm

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.data.nifti import read_voxels
from metakd_monai.transforms import labels_to_regions
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES, Label, modality_subsets

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # after the backend

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "brats_mri_metakd_segmentation"
VARIANTS = {
    "MetaKD (alpha 0.1)": {"alpha": "0.1"},
    "alpha 0": {"alpha": "0"},
    "no dropping": {"train#dropping#prob": "0"},
}
# As the demo: a small network, and a step size for hundreds of iterations instead of 115,000.
BUDGET = {
    "meta_interval": "5",
    "val_interval": "1000000",
    "checkpoint_interval": "50",
    "roi_size": "[40,48,40]",
    "network_def#channels": "[8,16,32,64]",
    "meta_cases": "3",
    "validation_fraction": "0",
    "num_workers": "0",
    "learning_rate": "0.05",
    "optimizer#momentum": "0.9",
    "device": "cpu",
}
SHAPE, SPACING = (48, 60, 48), 3.0
TRAINING_CASES, TEST_CASES, TEST_SEED = 16, 8, 1000


def folder_of(output: Path, variant: str, seed: int) -> Path:
    """Name the folder of one run."""
    return output / f"{variant.split(' (')[0].replace(' ', '_').lower()}_seed{seed}"


def train(output: Path, variant: str, seed: int, iterations: int) -> None:
    """Train once, in a process of one thread; goes on where an earlier start was interrupted."""
    folder = folder_of(output, variant, seed)
    if (folder / "model.pt").exists():  # written when a training is complete
        return
    options = {**BUDGET, **VARIANTS[variant], "seed": str(seed), "max_iterations": str(iterations)}
    options |= {"dataset_dir": str(output / "cohort"), "output_dir": str(folder)}
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file"]
    command += [str(BUNDLE / "configs" / "train.json"), *(x for k, v in options.items() for x in (f"--{k}", v))]
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with (folder / "log.txt").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)


def dice_of_subsets(weights: Path, test: Path) -> np.ndarray:
    """Return Dice ``(cases, 15, R)``; each case is encoded once and decoded for each subset."""
    predictor = Predictor(weights)
    rows = []
    for case in find_cases(test):
        assert case.label is not None
        labels = read_voxels(case.label)[None]  # simulated files are in the working orientation already
        truth = labels_to_regions(torch.from_numpy(labels))[None]
        maps = SubsetPredictor(predictor).label_maps(predictor.read(case), int(Label.ET))
        found = torch.stack([labels_to_regions(torch.from_numpy(labels)[None]) for labels in maps.values()])
        rows.append(compute_dice(found, truth.expand(len(found), -1, -1, -1, -1), ignore_empty=False).numpy())
    return np.stack(rows)


def read_importance(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return iterations ``(T,)`` and importance ``(T, N)`` of a run."""
    with (folder / "meta.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = [f"importance_{name}" for name in MODALITY_NAMES]
    return np.array([int(r["iteration"]) for r in rows]), np.array([[float(r[n]) for n in names] for r in rows])


def report(output: Path, seeds: list[int], iterations: int) -> str:
    """Write ``dice.csv`` and return the Markdown report."""
    test = output / "test"
    dice = {
        variant: np.stack([dice_of_subsets(folder_of(output, variant, s) / "model.pt", test).mean(0) for s in seeds])
        for variant in tqdm(VARIANTS, desc="evaluating", disable=None)
    }  # each (seeds, 15, R): means over the test cases
    lines = [f"# MetaKD on simulated cases: {iterations} iterations, seeds {', '.join(map(str, seeds))}", ""]
    lines += [f"Dice in % of {TEST_CASES} unseen cases, mean ± standard deviation over seeds.", ""]
    lines += ["| given | " + " | ".join(f"{v}: {r}" for r in REGION_NAMES for v in VARIANTS) + " |"]
    lines += ["|---|" + "---|" * (len(REGION_NAMES) * len(VARIANTS))]
    names = ["+".join(m.value for m in subset) for subset in modality_subsets()]
    rows: list[tuple[Any, str]] = [*enumerate(names), (slice(None), "**mean of 15**")]
    for row, name in rows:
        cells = []
        for region in range(len(REGION_NAMES)):
            for variant in VARIANTS:
                values = 100 * dice[variant][:, row, region].reshape(len(seeds), -1).mean(1)
                cells.append(f"{values.mean():.1f} ± {values.std(ddof=1) if len(seeds) > 1 else 0:.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    finals = np.stack([read_importance(folder_of(output, next(iter(VARIANTS)), s))[1][-1] for s in seeds])
    lines += ["", "Importance learned by MetaKD, of " + ", ".join(MODALITY_NAMES) + ":", ""]
    for seed, values in zip(seeds, finals, strict=True):
        top = MODALITY_NAMES[int(values.argmax())]
        lines.append(f"- seed {seed}: {', '.join(f'{v:.3f}' for v in values)} (highest: {top})")
    write_json(output / "dice.json", {v: d.tolist() for v, d in dice.items()} | {"subsets": names})
    return "\n".join(lines) + "\n"


def draw_importance(output: Path, seeds: list[int]) -> None:
    """Draw the importance over iterations, the analogue of the paper's Fig. 5a."""
    figure, panels = plt.subplots(1, len(seeds), figsize=(4 * len(seeds), 3), sharey=True, squeeze=False)
    for panel, seed in zip(panels[0], seeds, strict=True):
        iterations, importance = read_importance(folder_of(output, next(iter(VARIANTS)), seed))
        for n, name in enumerate(MODALITY_NAMES):
            panel.plot(iterations, importance[:, n], label=name, linewidth=2 if name == "t1ce" else 1)
        panel.set(title=f"seed {seed}", xlabel="iteration")
    panels[0][0].set_ylabel("importance")
    panels[0][-1].legend()
    figure.tight_layout()
    write_safely(output / "importance.png", lambda path: figure.savefig(path, format="png", dpi=100))


def main() -> None:
    """Train what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    output, seeds = arguments.output, list(range(arguments.seeds))
    for name, cases, seed in (("cohort", TRAINING_CASES, 0), ("test", TEST_CASES, TEST_SEED)):
        if not (output / name).exists():
            simulate_cohort(output / name, cases, seed, SHAPE, SPACING)
    runs = [(variant, seed) for seed in seeds for variant in VARIANTS]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [pool.submit(train, output, variant, seed, arguments.iterations) for variant, seed in runs]
        for job in tqdm(jobs, desc="training runs", disable=None):
            job.result()
    text = report(output, seeds, arguments.iterations)
    write_safely(output / "report.md", lambda path: path.write_text(text))
    draw_importance(output, seeds)
    print(text)
    print(f"{output}/report.md, {output}/dice.json, {output}/importance.png")


if __name__ == "__main__":
    main()
