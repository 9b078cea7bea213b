import subprocess
import sys

import monai  # noqa: F401  # as a program has it that calls a command

from metakd_monai.processes.startup import NEEDLESS, lean_imports

PROGRAM = """
import sys
from metakd_monai.processes.startup import NEEDLESS_TO_PREDICT, lean_imports
with lean_imports(needless=NEEDLESS_TO_PREDICT):
    import metakd_monai.apps.cohort
print(*[name for name in NEEDLESS_TO_PREDICT if name in sys.modules])
import ignite
print(ignite.__name__)
"""


def test_a_command_of_its_own_process_does_without_what_it_does_not_need_and_can_have_it_later():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["", "ignite"]


OF_TRAINING = ("bundle.split", "data.datalists", "data.stream", "engines", "handlers", "losses", "apps.simulation")
PREDICT = """
import sys
from click.testing import CliRunner
from metakd_monai.cli import main
arguments = ["predict", sys.argv[1], "-o", sys.argv[2], "--weights", sys.argv[3]]
result = CliRunner().invoke(main, arguments, obj="own process")
print(result.exit_code, *[name for name in sys.modules if name.startswith(tuple(sys.argv[4:]))])
"""


def test_predicting_imports_nothing_of_training(cohort, weights, tmp_path):
    parts = [f"metakd_monai.{name}" for name in OF_TRAINING]
    given = [sys.executable, "-c", PREDICT, str(cohort), str(tmp_path / "out"), str(weights), *parts]
    found = subprocess.run(given, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["0"]


KEPT = """
import sys
import metakd_monai.processes.startup as startup
calls = []
startup.keep_memory = lambda: calls.append(1)
sys.argv = ["metakd", "--version"]
from metakd_monai.__main__ import start
try:
    start()
except SystemExit:
    print(len(calls))
"""


def test_a_command_s_own_process_keeps_its_memory_and_no_other():
    found = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == "1"


def test_a_process_that_is_not_the_commands_own_keeps_its_modules(monkeypatch):
    with lean_imports():  # MONAI is there already
        assert not [name for name in NEEDLESS if name in sys.modules and sys.modules[name] is None]
    monkeypatch.delitem(sys.modules, "monai")
    with lean_imports(wanted=False):
        assert not [name for name in NEEDLESS if name in sys.modules and sys.modules[name] is None]


def test_monai_deploy_a_part_of_monai_needs_what_is_hidden(monkeypatch, tmp_path):
    (tmp_path / "monai" / "deploy").mkdir(parents=True)
    (tmp_path / "monai" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "monai")
    with lean_imports():
        assert not [name for name in NEEDLESS if name in sys.modules and sys.modules[name] is None]
