"""The example's prompts: a box per organ on its largest slice, and a click on what does not belong to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.prompts import Box, Point, prompt_to_dict
from promptseg.volume.labelmap import Labelmap

__all__ = ["prompt_entries"]

PROMPTED = ("liver", "spleen", "kidney_left", "kidney_right", "lesion")  # inside the liver, so it comes last
INSIDE = "lesion"  # of another object, whose voxels it takes
MARGIN_VOXELS = 2  # boxes drawn by hand are a little loose


def prompt_entries(truth: Labelmap) -> list[dict[str, Any]]:
    """Return a prompt log's entries: for each of ``PROMPTED`` a label, a box and a negative click on one slice.

    What lies inside another object takes its voxels from it.
    """
    entries: list[dict[str, Any]] = []
    for value, name in enumerate(PROMPTED, start=1):
        mask = truth.mask(name)
        k = int(mask.sum(axis=(1, 2)).argmax())
        rows, columns = np.flatnonzero(mask[k].any(axis=1)), np.flatnonzero(mask[k].any(axis=0))
        low = (k, max(0, int(rows[0]) - MARGIN_VOXELS), max(0, int(columns[0]) - MARGIN_VOXELS))
        high = (
            k + 1,
            min(mask.shape[1], int(rows[-1]) + 1 + MARGIN_VOXELS),
            min(mask.shape[2], int(columns[-1]) + 1 + MARGIN_VOXELS),
        )
        entries.append({"op": "label", "value": value, "name": name})
        if name == INSIDE:
            entries.append({"op": "overlap", "rule": "overwrite", "spared": []})
        others = np.zeros(mask.shape[1:], np.uint8)
        others[low[1] : high[1], low[2] : high[2]] = ~mask[k, low[1] : high[1], low[2] : high[2]]
        click = Point(voxel=(k, *_deepest(others)), positive=False)
        prompts = [prompt_to_dict(Box(voxel=(low, high))), prompt_to_dict(click)]
        entries.append({"op": "prompt", "label": value, "propagate": True, "prompts": prompts})
    return entries


def _deepest(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """The (row, column) farthest from the border of a mask (h, w) that is not empty."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)
