"""A session on an image layer: clicks in, labels out. Knows layers by the few attributes that it reads, and no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import promptseg
from promptseg.volume import Geometry, Volume

__all__ = ["Clicks", "volume_of"]


def volume_of(layer: Any) -> Volume:
    """Return an image layer as a volume: data (z, y, x) or (y, x), the layer's scale as mm, its translate as origin.

    Raises:
        promptseg.PromptsegError: a layer of another number of dimensions, or one that is turned or sheared.
    """
    data = np.asarray(layer.data)
    data = data[None] if data.ndim == 2 else data
    if data.ndim != 3:
        raise promptseg.errors.ReadError(f"expected an image layer of 2 or 3 dimensions, got {data.ndim}")
    if not (np.allclose(layer.rotate, np.eye(layer.ndim)) and np.allclose(layer.shear, 0)):
        raise promptseg.errors.ReadError("expected a layer that is neither turned nor sheared; resample it first")
    z, y, x = _three(layer.scale, 1.0)
    oz, oy, ox = _three(layer.translate, 0.0)
    return Volume.from_array(data, Geometry(data.shape, (x, y, z), (ox, oy, oz)))


class Clicks:
    """One person's clicks on one layer.

    Args:
        layer: napari's image layer.
        model: id of a model.
    """

    def __init__(self, layer: Any, model: str = "builtin") -> None:
        self._flat = np.ndim(layer.data) == 2
        self.session = promptseg.open_session(volume_of(layer), model)

    @property
    def labels(self) -> NDArray[Any]:
        """The labels, of the layer's shape."""
        array = self.session.labelmap.array
        return array[0] if self._flat else array

    def click(self, position: Sequence[float], *, positive: bool = True, propagate: bool = False) -> NDArray[Any]:
        """Take a click at a place in the layer's data (z, y, x or y, x); return the labels."""
        place = (0.0, *position) if self._flat else tuple(position)
        z, y, x = (float(value) for value in place)
        self.session.add(promptseg.Point(voxel=(z, y, x), positive=positive), propagate=propagate)
        return self.labels

    def propagate(self) -> NDArray[Any]:
        """Carry the clicked slices through the volume; return the labels."""
        self.session.propagate()
        return self.labels

    def undo(self) -> NDArray[Any]:
        """Take the last step back; return the labels."""
        if self.session.can_undo:
            self.session.undo()
        return self.labels


def _three(values: Sequence[float], missing: float) -> tuple[float, float, float]:
    given = [float(value) for value in values]
    z, y, x = [missing] * (3 - len(given)) + given
    return (z, y, x)
