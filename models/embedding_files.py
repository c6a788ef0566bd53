"""Embeddings on disk: one file each, rounded to fp16, shared by processes, the least recently used go at the limit."""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.models.predictor import Embedding

__all__ = ["CacheInfo", "EmbeddingFiles", "clear_embeddings", "embedding_info", "rounded"]

SUFFIX = ".npz"
PART = ".part-"
ABANDONED_S = 3600.0  # a file that nobody finished for so long belongs to a process that was killed
TOUCH_S = 60.0  # an embedding that is used from memory is marked as used on the disk at most this often
SWEPT_TO, UNSEEN = 7 / 8, 1 / 16
"""Shares of the limit: what a sweep leaves, and what a process writes before it looks at the folder again. So two
processes that write at once stay within the limit."""


@dataclass(frozen=True)
class CacheInfo:
    """What lies in the folder of embeddings.

    Attributes:
        folder: where.
        count: embeddings.
        nbytes: their size and that of what killed processes left.
    """

    folder: Path
    count: int
    nbytes: int


def embedding_info(folder: Path) -> CacheInfo:
    """Count the embeddings on disk."""
    files = _files(folder)
    return CacheInfo(folder, len(files), sum(state.st_size for _, state in [*files, *_abandoned(folder)]))


def clear_embeddings(folder: Path) -> CacheInfo:
    """Delete all embeddings on disk; returns what was there."""
    before = embedding_info(folder)
    for path, _ in [*_files(folder), *_abandoned(folder)]:
        path.unlink(missing_ok=True)
    return before


def _files(folder: Path, pattern: str = f"*/*{SUFFIX}") -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.glob(pattern) if folder.is_dir() else []:
        try:
            found.append((path, path.stat()))
        except FileNotFoundError:  # another process was faster
            continue
    return found


def _abandoned(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Files that a killed process never finished."""
    oldest = time.time() - ABANDONED_S
    return [(path, state) for path, state in _files(folder, f"*/{PART}*") if state.st_mtime < oldest]


class EmbeddingFiles:
    """One model's embeddings in a folder that models and processes share.

    Args:
        folder: the shared one.
        model: names the model's own folder in it.
        limit_bytes: of the whole shared folder.
    """

    def __init__(self, folder: Path, model: str, limit_bytes: int) -> None:
        self._folder = folder
        self._own = folder / model
        self._limit = limit_bytes
        self._room = 0.0  # bytes to be written before the next look at the folder
        self._touched: dict[str, float] = {}

    def _path(self, key: str) -> Path:
        return self._own / f"{key}{SUFFIX}"

    def read(self, key: str) -> Embedding | None:
        """The embedding under a key; None when there is none or its file is spoiled."""
        path = self._path(key)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                features = {n[2:]: _single(arrays[n]) for n in arrays.files if n.startswith("f_")}
                embedding = Embedding(
                    str(arrays["model_id"]),
                    (int(arrays["shape"][0]), int(arrays["shape"][1])),
                    (float(arrays["spacing_mm"][0]), float(arrays["spacing_mm"][1])),
                    features,
                )
        except OSError:
            return None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # cut off by a full disk, or not ours
            return None
        self.touch(key)
        return embedding

    def touch(self, key: str) -> None:
        """Set the file's time, by which a sweep knows what was used last."""
        now = time.monotonic()
        if now - self._touched.get(key, -TOUCH_S) < TOUCH_S:
            return
        self._touched[key] = now
        with suppress(OSError):  # swept by another process, or read-only
            os.utime(self._path(key))

    def write(self, key: str, embedding: Embedding) -> None:
        """Keep an embedding; a full or read-only disk costs time later, never an answer."""
        path = self._path(key)
        if path.exists():
            return
        arrays = {f"f_{name}": _half(array) for name, array in embedding.features.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=PART, dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    np.savez(
                        stream,
                        allow_pickle=False,
                        model_id=np.array(embedding.model_id),
                        shape=np.array(embedding.shape),
                        spacing_mm=np.array(embedding.spacing_mm, np.float64),
                        **arrays,
                    )
                self._room -= Path(name).stat().st_size
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError:
            return
        if self._room < 0:
            self.sweep()

    def sweep(self) -> None:
        """Delete the least recently used, and what killed processes left; one process at a time."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(str(self._folder / ".sweep.lock"), timeout=1):
                for path, _ in _abandoned(self._folder):
                    path.unlink(missing_ok=True)
                files = sorted(_files(self._folder), key=lambda item: item[1].st_mtime_ns)
                excess = sum(state.st_size for _, state in files) - SWEPT_TO * self._limit
                for path, state in files:
                    if excess <= 0:
                        break
                    path.unlink(missing_ok=True)
                    excess -= state.st_size
                self._room = UNSEEN * self._limit
                self._touched.clear()
        except (Timeout, OSError):
            return


def _half(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float16) if array.dtype == np.float32 else array


def _single(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def rounded(embedding: Embedding) -> Embedding:
    """The embedding as it comes back from the disk."""
    features = {name: _single(_half(array)) for name, array in embedding.features.items()}
    return Embedding(embedding.model_id, embedding.shape, embedding.spacing_mm, features)
