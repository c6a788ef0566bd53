"""NRRD: which axis is what, units, and what the header does not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io import read_volume
from promptseg.volume import Geometry

VECTORS = "(0.7,0.1,0) (-0.157142857,1.1,0) (0,0,2.5)"  # two perpendicular in-plane axes, turned


def nrrd(path: Path, array: NDArray[Any], **fields: str) -> Path:
    """Write a raw NRRD; ``array`` has the fastest axis last, ``fields`` have _ for the space in their names."""
    lines = ["NRRD0005", f"type: {array.dtype.name}", f"dimension: {array.ndim}"]
    lines += ["sizes: " + " ".join(str(n) for n in array.shape[::-1]), "endian: little", "encoding: raw"]
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in fields.items()]
    path.write_bytes("\n".join([*lines, "", ""]).encode("latin-1") + array.tobytes())
    return path


@pytest.fixture
def frames(lettered: NDArray[np.int16]) -> NDArray[np.int16]:
    """(3, 4, 5, 7): three volumes."""
    return np.stack([lettered, lettered + 1, lettered * 2])


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["list", "time", "domain", "???"])
def test_one_frame_of_four_dimensions(axis: int, kind: str, tmp_path: Path, frames: NDArray[np.int16]) -> None:
    """A sequence of 3D Slicer has its list first; others have it last, or say ``none`` for its direction alone."""
    vectors, kinds = VECTORS.split(), ["domain"] * 3
    vectors.insert(axis, "none")
    kinds.insert(axis, kind)
    stored = np.ascontiguousarray(np.moveaxis(frames, 0, 3 - axis))
    path = nrrd(
        tmp_path / "a.seq.nrrd", stored, space="left-posterior-superior", kinds=" ".join(kinds),
        space_directions=" ".join(vectors), space_origin="(1,2,3)",
    )  # fmt: skip
    for index in range(3):
        volume = read_volume(path, frame=index)
        np.testing.assert_array_equal(volume.array, frames[index])
        assert volume.geometry.spacing == pytest.approx((0.70711, 1.11117, 2.5), rel=1e-4)
        assert volume.geometry.origin == (1.0, 2.0, 3.0)
    assert [finding.code for finding in read_volume(path).findings] == ["several-frames"]
    with pytest.raises(ReadError, match="expected a frame from 0 to 2"):
        read_volume(path, frame=3)


def test_a_space_with_time(tmp_path: Path, frames: NDArray[np.int16]) -> None:
    path = nrrd(
        tmp_path / "a.nrrd", frames, space="right-anterior-superior-time", kinds="space space space time",
        space_directions="(0.7,0,0,0) (0,1.1,0,0) (0,0,2.5,0) (0,0,0,1)", space_origin="(1,2,3,0)",
    )  # fmt: skip
    volume = read_volume(path, frame=2)
    np.testing.assert_array_equal(volume.array, frames[2])
    assert volume.geometry.same_as(
        Geometry((4, 5, 7), (0.7, 1.1, 2.5), (-1, -2, 3), (-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS to LPS
    )


def test_layers_of_a_segmentation_are_no_frames(tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    from promptseg.io import read_labelmap

    layers = np.stack([lettered > 300, lettered < 0], axis=-1).astype(np.uint8)
    path = nrrd(
        tmp_path / "a.seg.nrrd", layers, space="left-posterior-superior", kinds="list domain domain domain",
        space_directions=f"none {VECTORS}", space_origin="(1,2,3)",
    )  # fmt: skip
    keys = "".join(
        f"Segment{i}_Name:={n}\nSegment{i}_Layer:={i}\nSegment{i}_LabelValue:=1\n" for i, n in enumerate("ab")
    )
    path.write_bytes(path.read_bytes().replace(b"endian", keys.encode() + b"endian"))
    labelmap = read_labelmap(path)
    np.testing.assert_array_equal(labelmap.mask("a"), lettered > 300)
    np.testing.assert_array_equal(labelmap.mask("b"), lettered < 0)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1), ("um", 1e-3), ("\xb5m", 1e-3), ("microns", 1e-3), ("m", 1000), ("cm", 10)]
)
def test_units(unit: str, factor: float, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    fields = {"space": "LPS", "space_directions": "(20,0,0) (0,30,0) (0,0,40)", "space_origin": "(100,200,300)"}
    volume = read_volume(nrrd(tmp_path / "a.nrrd", lettered, **fields, space_units=f'"{unit}" "{unit}" "{unit}"'))
    assert volume.geometry.spacing == pytest.approx((20 * factor, 30 * factor, 40 * factor))
    assert volume.geometry.origin == pytest.approx((100 * factor, 200 * factor, 300 * factor))
    flat = nrrd(tmp_path / "b.nrrd", lettered, spacings="20 30 40", units=f'"{unit}" "{unit}" "{unit}"')
    assert read_volume(flat).geometry.spacing == pytest.approx((20 * factor, 30 * factor, 40 * factor))


def test_units_that_differ_or_are_unknown(tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    fields = {"space": "LPS", "space_directions": "(2,0,0) (0,3,0) (0,0,4)"}
    with pytest.raises(ReadError, match="different units"):
        read_volume(nrrd(tmp_path / "a.nrrd", lettered, **fields, space_units='"mm" "mm" "um"'))
    volume = read_volume(nrrd(tmp_path / "a.nrrd", lettered, **fields, space_units='"ell" "ell" "ell"'))
    assert [finding.code for finding in volume.findings] == ["unknown-unit"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "no-geometry"),
        ({"spacings": "0.7 1.1 2.5"}, "no-orientation"),
        ({"space_dimension": "3", "space_directions": VECTORS}, "no-orientation"),
        ({"space": "LAS", "space_directions": "(0.7,0,0) (0,1.1,0) (0,0,2.5)"}, ""),
    ],
)
def test_what_the_header_does_not_say(
    fields: dict[str, str], code: str, tmp_path: Path, lettered: NDArray[np.int16]
) -> None:
    path = nrrd(tmp_path / "a.nrrd", lettered, **fields)
    volume, truth = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(truth))
    assert [finding.code for finding in volume.findings] == ([code] if code else [])
    assert volume.geometry.spacing == pytest.approx(truth.GetSpacing())
    assert volume.geometry.direction == pytest.approx(truth.GetDirection())


@pytest.mark.parametrize(
    ("field", "value"),
    [("encoding", "zstd"), ("type", "block"), ("sizes", "7 5"), ("sizes", "7 -5 4"), ("kinds", "domain domain"),
     ("byte skip", "many"), ("spacings", "0.7 1.1x 2.5"), ("space origin", "(-5,12\u00a95,40)"),
     ("space directions", "(0.7,0,0) (0,1_1,0) (0,0,2.5)"), ("axis mins", "0 0 two")],
)  # fmt: skip
def test_damaged_headers(field: str, value: str, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    path = nrrd(tmp_path / "a.nrrd", lettered)
    lines = [
        line for line in path.read_bytes().split(b"\n\n", 1)[0].split(b"\n") if not line.startswith(field.encode())
    ]
    path.write_bytes(b"\n".join([*lines, f"{field}: {value}".encode(), b"", b""]) + lettered.tobytes())
    with pytest.raises(ReadError, match="cannot read"):
        read_volume(path)
