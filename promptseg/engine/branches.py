"""Branches: where an object's parts lie apart on a slice, each is looked for on its own."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_BRANCHES", "branches"]

Mask = NDArray[np.bool_]
MOST_BRANCHES = 4  # each costs as much as an object; beyond that the smallest are looked for together


def branches(allowed: Mask) -> list[Mask]:
    """Split where an object may be on the next slice (h, w) into parts that do not touch, the largest first.

    What may be reached from two parts of the mask is one part: so branches that merge become one, and a part that
    falls apart becomes two on the slice after.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(allowed.view(np.uint8), connectivity=8)
    if count <= 2:
        return [allowed]
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    parts = [np.asarray(labels == at) for at in order[: MOST_BRANCHES - 1]]
    rest = order[MOST_BRANCHES - 1 :]
    return [*parts, np.isin(labels, rest)] if rest.size else parts
