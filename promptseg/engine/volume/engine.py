"""How an object is first answered in 3D, and how clicks correct it: which views are looked at, in which order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.answer import Looker, VolumeAnswer
from promptseg.engine.volume.grid import ViewGrid, moved
from promptseg.engine.volume.placing import MASK_ROOM, around, around_box, closer
from promptseg.engine.volume.told import PlacedBox, Told
from promptseg.volume.label_voxels import Changed

__all__ = ["answer_around", "answer_box", "correct"]

FloatArray = NDArray[np.float32]
Previous = Callable[[ViewGrid], FloatArray | None]

CORRECTING_LOOKS = 2  # a click may show that the view cuts the object; a person waits


def answer_box(looker: Looker, told: Told, box: PlacedBox) -> VolumeAnswer:
    """Answer a box, as a new object: looked at, and once more with that answer known."""
    first = looker.look_around(around_box(box, told.span, looker.frame), told, lambda _: None)
    return looker.look(first.grid, told, first.probability)


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
