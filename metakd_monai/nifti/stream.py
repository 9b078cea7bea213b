"""The bytes of a file, plain or gzipped, to their very end: nothing cut off, nothing changed, nothing left over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib  # reads gzip four times as fast as zlib
from isal.igzip_lib import IsalError

GZIP = b"\x1f\x8b"
WITH_GZIP_HEADER = 31  # wbits: header, deflate stream, CRC-32 and length
RESERVED = 0xE0  # flags of a gzip header that mean nothing, and that isal does not look at
CHUNK = 1 << 20
START = 1024  # bytes in which the header of any format is


class DamageError(Exception):
    """Why a file cannot be read, in words."""


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a file, unpacked where it is gzipped; fewer where there are no more.

    Raises:
        DamageError: when it is no regular file (a pipe would never end), or no sound gzip file from its start on.
        OSError: when it cannot be opened.
    """
    with open_file(path) as file:
        chunk = file.read(CHUNK)
        if chunk[:2] != GZIP:
            return chunk[:size]
        return unpack(begin_member(chunk), chunk, size)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file; raises DamageError for a folder, pipe or device, OSError when it cannot be opened."""
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError
        raise DamageError("not a file")
    return path.open("rb")


def read_to_end(path: Path, size: int) -> np.ndarray:
    """Return all bytes of a file, unpacked where it is gzipped, checksum and length of every member verified.

    Args:
        path: of the file.
        size: how many bytes it must hold when it is unpacked; no more are ever unpacked.

    Returns:
        ``(size,)`` uint8.

    Raises:
        DamageError: when it holds fewer or more, or is damaged.
        OSError: when it cannot be read.
    """
    content = np.empty(size, np.uint8)
    with open_file(path) as file:
        gzipped = file.read(2) == GZIP
        file.seek(0)
        filled = (fill_unpacked if gzipped else fill_plain)(file, content.data)
    if filled < size:
        raise DamageError(f"{filled} bytes of the {size} that its header declares")
    return content


def fill_plain(file: BinaryIO, content: memoryview) -> int:
    """Fill bytes from a file that is not packed and return how many; raises DamageError when the file has more."""
    filled = file.readinto(content)  # type: ignore[attr-defined]
    if file.read(1):
        raise DamageError(f"more bytes than the {len(content)} that its header declares")
    return int(filled)


def fill_unpacked(file: BinaryIO, content: memoryview) -> int:
    """Fill bytes from all members of a gzip file and return how many; raises DamageError, also when there are more."""
    packed = file.read(CHUNK)
    filled, member = 0, begin_member(packed)
    while packed:
        part = unpack(member, packed, len(content) - filled + 1)
        if filled + len(part) > len(content):
            raise DamageError(f"more bytes than the {len(content)} that its header declares")
        content[filled : filled + len(part)] = part
        filled += len(part)
        if member.eof:
            packed = skip_zeros(file, member.unused_data)
            if packed:
                member = begin_member(packed)
        else:
            packed = member.unconsumed_tail or file.read(CHUNK)
    if not member.eof:
        raise DamageError("its gzip stream ends too early")
    return filled


def begin_member(packed: bytes) -> isal_zlib.Decompress:
    """Return what unpacks a gzip member that begins so; raises DamageError for flags that no member has."""
    if packed[3:4] and packed[3] & RESERVED:
        raise DamageError(f"gzip: flags {packed[3]:#x}")
    return isal_zlib.decompressobj(wbits=WITH_GZIP_HEADER)


def unpack(member: isal_zlib.Decompress, packed: bytes, most: int) -> bytes:
    """Unpack up to so many bytes of a gzip member; raises DamageError when it is not sound."""
    try:
        return member.decompress(packed, most)
    except IsalError as error:  # type: ignore[misc]  # declared as if it were an instance
        reason = re.sub(r"^Error -?\d+ ", "", str(error))
        raise DamageError(f"gzip: {reason}") from None


def skip_zeros(file: BinaryIO, packed: bytes) -> bytes:
    """Return what follows after zero bytes, with which a gzip file may be padded, of a chunk and the rest of a file."""
    packed = packed or file.read(CHUNK)
    while packed and not packed.strip(b"\0"):
        packed = file.read(CHUNK)
    return packed
