"""GIPL, ITK-SNAP's own format, beside ITK's reader and a header read here field by field."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume
from promptseg.io.estimate import header_size

VALUES = np.arange(4 * 9 * 7).reshape(4, 9, 7) * 3 - 40
KINDS = {"int8": 7, "uint8": 8, "int16": 15, "uint16": 16, "uint32": 31, "int32": 32, "float32": 64, "float64": 65}


def gipl(array: np.ndarray, order: str = ">", magic: int = 719555000, **fields: Any) -> bytes:
    """Return a file by the format's table: sizes, type, lengths, text, matrix, flags, range, origin, scale, magic."""
    head = bytearray(256)
    sizes = (*array.shape[::-1], *(1,) * (4 - array.ndim))
    struct.pack_into(f"{order}5H4f", head, 0, *sizes, fields.get("kind", KINDS[array.dtype.name]), 0.7, 1.1, 3.0, 1.0)
    struct.pack_into("80s", head, 26, b"DOE JANE")
    struct.pack_into(f"{order}20f", head, 106, *fields.get("matrix", (0.0,) * 20))
    struct.pack_into(f"{order}4d", head, 204, -5.0, 12.5, 40.0, 0.0)
    struct.pack_into(f"{order}2f", head, 236, *fields.get("scale", (0.0, 0.0)))
    struct.pack_into(f"{order}I", head, 252, magic)
    return bytes(head) + array.astype(array.dtype.newbyteorder(order)).tobytes()


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("magic", [719555000, 4026526128])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_place(tmp_path: Path, order: str, magic: int, kind: str) -> None:
    array = VALUES.astype(kind)
    (tmp_path / "a.gipl").write_bytes(gipl(array, order, magic))
    (tmp_path / "a.gipl.gz").write_bytes(gzip.compress(gipl(array, order, magic)))
    for name in ("a.gipl", "a.gipl.gz"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, array)
        assert volume.array.dtype == np.dtype(kind)
        assert volume.geometry.spacing == pytest.approx((0.7, 1.1, 3.0))
        assert volume.geometry.origin == (-5.0, 12.5, 40.0)
        assert [finding.code for finding in volume.findings] == ["no-orientation"]
        assert "DOE" not in repr(volume.findings)


def test_equals_itk(tmp_path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(VALUES.astype(np.int16))
    image.SetSpacing((0.7, 1.1, 3.0))
    image.SetOrigin((-5.0, 12.5, 40.0))
    for name in ("a.gipl", "a.gipl.gz"):
        sitk.WriteImage(image, str(tmp_path / name))
        volume, truth = read_volume(tmp_path / name), sitk.ReadImage(str(tmp_path / name))
        np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(truth))
        assert volume.geometry.spacing == pytest.approx(truth.GetSpacing())
        assert volume.geometry.origin == pytest.approx(truth.GetOrigin())
        assert volume.geometry.direction == pytest.approx(truth.GetDirection())


def test_frames_and_masks(tmp_path: Path) -> None:
    frames = np.stack([VALUES, VALUES + 1000]).astype(np.int16)
    (tmp_path / "t.gipl").write_bytes(gipl(frames))
    np.testing.assert_array_equal(read_volume(tmp_path / "t.gipl", frame=1).array, frames[1])
    assert header_size(tmp_path / "t.gipl").frames == 2
    mask = (VALUES % 3).astype(np.uint8)
    (tmp_path / "m.gipl").write_bytes(gipl(mask, kind=1))
    np.testing.assert_array_equal(read_labelmap(tmp_path / "m.gipl").array, mask)


def test_a_matrix_is_said_to_be_left_out(tmp_path: Path) -> None:
    turned = (0.0, -1.0, 0.0, 0.0, 0.0, 1.0, *(0.0,) * 14)
    (tmp_path / "a.gipl").write_bytes(gipl(VALUES.astype(np.int16), matrix=turned))
    assert [finding.code for finding in read_volume(tmp_path / "a.gipl").findings] == [
        "no-orientation",
        "matrix-ignored",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gipl(VALUES.astype(np.int16))[:-1], "cut short; expected 504 bytes"),
        (gipl(VALUES.astype(np.int16), kind=144), "complex numbers; take the magnitude"),
        (gipl(VALUES.astype(np.int16), kind=99), "voxel type 99"),
        (gipl(VALUES.astype(np.int16), scale=(5.0, 2.0)), "scales values by 2 from 5.*save it as NIfTI"),
        (gipl(VALUES.astype(np.int16)).replace(struct.pack(">f", 0.7), struct.pack(">f", float("nan"))), "voxel sizes"),
    ],
    ids=["short", "complex", "unknown", "scaled", "nan"],
)
def test_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.gipl").write_bytes(content)
    with pytest.raises(ReadError, match=expected):
        read_volume(tmp_path / "a.gipl")
