"""Programs of others that judge, send and keep DICOM: Debian's dicom3tools, dcmtk and orthanc, PyPI's dcmqi."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

PACKAGES = {
    **dict.fromkeys(("dciodvfy", "dcentvfy"), "Debian's dicom3tools"),
    **dict.fromkeys(("storescu", "storescp"), "Debian's dcmtk"),
    **dict.fromkeys(("segimage2itkimage", "tid1500reader"), "PyPI's dcmqi"),
    "Orthanc": "Debian's orthanc and orthanc-dicomweb",
}


def tool(name: str) -> str:
    """Return where a program is; skip the test, and say what to install, where it is not."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: {PACKAGES[name]}")
    return found


def said(*command) -> str:
    """Run a program; return all that it says, which is what those of dicom3tools are judged by."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr


def free_port() -> int:
    """Return a port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(command: list, port: int, log: Path) -> Iterator[None]:
    """Let a server run, from when its port answers on."""
    with open(log, "w") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()[-1000:]
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, int]]:
    """Run Orthanc as examples/pacs configures it; yield its ports of HTTP and of DICOM."""
    program, http, dicom = tool("Orthanc"), free_port(), free_port()
    settings = json.loads((REPOSITORY / "examples" / "pacs" / "orthanc.json").read_text())
    settings |= dict.fromkeys(("StorageDirectory", "IndexDirectory"), str(folder / "storage"))
    (folder / "orthanc.json").write_text(json.dumps({**settings, "HttpPort": http, "DicomPort": dicom}))
    with server([program, folder / "orthanc.json"], http, folder / "orthanc.log"):
        yield http, dicom


def fetch(port: int, path: str) -> bytes:
    """Return what Orthanc answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read()
