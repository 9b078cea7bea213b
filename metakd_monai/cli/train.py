"""``metakd train``: a bundle's training by MONAI, with checked names and one-line errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import OWN_PROCESS, choose_device
from metakd_monai.cli.workflow import run_workflow
from metakd_monai.data.files import read_json
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.processes.endings import SOME_FAILED

CONFIGS = "configs"
TARGET = "_target_"
LEAST = {  # whole numbers
    **dict.fromkeys(("max_iterations", "batch_size", "meta_interval", "val_interval", "checkpoint_interval"), 1),
    **dict.fromkeys(("meta_cases", "meta_batch_size", "accumulation_steps", "subsets_per_sample"), 1),
    **dict.fromkeys(("num_workers", "cache_num", "seed", "fold", "single_modality_passes"), 0),
    **dict.fromkeys(("warm_up", "ramp", "alpha_warm_up"), 0),
}
FINITE = ("learning_rate", "alpha", "iwv_lr")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--config_file",
    "--config-file",
    default="train.json",
    show_default=True,
    help="A bundle's configuration, or several as MONAI writes them: \"['a.json','b.json']\".",
)
@click.option(
    "--overlay",
    multiple=True,
    help="Changes the configurations before it: paper.json, experimental.json (goes first), train_simulated.json,"
    " multi_gpu_train.json, methods/lckd.json and others of docs/explanation/methods.md, or your own file.",
)
@click.option("--run_id", "--run-id", default="run", show_default=True, help="Expression of the configuration to run.")
@click.argument("settings", nargs=-1, type=click.UNPROCESSED, metavar="[--NAME VALUE]...")
@click.pass_context
def train(
    context: click.Context, config_file: str, overlay: tuple[str, ...], run_id: str, settings: tuple[str, ...]
) -> None:
    """Train a network, as python -m monai.bundle run does, with checked names and errors in one line.

    Names are those of the configuration, nested ones with #, as --train#trainer#amp_dtype: --dataset_dir (case
    folders with label maps), --output_dir, --max_iterations, --batch_size, --roi_size, --learning_rate, --device,
    --num_workers, --datalist, --resume and all others at the top of train.json; with --overlay experimental.json also
    switches for research and speed: --dropping_law, --warm_up, --lr_schedule, --compile, --cache_dir and others. Values
    are read as MONAI reads them. Configurations without a folder are the bundle's.

    Start a stopped run again, and it continues from OUTPUT_DIR/checkpoint.pt. On several GPUs:
    torchrun --nproc_per_node 2 -m metakd_monai train --overlay multi_gpu_train.json ...

    A configuration is a program: run it only if you trust its source.

    Exit status: 0 done, 1 failed, 2 unusable arguments, 130 and 143 stopped by Ctrl-C and SIGTERM.
    """
    overrides = read_settings(settings)
    files = check_training((*split_list(config_file), *overlay), overrides, run_id)
    failure = run_workflow(files, run_id, overrides, context.obj == OWN_PROCESS)
    if failure is not None:
        click.echo(f"metakd: {failure}", err=True)
        context.exit(SOME_FAILED)


def check_training(names: Sequence[str], overrides: dict[str, Any], run_id: str = "run") -> list[str]:
    """Refuse an impossible training before it starts.

    Args:
        names: configurations, each changing the one before; those without a folder are the bundle's.
        overrides: names and values; the bundle's folder is added if it is not among them.
        run_id: which expression is to run.

    Returns:
        The configurations' files.

    Raises:
        UserError: for a file, a name or a number that cannot be used.
    """
    from monai.bundle import ConfigParser

    files = [find_config(name) for name in names]
    parser = ConfigParser()
    try:
        parser.read_config([str(path) for path in files])
    except Exception as error:  # whatever JSON and YAML readers raise
        raise UserError(f"{', '.join(map(str, files))}: unreadable ({in_one_line(error)}); expected JSON") from None
    check_settings({**overrides, run_id: None}, parser.config, find_switches(files[0].resolve().parent))
    check_numbers(overrides)
    if isinstance(device := overrides.get("device", ""), str) and device and device[0] not in "$@":
        choose_device(device)
    root = files[0].resolve().parent.parent
    if "bundle_root" in parser.config and (root / CONFIGS / "metadata.json").is_file():
        overrides.setdefault("bundle_root", str(root))
    return [str(path) for path in files]


def train_method(names: Sequence[str], settings: dict[str, Any]) -> str | None:
    """Train in a separate process, for ``metakd study``; return why it failed, or None.

    Args:
        names: see :func:`check_training`.
        settings: names and values.
    """
    return run_workflow(check_training(names, settings), "run", settings, alone=True)


def split_list(value: str) -> list[str]:
    """Return several names as MONAI writes a list of files, or a single name as it is."""
    return [part.strip(" '\"") for part in value.strip("[]()").split(",") if part.strip(" '\"")]


def find_config(name: str) -> Path:
    """Return an existing configuration, or one in the bundle's folder; raises UserError otherwise."""
    from metakd_monai.bundle.root import bundle_root

    folder = Path(bundle_root()) / CONFIGS
    for place in (Path(name), folder / name):
        if place.is_file():
            return place
    close = get_close_matches(name, sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json")), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"{name}: no such file; {hint}expected a configuration, such as {folder / 'train.json'}")


def read_settings(words: Sequence[str]) -> dict[str, Any]:
    """Read ``--name value`` and ``--name=value``; values as python-fire, which is MONAI's command line, reads them.

    If a name is given twice, the last value counts.

    Raises:
        UserError: for words that are neither, and a name without a value.
    """
    from fire.parser import DefaultParseValue

    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, joined, value = word.partition("=")
        if not name.startswith("--") or name == "--":
            raise UserError(f"{in_one_line(word)}: found; expected --NAME VALUE")
        if not joined:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"{name}: no value found; expected {name} VALUE")
            value = rest.pop(0)
        found[name[2:].replace("-", "_").replace("::", "#")] = DefaultParseValue(value)
    return found


def find_switches(folder: Path) -> dict[str, str]:
    """Return each name at the top of a folder's configurations, and its file; experimental.json goes first."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: (path.name != "experimental.json", path.name)):
        content = read_json(path, "a configuration")
        for name in content if isinstance(content, Mapping) else ():
            if "#" not in name:
                found.setdefault(name, path.name)
    return found


def check_settings(settings: Mapping[str, Any], config: Mapping[str, Any], switches: Mapping[str, str]) -> None:
    """Refuse names that the configuration does not have; MONAI would accept and ignore them.

    A new argument of a component (``network_def#modality_specific_scales``) passes: the component refuses what it does
    not know.

    Args:
        settings: names and values.
        config: what the configurations hold.
        switches: see :func:`find_switches`.

    Raises:
        UserError: naming the closest name, or the overlay that has it.
    """
    for key in settings:
        if key not in config and key in switches:
            raise UserError(f"--{key}: found; expected --overlay {switches[key]} with it")
        here: Any = config
        path = key.split("#")
        for depth, part in enumerate(path):
            known = [str(n) for n in range(len(here))] if isinstance(here, list) else list(here or ())
            if part not in known:
                if depth == len(path) - 1 and TARGET in known:
                    break
                close = get_close_matches(part, known, n=1)
                hint = f"did you mean --{'#'.join([*path[:depth], close[0], *path[depth + 1 :]])}? " if close else ""
                raise UserError(f"--{key}: unknown; {hint}expected a name of the configuration")
            here = here[int(part)] if isinstance(here, list) else here[part]
            here = here if isinstance(here, (Mapping, list)) else {}


def check_numbers(settings: Mapping[str, Any]) -> None:
    """Refuse numbers that make training impossible; expressions (``$...``, ``@...``) are not evaluated.

    Raises:
        UserError: naming the setting.
    """
    for name, value in settings.items():
        if isinstance(value, str) and value.startswith(("$", "@")):
            continue
        whole, finite = LEAST.get(name), name in FINITE
        if whole is not None and (isinstance(value, bool) or not isinstance(value, int) or value < whole):
            raise UserError(f"--{name}: {in_one_line(repr(value))} found; expected a whole number of at least {whole}")
        if finite and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf):
            raise UserError(f"--{name}: {in_one_line(repr(value))} found; expected a finite number, 0 or more")
