"""How a slice becomes a network's square input, and how answers come back: one way per project, with its source.

| kind | way | source |
|---|---|---|
| sam | long side to the input's edge (Pillow, bilinear on bytes), ImageNet mean and deviation, zeros below and right | segment-anything, utils/transforms.py and modeling/sam.py |
| medsam | stretched to the square (cubic B-spline), cut to bytes, min-max to [0, 1] | MedSAM, MedSAM_Inference.py @3e56a52 |
| lite-medsam | long side to the edge (OpenCV, area), min-max to [0, 1], zeros below and right | MedSAM, CVPR24_LiteMedSAM_infer.py @0c044e9 |
| sam-med2d | ImageNet mean and deviation, stretched to the square (nearest) | SAM-Med2D, segment_anything/predictor_sammed.py @036ccba |
| sam2 | stretched to the square (bilinear with antialiasing), ImageNet mean and deviation in [0, 1] | sam2, utils/transforms.py |
| as-is | bytes / 255 at their own size; the network itself resizes | osam, efficientsam/_models.py @96e9563 |

MedSAM's min-max looks at the slice as it is given: the engine's one window per volume comes first.
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError, did_you_mean

__all__ = ["KINDS", "Frame", "content", "prepare", "prepare_cut", "trimmed"]

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
"""ImageNet's, on bytes: pixel_mean and pixel_std in segment_anything/build_sam.py."""

MEAN_01 = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION_01 = np.array([0.229, 0.224, 0.225], np.float32)
"""The same as SAM 2 writes them, on [0, 1]."""

LEAST_RANGE = 1e-8  # of MedSAM's min-max
OUTSIDE_LOGIT = -10.0  # of a prior where there is no slice
PATCH_PX = 16
BLACK = 2 / 255  # of the window: what is darker shows nothing
BLACK_MARGIN_PX = 8  # around what a slice shows, in its own pixels
THIN_MM = 10.0  # what is nowhere thicker is a table's shell, a cable or a fold of cloth, unless there is nothing else


@dataclass(frozen=True)
class Frame:
    """Where a slice lies in the network's input.

    Attributes:
        kind: see the module's table.
        shape: (h, w) of the slice in pixels.
        inner: (h, w) that the slice, or what was cut out of it, takes in the input, from its upper left corner.
        input_px: edge of the square input.
        cut: half-open (y0, x0, y1, x1) of the slice that the network sees; None for all of it.
    """

    kind: str
    shape: tuple[int, int]
    inner: tuple[int, int]
    input_px: int
    cut: tuple[int, int, int, int] | None = None

    @property
    def _cut(self) -> tuple[int, int, int, int]:
        return self.cut or (0, 0, *self.shape)

    def to_input(self, places: FloatArray) -> FloatArray:
        """(n, 2) as (y, x) in the slice's pixels -> (n, 2) as (x, y) in the input's pixels."""
        y0, x0, y1, x1 = self._cut
        scale = np.array(self.inner, np.float64) / np.array((y1 - y0, x1 - x0), np.float64)
        if self.kind == "lite-medsam":  # resize_box_to_256 in its script: one ratio, not that of the rounded sizes
            scale = np.full(2, self.input_px / max(self.shape))
        moved = places - np.array((y0, x0), np.float32) if self.cut else places
        return np.ascontiguousarray((moved * scale)[:, ::-1], np.float32)

    def restore(self, low: FloatArray, low_px: int = 0) -> FloatArray:
        """Logits on the network's coarse grid (m, m') -> on the slice's grid (h, w), bilinear.

        ``low_px`` is the full edge of the coarse grid; 0: the input was not trimmed on both sides.
        """
        if self.kind == "as-is":
            return np.ascontiguousarray(low, np.float32)
        if self.kind in ("medsam", "sam2"):
            return _resize(low, self.shape)
        grain = self.input_px // (low_px or max(low.shape))
        fine = low if grain == 1 else _resize(low, (low.shape[0] * grain, low.shape[1] * grain))
        y0, x0, y1, x1 = self._cut
        seen = _resize(np.ascontiguousarray(fine[: self.inner[0], : self.inner[1]]), (y1 - y0, x1 - x0))
        if self.cut is None:
            return seen
        whole = np.full(self.shape, OUTSIDE_LOGIT, np.float32)
        whole[y0:y1, x0:x1] = seen
        return whole

    def lower(self, logits: FloatArray, low_shape: tuple[int, int], low_px: int) -> FloatArray:
        """Logits on the slice's grid -> on the coarse grid ``low_shape``, whose full edge is ``low_px``."""
        inner = [max(1, round(n * low_px / self.input_px)) for n in self.inner]
        y0, x0, y1, x1 = self._cut
        logits = logits[y0:y1, x0:x1]
        shrinks = inner[0] <= logits.shape[0] and inner[1] <= logits.shape[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(logits, np.float32), (inner[1], inner[0]), interpolation=way)
        out = np.full(low_shape, OUTSIDE_LOGIT, np.float32)
        h, w = min(inner[0], low_shape[0]), min(inner[1], low_shape[1])
        out[:h, :w] = small[:h, :w]
        return out


def _resize(image: FloatArray, shape: tuple[int, int]) -> FloatArray:
    if image.shape == shape:
        return np.ascontiguousarray(image, np.float32)
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def prepare(kind: str, pixels: FloatArray, input_px: int) -> tuple[FloatArray, Frame]:
    """Make a network's input of one slice.

    Args:
        kind: see the module's table.
        pixels: (h, w) or (h, w, 3), float32 in [0, 1]; what is not finite counts as 0.
        input_px: edge of the square input.

    Returns:
        float32 (3, input_px, input_px) (as-is: (3, h, w)), and where the slice lies in it.

    Raises:
        ModelError: unknown kind.
    """
    if kind not in _WAYS:
        raise ModelError(
            f"expected a way to prepare slices ({', '.join(_WAYS)}), got {kind!r}{did_you_mean(kind, _WAYS)}"
        )
    shown = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    image = np.asarray(np.rint(np.clip(shown, 0, 1) * 255), np.uint8)
    made, inner = _WAYS[kind](image, input_px)
    return made, Frame(kind, (image.shape[0], image.shape[1]), inner, input_px)


def trimmed(made: FloatArray, frame: Frame) -> FloatArray:
    """The input without the rows or columns of patches that hold padding only."""
    h, w = (min(frame.input_px, -(-n // PATCH_PX) * PATCH_PX) for n in frame.inner)
    return np.ascontiguousarray(made[:, :h, :w])


def content(pixels: FloatArray, spacing_mm: tuple[float, float] = (1.0, 1.0)) -> tuple[int, int, int, int] | None:
    """The half-open (y0, x0, y1, x1) outside of which a slice shows nothing; None where that is all of it, or nothing.

    "Nothing" is the window's black, as air is in CT, and what is nowhere thicker than ``THIN_MM``, as a table's shell.

    Args:
        pixels: (h, w) or (h, w, 3), in [0, 1].
        spacing_mm: (row, column) distance of pixels.
    """
    shown = (np.nan_to_num(pixels).reshape(*pixels.shape[:2], -1).max(2) > BLACK).view(np.uint8)
    radii = [max(1, round(THIN_MM / 2 / spacing)) for spacing in spacing_mm]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radii[1] + 1, 2 * radii[0] + 1))
    thick = cv2.morphologyEx(shown, cv2.MORPH_OPEN, disc)
    shown = thick if thick.any() else shown
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    if not rows.size:
        return None
    low = [max(0, int(found[0]) - BLACK_MARGIN_PX) for found in (rows, columns)]
    high = [min(n, int(f[-1]) + 1 + BLACK_MARGIN_PX) for f, n in zip((rows, columns), shown.shape, strict=True)]
    return None if [*low, *high] == [0, 0, *shown.shape] else (low[0], low[1], high[0], high[1])


def prepare_cut(
    kind: str, pixels: FloatArray, input_px: int, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> tuple[FloatArray, Frame]:
    """As ``prepare``, in as few rows and columns of patches as the slice needs.

    The way "sam" leaves out padding and what ``content`` says that nobody sees, at the scale of the whole slice;
    "lite-medsam" leaves out padding. The others have none: they stretch a slice over the whole input.
    """
    if kind != "sam":
        made, frame = prepare(kind, pixels, input_px)
        return (trimmed(made, frame) if kind == "lite-medsam" else made), frame
    h, w = pixels.shape[:2]
    cut = content(pixels, spacing_mm)
    y0, x0, y1, x1 = cut or (0, 0, h, w)
    shown = np.nan_to_num(pixels[y0:y1, x0:x1], nan=0.0, posinf=1.0, neginf=0.0)
    image = np.asarray(np.rint(np.clip(shown, 0, 1) * 255), np.uint8)
    made, inner = _sam(image, input_px, longest=max(h, w))
    frame = Frame("sam", (h, w), inner, input_px, cut)
    return trimmed(made, frame), frame


def _long_side(shape: tuple[int, ...], edge: int, longest: int = 0) -> tuple[int, int]:
    scale = edge * 1.0 / (longest or max(shape[0], shape[1]))
    return (max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5)))


def _channels(image: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """One array per channel; a grey image is resampled once and used three times."""
    return [image] if image.ndim == 2 else [np.ascontiguousarray(image[..., i]) for i in range(3)]


def _framed(channels: list[FloatArray], edge: int) -> FloatArray:
    """Three channels in the upper left corner of a square of zeros."""
    out = np.zeros((3, edge, edge), np.float32)
    h, w = channels[0].shape
    for i in range(3):
        out[i, :h, :w] = channels[i % len(channels)]
    return out


def _pillow(channel: NDArray[np.generic], shape: tuple[int, int]) -> NDArray[np.generic]:
    from PIL import Image

    return np.asarray(Image.fromarray(channel).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _normalised(channels: list[FloatArray], mean: FloatArray, deviation: FloatArray) -> list[FloatArray]:
    return [(channels[i % len(channels)] - mean[i]) / deviation[i] for i in range(3)]


def _sam(image: ByteArray, edge: int, longest: int = 0) -> tuple[FloatArray, tuple[int, int]]:
    inner = _long_side(image.shape, edge, longest)
    channels = [_pillow(c, inner).astype(np.float32) for c in _channels(image)]
    return _framed(_normalised(channels, MEAN, DEVIATION), edge), inner


def _medsam(image: ByteArray, edge: int) -> tuple[FloatArray, tuple[int, int]]:
    from skimage.transform import resize  # their own call, so that the bytes are theirs

    grown = resize(image, (edge, edge), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    low, high = float(grown.min()), float(grown.max())
    scaled = [
        np.asarray((c.astype(np.float64) - low) / max(high - low, LEAST_RANGE), np.float32) for c in _channels(grown)
    ]
    return _framed(scaled, edge), (edge, edge)


def _lite_medsam(image: ByteArray, edge: int) -> tuple[FloatArray, tuple[int, int]]:
    inner = _long_side(image.shape, edge)
    channels = [cv2.resize(c, (inner[1], inner[0]), interpolation=cv2.INTER_AREA) for c in _channels(image)]
    low, high = min(c.min() for c in channels), max(c.max() for c in channels)
    scaled = [
        np.asarray((c.astype(np.float64) - low) / max(float(high) - low, LEAST_RANGE), np.float32) for c in channels
    ]
    return _framed(scaled, edge), inner


def _sam_med2d(image: ByteArray, edge: int) -> tuple[FloatArray, tuple[int, int]]:
    size = (edge, edge)
    channels = [cv2.resize(c, size, interpolation=cv2.INTER_NEAREST).astype(np.float32) for c in _channels(image)]
    return _framed(_normalised(channels, MEAN, DEVIATION), edge), size


def _sam2(image: ByteArray, edge: int) -> tuple[FloatArray, tuple[int, int]]:
    channels = [np.asarray(_pillow(c.astype(np.float32) / 255, (edge, edge)), np.float32) for c in _channels(image)]
    return _framed(_normalised(channels, MEAN_01, DEVIATION_01), edge), (edge, edge)


def _as_is(image: ByteArray, _edge: int) -> tuple[FloatArray, tuple[int, int]]:
    channels = [c.astype(np.float32) / 255 for c in _channels(image)]
    return np.stack([channels[i % len(channels)] for i in range(3)]), (image.shape[0], image.shape[1])


_WAYS: dict[str, Callable[[ByteArray, int], tuple[FloatArray, tuple[int, int]]]] = {
    "sam": _sam,
    "medsam": _medsam,
    "lite-medsam": _lite_medsam,
    "sam-med2d": _sam_med2d,
    "sam2": _sam2,
    "as-is": _as_is,
}
KINDS = tuple(_WAYS)
