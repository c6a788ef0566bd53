"""Contours give back the mask they came from, whatever its shape, and other programs fill them alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from promptseg.errors import WriteError
from promptseg.measure.contours import contours_of_mask, mask_of_contours, outlines

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


@settings(max_examples=150, deadline=None)
@given(mask=MASKS, holes=st.sampled_from(["keyhole", "xor"]))
def test_round_trip(mask: NDArray[np.bool_], holes: str) -> None:
    contours = contours_of_mask(mask, holes=holes)
    assert np.array_equal(mask_of_contours(contours, mask.shape), mask)
    assert all(len(contour) >= 3 for contour in contours)


@settings(max_examples=50, deadline=None)
@given(mask=MASKS)
def test_another_program_fills_keyholes_alike(mask: NDArray[np.bool_]) -> None:
    from skimage.draw import polygon2mask

    filled = np.zeros(mask.shape, np.bool_)
    for contour in contours_of_mask(mask):
        part = polygon2mask(mask.shape, contour)
        assert not (filled & part).any()  # one contour per part: whoever unites contours is right too
        filled |= part
    assert np.array_equal(filled, mask)


def test_a_hole_with_an_island() -> None:
    mask = np.zeros((12, 15), np.bool_)
    mask[1:11, 2:14] = True
    mask[3:9, 4:10] = False
    mask[5:7, 6:8] = True
    assert [len(contours_of_mask(mask, holes=kind)) for kind in ("keyhole", "xor")] == [2, 3]
    assert len(outlines(mask)) == 2
    with pytest.raises(WriteError, match="keyhole or xor"):
        contours_of_mask(mask, holes="keyholes")


def test_area_is_the_masks_but_for_the_corners() -> None:
    mask = np.zeros((9, 20), np.bool_)
    mask[2:7, 3:17] = True
    (contour,) = contours_of_mask(mask)
    rows, columns = contour[:, 0], contour[:, 1]
    area = abs(np.sum(columns * np.roll(rows, -1) - np.roll(columns, -1) * rows)) / 2
    assert area == pytest.approx(5 * 14 - 4 / 8)  # each convex corner loses an eighth of a pixel
    assert len(contour) == 8


def test_polygons_of_others() -> None:
    square = np.array([(1.5, 1.5), (1.5, 4.5), (4.5, 4.5), (4.5, 1.5)])
    assert mask_of_contours([square], (6, 6)).sum() == 9
    beside = square + np.array([0, 3])
    assert mask_of_contours([square, beside], (6, 9)).sum() == 18  # parts that share an edge
    through_centres = np.array([(1.0, 1.0), (1.0, 4.0), (4.0, 4.0), (4.0, 1.0)])
    both = [mask_of_contours([through_centres + np.array([0, shift])], (9, 9)) for shift in (0, 3)]
    assert not (both[0] & both[1]).any()  # a centre on a common edge belongs to one of them
    partly_outside = square + np.array([3, -3])
    assert mask_of_contours([partly_outside], (6, 6)).sum() == 2
    assert not mask_of_contours([], (3, 3)).any()
