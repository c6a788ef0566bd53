"""Loaded models, bounded by memory: one load per model under concurrent requests, the least recently used goes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

from promptseg.models.predictor import Predictor

__all__ = ["LoadedModel", "LoadedModels"]


@dataclass
class LoadedModel:
    """One model in memory.

    Attributes:
        model_id: the registry's id.
        device: "cpu" or "cuda:N".
        nbytes: memory that its weights take, as it says itself; 0 where it does not say.
        described: runtime, device and precision in words.
        last_used_s: ``time.monotonic()`` of the last request.
    """

    model_id: str
    device: str
    nbytes: int
    described: str
    last_used_s: float = field(default_factory=time.monotonic)


class LoadedModels:
    """Keeps loaded models until their memory is wanted for others.

    What is dropped here lives on in sessions that still hold it; its memory is free when they end.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._loading: OrderedDict[Hashable, Future[Predictor]] = OrderedDict()
        self._entries: dict[Hashable, LoadedModel] = {}

    def get(self, key: Hashable, device: str, load: Callable[[], Predictor]) -> Predictor:
        """Return the model under ``key``, loading it when it is not here; others that ask meanwhile wait.

        Errors of ``load`` reach everyone who waited, and the next request tries again.
        """
        with self._lock:
            future = self._loading.get(key)
            is_mine = future is None
            if future is None:
                future = self._loading[key] = Future()
            self._loading.move_to_end(key)
            if key in self._entries:
                self._entries[key].last_used_s = time.monotonic()
        if not is_mine:
            return future.result()
        try:
            predictor = load()
        except BaseException as exc:
            with self._lock:
                del self._loading[key]
            future.set_exception(exc)
            raise
        entry = LoadedModel(
            predictor.model_id, device, int(getattr(predictor, "nbytes", 0)), str(getattr(predictor, "described", ""))
        )
        with self._lock:
            self._entries[key] = entry
            self._evict(key)
        future.set_result(predictor)
        return predictor

    def _evict(self, kept: Hashable) -> None:
        """Drop the least recently used until the rest fits; the newest stays even when it alone is too large."""
        for key in list(self._loading):
            if sum(entry.nbytes for entry in self._entries.values()) <= self._limit:
                return
            if key != kept and key in self._entries and self._entries[key].nbytes:
                del self._entries[key], self._loading[key]

    def report(self) -> tuple[LoadedModel, ...]:
        """What is loaded, the least recently used first."""
        with self._lock:
            return tuple(self._entries[key] for key in self._loading if key in self._entries)

    def emptiest(self, count: int) -> int:
        """The GPU, of ``count``, on which the loaded models take the least memory."""
        with self._lock:
            held = [sum(e.nbytes for e in self._entries.values() if e.device == f"cuda:{i}") for i in range(count)]
        return held.index(min(held))

    def clear(self) -> None:
        """Drop everything that is loaded."""
        with self._lock:
            for key in list(self._entries):
                del self._entries[key], self._loading[key]
