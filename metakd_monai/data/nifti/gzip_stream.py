"""The bytes of a file, plain or gzipped, read to the end and verified."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib  # reads gzip four times as fast as zlib
from isal.igzip_lib import IsalError

GZIP = b"\x1f\x8b"
WITH_GZIP_HEADER = 31  # wbits: header, deflate stream, CRC-32 and length
RESERVED = 0xE0  # flags of a gzip header that mean nothing, and that isal does not look at
CHUNK = 1 << 17  # bytes that are read at once
MOST = 1 << 20  # bytes that are unpacked at once: a chunk of zeros unpacks to a thousand times its size
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
    content, filled = np.empty(size, np.uint8), 0
    for part in read_parts(path, size):
        content[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return content


def verify(path: Path, size: int) -> None:
    """Read a file to its end without keeping it; otherwise as :func:`read_to_end`."""
    for _ in read_parts(path, size):
        pass


def read_parts(path: Path, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file piece by piece; see :func:`read_to_end`."""
    filled = 0
    with open_file(path) as file:
        packed = file.read(CHUNK)
        for part in unpack_members(file, packed) if packed[: len(GZIP)] == GZIP else read_plain(file, packed):
            filled += len(part)
            if filled > size:
                raise DamageError(f"more bytes than the {size} that its header declares")
            yield part
    if filled < size:
        raise DamageError(f"{filled} bytes of the {size} that its header declares")


def read_plain(file: BinaryIO, chunk: bytes) -> Iterator[bytes]:
    """Yield a first chunk and the rest of a file."""
    while chunk:
        yield chunk
        chunk = file.read(CHUNK)


def unpack_members(file: BinaryIO, packed: bytes) -> Iterator[bytes]:
    """Yield the content of all members of a gzip file, given its first chunk; raises DamageError if damaged."""
    member = begin_member(packed)
    while packed:
        yield unpack(member, packed, MOST)
        if member.eof:
            packed = skip_zeros(file, member.unused_data)
            if packed:
                member = begin_member(packed)
        else:
            packed = member.unconsumed_tail or file.read(CHUNK)
    if not member.eof:
        raise DamageError("its gzip stream ends too early")


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
