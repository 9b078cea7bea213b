"""What goes wrong, in one line."""

from __future__ import annotations

OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not create a primitive",
    "bad_alloc",
    "failed to map segment",
)
LONGEST_LINE = 500  # letters of a message


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one line that says where, what and what was expected."""


def find_user_error(error: BaseException | None) -> UserError | None:
    """Return the UserError that an exception was raised from, if any; a chain that bites its tail is followed once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def in_one_line(reason: object, longest: int = 200) -> str:
    """Return an error's words, as far as ``longest`` characters, in one line: for the message of a UserError."""
    return " ".join(str(reason).split())[:longest]


def shorten(line: str, longest: int = LONGEST_LINE) -> str:
    """Return a line without its middle where it is longer: what was given may be of any length."""
    return line if len(line) <= longest else f"{line[: longest // 2]} [...] {line[-longest // 2 :]}"


def find_cause(error: BaseException) -> BaseException:
    """Return what an exception was raised from in the first place: MONAI's Compose wraps what a transform raises."""
    seen: set[int] = set()
    while error.__cause__ is not None and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__
    return error


def explain(error: BaseException) -> str:
    """Return what went wrong in one line: the UserError that it was raised from, or else the first cause."""
    known = find_user_error(error)
    if known is not None:
        return str(known)
    error = find_cause(error)
    words = f"{type(error).__name__}: {in_one_line(error, 300)}".removesuffix(": ")
    if is_out_of_memory(error):
        return f"out of memory ({words}); expected more memory, fewer --jobs or smaller images"
    return words


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a device or the process ran out of memory."""
    if isinstance(error, MemoryError):
        return True
    known = isinstance(error, (RuntimeError, OSError, ImportError))
    return known and any(words in str(error).lower() for words in OUT_OF_MEMORY)
