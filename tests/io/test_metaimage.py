"""Where a MetaImage lies: by the words of its header, all of them, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from promptseg.errors import ReadError
from promptseg.io import read_volume
from promptseg.volume import Geometry


def _write(path: Path, array: np.ndarray, geometry: Geometry, *changes: tuple[str, str]) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(path))
    content = path.read_bytes()
    for old, new in changes:
        assert old.encode() in content
        content = content.replace(old.encode(), new.encode(), 1)
    path.write_bytes(content)


def test_equals_itk(tmp_path: Path, lettered: np.ndarray, oblique: Geometry) -> None:
    _write(tmp_path / "a.mha", lettered, oblique)
    truth, volume = sitk.ReadImage(str(tmp_path / "a.mha")), read_volume(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(truth))
    assert volume.geometry.spacing == pytest.approx(truth.GetSpacing())
    assert volume.geometry.origin == pytest.approx(truth.GetOrigin())
    assert volume.geometry.direction == pytest.approx(truth.GetDirection())


@pytest.mark.parametrize(
    "change",
    [("BinaryDataByteOrderMSB = False", "Binarse"), ("ObjectType", "a line of its own\nObjectType"),
     ("TransformMatrix", "Orientation"), ("Offset", "Position"), ("ElementSpacing", "ElementSize")],
    ids=["damaged", "foreign", "orientation", "position", "size"],
)  # fmt: skip
def test_other_lines_move_nothing(
    tmp_path: Path, lettered: np.ndarray, oblique: Geometry, change: tuple[str, str]
) -> None:
    _write(tmp_path / "a.mha", lettered, oblique, change)
    volume = read_volume(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array, lettered)
    np.testing.assert_allclose(volume.geometry.affine, oblique.affine, atol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("mm", 1.0), ("cm", 10.0)])  # MetaIO's MET_DISTANCE_UNITS
def test_units(tmp_path: Path, lettered: np.ndarray, oblique: Geometry, unit: str, factor: float) -> None:
    _write(tmp_path / "a.mha", lettered, oblique, ("ElementSpacing", f"DistanceUnits = {unit}\nElementSpacing"))
    geometry = read_volume(tmp_path / "a.mha").geometry
    assert geometry.spacing == pytest.approx(tuple(factor * length for length in oblique.spacing))
    assert geometry.origin == pytest.approx(tuple(factor * length for length in oblique.origin))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Offset = ", "Offset = nan ", "3 numbers in its header's field offset"),
        ("ElementSpacing = ", "ElementSpacing = 1 ", "3 numbers in its header's field elementspacing"),
        ("TransformMatrix = ", "TransformMatrix = x", "9 numbers in its header's field transformmatrix"),
        ("ElementSpacing", "DistanceUnits = parsec\nElementSpacing", "DistanceUnits of mm, um, cm, got 'parsec'"),
        ("BinaryData = True", "BinaryData = Fa9", "binarydata of True or False, got 'fa9'"),
        ("ByteOrderMSB = False", "ByteOrderMSB = Big", "byteordermsb of True or False, got 'big'"),
        ("ElementDataFile = LOCAL", "ElementDataFile = " + "x" * 5000, "should lie in x{255}, which is missing"),
    ],
)
def test_refused(tmp_path: Path, lettered: np.ndarray, oblique: Geometry, old: str, new: str, expected: str) -> None:
    _write(tmp_path / "a.mha", lettered, oblique, (old, new))
    with pytest.raises(ReadError, match=expected):
        read_volume(tmp_path / "a.mha")
