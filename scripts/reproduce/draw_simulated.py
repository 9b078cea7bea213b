"""Draw simulated cases, one row each: the four sequences and the label map, at the slice with most tumour.

Usage: draw_simulated.py PICTURE [--atlas DIR] [--real DIR] [--cases 6] [--seed 0] [--spacing 2]
"""

import argparse
from pathlib import Path

import matplotlib
import torch

from metakd_monai.apps.simulation.training import load_anatomies, simulate
from metakd_monai.data.files import write_safely
from metakd_monai.vocabulary import Label, Modality

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # after the backend


def main() -> None:
    """Simulate and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--atlas", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spacing", type=float, default=2.0)
    arguments = parser.parse_args()
    anatomies = load_anatomies(arguments.spacing, arguments.atlas, arguments.real)
    columns = [*(m.value for m in Modality), "labels"]
    figure, axes = plt.subplots(arguments.cases, len(columns), figsize=(8, 1.7 * arguments.cases), squeeze=False)
    for number, row in enumerate(axes):
        images, labels = simulate(arguments.seed + number, anatomies, arguments.spacing)
        level = int((labels > 0).sum((0, 1)).argmax())
        for axis, image in zip(row, images, strict=False):
            top = float(torch.quantile(image[image > 0][::11], 0.995))
            axis.imshow(image[:, :, level].T, cmap="gray", vmin=0, vmax=top)
        row[-1].imshow(labels[:, :, level].T, cmap="inferno", vmin=0, vmax=int(Label.ET), interpolation="nearest")
        for axis, name in zip(row, columns, strict=True):
            axis.axis("off")
            if number == 0:
                axis.set_title(name, fontsize=9)
    figure.subplots_adjust(0, 0, 1, 0.96, 0.02, 0.02)
    write_safely(arguments.picture, lambda path: figure.savefig(path, dpi=80, format="png", facecolor="white"))


if __name__ == "__main__":
    main()
