"""The one intensity window of a volume: which values become black and white for models and screens.

One window per volume, never per slice: a per-slice minimum and maximum changes the contrast of the same tissue from
slice to slice. Sources, in this order: what the caller says, the DICOM window tags (0028,1050/1051), the CT soft
tissue preset where values look like HU, robust percentiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import SettingsError, did_you_mean

__all__ = ["CT_PRESETS", "Window", "choose_window", "parse_window"]

# (level, width) in HU; radiology convention, e.g. the presets of 3D Slicer and radiopaedia.org "Windowing (CT)".
CT_PRESETS: dict[str, tuple[float, float]] = {
    "soft-tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "liver": (30.0, 150.0),
    "mediastinum": (50.0, 350.0),
}
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5  # of the voxels; as nnU-Net's clipping for CT
SAMPLE_VOXELS = 2_000_000  # percentiles are taken on a regular subsample of about this many voxels
HU_AIR, HU_MAX = -900.0, 20_000.0  # values from about air upward are taken for HU


@dataclass(frozen=True)
class Window:
    """Linear map of intensities: ``low`` and below becomes 0, ``high`` and above becomes 1.

    Attributes:
        low: intensity (HU for CT).
        high: intensity, > low.
        source: where it comes from: ``"dicom"``, ``"preset:<name>"``, ``"percentiles"``, ``"full range"``, ``"user"``.
    """

    low: float
    high: float
    source: str = "user"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.high > self.low):
            raise SettingsError(f"expected a window with finite low < high, got {self.low} to {self.high}")

    @staticmethod
    def from_level_width(level: float, width: float, source: str = "user") -> Window:
        """Return the window that spans level ± width / 2."""
        return Window(level - width / 2, level + width / 2, source)

    @property
    def level(self) -> float:
        """The middle of the window."""
        return (self.low + self.high) / 2

    @property
    def width(self) -> float:
        """``high - low``."""
        return self.high - self.low

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map intensities of any shape to float32 in [0, 1]; NaN becomes 0."""
        scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(1.0 / self.width)
        clipped: NDArray[np.float32] = np.clip(scaled, np.float32(0), np.float32(1))
        clipped[np.isnan(clipped)] = 0
        return clipped


def parse_window(text: str) -> Window:
    """Return the window of a preset's name or of ``"LEVEL,WIDTH"``.

    Raises:
        SettingsError: neither.
    """
    if text in CT_PRESETS:
        return Window.from_level_width(*CT_PRESETS[text], source=f"preset:{text}")
    try:
        level, width = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(
            f"expected a window preset ({', '.join(CT_PRESETS)}) or LEVEL,WIDTH, got {text!r}"
            f"{did_you_mean(text, CT_PRESETS)}"
        ) from None
    return Window.from_level_width(level, width)


def choose_window(values: NDArray[Any], *, modality: str | None = None, dicom: Window | None = None) -> Window:
    """Choose the window of a volume.

    Args:
        values: intensities of any shape.
        modality: DICOM modality ("CT", "MR", ...) or None when the file does not say.
        dicom: the window of the DICOM tags, if any.
    """
    if dicom is not None:
        return dicom
    if values.dtype == np.uint8:
        return Window(0.0, 255.0, "full range")
    sample = _sample(values)
    if sample.size == 0:
        return Window(0.0, 1.0, "full range")
    low, high = float(sample.min()), float(sample.max())
    if modality == "CT" or (modality is None and low <= HU_AIR and 0.0 < high <= HU_MAX):
        return Window.from_level_width(*CT_PRESETS["soft-tissue"], source="preset:soft-tissue")
    inside = sample[sample > low]  # a background of one value (air set to 0, padding) must not rule the percentiles
    used = inside if inside.size >= 100 else sample
    p_low, p_high = (float(v) for v in np.percentile(used, (LOW_PERCENTILE, HIGH_PERCENTILE)))
    if p_high > p_low:
        return Window(p_low, p_high, "percentiles")
    return Window(low, high if high > low else low + max(1.0, abs(low) * 1e-6), "full range")


def _sample(values: NDArray[Any]) -> NDArray[np.float64]:
    step = max(1, values.size // SAMPLE_VOXELS)
    flat = values.reshape(-1)[::step].astype(np.float64)
    return flat[np.isfinite(flat)]
