"""Errors, in one line."""

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
    """Unusable input of the user's; the message is one line: where, what was found, what was expected."""


def find_user_error(error: BaseException | None) -> UserError | None:
    """Return the UserError that an exception was raised from, if any; a circular chain is followed once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def in_one_line(reason: object, longest: int = 200) -> str:
    """Return an error's message in one line of at most ``longest`` characters, for use in a UserError."""
    return " ".join(str(reason).split())[:longest]


def shorten(line: str, longest: int = LONGEST_LINE) -> str:
    """Return a line, shortened in the middle if it is too long: input may have any length."""
    return line if len(line) <= longest else f"{line[: longest // 2]} [...] {line[-longest // 2 :]}"


def find_cause(error: BaseException) -> BaseException:
    """Return the first cause of an exception: MONAI's Compose wraps what a transform raises."""
    seen: set[int] = set()
    while error.__cause__ is not None and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__
    return error


def explain(error: BaseException) -> str:
    """Return in one line what went wrong: the UserError in the chain of causes, else the first cause."""
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
