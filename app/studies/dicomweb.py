"""Studies from DICOMweb servers (Orthanc, dcm4chee, ...) that the server was started with, and from no others.

Nobody can make this server ask another address: an address that a person gives is only compared with the configured
ones and taken apart into UIDs; what is asked is put together from the configured address and those UIDs. Redirects and
the environment's proxies are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.app.errors import UploadTooLargeError
from promptseg.app.settings import Limits
from promptseg.errors import MissingExtraError, ReadError

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

__all__ = ["DicomWeb", "Place"]

UID = re.compile(r"[0-9][0-9.]{0,63}")  # PS3.5 9.1
ASKED = re.compile(r"/studies/(?P<study>[^/?#]+)(?:/series/(?P<series>[^/?#]+))?/?")
SILENCE_S = 60.0


@dataclass(frozen=True)
class Place:
    """Where a study or series lies: a configured address and UIDs; ``series`` None for the whole study."""

    source: str
    study: str
    series: str | None = None


class DicomWeb:
    """The configured DICOMweb servers.

    Args:
        sources: their addresses, e.g. ``http://orthanc:8042/dicom-web``.
        auth: "user:password" by address; "" for those that need none.
        limits: how much may come at once.
    """

    def __init__(self, sources: tuple[str, ...], auth: Mapping[str, str], limits: Limits) -> None:
        self._sources, self._auth, self._limits = sources, auth, limits

    def place(self, url: str) -> Place:
        """Return what an address names.

        Raises:
            ReadError: it lies on none of the configured servers, or names neither a study nor a series.
        """
        for source in self._sources:
            found = ASKED.fullmatch(url.removeprefix(source)) if url.startswith(f"{source}/") else None
            if found is not None:
                series = found["series"]
                return Place(source, _uid(found["study"]), None if series is None else _uid(series))
        raise ReadError(
            "expected <source>/studies/<UID> or <source>/studies/<UID>/series/<UID> of a DICOM source that this "
            "server was started with (--dicom-source)"
        )

    def find(self, series: str) -> Place | None:
        """Return where a series lies, by its SeriesInstanceUID; None where no source has it.

        Raises:
            ReadError: a source does not answer.
        """
        if UID.fullmatch(series) is None:
            return None
        for source in self._sources:
            with self._asking(source) as client:
                rows = client.search_for_series(
                    fields=["StudyInstanceUID"], search_filters={"SeriesInstanceUID": series}, limit=2
                )
            for row in rows:  # a server that knows no such filter tells of all its series
                if _value(row, "0020000E") == series:
                    return Place(source, _uid(_value(row, "0020000D")), series)
        return None

    def fetch(self, place: Place, folder: Path) -> int:
        """Write every instance of a study or series into a folder, under names of our own; return the bytes.

        Raises:
            UploadTooLargeError: more files or bytes than one upload may have.
            ReadError: the source does not answer, or holds nothing there.
        """
        size = 0
        with self._asking(place.source) as client:
            for number, dataset in enumerate(self._instances(client, place), start=1):
                if number > self._limits.upload_files:
                    most = self._limits.upload_files
                    raise UploadTooLargeError(f"expected at most {most} images at once, got more", limit=most)
                path = folder / f"f{number:06d}.dcm"
                dataset.save_as(path, enforce_file_format=True)
                size += path.stat().st_size
                if size > self._limits.upload_bytes:
                    raise UploadTooLargeError(
                        f"expected at most {self._limits.upload_bytes / 1024**2:,.0f} MiB at once, got more",
                        limit=self._limits.upload_bytes,
                    )
        if size == 0:
            raise ReadError("the DICOM source holds no images there")
        return size

    def _instances(self, client: DICOMwebClient, place: Place) -> Iterator[Any]:
        anything = (("application/dicom", "*"),)  # as it is stored: decoding is ours to do
        if place.series is None:
            yield from client.iter_study(place.study, media_types=anything)
        else:
            yield from client.iter_series(place.study, place.series, media_types=anything)

    @contextmanager
    def _asking(self, source: str) -> Iterator[DICOMwebClient]:
        """Give a client of one source; what goes wrong becomes a sentence without address, names or UIDs."""
        try:
            import requests
            from dicomweb_client import DICOMwebClient
        except ModuleNotFoundError as exc:
            raise MissingExtraError("dicomweb_client", "app") from exc
        with requests.Session() as session:
            session.trust_env, session.max_redirects = False, 0
            if auth := self._auth.get(source):
                user, _, password = auth.partition(":")
                session.auth = (user, password)
            client = DICOMwebClient(source, session=session, timeout=SILENCE_S)
            client.set_http_retry_params(retry=False)
            try:
                yield client
            except requests.HTTPError as exc:
                code = exc.response.status_code
                told = "holds no such study or series" if code == 404 else f"refused with status {code}"
                raise ReadError(f"the DICOM source {told}") from exc
            except (requests.RequestException, OSError) as exc:
                raise ReadError(f"the DICOM source does not answer: {type(exc).__name__}") from exc


def _uid(text: str) -> str:
    if UID.fullmatch(text) is None:
        raise ReadError("expected a UID of at most 64 digits and dots in the DICOM address")
    return text


def _value(row: dict[str, Any], tag: str) -> str:
    return str(next(iter(row.get(tag, {}).get("Value", [])), ""))
