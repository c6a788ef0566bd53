"""The seam between the engine and every promptable 3D network.

A ``VolumePredictor`` has one verb, ``predict``: a cut-out of a volume ("view") with what a person has said about one
object in it, in; the object in that cut-out and a predicted quality out. There is nothing to embed. Whoever calls it
places the view, resamples the volume onto it and carries the answer back; the predictor keeps no state, so one
instance serves many sessions.

Contract (tests/models/test_volume_predictor_contract.py runs it on every family):

- all arrays are (z, y, x) on the view's grid; any of the three axes may be the plane that a person prompted;
- point coordinates are (z, y, x) in voxels of the view, continuous, a voxel's centre at the integer; ranges and boxes
  are half-open, so that whole numbers are indices, and voxel i is inside (a, b) when a - 0.5 <= i < b - 0.5;
- a view's edges are multiples of ``view_multiple``; ``view_sides`` says at which the network is at its best;
- intensities may have any unit and offset: the network stretches every view by itself; what is not finite counts as
  the lowest;
- ``predict`` answers a batch: one answer per view, in order, each the same as if it had been asked alone, up to 1e-4
  of a logit;
- on the CPU it is deterministic: the same batch gives the same bits;
- it does not change its arguments;
- logits are float32 on the view's grid, > 0 means object; with no prompt and no previous answer it says nothing of use;
- clicks and known slices are strong hints, not orders: who wants them obeyed to the voxel sees to it;
- a point outside the view is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError

__all__ = [
    "AxisRange",
    "KnownSlice",
    "SliceBox",
    "View",
    "ViewAnswer",
    "ViewPrompts",
    "VolumePredictor",
    "volume_predictor_of",
]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class SliceBox:
    """A box on one slice of the view.

    Attributes:
        axis: which axis the slice stands on: 0 z, 1 y, 2 x.
        index: the slice's, along that axis.
        box: half-open (a0, b0, a1, b1) along the two other axes in their order, in voxels of the view.
    """

    axis: int
    index: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class AxisRange:
    """Between which slices the object lies, and nowhere else.

    Attributes:
        axis: 0 z, 1 y, 2 x.
        start: first slice, in voxels of the view; may lie outside the view.
        stop: one past the last.
    """

    axis: int
    start: float
    stop: float


@dataclass(frozen=True, eq=False)
class KnownSlice:
    """The object on one slice of the view, as a person painted or accepted it, or as another model found it.

    Attributes:
        axis: which axis the slice stands on: 0 z, 1 y, 2 x.
        index: the slice's, along that axis.
        mask: bool, the view's shape without that axis.
    """

    axis: int
    index: int
    mask: BoolArray


@dataclass(frozen=True, eq=False)
class ViewPrompts:
    """A person's hints on one view.

    Attributes:
        points: float32 (n, 3), (z, y, x) in voxels of the view.
        positive: bool (n,), True where the point is on the object.
        box: on one slice, or None.
        span: between which slices the object lies, or None.
        known: slices on which the object is known.
        scribble: int8 (z, y, x): +1 painted as object, -1 painted as background, 0 untouched; or None.
    """

    points: FloatArray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    positive: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    box: SliceBox | None = None
    span: AxisRange | None = None
    known: tuple[KnownSlice, ...] = ()
    scribble: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3 or len(self.points) != len(self.positive):
            raise PromptError(
                f"expected points (n, 3) with n labels, got {self.points.shape} with {self.positive.shape} labels"
            )


@dataclass(frozen=True, eq=False)
class View:
    """One question: a cut-out of a volume with everything that is known of the object in it.

    Attributes:
        voxels: float32 (z, y, x), resampled from the volume: averaged where the view is coarser, continued by the
            nearest voxel where it reaches over the volume's border.
        prompts: in voxels of the view.
        previous: float32 (z, y, x), the probability of an earlier answer in [0, 1], to be corrected; of a mask without
            probabilities 0.9 inside and 0.1 outside; 0.5 says nothing. None where there is no earlier answer.
        spacing_mm: (z, y, x) distance between the view's voxel centres in mm; (1, 1, 1) where unknown.
    """

    voxels: FloatArray
    prompts: ViewPrompts
    previous: FloatArray | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        shape = self.voxels.shape
        if self.voxels.ndim != 3:
            raise PromptError(f"expected a view (z, y, x), got the shape {shape}")
        for name, array in (("previous", self.previous), ("scribble", self.prompts.scribble)):
            if array is not None and array.shape != shape:
                raise PromptError(f"expected {name} on the view's grid {shape}, got {array.shape}")
        box = self.prompts.box
        if box is not None and not 0 <= box.index < shape[box.axis]:
            raise PromptError(f"expected a box on a slice below {shape[box.axis]} of axis {box.axis}, got {box.index}")
        for known in self.prompts.known:
            across = shape[: known.axis] + shape[known.axis + 1 :]
            if known.mask.shape != across or not 0 <= known.index < shape[known.axis]:
                raise PromptError(
                    f"expected a known slice {across} with an index below {shape[known.axis]} on axis {known.axis}, "
                    f"got {known.mask.shape} at {known.index}"
                )


@dataclass(frozen=True, eq=False)
class ViewAnswer:
    """The object in one view.

    Attributes:
        logits: float32 (z, y, x) on the view's grid, > 0 means object.
        score: predicted Dice of the answer with what was meant, in [0, 1].
    """

    logits: FloatArray
    score: float

    @property
    def mask(self) -> BoolArray:
        """bool (z, y, x): ``logits > 0``."""
        return self.logits > 0

    @property
    def probability(self) -> FloatArray:
        """float32 (z, y, x) in [0, 1]: what ``View.previous`` takes."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.logits, -30, 30))), np.float32)


@runtime_checkable
class VolumePredictor(Protocol):
    """One loaded promptable 3D model; see the module's docstring for the contract."""

    @property
    def model_id(self) -> str:
        """The registry's id, e.g. ``"builtin"``."""
        ...

    @property
    def view_sides(self) -> tuple[int, ...]:
        """Edges of cubic views, in voxels, at which the network is good; the quickest first."""
        ...

    @property
    def view_multiple(self) -> int:
        """Every edge of a view is a multiple of it."""
        ...

    def predict(self, views: Sequence[View]) -> tuple[ViewAnswer, ...]:
        """Answer a batch of views of one shape, or of several (then one after the other).

        Raises:
            PromptError: an edge is no multiple of ``view_multiple``.
        """
        ...


def volume_predictor_of(predictor: object) -> VolumePredictor | None:
    """Return the 3D member of a loaded model; None where it works slice by slice only.

    The first call may load the member's weights.
    """
    found: VolumePredictor | None = getattr(predictor, "volume_predictor", None)
    return found
