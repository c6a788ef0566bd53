"""How TotalSegmentator works on a case: options of its own function, checked here and handed to it as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.errors import SettingsError

__all__ = ["AGGREGATIONS", "MODEL_SIZES", "RunOptions"]

ORDERS = range(6)  # of the splines that TotalSegmentator takes
AGGREGATIONS = ("mean", "median")
MODEL_SIZES = ("big", "small")


@dataclass(frozen=True)
class RunOptions:
    """What TotalSegmentator's function takes besides task, speed and classes; docs/wholebody-options.md has its names.

    Attributes:
        robust_crop: find the region of a subset or a cascade with its 3 mm network instead of the 6 mm one.
        body_seg: find the body first (6 mm) and leave the rest of the image out; CT only.
        force_split: go through the image in three pieces along its length, for less memory.
        resampling_order: of the spline that brings the image to the network's voxel size, 0 to 5.
        higher_order_resampling: nnU-Net resamples, and the classes' scores are brought back instead of the classes.
        resampling_threads: threads that resample, at least 1.
        remove_small_blobs_mm3: pieces of a class below this are removed; None: none are.
        model_size: "big", or "small" for the task total_v3.
        statistics_extra: voxels, spread, centre and box of each class too; not with the 3 mm and 6 mm models.
        statistics_aggregation: of intensities, "mean" or "median".
        statistics_incomplete: also of classes that the image's border cuts off; without it these are 0.
        probabilities: a folder for what each network answers, ``NETWORK.npz`` with ``probabilities`` (class, z, y, x)
            on the network's grid, and ``NETWORK.pkl`` with that grid.

    Raises:
        SettingsError: a value outside its range.
    """

    robust_crop: bool = False
    body_seg: bool = False
    force_split: bool = False
    resampling_order: int = 1
    higher_order_resampling: bool = False
    resampling_threads: int = 1
    remove_small_blobs_mm3: float | None = None
    model_size: str = "big"
    statistics_extra: bool = False
    statistics_aggregation: str = "mean"
    statistics_incomplete: bool = False
    probabilities: Path | None = None

    def __post_init__(self) -> None:
        expected = {
            "resampling_order": (self.resampling_order in ORDERS, "a number from 0 to 5"),
            "resampling_threads": (self.resampling_threads >= 1, "at least 1"),
            "remove_small_blobs_mm3": (
                self.remove_small_blobs_mm3 is None or self.remove_small_blobs_mm3 > 0,
                "above 0",
            ),
            "model_size": (self.model_size in MODEL_SIZES, " or ".join(MODEL_SIZES)),
            "statistics_aggregation": (self.statistics_aggregation in AGGREGATIONS, " or ".join(AGGREGATIONS)),
        }
        for name, (fits, what) in expected.items():
            if not fits:
                raise SettingsError(f"expected {name} to be {what}, got {getattr(self, name)!r}")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of TotalSegmentator's function."""
        return {
            "robust_crop": self.robust_crop,
            "body_seg": self.body_seg,
            "force_split": self.force_split,
            "resampling_order": self.resampling_order,
            "higher_order_resampling": self.higher_order_resampling,
            "nr_thr_resamp": self.resampling_threads,
            "remove_small_blobs": self.remove_small_blobs_mm3 or False,
            "model_size": self.model_size,
            "statistics_extra": self.statistics_extra,
            "stats_aggregation": self.statistics_aggregation,
            "statistics_exclude_masks_at_border": not self.statistics_incomplete,
            "save_probabilities": self.probabilities,
        }
