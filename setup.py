"""The build: what setup.cfg cannot say, that ``bundles/`` becomes ``metakd_monai/bundles`` in a wheel.

Each file of a bundle is named, so that nobody's data, checkpoints or own configurations get into a wheel.
"""

import hashlib
import json
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

EVERY_BUNDLE = (
    *("LICENSE", "docs/README.md", "docs/data_license.txt"),
    *(f"configs/{name}" for name in ("train.json", "evaluate.json", "inference.json", "metadata.json", "logging.conf")),
)
OTHERS = {
    "adni_metakd_classification": ("docs/simulated.md",),
    "avmnist_metakd_classification": ("configs/tuned.json",),
    "brats_mri_metakd_segmentation": (
        *(
            f"configs/{name}.json"
            for name in ("experimental", "federated_train", "multi_gpu_train", "paper", "train_real", "train_simulated")
        ),
        *(
            f"configs/methods/{name}.json"
            for name in (
                *("alpha_0", "equal_importance", "lckd", "no_dropping", "ranking", "self_distillation"),
                *("dynunet", "dynunet_no_dropping", "lmcr", "mean_image", "mm_former", "rf_net", "robust_mseg"),
                *("s_fusion", "s_fusion_u_hemis", "sha_spec", "sim_mlm", "u_hemis", "u_hved", "with_metakd"),
            )
        ),
        *("docs/weights_license.txt", "models/model.pt", "models/expected.json"),
    ),
}
BUNDLE_FILES = [f"{bundle}/{file}" for bundle, others in OTHERS.items() for file in (*EVERY_BUNDLE, *others)]


class BuildPy(build_py):
    """Build from scratch, and only with all files of the bundles and the weights that expected.json was made for."""

    def run(self) -> None:
        """Build."""
        missing = [name for name in BUNDLE_FILES if not Path("bundles", name).is_file()]
        if missing:
            raise SetupError(f"bundles: {missing} not found; expected each file that setup.py names")
        if not self.editable_mode:
            check_weights(Path("bundles/brats_mri_metakd_segmentation/models"))
            shutil.rmtree(self.build_lib, ignore_errors=True)  # what is there may be of an older layout
        super().run()


def check_weights(folder: Path) -> None:
    """Refuse weights that are not the published ones, such as those of a training that wrote over them."""
    found = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["weights_sha256"]
    if found != expected:
        raise SetupError(f"{folder}/model.pt: SHA-256 {found} found; expected {expected}, as expected.json has it")


setup(
    packages=[*find_packages(include=["metakd_monai", "metakd_monai.*"]), "metakd_monai.bundles"],
    package_dir={"metakd_monai.bundles": "bundles"},
    package_data={
        "metakd_monai": [
            "py.typed",
            "apps/benchmark/paper/*.csv",
            "apps/report/assets/*",
            "apps/report/demo_case/*",
        ],
        "metakd_monai.bundles": BUNDLE_FILES,
    },
    cmdclass={"build_py": BuildPy},
)
