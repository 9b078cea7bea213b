"""``python -m metakd_monai`` is ``metakd``."""

import signal


def start() -> None:
    """Run the command line as a program."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # no traceback while the code that reports errors in one line is being imported
    from metakd_monai.processes.endings import one_line_endings

    with one_line_endings():
        from metakd_monai.cli import main
        from metakd_monai.cli.base import OWN_PROCESS
        from metakd_monai.processes.startup import keep_memory

        keep_memory()
        main(obj=OWN_PROCESS)


if __name__ == "__main__":
    start()
