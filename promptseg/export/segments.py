"""Objects read from a file that may overlap: each with its own box of voxels on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError, ReadError
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label, Labelmap, find_label

__all__ = ["Segment", "SegmentSet"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Segment:
    """One object.

    Attributes:
        label: its value, name and colour.
        start: (z, y, x) voxel of the grid where ``crop`` begins.
        crop: bool (z, y, x), the part of the grid that the object needs; (0, 0, 0) voxels when it is empty.
    """

    label: Label
    start: tuple[int, int, int]
    crop: BoolArray

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where ``crop`` lies on the grid."""
        z, y, x = (slice(a, a + n) for a, n in zip(self.start, self.crop.shape, strict=True))
        return (z, y, x)


@dataclass(frozen=True, eq=False)
class SegmentSet:
    """Objects on one grid, overlapping or not.

    Attributes:
        geometry: the grid.
        segments: in the file's order.
        findings: sentences that a person should see.
    """

    geometry: Geometry
    segments: tuple[Segment, ...]
    findings: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[int, Label]:
        """Labels by value."""
        return {segment.label.value: segment.label for segment in self.segments}

    def segment(self, key: int | str) -> Segment:
        """Return the object of this label value or name.

        Raises:
            PromptError: there is none; near names are listed.
        """
        value = find_label(self.labels, key).value
        return next(segment for segment in self.segments if segment.label.value == value)

    def mask(self, key: int | str) -> BoolArray:
        """Return bool (z, y, x) of one object on the whole grid."""
        segment = self.segment(key)
        whole = np.zeros(self.geometry.shape, np.bool_)
        whole[segment.box] = segment.crop
        return whole

    def overlapping(self) -> tuple[tuple[str, str], ...]:
        """Return the names of all pairs of objects that share a voxel."""
        pairs = []
        for index, first in enumerate(self.segments):
            for second in self.segments[index + 1 :]:
                if _share_a_voxel(first, second):
                    pairs.append((first.label.name, second.label.name))
        return tuple(pairs)

    def labelmap(self, *, overlap: str = "refuse") -> Labelmap:
        """Return all objects as one array of integers.

        Args:
            overlap: a voxel of two objects is an error (``"refuse"``), or goes to the ``"first"`` or ``"last"``.

        Raises:
            ReadError: objects overlap and ``overlap`` is "refuse".
            PromptError: another word for ``overlap``.
        """
        if overlap not in ("refuse", "first", "last"):
            raise PromptError(f'expected overlap "refuse", "first" or "last", got {overlap!r}')
        if overlap == "refuse" and (pairs := self.overlapping()):
            said = ", ".join(f"{a} with {b}" for a, b in pairs[:5])
            raise ReadError(
                f"the objects overlap ({said}), and a labelmap holds one label per voxel; "
                "say which one wins: `promptseg import ... --overlap first` or `--overlap last`"
            )
        highest = max((segment.label.value for segment in self.segments), default=1)
        array = np.zeros(self.geometry.shape, np.min_scalar_type(highest))
        ordered: Sequence[Segment] = self.segments if overlap != "first" else self.segments[::-1]
        for segment in ordered:
            array[segment.box][segment.crop] = segment.label.value
        return Labelmap(array, self.geometry, self.labels)


def _share_a_voxel(first: Segment, second: Segment) -> bool:
    low = [max(a, b) for a, b in zip(first.start, second.start, strict=True)]
    high = [
        min(a + n, b + m)
        for a, n, b, m in zip(first.start, first.crop.shape, second.start, second.crop.shape, strict=True)
    ]
    if any(h <= lo for lo, h in zip(low, high, strict=True)):
        return False
    parts = [
        segment.crop[tuple(slice(lo - s, h - s) for lo, h, s in zip(low, high, segment.start, strict=True))]
        for segment in (first, second)
    ]
    return bool((parts[0] & parts[1]).any())
