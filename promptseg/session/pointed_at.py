"""Whose voxels prompts point at: where these are kept, the answer to the prompts is cut, or empty."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.hints import Hint, PlacedPrompt

__all__ = ["labels_pointed_at"]

MOST = 0.5  # of a box's pixels: less is a neighbour that a box around something else holds too


def labels_pointed_at(placed: Sequence[PlacedPrompt], labels: NDArray[np.uint8], among: Collection[int]) -> list[int]:
    """Return the labels whose voxels positive clicks and strokes touch, or that fill most of a box on its slice.

    Args:
        placed: prompts on the grid.
        labels: uint8 (z, y, x), every voxel's label.
        among: the labels that count.

    Returns:
        Their values, ascending, each once.
    """
    found: set[int] = set()
    for prompt in placed:
        for index, hint in prompt.hints.items():
            cut = labels[(slice(None),) * prompt.plane.axis + (index,)]
            for pixels, least in _areas(hint, cut):
                values, counts = np.unique(pixels, return_counts=True)
                found |= {int(v) for v, n in zip(values, counts, strict=True) if n > least * pixels.size}
    return sorted(found & set(among))


def _areas(hint: Hint, cut: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield the pixels that a hint means, and the share of them that has to be a label's."""
    said = hint.prompts
    at = np.clip(np.rint(said.points[said.positive]).astype(int), 0, np.array(cut.shape) - 1)
    yield cut[at[:, 0], at[:, 1]], 0.0
    if said.scribble is not None:
        yield cut[said.scribble > 0], 0.0
    if said.box is not None:
        y0, x0, y1, x1 = (round(edge) for edge in said.box)
        yield cut[y0:y1, x0:x1].ravel(), MOST
