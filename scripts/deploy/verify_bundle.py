"""Check a bundle as the Model Zoo's CI does in full mode, and that MONAI finds all properties of its workflows.

Works on a copy, in the bundle's own folder. A bundle without models/model.pt gets seeded random weights there: that
shows that weights load, not what they are worth.

Usage: verify_bundle.py [BUNDLE_FOLDER] [--model-info FILE] [--dataset-dir CASES]
"""

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLE = REPOSITORY / "bundles" / "brats_mri_metakd_segmentation"
SCHEMA = REPOSITORY / "scripts" / "deploy" / "zoo" / "meta_schema_20240725.json"
REQUIRED = (("configs/metadata.json",), ("LICENSE",), ("models/model.pt",))
INFERENCE = tuple(f"configs/inference.{end}" for end in ("json", "yaml", "yml"))
CONFIGS = {"config_file": "configs/inference.json", "meta_file": "configs/metadata.json"}


class CheckError(Exception):
    """The bundle does not pass; the message is one line."""


def ensure(passes: object, message: str) -> None:
    """Raise CheckError unless something holds."""
    if not passes:
        raise CheckError(message)


def read_metadata() -> dict[str, object]:
    """Return the metadata of the bundle in this folder."""
    found: dict[str, object] = json.loads(Path("configs/metadata.json").read_text(encoding="utf-8"))
    return found


def check_files() -> str:
    """Look for the files that every bundle has."""
    for names in (*REQUIRED, INFERENCE):
        ensure(any(Path(name).is_file() for name in names), f"{' or '.join(names)} is missing")
    large = list(Path().glob("large_files.*"))
    ensure(not large, f"{large and large[0]} found; expected the files themselves, as there is no network here")
    return "metadata.json, inference.json, LICENSE, model.pt"


def check_version(name: str, model_info: Path | None) -> str:
    """Look for the version in the changelog, and that it was not published before."""
    metadata = read_metadata()
    version, changelog = metadata.get("version"), metadata.get("changelog")
    ensure(version and isinstance(changelog, dict), "metadata.json has no version, or no changelog")
    ensure(isinstance(changelog, dict) and version in changelog, f"version {version} is not in the changelog")
    if model_info is None:
        return f"{version}, in the changelog (no --model-info: not compared with published versions)"
    published = json.loads(model_info.read_text(encoding="utf-8"))
    ensure(f"{name}_v{version}" not in published, f"{name}_v{version} is published already; expected a new version")
    return f"{version}, in the changelog, not published yet"


def check_schema() -> str:
    """Compare the metadata with MONAI's schema, which lies where the zoo's CI puts it."""
    Path("eval").mkdir(exist_ok=True)
    schema = shutil.copy(SCHEMA, "eval/schema.json")
    verify_metadata(meta_file="configs/metadata.json", filepath=schema)
    return SCHEMA.stem


def check_network() -> str:
    """Compare what the network takes and gives with the metadata."""
    verify_net_in_out(net_id="network_def", device="cpu", **CONFIGS)
    return "network_def takes and gives what metadata.json says"


def check_torchscript() -> str:
    """Script the network with its weights, and load what comes out; also a model.ts that is there."""
    made = Path("models/verify_model.ts")
    ckpt_export(net_id="network_def", filepath=str(made), ckpt_file="models/model.pt", **CONFIGS)
    files = [path for path in (made, Path("models/model.ts")) if path.is_file()]
    for path in files:
        torch.jit.load(str(path))
    return " and ".join(path.name for path in files)


def check_workflows(dataset_dir: Path) -> str:
    """Let MONAI look for the properties that it expects of workflows for training and inference."""
    for name, kind in (("train", "train"), ("inference", "infer")):
        workflow = ConfigWorkflow(
            f"configs/{name}.json",
            meta_file="configs/metadata.json",
            logging_file=False,
            workflow_type=kind,
            dataset_dir=str(dataset_dir),
            output_dir="eval/output",
            device="cpu",
            num_workers=0,
        )
        workflow.initialize()
        missing = workflow.check_properties()
        ensure(missing == [], f"{name}.json: MONAI misses {missing}")
    return "of training and inference: nothing is missing"


def make_weights() -> None:
    """Write seeded random weights of the network in inference.json."""
    parser = ConfigParser(ConfigParser.load_config_file("configs/inference.json"))
    torch.manual_seed(0)
    Path("models").mkdir(exist_ok=True)
    torch.save(parser.get_parsed_content("network_def").state_dict(), "models/model.pt")
    print("note: no models/model.pt, so seeded random weights stand in")


def run_checks(name: str, model_info: Path | None, dataset_dir: Path) -> None:
    """Run all checks on the bundle in this folder, each with its line."""
    checks: dict[str, Callable[[], str]] = {
        "files": check_files,
        "version": lambda: check_version(name, model_info),
        "schema": check_schema,
        "verify_net_in_out": check_network,
        "TorchScript": check_torchscript,
        "check_properties": lambda: check_workflows(dataset_dir),
    }
    for title, check in checks.items():
        print(f"ok   {title}: {check()}", flush=True)


def main() -> int:
    """Copy the bundle, check it, and say so; 1 when a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", default=BUNDLE)
    parser.add_argument("--model-info", type=Path, help="the zoo's models/model_info.json")
    parser.add_argument("--dataset-dir", type=Path, required=True, help="at least three labelled cases")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    name, dataset_dir = options.bundle.resolve().name, options.dataset_dir.resolve()
    model_info = options.model_info and options.model_info.resolve()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(options.bundle, Path(folder, name))
        os.chdir(copy)
        sys.path.insert(0, str(copy))  # as the zoo's CI does, for code in the bundle's scripts/
        try:
            if not Path("models/model.pt").is_file():
                make_weights()
            run_checks(name, model_info, dataset_dir)
        except Exception as error:
            print(f"FAILED {name}: {type(error).__name__}: {' '.join(str(error).split())[:400]}", file=sys.stderr)
            return 1
        finally:
            os.chdir(REPOSITORY)
    print(f"{name}: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
