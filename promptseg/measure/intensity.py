"""Image values inside a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.measure.quantity import Quantity
from promptseg.volume.volume import Volume

__all__ = ["IntensityMeasures", "intensities_of", "measure_intensity"]

BoolArray = NDArray[np.bool_]
IBSI = "IBSI reference manual, arXiv:1612.07003"


@dataclass(frozen=True)
class IntensityMeasures:
    """Statistics of the image's values inside a mask, in the image's unit (``unit``: "HU" for CT, else "").

    Percentiles interpolate linearly between values (Hyndman and Fan, Am Stat 1996;50:361-365, type 7).
    """

    unit: str
    mean: float
    std: float
    minimum: float
    p10: float
    median: float
    p90: float
    maximum: float

    def quantities(self) -> tuple[Quantity, ...]:
        """Return all numbers with unit and definition."""
        return (
            Quantity("mean", self.mean, self.unit, f"mean intensity ({IBSI}, Q4LE)"),
            Quantity("std", self.std, self.unit, f"root of the variance over all voxels ({IBSI}, ECT3)"),
            Quantity("min", self.minimum, self.unit, f"smallest intensity ({IBSI}, 1GSF)"),
            Quantity("p10", self.p10, self.unit, f"10th percentile ({IBSI}, QG58)"),
            Quantity("median", self.median, self.unit, f"median ({IBSI}, Y12H)"),
            Quantity("p90", self.p90, self.unit, f"90th percentile ({IBSI}, 8DWT)"),
            Quantity("max", self.maximum, self.unit, f"largest intensity ({IBSI}, 84IY)"),
        )


def intensities_of(mask: BoolArray, image: Volume) -> tuple[Quantity, ...]:
    """Return the numbers of ``measure_intensity``; none where the mask covers nothing but padding.

    For faces that measure many objects: one that lies outside the field of view takes no number of the others away.
    """
    if image.padding is not None and mask.shape == image.shape and mask.any():
        low, high = image.padding
        values = image.array[mask]
        if ((values >= low) & (values <= high)).all():
            return ()
    return measure_intensity(mask, image).quantities()


def measure_intensity(mask: BoolArray, image: Volume) -> IntensityMeasures:
    """Measure the image inside a mask.

    Args:
        mask: bool (z, y, x) on the image's grid.
        image: grey image; its padding is left out.

    Raises:
        GeometryMismatchError: mask and image disagree in shape.
        PromptError: the mask is empty or covers padding only, or the image has colours.
    """
    if mask.shape != image.shape or mask.dtype != np.bool_:
        raise GeometryMismatchError(
            f"expected a bool mask of shape {image.shape}, got {mask.dtype} of shape {mask.shape}"
        )
    if image.is_rgb:
        raise PromptError("expected a grey image to measure intensities in, got colours (RGB)")
    values = image.array[mask].astype(np.float64)
    if image.padding is not None and values.size:
        values = values[(values < image.padding[0]) | (values > image.padding[1])]
        if values.size == 0:
            raise PromptError("the mask covers nothing but padding (PixelPaddingValue): there is nothing to measure")
    if values.size == 0:
        raise PromptError("expected a mask with at least one voxel, got an empty one: there is nothing to measure")
    p10, median, p90 = (float(v) for v in np.percentile(values, (10, 50, 90)))
    return IntensityMeasures(
        "HU" if image.modality == "CT" else "",
        float(values.mean()),
        float(values.std()),
        float(values.min()),
        p10,
        median,
        p90,
        float(values.max()),
    )
