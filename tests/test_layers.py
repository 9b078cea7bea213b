"""Imports run downhill, and the package never imports bundles, scripts or tests."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "metakd_monai"
FLOORS = [
    {"__init__", "vocabulary"},
    {"endings", "startup", "temporaries"},
    {"equations", "years", "files", "memory", "nifti", "cases", "data", "workers", "shipped"}
    | {"spreadsheets", "fingerprint"},
    {"networks", "losses", "transforms", "postprocessing", "simulate", "preview", "scores", "datalists"}
    | {"expectations"}
    | {"avmnist", "adni"},
    {"bundle", "submission", "simulation"},
    {"inferers", "weights"},
    {"handlers", "trainer", "exports", "classification", "uncertainty"},
    {"predict"},
    {"benchmark", "cohort"},
    {"cli"},
    {"__main__"},
]
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            names = [node.module or ""]
            if node.module == "metakd_monai":
                names = [f"metakd_monai.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        assert not any(name.split(".")[0] in ("bundles", "scripts", "tests") for name in names)
        modules |= {name.split(".")[1] for name in names if name.startswith("metakd_monai.")}
    return {name if name in LEVEL else "__init__" for name in modules}


def room(path: Path) -> str:
    """Name the module or sub-package of a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of_room(name: str) -> set[str]:
    return set().union(*(imported(path) for path in MODULES if room(path) == name))


def test_every_module_has_a_floor():
    assert {room(path) for path in MODULES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downhill(path):
    mine = room(path)
    assert {name for name in imported(path) if LEVEL[name] > LEVEL[mine]} == set()
    for name in imported(path) - {mine}:
        assert mine not in imports_of_room(name), f"{mine} and {name} import each other"
