"""Embeddings, each made once: kept in memory, on disk where wanted, and made ahead while a person looks at a slice.

The key is a hash of the model (weights, runtime, precision), the slice's content after the volume's window, and its
spacing; so it holds across sessions, volumes and processes.
"""

from __future__ import annotations

import atexit
import hashlib
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from promptseg.models.embedding_files import EmbeddingFiles, rounded
from promptseg.models.predictor import (
    Carrier,
    Embedding,
    Prediction,
    Predictor,
    Prior,
    SliceImage,
    SlicePrompts,
    carrier_of,
)
from promptseg.models.volume_predictor import VolumePredictor, volume_predictor_of

__all__ = ["CachedPredictor", "EmbeddingCache", "embed_all"]

DEFAULT_MEMORY_BYTES = 256 * 1024**2
REST_S = 0.2  # nobody has asked for anything for so long: now there is time to make something ahead


class EmbeddingCache:
    """One model's embeddings by slice content.

    With a folder, features are rounded to fp16 before their first use, so that an answer does not depend on whether
    its embedding came from the disk.

    Args:
        model_key: everything that decides what an embedding is.
        memory_bytes: limit in memory.
        disk: folder shared by models and processes, or None.
        disk_bytes: limit of the whole folder; the least recently used files go.
    """

    def __init__(
        self,
        model_key: str,
        *,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        disk: Path | None = None,
        disk_bytes: int = 0,
    ) -> None:
        model = hashlib.sha256(model_key.encode()).hexdigest()[:16]
        self._limit = memory_bytes
        self._files = EmbeddingFiles(disk, model, disk_bytes) if disk is not None else None
        self._held: OrderedDict[str, Embedding] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory that the embeddings held here take."""
        return self._nbytes

    def key(self, image: SliceImage) -> str:
        """Hash of the slice's content, shape and spacing."""
        pixels = np.ascontiguousarray(image.pixels, np.float32)
        hasher = hashlib.blake2b(digest_size=16)
        hasher.update(repr((pixels.shape, tuple(map(float, image.spacing_mm)))).encode())
        hasher.update(pixels.data)
        return hasher.hexdigest()

    def get(self, key: str) -> Embedding | None:
        """The embedding under a key, from memory or disk; None when there is none."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
        if self._files is None:
            return held
        if held is not None:
            self._files.touch(key)
            return held
        found = self._files.read(key)
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, key: str, embedding: Embedding) -> Embedding:
        """Keep an embedding and return what everyone is to use."""
        if self._files is not None:
            embedding = rounded(embedding)
            self._files.write(key, embedding)
        self._remember(key, embedding)
        return embedding

    def _remember(self, key: str, embedding: Embedding) -> None:
        with self._lock:
            old = self._held.pop(key, None)
            self._held[key] = embedding
            self._nbytes += embedding.nbytes - (old.nbytes if old is not None else 0)
            while self._nbytes > self._limit and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._nbytes -= dropped.nbytes


def embed_all(predictor: Predictor, images: Sequence[SliceImage]) -> list[Embedding]:
    """Embed several slices: in one run where the predictor has ``embed_batch``, else one after the other."""
    batch = getattr(predictor, "embed_batch", None)
    return list(batch(images)) if batch is not None else [predictor.embed(image) for image in images]


class CachedPredictor:
    """A predictor whose embeddings are made once; it can make the next ones ahead on a thread of its own.

    Args:
        inner: the model.
        cache: its embeddings.
        batch: slices that are best embedded in one run; more than one pays on a GPU only.
    """

    def __init__(self, inner: Predictor, cache: EmbeddingCache, batch: int = 1) -> None:
        self.inner = inner
        self._cache = cache
        self.batch = batch
        self._lock = threading.Lock()
        self._rest = threading.Condition(self._lock)
        self._asked, self._answered_s = 0, 0.0
        self._running: dict[str, Future[Embedding]] = {}
        self._wanted: deque[SliceImage] = deque()
        self._worker: threading.Thread | None = None

    @property
    def model_id(self) -> str:
        """The registry's id."""
        return self.inner.model_id

    @property
    def nbytes(self) -> int:
        """Memory that the model's weights take."""
        return int(getattr(self.inner, "nbytes", 0))

    @property
    def held_bytes(self) -> int:
        """The host's memory that the embeddings take."""
        return self._cache.nbytes

    @property
    def described(self) -> str:
        """Runtime, device and precision in words."""
        return str(getattr(self.inner, "described", ""))

    @property
    def carrier(self) -> Carrier | None:
        """See ``promptseg.models.predictor``; a memory is made of embeddings, so nothing of it is cached here."""
        return carrier_of(self.inner)

    @property
    def volume_predictor(self) -> VolumePredictor | None:
        """See ``promptseg.models.volume_predictor``; there is nothing to embed, so nothing to keep."""
        return volume_predictor_of(self.inner)

    def embed(self, image: SliceImage) -> Embedding:
        """Return the slice's embedding; waits when it is being made already."""
        return self.embed_batch([image])[0]

    def embed_batch(self, images: Sequence[SliceImage]) -> list[Embedding]:
        """Return several slices' embeddings; what is missing is made in one run."""
        with self._asking():
            return self._embed_batch(images)

    def _embed_batch(self, images: Sequence[SliceImage]) -> list[Embedding]:
        keys = [self._cache.key(image) for image in images]
        mine: dict[str, SliceImage] = {}
        waiting: dict[str, Future[Embedding]] = {}
        found: dict[str, Embedding] = {}
        for key, image in zip(keys, images, strict=True):
            if key in found or key in waiting:
                continue
            with self._lock:
                running = self._running.get(key)
                if running is None:
                    self._running[key] = Future()
                    mine[key] = image
            if running is not None:
                waiting[key] = running
        found.update(self._make(mine))
        found.update({key: future.result() for key, future in waiting.items()})
        return [found[key] for key in keys]

    def _make(self, mine: dict[str, SliceImage]) -> dict[str, Embedding]:
        """Look up or compute what this call took on, and tell those who wait."""
        found: dict[str, Embedding] = {}
        try:
            for key in mine:
                held = self._cache.get(key)
                if held is not None:
                    found[key] = held
            missing = {key: image for key, image in mine.items() if key not in found}
            made = embed_all(self.inner, list(missing.values())) if missing else []
            found.update({key: self._cache.put(key, e) for key, e in zip(missing, made, strict=True)})
        except BaseException as exc:
            self._finish(mine, error=exc)
            raise
        self._finish(mine, found)
        return found

    def _finish(
        self, mine: Iterable[str], found: dict[str, Embedding] | None = None, error: BaseException | None = None
    ) -> None:
        for key in mine:
            with self._lock:
                future = self._running.pop(key)
            if error is not None:
                future.set_exception(error)
            elif found is not None:
                future.set_result(found[key])

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Somebody waits for an answer: nothing new is begun ahead."""
        with self._lock:
            self._asked += 1
        try:
            yield
        finally:
            with self._rest:
                self._asked -= 1
                self._answered_s = time.monotonic()
                self._rest.notify()

    def prefetch(self, images: Iterable[SliceImage]) -> None:
        """Make these embeddings ahead, in this order, on a thread; replaces what an earlier call still wanted.

        One run begins when nobody has asked for an answer for ``REST_S``, so a person waits for one run at most.
        """
        wanted = deque(images)
        with self._rest:
            self._wanted = wanted
            self._rest.notify()
            if self._wanted and self._worker is None:
                _WORKING.add(self)
                self._worker = threading.Thread(target=self._work, name="promptseg-prefetch", daemon=True)
                self._worker.start()

    def stop(self) -> None:
        """Drop what is wanted ahead, and wait for the run at hand."""
        with self._rest:
            self._wanted.clear()
            worker = self._worker
            self._rest.notify()
        if worker is not None:
            worker.join()

    def _rest_in_s(self) -> float:
        return REST_S if self._asked else self._answered_s + REST_S - time.monotonic()

    def _work(self) -> None:
        while True:
            with self._rest:
                while self._wanted and (wait_s := self._rest_in_s()) > 0:
                    self._rest.wait(wait_s)
                if not self._wanted:
                    self._worker = None
                    return
                images = [self._wanted.popleft() for _ in range(min(self.batch, len(self._wanted)))]
            try:
                self._embed_batch(images)
            except Exception:  # noqa: BLE001  whoever asks for this slice gets the error; a guess ahead stays silent
                continue

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """See ``promptseg.models.predictor``."""
        with self._asking():
            return self.inner.predict(embedding, prompts, prior)


_WORKING: weakref.WeakSet[CachedPredictor] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """A runtime that is pulled down while it computes may crash."""
    for predictor in list(_WORKING):
        predictor.stop()
