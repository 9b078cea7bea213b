import subprocess
import sys

import click
import monai  # noqa: F401  # as a program has it that calls a command

from metakd_monai.cli.startup import NEEDLESS, OWN_PROCESS, lean_imports

PROGRAM = """
import sys
import click
from metakd_monai.cli.startup import NEEDLESS, OWN_PROCESS, lean_imports
with lean_imports(click.Context(click.Command("predict"), obj=OWN_PROCESS)):
    import metakd_monai.cohort
print(*[name for name in NEEDLESS if name in sys.modules])
import ignite
print(ignite.__name__)
"""


def test_a_command_of_its_own_process_does_without_what_it_does_not_need_and_can_have_it_later():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["", "ignite"]


def test_a_command_called_by_another_program_leaves_its_modules_alone(monkeypatch):
    for obj, loaded in ((None, False), (OWN_PROCESS, True)):
        with monkeypatch.context() as patch:
            if not loaded:
                patch.delitem(sys.modules, "monai")
            with lean_imports(click.Context(click.Command("predict"), obj=obj)):
                assert not [name for name in NEEDLESS if name in sys.modules and sys.modules[name] is None]
