"""Names of cases. Results are named after them: only here does text become part of a path."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from metakd_monai.errors import UserError

OWN_SUFFIXES = ("_probabilities", "_uncertainty")  # endings of maps beside a mask; no case name may end like this
# The longest name written is that of a temporary file: two points and a process id, the name, the longest ending.
LONGEST = 255 - len(".4194304.") - len("_probabilities.nii.gz")  # bytes
FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control, surrogate, line and paragraph separator
UNNAMED = "unnamed"


def check_case_id(case_id: object, where: str = "case id") -> str:
    """Return a case's name if it can name results.

    Args:
        case_id: the name.
        where: origin of the name, for messages.

    Raises:
        UserError: for a name that is not text, is empty, begins with a dot, contains a path separator, a control
            character or invalid UTF-8, ends like a map beside a mask, or is too long for a file system.
    """
    problem = find_problem(case_id)
    if problem:
        shown = repr(case_id)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise UserError(f"{where}: {shown.encode('ascii', 'backslashreplace').decode()} {problem}")
    return str(case_id)


def find_problem(case_id: object) -> str | None:
    """Return what is wrong with a case's name, or None."""
    if not isinstance(case_id, str):
        return "found; expected text"
    if not case_id.strip():
        return "found; expected a name that is not empty"
    bad = [letter for letter in case_id if letter in "/\\" or unicodedata.category(letter) in FORBIDDEN]
    if bad:
        return f"holds {bad[0]!a}; expected no path separator, no control character, and UTF-8"
    if case_id.startswith("."):
        return "begins with a dot; expected another character"
    if len(case_id.encode()) > LONGEST:
        return f"has {len(case_id.encode())} bytes; expected at most {LONGEST}"
    if case_id.endswith(OWN_SUFFIXES):
        return f"ends like a map beside a mask; expected no name that ends in {' or '.join(OWN_SUFFIXES)}"
    return None


def safe_case_id(text: object) -> str:
    """Turn any text, such as DICOM's PatientID ``12/345``, into a valid case name, see :func:`check_case_id`.

    A valid name is unchanged. Otherwise invalid characters become ``_``, and a hash of the whole text follows, so that
    names stay distinct. An empty text becomes ``unnamed``.
    """
    given = "" if text is None else str(text).strip()
    if not given:
        return UNNAMED
    if find_problem(given) is None:
        return given
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    plain = re.sub(r"[^\w.-]+", "_", given.encode("utf-8", "replace").decode()).strip("._")
    short = plain.encode()[: LONGEST - len(digest) - 1].decode(errors="ignore")
    return f"{short}_{digest}" if short else f"{UNNAMED}_{digest}"
