"""What the built-in 3D network sees: a view of a volume with the prompts drawn as maps.

The network knows prompts on slices of its first axis only; views that were prompted on another plane are turned.
Training draws the same maps on its device; a test holds both to each other.
"""

from __future__ import annotations

from typing import TypeVar

import edt
import numpy as np
from numpy.typing import NDArray

from promptseg.models.volume_predictor import AxisRange, KnownSlice, SliceBox, View, ViewPrompts

__all__ = [
    "CHANNELS",
    "CLICK_REACH",
    "draw_view",
    "emboldened",
    "prompted_axis",
    "to_network",
    "to_view",
    "with_previous",
]

T = TypeVar("T", bound=np.generic)
FloatArray = NDArray[np.float32]

CHANNELS = ("image", "box", "range", "known", "positive", "negative", "previous")
"""The network's input channels, in order."""

CLICK_REACH = 5.0
"""A click's map falls by a factor of e over so many voxels of the view."""

LOW_PERCENTILE, HIGH_PERCENTILE, EVERY = 1.0, 99.0, 13
"""Intensities of one view are stretched between these percentiles of every 13th voxel."""

LARGEST = 1.5
"""... and clipped to plus and minus this."""


def prompted_axis(prompts: ViewPrompts) -> int:
    """The axis across which a person drew: the box's, else the range's, else the first known slice's, else 0."""
    for hint in (prompts.box, prompts.span, *prompts.known[:1]):
        if hint is not None:
            return hint.axis
    return 0


def to_network(array: NDArray[T], axis: int) -> NDArray[T]:
    """Turn an array (z, y, x) so that ``axis`` comes first; the others keep their order. It shares the memory."""
    return np.moveaxis(array, axis, 0)


def to_view(array: FloatArray, axis: int) -> FloatArray:
    """Undo ``to_network``."""
    return np.moveaxis(array, 0, axis)


def draw_view(view: View, axis: int) -> FloatArray:
    """Build the network's input for one view.

    Args:
        view: with prompts on its own axes.
        axis: which of them comes first for the network, see ``prompted_axis``.

    Returns:
        float32 (len(CHANNELS), *the turned view's shape).
    """
    prompts, shape = view.prompts, view.voxels.shape
    maps = {
        "image": stretch(view.voxels),
        "box": _box_map(prompts.box, shape),
        "range": _range_map(prompts.span, shape),
        "known": _known_map(prompts.known, shape),
        "positive": _click_map(prompts, shape, positive=True),
        "negative": _click_map(prompts, shape, positive=False),
        "previous": _previous_map(view.previous),
    }
    out = np.zeros((len(CHANNELS), *to_network(view.voxels, axis).shape), np.float32)
    for channel, name in zip(out, CHANNELS, strict=True):
        drawn = maps[name]
        if drawn is not None:
            channel[:] = to_network(drawn, axis)
    return out


def emboldened(maps: FloatArray, reach: float, previous: bool) -> FloatArray:
    """Return a drawn view in which clicks and strokes reach farther.

    Args:
        maps: float32 (len(CHANNELS), ...), see ``draw_view``; not changed.
        reach: voxels, in place of ``CLICK_REACH``.
        previous: whether the earlier answer is still shown.
    """
    out = maps.copy()
    clicks = slice(CHANNELS.index("positive"), CHANNELS.index("negative") + 1)
    np.power(out[clicks], np.float32(CLICK_REACH / reach), out=out[clicks])
    if not previous:
        out[CHANNELS.index("previous")] = 0
    return out


def with_previous(maps: FloatArray, previous: FloatArray) -> FloatArray:
    """Return a drawn view with another earlier answer: float32 probabilities on the turned view's grid."""
    out = maps.copy()
    out[CHANNELS.index("previous")] = _previous_map(previous)
    return out


def stretch(voxels: FloatArray) -> FloatArray:
    """Map the view's 1st..99th percentile to -1..1, clipped at ±1.5; what is not finite counts as the lowest."""
    finite = np.isfinite(voxels)
    if not finite.all():
        voxels = np.where(finite, voxels, voxels[finite].min() if finite.any() else 0).astype(np.float32)
    low, high = np.percentile(voxels.ravel()[::EVERY], (LOW_PERCENTILE, HIGH_PERCENTILE))
    unit = (voxels - np.float32(low)) / np.float32(max(float(high - low), 1e-6 * max(abs(low), abs(high), 1e-6)))
    return np.asarray(np.clip(unit * 2 - 1, -LARGEST, LARGEST), np.float32)


def _covered(start: float, stop: float, length: int) -> slice:
    """Indices inside a half-open range; one at least where the range is thinner than a voxel."""
    first, end = int(np.ceil(start - 0.5)), int(np.ceil(stop - 0.5))
    if end <= first:
        first = int(np.floor((start + stop) / 2))
        end = first + 1
    return slice(min(max(first, 0), length), min(max(end, 0), length))


def _box_map(box: SliceBox | None, shape: tuple[int, ...]) -> FloatArray | None:
    """1 on the slice inside the box."""
    if box is None:
        return None
    drawn = np.zeros(shape, np.float32)
    plane = to_network(drawn, box.axis)[box.index]
    a0, b0, a1, b1 = box.box
    plane[_covered(a0, a1, plane.shape[0]), _covered(b0, b1, plane.shape[1])] = 1
    return drawn


def _range_map(span: AxisRange | None, shape: tuple[int, ...]) -> FloatArray | None:
    """1 where the object may be, -1 elsewhere."""
    if span is None:
        return None
    drawn = np.full(shape, -1, np.float32)
    to_network(drawn, span.axis)[_covered(span.start, span.stop, shape[span.axis])] = 1
    return drawn


def _known_map(known: tuple[KnownSlice, ...], shape: tuple[int, ...]) -> FloatArray | None:
    """1 and -1 on slices whose mask is known; where two cross, the later one counts."""
    if not known:
        return None
    drawn = np.zeros(shape, np.float32)
    for piece in known:
        to_network(drawn, piece.axis)[piece.index] = np.where(piece.mask, np.float32(1), np.float32(-1))
    return drawn


def _click_map(prompts: ViewPrompts, shape: tuple[int, ...], *, positive: bool) -> FloatArray | None:
    """exp(-distance / reach) to the nearest click or painted voxel."""
    squares = np.full(shape, np.inf, np.float32)
    for point in np.rint(prompts.points[prompts.positive == positive]).astype(int):
        if ((point >= 0) & (point < shape)).all():
            z, y, x = (np.square(np.arange(n, dtype=np.float32) - p) for n, p in zip(shape, point, strict=True))
            np.minimum(squares, z[:, None, None] + (y[:, None] + x), out=squares)
    if prompts.scribble is not None:
        painted = prompts.scribble == (1 if positive else -1)
        if painted.any():
            np.minimum(squares, edt.edtsq(~painted, black_border=False, parallel=1), out=squares)
    if np.isinf(squares[0, 0, 0]):
        return None
    return np.exp(np.sqrt(squares) * np.float32(-1 / CLICK_REACH))


def _previous_map(previous: FloatArray | None) -> FloatArray | None:
    """Probabilities as -1..1."""
    return None if previous is None else np.asarray(2 * previous - 1, np.float32)
