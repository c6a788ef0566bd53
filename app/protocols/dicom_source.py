"""DICOM series by UID, for viewers that send no image: below the server's folders, or on its DICOMweb servers."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from promptseg.app.state import AppState
from promptseg.errors import ReadError
from promptseg.io import list_series
from promptseg.io.read import read_volume
from promptseg.volume import Volume

__all__ = ["DicomSource"]

LOOK_AGAIN_S = 30.0  # after an unknown UID: new series may have come


class DicomSource:
    """An index of series; made at the first question, renewed when a UID is missing.

    Args:
        state: its settings name the folders, its ``dicomweb`` the servers.
    """

    def __init__(self, state: AppState) -> None:
        self._roots, self._dicomweb = state.settings.roots, state.dicomweb
        self._cache = state.settings.data / "cache"
        self._known: dict[str, Path] = {}
        self._looked = -LOOK_AGAIN_S
        self._lock = threading.Lock()

    def read(self, uid: str) -> Volume | None:
        """Return the series with this SeriesInstanceUID; None where there is none.

        Raises:
            ReadError: its geometry cannot be trusted, or a DICOMweb server does not answer.
        """
        root = self._find(uid)
        if root is not None:
            return read_volume(root, series=uid)
        place = self._dicomweb.find(uid)
        if place is None:
            return None
        with tempfile.TemporaryDirectory(dir=self._cache) as folder:  # the files do not stay, the volume does
            self._dicomweb.fetch(place, Path(folder))
            return read_volume(Path(folder), series=uid)

    def is_known(self, uid: str) -> bool:
        """Return True where ``read`` would find the series.

        Raises:
            ReadError: a DICOMweb server does not answer.
        """
        return self._find(uid) is not None or self._dicomweb.find(uid) is not None

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
