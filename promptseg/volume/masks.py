"""Masks by label value on one grid: what a labelmap and a set of segments have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label

__all__ = ["BoolArray", "Masks"]


BoolArray = NDArray[np.bool_]


class Masks(Protocol):
    """Named masks on one grid: a ``Labelmap``, or a ``SegmentSet`` whose objects may overlap.

    Contract: ``mask`` returns bool (z, y, x) of the geometry's shape for the value of any label in ``labels``.
    """

    @property
    def geometry(self) -> Geometry:
        """The grid."""
        ...

    @property
    def labels(self) -> Mapping[int, Label]:
        """Labels by value."""
        ...

    def mask(self, key: int | str) -> BoolArray:
        """Return one label's mask."""
        ...
