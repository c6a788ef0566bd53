"""The built-in network behind the predictor's two verbs: where to look, how often, and which answer to keep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.models.families.builtin.drawn import hints_of, logits_of, obey, sigmoid
from promptseg.models.families.builtin.evidence import painted_of, weigh_by_evidence
from promptseg.models.families.builtin.looks import (
    BOX_MARGIN,
    CARRY_MARGIN,
    MASK_MARGIN,
    SMALLEST_CARRY_PX,
    Answer,
    around,
    best_of,
    cut_share,
    extent_of,
    painted,
    search_squares,
    union_of,
    worth_of,
)
from promptseg.models.families.builtin.session import open_network
from promptseg.models.families.builtin.thin import follow, is_thin, stands_out, tile_side, usual_width
from promptseg.models.families.builtin.tissue import weigh_by_tissue
from promptseg.models.families.builtin.views import CHANNELS, Hints, Square, draw_view, fit_square, paste
from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import Device
from promptseg.models.volume_predictor import VolumePredictor

__all__ = ["BuiltinPredictor"]

FloatArray = NDArray[np.float32]
Extent = tuple[float, float, float, float]

SEARCH_PX, CARRY_PX = 128, 128
"""Working sizes for finding the object and for carrying a mask from slice to slice."""

REFINE_PX, LARGE_REFINE_PX = 128, 160
"""Working size of the answer that is given, for squares up to ``REFINE_PX`` slice pixels wide and for larger ones."""

CARRY_TRUST = 1.0
"""Logits added inside a carried mask and taken off outside it."""

CARRIED = CHANNELS.index("carried")

GROWTH, MOST_GROWTH_STEPS = 1.7, 2
"""A square whose border cuts the mask grows by this factor, this often at most."""

RECONSIDERED_CLICKS = 4
"""Up to so many clicks a correction also searches anew."""

LEAST_THIN_PX = 2.0
"""A close look's thin answer is at least this wide in the network's pixels: less is noise."""

MOST_THIN = 2
"""Scales from which a thin thing is followed; of those that stand out, the longest is kept."""

CLEARER = 1.3
"""A thin thing is preferred to another find where it stands out so many times more: blobs around vessels score well."""

LESS_SURE = 0.2
"""... and where its score is not lower by more than this: in noise there is always something thin to follow."""

CONTINUED = 0.7
"""Share of a thin find that a longer thin thing must hold to be its continuation."""

LARGE_PROBED = 1.4
"""Strokes and boxes this much longer than a search view are also looked at closely in a few places."""

LOYALTY = 0.03
"""A new find must be worth this much more than the corrected answer, in units of the score."""

NOWHERE = -12.0
"""Logit outside the square that was looked at."""

LARGEST_ASPECT = 4.0
"""Pixels longer than broad are resampled to squares up to this ratio."""


@dataclass(frozen=True, eq=False)
class _Whole:
    """An answer on the slice's grid."""

    logits: FloatArray
    score: float


class BuiltinPredictor:
    """The network trained on synthetic scenes, run by ONNX Runtime.

    A first prompt is searched for at several scales; then the square closes in on the mask that was found, or grows
    where it cuts the mask. The next few clicks may still overturn the find. A carried mask (no prompt, a prior with
    a neighbour) is one pass.
    """

    def __init__(
        self,
        path: Path,
        model_id: str = "builtin",
        threads: int | None = None,
        device: Device | None = None,
        volume: Callable[[], VolumePredictor] | None = None,
    ) -> None:
        """Load the file.

        Args:
            path: the ONNX file.
            model_id: the registry's id.
            threads: cores used by one prediction; all but at most four when None. Answers are the same bits for
                the same number.
            device: where it runs; the CPU when None.
            volume: opens the 3D network, at its first use.

        Raises:
            ModelError: the file cannot be read.
            DeviceError: ONNX Runtime took another execution provider than the device asks for.
        """
        network = open_network(path, device, threads)
        self._network, self.described = network, network.described
        self._volume, self._loading = volume, threading.Lock()
        self._volume_predictor: VolumePredictor | None = None
        self._model_id = model_id
        self.nbytes = path.stat().st_size

    @property
    def model_id(self) -> str:
        """The registry's id."""
        return self._model_id

    @property
    def volume_predictor(self) -> VolumePredictor | None:
        """The 3D member, loaded at the first call; None where there is none."""
        with self._loading:
            if self._volume_predictor is None and self._volume is not None:
                self._volume_predictor = self._volume()
                self.nbytes += int(getattr(self._volume_predictor, "nbytes", 0))
            return self._volume_predictor

    def embed(self, image: SliceImage) -> Embedding:
        """Grey values on square pixels, and the colours where there are any: strokes are matched by them."""
        pixels = np.nan_to_num(np.ascontiguousarray(image.pixels, np.float32))
        height, width = _square_shape(image.shape, image.spacing_mm)
        if (height, width) != pixels.shape[:2]:
            pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        if pixels.ndim == 2:
            return Embedding(self._model_id, image.shape, image.spacing_mm, {"grey": pixels})
        features: dict[str, NDArray[Any]] = {
            "grey": _to_grey(pixels),
            "colour": np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8),
        }
        return Embedding(self._model_id, image.shape, image.spacing_mm, features)

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
        hints = hints_of(prompts, known, embedding.shape, image.shape)
        if prompts.is_empty and hints.carried is not None:
            answer: Answer | _Whole = self._carried(image, hints, hints.carried)
        elif hints.previous is None and hints.carried is None:
            answer = self._first(image, hints)
        else:
            answer = self._again(image, hints)
        whole = answer if isinstance(answer, _Whole) else self._fine(image, hints, answer)
        logits = whole.logits
        if hints.box is not None and hints.previous is None:
            logits = weigh_by_tissue(image, logits, hints.box)
        shown = painted_of(hints, logits.shape)
        if shown is not None:
            logits = weigh_by_evidence(embedding.features.get("colour", image), logits, *shown)
        if logits.shape != embedding.shape:
            logits = cv2.resize(logits, embedding.shape[::-1], interpolation=cv2.INTER_AREA)
        return Prediction(obey(logits, prompts), whole.score)

    def _fine(self, image: FloatArray, hints: Hints, answer: Answer) -> _Whole:
        """The answer on the slice's grid; what is long and thin is followed tile by tile."""
        logits = paste(answer.logits, answer.square, image.shape, NOWHERE)
        if hints.carried is not None:
            return _Whole(logits, answer.score)
        mask, px = logits > 0, answer.logits.shape[0] / answer.square.side
        known = hints.previous is not None and is_thin(hints.previous > 0.5, px)
        if not (known or is_thin(mask, px)):
            return _Whole(logits, answer.score)
        if known and hints.previous is not None:
            mask |= hints.previous > 0.5
        side = tile_side(usual_width(mask), SEARCH_PX)
        if side > 0.8 * answer.square.side and cut_share(answer, image.shape) == 0:
            return _Whole(logits, answer.score)
        return self._followed(image, hints, logits, mask, side)

    def _followed(
        self, image: FloatArray, hints: Hints, logits: FloatArray, mask: NDArray[np.bool_], side: float
    ) -> _Whole:
        """Follow a thin thing from a mask and from where a person pointed."""

        def look(known: FloatArray, squares: list[Square]) -> tuple[list[FloatArray], list[float]]:
            answers = self._tried(image, [(replace(hints, previous=known), square) for square in squares])
            return [tile.logits for tile in answers], [tile.score for tile in answers]

        return _Whole(*follow(look, logits, mask | painted(hints, image.shape), side))

    def _thin(self, image: FloatArray, hints: Hints, looks: list[Answer], best: Answer) -> _Whole | None:
        """What a close look found to be thin, followed through the slice, where it stands out more than ``best``."""
        looks = [*looks, *self._probed(image, hints)]
        close = [look for look in looks if is_thin(look.logits > 0) and usual_width(look.logits > 0) >= LEAST_THIN_PX]
        found: list[tuple[float, int, _Whole]] = []
        for wide in sorted({look.square.side for look in close})[-MOST_THIN:]:
            starts = [look for look in close if look.square.side == wide]
            logits = np.maximum.reduce([paste(look.logits, look.square, image.shape, NOWHERE) for look in starts])
            side = tile_side(usual_width(logits > 0), SEARCH_PX)
            whole = self._followed(image, hints, logits, logits > 0, side)
            mask = whole.logits > 0
            if is_thin(mask, SEARCH_PX / side) and _clearer(image, whole, best):
                found.append((stands_out(image, mask), int(mask.sum()), whole))
        clear = [item for item in found if item[0] * CLEARER >= max(clarity for clarity, _, _ in found)]
        return max(clear, key=lambda item: item[1])[2] if clear else None

    def _probed(self, image: FloatArray, hints: Hints) -> list[Answer]:
        """Close looks at a few places along long strokes or in a large box: is there something thin?"""
        if hints.box is not None:
            (y0, x0, y1, x1), (near, middle, far) = hints.box, (0.25, 0.5, 0.75)
            shares = np.array([(near, near), (near, far), (middle, middle), (far, near), (far, far)])
            places = shares * (y1 - y0, x1 - x0) + (y0, x0)
        elif hints.strokes is not None and (hints.strokes > 0).any():
            drawn = np.argwhere(hints.strokes > 0)
            places = drawn[np.linspace(0, len(drawn) - 1, 5).astype(int)]
        else:
            return []
        y0, x0, y1, x1 = union_of(hints)
        if max(y1 - y0, x1 - x0) < LARGE_PROBED * SEARCH_PX:
            return []
        shape = (image.shape[0], image.shape[1])
        squares = [fit_square(Square(float(y), float(x), float(SEARCH_PX)), shape) for y, x in places]
        return self._tried(image, [(hints, square) for square in squares])

    def _run(self, views: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        logits, scores = self._network.run(np.stack(views))
        return logits[:, 0], scores

    def _look(self, image: FloatArray, hints: Hints, square: Square, size: int) -> Answer:
        """One pass."""
        logits, scores = self._run([draw_view(image, hints, square, size)])
        return Answer(logits[0], square, float(scores[0]))

    def _carried(self, image: FloatArray, hints: Hints, mask: FloatArray) -> Answer:
        """One pass around the neighbour's mask, which keeps a say where the network hesitates."""
        square = around(extent_of(mask > 0.5), CARRY_MARGIN, image, SMALLEST_CARRY_PX)
        view = draw_view(image, hints, square, CARRY_PX)
        logits, scores = self._run([view])
        return Answer(logits[0] + CARRY_TRUST * (2 * view[CARRIED] - 1), square, float(scores[0]))

    def _first(self, image: FloatArray, hints: Hints) -> Answer | _Whole:
        """No answer yet: a box says where to look, a click or stroke is searched for at several scales.

        Each scale's answer is refined in a square of its own size before the best is chosen: the score of a first
        look says little, that of a second look much more.
        """
        if hints.box is not None:
            square = around(union_of(hints), BOX_MARGIN, image)
            answer = self._grown(image, hints, self._look(image, hints, square, _refine_px(square)))
            return self._thin(image, hints, [], answer) or answer
        looks = self._tried(image, [(hints, square) for square in search_squares(image, hints)])
        seen = [answer for answer in looks if (answer.logits > 0).any()]
        if not seen:
            return looks[0]
        refined = [replace(hints, previous=_probability(answer, image.shape)) for answer in seen]
        answers = self._tried(image, [(known, around(union_of(known), MASK_MARGIN, image)) for known in refined])
        best = best_of(answers, hints, image.shape)
        thin = self._thin(image, hints, looks, best)
        if thin is not None:
            return thin
        if not (best.logits > 0).any():
            return best
        return self._closer(image, replace(hints, previous=_probability(best, image.shape)))

    def _tried(self, image: FloatArray, looks: list[tuple[Hints, Square]]) -> list[Answer]:
        """One pass on each of several squares, in one batch."""
        logits, scores = self._run([draw_view(image, hints, square, SEARCH_PX) for hints, square in looks])
        squares = [square for _, square in looks]
        return [Answer(*parts) for parts in zip(logits, squares, map(float, scores), strict=True)]

    def _again(self, image: FloatArray, hints: Hints) -> Answer | _Whole:
        """Correct a known mask; after few clicks alone also search anew: the first guess may be of the wrong thing."""
        if hints.previous is not None and is_thin(hints.previous > 0.5):
            mask = hints.previous > 0.5
            side = tile_side(usual_width(mask), SEARCH_PX)
            if around(union_of(hints), MASK_MARGIN, image).side > LARGE_PROBED * side:
                return self._followed(image, hints, logits_of(hints.previous), mask, side)
        answer = self._closer(image, hints)
        known = hints.box is not None or hints.strokes is not None or hints.carried is not None
        if known or not 2 <= len(hints.points) <= RECONSIDERED_CLICKS:
            return answer
        fresh = self._first(image, replace(hints, previous=None, carried=None, neighbour=None))
        if isinstance(fresh, _Whole):
            return fresh if _clearer(image, fresh, answer) else answer
        better = worth_of(fresh, hints, image.shape) > worth_of(answer, hints, image.shape) + LOYALTY
        return fresh if better else answer

    def _closer(self, image: FloatArray, hints: Hints) -> Answer:
        """Correct or refine a known mask in a square around it and the prompts."""
        square = around(union_of(hints), MASK_MARGIN, image)
        return self._grown(image, hints, self._look(image, hints, square, _refine_px(square)))

    def _grown(self, image: FloatArray, hints: Hints, answer: Answer) -> Answer:
        """Look again with a wider square while its border cuts the mask."""
        for _ in range(MOST_GROWTH_STEPS):
            if cut_share(answer, image.shape) == 0:
                break
            wider = fit_square(replace(answer.square, side=answer.square.side * GROWTH), image.shape)
            if wider == answer.square:
                break
            hints = replace(hints, previous=_probability(answer, image.shape), carried=None, neighbour=None)
            answer = self._look(image, hints, wider, _refine_px(wider))
        return answer


def _clearer(image: FloatArray, thin: _Whole, other: Answer) -> bool:
    """Whether a thin thing stands out from the image more than another find, or is that find continued."""
    if thin.score < other.score - LESS_SURE:
        return False
    mask, found = paste(other.logits, other.square, (image.shape[0], image.shape[1]), NOWHERE) > 0, thin.logits > 0
    continued = is_thin(mask) and (mask & found).sum() > CONTINUED * mask.sum()
    return stands_out(image, found) > (1 / CLEARER if continued else CLEARER) * stands_out(image, mask)


def _refine_px(square: Square) -> int:
    return REFINE_PX if square.side <= REFINE_PX else LARGE_REFINE_PX


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


def _probability(answer: Answer, shape: tuple[int, ...]) -> FloatArray:
    return paste(sigmoid(answer.logits), answer.square, (shape[0], shape[1]), 0.0)
