"""Federated averaging of the bundle over sites of simulated cases, each a monai.fl.client.MonaiAlgo.

In each round every site gets the network and the importance vector, trains one epoch on its own cases, and sends back
what changed. The mean of the changes, weighted by iterations, is added; then each site scores the result. The server's
part is here; the sites' is MONAI's, as it is in NVFlare.

Usage: try_federated.py OUTPUT [--sites 2] [--rounds 1] [--cases 6] [--seed 0]
           [--channels 4 8 16] [--shape 24 28 24] [--spacing 6]
Writes model.pt (the network alone, for metakd predict) and federated.json to OUTPUT.
"""

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject
from monai.networks.utils import get_state_dict
from torch import Tensor

from metakd_monai import __version__
from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.bundle.root import bundle_root
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.equations import normalize_importance
from metakd_monai.vocabulary import MODALITY_NAMES

CONFIGS = ["configs/train.json", "configs/federated_train.json"]
NETWORK, IMPORTANCE = "network.", "importance.weights"  # keys of metakd_monai.networks.WithImportance
Weights = dict[str, Tensor]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cases", type=int, default=6, help="of each site")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--channels", nargs="+", type=int, default=[4, 8, 16])
    parser.add_argument("--shape", nargs=3, type=int, default=[24, 28, 24])
    parser.add_argument("--spacing", type=float, default=6.0)
    return parser.parse_args()


def make_site(number: int, options: argparse.Namespace) -> MonaiAlgo:
    """Simulate the cases of a site and start MONAI's client on the bundle."""
    folder = options.output / f"site_{number}"
    if not (folder / "cases").is_dir():
        shape, seed = tuple(options.shape), 100 * (options.seed + 1) + number
        simulate_cohort(folder / "cases", options.cases, seed, shape, options.spacing, progress=False)
    settings: dict[str, Any] = {
        "dataset_dir": str(folder / "cases"),
        "output_dir": str(folder / "run"),
        "seed": options.seed,
        "network_def#channels": options.channels,
        "roi_size": [16, 16, 16],
        "meta_interval": 1,
        "num_workers": 0,
        "device": "cpu",
    }
    site = MonaiAlgo(
        bundle_root(),
        config_train_filename=CONFIGS,
        config_evaluate_filename=CONFIGS,
        train_kwargs=dict(settings),
        eval_kwargs=dict(settings),
    )
    site.initialize({ExtraItems.CLIENT_NAME: f"site_{number}"})
    return site


def train(site: MonaiAlgo, weights: Weights) -> tuple[Weights, int]:
    """Train a site for a round; return what changed, and in how many iterations."""
    site.train(ExchangeObject(weights=dict(weights)))
    sent = site.get_weights()
    return sent.weights, sent.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]


def aggregate(weights: Weights, sent: list[tuple[Weights, int]]) -> Weights:
    """Add the mean of the sites' changes, weighted by iterations (FedAvg)."""
    total = sum(iterations for _, iterations in sent)
    return {
        name: value + torch.stack([changes[name] * iterations / total for changes, iterations in sent]).sum(dim=0)
        for name, value in weights.items()
    }


def importance_of(weights: Weights) -> dict[str, float]:
    """Return the normalised importance of each sequence."""
    values = normalize_importance(weights[IMPORTANCE]).tolist()
    return {name: round(value, 6) for name, value in zip(MODALITY_NAMES, values, strict=True)}


def run_round(sites: list[MonaiAlgo], weights: Weights) -> tuple[Weights, dict[str, Any]]:
    """Train all sites, aggregate, score; return the new weights and what there is to say."""
    sent = [train(site, weights) for site in sites]
    new = aggregate(weights, sent)
    scores = [site.evaluate(ExchangeObject(weights=dict(new))).metrics for site in sites]
    return new, {
        "iterations": [iterations for _, iterations in sent],
        "importance_of_sites": [importance_of({IMPORTANCE: weights[IMPORTANCE] + s[IMPORTANCE]}) for s, _ in sent],
        "importance": importance_of(new),
        "mean_dice_of_sites": [float(metrics["val_mean_dice"]) for metrics in scores],
    }


def main() -> None:
    """Run the rounds and write what comes out."""
    options = parse()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    sites = [make_site(number, options) for number in range(options.sites)]
    weights: Weights = {name: value.clone() for name, value in get_state_dict(sites[0].trainer.network).items()}
    print(f"exchanged: {len(weights)} tensors, {IMPORTANCE} among them: {importance_of(weights)}")
    rounds = []
    for number in range(options.rounds):
        weights, report = run_round(sites, weights)
        rounds.append(report)
        print(f"round {number + 1}")
        for name, value in report.items():
            print(f"  {name}: {value}")
    for site in sites:
        site.finalize()
    network = {name.removeprefix(NETWORK): value for name, value in weights.items() if name.startswith(NETWORK)}
    write_safely(options.output / "model.pt", lambda path: torch.save(network, path))
    settings = {name: str(value) for name, value in vars(options).items()}
    write_json(options.output / "federated.json", {"version": __version__, "settings": settings, "rounds": rounds})
    print(f"network: {options.output / 'model.pt'}")


if __name__ == "__main__":
    main()
