"""The documentation: the site builds without a network, the README's commands run, numbers are those of files."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from metakd_monai.apps.simulation.toy import simulate_cohort

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PAGES += sorted(REPOSITORY.glob("bundles/*/docs/README.md"))
MOST_WORDS = 1500
README_LINES = 100
SITE_EXTRA = ("mkdocs", "material", "mkdocstrings", "mkdocs_awesome_nav", "latex2mathml", "nbformat")
SMALL = ["--network_def#channels", "[4,8,16]", "--device", "cpu", "--roi_size", "[16,16,16]", "--num_workers", "0"]
BRIEF = ["--max_iterations", "2", "--meta_interval", "2", "--val_interval", "2", "--checkpoint_interval", "2"]
UNSENT = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nobody answers there


def need(*modules: str) -> None:
    """Skip a test, and say so, where the extra docs is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs pip install -e '.[docs]': {', '.join(missing)}")


def words_of(text: str) -> int:
    """Count the words of a page: what has a letter, tables and code among it."""
    return sum(bool(re.search("[A-Za-z]", word)) for word in text.split())


def shell_blocks(text: str) -> list[str]:
    """Return the commands of a page's Bash blocks, without comments, each on one line."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [stripped for line in lines if (stripped := re.sub(r"\s+# .*$", "", line).strip())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_page_is_long(page):
    assert words_of(page.read_text(encoding="utf-8")) <= MOST_WORDS


def test_the_readme_is_short_and_says_at_once_how_the_weights_were_trained():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= README_LINES
    first = " ".join(lines[:12])
    assert all(said in first for said in ("Research use only", "28 real gliomas", "simulated", "alpha 0.1"))


def test_links_of_the_readme_lead_somewhere():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith("http")]
    assert len(links) > 15
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_pages_that_the_code_names_are_there():
    names = {path.name for path in (REPOSITORY / "docs").rglob("*.md")}
    sources = [*(REPOSITORY / "metakd_monai").rglob("*.py"), *(REPOSITORY / "scripts").rglob("*.*")]
    named = {name for path in sources if path.suffix in (".py", ".sh") for name in pages_named(path)}
    assert "model_card.md" in named
    assert named <= names


def pages_named(path: Path) -> list[str]:
    return re.findall(r"\bdocs/(?:[\w-]+/)*([\w-]+\.md)", path.read_text(encoding="utf-8"))


def test_numbers_are_those_of_the_files_they_come_from():
    command = [sys.executable, REPOSITORY / "scripts" / "docs" / "fill_numbers.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_s_commands_run(tmp_path):
    """All but pip, as they stand: on a simulated case and cohort, and with settings that make the training brief."""
    simulate_cohort(tmp_path / "CASE", cases=1, seed=3, shape=(24, 28, 24), spacing=6.0, progress=False)
    simulate_cohort(tmp_path / "BRATS_FOLDER", cases=6, seed=4, shape=(24, 28, 24), spacing=6.0, progress=False)
    commands = shell_blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    run = [command for command in commands if not command.startswith("pip ")]
    assert [command.split()[0] for command in run] == ["metakd"] * 3 + ["python"]
    for command in run:
        more = shlex.join([*SMALL, *BRIEF]) if "run training" in command else "--device cpu"
        done = in_shell(f"{command} {more}", tmp_path)
        assert done.returncode == 0, command + done.stdout[-2000:] + done.stderr[-2000:]
    assert {path.parent.name for path in tmp_path.glob("*/Simulated_000.nii.gz")} == {"OUT", "FEWER", "MAP"}
    assert (tmp_path / "MAP" / "Simulated_000_uncertainty.nii.gz").is_file()
    assert (tmp_path / "RUN" / "model.pt").is_file()


def in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in Bash, where ``metakd`` and ``python`` are those of this checkout."""
    python = shlex.quote(sys.executable)
    functions = f'metakd() {{ {python} -m metakd_monai "$@"; }}; python() {{ {python} "$@"; }}'
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        ["bash", "-c", f"{functions}; {command}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_builds_strictly_and_loads_nothing_from_the_network(tmp_path):
    need(*SITE_EXTRA)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**UNSENT, "PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    pages = {str(page.relative_to(tmp_path)): page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")}
    loaded = re.compile(r'<(?:script|img|link)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]*"')
    found = [name for name, page in pages.items() if any("canonical" not in tag for tag in loaded.findall(page))]
    assert found == []
    assert "<math" in pages["explanation/method.html"]
    assert re.search("arithmatex|:func:|:class:", "".join(pages.values())) is None
    assert "--save-uncertainty" in pages["reference/commands/predict.html"]
    assert "115000" in pages["reference/settings.html"]
    assert "MetaKDTrainer" in pages["reference/python/engines.html"]


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path, monkeypatch):
    need("nbclient", "nbformat", "ipykernel")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(REPOSITORY / "docs" / "tutorial.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert sum("<iframe srcdoc=" in text for text in shown) == 1  # the viewer
    assert (tmp_path / "tutorial" / "table" / "heatmap.png").is_file()
    assert (tmp_path / "tutorial" / "run" / "model.pt").is_file()
