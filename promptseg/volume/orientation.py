"""Which way the array's axes run in the patient, to the nearest anatomical direction."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from promptseg.volume.geometry import Geometry

__all__ = ["LETTERS", "anatomical_axes", "end_letters"]

# (towards lower, towards higher) LPS coordinate, for patient axes x, y, z (DICOM C.7.6.2.1.1).
LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


def anatomical_axes(geometry: Geometry) -> tuple[tuple[int, int], ...]:
    """Return for each array axis (z, y, x) the nearest patient axis and the sense in which it runs.

    Each patient axis (0: x, right to left; 1: y, front to back; 2: z, feet to head) is given out once, so that a grid
    turned by 45° still gets three different ones.

    Returns:
        Three of (patient axis, +1 or -1).
    """
    cosines = np.reshape(geometry.direction, (3, 3)).T[::-1]  # row: array axis z, y, x; column: patient x, y, z
    # Sums are rounded so that a grid turned by exactly 45 degrees is decided by order, not by the last bit.
    best = max(permutations(range(3)), key=lambda p: round(sum(abs(cosines[i, a]) for i, a in enumerate(p)), 9))
    return tuple((axis, 1 if cosines[i, axis] >= 0 else -1) for i, axis in enumerate(best))


def end_letters(geometry: Geometry) -> tuple[tuple[str, str], ...]:
    """Return for each array axis (z, y, x) the letters at index 0 and at the last index: R, L, A, P, S or I."""
    axes = anatomical_axes(geometry)
    return tuple(LETTERS[axis] if sense > 0 else (LETTERS[axis][1], LETTERS[axis][0]) for axis, sense in axes)
