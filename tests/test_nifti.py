"""NIfTI files that are damaged, odd, or of another format, in families made here."""

import gzip
import io
import random
import struct
import subprocess
import zlib
from concurrent.futures import wait

import nibabel as nib
import numpy as np
import pytest

from metakd_monai.data.memory_limit import check_memory, free_memory
from metakd_monai.data.nifti import (
    check_grid,
    check_image,
    clear_background,
    describe_file,
    read_ahead,
    read_labels,
    read_nifti,
    read_sequences,
    read_voxels,
    sequence_files,
    verify_sequences,
    voxel_ml,
    write_like,
)
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

SHAPE = (12, 14, 10)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
VOXELS = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)


def save(path, voxels=VOXELS, affine=AFFINE, kind=nib.Nifti1Image, header=None):
    nib.save(kind(voxels, affine, header), path)
    return path


def plain(voxels=VOXELS, kind=nib.Nifti1Image):
    return kind(voxels, AFFINE).to_bytes()


def pack(content, level=6, name=""):
    packed = io.BytesIO()
    with gzip.GzipFile(name, "wb", level, packed, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


def with_header_checksum(content):
    """Pack with the CRC-16 of the header that RFC 1952 allows."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    head = b"\x1f\x8b\x08\x02\0\0\0\0\0\xff"
    body = packer.compress(content) + packer.flush()
    tail = struct.pack("<II", zlib.crc32(content), len(content))
    return head + struct.pack("<H", zlib.crc32(head) & 0xFFFF) + body + tail


CONTENT = plain()
STREAMS = {
    "level 6, with a name": pack(CONTENT, name="x.nii"),
    "level 1": pack(CONTENT, 1),
    "stored": pack(CONTENT, 0),
    "two members": pack(CONTENT[:1000]) + pack(CONTENT[1000:]),
    "header checksum": with_header_checksum(CONTENT),
}


def is_sound_for_gzip(path):
    return subprocess.run(["gzip", "-t", path], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("stream", STREAMS)
def test_every_stream_is_read_and_every_cut_is_refused(tmp_path, stream):
    path, packed = tmp_path / "a.nii.gz", STREAMS[stream]
    path.write_bytes(packed)
    assert np.array_equal(read_voxels(path), VOXELS)
    ends = {*range(1, 30), *range(len(packed) - 30, len(packed)), *random.Random(0).sample(range(len(packed)), 30)}
    for end in sorted(ends):
        path.write_bytes(packed[:end])
        with pytest.raises(UserError, match=r"a\.nii\.gz: unreadable or truncated, expected a .*NIfTI file \("):
            read_voxels(path)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_flipped_bit_that_gzip_refuses_is_refused(tmp_path, stream):
    path, packed, draw = tmp_path / "a.nii.gz", STREAMS[stream], random.Random(stream)
    refused, bits = 0, 8 * len(packed)
    for place in (*range(12 * 8), *range(bits - 64, bits, 3), *draw.sample(range(bits), 60)):
        spoilt = bytearray(packed)
        spoilt[place // 8] ^= 1 << place % 8
        path.write_bytes(spoilt)
        try:
            assert np.array_equal(read_voxels(path), VOXELS), place
        except UserError:
            refused += 1
        else:
            assert is_sound_for_gzip(path), place
    assert refused > 100


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (b"x", "gzip"),
        (b"\x1f\x8b", "its gzip stream ends too early"),
        (pack(b"x"), "more bytes than the 3712 that its header declares"),
        (pack(bytes(10**7)), "more bytes than the 3712 that its header declares"),
    ],
)
def test_what_follows_the_voxels_is_refused(tmp_path, more, message):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(pack(CONTENT) + more)
    with pytest.raises(UserError, match=message):
        read_voxels(path)


def test_zeros_after_the_last_member_are_padding_as_for_gzip(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(pack(CONTENT) + bytes(300_000))
    assert is_sound_for_gzip(path)
    assert np.array_equal(read_voxels(path), VOXELS)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_a_file_that_is_not_packed_has_the_size_that_it_declares(tmp_path, change):
    path = tmp_path / "a.nii"
    path.write_bytes(change(CONTENT))
    with pytest.raises(UserError, match=r"a\.nii: unreadable or truncated.* its header declares 3712"):
        read_nifti(path)


def field(name, value, *, order="<"):
    """Return a function that changes one field of the header of a NIfTI-1 file."""

    def change(content):
        header = nib.Nifti1Header(content[:348], check=False)
        header[name] = value
        return header.binaryblock + content[348:]

    return change


def dims(*sizes):
    return field("dim", [*sizes, *[1] * (8 - len(sizes))])


def rows(*values):
    def change(content):
        for name, value in zip(("srow_x", "srow_y", "srow_z"), values, strict=True):
            content = field(name, value)(content)
        return field("sform_code", 1)(content)

    return change


HEADERS = {
    "sizeof_hdr": (field("sizeof_hdr", 7), "sizeof_hdr 7 found; expected 348"),
    "no axes": (dims(0), r"0 axes found \(dim\[0\]\); expected 1 to 7"),
    "eight axes": (dims(8, 12, 14, 10), "8 axes found"),
    "negative axes": (dims(-3, 12, 14, 10), "-3 axes found"),
    "no voxels": (dims(3, 0, 14, 10), r"shape \(0, 14, 10\) found; expected at least one voxel"),
    "negative voxels": (dims(3, 12, -14, 10), r"shape \(12, -14, 10\) found"),
    "too many voxels": (dims(3, *[32767] * 3), r"needs .* GiB of memory; .* GiB are free"),
    "far too many": (dims(7, *[32767] * 7), r"needs .* GiB of memory; .* GiB are free"),
    "more voxels": (dims(3, 12, 14, 11), r"3712 bytes of the 4048 that its header declares"),
    "fewer voxels": (dims(3, 12, 14, 9), "more bytes than the 3376"),
    "unknown type": (field("datatype", 9999), r"data type 9999 \(unknown\) found; expected"),
    "no type": (field("datatype", 0), r"data type 0 \(unknown\) found"),
    "bits": (field("datatype", 1), r"data type 1 \(bit\) found"),
    "complex": (field("datatype", 32), r"data type 32 \(complex64\) found"),
    "RGB": (field("datatype", 128), r"data type 128 \(RGB\) found"),
    "float128": (field("datatype", 1536), r"data type 1536 \(float128\) found"),
    "wider type": (field("datatype", 64), r"3712 bytes of the 13792"),
    "offset 0": (field("vox_offset", 0), r"begin at byte 0 found \(vox_offset\); expected 352 or more"),
    "negative offset": (field("vox_offset", -1e9), "begin at byte -1e"),
    "offset NaN": (field("vox_offset", np.nan), "begin at byte nan"),
    "offset infinite": (field("vox_offset", np.inf), "begin at byte inf"),
    "half an offset": (field("vox_offset", 352.5), "begin at byte 352.5"),
    "far offset": (field("vox_offset", 1e6), "3712 bytes of the 1003360"),
    "slope NaN": (field("scl_slope", np.nan), "scaled by nan and shifted by 0 found; expected numbers"),
    "slope infinite": (field("scl_slope", np.inf), "scaled by inf"),
    "intercept NaN": (field("scl_inter", np.nan), "shifted by nan"),
    "intercept infinite": (field("scl_inter", -np.inf), "shifted by -inf"),
    "sform code": (field("sform_code", 77), "sform_code 77 found; expected 0 to 5"),
    "qform code": (field("qform_code", -1), "qform_code -1 found"),
    "edge NaN": (field("pixdim", [1, np.nan, 1, 1, 0, 0, 0, 0]), "voxels with edges of .* mm found"),
    "edge infinite": (field("pixdim", [1, 1, np.inf, 1, 0, 0, 0, 0]), "voxels with edges of .* mm found"),
    "edge 0": (field("pixdim", [1, 1, 1, 0, 0, 0, 0, 0]), "voxels with edges of .* mm found"),
    "affine of zeros": (rows([0] * 4, [0] * 4, [0] * 4), "whose voxels have no volume"),
    "a column of zeros": (rows([0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0]), "whose voxels have no volume"),
    "two axes alike": (rows([1, 1, 0, 5], [2, 2, 0, 0], [0, 0, 1, 0]), "whose voxels have no volume"),
    "affine NaN": (rows([np.nan] * 4, [0, 1, 0, 0], [0, 0, 1, 0]), "affine .*nan.* found; expected finite"),
    "affine infinite": (rows([1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0]), "affine .*inf.* found; expected finite"),
    "a pair's magic": (field("magic", b"ni1"), r"one half of a pair \.hdr and \.img found; expected NIfTI"),
    "no magic": (field("magic", b""), "Analyze 7.5 found; expected NIfTI"),
}


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_cannot_be_right_costs_one_line(tmp_path, name, packed, capfd):
    change, message = HEADERS[name]
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    content = change(CONTENT)
    path.write_bytes(pack(content) if packed else content)
    with pytest.raises(UserError) as refused:
        read_voxels(path)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path}: ")
    if packed or ("bytes" not in message and "GiB" not in message):  # else its size says so first
        refused.match(message)
    assert capfd.readouterr() == ("", "")  # nibabel is quiet


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8", ">i2", ">f4"])
@pytest.mark.parametrize("scale", [(1, 0), (0.37, -12.5)])
def test_voxels_are_nibabel_s_to_the_bit(tmp_path, dtype, scale):
    stored = (VOXELS % 120).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(stored.dtype)
    image = nib.Nifti1Image(stored, AFFINE, header)
    content = bytearray(image.to_bytes())
    struct.pack_into(dtype[0] + "ff" if dtype[0] == ">" else "<ff", content, 112, *scale)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(pack(bytes(content)))
    expected = np.asarray(nib.load(path).dataobj, dtype=np.float32)
    found = read_voxels(path)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert np.array_equal(read_nifti(path).affine, nib.load(path).affine)
    assert not np.array_equal(found, 0 * found)


def test_a_slope_of_0_is_no_scale(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(field("scl_inter", 7)(field("scl_slope", 0)(CONTENT)))
    assert np.array_equal(read_voxels(path), VOXELS)


def test_nifti_2_and_the_mask_that_itk_can_read(tmp_path):
    path = save(tmp_path / "a.nii.gz", kind=nib.Nifti2Image)
    assert np.array_equal(read_voxels(path), VOXELS)
    write_like(tmp_path / "mask.nii.gz", np.ones(SHAPE, np.uint8), path)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert type(mask) is nib.Nifti1Image
    assert np.array_equal(mask.affine, AFFINE)
    assert read_voxels(tmp_path / "mask.nii.gz").sum() == np.prod(SHAPE)


def test_axes_of_length_1_after_the_third_are_none_and_masks_have_three(tmp_path):
    path = save(tmp_path / "a.nii.gz", VOXELS[..., None, None])
    assert read_nifti(path).shape == read_voxels(path).shape == SHAPE
    write_like(tmp_path / "mask.nii.gz", np.ones(SHAPE, np.uint8), path)
    assert nib.load(tmp_path / "mask.nii.gz").shape == SHAPE
    flat = save(tmp_path / "flat.nii.gz", VOXELS[..., :1])
    assert read_nifti(flat).shape == (12, 14, 1)


def test_a_gap_before_the_voxels(tmp_path):
    content = field("vox_offset", 1024)(CONTENT)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(pack(content[:352] + bytes(1024 - 352) + content[352:]))
    assert np.array_equal(read_voxels(path), VOXELS)
    write_like(tmp_path / "mask.nii.gz", VOXELS, path)
    assert np.array_equal(read_voxels(tmp_path / "mask.nii.gz"), VOXELS)


FORMATS = {
    "dicom": (bytes(128) + b"DICM", "DICOM found; expected NIfTI.* dcm2niix"),
    "nrrd": (b"NRRD0004\n", "NRRD found"),
    "mha": (b"ObjectType = Image\n", "MetaImage"),
    "mgz": (pack(b"\0\0\0\1" + bytes(400)), "FreeSurfer MGH .* mri_convert"),
    "minc": (b"\x89HDF\r\n", "HDF5"),
    "npy": (b"\x93NUMPY", "NumPy"),
    "zip": (b"PK\x03\x04", "zip found; .*unpack"),
    "tar": (pack(bytes(257) + b"ustar" + bytes(300)), "tar found"),
    "png": (b"\x89PNG\r\n", "PNG"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS found; .* git lfs pull"),
    "html": (b"<!DOCTYPE html><html>", "a web page found; .*download the file again"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_named(tmp_path, name):
    content, message = FORMATS[name]
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_nifti(path)
    assert describe_file(path) is not None
    assert describe_file(save(tmp_path / "sound.nii.gz")) is None


@pytest.mark.parametrize("content", [b"", b"no", pack(b""), pack(b"no"), bytes(2000), b"\x1f\x8b"])
def test_nothing_of_the_kind(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="unreadable or truncated, expected a NIfTI file"):
        read_nifti(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(UserError, match=r"x\.nii: no such file"):
        read_nifti(tmp_path / "x.nii")
    with pytest.raises(UserError, match="not a file"):
        read_nifti(tmp_path)
    subprocess.run(["mkfifo", tmp_path / "pipe.nii"], check=True)
    with pytest.raises(UserError, match="not a file"):
        read_nifti(tmp_path / "pipe.nii")


def test_memory_is_asked_for_before_anything_is_unpacked(tmp_path, monkeypatch):
    """A file of 70 kB that declares, and holds, 16 MB."""
    path = save(tmp_path / "a.nii.gz", np.zeros((256, 256, 256), np.uint8))
    with pytest.raises(UserError, match=r"a: .* needs 0\.7 GiB of memory; memory_limit is 0\.5 GiB"):
        check_memory("a", 0.7 * 2**30, 0.5)
    assert 1e6 < free_memory() < float("inf")
    monkeypatch.setattr("metakd_monai.data.memory_limit.free_memory", lambda: 50e6)
    monkeypatch.setattr("metakd_monai.data.nifti.voxels.read_to_end", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(UserError, match=r"a\.nii\.gz: .* needs 0\.1 GiB of memory; 0\.0 GiB are free"):
        read_voxels(path)
    with pytest.raises(UserError, match=r"a\.nii\.gz: .* needs 1\.3 GiB of memory; memory_limit is 1 GiB"):
        read_sequences({Modality.T1: path}, memory_limit=1)


def test_what_was_read_ahead_is_the_same_and_is_handed_over_once(tmp_path):
    files = {Modality.T1: save(tmp_path / "t1.nii.gz"), Modality.T2: save(tmp_path / "t2.nii.gz", VOXELS[::-1])}
    wanted = read_sequences(files)
    read_ahead(files)
    read_ahead(files, [Modality.T1])
    found = read_sequences(files)
    assert (found.where, found.shape, set(found.channels)) == (wanted.where, wanted.shape, set(files))
    assert all(np.array_equal(found.channels[m], wanted.channels[m]) for m in files)
    wait(sequence_files.AHEAD.values())
    files[Modality.T1].unlink()
    assert set(read_sequences(files, [Modality.T1]).channels) == {Modality.T1}  # read before it went
    with pytest.raises(UserError, match="no such file"):
        read_sequences(files, [Modality.T1])


def test_what_is_wrong_with_a_case_read_ahead_is_raised_when_it_is_wanted(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.int16))
    read_ahead(path)
    read_ahead({Modality.T1: path})
    with pytest.raises(UserError, match="expected a 4-D file"):
        read_sequences(path)
    with pytest.raises(UserError, match="constant"):
        read_sequences({Modality.T1: path})
    path = save(tmp_path / "b.nii.gz", np.arange(2**23, dtype=np.float32).reshape(256, 256, 128))
    read_ahead({Modality.T1: path})
    with pytest.raises(UserError, match=r"b\.nii\.gz: .* memory_limit is 0\.5 GiB"):
        read_sequences({Modality.T1: path}, memory_limit=0.5)


@pytest.mark.parametrize(
    ("noise", "dtype"), [(1e-7, np.float32), (-9e-4, np.float32), (0, np.int32), (0, np.float64), (9e-4, np.float64)]
)
def test_labels_near_whole_numbers_are_rounded(tmp_path, noise, dtype):
    labels = (VOXELS % 5).astype(np.uint8)
    path = save(tmp_path / "a.nii.gz", (labels + noise).astype(dtype))
    found = read_labels(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, labels)


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, "0.5"), (1.002, "1.002"), (63.75, "63.75"), (np.nan, "nan"), (-1, "-1"), (256, "256")]
)
def test_labels_that_are_none_are_shown(tmp_path, value, said):
    labels = (VOXELS % 3).astype(np.float32)
    labels[3, 4, 5] = value
    with pytest.raises(UserError, match=rf"label values {said} found; expected whole numbers from 0 to 255, within"):
        read_labels(save(tmp_path / "a.nii.gz", labels))


def brain(value=0.0):
    """A ball of values around 0, with three voxels of exactly 0, in a background."""
    places = np.indices((16, 18, 16)).transpose(1, 2, 3, 0)
    inside = ((places - [8, 9, 8]) ** 2).sum(-1) < 36
    image = np.random.default_rng(0).normal(size=inside.shape).astype(np.float32)
    image[8, 8, 7:10] = 0
    return np.where(inside, image, np.float32(value)), inside


@pytest.mark.parametrize("value", [-3.2, -1000.0, 1.0, 7e5, np.nan])
def test_a_background_that_is_not_0_becomes_0_and_the_brain_stays(value):
    image, inside = brain(value)
    before = image.copy()
    cleared, background = clear_background(image)
    assert background == ("NaN" if np.isnan(value) else f"{value:g}")
    assert not cleared[~inside].any()
    assert np.allclose(cleared[inside], image[inside], atol=1e-30)
    if not np.isnan(value):
        assert (cleared[inside] != 0).all()  # 0 is brain there
    assert np.array_equal(image, before, equal_nan=True)
    check_image("a", cleared, "t1")


def test_a_background_of_0_stays_and_so_does_what_is_no_background():
    image, inside = brain()
    assert clear_background(image) == (image, None)
    noise = np.where(inside, image, np.random.default_rng(1).normal(0, 1e-3, image.shape)).astype(np.float32)
    assert clear_background(noise)[1] is None
    corners = image.copy()
    corners[np.ix_([0, -1], [0, -1], [0, -1])] = 5  # but 0 is more common
    assert clear_background(corners)[1] is None


def test_zeros_around_the_brain_within_a_larger_field_of_view_stay_background():
    image, inside = brain()
    padded = np.pad(image, 9, constant_values=-1000)
    cleared, background = clear_background(padded)
    assert background == "-1000"
    assert np.array_equal(cleared != 0, np.pad(inside & (image != 0), 9))


@pytest.mark.parametrize("spoil", ["within", "many within", "at the border of 0", "infinite"])
def test_nan_that_is_no_background_is_refused(spoil):
    image, _ = brain(np.nan if spoil == "many within" else 0)
    if spoil == "within":
        image[8, 9, 8] = np.nan
    if spoil == "many within":
        image[5:10, 7:11, 6:9] = np.nan
    if spoil == "at the border of 0":
        image[0, 0, 0] = np.nan
    if spoil == "infinite":
        image[8, 9, 8] = np.inf
    with pytest.raises(UserError, match=r"t1 has .* voxels that are NaN or infinite"):
        check_image("a", clear_background(image)[0], "t1")


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_of_one_value_is_refused_whatever_it_is(value):
    with pytest.raises(UserError, match=r"constant|NaN"):
        check_image("a", clear_background(np.full((4, 5, 6), value, np.float32))[0], "t1")


def test_volumes_go_by_the_determinant():
    sheared = np.array([[1.0, 0.8, 0, 5], [0, 1, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
    assert voxel_ml(sheared) == pytest.approx(0.002)  # a prism: the area of its base times its height
    assert voxel_ml(np.diag([-1, -1, 1, 1])) == pytest.approx(0.001)


def test_grids():
    check_grid("a", SHAPE, AFFINE + 9e-4, SHAPE, AFFINE, "b")
    for shape, affine, message in (
        ((12, 14, 11), AFFINE, r"a: shape \(12, 14, 11\) found; expected \(12, 14, 10\) as in b"),
        ((*SHAPE, 4), AFFINE, "expected a 3-D volume"),
        (SHAPE, AFFINE + 2e-3, r"a: affine differs by 0\.002 from that of b; .* found, expected .*, within 0\.001"),
        (SHAPE, AFFINE * np.nan, "affine differs by nan"),
    ):
        with pytest.raises(UserError, match=message):
            check_grid("a", shape, affine, SHAPE, AFFINE, "b")


def test_sequences_are_verified_without_their_values(tmp_path):
    files = {m: save(tmp_path / f"{m.value}.nii.gz") for m in Modality}
    assert verify_sequences(files).shape == SHAPE
    files[Modality.T2].write_bytes(files[Modality.T2].read_bytes()[:-4])
    with pytest.raises(UserError, match=r"t2\.nii\.gz: unreadable or truncated"):
        verify_sequences(files)
