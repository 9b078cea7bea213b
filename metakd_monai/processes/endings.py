"""How a command ends: by itself or by a signal, with one line for the user, and with all that it started."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from _thread import start_new_thread
from collections.abc import Iterator
from multiprocessing import parent_process
from types import FrameType
from typing import Any, TextIO

from metakd_monai.errors import explain, find_cause, find_user_error, in_one_line, is_out_of_memory, shorten

ALL_DONE, SOME_FAILED, UNUSABLE, UNFORESEEN, SIGNALLED = 0, 1, 2, 3, 128  # exit statuses; the last plus the signal's
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
GRACE_SECONDS = 20.0  # to tidy up after a signal
ORPHAN_SECONDS = 2.0  # the same, for a process whose parent has ended
DEBUG = "METAKD_DEBUG"  # environment variable: show tracebacks


class Stopped(BaseException):
    """A signal asked this process to end; ``number`` is the signal's. Not a KeyboardInterrupt, which click catches."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class SignalListener:
    """Raises :class:`Stopped` in the main thread at the first signal that asks to end; later ones change nothing.

    Where Python can only print an exception (in a callback of the import system, in ``__del__``), it is raised again
    later. A process that still does not end is ended after :data:`GRACE_SECONDS`.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def open(self) -> None:
        """Listen from now on; signals that are already ignored, as under nohup, stay ignored."""
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.receive)
        sys.unraisablehook = self.raise_lost

    def close(self) -> None:
        """Ignore signals: the process is ending."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal."""
        if self.received is None:
            self.received = number
            later(GRACE_SECONDS, os._exit, SIGNALLED + number)
            raise Stopped(number)

    def raise_lost(self, lost: Any) -> None:
        """Raise a lost :class:`Stopped` again; print other exceptions that nobody can catch, as Python does."""
        if not isinstance(lost.exc_value, Stopped):
            sys.__unraisablehook__(lost)
            return
        self.received = None
        later(0.05, os.kill, os.getpid(), lost.exc_value.number)  # not from here, where it would be lost again


def later(seconds: float, what: Any, *arguments: Any) -> None:
    """Call something after a while, unless the process has ended by then.

    Not by a thread of threading: a signal may arrive while its lock is held.
    """

    def wait() -> None:
        time.sleep(seconds)
        what(*arguments)

    start_new_thread(wait, ())


@contextlib.contextmanager
def one_line_endings() -> Iterator[None]:
    """Run a program that handles signals, has all standard streams, and reports what ended it in one line."""
    open_streams()
    listener = SignalListener()
    listener.open()
    status = None
    try:
        yield
    except (Exception, KeyboardInterrupt, Stopped) as error:
        status = report_end(error)
    except SystemExit as end:  # click's way to end a command, also one that failed
        status = int(end.code or ALL_DONE)
    finally:
        listener.close()
        close_streams()
        if listener.received is not None:
            leave(SIGNALLED + listener.received)
    if status is not None:
        leave(status)
        sys.exit(status)


def leave(status: int) -> None:
    """End this process at once if threads are still at work, such as those that fill MONAI's caches.

    Otherwise Python would shut down while they run, and a call from their C++ code into Python aborts the process.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        os._exit(status)


def report_end(error: BaseException, resumes: bool = False) -> int:
    """Say on standard error what ended a command; return the exit status.

    Args:
        error: what ended it.
        resumes: whether the command continues where it stopped when started again.
    """
    line, status = describe(error)
    if isinstance(error, (KeyboardInterrupt, Stopped)) and resumes:
        line = f"{line}; start it again to go on"
    with contextlib.suppress(OSError, ValueError):  # standard error may be what cannot be written
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        if line is not None:
            sys.stderr.write(f"metakd: {shorten(line)}\n")
            sys.stderr.flush()
    return status


def describe(error: BaseException) -> tuple[str | None, int]:
    """Return what to say of an error that ended a command, None for nothing, and the exit status."""
    if isinstance(error, (KeyboardInterrupt, Stopped)):
        number = getattr(error, "number", signal.SIGINT)
        by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        return f"stopped by {by}; what is finished is kept", SIGNALLED + number
    known = find_user_error(error)
    if known is not None:
        return str(known), UNUSABLE
    error = find_cause(error)
    if isinstance(error, BrokenPipeError):  # the reader of the output has closed it
        return None, SOME_FAILED
    if is_out_of_memory(error):
        return explain(error), UNFORESEEN
    if isinstance(error, OSError) and error.strerror:
        place = "standard output or a file" if error.filename is None else in_one_line(error.filename)
        return f"{place}: cannot be used ({error.strerror}); expected a file or folder that can", UNUSABLE
    if isinstance(error, ValueError) and "null" in str(error) and "embedded" in str(error):
        return "a name with a NUL character found; expected names of files and folders", UNUSABLE
    return f"internal error: {explain(error)} (please report it; {DEBUG}=1 shows where)", UNFORESEEN


def open_streams() -> None:
    """Replace closed standard streams by the null device, and let the others accept any text.

    Otherwise the next file opened would become standard error, and messages would be written into it.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid text


def close_streams() -> None:
    """Flush the standard streams; output that cannot be written is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            drop(stream)


def drop(stream: TextIO) -> None:
    """Send the rest of a stream to the null device, so that Python does not complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def end_with_parent() -> None:
    """End this process when its parent ends, in whatever way; for processes of multiprocessing.

    It gets SIGTERM first, to clean up.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        later(ORPHAN_SECONDS, os._exit, SIGNALLED + signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    start_new_thread(watch, ())
