"""The nearest anatomical direction of each array axis."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from promptseg.volume import Geometry
from promptseg.volume.orientation import anatomical_axes, end_letters

SIGNED_PERMUTATIONS = [
    np.eye(3)[list(order)] * np.array(signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def geometry(matrix: np.ndarray) -> Geometry:
    return Geometry((4, 5, 6), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0), tuple(matrix.ravel()))


def small_turn() -> np.ndarray:
    a, b = np.radians((17, -21))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return about_x @ about_y


@pytest.mark.parametrize("matrix", SIGNED_PERMUTATIONS)
@pytest.mark.parametrize("turn", [np.eye(3), small_turn()], ids=["straight", "oblique"])
def test_letters_agree_with_simpleitk(matrix, turn):
    """SimpleITK names, per image axis x, y, z, the side that it grows towards ("LPS" for the identity)."""
    direction = turn @ matrix
    name = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())
    letters = end_letters(geometry(direction))
    assert "".join(letters[axis][1] for axis in (2, 1, 0)) == name
    opposite = {"R": "L", "L": "R", "A": "P", "P": "A", "I": "S", "S": "I"}
    assert all(first == opposite[last] for first, last in letters)


def test_an_exactly_diagonal_grid_still_gets_three_different_axes():
    half = np.sqrt(0.5)
    matrix = np.array([[half, half, 0], [-half, half, 0], [0, 0, 1]])
    assert sorted(axis for axis, _ in anatomical_axes(geometry(matrix))) == [0, 1, 2]
