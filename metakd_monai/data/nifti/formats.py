"""Recognise the format of a non-NIfTI file by its first bytes, and say what to do with it."""

from __future__ import annotations

from pathlib import Path

from metakd_monai.data.nifti.gzip_stream import START, DamageError, read_start

CONVERT = "convert it with 3D Slicer, ITK or SimpleITK"
UNPACK = "unpack it"
# Offset of the bytes, the bytes, the format, and what to do.
SIGNS = (
    (128, b"DICM", "DICOM", "convert the series with dcm2niix, or metakd predict --raw"),
    (0, b"NRRD", "NRRD", CONVERT),
    (0, b"ObjectType", "MetaImage (.mha, .mhd)", CONVERT),
    (0, b"NDims", "MetaImage (.mha, .mhd)", CONVERT),
    (0, b"\x00\x00\x00\x01", "FreeSurfer MGH (.mgh, .mgz)", "convert it with mri_convert"),
    (0, b"\x89HDF", "HDF5 (MINC 2)", "convert it with mnc2nii"),
    (0, b"CDF", "netCDF (MINC 1)", "convert it with mnc2nii"),
    (0, b"\x93NUMPY", "NumPy (.npy)", "save it with nibabel and its affine"),
    (0, b"PK\x03\x04", "zip", UNPACK),
    (257, b"ustar", "tar", UNPACK),
    (0, b"7z\xbc\xaf", "7-Zip", UNPACK),
    (0, b"BZh", "bzip2", UNPACK),
    (0, b"\xfd7zXZ", "xz", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard", UNPACK),
    (0, b"\x89PNG", "PNG", "use the volume that it was made from"),
    (0, b"\xff\xd8\xff", "JPEG", "use the volume that it was made from"),
    (0, b"II*\x00", "TIFF", CONVERT),
    (0, b"MM\x00*", "TIFF", CONVERT),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with git lfs pull"),
    (0, b"/annex/objects", "a pointer of git-annex", "fetch the file itself with git annex get"),
    (0, b"<!DOCTYPE", "a web page", "download the file again"),
    (0, b"<html", "a web page", "download the file again"),
)
PAIR = "one half of a pair .hdr and .img", "convert it with fslchfiletype NIFTI_GZ or nib-convert"
ANALYZE = "Analyze 7.5", "it does not say which side is left: convert it with a program that knows how it was made"
BY_NAME = {".hdr": PAIR, ".img": PAIR, ".mnc": SIGNS[5][2:], ".mgz": SIGNS[4][2:], ".mgh": SIGNS[4][2:]}
ANALYZE_BYTES = 348  # length of its header, as in NIfTI-1
NUMBERED = {b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"}  # sizeof_hdr


def describe_format(path: Path, start: bytes) -> str | None:
    """Say which format a file has and what to do, as ``NRRD found; ...``; None for an unknown format.

    Args:
        path: of the file.
        start: its first bytes, decompressed if it is a gzip file.
    """
    if start[:4] in NUMBERED and len(start) >= ANALYZE_BYTES:
        magics = {start[344:347], start[4:7]}
        if magics & {b"n+1", b"n+2"}:
            return None
        kind = PAIR if magics & {b"ni1", b"ni2"} else ANALYZE
    else:
        signs = (sign[2:] for sign in SIGNS if start[sign[0] : sign[0] + len(sign[1])] == sign[1])
        found = next(signs, None) or BY_NAME.get(path.suffix.lower())
        if found is None:
            return None
        kind = found
    return f"{kind[0]} found; expected NIfTI, .nii or .nii.gz ({kind[1]})"


def describe_file(path: Path) -> str | None:
    """Say which other format a file has, as :func:`describe_format` does; None also for an unreadable file."""
    try:
        return describe_format(path, read_start(path, START))
    except (DamageError, OSError):
        return None
