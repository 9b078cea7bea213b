"""The house: imports run downhill, room by room; files and functions stay small; every name stands once."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "metakd_monai"
LONGEST_FILE, LONGEST_FUNCTION = 250, 40  # lines; of a function without its docstring
FLOORS = [
    {"__init__", "errors", "vocabulary", "equations"},
    {"data", "processes"},
    {"networks", "losses", "transforms", "metrics"},
    {"inferers", "bundle"},
    {"weights", "handlers"},
    {"engines"},
    {"apps.adni", "apps.avmnist", "apps.classification", "apps.evaluate", "apps.predict"} | {"apps.simulation"},
    {"apps.arena", "apps.benchmark", "apps.calibration", "apps.cohort", "apps.paper", "apps.raw", "apps.report"}
    | {"apps.dicom_results", "apps.study", "apps.submission"},
    {"apps.examination"},
    {"cli"},
    {"__main__"},
]
SCRIPTS = {"scripts", *(path.stem for path in (ROOT / "scripts").rglob("*") if path.is_dir() or path.suffix == ".py")}
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "bundles").glob("*/docs/*.md"),
    *(ROOT / "examples").rglob("*.md"),
    *(path for path in (ROOT / "scripts").rglob("*") if path.suffix in (".md", ".py", ".sh")),
    *(ROOT / name for name in ("setup.cfg", "setup.py", "pyproject.toml", ".ci/run")),
]
OF_THE_ZIP = {"scripts/metakd_monai"}  # where the Model Zoo's bundle has the package
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def room(parts: tuple[str, ...] | list[str]) -> str:
    """Name the room of a module: a module at the root, a folder, or a folder of apps."""
    if parts[0] == "apps":
        return "__init__" if parts[1:] in ((), ("__init__.py",)) else ".".join(parts[:2])
    return parts[0].removesuffix(".py")


def room_of(path: Path) -> str:
    return room(path.relative_to(PACKAGE).parts)


def imported(path: Path) -> set[str]:
    """Return the rooms that a module imports from, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        assert not any(name.split(".")[0] in ("bundles", "scripts", "tests") for name in names)
        modules |= {tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == "metakd_monai"}
    return {room(parts) if parts else "__init__" for parts in modules}


def modules_imported(path: Path) -> set[Path]:
    """Return the files that a module's imports of this package lead to."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "metakd_monai":
            place = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            found |= {place.with_suffix(".py"), place / "__init__.py", *(place / f"{a.name}.py" for a in node.names)}
    return {file for file in found if file.is_file()}


def imports_of_room(name: str) -> set[str]:
    return set().union(*(imported(path) for path in MODULES if room_of(path) == name))


def functions(path: Path) -> list[tuple[str, int]]:
    """Return each function's name and how many lines it has without its docstring."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            text = ast.get_docstring(node) is not None
            docstring = first.end_lineno - first.lineno + 1 if text else 0
            found.append((node.name, node.end_lineno - node.lineno + 1 - docstring))
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_downhill(path):
    mine = room_of(path)
    assert {name for name in imported(path) if LEVEL[name] > LEVEL[mine]} == set()
    for name in imported(path) - {mine}:
        assert mine not in imports_of_room(name), f"{mine} and {name} import each other"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_small_and_say_their_job(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module's docstring says its one job"
    assert len(text.splitlines()) <= LONGEST_FILE
    assert [name for name, lines in functions(path) if lines > LONGEST_FUNCTION] == []


def test_no_two_modules_have_one_name():
    names = Counter(path.stem for path in MODULES if not path.stem.startswith("__"))
    assert [name for name, times in names.items() if times > 1] == []


def loads_from_scripts(text: str) -> list[str]:
    """Return what a test does to get at code in scripts/: imports, additions to the search path, files run in it."""
    tree = ast.parse(text)
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        function, whole = ast.unparse(call.func), ast.unparse(call)
        if function.endswith("import_module"):
            names.append(whole.split("(")[1].strip("'\")"))
        extends = function.endswith(("path.insert", "path.append", "path.extend", "syspath_prepend"))
        if (extends and "script" in whole.lower()) or function.endswith(("run_path", "spec_from_file_location")):
            names.append(f"scripts: {whole}")
    return [name for name in names if re.split(r"\W", name)[0] in SCRIPTS]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_tests_import_nothing_from_scripts(path):
    assert loads_from_scripts(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "from publish import publish",
        "import scripts.weights.publish",
        "def test():\n    from verify_bundle import run_checks",
        "import importlib\nimportlib.import_module('verify_bundle')",
        "sys.path.append(str(REPOSITORY / 'scripts'))",
        "def test(monkeypatch):\n    monkeypatch.syspath_prepend(SCRIPTS)",
        "import runpy\nrunpy.run_path('scripts/faults.py')",
    ],
)
def test_what_a_test_gets_from_scripts_is_seen(text):
    assert loads_from_scripts(text) != []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_scripts_that_are_there(path):
    named = re.findall(r"(?<![\w/])(?:\./)?(scripts/[\w./*-]*\w)", path.read_text(encoding="utf-8"))
    assert [name for name in named if name not in OF_THE_ZIP and not any(ROOT.glob(name))] == []
