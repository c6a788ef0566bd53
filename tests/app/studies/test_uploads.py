"""Files from outside: names of our own, headers that name only what came with them, bounds."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from promptseg.app.errors import UploadTooLargeError
from promptseg.app.settings import Limits
from promptseg.app.studies.series import describe
from promptseg.app.studies.uploads import Intake
from promptseg.errors import ReadError
from promptseg.io import read_volume, write_volume
from promptseg.volume import Geometry, Volume

SMALL = Limits(upload_bytes=200_000, upload_files=5, archive_ratio=50)


def volume() -> Volume:
    array = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)
    return Volume.from_array(array, Geometry((5, 7, 11), (0.7, 0.9, 2.5), (-3.0, 20.0, 100.0)))


def taken(folder: Path, *files: tuple[str, bytes], limits: Limits = SMALL) -> Intake:
    folder.mkdir()
    intake = Intake(folder, limits)
    for name, content in files:
        intake.add(name, io.BytesIO(content))
    intake.finish()
    return intake


@pytest.mark.parametrize("extension", ["mhd", "nhdr"])
def test_a_header_finds_its_data_under_the_new_names(tmp_path: Path, extension: str) -> None:
    if extension == "mhd":
        written = write_volume(volume(), tmp_path / "DOE JANE.mhd")
    else:
        data = tmp_path / "DOE JANE.raw"
        data.write_bytes(volume().array.astype("<i2").tobytes())
        header = tmp_path / "DOE JANE.nhdr"
        lines = ["NRRD0004", "type: int16", "dimension: 3", "sizes: 11 7 5", "encoding: raw", "endian: little"]
        header.write_text("\n".join([*lines, "data file: DOE JANE.raw", "", ""]))
        written = (header, data)
    files = [(f"study/{path.name}", path.read_bytes()) for path in written]
    intake = taken(tmp_path / "in", *files)
    assert not [path for path in (tmp_path / "in").rglob("*") if "DOE" in path.name]
    content = describe(tmp_path / "in", intake.names, voxels=10**9)
    (series,) = content.series
    assert series.title == f"DOE JANE.{extension}"
    np.testing.assert_array_equal(read_volume(tmp_path / "in" / series.file).array, volume().array)


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret.raw", "LIST", "%03d.raw 1 5 1", "other.raw"])
def test_a_header_that_points_elsewhere_points_to_nothing(tmp_path: Path, target: str) -> None:
    (tmp_path / "secret.raw").write_bytes(b"\x07" * 1000)
    text = f"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_UCHAR\nElementDataFile = {target}\n"
    intake = taken(tmp_path / "in", ("a.mhd", text.encode() + b"/etc/passwd\n"))
    (stored,) = intake.names
    assert b"ElementDataFile = missing.raw" in (tmp_path / "in" / stored).read_bytes()
    with pytest.raises(ReadError, match="missing"):
        describe(tmp_path / "in", intake.names, voxels=10**9)


def test_bounds(tmp_path: Path) -> None:
    with pytest.raises(UploadTooLargeError, match="at most 5 files"):
        taken(tmp_path / "a", *((f"{n}.txt", b"x") for n in range(6)))
    with pytest.raises(UploadTooLargeError, match="MiB"):
        taken(tmp_path / "b", ("a.nii", b"x" * 300_000))
    with pytest.raises(UploadTooLargeError, match="MiB"):
        taken(tmp_path / "c", ("a.nii", b"x" * 150_000), ("b.nii", b"x" * 150_000))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.nii", b"\0" * 190_000)
    with pytest.raises(UploadTooLargeError, match="far more than its size"):
        taken(tmp_path / "d", ("a.zip", buffer.getvalue()))


def test_a_deflated_dicom_file_may_not_explode(tmp_path: Path) -> None:
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    group = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = squeeze.compress(b"\0" * 10_000_000) + squeeze.flush()
    with pytest.raises(UploadTooLargeError, match="far more than its size"):
        taken(tmp_path / "a", ("a.dcm", b"\0" * 128 + b"DICM" + group + meta + body))
    with pytest.raises(ReadError, match="does not begin"):
        taken(tmp_path / "b", ("a.dcm", meta + body))


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    intake = taken(tmp_path / "in", ("x/a.nii", b"1"), ("x/a.nii", b"2"), ("y/a.nii", b"3"), ("../x/a.nii", b"4"))
    assert sorted((tmp_path / "in" / name).read_bytes() for name in intake.names) == [b"1", b"2", b"3", b"4"]


def test_real_files_that_break_readers_are_opened_or_refused_in_a_sentence(tmp_path: Path, shared_data: Path) -> None:
    single = sorted(path for path in (shared_data / "robustness" / "dicom_single").iterdir() if path.is_file())
    told = []
    for number, path in enumerate(single):
        try:
            intake = taken(tmp_path / str(number), (path.name, path.read_bytes()), limits=Limits())
            describe(tmp_path / str(number), intake.names, voxels=10**9)
        except ReadError as exc:
            told.append(str(exc))
    assert 3 <= len(told) < len(single)
    assert [sentence for sentence in told if "\n" in sentence or str(tmp_path) in sentence] == []


def test_entries_that_share_bytes(tmp_path: Path) -> None:
    """A directory that names one stretch of bytes many times (a zip bomb without recursion)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.bin", "b.bin", "c.bin"):
            archive.writestr(name, bytes(5000))
        for entry in archive.infolist()[1:]:
            entry.header_offset = 0
    with pytest.raises(ReadError, match="entries overlap"):
        taken(tmp_path / "d", ("a.zip", buffer.getvalue()))
