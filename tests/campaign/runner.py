"""Each trial in a process and a folder of its own, with limits of time and memory; two at a time."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from campaign.sound import Sound
from campaign.trials import Place, Plan, Trial
from campaign.zygote import PROGRAMS, end_as_python, members_of, redirect

GIB = 2**30
ADDRESSES, LARGEST_FILE = 6 * GIB, 4 * GIB
CACHES = (".ses", "torchinductor_")  # that ONNX Runtime and PyTorch keep among temporaries
PREPARING = 90.0  # seconds that making an input may take
PATIENCE = 5.0  # seconds that children may outlive their command
SPOILT = 97  # status of a trial whose own making failed
OWN = {
    "tmp",
    "home",
    "stdout",
    "stderr",
    "before",
    ".plan",
    "plan",
    "found.json",
    "canary",
    "plan.table.md",
}  # of a trial's folder
Snapshot = dict[str, tuple[int, ...]]


@dataclass
class Outcome:
    """What a trial left.

    Attributes:
        status: exit status, negative for a signal; None where it had to be ended.
        said: stdout and stderr.
        outside: paths that came, went or changed outside the output folder.
        litter: hidden files in the output folder, and what was left in the folder for temporaries.
        orphans: processes that outlived the command.
        canary: code in the input was run.
        memory: largest resident size in GiB.
        found: what an action of the plan found, ``(kind, words)``.
    """

    status: int | None
    seconds: float
    said: str = ""
    outside: list[str] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)
    orphans: int = 0
    canary: bool = False
    memory: float = 0.0
    found: list[tuple[str, str]] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)


class Running:
    """A trial in its process."""

    def __init__(self, trial: Trial, sound: Sound, folder: Path, seconds: float) -> None:
        self.trial, self.seconds = trial, seconds
        self.place = Place(folder / f"{trial.family.replace(' ', '-')}-{trial.number}", sound, trial.rng())
        self.place.work.mkdir(parents=True)
        self.started: float = time.monotonic()
        self.ready = False
        self.pid = os.fork()
        if self.pid == 0:
            end_as_python(be_trial, trial, self.place)

    def poll(self) -> Outcome | None:
        """Return the outcome once there is one."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        now = time.monotonic()
        if not self.ready and (self.place.root / "plan").exists():
            self.ready, self.started = True, now
            plan: Plan = pickle.loads((self.place.root / "plan").read_bytes())
            self.seconds = plan.seconds or self.seconds
        if pid == 0:
            if now - self.started < (self.seconds if self.ready else PREPARING):
                return None
            self.end()
            os.waitpid(self.pid, 0)
            return self.outcome(None, now - self.started, 0.0)
        return self.outcome(os.waitstatus_to_exitcode(status), now - self.started, usage.ru_maxrss * 1024 / GIB)

    def end(self) -> None:
        """Kill the trial's process and its children: the session that it leads."""
        for pid in members_of(self.pid):
            os.kill(pid, signal.SIGKILL)

    def outcome(self, status: int | None, seconds: float, memory: float) -> Outcome:
        """Gather what the trial left."""
        root = self.place.root
        said = "".join((root / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        found = Outcome(status, seconds, said, orphans=self.wait_for_children(), memory=memory)
        if not self.ready:
            found.status = SPOILT if status is not None else None
            return found
        found.plan, before = pickle.loads((root / "plan").read_bytes()), pickle.loads((root / "before").read_bytes())
        found.outside = differences(before, snapshot(root))
        hidden = hidden_in(self.place.work / "out") - hidden_before(before)
        found.litter = sorted(
            [*hidden, *(f"tmp/{path.name}" for path in (root / "tmp").iterdir() if not path.name.startswith(CACHES))]
        )
        found.canary = self.place.canary.exists()
        report = root / "found.json"
        found.found = [tuple(pair) for pair in json.loads(report.read_text())] if report.exists() else []
        return found

    def wait_for_children(self) -> int:
        """Return how many processes outlive the command, and end them."""
        deadline = time.monotonic() + PATIENCE
        while (alive := len(list(members_of(self.pid)))) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.end()
        return alive


def be_trial(trial: Trial, place: Place) -> None:
    """Make the input, note what is there, then be the command. Runs in the trial's own process."""
    os.setsid()
    root = place.root
    for name in ("tmp", "home"):
        (root / name).mkdir()
    redirect(root)
    os.environ.update(TMPDIR=str(root / "tmp"), HOME=str(root / "home"))
    os.chdir(place.work)
    try:
        plan = trial.prepare(place)
        (root / "before").write_bytes(pickle.dumps(snapshot(root)))
        action, plan_file = plan.action, pickle.dumps(without_action(plan))
        (root / ".plan").write_bytes(plan_file)
    except BaseException:
        traceback.print_exc()
        os._exit(SPOILT)
    (root / ".plan").rename(root / "plan")
    if action is not None:
        (root / "found.json").write_text(json.dumps(action()))
        return
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(place.work))]
    PROGRAMS[plan.program](plan.arguments)


def without_action(plan: Plan) -> Plan:
    """Return a plan that can be pickled."""
    from dataclasses import replace

    return replace(plan, action=None)


def snapshot(root: Path) -> Snapshot:
    """Return size, time of change and kind of everything in a trial's folder but its own, links not followed."""
    found: Snapshot = {}
    for entry in entries_below(root):
        name = os.path.relpath(entry.path, root)
        if name.split("/", 1)[0] in OWN:
            continue
        state, is_folder = entry.stat(follow_symlinks=False), entry.is_dir(follow_symlinks=False)
        found[name] = (state.st_mode, state.st_ino, *(() if is_folder else (state.st_size, state.st_mtime_ns)))
    return found


def entries_below(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder, as deep as paths may be long; links are not followed."""
    waiting = [str(root)]
    while waiting:
        try:
            found = list(os.scandir(waiting.pop()))
        except OSError:  # gone, not readable, or a path of more than 4,096 letters
            continue
        yield from found
        waiting += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Return what came, went or changed outside the output folder ``out``."""
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    return sorted(path for path in changed if not path.startswith("a/b/work/out/") and path != "a/b/work/out")


def hidden_in(folder: Path) -> set[str]:
    """Return the hidden files and folders below a folder, relative to it."""
    return {os.path.relpath(entry.path, folder) for entry in entries_below(folder) if entry.name.startswith(".")}


def hidden_before(before: Snapshot) -> set[str]:
    """Return the hidden things that lay in the output folder from the start."""
    inside = "a/b/work/out/"
    return {path[len(inside) :] for path in before if path.startswith(inside)}


def run_trials(
    trials: Sequence[Trial], sound: Sound, folder: Path, jobs: int, seconds: float, keep: bool
) -> Iterator[tuple[Trial, Outcome]]:
    """Run trials, ``jobs`` at a time; the folder of one is removed once its outcome was looked at, unless kept."""
    waiting, running = list(reversed(trials)), list[Running]()
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(Running(waiting.pop(), sound, folder, seconds))
        for one in list(running):
            outcome = one.poll()
            if outcome is None:
                continue
            running.remove(one)
            yield one.trial, outcome
            if not keep:
                remove(one.place.root)
        time.sleep(0.005)


def remove(root: Path) -> None:
    """Remove a trial's folder, whatever permissions it has."""
    subprocess.run(["rm", "-rf", "--", root], check=False, stderr=subprocess.DEVNULL)  # of any depth
