"""``python -m metakd_monai`` is ``metakd``."""

from metakd_monai.cli import main
from metakd_monai.cli.base import OWN_PROCESS


def start() -> None:
    """Run the command line as a program."""
    main(obj=OWN_PROCESS)


if __name__ == "__main__":
    start()
