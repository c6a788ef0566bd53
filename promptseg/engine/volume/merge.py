"""What a click may change: the connected piece that it lies in, and the clicked place is as the click says."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.told import Click

__all__ = ["merged", "obeyed"]

Mask = NDArray[np.bool_]
Voxel = tuple[int, int, int]

SPOT_SHARE = 0.5  # of the distance to what is right already: what a click surely means where the network is deaf to it
MOST_SPOT_MM = 5.0


def merged(old: Mask, new: Mask, voxels: Sequence[Voxel], *, own: bool) -> Mask:
    """Return the new mask where it hangs together with a clicked voxel, the old one elsewhere.

    Where the old mask was the network's own, what hangs together are the connected pieces of both masks: a click
    changes the piece that it lies in, its far borders included. A mask from elsewhere may be better than the network's
    at those: of it a click changes what differs and hangs together with the click.

    Args:
        old: bool (z, y, x), before the clicks.
        new: bool (z, y, x), as answered.
        voxels: the clicks, in the arrays' indices.
        own: whether the network has made the object.
    """
    pieces = cc3d.connected_components(old | new if own else old ^ new, connectivity=26)
    meant = sorted({int(pieces[voxel]) for voxel in voxels} - {0})
    return np.where(np.isin(pieces, meant), new, old)


def obeyed(mask: Mask, clicks: Sequence[Click], spacing_mm: tuple[float, float, float]) -> Mask:
    """Return the mask with every click's voxel, and a ball around it, on the side that was meant; the newest counts.

    Where the answer is as the click says already, nothing changes.

    Args:
        mask: bool (z, y, x).
        clicks: oldest first, in the mask's indices; those outside are left out.
        spacing_mm: (z, y, x).
    """
    mask = mask.copy()
    for click in clicks:
        inside = all(0 <= v < n for v, n in zip(click.voxel, mask.shape, strict=True))
        if inside and mask[click.voxel] != click.positive:
            _put_ball(mask, click, spacing_mm)
    return mask


def _put_ball(mask: Mask, click: Click, spacing_mm: tuple[float, float, float]) -> None:
    reach = [int(np.ceil(MOST_SPOT_MM / SPOT_SHARE / mm)) + 1 for mm in spacing_mm]
    cut = tuple(slice(max(0, v - r), v + r + 1) for v, r in zip(click.voxel, reach, strict=True))
    part = mask[cut]
    at = tuple(v - c.start for v, c in zip(click.voxel, cut, strict=True))
    wrong = np.ascontiguousarray(part != click.positive)
    depth = float(edt.edt(wrong, anisotropy=spacing_mm, black_border=False)[at])
    radius = min(SPOT_SHARE * depth, MOST_SPOT_MM)
    along = [((np.arange(n) - a) * mm) ** 2 for n, a, mm in zip(part.shape, at, spacing_mm, strict=True)]
    ball = along[0][:, None, None] + along[1][None, :, None] + along[2][None, None, :] <= radius**2
    part[ball] = click.positive
