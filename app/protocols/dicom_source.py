"""DICOM series below the folders that the server was started with, by UID: for viewers that send no image."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from promptseg.errors import ReadError
from promptseg.io import list_series
from promptseg.io.read import read_volume
from promptseg.volume import Volume

__all__ = ["DicomSource"]

LOOK_AGAIN_S = 30.0  # after an unknown UID: new series may have come


class DicomSource:
    """An index of series; made at the first question, renewed when a UID is missing.

    Args:
        roots: folders with DICOM files.
    """

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = roots
        self._known: dict[str, Path] = {}
        self._looked = -LOOK_AGAIN_S
        self._lock = threading.Lock()

    def read(self, uid: str) -> Volume | None:
        """Return the series with this SeriesInstanceUID; None where there is none.

        Raises:
            ReadError: its geometry cannot be trusted.
        """
        root = self._find(uid)
        return None if root is None else read_volume(root, series=uid)

    def _find(self, uid: str) -> Path | None:
        with self._lock:
            if uid not in self._known and time.monotonic() - self._looked >= LOOK_AGAIN_S:
                self._known = {}
                for root in self._roots:
                    try:
                        self._known.update({series.uid: root for series in list_series(root)})
                    except ReadError:
                        continue  # a root without DICOM
                self._looked = time.monotonic()
            return self._known.get(uid)
