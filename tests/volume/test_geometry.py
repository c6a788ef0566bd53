"""Voxels to millimetres and back, checked against SimpleITK's own arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from promptseg.errors import GeometryError, GeometryMismatchError
from promptseg.volume import Geometry

SHAPE, SPACING, ORIGIN = (7, 11, 5), (0.7, 1.3, 4.1), (-112.5, 43.25, 811.0)


def turned(ax: float, ay: float, az: float, flips: tuple[int, int, int] = (1, 1, 1)) -> tuple[float, ...]:
    """Return a direction turned by degrees about x, y, z with some axes reversed."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians((ax, ay, az))), np.sin(np.radians((ax, ay, az)))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return tuple((about_z @ about_y @ about_x @ np.diag(flips)).ravel())


OBLIQUE = Geometry(SHAPE, SPACING, ORIGIN, turned(12, -7, 25))

angles = st.floats(-180, 180).map(lambda degrees: round(degrees, 9))  # ITK's SVD answers NaN to angles like 1e-310
numbers = st.floats(-1000, 1000)
geometries = st.builds(
    Geometry,
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.05, 12)] * 3),
    origin=st.tuples(*[numbers] * 3),
    direction=st.builds(turned, angles, angles, angles, st.tuples(*[st.sampled_from([1, -1])] * 3)),
)
voxels = st.tuples(*[st.floats(-50, 600)] * 3)


def as_itk(geometry: Geometry) -> sitk.Image:
    image = sitk.Image([int(n) for n in geometry.shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


@given(geometries, voxels)
def test_voxel_to_world_and_back_is_the_identity(geometry, voxel):
    np.testing.assert_allclose(geometry.world_to_voxel(geometry.voxel_to_world(voxel)), voxel, atol=1e-6)


@given(geometries, voxels)
def test_world_positions_are_those_of_simpleitk(geometry, voxel):
    image = as_itk(geometry)
    expected = image.TransformContinuousIndexToPhysicalPoint(tuple(voxel[::-1]))
    np.testing.assert_allclose(geometry.voxel_to_world(voxel), expected, atol=1e-6)
    whole = tuple(round(v) for v in voxel)
    expected = image.TransformIndexToPhysicalPoint(whole[::-1])
    np.testing.assert_allclose(geometry.voxel_to_world(whole), expected, atol=1e-6)


@given(geometries, st.tuples(numbers, numbers, numbers))
def test_voxel_positions_are_those_of_simpleitk(geometry, world):
    expected = as_itk(geometry).TransformPhysicalPointToContinuousIndex(world)[::-1]
    np.testing.assert_allclose(geometry.world_to_voxel(world), expected, rtol=1e-9, atol=1e-6)


def test_many_points_at_once_keep_their_shape():
    points = np.random.default_rng(3).uniform(-5, 30, size=(4, 6, 3))
    together = OBLIQUE.voxel_to_world(points)
    assert together.shape == (4, 6, 3)
    np.testing.assert_allclose(together[2, 5], OBLIQUE.voxel_to_world(points[2, 5]))
    np.testing.assert_allclose(OBLIQUE.world_to_voxel(together), points, atol=1e-9)


def test_one_step_along_each_array_axis_moves_by_its_spacing_along_its_direction():
    start = OBLIQUE.voxel_to_world((2, 3, 1))
    matrix = np.reshape(OBLIQUE.direction, (3, 3))
    for step, column in (((1, 0, 0), 2), ((0, 1, 0), 1), ((0, 0, 1), 0)):
        moved = OBLIQUE.voxel_to_world(np.add((2, 3, 1), step))
        np.testing.assert_allclose(moved - start, matrix[:, column] * SPACING[column])


def test_affine_takes_x_first():
    np.testing.assert_allclose((OBLIQUE.affine @ [4, 9, 6, 1])[:3], OBLIQUE.voxel_to_world((6, 9, 4)))
    np.testing.assert_allclose(OBLIQUE.affine[:3, 3], ORIGIN)
    assert abs(np.linalg.det(OBLIQUE.affine[:3, :3])) == pytest.approx(OBLIQUE.voxel_volume_mm3)


def test_corners_are_the_extreme_voxel_centres():
    image = as_itk(OBLIQUE)
    ends = [(0, n - 1) for n in SHAPE[::-1]]
    expected = {
        tuple(np.round(image.TransformIndexToPhysicalPoint((x, y, z)), 6))
        for x in ends[0]
        for y in ends[1]
        for z in ends[2]
    }
    assert {tuple(np.round(c, 6)) for c in OBLIQUE.corners()} == expected


def test_spacing_zyx_and_voxel_volume():
    assert OBLIQUE.spacing_zyx == (4.1, 1.3, 0.7)
    assert OBLIQUE.voxel_volume_mm3 == pytest.approx(0.7 * 1.3 * 4.1)


@pytest.mark.parametrize(
    ("voxel", "inside"),
    [
        ((0, 0, 0), True),
        ((-0.5, 0, 0), True),
        ((-0.51, 0, 0), False),
        ((6.49, 10.49, 4.49), True),
        ((6.5, 0, 0), False),
        ((0, 10.5, 0), False),
        ((0, 0, 4.5), False),
        ((4, 5, 6), False),  # inside only where z and x are mixed up
    ],
)
def test_contains_reaches_to_the_outer_faces(voxel, inside):
    assert OBLIQUE.contains(voxel) == inside


def moved_by_voxels(geometry: Geometry, voxel: tuple[float, float, float]) -> Geometry:
    return replace(geometry, origin=tuple(geometry.voxel_to_world(voxel)))


def flipped(geometry: Geometry, column: int) -> Geometry:
    """The same box in space, its array axis reversed."""
    last = [0, 0, 0]
    last[2 - column] = geometry.shape[2 - column] - 1
    matrix = np.reshape(geometry.direction, (3, 3)).copy()
    matrix[:, column] *= -1
    return replace(geometry, origin=tuple(geometry.voxel_to_world(last)), direction=tuple(matrix.ravel()))


DIFFERENT = {
    "shifted by a voxel in z": moved_by_voxels(OBLIQUE, (1, 0, 0)),
    "shifted by a voxel in x": moved_by_voxels(OBLIQUE, (0, 0, 1)),
    "shifted by a tenth of a voxel": moved_by_voxels(OBLIQUE, (0, 0, 0.1)),
    "flipped in x": flipped(OBLIQUE, 0),
    "flipped in y": flipped(OBLIQUE, 1),
    "flipped in z": flipped(OBLIQUE, 2),
    "turned by half a degree": replace(OBLIQUE, direction=turned(12, -7, 25.5)),
    "one slice more": replace(OBLIQUE, shape=(8, 11, 5)),
    "axes in another order": replace(OBLIQUE, shape=(5, 11, 7)),
    "spacing in another order": replace(OBLIQUE, spacing=SPACING[::-1]),
    "spacing 2 % larger": replace(OBLIQUE, spacing=(0.714, 1.3, 4.1)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_same_as_sees_a_difference_both_ways_round(name):
    assert not OBLIQUE.same_as(DIFFERENT[name])
    assert not DIFFERENT[name].same_as(OBLIQUE)


def test_same_as_sees_spacing_where_corners_cannot():
    """One slice: its corners say nothing of the slice spacing."""
    one = Geometry((1, 11, 5), SPACING, ORIGIN)
    assert not one.same_as(replace(one, spacing=(0.7, 1.3, 5.0)))


@given(geometries)
def test_same_as_forgives_float32_headers(geometry):
    stored = replace(
        geometry,
        spacing=tuple(np.float32(geometry.spacing)),
        origin=tuple(np.float32(geometry.origin)),
        direction=tuple(np.float32(geometry.direction)),
    )
    assert geometry.same_as(geometry)
    assert geometry.same_as(stored)


def test_require_same_prints_both_geometries():
    other = DIFFERENT["flipped in x"]
    OBLIQUE.require_same(replace(OBLIQUE), "mask and image")
    with pytest.raises(GeometryMismatchError, match=re.escape(str(other))) as caught:
        OBLIQUE.require_same(other, "mask and image")
    assert str(OBLIQUE) in str(caught.value)
    assert str(caught.value).startswith("mask and image")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (3, 4)}, "shape"),
        ({"shape": (3, 0, 4)}, "shape"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, -2.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "spacing"),
        ({"spacing": (1.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, 1.0, 1e-7)}, "wide"),
        ({"spacing": (2e5, 1.0, 1.0)}, "wide"),
        ({"origin": (0.0, float("inf"), 0.0)}, "origin"),
        ({"direction": (1.0,) * 9}, "direction"),
        ({"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)}, "direction"),
        ({"direction": (2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "direction"),
        ({"direction": (1.0, 0.2, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "direction"),
        ({"direction": (1.0, 0.0, 0.0)}, "direction"),
    ],
)
def test_impossible_frames_are_refused(change, said):
    with pytest.raises(GeometryError, match=f"expected .*{said}.*got"):
        replace(OBLIQUE, **change)


def test_arrays_are_accepted_and_become_plain_tuples():
    geometry = Geometry(tuple(np.array(SHAPE)), np.array(SPACING), np.array(ORIGIN), np.eye(3))
    assert geometry == Geometry(SHAPE, SPACING, ORIGIN)
    assert hash(geometry) == hash(Geometry(SHAPE, SPACING, ORIGIN))
    assert all(type(v) is float for v in (*geometry.spacing, *geometry.origin, *geometry.direction))
