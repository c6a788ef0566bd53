"""The seam between the prompt engine and every promptable 2D network.

A ``Predictor`` has two verbs: ``embed`` (expensive, once per slice) and ``predict`` (cheap, once per click).
Both take and return values; a predictor keeps no per-image state, so one instance serves many sessions.

Contract (tests/models/test_predictor_contract.py runs it on every family):

- all 2D arrays are (row y, column x); coordinates are (y, x) in pixels of the *original* slice, continuous,
  the pixel's centre at the integer; boxes are half-open (y0, x0, y1, x1);
- ``predict`` returns logits on the original slice's grid, float32, > 0 means foreground;
- ``predict`` is deterministic on the CPU: same embedding, prompts and prior give the same bits;
- neither call changes its arguments;
- with no prompt at all and a prior from a neighbouring slice, ``predict`` says where the object is *here*;
  an all-negative answer means that the object is not in this slice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError

__all__ = ["Carrier", "Embedding", "Prediction", "Predictor", "Prior", "SliceImage", "SlicePrompts", "carrier_of"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SliceImage:
    """One 2D cut, already mapped by the volume's one intensity window.

    Attributes:
        pixels: float32 (h, w) or (h, w, 3), in [0, 1].
        spacing_mm: (row, column) distance between pixel centres in mm; (1, 1) where unknown.
    """

    pixels: FloatArray
    spacing_mm: tuple[float, float] = (1.0, 1.0)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        return (int(self.pixels.shape[0]), int(self.pixels.shape[1]))


@dataclass(frozen=True, eq=False)
class Embedding:
    """What ``embed`` made of one slice; opaque to everyone but the family that made it.

    Attributes:
        model_id: the model that made it; ``predict`` refuses another model's embedding.
        shape: (h, w) of the original slice in pixels.
        spacing_mm: (row, column) of the original slice in mm.
        features: named arrays, meaning known to the family alone.
    """

    model_id: str
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    features: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes held by the features."""
        return sum(int(array.nbytes) for array in self.features.values())

    @cached_property
    def content(self) -> str:
        """Hash (hex) of all of it: equal for equal values, whoever made them and wherever they were kept."""
        hasher = hashlib.blake2b(repr((self.model_id, self.shape, self.spacing_mm)).encode(), digest_size=16)
        for name, array in sorted(self.features.items()):
            hasher.update(repr((name, array.dtype.str, array.shape)).encode())
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()


@dataclass(frozen=True, eq=False)
class SlicePrompts:
    """A person's hints on one slice, in that slice's pixels.

    Attributes:
        points: float32 (n, 2), (y, x).
        positive: bool (n,), True where the point is on the object.
        box: half-open (y0, x0, y1, x1) or None.
        scribble: int8 (h, w): +1 painted as object, -1 painted as background, 0 untouched; or None.
    """

    points: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    positive: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    box: tuple[float, float, float, float] | None = None
    scribble: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2 or len(self.points) != len(self.positive):
            raise PromptError(
                f"expected points (n, 2) with n labels, got {self.points.shape} with {self.positive.shape} labels"
            )

    @property
    def is_empty(self) -> bool:
        """True when there is no hint at all."""
        return len(self.points) == 0 and self.box is None and (self.scribble is None or not self.scribble.any())


@dataclass(frozen=True, eq=False)
class Prior:
    """A mask known before this prediction.

    Attributes:
        logits: float32 (h, w), > 0 means foreground.
        neighbour: the embedding of the slice that ``logits`` belongs to when it was carried over from a
            neighbouring slice; None when it is an earlier answer on this very slice, to be corrected.
    """

    logits: FloatArray
    neighbour: Embedding | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """One answer.

    Attributes:
        logits: float32 (h, w) on the original slice's grid, > 0 means foreground.
        score: predicted quality in [0, 1] (an estimate of the mask's overlap with what was meant).
        candidates: gives all answers that the model had to choose from, this one first, by falling score; made when
            it is called. () where the model gives one answer only.
    """

    logits: FloatArray
    score: float
    candidates: Callable[[], tuple[Prediction, ...]] = tuple

    @property
    def mask(self) -> BoolArray:
        """bool (h, w): ``logits > 0``."""
        return self.logits > 0


@runtime_checkable
class Predictor(Protocol):
    """One loaded promptable model; see the module's docstring for the contract."""

    @property
    def model_id(self) -> str:
        """The registry's id, e.g. ``"builtin"``."""
        ...

    def embed(self, image: SliceImage) -> Embedding:
        """Do the expensive part once for a slice."""
        ...

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Answer one set of prompts on an embedded slice."""
        ...


class Carrier(Protocol):
    """What some families have besides: a memory that carries a mask from slice to slice.

    A memory is a value, opaque to everyone but the family that made it, and bounded however far a walk goes. One walk
    starts with ``remember`` on its anchor (and, when it knows more of them, on the other anchors), then calls ``carry``
    slice by slice in one direction, each time with the memory that it got last. Whoever does not take an answer over
    goes on with the memory from before.
    """

    def remember(self, embedding: Embedding, logits: FloatArray, index: int, memory: object | None = None) -> object:
        """Return the memory with one more slice that a person has prompted or accepted.

        Args:
            embedding: the slice's.
            logits: (h, w) on the slice's grid, > 0 means foreground.
            index: where the slice lies in its stack.
            memory: what is known already; None for nothing.
        """
        ...

    def carry(self, embedding: Embedding, index: int, memory: object) -> tuple[Prediction, object]:
        """Answer where the object is on slice ``index``, and return the memory with that answer in it.

        An all-negative answer with score 0 means that the object is not in this slice.
        """
        ...


def carrier_of(predictor: Predictor) -> Carrier | None:
    """Return what carries masks with a memory for this model; None where ``predict`` with a prior is all there is.

    The first call may load the memory's weights.
    """
    found: Carrier | None = getattr(predictor, "carrier", None)
    return found
