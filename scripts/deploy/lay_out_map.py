"""Lay out the Deploy app as a MONAI Application Package has it, below a folder and without a container.

Usage: python scripts/deploy/lay_out_map.py ROOT MODELS

MODELS is a folder with the bundle's folder in it. The packager's own code (holoscan-cli 4.0.0; 5.0.0 has none)
reads ``app.yaml``, finds the models and makes ``etc/holoscan/app.json``, whose paths and environment are
then those of a container, with ROOT in front.
"""

import argparse
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

from holoscan_cli.common.constants import DefaultValues
from holoscan_cli.packager.config_reader import ApplicationConfiguration
from holoscan_cli.packager.models import Models

APP = Path(__file__).resolve().parents[2] / "examples" / "deploy_app"


def lay_out(root: Path, models: Path) -> None:
    """Write application, models, configuration and manifest below a folder."""
    places = {
        "app_dir": DefaultValues.HOLOSCAN_APP_DIR,
        "config_file_path": DefaultValues.HOLOSCAN_CONFIG_PATH,
        "docs_dir": DefaultValues.HOLOSCAN_DOCS_DIR,
        "input_dir": DefaultValues.WORK_DIR / "input",
        "logs_dir": DefaultValues.HOLOSCAN_LOGS_DIR,
        "models_dir": DefaultValues.MODELS_DIR,
        "output_dir": DefaultValues.WORK_DIR / "output",
        "working_dir": DefaultValues.WORK_DIR,
        "app_manifest_path": Path(DefaultValues.APP_MANIFEST_PATH),
        "package_manifest_path": Path(DefaultValues.PKG_MANIFEST_PATH),
    }
    here = {name: root / place.relative_to("/") for name, place in places.items()}
    for name in ("input_dir", "output_dir", "logs_dir"):
        here[name].mkdir(parents=True)
    shutil.copytree(APP, here["app_dir"], ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(APP / "app.yaml", here["config_file_path"])
    found = Models().build(models)
    for name, path in found.items():
        shutil.copytree(path, here["models_dir"] / name)
    configuration = ApplicationConfiguration()
    configuration.read(APP / "app.yaml")
    command = json.dumps(["python3", str(here["app_dir"])])  # what the packager has for a folder with __main__.py
    here["input_dir"], here["output_dir"] = str(here["input_dir"]), str(here["output_dir"])
    parameters = SimpleNamespace(command=command, timeout=0, version=None, models=found, **here)
    here["app_manifest_path"].parent.mkdir(parents=True)
    for manifest, place in (
        (configuration.populate_app_manifest(parameters), "app_manifest_path"),
        (configuration.populate_package_manifest(parameters), "package_manifest_path"),
    ):
        here[place].write_text(json.dumps(manifest.data, indent=2))
    print(f"{configuration.title()}: models {', '.join(found)}; laid out below {root}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="ROOT", type=lambda text: Path(text).absolute())
    parser.add_argument("models", metavar="MODELS", type=Path)
    arguments = parser.parse_args()
    lay_out(arguments.root, arguments.models)
