"""How an object is first answered in 3D, and how clicks correct it: which views are looked at, in which order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.answer import Looker, VolumeAnswer, as_previous
from promptseg.engine.volume.grid import ViewGrid, moved
from promptseg.engine.volume.placing import MASK_ROOM, around, around_box, closer
from promptseg.engine.volume.told import PlacedBox, Told
from promptseg.volume.label_voxels import Changed

__all__ = ["Walk", "answer_around", "answer_box", "correct"]

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
Previous = Callable[[ViewGrid], FloatArray | None]
Walk = Callable[[PlacedBox, tuple[int, int, int] | None, ViewGrid], Mask]

AGREE = 0.3
"""Dice: where the network's own answer and that after the slice engine's are less alike, they are different things."""

CORRECTING_LOOKS = 2  # a click may show that the view cuts the object; a person waits


def answer_box(looker: Looker, told: Told, box: PlacedBox, walk: Walk) -> VolumeAnswer:
    """Answer a box, as a new object.

    The network looks on its own. It looks again after a slice-by-slice answer, which it mostly betters; where the two
    are different things, its own counts, looked at once more.

    Args:
        looker: asks the network.
        told: what was said.
        box: the box.
        walk: gives the slice engine's answer, bool (cells of a view).
    """
    own = looker.look_around(around_box(box, told.span, looker.frame), told, lambda _: None)
    walked = walk(box, told.span, own.grid)
    if walked.any():
        second = looker.look(own.grid, told, as_previous(walked))
        if dice(own.cells, second.cells) >= AGREE:
            return second
    return looker.look(own.grid, told, own.probability)


def answer_around(looker: Looker, told: Told, box: Changed) -> VolumeAnswer:
    """Answer clicks or drawn slices, as a new object of about the size of a half-open voxel box."""
    first = looker.look_around(around(*box, (MASK_ROOM,) * 3, looker.frame), told, lambda _: None)
    near = closer(first.grid, first.cells, told, looker.frame)
    if near is None:
        return looker.look(first.grid, told, first.probability)
    return looker.look(near, told, moved(first.probability, first.grid, near))


def correct(looker: Looker, told: Told, grid: ViewGrid, previous: Previous) -> VolumeAnswer:
    """Answer with new clicks in a view, the mask so far being known."""
    return looker.look_around(grid, told, previous, CORRECTING_LOOKS)


def dice(a: Mask, b: Mask) -> float:
    """Dice of two masks; 1 where both are empty."""
    size = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / size if size else 1.0
