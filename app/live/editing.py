"""Edits by hand on served sessions: what lasts is done in a process of its own, and what would not end is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promptseg.app.live.aside import aside
from promptseg.engine.edits import Edit, Paint, Threshold
from promptseg.errors import PromptError
from promptseg.volume import Geometry, Volume, Window

__all__ = ["MOST_WORKED_ON", "edited"]

Mask = NDArray[np.bool_]
CHEAP = (Paint, Threshold)  # they look at a voxel at a time, and have limits of their own
AT_ONCE = 4_000_000  # voxels of any other that works where everybody does: edt and cc3d hold Python's lock meanwhile
MOST_WORKED_ON = 256_000_000  # voxels of any edit: some 3 GiB in the process that does it


def edited(edit: Edit, mask: Mask, volume: Volume, *, pause: Callable[[], None]) -> Mask:
    """Return what ``edit.apply`` gives.

    Args:
        edit: any.
        mask: bool (z, y, x), the label's.
        volume: the image.
        pause: called now and then; may raise to end it.

    Raises:
        PromptError: the edit does not fit the image, or works on too many voxels.
    """
    if isinstance(edit, CHEAP):
        return edit.apply(mask, volume)
    count = math.prod(part.stop - part.start for part in edit.works_on(mask, volume))
    if count > MOST_WORKED_ON:
        raise PromptError(
            f"expected an edit that works on at most {MOST_WORKED_ON:,} voxels, got {count:,}: the label's box, and as "
            "far as the edit reaches around it; take a smaller distance, or split the label"
        )
    if count < AT_ONCE:
        return edit.apply(mask, volume)
    packed = aside(_applied, edit, np.packbits(mask), volume.geometry, pause=pause)
    return _unpacked(packed, volume.geometry)


def _applied(edit: Edit, packed: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """Work an edit out that looks at no intensities; masks travel as bits."""
    nothing = np.broadcast_to(np.uint8(0), geometry.shape)
    return np.packbits(edit.apply(_unpacked(packed, geometry), Volume(nothing, geometry, Window(0.0, 1.0))))


def _unpacked(packed: NDArray[np.uint8], geometry: Geometry) -> Mask:
    count = math.prod(geometry.shape)
    return np.unpackbits(packed, count=count).view(np.bool_).reshape(geometry.shape)
