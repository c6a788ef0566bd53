"""A volume's grey values in views, each made once."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.grid import Region, ViewGrid, sample
from promptseg.volume import Volume

__all__ = ["ViewSource"]

KEPT = 4  # views: a person corrects in one and the same, and each is 1 MB

FloatArray = NDArray[np.float32]


class ViewSource:
    """Views of one volume, windowed; the least recently used go."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._kept: OrderedDict[ViewGrid, FloatArray] = OrderedDict()

    def voxels(self, grid: ViewGrid) -> FloatArray:
        """Return float32 (cells), 0 ... 1 within the window; colours as their mean. Treat as read-only."""
        if grid not in self._kept:
            self._kept[grid] = sample(self._grey, self.volume.shape, grid)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(grid)
        return self._kept[grid]

    def drop(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def _grey(self, part: Region) -> FloatArray:
        pixels = self.volume.window.apply(np.ascontiguousarray(self.volume.array[part]))
        return pixels if pixels.ndim == 3 else np.asarray(pixels.mean(axis=3), np.float32)
