"""Contours as other systems write them: huge, twice, crossing, between slices, beyond the edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from promptseg.export import read_rtstruct, read_source, write_rtstruct
from promptseg.export.segments import SegmentSet
from promptseg.volume import Geometry, Label, Labelmap

Write = Callable[..., Path]
Contours = Sequence[tuple[float, NDArray[np.float64]]]


def rectangle(top: float, left: float, bottom: float, right: float) -> NDArray[np.float64]:
    """Return its corners (row, column); pixels whose centres lie inside are top <= row < bottom and so on."""
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.asarray(corners, dtype=np.float64) - 0.5


@pytest.fixture
def read(write_images: Write, tmp_path: Path, oblique: Geometry) -> Callable[..., SegmentSet]:
    """Read one structure of these contours (slice, points (row, column)) on the oblique image."""
    source = read_source(write_images(oblique))

    def of(contours: Contours, kind: str = "CLOSED_PLANAR", explicit: bool = True) -> SegmentSet:
        one = np.zeros(oblique.shape, np.uint8)
        one[1, 4:6, 4:6] = 1
        path = write_rtstruct(Labelmap(one, oblique, {1: Label(1, "body", (1, 2, 3))}), tmp_path / "rt.dcm", source)
        dataset = pydicom.dcmread(path)
        dataset.ROIContourSequence[0].ContourSequence = DicomSequence([_item(c, kind, oblique) for c in contours])
        if not explicit:
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        dataset.save_as(path, enforce_file_format=True)
        return read_rtstruct(path, source.geometry, frame_of_reference=source.frame_of_reference)

    return of


def _item(contour: tuple[float, NDArray[np.float64]], kind: str, geometry: Geometry) -> Dataset:
    z, points = contour
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    world = geometry.voxel_to_world(np.column_stack([np.full(len(points), z), points]))
    item.ContourData = [f"{value:.5f}" for value in world.ravel()]
    return item


def box(geometry: Geometry, z: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(geometry.shape, np.bool_)
    mask[z, slice(*rows), slice(*columns)] = True
    return mask


@pytest.mark.parametrize("explicit", [True, False])
def test_a_contour_of_more_than_64_kb(explicit: bool, read: Any, oblique: Geometry) -> None:
    """Explicit VR has two bytes for the length of decimal strings: writers store VR UN."""
    corners = rectangle(3, 2, 15, 14)
    dense = np.concatenate(
        [np.linspace(a, b, 1500, endpoint=False) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    )
    found = read([(1, dense)], explicit=explicit)
    np.testing.assert_array_equal(found.mask("body"), box(oblique, 1, (3, 15), (2, 14)))
    assert found.findings == ()


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
@pytest.mark.parametrize("turn", [0, 2, -1])
def test_the_same_contour_twice(kind: str, turn: int, read: Any, oblique: Geometry) -> None:
    corners = rectangle(3, 2, 15, 14)
    again = corners[::-1] if turn < 0 else np.roll(corners, turn, axis=0)  # from another corner, or the other way round
    found = read([(1, corners), (1, again)], kind)
    np.testing.assert_array_equal(found.mask("body"), box(oblique, 1, (3, 15), (2, 14)))
    assert any("twice were counted once" in finding for finding in found.findings)


def test_contours_that_cross_are_joined(read: Any, oblique: Geometry) -> None:
    found = read([(1, rectangle(3, 2, 10, 9)), (1, rectangle(6, 5, 15, 14)), (1, rectangle(13, 3, 16, 7))])
    truth = box(oblique, 1, (3, 10), (2, 9)) | box(oblique, 1, (6, 15), (5, 14)) | box(oblique, 1, (13, 16), (3, 7))
    np.testing.assert_array_equal(found.mask("body"), truth)
    assert any("cross each other" in finding for finding in found.findings)
    crossed = read([(1, rectangle(3, 2, 10, 9)), (1, rectangle(6, 5, 15, 14))], "CLOSEDPLANAR_XOR")
    by_xor = box(oblique, 1, (3, 10), (2, 9)) ^ box(oblique, 1, (6, 15), (5, 14))
    np.testing.assert_array_equal(crossed.mask("body"), by_xor)  # which is what the file asks for


def test_holes_and_islands_as_plain_contours(read: Any, oblique: Geometry) -> None:
    found = read([(1, rectangle(6, 6, 9, 9)), (1, rectangle(2, 2, 15, 15)), (1, rectangle(4, 4, 12, 12))])
    truth = box(oblique, 1, (2, 15), (2, 15)) & ~box(oblique, 1, (4, 12), (4, 12)) | box(oblique, 1, (6, 9), (6, 9))
    np.testing.assert_array_equal(found.mask("body"), truth)
    assert found.findings == ()


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_contours_half_a_slice_off_leave_no_gaps(shift: float, read: Any, oblique: Geometry) -> None:
    depth = oblique.shape[0]
    places = range(depth) if shift < 0 else range(depth - 1)
    found = read([(z + shift, rectangle(3, 2, 15, 14)) for z in places])
    filled = np.flatnonzero(found.mask("body").any(axis=(1, 2)))
    np.testing.assert_array_equal(filled, np.arange(len(places)))
    assert any("0.50 slices beside" in finding for finding in found.findings)


def test_a_contour_beyond_the_edge_is_said(read: Any, oblique: Geometry) -> None:
    found = read([(1, rectangle(-4, 2, 6, 9))])
    np.testing.assert_array_equal(found.mask("body"), box(oblique, 1, (0, 6), (2, 9)))
    assert any("1 contours reach beyond the image" in finding for finding in found.findings)
