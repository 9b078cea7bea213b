"""Servers of DICOM on free ports of the loopback, for as long as something is tried with them."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

CONFIGURATION = Path(__file__).resolve().parents[1] / "examples" / "pacs" / "orthanc.json"
LONGEST = 60.0  # seconds that a start may take


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(command: Sequence[str | Path | int], port: int, log: Path) -> Iterator[None]:
    """Let a server run, from when its port answers on; raises RuntimeError when it ends, or does not answer."""
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output)
    try:
        end = time.monotonic() + LONGEST
        while not answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} does not answer: {log.read_text()[-1000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Tell whether something listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def orthanc(folder: Path, program: str = "Orthanc") -> Iterator[tuple[int, int]]:
    """Run Orthanc as examples/pacs configures it, its store in a folder; yield its ports of HTTP and of DICOM."""
    http, dicom = free_port(), free_port()
    settings = json.loads(CONFIGURATION.read_text(encoding="utf-8"))
    settings |= dict.fromkeys(("StorageDirectory", "IndexDirectory"), str(folder / "storage"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps({**settings, "HttpPort": http, "DicomPort": dicom}))
    with server([program, folder / "orthanc.json"], http, folder / "orthanc.log"):
        yield http, dicom


def fetch(port: int, path: str) -> bytes:
    """Return what Orthanc answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return bytes(answer.read())
