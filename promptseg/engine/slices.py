"""The volume as slices: windowed cuts and their embeddings, each made once; and one label's masks on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.view_source import ViewSource
from promptseg.models.embeddings import embed_all
from promptseg.models.predictor import Embedding, Predictor, SliceImage
from promptseg.prompts import Plane
from promptseg.volume import Volume
from promptseg.volume.label_voxels import Changed, Layers, as_slices, union

__all__ = ["DEFAULT_CACHE_BYTES", "LabelCanvas", "SliceSource"]

Mask = NDArray[np.bool_]
DEFAULT_CACHE_BYTES = 512 * 1024**2
AHEAD = 2  # slices above and below the one that a person looks at


class SliceSource:
    """Cuts of one volume, windowed and embedded on demand; the least recently used embeddings go when space ends."""

    def __init__(self, volume: Volume, predictor: Predictor, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.volume = volume
        self.views = ViewSource(volume)
        self._predictor = predictor
        self._limit = cache_bytes
        self._held = 0
        self._cache: OrderedDict[tuple[Plane, int], Embedding] = OrderedDict()
        self._coming: tuple[tuple[Plane, int], ...] = ()

    def embedding(self, plane: Plane, index: int) -> Embedding:
        """Return one cut's embedding; what a walk comes to next is made in the same run where the model likes that."""
        key = (plane, index)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        keys = [key]
        if key in self._coming and (batch := int(getattr(self._predictor, "batch", 1))) > 1:
            later = [k for k in self._coming[self._coming.index(key) + 1 :] if k not in self._cache]
            keys = [*reversed(later[: batch - 1]), key]  # the one that is wanted stays longest
        for k, made in zip(keys, embed_all(self._predictor, [self._image(*k) for k in keys]), strict=True):
            self._keep(k, made)
        return self._cache[key]

    def coming(self, plane: Plane, indices: Iterable[int]) -> None:
        """Say which cuts a walk will ask for, in its order; replaces what was said before."""
        self._coming = tuple((plane, index) for index in indices)

    def look_ahead(self, plane: Plane, index: int) -> None:
        """A person looks at a cut: embed it and its neighbours meanwhile, where the model has a thread for that."""
        near = [index, *(index + way * step for step in range(1, AHEAD + 1) for way in (1, -1))]
        inside = [(plane, at) for at in near if 0 <= at < self.volume.shape[plane.axis]]
        ahead = getattr(self._predictor, "prefetch", None)
        if ahead is not None:
            ahead(self._image(*key) for key in inside if key not in self._cache)

    def _image(self, plane: Plane, index: int) -> SliceImage:
        pixels = self.volume.window.apply(np.ascontiguousarray(self.volume.cut(plane, index)))
        return SliceImage(pixels, self.volume.cut_spacing_mm(plane))

    def _keep(self, key: tuple[Plane, int], made: Embedding) -> None:
        self._cache[key] = made
        self._held += made.nbytes
        while self._held > self._limit and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._held -= dropped.nbytes

    def drop(self) -> None:
        """Forget all embeddings."""
        self._cache.clear()
        self._held = 0
        self.views.drop()


class LabelCanvas:
    """One label's masks on the slices of one plane: reads the labelmap, collects changes, writes nothing back.

    Args:
        source: the volume's cuts.
        plane: the plane walked in.
        layers: the session's voxels.
        value: the label.
        locked: labels that keep their voxels.
        other_anchors: (plane, index) of this label's anchors in other planes: a walk leaves those slices alone.
        only: slices whose masks are seen, the others count as empty; None: all are seen.
    """

    def __init__(
        self,
        source: SliceSource,
        plane: Plane,
        layers: Layers,
        value: int,
        *,
        locked: frozenset[int] = frozenset(),
        other_anchors: tuple[tuple[Plane, int], ...] = (),
        only: frozenset[int] | None = None,
    ) -> None:
        self._source, self._only = source, only
        self.plane = plane
        self._layers = layers
        self._array = layers.array(layers.key(value))
        self._value = value
        self._locked = locked
        self._other = other_anchors
        self.spacing_mm = source.volume.cut_spacing_mm(plane)
        self.slice_count = source.volume.shape[plane.axis]
        self.gap_mm = source.volume.geometry.spacing_zyx[plane.axis]
        self.changes: dict[int, Mask] = {}
        self._fresh: list[Changed] = []

    def embedding(self, index: int) -> Embedding:
        """Return the slice's embedding."""
        return self._source.embedding(self.plane, index)

    def coming(self, indices: Iterable[int]) -> None:
        """Say which slices a walk will ask for, in its order."""
        self._source.coming(self.plane, indices)

    def values(self, index: int, mask: Mask) -> NDArray[np.float32]:
        """Return the windowed intensities (n,) or (n, 3) under a mask of the slice."""
        volume = self._source.volume
        return volume.window.apply(volume.cut(self.plane, index)[mask])

    def pixels(self, index: int) -> NDArray[np.float32]:
        """Return the slice's windowed grey values (h, w), 0 ... 1; of colours their mean."""
        volume = self._source.volume
        cut = volume.window.apply(np.ascontiguousarray(volume.cut(self.plane, index)))
        return cut if cut.ndim == 2 else np.asarray(cut.mean(axis=2), np.float32)

    def _where(self, index: int) -> tuple[slice | int, ...]:
        return (slice(None),) * self.plane.axis + (index,)

    def _cut(self, index: int) -> NDArray[np.uint8]:
        return self._array[self._where(index)]

    def mask(self, index: int) -> Mask:
        """Return the label's mask on the slice, with the changes staged so far."""
        if index in self.changes:
            return self.changes[index]
        if self._only is not None and index not in self._only:
            return np.zeros(self._cut(index).shape, np.bool_)
        return np.asarray(self._cut(index) == self._value)

    def whole(self) -> Mask:
        """Return bool (z, y, x): all slices' masks as seen here."""
        return np.stack([self.mask(index) for index in range(self.slice_count)], axis=self.plane.axis)

    def locked(self, index: int) -> Mask | None:
        """Return the slice's pixels that this label may not take, or None."""
        return self._layers.refused(self._value, self._locked, self._where(index))

    def protected(self, index: int) -> Mask | None:
        """Return the pixels that a walk must leave alone: locked labels, and crossings with other planes' anchors."""
        locked = self.locked(index)
        if not self._other:
            return locked
        kept = np.zeros(self._cut(index).shape, np.bool_) if locked is None else locked
        for plane, crossing in self._other:
            axis = [a for a in range(3) if a != self.plane.axis].index(plane.axis)
            kept[(slice(None),) * axis + (crossing,)] = True
        return kept

    def write(self, index: int, mask: Mask) -> None:
        """Stage the slice's new mask."""
        box = self._box(index, mask != self.mask(index))
        if box is not None:
            self._fresh.append(box)
        self.changes[index] = mask

    def take_fresh(self) -> Changed | None:
        """Return the half-open box (z, y, x) that was staged since this was last called."""
        fresh, self._fresh = self._fresh, []
        return union(fresh) if fresh else None

    def changed_box(self) -> Changed | None:
        """Return the half-open box (z, y, x) around all staged changes; None when there are none."""
        found = [self._box(index, mask != (self._cut(index) == self._value)) for index, mask in self.changes.items()]
        boxes = [box for box in found if box is not None]
        return union(boxes) if boxes else None

    def _box(self, index: int, different: Mask) -> Changed | None:
        """The half-open box (z, y, x) around the marked pixels of a slice."""
        rows, columns = np.flatnonzero(different.any(axis=1)), np.flatnonzero(different.any(axis=0))
        if rows.size == 0:
            return None
        low = [int(rows[0]), int(columns[0])]
        high = [int(rows[-1]) + 1, int(columns[-1]) + 1]
        low.insert(self.plane.axis, index)
        high.insert(self.plane.axis, index + 1)
        return ((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def staged_in(self, box: Changed) -> NDArray[np.uint8]:
        """Return a copy of the label's layer inside a half-open box (z, y, x), with the staged changes laid down."""
        part = self._array[as_slices(box)].copy()
        axis = self.plane.axis
        low, high = box[0][axis], box[1][axis]
        inner = tuple(cut for at, cut in enumerate(as_slices(box)) if at != axis)
        for index, mask in self.changes.items():
            if low <= index < high:
                self._lay(part[(slice(None),) * axis + (index - low,)], mask[inner])
        return part

    def lay_down(self) -> None:
        """Write the staged masks into the labelmap."""
        for index, mask in self.changes.items():
            self._lay(self._cut(index), mask)
        self.changes.clear()

    def _lay(self, cut: NDArray[np.uint8], mask: Mask) -> None:
        cut[(cut == self._value) & ~mask] = 0
        cut[mask] = self._value
