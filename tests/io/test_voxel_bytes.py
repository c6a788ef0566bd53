"""Voxels are exactly as many as a header promises, whatever the encoding; ITK's answers are never taken for them.

Each damaged file is read twice with other images read in between: what the C library's memory held must not come out.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io import read_volume

VOXELS = (np.arange(4 * 5 * 7, dtype="<i2") * 7 - 300).reshape(4, 5, 7)
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {msb}\nCompressedData = {packed}\n"
    "{more}"
    "TransformMatrix = 0 1 0 1 0 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 0.7 1.1 2.5\nDimSize = 7 5 4\n"
    "ElementType = MET_SHORT\nElementDataFile = {file}\n"
)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 7 5 4\n"
    "space directions: (0.7,0,0) (0,1.1,0) (0,0,2.5)\nspace origin: (1,2,3)\n"
    "endian: {endian}\nencoding: {encoding}\n{more}\n"
)


def meta(packed: bool, more: str = "", file: str = "LOCAL", msb: bool = False) -> bytes:
    return META.format(packed=packed, more=more, file=file, msb=msb).encode()


def nrrd(encoding: str, more: str = "", endian: str = "little") -> bytes:
    return NRRD.format(encoding=encoding, more=more, endian=endian).encode()


RAW, BIG = VOXELS.tobytes(), VOXELS.astype(">i2").tobytes()
TEXT = "\n".join(str(value) for value in VOXELS.ravel()).encode()
SOUND = {
    "size-missing.mha": meta(True) + zlib.compress(RAW),
    "size-zero.mha": meta(True, "CompressedDataSize = 0\n") + zlib.compress(RAW),
    "size-small.mha": meta(True, "CompressedDataSize = 9\n") + zlib.compress(RAW),
    "size-large.mha": meta(True, "CompressedDataSize = 99999\n") + zlib.compress(RAW),
    "gzip-stream.mha": meta(True) + gzip.compress(RAW),
    "big.mha": meta(True, msb=True) + zlib.compress(BIG),
    "text.mha": meta(False).replace(b"BinaryData = True", b"BinaryData = False") + TEXT,
    "end-of-file.mha": meta(False, "HeaderSize = -1\n") + b"left over" + RAW,
    "raw.nrrd": nrrd("raw") + RAW,
    "big.nrrd": nrrd("gzip", endian="big") + gzip.compress(BIG),
    "bzip2.nrrd": nrrd("bz2") + bz2.compress(RAW),
    "two-streams.nrrd": nrrd("gzip") + gzip.compress(RAW[:99]) + gzip.compress(RAW[99:]),
    "behind-the-stream.nrrd": nrrd("gz") + gzip.compress(RAW) + b"no part of it",
    "ascii.nrrd": nrrd("ascii") + TEXT,
    "hex.nrrd": nrrd("hex") + RAW.hex().upper().encode(),
    "lines.nrrd": nrrd("raw", "line skip: 2\nbyte skip: 3\n") + b"a line\nanother\nabc" + RAW,
    "inside-the-stream.nrrd": nrrd("gzip", "byte skip: 11\n") + gzip.compress(b"eleven byte" + RAW),
    "end-of-file.nrrd": nrrd("raw", "byteskip: -1\n") + b"left over" + RAW,
}
DAMAGED = {
    "half.mha": meta(True, "CompressedDataSize = 70\n") + zlib.compress(RAW[:140]),
    "cut.mha": meta(True) + zlib.compress(RAW)[:-20],
    "noise.mha": meta(True) + bytes(range(256)),
    "flipped.mha": meta(True) + zlib.compress(RAW)[:60] + b"\xff\x00\xff" + zlib.compress(RAW)[63:],
    "short.mha": meta(False) + RAW[:-1],
    "few.mha": meta(False).replace(b"BinaryData = True", b"BinaryData = False") + TEXT[:-30],
    "half.nrrd": nrrd("gzip") + gzip.compress(RAW[:140]),
    "cut.nrrd": nrrd("gzip") + gzip.compress(RAW)[:-12],
    "checksum.nrrd": nrrd("gzip") + gzip.compress(RAW)[:-8] + bytes(8),
    "cut-bzip2.nrrd": nrrd("bzip2") + bz2.compress(RAW)[:-12],
    "short.nrrd": nrrd("raw") + RAW[:-2],
    "few.nrrd": nrrd("text") + TEXT[:-30],
    "words.nrrd": nrrd("text") + TEXT.replace(b"-300", b"none"),
    "few-digits.nrrd": nrrd("hex") + RAW.hex().encode()[:-1],
    "no-digits.nrrd": nrrd("hex") + b"zz" + RAW.hex().encode()[2:],
}


def _other_image(folder: Path) -> NDArray[np.int16]:
    (folder / "other.mha").write_bytes(meta(False) + np.full(VOXELS.shape, 31_000, "<i2").tobytes())
    return read_volume(folder / "other.mha").array


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_give_the_voxels_that_were_put_in(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SOUND[name])
    for _ in range(2):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, VOXELS)
        assert volume.array.dtype == np.int16
        _other_image(tmp_path)
    assert volume.geometry.spacing == pytest.approx((0.7, 1.1, 2.5))
    assert volume.geometry.origin == ((1.0, 2.0, 3.0) if name.endswith(".mha") else (-1.0, -2.0, 3.0))


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_every_time(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name])
    for _ in range(3):
        _other_image(tmp_path)
        with pytest.raises(ReadError, match=r"cut short|damaged|no number|hexadecimal"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("kind", ["gz", "plain"])
def test_gz_nifti_whose_stream_is_cut_or_followed_by_bytes(kind: str, tmp_path: Path) -> None:
    import nibabel

    image = nibabel.Nifti1Image(VOXELS.T, np.diag([-0.7, -1.1, 2.5, 1.0]))
    data = image.to_bytes()
    path = tmp_path / "image.nii"
    path.write_bytes(gzip.compress(data) + b"behind" if kind == "gz" else data + b"behind")
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)  # compressed or not, whatever the name says
    path.write_bytes(gzip.compress(data)[:-20] if kind == "gz" else data[:-1])
    with pytest.raises(ReadError, match="cut short"):
        read_volume(path)


@pytest.mark.parametrize(("names", "told"), [(2, "4 files with voxels, got 2"), (5, "got 5"), (4, "")])
@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
def test_a_list_of_files_has_one_for_each_slice(kind: str, names: int, told: str, tmp_path: Path) -> None:
    listed = []
    for z in range(names):
        (tmp_path / f"s{z}.raw").write_bytes(VOXELS[z % 4].tobytes())
        listed.append(f"s{z}.raw")
    head = meta(False, file="LIST") if kind == "mhd" else nrrd("raw", "data file: LIST\n").rstrip(b"\n") + b"\n"
    path = tmp_path / f"image.{kind}"
    path.write_bytes(head + "\n".join(listed).encode())
    if told:
        with pytest.raises(ReadError, match=told):
            read_volume(path)
        return
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)
    (tmp_path / "s3.raw").write_bytes(VOXELS[3].tobytes()[:-2])
    with pytest.raises(ReadError, match=r"s3\.raw: it is cut short; expected 70 bytes of voxels, found 68"):
        read_volume(path)
    (tmp_path / "s3.raw").unlink()
    with pytest.raises(ReadError, match=r"should lie in s3\.raw, which is missing"):
        read_volume(path)


@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
def test_numbered_files(kind: str, tmp_path: Path) -> None:
    for z in range(4):
        (tmp_path / f"s{3 * z + 2:03d}.raw").write_bytes(VOXELS[z].tobytes())
    pattern = "s%03d.raw 2 11 3"
    head = meta(False, file=pattern) if kind == "mhd" else nrrd("raw", f"data file: {pattern}\n")
    (tmp_path / f"image.{kind}").write_bytes(head)
    np.testing.assert_array_equal(read_volume(tmp_path / f"image.{kind}").array, VOXELS)


def test_a_header_that_promises_what_no_disk_holds(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(meta(True).replace(b"7 5 4", b"70000 50000 40000") + zlib.compress(RAW))
    with pytest.raises(ReadError, match="limit is"):  # before any memory is taken
        read_volume(tmp_path / "a.mha")


def test_the_neighbour_without_gz_is_not_taken(tmp_path: Path) -> None:
    """ITK reads ``a.nii`` where it is asked for ``a.nii.gz`` and both are there."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(VOXELS.T, np.eye(4)), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(VOXELS.T + 1, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, VOXELS)


@pytest.mark.parametrize("count", ["-1", "0", "2", "4", "100", "x"])
def test_a_number_of_dimensions_that_the_sizes_belie(count: str, tmp_path: Path) -> None:
    """ITK's reader ends the process on some of them."""
    (tmp_path / "a.mha").write_bytes(meta(False).replace(b"NDims = 3", f"NDims = {count}".encode()) + RAW)
    with pytest.raises(ReadError, match=r"expected 2 to 4 sizes|no sizes"):
        read_volume(tmp_path / "a.mha")
