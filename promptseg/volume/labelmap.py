"""Objects on a volume's grid: one integer per voxel, with a name and a colour per integer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, PromptError, did_you_mean
from promptseg.volume.geometry import Geometry

__all__ = ["DEFAULT_COLORS", "Label", "Labelmap"]

# Okabe & Ito, "Color Universal Design" (2008): distinguishable with every common colour vision deficiency.
DEFAULT_COLORS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


@dataclass(frozen=True)
class Label:
    """One object: ``value`` in the array (1 ... 65535), its ``name``, and its sRGB ``color`` (0 ... 255 each)."""

    value: int
    name: str
    color: tuple[int, int, int]

    @staticmethod
    def default(value: int, name: str | None = None) -> Label:
        """Return a label with the palette's colour for ``value``."""
        return Label(value, name or f"label {value}", DEFAULT_COLORS[(value - 1) % len(DEFAULT_COLORS)])


@dataclass(frozen=True, eq=False)
class Labelmap:
    """Labels on a grid. 0 is background.

    Attributes:
        array: unsigned integers (z, y, x).
        geometry: its frame.
        labels: value to Label, for every value that has a name (a value without one gets a default).

    Raises:
        GeometryMismatchError: array and geometry disagree in shape.
    """

    array: NDArray[Any]
    geometry: Geometry
    labels: Mapping[int, Label] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape or self.array.dtype.kind != "u":
            raise GeometryMismatchError(
                f"expected an unsigned integer array of shape {self.geometry.shape}, "
                f"got {self.array.dtype} of shape {self.array.shape}"
            )

    def label(self, key: int | str) -> Label:
        """Return the label of this value or name; a default one for a value that is there but has no name.

        Raises:
            PromptError: no such label; near names are listed.
        """
        for label in self.labels.values():
            if key in (label.value, label.name):
                return label
        if isinstance(key, int) and key > 0 and bool((self.array == key).any()):
            return Label.default(key)
        names = [label.name for label in self.labels.values()]
        raise PromptError(f"no label {key!r}; known: {', '.join(names) or 'none'}{did_you_mean(str(key), names)}")

    def mask(self, key: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x) of one label, by value or name; of the only one when ``key`` is None.

        Raises:
            PromptError: no such label, or several and no ``key``.
        """
        if key is None:
            if len(self.labels) != 1:
                raise PromptError(f"expected the name or value of one of {len(self.labels)} labels, got none")
            key = next(iter(self.labels))
        return np.asarray(self.array == self.label(key).value)

    def volume_ml(self, key: int | str) -> float:
        """Return voxel count times voxel volume, in millilitres."""
        return float(np.count_nonzero(self.mask(key))) * self.geometry.voxel_volume_mm3 / 1000.0
