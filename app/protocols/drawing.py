"""One object being drawn on one image by somebody else's viewer: an engine session and the mask the viewer has.

Wire protocols know no labels, no log and no 3D prompts of ours; they paint, click, undo once and start anew. A
``Drawing`` turns that into prompts of one label of one ``Session``, and tells after each step which box of the mask is
new. It is used by one thread at a time: its model's worker.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress
from promptseg.errors import PromptError
from promptseg.models.loading import load_predictor
from promptseg.prompts import Box, Lasso, MaskPrompt, Plane, Point, Prompt, Scribble
from promptseg.session.session import Session
from promptseg.session.verbs import PromptVerbs
from promptseg.volume import Volume
from promptseg.volume.label_voxels import Changed, as_slices, bounds

__all__ = ["Drawing", "box_prompt", "lasso_prompts", "point_prompt", "scribble_prompt"]

PLANES = tuple(Plane)


class Drawing:
    """A viewer's one mask on one image.

    Args:
        volume: the image.
        model: id of the promptable model.
        device: where it runs.
        embedding_bytes: what the model may keep of the slices that it has seen.

    Attributes:
        shown: uint8 (z, y, x), 0 or 1: what the viewer has, too.
    """

    def __init__(self, volume: Volume, model: str, device: str, embedding_bytes: int) -> None:
        self.volume = volume
        self.shown = np.zeros(volume.shape, np.uint8)
        self._session = Session(volume, load_predictor(model, device), cache_bytes=embedding_bytes)
        self._embedding_bytes = embedding_bytes
        self._session.new_label()
        self._undoable = False

    @property
    def nbytes(self) -> int:
        """Bytes of the image, of the mask and the engine's labels, and what its embeddings may take."""
        return int(self.volume.array.nbytes) + 2 * self.shown.nbytes + self._embedding_bytes

    def mask(self, label: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x)."""
        return self._session.mask(label)

    def add(
        self, *prompts: Prompt, propagate: bool = True, predict: bool = True, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Add prompts as one step and return the smallest half-open box of the mask that changed, or None.

        The same prompts once more change nothing: viewers send a click twice when a person double-clicks.

        Raises:
            PromptError: a prompt lies outside the image; nothing has changed then.
        """
        if not prompts:
            raise PromptError("expected at least one prompt, got none")
        known = [kept.prompt for kept in self._session.prompts]
        new = [prompt for prompt in prompts if isinstance(prompt, MaskPrompt) or prompt not in known]
        if new:
            self._session.add(*new, propagate=propagate, predict=predict, on_progress=on_progress)
            self._undoable = True
        elif predict and propagate:
            self._session.propagate(on_progress=on_progress)
        return self._follow()

    def propagate(
        self, label: int | str | None = None, *, afresh: bool = False, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Answer the prompts that wait because they were added with ``predict=False``; return the changed box."""
        self._session.propagate(label, afresh=afresh, on_progress=on_progress)
        return self._follow()

    def is_pending(self, label: int | str | None = None) -> bool:
        """True when prompts wait for an answer."""
        return self._session.is_pending(label)

    @property
    def can_undo(self) -> bool:
        """True when there is a step to undo: one, as viewers count."""
        return self._undoable

    def undo(self) -> Changed | None:
        """Take the last step back, one level deep; return the changed box."""
        if not self._undoable:
            return None
        self._undoable = False
        self._session.undo()
        return self._follow()

    def reset(self) -> None:
        """Begin another object on the same image; the mask is empty."""
        self._session.delete_label(self._session.selected)
        self._session.new_label()
        self.shown = np.zeros_like(self.shown)
        self._undoable = False

    def _follow(self) -> Changed | None:
        new = self._session.mask()
        box = bounds(new != (self.shown != 0))
        if box is not None:
            self.shown[as_slices(box)] = new[as_slices(box)]
        return box


def _has_all_verbs(drawing: Drawing) -> PromptVerbs:
    """Say to mypy what must hold."""
    return drawing


def point_prompt(voxel: Sequence[float], positive: bool, shape: Sequence[int]) -> Point:
    """Return a click at a voxel (z, y, x), rounded and moved into the image.

    Raises:
        PromptError: not three finite numbers.
    """
    given = _numbers(voxel, 3, "a point as three numbers (z, y, x)")
    z, y, x = (min(max(round(v), 0), n - 1) for v, n in zip(given, shape, strict=True))
    return Point(voxel=(float(z), float(y), float(x)), positive=positive, plane=_view(shape, (1, 1, 1)))


def box_prompt(spans: Sequence[Sequence[float]], positive: bool, shape: Sequence[int]) -> Prompt:
    """Return a box from half-open spans [[z0, z1], [y0, y1], [x0, x1]], rounded and cut to the image.

    A negative box is a filled negative outline on its slice.

    Raises:
        PromptError: spans that are empty or turned round, outside the image, or negative and thicker than a slice.
    """
    if not isinstance(spans, Sequence | np.ndarray) or len(spans) != 3:
        raise PromptError(f"expected a box as three spans [[z0, z1], [y0, y1], [x0, x1]], got {spans!r}")
    pairs = [_numbers(span, 2, "a box's span as two numbers") for span in spans]
    if any(b == a for a, b in pairs):
        raise PromptError("expected a box with extent along every axis; its size is zero in at least one dimension")
    if any(b < a for a, b in pairs):
        raise PromptError(f"expected each span of a box as [lower, upper], got {pairs}")
    low = [min(max(round(a), 0), n) for (a, _), n in zip(pairs, shape, strict=True)]
    high = [min(max(round(b), 0), n) for (_, b), n in zip(pairs, shape, strict=True)]
    if any(b <= a for a, b in zip(low, high, strict=True)):
        raise PromptError(f"expected a box inside the image of shape {list(shape)}, got {pairs}")
    if positive:
        return Box(voxel=((low[0], low[1], low[2]), (high[0], high[1], high[2])))
    size = [b - a for a, b in zip(low, high, strict=True)]
    if 1 not in size:
        raise PromptError("expected a negative box on one slice; a negative 3D box has no meaning here")
    plane = _view(shape, size)
    (r0, r1), (c0, c1) = ((low[a] - 0.5, high[a] - 0.5) for a in range(3) if a != plane.axis)
    return Lasso(plane, low[plane.axis], np.array([(r0, c0), (r0, c1), (r1, c1), (r1, c0)]), positive=False)


def scribble_prompt(
    painted: NDArray[np.generic], corner: Sequence[int], positive: bool, shape: Sequence[int]
) -> Scribble | None:
    """Return the stroke of a painted array (z, y, x; nonzero is paint) whose first voxel lies at ``corner``.

    None where nothing is painted.
    """
    voxels = np.argwhere(painted != 0)
    if len(voxels) == 0:
        return None
    extent = (voxels.max(axis=0) - voxels.min(axis=0) + 1).tolist()
    return Scribble(voxels + np.asarray(corner), positive, _view(shape, extent) if 1 in extent else None)


def lasso_prompts(
    filled: NDArray[np.generic], corner: Sequence[int], positive: bool, shape: Sequence[int]
) -> list[Lasso]:
    """Return the outlines of a filled region (z, y, x; nonzero is inside) whose first voxel lies at ``corner``.

    One outline for each connected part on each slice, of the plane in which the region is one slice thick, else of the
    axial one. Its border runs a quarter of a voxel outside the outermost voxels' centres.
    """
    inside = filled != 0
    box = bounds(inside)
    if box is None:
        return []
    plane = _view(shape, [b - a for a, b in zip(*box, strict=True)])
    rest = [axis for axis in range(3) if axis != plane.axis]
    offset = np.array([corner[axis] for axis in rest], np.float64)
    return [
        Lasso(plane, int(corner[plane.axis]) + index, polygon + offset, positive)
        for index in range(box[0][plane.axis], box[1][plane.axis])
        for polygon in _outlines(inside.take(index, axis=plane.axis))
    ]


def _outlines(inside: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return closed polygons (row, column) around every connected part, along the pixels' outer edges."""
    doubled = np.kron(inside, np.ones((2, 2), np.uint8)).astype(np.uint8)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0, ::-1] / 2.0 - 0.25 for contour in contours]


def _view(shape: Sequence[int], extent: Sequence[int]) -> Plane:
    """Return the plane that a flat thing lies in: its thin axis, first of all where the image itself is one slice."""
    flat = [plane for plane in PLANES if shape[plane.axis] == 1]
    thin = [plane for plane in PLANES if extent[plane.axis] == 1]
    return next(iter((*flat, *thin)), Plane.AXIAL)


def _numbers(values: object, count: int, what: str) -> list[float]:
    try:
        given = [float(v) for v in values]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        given = []
    if len(given) != count or not np.isfinite(given).all():
        raise PromptError(f"expected {what}, got {values!r}")
    return given
