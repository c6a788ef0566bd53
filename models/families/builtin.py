"""The built-in network behind the predictor's two verbs: where to look, how often, and which answer to keep."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import DeviceError, ModelError
from promptseg.models.builtin.views import CHANNELS, Hints, Window, draw_view, fit_window, paste
from promptseg.models.families.tissue import weigh_by_tissue
from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import Device

__all__ = ["BuiltinPredictor"]

FloatArray = NDArray[np.float32]
Extent = tuple[float, float, float, float]

SEARCH_PX, CARRY_PX = 128, 128
"""Working sizes for finding the object and for carrying a mask from slice to slice."""

REFINE_PX, LARGE_REFINE_PX = 128, 160
"""Working size of the answer that is given, for windows up to ``REFINE_PX`` slice pixels wide and for larger ones."""

BOX_MARGIN, MASK_MARGIN, CARRY_MARGIN, STROKE_MARGIN = 1.4, 1.5, 2.0, 1.6
"""Edge of the window relative to what it is put around."""

SEARCH_STEPS = 4
"""Windows tried for a first click, each half as wide as the one before; the whole slice is the first."""

SMALLEST_WINDOW_PX, SMALLEST_CARRY_PX = 40.0, 24.0
"""Windows around a mask are at least this wide, in pixels of the slice; the second when it is carried."""

CARRY_TRUST = 1.0
"""Logits added inside a carried mask and taken off outside it."""

CARRIED = CHANNELS.index("carried")

SMALLEST_SEARCH_PX = 56.0
"""No search window is smaller, in pixels of the slice."""

GROWTH, MOST_GROWTH_STEPS = 1.7, 2
"""A window whose border cuts the mask grows by this factor, this often at most."""

DISOBEDIENCE = 0.3
"""How much an answer that disobeys every click loses against one that obeys, in units of the score."""

LARGE_BONUS = 0.015
"""Worth of a window twice as wide, in units of the score: between equals a whole is meant rather than its part."""

RECONSIDERED_CLICKS = 4
"""Up to so many clicks a correction also searches anew."""

LOYALTY = 0.03
"""A new find must be worth this much more than the corrected answer, in units of the score."""

NOWHERE = -12.0
"""Logit outside the window that was looked at."""

LARGEST_ASPECT = 4.0
"""Pixels longer than broad are resampled to squares up to this ratio."""


@dataclass(frozen=True, eq=False)
class _Answer:
    """One pass of the network: logits on the working grid, the window, and the score."""

    logits: FloatArray
    window: Window
    score: float


class BuiltinPredictor:
    """The network trained on synthetic scenes, run by ONNX Runtime.

    A first prompt is searched for at several scales; then the window closes in on the mask that was found, or grows
    where it cuts the mask. The next few clicks may still overturn the find. A carried mask (no prompt, a prior with
    a neighbour) is one pass.
    """

    def __init__(
        self, path: Path, model_id: str = "builtin", threads: int | None = None, device: Device | None = None
    ) -> None:
        """Load the file.

        Args:
            path: the ONNX file.
            model_id: the registry's id.
            threads: cores used by one prediction; all but at most four when None. Answers are the same bits for
                the same number.
            device: where it runs; the CPU when None.

        Raises:
            ModelError: the file cannot be read.
            DeviceError: ONNX Runtime took another execution provider than the device asks for.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(4, os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # idle threads leave the core to others
        wanted = (device or Device("cpu")).providers
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as exc:  # ONNX Runtime's errors have no common base but this
            raise ModelError(f"cannot load the network from {path}: {exc}") from exc
        self.providers = tuple(self._session.get_providers())
        first = wanted[0][0] if isinstance(wanted[0], tuple) else wanted[0]
        if self.providers[0] != first:
            raise DeviceError(f"expected ONNX Runtime to use {first}, it took {self.providers[0]}; use device='cpu'")
        self._model_id = model_id

    @property
    def model_id(self) -> str:
        """The registry's id."""
        return self._model_id

    def embed(self, image: SliceImage) -> Embedding:
        """Grey values on square pixels; there is nothing else to keep."""
        pixels = image.pixels
        grey = pixels if pixels.ndim == 2 else _to_grey(pixels)
        height, width = _square_shape(image.shape, image.spacing_mm)
        if (height, width) != grey.shape:
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
        grey = np.nan_to_num(np.ascontiguousarray(grey, np.float32))
        return Embedding(self._model_id, image.shape, image.spacing_mm, {"grey": grey})

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Answer one set of prompts; see the contract in ``promptseg.models.predictor``.

        Raises:
            ModelError: the embedding was made by another model.
        """
        if embedding.model_id != self._model_id:
            raise ModelError(f"expected an embedding made by {self._model_id!r}, got one by {embedding.model_id!r}")
        known = None if prior is None or not (prior.logits > 0).any() else prior
        if prompts.is_empty and known is None:
            return Prediction(np.full(embedding.shape, NOWHERE, np.float32), 0.5)
        image = embedding.features["grey"]
        hints = _hints(prompts, known, embedding.shape, image.shape)
        if prompts.is_empty and hints.carried is not None:
            answer = self._carried(image, hints, hints.carried)
        elif hints.previous is None and hints.carried is None:
            answer = self._first(image, hints)
        else:
            answer = self._again(image, hints)
        logits = paste(answer.logits, answer.window, image.shape, NOWHERE)
        if hints.box is not None and hints.previous is None:
            logits = weigh_by_tissue(image, logits, hints.box)
        if logits.shape != embedding.shape:
            logits = cv2.resize(logits, embedding.shape[::-1], interpolation=cv2.INTER_AREA)
        return Prediction(logits, answer.score)

    def _run(self, views: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        logits, scores = self._session.run(None, {"view": np.stack(views)})
        return logits[:, 0], scores

    def _look(self, image: FloatArray, hints: Hints, window: Window, size: int) -> _Answer:
        """One pass."""
        logits, scores = self._run([draw_view(image, hints, window, size)])
        return _Answer(logits[0], window, float(scores[0]))

    def _carried(self, image: FloatArray, hints: Hints, mask: FloatArray) -> _Answer:
        """One pass around the neighbour's mask, which keeps a say where the network hesitates."""
        window = _around(_extent(mask > 0.5), CARRY_MARGIN, image, SMALLEST_CARRY_PX)
        view = draw_view(image, hints, window, CARRY_PX)
        logits, scores = self._run([view])
        return _Answer(logits[0] + CARRY_TRUST * (2 * view[CARRIED] - 1), window, float(scores[0]))

    def _first(self, image: FloatArray, hints: Hints) -> _Answer:
        """No answer yet: a box says where to look, a click or stroke is searched for at several scales.

        Each scale's answer is refined in a window of its own size before the best is chosen: the score of a first
        look says little, that of a second look much more.
        """
        if hints.box is not None:
            window = _around(_union(hints), BOX_MARGIN, image)
            return self._grown(image, hints, self._look(image, hints, window, _refine_px(window)))
        looks = self._tried(image, [(hints, window) for window in _search_windows(image, hints)])
        seen = [answer for answer in looks if (answer.logits > 0).any()]
        if not seen:
            return looks[0]
        refined = [replace(hints, previous=_probability(answer, image.shape)) for answer in seen]
        answers = self._tried(image, [(known, _around(_union(known), MASK_MARGIN, image)) for known in refined])
        best = max(answers, key=lambda answer: _worth(answer, hints, image.shape))
        if not (best.logits > 0).any():
            return best
        return self._closer(image, replace(hints, previous=_probability(best, image.shape)))

    def _tried(self, image: FloatArray, looks: list[tuple[Hints, Window]]) -> list[_Answer]:
        """One pass on each of several windows, in one batch."""
        logits, scores = self._run([draw_view(image, hints, window, SEARCH_PX) for hints, window in looks])
        windows = [window for _, window in looks]
        return [_Answer(*parts) for parts in zip(logits, windows, map(float, scores), strict=True)]

    def _again(self, image: FloatArray, hints: Hints) -> _Answer:
        """Correct a known mask; after few clicks also search anew, since the first guess may be of the wrong thing."""
        answer = self._closer(image, hints)
        if not 2 <= len(hints.points) <= RECONSIDERED_CLICKS or hints.box is not None or hints.strokes is not None:
            return answer
        fresh = self._first(image, replace(hints, previous=None, carried=None, neighbour=None))
        better = _worth(fresh, hints, image.shape) > _worth(answer, hints, image.shape) + LOYALTY
        return fresh if better else answer

    def _closer(self, image: FloatArray, hints: Hints) -> _Answer:
        """Correct or refine a known mask in a window around it and the prompts."""
        window = _around(_union(hints), MASK_MARGIN, image)
        return self._grown(image, hints, self._look(image, hints, window, _refine_px(window)))

    def _grown(self, image: FloatArray, hints: Hints, answer: _Answer) -> _Answer:
        """Look again with a wider window while its border cuts the mask."""
        for _ in range(MOST_GROWTH_STEPS):
            if _cut(answer, image.shape) == 0:
                break
            wider = fit_window(replace(answer.window, side=answer.window.side * GROWTH), image.shape)
            if wider == answer.window:
                break
            hints = replace(hints, previous=_probability(answer, image.shape), carried=None, neighbour=None)
            answer = self._look(image, hints, wider, _refine_px(wider))
        return answer


def _refine_px(window: Window) -> int:
    return REFINE_PX if window.side <= REFINE_PX else LARGE_REFINE_PX


def _to_grey(pixels: FloatArray) -> FloatArray:
    """Luma of (h, w, 3), ITU-R BT.601."""
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


def _square_shape(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """The shape after resampling long pixels to squares of the finer spacing."""
    fine = min(spacing_mm)
    ratios = [min(LARGEST_ASPECT, s / fine) if fine > 0 else 1.0 for s in spacing_mm]
    if max(ratios) < 1.2:
        return shape
    return (max(1, round(shape[0] * ratios[0])), max(1, round(shape[1] * ratios[1])))


def _hints(prompts: SlicePrompts, prior: Prior | None, shape: tuple[int, int], square: tuple[int, ...]) -> Hints:
    """Prompts and prior on the working grid."""
    scale = np.array([square[0] / shape[0], square[1] / shape[1]], np.float32)
    box = None
    if prompts.box is not None:
        box = (
            float(prompts.box[0] * scale[0]),
            float(prompts.box[1] * scale[1]),
            float(prompts.box[2] * scale[0]),
            float(prompts.box[3] * scale[1]),
        )
    strokes = prompts.scribble if prompts.scribble is not None and prompts.scribble.any() else None
    if strokes is not None and strokes.shape != square:
        strokes = cv2.resize(strokes, square[::-1], interpolation=cv2.INTER_NEAREST)
    known: FloatArray | None = None
    if prior is not None:
        known = _sigmoid(prior.logits)
        if known.shape != square:
            known = np.asarray(cv2.resize(known, square[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    carried = prior is not None and prior.neighbour is not None
    neighbour = prior.neighbour.features.get("grey") if prior is not None and prior.neighbour is not None else None
    return Hints(
        points=((prompts.points + 0.5) * scale - 0.5).astype(np.float32),
        positive=prompts.positive,
        box=box,
        strokes=strokes,
        previous=None if carried else known,
        carried=known if carried else None,
        neighbour=neighbour if neighbour is not None and neighbour.shape == square else None,
    )


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def _probability(answer: _Answer, shape: tuple[int, ...]) -> FloatArray:
    return paste(_sigmoid(answer.logits), answer.window, (shape[0], shape[1]), 0.0)


def _extent(mask: NDArray[np.bool_]) -> Extent:
    """Half-open bounding box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))


def _union(hints: Hints) -> Extent:
    """What a window must hold: box, known mask, positive prompts; negative ones only if there is nothing else."""
    extents: list[Extent] = [] if hints.box is None else [hints.box]
    known = hints.previous if hints.previous is not None else hints.carried
    if known is not None and (known > 0.5).any():
        extents.append(_extent(known > 0.5))
    points = hints.points[hints.positive]
    if hints.strokes is not None and (hints.strokes > 0).any():
        extents.append(_extent(hints.strokes > 0))
    if not len(points) and not extents:
        points = hints.points
    extents += [(float(y), float(x), float(y) + 1, float(x) + 1) for y, x in points]
    if not extents and hints.strokes is not None:
        extents.append(_extent(hints.strokes != 0))
    boxes = np.array(extents)
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _around(extent: Extent, margin: float, image: FloatArray, smallest: float = SMALLEST_WINDOW_PX) -> Window:
    """A window around a box, inside the slice where it can be."""
    side = max(extent[2] - extent[0], extent[3] - extent[1]) * margin
    centre = ((extent[0] + extent[2]) / 2 - 0.5, (extent[1] + extent[3]) / 2 - 0.5)
    return fit_window(Window(*centre, side), (image.shape[0], image.shape[1]), smallest)


def _search_windows(image: FloatArray, hints: Hints) -> list[Window]:
    """From the whole slice inwards, around the first prompts."""
    extent = _union(hints)
    whole = float(max(image.shape))
    least = max(SMALLEST_SEARCH_PX, STROKE_MARGIN * max(extent[2] - extent[0], extent[3] - extent[1]))
    sides = [whole]
    while len(sides) < SEARCH_STEPS and sides[-1] / 2 > least * 0.8:
        sides.append(max(least, sides[-1] / 2))
    return [_around(extent, side / max(extent[2] - extent[0], extent[3] - extent[1]), image) for side in sides]


def _worth(answer: _Answer, hints: Hints, shape: tuple[int, ...]) -> float:
    """The score, a little more for large things, less what the window cuts off and the share of clicks disobeyed."""
    large = LARGE_BONUS * math.log2(answer.window.side)
    return answer.score + large - _cut(answer, shape) - DISOBEDIENCE * _disobeyed(answer, hints)


def _disobeyed(answer: _Answer, hints: Hints) -> float:
    """Share of the clicks on whose wrong side the answer is; clicks outside the window count as outside the mask."""
    if not len(hints.points):
        return 0.0
    size = answer.logits.shape[0]
    origin = np.array([answer.window.y, answer.window.x]) - answer.window.side / 2
    where = np.floor((hints.points - origin) * (size / answer.window.side)).astype(int)
    seen = ((where >= 0) & (where < size)).all(1)
    inside = np.zeros(len(where), np.bool_)
    inside[seen] = answer.logits[where[seen, 0], where[seen, 1]] > 0
    return float((inside != hints.positive).mean())


def _cut(answer: _Answer, shape: tuple[int, ...]) -> float:
    """Share of the window's border (where there is more slice behind it) that lies in the mask, but 0 below 2 %."""
    half = answer.window.side / 2
    mask = answer.logits > 0
    edges: list[NDArray[np.bool_]] = []
    if answer.window.y - half > 0:
        edges.append(mask[0])
    if answer.window.y + half < shape[0] - 1:
        edges.append(mask[-1])
    if answer.window.x - half > 0:
        edges.append(mask[:, 0])
    if answer.window.x + half < shape[1] - 1:
        edges.append(mask[:, -1])
    share = sum(int(edge.sum()) for edge in edges) / (4 * mask.shape[0])
    return 0.0 if math.isclose(share, 0.0) or share < 0.01 else share
