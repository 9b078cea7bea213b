"""Where bundles are: those of this package, and the one that MONAI runs; and how they are copied."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import metakd_monai
from metakd_monai.data.files import read_json
from metakd_monai.errors import UserError

SEGMENTATION_BUNDLE = "brats_mri_metakd_segmentation"
FILES = (
    "LICENSE",
    "configs/*",
    "configs/methods/*",
    "docs/*",
    "models/model.pt",
    "models/expected.json",
)  # parts of a bundle, without data and results
PACKAGE = Path(metakd_monai.__file__).resolve().parent
PLACES = (PACKAGE / "bundles", PACKAGE.parent / "bundles")  # in an installed package, in a source checkout


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder is a MONAI bundle."""
    return (folder / "configs" / "metadata.json").is_file()


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the bundles that come with this package, by name."""
    place = next((place for place in PLACES if is_bundle(place / SEGMENTATION_BUNDLE)), None)
    return {} if place is None else {folder.name: folder for folder in sorted(place.iterdir()) if is_bundle(folder)}


def shipped_bundle(name: str = SEGMENTATION_BUNDLE) -> Path:
    """Return the folder of a bundle that is installed with this package.

    Raises:
        UserError: for an unknown name.
    """
    known = shipped_bundles()
    if name not in known:
        raise UserError(f"bundle: {name!r} found; expected one of {', '.join(known) or 'none: none is installed'}")
    return known[name]


def bundle_root(name: str = SEGMENTATION_BUNDLE) -> str:
    """Find the bundle's folder from wherever its configuration is run.

    MONAI 1.6 tells a configuration neither its own path nor its folder: ConfigParser forgets the files that it has
    read. Only ``run`` puts the bundle's folder into Python's search path, and only after ``initialize``; ckpt_export
    and the other commands never do. So the command line is read here, and nowhere else. The first of these counts: the
    folder of its ``--config_file``, a bundle in Python's search path (MONAI Deploy puts it there), the current folder
    if it is a bundle, the bundle that comes with this package, the current folder. A bundle with the name of another
    bundle of this package is skipped.

    Args:
        name: of the bundle that comes with this package.
    """
    here = Path.cwd()
    searched = [Path(folder).resolve() for folder in sys.path]
    roots = [*(path.resolve().parent.parent for path in config_files(sys.argv)), *searched, here]
    shipped = shipped_bundles()
    others = {title_of(folder) for other, folder in shipped.items() if other != name}
    fitting = (root for root in roots if is_bundle(root) and title_of(root) not in others)
    return str(next(fitting, shipped.get(name, here)))


def title_of(folder: Path) -> str:
    """Return a bundle's name in its metadata; empty if they cannot be read."""
    try:
        return str(read_json(folder / "configs" / "metadata.json", "metadata of a bundle")["name"])
    except (UserError, KeyError, TypeError):
        return ""


def config_files(arguments: Sequence[str]) -> list[Path]:
    """Return the files given as ``--config_file`` (one, or a list in brackets) on a command line."""
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--config_file":
            value = value or (arguments[number + 1] if number + 1 < len(arguments) else "")
            return [Path(part.strip(" '\"")) for part in value.strip("[]()").split(",")]
    return []


def output_folder(root: str | Path, name: str) -> str:
    """Return the folder that a bundle's configuration writes to by default, without ``output_dir``.

    As usual in MONAI, it is a folder of the bundle. For a bundle of this package it is ``metakd_NAME`` in the current
    folder, because a training would overwrite the weights that come with the package.

    Args:
        root: the bundle's folder.
        name: of the folder in it.
    """
    shipped = Path(root).resolve().parent in PLACES
    return str(Path.cwd() / f"metakd_{name}") if shipped else f"{root}/{name}"


def copy_bundle(target: Path, name: str = SEGMENTATION_BUNDLE, overwrite: bool = False) -> None:
    """Copy a bundle of this package to a folder of the user's, whole or not at all.

    Data, results and checkpoints in the bundle of a source checkout are not copied.

    Args:
        target: the new folder.
        name: of the bundle.
        overwrite: replace the folder, if it holds no other files than a bundle's.

    Raises:
        UserError: for an unknown name, a folder that may not be replaced, and one that cannot be written.
    """
    source, target = shipped_bundle(name), target.resolve()
    files = [path.relative_to(source) for pattern in FILES for path in source.glob(pattern) if path.is_file()]
    check_replaceable(target, files, overwrite)
    temporary, old = (target.with_name(f".{os.getpid()}.{target.name}{end}") for end in ("", ".old"))
    try:
        for file in files:
            (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, temporary / file)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise UserError(f"{target}: cannot be written ({error.strerror or error}); expected a writable place") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def check_replaceable(target: Path, files: Sequence[Path], overwrite: bool) -> None:
    """Refuse to replace a folder unasked, or one that holds other files than ``files``."""
    if not target.exists():
        return
    if not overwrite:
        raise UserError(f"{target}: exists already; expected a new folder, or --overwrite")
    if not target.is_dir():
        raise UserError(f"{target}: is a file; expected a folder")
    found = (path.relative_to(target) for path in target.rglob("*") if path.is_symlink() or not path.is_dir())
    other = next((path for path in found if path not in files), None)
    if other is not None:
        raise UserError(f"{target}: holds {other}, which is not the bundle's; expected a folder without other files")
