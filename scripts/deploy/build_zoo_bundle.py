"""Assemble a bundle for the Model Zoo that needs no installed metakd_monai: one zip with the package under scripts/.

The zoo's CI installs what the metadata requires from PyPI, where this package is not. So the bundle takes the package
along, as ``scripts.metakd_monai``: its imports, and the names in the configurations, are rewritten, and in the metadata
its requirements, at the versions of constraints.txt, stand in its place. Start MONAI in the bundle's own folder: from
elsewhere ``scripts`` cannot be imported.

The rest is what ``metakd bundle`` writes: weights, expectations, documentation and all licences. All files are below
the 25 MB that the zoo takes as they are, so there is no ``large_files.yml``.

Usage: build_zoo_bundle.py OUTPUT.zip
"""

import argparse
import configparser
import json
import re
import shutil
import tempfile
from pathlib import Path

from metakd_monai.bundle.root import FILES, SEGMENTATION_BUNDLE
from metakd_monai.data.files import write_safely

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "metakd_monai"
HOME = "scripts"  # the folder that MONAI lets bundles import from
STATED_APART = {"monai", "numpy", "torch"}  # have keys of their own in the metadata


def pinned_requirements() -> dict[str, str]:
    """Return the package's requirements with their versions in constraints.txt."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    required = setup["options"]["install_requires"].split("\n")
    names = [
        re.split("[<>=]", line)[0] for line in required if line and ";" not in line
    ]  # ";": for another Python alone
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    return {name: pins[name] for name in names if name not in STATED_APART}


def rewrite(path: Path) -> None:
    """Let a Python or JSON file import the package from its new home."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"\b{PACKAGE}\b", f"{HOME}.{PACKAGE}", text), encoding="utf-8")


def assemble(bundle: Path) -> None:
    """Write the files of the bundle to a new folder."""
    source = REPOSITORY / "bundles" / SEGMENTATION_BUNDLE
    for path in (path for pattern in FILES for path in source.glob(pattern) if path.is_file()):
        target = bundle / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    code = bundle / HOME / PACKAGE
    shutil.copytree(REPOSITORY / PACKAGE, code, ignore=shutil.ignore_patterns("__pycache__"))
    (bundle / HOME / "__init__.py").touch()
    for path in [*code.rglob("*.py"), *(bundle / "configs").rglob("*.json")]:
        rewrite(path)
    metadata = bundle / "configs" / "metadata.json"
    content = json.loads(metadata.read_text(encoding="utf-8"))
    content["required_packages_version"] = pinned_requirements()
    metadata.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def main() -> None:
    """Build the zip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    if options.output.suffix != ".zip":
        parser.error(f"{options.output} found; expected a name that ends with .zip")
    with tempfile.TemporaryDirectory() as folder:
        assemble(Path(folder, SEGMENTATION_BUNDLE))
        write_safely(
            options.output.absolute(),
            lambda path: shutil.make_archive(str(path.with_suffix("")), "zip", folder, SEGMENTATION_BUNDLE),
        )
    print(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
