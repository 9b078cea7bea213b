"""Imports run downhill, and the package never imports bundles, scripts or tests."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "metakd_monai"
FLOORS = [
    {"__init__", "vocabulary"},
    {"equations", "files", "data"},
    {"networks", "losses", "transforms", "simulate", "bundle", "preview"},
    {"inferers", "weights"},
    {"handlers", "trainer"},
    {"predict"},
    {"cli"},
    {"__main__"},
]
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


def test_every_module_has_a_floor():
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(LEVEL)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_imports_run_downhill(path):
    level = LEVEL[path.stem]
    uphill = {name for name in imported(path) if LEVEL[name] > level or (LEVEL[name] == level and path.stem != name)}
    same_floor = {name for name in uphill if LEVEL[name] == level}
    assert uphill - same_floor == set()
    assert not any(path.stem in imported(PACKAGE / f"{name}.py") for name in same_floor), "a cycle on one floor"
