"""Wrong masks as automatic segmentations give them: a true mask with one large fault, the same for the same name.

The kinds are those that a person meets who corrects a whole-body segmentation: a part is missing, the mask leaks into
what lies beside it, a neighbour is taken along, the border lies beside the true one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["FAULTS", "faulty"]

BoolArray = NDArray[np.bool_]
Fault = Callable[[BoolArray, Sequence[float], np.random.Generator], BoolArray]

PART_MISSING = 0.35  # of the voxels
LEAK = 0.5  # of the object's volume, as a ball at its border
NEIGHBOUR_GAP = 0.9  # of the object's size: how far off its like is that was taken along
BORDER_SHIFT = 0.25  # of the object's depth, inward here and outward there
WAVES = 0.35  # of the object's size: over this the shift changes its sign


def faulty(truth: BoolArray, spacing_mm: Sequence[float], name: str) -> BoolArray:
    """Return a true mask (z, y, x), not empty, with one fault; kind and place follow from the name.

    Where a kind changes nothing (a neighbour that would lie outside the image), it is the next one.
    """
    seed = zlib.crc32(name.encode())
    kinds = list(FAULTS.values())
    for offset in range(len(kinds)):
        wrong = kinds[(seed + offset) % len(kinds)](truth, spacing_mm, np.random.default_rng(seed))
        if wrong.any() and not np.array_equal(wrong, truth):
            return wrong
    return np.zeros_like(truth)


def _missing(truth: BoolArray, spacing_mm: Sequence[float], rng: np.random.Generator) -> BoolArray:
    """What lies beyond a plane is missing."""
    at = np.argwhere(truth)
    along = (at * np.asarray(spacing_mm)) @ _direction(rng)
    mask = truth.copy()
    mask[tuple(at[along > np.quantile(along, 1 - PART_MISSING)].T)] = False
    return mask


def _leak(truth: BoolArray, spacing_mm: Sequence[float], rng: np.random.Generator) -> BoolArray:
    """A ball at the border is too much."""
    border = np.argwhere(truth & ~ndimage.binary_erosion(truth))
    centre = border[rng.integers(len(border))]
    size_mm3 = LEAK * np.count_nonzero(truth) * np.prod(spacing_mm)
    radius = (3 * size_mm3 / (4 * np.pi)) ** (1 / 3)
    far = sum(
        (((np.arange(n) - c) * mm) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, c, mm) in enumerate(zip(truth.shape, centre, spacing_mm, strict=True))
    )
    return np.asarray(truth | (far <= radius**2))


def _neighbour(truth: BoolArray, spacing_mm: Sequence[float], rng: np.random.Generator) -> BoolArray:
    """Another of its kind, beside it along one axis, is taken along."""
    del spacing_mm
    axis = int(rng.integers(3))
    hit = np.flatnonzero(truth.any(axis=tuple(a for a in range(3) if a != axis)))
    gap = max(1, round(NEIGHBOUR_GAP * (int(hit[-1]) + 1 - int(hit[0]))))
    shift = gap if int(hit[0]) + int(hit[-1]) < truth.shape[axis] else -gap  # to where there is more room
    return np.asarray(truth | (ndimage.shift(truth.astype(np.uint8), np.eye(3)[axis] * shift, order=0) > 0))


def _border(truth: BoolArray, spacing_mm: Sequence[float], rng: np.random.Generator) -> BoolArray:
    """The border lies further in here and further out there."""
    spacing = tuple(map(float, spacing_mm))
    depth = edt.edt(truth, anisotropy=spacing, black_border=True) - edt.edt(~truth, anisotropy=spacing)
    size_mm = float(np.cbrt(np.count_nonzero(truth) * np.prod(spacing)))
    waves = ndimage.gaussian_filter(rng.normal(size=truth.shape), [WAVES * size_mm / mm for mm in spacing])
    return np.asarray(depth > BORDER_SHIFT * depth.max() * np.clip(waves / max(waves.std(), 1e-9), -2, 2))


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    found = rng.normal(size=3)
    return np.asarray(found / np.linalg.norm(found))


FAULTS: dict[str, Fault] = {"missing": _missing, "leak": _leak, "neighbour": _neighbour, "border": _border}
