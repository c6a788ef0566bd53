"""A model's slow call that can be left: a person who presses Cancel does not wait for an encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from promptseg.models.embeddings import embed_all
from promptseg.models.predictor import (
    Carrier,
    Embedding,
    FloatArray,
    Prediction,
    Predictor,
    Prior,
    SliceImage,
    SlicePrompts,
    carrier_of,
)
from promptseg.models.volume_predictor import View, ViewAnswer, VolumePredictor, volume_predictor_of

__all__ = ["Interruptible"]

P = ParamSpec("P")
R = TypeVar("R")
BEAT_S = 0.1  # between two looks at whether the caller still waits


class Interruptible:
    """A predictor whose calls run beside, while the caller is asked now and then whether it still wants the answer.

    Args:
        inner: the model.
    """

    def __init__(self, inner: Predictor) -> None:
        self.inner = inner
        self._beat: Callable[[], None] | None = None
        self._beaten = 0.0
        self._pool: ThreadPoolExecutor | None = None

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self.inner.model_id

    @contextmanager
    def watched(self, beat: Callable[[], None] | None) -> Iterator[None]:
        """While open, call ``beat`` every 0.1 s of a model's call; what it raises ends the wait.

        The call itself cannot be stopped: it ends beside, and the next one waits for it.
        """
        self._beat, self._beaten = beat, time.monotonic()
        try:
            yield
        finally:
            self._beat = None

    def embed(self, image: SliceImage) -> Embedding:
        """See ``promptseg.models.predictor``."""
        return self._wait(self.inner.embed, image)

    @property
    def batch(self) -> int:
        """Slices that the model best embeds in one run."""
        return int(getattr(self.inner, "batch", 1))

    def embed_batch(self, images: Sequence[SliceImage]) -> list[Embedding]:
        """Return several slices' embeddings, made in one run where the model can."""
        return self._wait(embed_all, self.inner, images)

    def prefetch(self, images: Iterable[SliceImage]) -> None:
        """Let the model make embeddings ahead, where it has a thread for that; else the images are not even made."""
        ahead = getattr(self.inner, "prefetch", None)
        if ahead is not None:
            ahead(images)

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """See ``promptseg.models.predictor``."""
        return self._wait(self.inner.predict, embedding, prompts, prior)

    @property
    def carrier(self) -> Carrier | None:
        """What carries masks with a memory, where the model has it; its calls can be left just so."""
        found = carrier_of(self.inner)
        return None if found is None else _WatchedCarrier(found, self)

    @property
    def volume_predictor(self) -> VolumePredictor | None:
        """The model's 3D member, where it has one; its calls can be left just so."""
        found = volume_predictor_of(self.inner)
        return None if found is None else _WatchedVolume(found, self)

    def _wait(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._beat is None:
            return call(*args, **kwargs)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="promptseg-model")
        future: Future[R] = self._pool.submit(call, *args, **kwargs)
        while True:
            if time.monotonic() - self._beaten > BEAT_S:  # many short calls are one long one, too
                self._beat()
                self._beaten = time.monotonic()
            try:
                return future.result(BEAT_S)
            except StillRunning:
                if future.done():  # the model itself ran into a time limit
                    raise


class _WatchedCarrier:
    """A carrier whose calls run as a watched predictor's do."""

    def __init__(self, inner: Carrier, watched: Interruptible) -> None:
        self._inner, self._watched = inner, watched

    def remember(self, embedding: Embedding, logits: FloatArray, index: int, memory: object | None = None) -> object:
        """See ``promptseg.models.predictor``."""
        return self._watched._wait(self._inner.remember, embedding, logits, index, memory)

    def carry(self, embedding: Embedding, index: int, memory: object) -> tuple[Prediction, object]:
        """See ``promptseg.models.predictor``."""
        return self._watched._wait(self._inner.carry, embedding, index, memory)


class _WatchedVolume:
    """A 3D member whose calls run as a watched predictor's do."""

    def __init__(self, inner: VolumePredictor, watched: Interruptible) -> None:
        self._inner, self._watched = inner, watched
        self.model_id, self.view_sides, self.view_multiple = inner.model_id, inner.view_sides, inner.view_multiple

    def predict(self, views: Sequence[View]) -> tuple[ViewAnswer, ...]:
        """See ``promptseg.models.volume_predictor``."""
        return self._watched._wait(self._inner.predict, views)
