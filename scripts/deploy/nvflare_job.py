"""Write a job of NVFlare in which MonaiAlgo trains the bundle at two sites, for scripts/deploy/try_nvflare.sh.

Usage: nvflare_job.py FOLDER        makes FOLDER/job, FOLDER/bundle and the simulated cases of two sites
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.bundle.root import bundle_root

SITES = ("site-1", "site-2")
SMALL = {
    "network_def#channels": [4, 8, 16],
    "roi_size": [16, 16, 16],
    "meta_interval": 1,
    "num_workers": 0,
    "device": "cpu",
}
CONFIG = "configs/federated.json"  # training and its federated overlay in one, as MonaiBundlePersistor reads one file
FLARE = "nvflare.app_common"


def component(name: str, path: str, **arguments: Any) -> dict[str, Any]:
    """Describe one component of a job."""
    return {"id": name, "path": path, "args": arguments}


def server(bundle: Path) -> dict[str, Any]:
    """Return the server's configuration: FedAvg over one round."""
    names = {"aggregator_id": "aggregator", "persistor_id": "persistor", "shareable_generator_id": "generator"}
    persistor = "monai_nvflare.monai_bundle_persistor.MonaiBundlePersistor"
    generator = f"{FLARE}.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator"
    aggregator = f"{FLARE}.aggregators.intime_accumulate_model_aggregator.InTimeAccumulateWeightedAggregator"
    rounds = {"min_clients": len(SITES), "num_rounds": 1, "train_task_name": "train", "train_timeout": 0}
    return {
        "format_version": 2,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [
            component(
                "persistor",
                persistor,
                bundle_root=str(bundle),
                config_train_filename=CONFIG,
                network_def_key="exchanged",
            ),
            component("generator", generator),
            component("aggregator", aggregator, expected_data_kind="WEIGHT_DIFF"),
        ],
        "workflows": [
            component("scatter", f"{FLARE}.workflows.scatter_and_gather.ScatterAndGather", **rounds, **names)
        ],
    }


def client(bundle: Path, site: Path) -> dict[str, Any]:
    """Return the configuration of a site."""
    settings = {**SMALL, "dataset_dir": str(site / "cases"), "output_dir": str(site / "run")}
    executor = "monai_nvflare.client_algo_executor.ClientAlgoExecutor"
    arguments: dict[str, Any] = {"config_train_filename": CONFIG, "config_evaluate_filename": CONFIG}
    arguments |= {"bundle_root": str(bundle), "train_kwargs": settings, "eval_kwargs": settings}
    return {
        "format_version": 2,
        "executors": [
            {
                "tasks": ["train"],
                "executor": component("executor", executor, client_algo_id="client", key_metric="val_mean_dice"),
            }
        ],
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [component("client", "monai.fl.client.MonaiAlgo", **arguments)],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Write everything."""
    folder = Path(sys.argv[1]).resolve()
    shutil.rmtree(folder / "job", ignore_errors=True)
    bundle = Path(shutil.copytree(bundle_root(), folder / "bundle", dirs_exist_ok=True))
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / name for name in ("train.json", "federated_train.json")])
    for name, value in SMALL.items():
        parser[name] = value
    ConfigParser.export_config_file(parser.config, str(bundle / CONFIG), indent=2)
    job = folder / "job"
    deploy = {"server": ["server"], **{site: [site] for site in SITES}}
    write(job / "meta.json", {"name": "metakd", "min_clients": len(SITES), "resource_spec": {}, "deploy_map": deploy})
    write(job / "server" / "config" / "config_fed_server.json", server(bundle))
    for number, site in enumerate(SITES):
        if not (folder / site / "cases").is_dir():
            simulate_cohort(folder / site / "cases", 6, 100 + number, (24, 28, 24), 6.0, progress=False)
        write(job / site / "config" / "config_fed_client.json", client(bundle, folder / site))


if __name__ == "__main__":
    main()
