"""The example's prompts: one box per organ on the slice where it is largest, as a person would draw it."""

from __future__ import annotations

from typing import Any

import numpy as np

from promptseg.prompts import Box, prompt_to_dict
from promptseg.volume.labelmap import Labelmap

__all__ = ["prompt_entries"]

PROMPTED = ("liver", "spleen", "kidney_left", "kidney_right", "lesion")  # the lesion last: it lies inside the liver
MARGIN_VOXELS = 2  # boxes drawn by hand are a little loose


def prompt_entries(truth: Labelmap) -> list[dict[str, Any]]:
    """Return the entries of a prompt log: a label and a box on one axial slice for each of ``PROMPTED``."""
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
        box = prompt_to_dict(Box(voxel=(low, high)))
        entries.append({"op": "prompt", "label": value, "propagate": True, "prompts": [box]})
    return entries
