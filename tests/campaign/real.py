"""Real processes of the command line, and what they leave beside an undisturbed run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaign.runner import entries_below
from campaign.verdicts import TRACEBACK, differs, last_line
from campaign.zygote import members_of

Found = list[tuple[str, str]]
LIMIT = 120.0
COMPARED = (".nii.gz", ".csv", ".zip", ".md", ".pt")
PASSED_OVER = ("timing.csv", "comparison.md")  # hold times
ROOT = Path(__file__).resolve().parents[2]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start ``python -m metakd_monai`` in this session, in a group of its own."""
    return launch([sys.executable, "-m", "metakd_monai", *arguments])


def launch(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a program that finds the package, in this session and in a group of its own."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=os.setpgrp,
    )


def finish(process: subprocess.Popen[str], found: Found, what: str) -> str:
    """Wait for a process; note a hang or a traceback, and return what it said."""
    try:
        said, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        found.append(("hang", f"{what}: {last_line(said or '')}"))
    if TRACEBACK.search(said or ""):
        found.append(("traceback", f"{what}: {last_line(said)}"))
    return said or ""


def run_whole(arguments: Sequence[str], found: Found, what: str) -> None:
    """Run a command that must succeed."""
    process = start(arguments)
    said = finish(process, found, what)
    if process.returncode:
        found.append(("wrong refusal", f"{what}: {process.returncode}: {last_line(said)}"))


def visible(folder: Path) -> dict[str, Path]:
    """Return the files below a folder that are compared."""
    paths = [Path(entry.path) for entry in entries_below(folder) if not entry.is_dir(follow_symlinks=False)]
    return {
        str(path.relative_to(folder)): path
        for path in paths
        if not path.name.startswith(".") and "tensorboard" not in path.parts
    }


def compare_folders(out: Path, reference: Path) -> Found:
    """Find what differs from the undisturbed run, and hidden files."""
    found: Found = []
    ours, theirs = visible(out), visible(reference)
    if ours.keys() != theirs.keys():
        found.append(("wrong success", f"other files: {sorted(ours.keys() ^ theirs.keys())[:4]}"))
    for name in ours.keys() & theirs.keys():
        if name.endswith(COMPARED) and not name.endswith(PASSED_OVER) and (words := unlike(ours[name], theirs[name])):
            found.append(("wrong success", f"{name} {words}"))
    hidden = [entry.name for entry in entries_below(out) if entry.name.startswith(".")]
    return found + ([("leftover", ", ".join(hidden[:4]))] if hidden else [])


def unlike(path: Path, reference: Path) -> str:
    """Say how a file differs; weights are compared tensor by tensor."""
    if path.suffix != ".pt":
        return differs(path, reference) if path.suffix == ".csv" or path.read_bytes() != reference.read_bytes() else ""
    import torch

    ours, theirs = (flatten(torch.load(place, weights_only=True, map_location="cpu")) for place in (path, reference))
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    return "" if same else "has other tensors"


def flatten(state: Any, name: str = "") -> dict[str, Any]:
    """Return the tensors in nested dictionaries and lists, by path; those of ``random`` states are left out."""
    if isinstance(state, dict):
        pairs = state.items()
    elif isinstance(state, (list, tuple)):
        pairs = dict(enumerate(state)).items()
    else:
        return {name: state} if hasattr(state, "shape") else {}
    kept = [(key, part) for key, part in pairs if key != "random"]  # no draw depends on them; loaders move them on
    return {path: value for key, part in kept for path, value in flatten(part, f"{name}.{key}").items()}


def orphans() -> Found:
    """Find processes of this session that are still there some seconds later."""
    deadline = time.monotonic() + 6
    while (others := [pid for pid in members_of(os.getsid(0)) if pid != os.getpid()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [("orphan", f"{len(others)} processes outlived the command")] if others else []
