"""Images: doors for arrays, cuts, and the content's fingerprint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, ReadError
from promptseg.prompts import Plane
from promptseg.volume import Geometry, Volume, Window

SHAPE = (3, 4, 5)
TURN = np.radians(10)
GEOMETRY = Geometry(
    SHAPE, (0.5, 1.5, 6.0), (-20.0, 30.0, 140.0),
    (np.cos(TURN), -np.sin(TURN), 0.0, np.sin(TURN), np.cos(TURN), 0.0, 0.0, 0.0, 1.0),
)  # fmt: skip
# A letter in each corner and another number in every voxel: nothing can be swapped or mirrored unseen.
LETTERED = np.arange(60, dtype=np.int16).reshape(SHAPE)
for _n, _corner in enumerate(np.ndindex(2, 2, 2)):
    LETTERED[tuple(-c for c in _corner)] = 100 + ord("A") + _n


@pytest.fixture
def volume() -> Volume:
    return Volume.from_array(LETTERED.copy(), GEOMETRY)


@pytest.mark.parametrize(
    ("plane", "index", "expected"),
    [
        (Plane.AXIAL, 0, LETTERED[0, :, :]),
        (Plane.AXIAL, 2, LETTERED[2, :, :]),
        (Plane.CORONAL, 0, LETTERED[:, 0, :]),
        (Plane.CORONAL, 3, LETTERED[:, 3, :]),
        (Plane.SAGITTAL, 0, LETTERED[:, :, 0]),
        (Plane.SAGITTAL, 4, LETTERED[:, :, 4]),
    ],
)
def test_cut_takes_the_remaining_axes_in_order(volume, plane, index, expected):
    cut = volume.cut(plane, index)
    np.testing.assert_array_equal(cut, expected)
    assert np.shares_memory(cut, volume.array)


@pytest.mark.parametrize(
    ("plane", "spacing"), [("axial", (1.5, 0.5)), ("coronal", (6.0, 0.5)), ("sagittal", (6.0, 1.5))]
)
def test_cut_spacing_is_row_then_column(volume, plane, spacing):
    assert volume.cut_spacing_mm(Plane(plane)) == spacing


def test_cut_of_colours_keeps_them():
    array = np.random.default_rng(1).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    volume = Volume.from_array(array, GEOMETRY)
    assert volume.is_rgb
    np.testing.assert_array_equal(volume.cut(Plane.SAGITTAL, 2), array[:, :, 2, :])


@pytest.mark.parametrize(
    ("array", "shape", "is_rgb"),
    [
        (np.zeros((4, 5), np.float32), (1, 4, 5), False),
        (np.zeros((4, 3), np.uint8), (1, 4, 3), False),
        (np.zeros((3, 4, 5), np.int16), (3, 4, 5), False),
        (np.zeros((4, 5, 3), np.uint8), (1, 4, 5), True),  # a picture
        (np.zeros((4, 5, 3), np.int16), (4, 5, 3), False),  # three columns of a CT
        (np.zeros((2, 4, 5, 3), np.uint8), (2, 4, 5), True),
        (np.zeros((3, 4, 5), bool), (3, 4, 5), False),
    ],
)
def test_from_array_knows_pictures_volumes_and_colours(array, shape, is_rgb):
    volume = Volume.from_array(array)
    assert (volume.shape, volume.is_rgb) == (shape, is_rgb)
    assert volume.geometry == Geometry(shape)


def test_a_grey_volume_of_three_columns_with_its_geometry_stays_grey():
    array = np.zeros((4, 5, 3), np.uint8)
    volume = Volume.from_array(array, Geometry((4, 5, 3), (1.0, 2.0, 3.0)))
    assert (volume.shape, volume.is_rgb) == ((4, 5, 3), False)


def test_from_array_passes_the_modality_on():
    assert Volume.from_array(LETTERED, GEOMETRY, modality="CT").window.source == "preset:soft-tissue"


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 4, 5), complex), np.array([["a", "b"]]), np.zeros(7), np.zeros((2, 3, 4, 5)), np.array(3.0)],
)
def test_what_is_no_image_is_refused(array):
    with pytest.raises(ReadError, match="got"):
        Volume.from_array(array)


def test_array_and_geometry_must_have_one_shape():
    with pytest.raises(GeometryMismatchError, match=r"\(3, 4, 5\).*\(5, 4, 3\)"):
        Volume.from_array(LETTERED.transpose(2, 1, 0), GEOMETRY)


def test_a_volume_has_no_window_of_its_own_choice(volume):
    narrow = replace(volume, window=Window(1.0, 2.0))
    assert (narrow.window.low, narrow.window.high) == (1.0, 2.0)
    np.testing.assert_array_equal(narrow.array, volume.array)


# --- content_hash ---------------------------------------------------------------------------------------------------


def test_hash_ignores_memory_layout_and_what_is_not_content(volume):
    same = [
        replace(volume, array=np.asfortranarray(LETTERED)),
        replace(volume, array=LETTERED[:, ::-1][:, ::-1]),
        replace(volume, array=np.repeat(LETTERED, 2, axis=2)[:, :, ::2]),
        replace(volume, window=Window(0.0, 5.0)),
        replace(volume, modality="MR", findings=("a gap",)),
    ]
    assert {v.content_hash for v in same} == {volume.content_hash}
    assert len(volume.content_hash) == 64


def test_hash_forgives_what_a_float32_header_changes(volume):
    stored = replace(
        GEOMETRY, direction=tuple(np.float32(GEOMETRY.direction)), origin=tuple(np.add(GEOMETRY.origin, 1e-6))
    )
    assert replace(volume, geometry=stored).content_hash == volume.content_hash


def test_hash_changes_with_voxels_and_frame(volume):
    one = LETTERED.copy()
    one[1, 2, 3] += 1
    others = [
        replace(volume, array=one),
        replace(volume, array=LETTERED[::-1]),
        replace(volume, array=LETTERED[:, :, ::-1]),
        replace(volume, array=LETTERED.astype(np.int32)),
        replace(volume, geometry=replace(GEOMETRY, spacing=(0.5, 1.5, 6.1))),
        replace(volume, geometry=replace(GEOMETRY, origin=(-20.0, 30.0, 140.5))),
        replace(volume, geometry=Geometry(SHAPE, GEOMETRY.spacing, GEOMETRY.origin)),
        Volume.from_array(LETTERED.reshape(4, 3, 5), Geometry((4, 3, 5), GEOMETRY.spacing, GEOMETRY.origin)),
    ]
    assert len({volume.content_hash, *(v.content_hash for v in others)}) == len(others) + 1


def test_hash_does_not_depend_on_byte_order(volume):
    big_endian = replace(volume, array=LETTERED.astype(">i2"))
    np.testing.assert_array_equal(big_endian.array, volume.array)
    assert big_endian.content_hash == volume.content_hash
