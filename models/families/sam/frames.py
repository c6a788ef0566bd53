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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError, did_you_mean
from promptseg.models.families.sam.planes import Planes

__all__ = ["KINDS", "Frame", "content", "prepare", "prepare_cut"]

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


def prepare(kind: str, pixels: FloatArray, input_px: int) -> tuple[Planes, Frame]:
    """Make a network's input of one slice, before it is normalised.

    Args:
        kind: see the module's table.
        pixels: (h, w) or (h, w, 3), float32 in [0, 1]; what is not finite counts as 0.
        input_px: edge of the square input.

    Returns:
        The planes of an input of (input_px, input_px) (as-is: of the slice's (h, w)), and where the slice lies in it.

    Raises:
        ModelError: unknown kind.
    """
    if kind not in _WAYS:
        raise ModelError(
            f"expected a way to prepare slices ({', '.join(_WAYS)}), got {kind!r}{did_you_mean(kind, _WAYS)}"
        )
    image = _bytes(pixels)
    planes = _WAYS[kind](image, input_px)
    return planes, Frame(kind, (image.shape[0], image.shape[1]), planes.inner, input_px)


def _bytes(pixels: FloatArray) -> ByteArray:
    """[0, 1] -> 0 to 255; a slice is looked through for what is not finite only where its sum is not."""
    levels = pixels * np.float32(255)
    if not np.isfinite(levels.sum()):
        np.nan_to_num(levels, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.rint(levels, out=levels)
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def _trimmed(planes: Planes, input_px: int) -> Planes:
    """The input without the rows or columns of patches that hold padding only."""
    h, w = (min(input_px, -(-n // PATCH_PX) * PATCH_PX) for n in planes.inner)
    return planes.trimmed((h, w))


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
) -> tuple[Planes, Frame]:
    """As ``prepare``, in as few rows and columns of patches as the slice needs.

    The way "sam" leaves out padding and what ``content`` says that nobody sees, at the scale of the whole slice;
    "lite-medsam" leaves out padding. The others have none: they stretch a slice over the whole input.
    """
    if kind != "sam":
        planes, frame = prepare(kind, pixels, input_px)
        return (_trimmed(planes, input_px) if kind == "lite-medsam" else planes), frame
    h, w = pixels.shape[:2]
    cut = content(pixels, spacing_mm)
    y0, x0, y1, x1 = cut or (0, 0, h, w)
    planes = _sam(_bytes(pixels[y0:y1, x0:x1]), input_px, longest=max(h, w))
    return _trimmed(planes, input_px), Frame("sam", (h, w), planes.inner, input_px, cut)


def _long_side(shape: tuple[int, ...], edge: int, longest: int = 0) -> tuple[int, int]:
    scale = edge * 1.0 / (longest or max(shape[0], shape[1]))
    return (max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5)))


def _levels(image: NDArray[Any]) -> NDArray[Any]:
    """(h, w) or (h, w, 3) -> (1 or 3, h, w); a grey image is resampled and sent once, and used three times."""
    return np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


def _between(levels: NDArray[Any], edge: int) -> Planes:
    """Planes of a square input whose lowest value becomes 0 and whose highest 1, as MedSAM's scripts have it."""
    low, high = float(levels.min()), float(levels.max())
    offset, scale = np.full(3, low, np.float32), np.full(3, max(high - low, LEAST_RANGE), np.float32)
    return Planes(levels, (levels.shape[1], levels.shape[2]), (edge, edge), offset, scale)


def _sam(image: ByteArray, edge: int, longest: int = 0) -> Planes:
    return Planes(_levels(image), _long_side(image.shape, edge, longest), (edge, edge), MEAN, DEVIATION)


def _medsam(image: ByteArray, edge: int) -> Planes:
    from skimage.transform import resize  # their own call, so that the bytes are theirs

    grown = resize(image, (edge, edge), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    return _between(_levels(grown), edge)


def _lite_medsam(image: ByteArray, edge: int) -> Planes:
    h, w = _long_side(image.shape, edge)
    small = [cv2.resize(c, (w, h), interpolation=cv2.INTER_AREA) for c in _levels(image)]
    return _between(np.stack(small), edge)


def _sam_med2d(image: ByteArray, edge: int) -> Planes:
    near = [cv2.resize(c, (edge, edge), interpolation=cv2.INTER_NEAREST) for c in _levels(image)]
    return Planes(np.stack(near), (edge, edge), (edge, edge), MEAN, DEVIATION)


def _sam2(image: ByteArray, edge: int) -> Planes:
    from PIL import Image

    grown = [
        np.asarray(Image.fromarray(c.astype(np.float32) / 255).resize((edge, edge), Image.Resampling.BILINEAR))
        for c in _levels(image)
    ]
    return Planes(np.stack(grown), (edge, edge), (edge, edge), MEAN_01, DEVIATION_01)


def _as_is(image: ByteArray, _edge: int) -> Planes:
    shape = (image.shape[0], image.shape[1])
    return Planes(_levels(image), shape, shape, np.zeros(3, np.float32), np.full(3, 255, np.float32))


_WAYS: dict[str, Callable[[ByteArray, int], Planes]] = {
    "sam": _sam,
    "medsam": _medsam,
    "lite-medsam": _lite_medsam,
    "sam-med2d": _sam_med2d,
    "sam2": _sam2,
    "as-is": _as_is,
}
KINDS = tuple(_WAYS)
