"""Several planes' masks of one object joined into one: a vote, weighted by how fine the planes' pixels are.

A plane's slices are the finer, the smaller their pixels in mm. In an isotropic volume all three count alike; in a stack
of 6.5 mm slices with 0.8 mm pixels a sagittal or coronal slice shows eight times fewer details, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from promptseg.prompts import Plane

__all__ = ["best_slice", "extent", "plane_weight", "vote", "worth_walking"]

Mask = NDArray[np.bool_]
LEAST_WEIGHT = 0.25  # of the finest plane's: pixels four times as large; the built-in network squares no longer ones


def plane_weight(plane: Plane, spacing_zyx: tuple[float, float, float]) -> float:
    """Return how fine a plane's pixels are: 1 where they are as fine as any, else their share of the finest's area."""
    finest = sorted(spacing_zyx)[:2]
    row_mm, column_mm = (spacing_zyx[axis] for axis in range(3) if axis != plane.axis)
    return finest[0] * finest[1] / (row_mm * column_mm)


def worth_walking(spacing_zyx: tuple[float, float, float]) -> tuple[Plane, ...]:
    """Return the planes whose slices are fine enough to have a say."""
    return tuple(plane for plane in Plane if plane_weight(plane, spacing_zyx) >= LEAST_WEIGHT)


def vote(masks: Mapping[Plane, Mask], spacing_zyx: tuple[float, float, float]) -> Mask:
    """Join masks (z, y, x): a voxel belongs to the object where more than half of the weight says so.

    Where the planes are evenly split, the first one of ``masks`` decides.
    """
    weights = {plane: plane_weight(plane, spacing_zyx) for plane in masks}
    first, even = next(iter(masks)), 1e-6 * sum(weights.values())
    joined = np.empty_like(masks[first])
    for z in range(len(joined)):  # a slice at a time: no copy of the volume in floating point
        votes = sum(np.where(mask[z], weights[plane], -weights[plane]) for plane, mask in masks.items())
        joined[z] = (votes > even) | (masks[first][z] & (votes >= -even))
    return joined


def extent(mask: Mask, plane: Plane) -> tuple[int, int]:
    """Return the half-open range of a plane's slices that a non-empty mask lies in."""
    hit = np.flatnonzero(mask.any(axis=tuple(axis for axis in range(3) if axis != plane.axis)))
    return int(hit[0]), int(hit[-1]) + 1


def best_slice(mask: Mask, plane: Plane) -> int:
    """Return the plane's slice with most of a mask; among equals the middle one."""
    areas = np.count_nonzero(mask, axis=tuple(axis for axis in range(3) if axis != plane.axis))
    most = np.flatnonzero(areas == areas.max())
    return int(most[len(most) // 2])
