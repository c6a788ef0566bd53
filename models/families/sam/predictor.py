"""SAM and its descendants that share its decoder: one class, whatever the checkpoint and the runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.models.families.sam.frames import Frame, prepare, prepare_cut
from promptseg.models.families.sam.planes import Planes
from promptseg.models.families.sam.wire import WirePrompts, to_wire
from promptseg.models.predictor import Carrier, Embedding, Prediction, Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import is_out_of_memory, needing_memory

__all__ = ["SamOptions", "SamPredictor", "SamRunner"]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]

NOWHERE = -10.0
"""Logit of an answer that says that there is no object."""

CARRY_MIN_SCORE = 0.5
"""A carried mask whose answer expects less overlap than this is not found: SAM always draws something, and its own
authors keep nothing below 0.88 (SamAutomaticMaskGenerator's pred_iou_thresh); half of that is surely not the object."""

STABILITY_OFFSET = 1.0  # logits, as in SamAutomaticMaskGenerator's stability_score_offset


class SamRunner(Protocol):
    """An encoder and a decoder on some runtime; keeps no state between calls.

    Attributes:
        input_px: edge of the encoder's input.
        low_px: edge of the coarse masks.
        has_single: True when answer 0 is the one for clear prompts and the others are for a lone click.
        takes_mask: whether the decoder reads a mask prompt.
        any_size: whether the encoder takes any rectangle of whole patches up to the square.
        nbytes: memory that the weights take.
        described: runtime, device and precision in words.
    """

    input_px: int
    low_px: int
    has_single: bool
    takes_mask: bool
    any_size: bool
    nbytes: int
    described: str

    def encode(self, batch: Sequence[Planes]) -> list[Features]:
        """Planes of one likeness -> as many times named arrays, "image" (c, h', w') among them."""
        ...

    def decode(self, features: Features, wire: WirePrompts, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """One slice's arrays, prompts and the slice's shape -> logits (k, m, m'), qualities (k,)."""
        ...


@dataclass(frozen=True)
class SamOptions:
    """What differs between checkpoints.

    Attributes:
        preprocess: see ``families/frames.py``.
        score: "iou" or "stability", see ``ModelCard.score``.
        trim: leave out of the computation what nobody sees, see ``frames.prepare_cut``; needs ``any_size``.
    """

    preprocess: str = "sam"
    score: str = "iou"
    trim: bool = False


class SamPredictor:
    """The SAM family behind the predictor's two verbs.

    A lone click gets the best of the three answers by the model's own score; everything else the single answer.
    """

    def __init__(
        self,
        runner: SamRunner,
        model_id: str,
        options: SamOptions | None = None,
        open_carrier: Callable[[], Carrier | None] | None = None,
    ) -> None:
        self._runner = runner
        self._open_carrier = open_carrier
        self._carrier: Carrier | None = None
        self._lock = threading.Lock()
        self._model_id = model_id
        self._options = options or SamOptions()

    @property
    def model_id(self) -> str:
        """The registry's id."""
        return self._model_id

    @property
    def nbytes(self) -> int:
        """Memory that the weights take, the memory's among them once it is loaded."""
        return self._runner.nbytes + int(getattr(self._carrier, "nbytes", 0))

    @property
    def described(self) -> str:
        """Runtime, device and precision in words."""
        return self._runner.described

    @property
    def carrier(self) -> Carrier | None:
        """What carries masks with a memory, loaded at the first request; None where the model has none."""
        with self._lock:
            if self._open_carrier is not None:
                self._carrier, self._open_carrier = self._open_carrier(), None
            return self._carrier

    def embed(self, image: SliceImage) -> Embedding:
        """Run the encoder on one slice."""
        return self.embed_batch([image])[0]

    def embed_batch(self, images: Sequence[SliceImage]) -> list[Embedding]:
        """Run the encoder once on several slices of one shape; more than one shape costs one run per shape."""
        options = self._options
        made: list[Embedding | None] = [None] * len(images)
        groups: dict[tuple[Any, ...], list[tuple[int, Planes, Frame]]] = {}
        for index, image in enumerate(images):
            if options.trim and self._runner.any_size:
                planes, frame = prepare_cut(options.preprocess, image.pixels, self._runner.input_px, image.spacing_mm)
            else:
                planes, frame = prepare(options.preprocess, image.pixels, self._runner.input_px)
            groups.setdefault(planes.likeness, []).append((index, planes, frame))
        for group in groups.values():
            encoded = self._encoded([planes for _, planes, _ in group])
            for (index, _, frame), features in zip(group, encoded, strict=True):
                arrays: dict[str, NDArray[Any]] = {**features, "inner": np.array(frame.inner, np.int64)}
                if frame.cut is not None:
                    arrays["cut"] = np.array(frame.cut, np.int64)
                made[index] = Embedding(self._model_id, frame.shape, images[index].spacing_mm, arrays)
        return [embedding for embedding in made if embedding is not None]

    def _encoded(self, batch: Sequence[Planes]) -> list[Features]:
        """The encoder's answers; in two halves where the device has no memory for all of them at once."""
        if len(batch) == 1:
            with needing_memory(f"one slice of {batch[0].edges[0]} x {batch[0].edges[1]} px", self.described):
                return self._runner.encode(batch)
        try:
            return self._runner.encode(batch)
        except Exception as exc:
            if not is_out_of_memory(exc):
                raise
        half = len(batch) // 2
        return [*self._encoded(batch[:half]), *self._encoded(batch[half:])]

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Answer one set of prompts; see the contract in ``promptseg.models.predictor``.

        Raises:
            ModelError: the embedding was made by another model.
            DeviceError: the device has no memory left.
        """
        if embedding.model_id != self._model_id:
            raise ModelError(f"expected an embedding made by {self._model_id!r}, got one by {embedding.model_id!r}")
        known = prior if prior is not None and (prior.logits > 0).any() else None
        if prompts.is_empty and known is None:
            return _nothing(embedding.shape, 0.5)
        coarse = embedding.features["image"]
        frame = self._frame(embedding)
        low_shape = (4 * coarse.shape[1], 4 * coarse.shape[2])
        wire = to_wire(prompts, known, frame, low_shape, self._runner.low_px)
        with needing_memory("one answer", self.described):
            logits, scores = self._runner.decode(embedding.features, wire, embedding.shape)
        ranked = self._ranked(scores, wire)
        answers = [(logits[i], self._score(logits[i], float(scores[i]))) for i in ranked]
        low, score = answers[0]
        if prompts.is_empty and known is not None and known.neighbour is not None and score < CARRY_MIN_SCORE:
            return _nothing(embedding.shape, score)
        candidates = partial(_restored, frame, self._runner.low_px, answers) if len(answers) > 1 else tuple
        return Prediction(frame.restore(low, self._runner.low_px), score, candidates)

    def _frame(self, embedding: Embedding) -> Frame:
        h, w = (int(n) for n in embedding.features["inner"])
        cut = embedding.features.get("cut")
        box = None if cut is None else (int(cut[0]), int(cut[1]), int(cut[2]), int(cut[3]))
        return Frame(self._options.preprocess, embedding.shape, (h, w), self._runner.input_px, box)

    def _ranked(self, scores: FloatArray, wire: WirePrompts) -> list[int]:
        """The answers that may be meant, the best first."""
        among = range(len(scores))
        if self._runner.has_single:
            among = range(1, len(scores)) if wire.is_ambiguous and len(scores) > 1 else range(1)
        return sorted(among, key=lambda i: float(scores[i]), reverse=True)

    def _score(self, logits: FloatArray, expected: float) -> float:
        if self._options.score == "stability":
            sure, maybe = int((logits > STABILITY_OFFSET).sum()), int((logits > -STABILITY_OFFSET).sum())
            return sure / maybe if maybe else 0.0
        return min(1.0, max(0.0, expected))


def _restored(frame: Frame, low_px: int, answers: list[tuple[FloatArray, float]]) -> tuple[Prediction, ...]:
    """Answers on the coarse grid -> on the slice's."""
    return tuple(Prediction(frame.restore(low, low_px), score) for low, score in answers)


def _nothing(shape: tuple[int, int], score: float) -> Prediction:
    return Prediction(np.full(shape, NOWHERE, np.float32), score)
