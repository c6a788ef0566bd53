"""A network's input while it is small: a slice's levels, and how they become the input's values, here or on a GPU.

A GPU takes a slice in bytes, a twelfth of the input's size or less, and resamples and normalises it itself
(``planes_on_torch``), to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUNDING_BITS", "Planes", "inputs", "taps"]

FloatArray = NDArray[np.float32]

ROUNDING_BITS = 22
"""Pillow multiplies bytes with weights in whole 2**-22 (PRECISION_BITS in src/libImaging/Resample.c)."""


@dataclass(frozen=True, eq=False)
class Planes:
    """One slice before it is resampled and normalised.

    Attributes:
        levels: (1 or 3, h, w), bytes, or float32 where its way resamples floats; one plane stands for three.
        inner: (h, w) that they take in the input, from its upper left corner; bytes of another size are resampled as
            Pillow does, bilinear.
        edges: (h, w) of the input; zeros below and right of ``inner``.
        offset: (3,) float32.
        scale: (3,) float32; a channel is (levels - offset) / scale, in float32.
    """

    levels: NDArray[Any]
    inner: tuple[int, int]
    edges: tuple[int, int]
    offset: FloatArray
    scale: FloatArray

    def trimmed(self, edges: tuple[int, int]) -> Planes:
        """The same in a smaller input."""
        return replace(self, edges=edges)

    @property
    def likeness(self) -> tuple[Any, ...]:
        """Equal for planes that go through a network, and onto a device, together."""
        return (self.edges, self.inner, self.levels.shape, self.levels.dtype.str)

    def write(self, out: FloatArray) -> None:
        """Write the input into (3, *edges)."""
        h, w = self.inner
        planes = [_resampled(plane, self.inner) for plane in self.levels]
        out[:, h:], out[:, :h, w:] = 0, 0
        for i in range(3):
            np.subtract(planes[i % len(planes)], self.offset[i], out=out[i, :h, :w], dtype=np.float32)
            out[i, :h, :w] /= self.scale[i]


def inputs(batch: Sequence[Planes]) -> FloatArray:
    """Planes of one ``edges`` -> (n, 3, h, w)."""
    out = np.empty((len(batch), 3, *batch[0].edges), np.float32)
    for planes, one in zip(batch, out, strict=True):
        planes.write(one)
    return out


def _resampled(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    if plane.shape == shape:
        return plane
    from PIL import Image

    return np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


@lru_cache(maxsize=64)
def taps(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Which pixels of a line of ``size`` make each of ``wanted``, and their weights in 2**-``ROUNDING_BITS``.

    As precompute_coeffs and normalize_coeffs_8bpc in Pillow's src/libImaging/Resample.c do for a bilinear filter.

    Returns:
        (wanted, k) indices and weights; places that are not needed have weight 0.
    """
    ratio = size / wanted
    reach = max(ratio, 1.0)
    places = np.zeros((wanted, 2 * math.ceil(reach) + 1), np.int64)
    weights = np.zeros(places.shape, np.int32)
    for out in range(wanted):
        centre = (out + 0.5) * ratio
        first, end = max(0, int(centre - reach + 0.5)), min(size, int(centre + reach + 0.5))
        near = np.maximum(0.0, 1 - np.abs((np.arange(first, end) - centre + 0.5) / reach))
        places[out, : end - first] = np.arange(first, end)
        weights[out, : end - first] = (0.5 + near / near.sum() * (1 << ROUNDING_BITS)).astype(np.int32)
    return places, weights
