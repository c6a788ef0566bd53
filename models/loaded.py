"""Loaded models, bounded by memory: one load per model under concurrent requests, the least recently used goes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from promptseg.models.predictor import Predictor

__all__ = ["LoadedModel", "LoadedModels"]

HOST = "cpu"
Key = TypeVar("Key", bound=Hashable)


@dataclass
class LoadedModel:
    """One model in memory, as it is now.

    Attributes:
        model_id: the registry's id.
        device: "cpu" or "cuda:N".
        nbytes: memory on the device that its weights take, as it says itself; 0 where it does not say.
        held_bytes: the host's memory that its embeddings take.
        described: runtime, device and precision in words.
        last_used_s: ``time.monotonic()`` of the last request.
    """

    model_id: str
    device: str
    nbytes: int
    held_bytes: int
    described: str
    last_used_s: float


@dataclass
class _Slot:
    """A model that is loaded or being loaded."""

    device: str
    expected_bytes: int
    future: Future[Predictor] = field(default_factory=Future)
    last_used_s: float = field(default_factory=time.monotonic)

    @property
    def is_loaded(self) -> bool:
        return self.future.done() and self.future.exception() is None

    def bytes_on(self, device: str) -> int:
        """What it takes there; of one that is being loaded, what it is expected to take."""
        if not self.is_loaded:
            return self.expected_bytes if self.device == device else 0
        predictor = self.future.result()
        weights = int(getattr(predictor, "nbytes", 0)) if self.device == device else 0
        return weights + (int(getattr(predictor, "held_bytes", 0)) if device == HOST else 0)


class LoadedModels:
    """Keeps loaded models until their memory is wanted for others.

    What is dropped here lives on in sessions that still hold it; its memory is free when they end.

    Args:
        limit_bytes: of the host's memory, and of every GPU's that does not say how much it has.
        gpu_limit_bytes: "cuda:N" to the limit there; None where that is not known.
    """

    def __init__(self, limit_bytes: int, gpu_limit_bytes: Callable[[str], int | None] = lambda _device: None) -> None:
        self._limit = limit_bytes
        self._gpu_limit = gpu_limit_bytes
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()  # the least recently used first

    def get(self, keys: Mapping[Key, str], load: Callable[[Key], Predictor], expected_bytes: int = 0) -> Predictor:
        """Return the model under one of ``keys``, loading it when none is here; others that ask meanwhile wait.

        Args:
            keys: key to device, any of which will do: one that is loaded or being loaded, else the emptiest device's.
            load: makes the model of a key; its errors reach everyone who waited, and the next request tries again.
            expected_bytes: what the model will take, for the choice among devices while it is being loaded.
        """
        with self._lock:
            key = self._choose(keys)
            slot = self._slots.get(key)
            is_mine = slot is None
            if slot is None:
                slot = self._slots[key] = _Slot(keys[key], expected_bytes)
            self._slots.move_to_end(key)
            slot.last_used_s = time.monotonic()
        if is_mine:
            try:
                slot.future.set_result(load(key))
            except BaseException as exc:
                with self._lock:
                    del self._slots[key]
                slot.future.set_exception(exc)
                raise
        predictor = slot.future.result()
        with self._lock:  # at every request: what is loaded grows by embeddings and memories
            self._evict(key)
        return predictor

    def choose(self, keys: Mapping[Key, str]) -> Key:
        """Return the key that ``get`` would take now."""
        with self._lock:
            return self._choose(keys)

    def _choose(self, keys: Mapping[Key, str]) -> Key:
        here = [key for key in keys if key in self._slots]
        if here:
            return max(here, key=lambda key: self._slots[key].last_used_s)
        return min(keys, key=lambda key: self._taken(keys[key]))

    def _taken(self, device: str) -> int:
        return sum(slot.bytes_on(device) for slot in self._slots.values())

    def _evict(self, kept: Hashable) -> None:
        """Drop the least recently used until the rest fits; the newest stays even when it alone is too large."""
        for device in {HOST, *(slot.device for slot in self._slots.values())}:
            limit = self._limit if device == HOST else self._gpu_limit(device) or self._limit
            for key, slot in list(self._slots.items()):
                if self._taken(device) <= limit:
                    break
                if key != kept and slot.is_loaded and slot.bytes_on(device):
                    del self._slots[key]

    def report(self) -> tuple[LoadedModel, ...]:
        """What is loaded, the least recently used first."""
        with self._lock:
            loaded = [slot for slot in self._slots.values() if slot.is_loaded]
        return tuple(_described(slot, slot.future.result()) for slot in loaded)

    def clear(self) -> None:
        """Drop everything that is loaded."""
        with self._lock:
            for key, slot in list(self._slots.items()):
                if slot.is_loaded:
                    del self._slots[key]


def _described(slot: _Slot, predictor: Predictor) -> LoadedModel:
    return LoadedModel(
        predictor.model_id,
        slot.device,
        int(getattr(predictor, "nbytes", 0)),
        int(getattr(predictor, "held_bytes", 0)),
        str(getattr(predictor, "described", "")),
        slot.last_used_s,
    )
