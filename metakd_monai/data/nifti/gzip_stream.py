"""Read the bytes of a file, plain or gzipped, to the end and verify them."""

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
RESERVED = 0xE0  # reserved flags of a gzip header, which isal does not check
CHUNK = 1 << 17  # bytes read at once
MOST = 1 << 20  # bytes decompressed at once: a chunk of zeros decompresses to a thousand times its size
START = 1024  # bytes that contain the header of any format


class DamageError(Exception):
    """A file cannot be read; the message says why."""


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a file, decompressed if it is gzipped; fewer if it is shorter.

    Raises:
        DamageError: if it is not a regular file (a pipe would never end), or a gzip file damaged at its start.
        OSError: if it cannot be opened.
    """
    with open_file(path) as file:
        chunk = file.read(CHUNK)
        if chunk[:2] != GZIP:
            return chunk[:size]
        return unpack(begin_member(chunk), chunk, size)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file; raises DamageError for a folder, pipe or device, OSError if it cannot be opened."""
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError
        raise DamageError("not a file")
    return path.open("rb")


def read_to_end(path: Path, size: int) -> np.ndarray:
    """Return all bytes of a file, decompressed if it is gzipped; checksum and length of every member are verified.

    Args:
        path: of the file.
        size: how many bytes it must hold after decompression; no more are ever decompressed.

    Returns:
        ``(size,)`` uint8.

    Raises:
        DamageError: if it holds fewer or more, or is damaged.
        OSError: if it cannot be read.
    """
    content, filled = np.empty(size, np.uint8), 0
    for part in read_parts(path, size):
        content[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return content


def verify(path: Path, size: int) -> None:
    """Read a file to its end without keeping it; otherwise like :func:`read_to_end`."""
    for _ in read_parts(path, size):
        pass


def read_parts(path: Path, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks; see :func:`read_to_end`."""
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
    """Yield the given first chunk, then the rest of a file."""
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
    """Return a decompressor for a gzip member with this beginning; raises DamageError for invalid flags."""
    if packed[3:4] and packed[3] & RESERVED:
        raise DamageError(f"gzip: flags {packed[3]:#x}")
    return isal_zlib.decompressobj(wbits=WITH_GZIP_HEADER)


def unpack(member: isal_zlib.Decompress, packed: bytes, most: int) -> bytes:
    """Decompress at most ``most`` bytes of a gzip member; raises DamageError if it is damaged."""
    try:
        return member.decompress(packed, most)
    except IsalError as error:  # type: ignore[misc]  # declared as if it were an instance
        reason = re.sub(r"^Error -?\d+ ", "", str(error))
        raise DamageError(f"gzip: {reason}") from None


def skip_zeros(file: BinaryIO, packed: bytes) -> bytes:
    """Return what follows the zero bytes that may pad a gzip file, in a chunk and the rest of the file."""
    packed = packed or file.read(CHUNK)
    while packed and not packed.strip(b"\0"):
        packed = file.read(CHUNK)
    return packed
