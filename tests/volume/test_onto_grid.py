"""Masks in the image's space on another grid: every voxel is compared by its place in the world."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError
from promptseg.volume import Geometry, Label, Labelmap
from promptseg.volume.geometry import SecondFrame
from promptseg.volume.onto_grid import labels_onto

C, S = np.cos(0.3), np.sin(0.3)
IMAGE = Geometry((4, 6, 9), (0.7, 1.3, 2.9), (-31.5, 12.25, -640), (C, -S, 0, S, C, 0, 0, 0, 1))


def at_places(labelmap: Labelmap, geometry: Geometry) -> np.ndarray:
    """Return for each voxel of a grid what the labelmap has at its place, found one by one."""
    truth = np.zeros(geometry.shape, labelmap.array.dtype)
    for index in np.ndindex(*geometry.shape):
        voxel = np.rint(labelmap.geometry.world_to_voxel(geometry.voxel_to_world(index))).astype(int)
        if (voxel >= 0).all() and (voxel < labelmap.array.shape).all():
            truth[index] = labelmap.array[tuple(voxel)]
    return truth


def other_grid(order: tuple[int, ...], signs: tuple[int, ...], cut: tuple[int, ...], grow: int) -> Geometry:
    """Return a grid on the image's lattice: its x, y, z axes in another order and direction, cut and grown."""
    axes = np.reshape(IMAGE.direction, (3, 3))[:, order] * signs
    spacing = np.asarray(IMAGE.spacing)[list(order)]
    sizes = np.asarray(IMAGE.shape[::-1])[list(order)] - np.asarray(cut) + grow
    first = np.asarray(IMAGE.shape[::-1]) - 1
    start = np.zeros(3)
    for axis, sign in zip(order, signs, strict=True):
        start[axis] = first[axis] if sign < 0 else 0
    origin = IMAGE.voxel_to_world(start[::-1]) + axes @ (spacing * (np.asarray(cut) - grow))
    return Geometry(tuple(sizes[::-1]), tuple(spacing), tuple(origin), tuple(axes.ravel()))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize(("cut", "grow"), [((0, 0, 0), 0), ((1, 2, 1), 0), ((0, 1, 0), 2)])
def test_every_axis_order_and_extent(
    order: tuple[int, ...], signs: tuple[int, ...], cut: tuple[int, ...], grow: int
) -> None:
    grid = other_grid(order, signs, cut, grow)
    array = np.random.default_rng(0).integers(0, 3, grid.shape, dtype=np.uint8)
    mask = Labelmap(array, grid, {1: Label(1, "liver", (1, 2, 3))})
    placed, notes = labels_onto(mask, IMAGE)
    np.testing.assert_array_equal(placed.array, at_places(mask, IMAGE))
    assert placed.geometry is IMAGE
    assert placed.labels == mask.labels
    assert bool(notes) is not IMAGE.same_as(grid)
    lost = int(np.count_nonzero(array) - np.count_nonzero(placed.array))
    assert any(note.startswith(f"{lost} labelled voxels") for note in notes) is (lost > 0)


def test_other_voxels_only_when_asked_for() -> None:
    coarse = Geometry((3, 4, 5), (1.4, 2.0, 3.5), (-31.0, 13.0, -640), IMAGE.direction)
    mask = Labelmap(np.random.default_rng(1).integers(0, 3, coarse.shape, dtype=np.uint8), coarse)
    with pytest.raises(GeometryMismatchError, match=r"same grid; .* --resample \(resample=True in Python\)"):
        labels_onto(mask, IMAGE)
    placed, notes = labels_onto(mask, IMAGE, resample=True)
    np.testing.assert_array_equal(placed.array, at_places(mask, IMAGE))
    assert "resampled" in notes[0]


@pytest.mark.parametrize("shift", [0.5, 0.1, 1.0, 40.0])
def test_a_mask_of_the_images_size_beside_it_is_no_mask_of_it(shift: float) -> None:
    x, y, z = IMAGE.origin
    moved = Geometry(IMAGE.shape, IMAGE.spacing, (x, y, z + shift * 2.9), IMAGE.direction)
    with pytest.raises(GeometryMismatchError):
        labels_onto(Labelmap(np.ones(IMAGE.shape, np.uint8), moved), IMAGE)


def test_the_second_place_that_a_nifti_image_states() -> None:
    other = Geometry(IMAGE.shape, IMAGE.spacing, (50, 60, 70), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    second = SecondFrame("sform", (1, 2), tuple(other.affine.ravel()))
    image = Geometry(IMAGE.shape, IMAGE.spacing, IMAGE.origin, IMAGE.direction, second)
    mask = Labelmap(np.arange(216, dtype=np.uint8).reshape(IMAGE.shape), other)
    placed, notes = labels_onto(mask, image)
    np.testing.assert_array_equal(placed.array, mask.array)
    assert placed.geometry is image
    assert "image's sform" in notes[0]
