"""The voxels of all labels: one shared array, or one per label where labels may overlap; changes as patches."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARED", "Changed", "Layers", "Patch", "bounds", "union"]

Mask = NDArray[np.bool_]
Changed: TypeAlias = tuple[tuple[int, int, int], tuple[int, int, int]]
SHARED = 0  # the key of the layer that all labels share


@dataclass(frozen=True)
class Patch:
    """One layer's content of a half-open box (z, y, x) before and after a change, zlib-compressed."""

    layer: int
    box: Changed
    before: bytes
    after: bytes

    @property
    def digest(self) -> str:
        """sha256 (hex) of the voxels after the change."""
        return hashlib.sha256(zlib.decompress(self.after)).hexdigest()


class Layers:
    """Label values on a grid, uint8 (z, y, x), 0 where there is none.

    Args:
        shape: (z, y, x).
        overlap: "allow": each label has an array of its own; else all share one, and callers say who keeps its voxels.
    """

    def __init__(self, shape: tuple[int, int, int], overlap: str) -> None:
        self._shape = shape
        self._overlap = overlap
        self._arrays: dict[int, NDArray[np.uint8]] = {}

    def key(self, value: int) -> int:
        """Return the layer that holds a label."""
        return value if self._overlap == "allow" else SHARED

    def array(self, key: int) -> NDArray[np.uint8]:
        """Return a layer's array itself."""
        if key not in self._arrays:
            self._arrays[key] = np.zeros(self._shape, np.uint8)
        return self._arrays[key]

    def copies(self) -> dict[int, NDArray[np.uint8]]:
        """Return a copy of every layer by its key."""
        return {key: array.copy() for key, array in self._arrays.items()}

    def replace(self, arrays: Mapping[int, NDArray[np.uint8]]) -> None:
        """Put other layers (key to uint8 (z, y, x), taken as they are) in place of all."""
        self._arrays = dict(arrays)

    def mask(self, value: int) -> Mask:
        """Return bool (z, y, x) of one label."""
        return np.asarray(self.array(self.key(value)) == value)

    def has(self, value: int, where: tuple[Any, ...]) -> bool:
        """Return True when the label has a voxel in the part of the grid that ``where`` indexes."""
        return bool((self.array(self.key(value))[where] == value).any())

    def refused(self, value: int, locked: Iterable[int], where: tuple[Any, ...]) -> Mask | None:
        """Return the voxels, in the part that ``where`` indexes, that a label may not take; None: it may take all."""
        if self._overlap == "allow":
            masks = [self.array(other)[where] == other for other in locked if other != value]
            return np.asarray(np.logical_or.reduce(masks)) if masks else None
        held = tuple(other for other in locked if other != value)
        return np.asarray(np.isin(self.array(SHARED)[where], held)) if held else None

    def flat(
        self, where: tuple[slice, ...] = (), staged: Mapping[int, NDArray[np.uint8]] | None = None
    ) -> NDArray[np.uint8]:
        """Return a copy of all labels in one array; where labels overlap the higher value lies on top.

        Args:
            where: the part of the grid; all of it by default.
            staged: layers (key to that part's content) that are not yet laid down.
        """
        parts = {key: array[where] for key, array in self._arrays.items()} | dict(staged or {})
        if not parts:
            return np.zeros(self._shape, np.uint8)[where].copy()
        first, *others = sorted(parts)
        flat = parts[first].copy()
        for key in others:
            np.copyto(flat, parts[key], where=parts[key] != 0)
        return flat

    def patch_to(self, value: int, wanted: Mask, locked: Iterable[int]) -> Patch | None:
        """Return the change that makes ``wanted`` (z, y, x) the label's mask, as far as it may; None: no change."""
        box = bounds(self.mask(value) ^ wanted)
        if box is None:
            return None
        where = as_slices(box)
        before = self.array(self.key(value))[where]
        after = np.where(before == value, np.uint8(0), before)
        refused = self.refused(value, locked, where)
        after[wanted[where] if refused is None else wanted[where] & ~refused] = value
        return make_patch(self.key(value), box, before, after)

    def import_patches(self, array: NDArray[Any], locked: Iterable[int]) -> tuple[Patch, ...]:
        """Return the changes that lay down new labels, which have no voxel yet.

        Args:
            array: their values (z, y, x), 0 where there is none.
            locked: labels that keep their voxels.
        """
        values = np.flatnonzero(np.bincount(array.ravel()))
        box = bounds(array != 0)
        if box is None:
            return ()
        if self._overlap == "allow":
            made = [self.patch_to(int(value), array == value, locked) for value in values[values > 0]]
        else:
            where = as_slices(box)
            before, wanted = self.array(SHARED)[where], array[where].astype(np.uint8)
            refused = self.refused(int(values[-1]), locked, where)
            taken = wanted != 0 if refused is None else (wanted != 0) & ~refused
            made = [make_patch(SHARED, box, before, np.where(taken, wanted, before))]
        return tuple(patch for patch in made if patch is not None)

    def merge_patches(self, source: int, into: int) -> tuple[Patch, ...]:
        """Return the changes that give one label's voxels to another."""
        if self._overlap != "allow":
            box = bounds(self.mask(source))
            if box is None:
                return ()
            before = self.array(SHARED)[as_slices(box)]
            made = [make_patch(SHARED, box, before, np.where(before == source, np.uint8(into), before))]
        else:
            both = self.mask(source) | self.mask(into)
            made = [self.patch_to(into, both, ()), self.patch_to(source, np.zeros(self._shape, np.bool_), ())]
        return tuple(patch for patch in made if patch is not None)

    def lay(self, patch: Patch, *, after: bool) -> None:
        """Write a patch's content from after, or before, its change."""
        view = self.array(patch.layer)[as_slices(patch.box)]
        view[...] = np.frombuffer(zlib.decompress(patch.after if after else patch.before), np.uint8).reshape(view.shape)


def make_patch(layer: int, box: Changed, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Patch | None:
    """Return the change inside ``box``, shrunk to what really differs; None when nothing does."""
    inner = bounds(before != after)
    if inner is None:
        return None
    cut = as_slices(inner)
    corners = [tuple(int(a + b) for a, b in zip(box[0], corner, strict=True)) for corner in inner]
    (z0, y0, x0), (z1, y1, x1) = corners
    shrunk: Changed = ((z0, y0, x0), (z1, y1, x1))
    return Patch(layer, shrunk, zlib.compress(before[cut].tobytes(), 1), zlib.compress(after[cut].tobytes(), 1))


def as_slices(box: Changed) -> tuple[slice, ...]:
    """Return a half-open box as slices."""
    return tuple(slice(a, b) for a, b in zip(*box, strict=True))


def bounds(mask: Mask) -> Changed | None:
    """Return the smallest half-open box around a mask (z, y, x); None when it is empty."""
    spans = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if hit.size == 0:
            return None
        spans.append((int(hit[0]), int(hit[-1]) + 1))
    (z0, z1), (y0, y1), (x0, x1) = spans
    return ((z0, y0, x0), (z1, y1, x1))


def union(boxes: Sequence[Changed]) -> Changed:
    """Return the smallest half-open box that holds all boxes."""
    low, high = (np.array([box[side] for box in boxes]) for side in (0, 1))
    (z0, y0, x0), (z1, y1, x1) = low.min(axis=0).tolist(), high.max(axis=0).tolist()
    return ((z0, y0, x0), (z1, y1, x1))
