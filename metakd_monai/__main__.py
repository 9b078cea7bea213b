"""``python -m metakd_monai`` is ``metakd``."""

from metakd_monai.endings import told


def start() -> None:
    """Run the command line as a program."""
    with told():
        from metakd_monai.cli import main
        from metakd_monai.cli.base import OWN_PROCESS

        main(obj=OWN_PROCESS)


if __name__ == "__main__":
    start()
