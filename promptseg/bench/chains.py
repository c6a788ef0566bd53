"""What the 3D protocols talk to: anything that turns a first prompt and clicks into a 3D mask."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.options import EngineOptions
from promptseg.errors import PromptError
from promptseg.models.predictor import Predictor
from promptseg.prompts import Box, MaskPrompt, Point
from promptseg.session.session import Session
from promptseg.volume import Volume

__all__ = ["Chain", "SessionChain"]

BoolArray = NDArray[np.bool_]


@runtime_checkable
class Chain(Protocol):
    """Carries prompts on one slice through a volume. ``start`` forgets whatever came before it.

    Contract: masks are bool (z, y, x) of the volume's shape and are not changed afterwards by the chain; the same calls
    give the same masks.
    """

    @property
    def name(self) -> str:
        """What the tables call it."""
        ...

    def start(self, volume: Volume, prompt: Box | Point | MaskPrompt) -> BoolArray:
        """Segment the object of a box or a click, or take a mask that is to be corrected.

        A box is in voxels and half-open. One slice thick along z: the object's box on that slice. Thicker: the
        object's box on the middle slice, ``(z0 + z1 - 1) // 2``, and the range of slices that the object lies in.
        """
        ...

    def click(self, point: Point) -> BoolArray:
        """Correct the mask by one click (in voxels)."""
        ...


class SessionChain:
    """promptseg's own chain: a ``Session`` with one predictor.

    Args:
        predictor: the 2D model.
        options: the engine's numbers.
        name: what the tables call it; default: the model's id.
    """

    def __init__(self, predictor: Predictor, options: EngineOptions | None = None, name: str | None = None) -> None:
        self._predictor, self._options = predictor, options
        self._name = name or predictor.model_id
        self._session: Session | None = None

    @property
    def name(self) -> str:
        """What the tables call it."""
        return self._name

    def start(self, volume: Volume, prompt: Box | Point | MaskPrompt) -> BoolArray:
        """Open a new session and add the prompt."""
        self._session = Session(volume, self._predictor, self._options)
        self._session.add(prompt)
        return self._session.mask()

    def click(self, point: Point) -> BoolArray:
        """Add the click.

        Raises:
            PromptError: ``start`` has not been called.
        """
        if self._session is None:
            raise PromptError("expected start(volume, prompt) before the first click")
        self._session.add(point)
        return self._session.mask()
