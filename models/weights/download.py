"""One file from the first address that has it: resumable, never under its real name before it is checked."""

from __future__ import annotations

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from urllib.parse import quote, urlsplit

from promptseg.errors import ModelError
from promptseg.models.settings import ModelSettings

__all__ = ["OnBytes", "candidate_urls", "etag_file", "fetch", "forget_part"]

OnBytes = Callable[[int, int], None]
"""Called with (bytes here, bytes in all or 0 when unknown)."""

CHUNK_BYTES = 1 << 18
TIMEOUT_S = 30.0
ATTEMPTS = 4  # per address; every one resumes
PAUSE_S = 0.5  # before the second attempt, doubled each time
HUB = "https://huggingface.co"


class _Interrupted(Exception):  # noqa: N818 - an outcome between attempts, never seen outside
    """The connection ended early; another attempt can resume."""


def candidate_urls(model_id: str, name: str, urls: tuple[str, ...], settings: ModelSettings) -> list[str]:
    """Mirrors first, then the row's own addresses with ``HF_ENDPOINT`` in place of the hub."""
    mirrored = [f"{base}/{quote(model_id)}/{quote(name)}" for base in settings.mirrors]
    endpoint = settings.hf_endpoint
    own = [endpoint + u.removeprefix(HUB) if endpoint and u.startswith(f"{HUB}/") else u for u in urls]
    return mirrored + own


def fetch(url: str, part: Path, *, on_bytes: OnBytes | None = None) -> None:
    """Download into ``part``, going on from what is there already.

    Args:
        url: http, https or file.
        part: the unfinished file; beside it, ``<part>.etag`` remembers which version it is a part of.
        on_bytes: progress.

    Raises:
        ModelError: the address cannot be read, it sent a web page instead of a file, or the disk is too small.
    """
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise ModelError(f"expected an http, https or file address, got {url}")
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            _attempt(url, part, on_bytes)
        except _Interrupted as exc:
            reason = str(exc)
        except OSError as exc:  # the disk's: those of the connection are told apart below
            raise ModelError(f"cannot write {part}: {exc.strerror or exc}; free space or set PROMPTSEG_MODELS") from exc
        else:
            return
    raise ModelError(f"the connection to {url} ended early {ATTEMPTS} times ({reason}); run the same command to go on")


def forget_part(part: Path) -> None:
    """Delete an unfinished file and what is remembered of its version."""
    part.unlink(missing_ok=True)
    etag_file(part).unlink(missing_ok=True)


def etag_file(part: Path) -> Path:
    """Where the version of an unfinished file is remembered."""
    return part.with_name(part.name + ".etag")


def _attempt(url: str, part: Path, on_bytes: OnBytes | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    version = ""
    request = urllib.request.Request(url, headers={"User-Agent": "promptseg", "Accept-Encoding": "identity"})
    if start and etag_file(part).exists() and not url.startswith("file:"):
        version = etag_file(part).read_text(encoding="utf-8")
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version)
    try:
        opener = urllib.request.build_opener()  # the shared one would keep the proxies of the process's first request
        response = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as exc:
        if exc.code == 416:
            _check_end(exc.headers, part, start, version)
            return
        if exc.code >= 500 or exc.code == 429:
            raise _Interrupted(f"HTTP {exc.code}") from exc
        raise ModelError(f"{url} answered HTTP {exc.code} {exc.reason}") from exc
    except urllib.error.URLError as exc:
        raise ModelError(f"cannot reach {url}: {exc.reason}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise _Interrupted(f"{type(exc).__name__}: {exc}") from exc
    with response:
        _receive(response, url, part, version, on_bytes)


def _check_end(headers: Message, part: Path, start: int, version: str) -> None:
    """The server has nothing after what is here: all of it is, or this is a part of something else."""
    if headers.get("Content-Range") != f"bytes */{start}" or headers.get("ETag", version) != version:
        forget_part(part)
        raise _Interrupted("the server had nothing after what is here")


def _receive(response: http.client.HTTPResponse, url: str, part: Path, version: str, on_bytes: OnBytes | None) -> None:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise ModelError(f"{url} sent a web page instead of a file (a login, a confirmation or a moved address)")
    etag = headers.get("ETag") or headers.get("Last-Modified") or ""
    said = headers.get("Content-Length", "")
    length = int(said) if said.isdecimal() else 0
    start = 0
    if getattr(response, "status", None) == 206:
        start, sent = part.stat().st_size, headers.get("Content-Range", "")
        if not version or not sent.startswith(f"bytes {start}-") or etag not in ("", version):
            forget_part(part)
            raise _Interrupted(f"expected the rest from byte {start:,}, the server sent {sent or 'something else'}")
    else:
        part.unlink(missing_ok=True)  # first of all: what is of another version must never stand beside this etag
        _remember_version(part, etag)
    _check_space(part, length)
    done, total = start, start + length if length else 0
    with part.open("ab" if start else "wb") as stream:
        while chunk := _read(response):
            stream.write(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done, total)
    if total and done < total:
        raise _Interrupted(f"{done:,} of {total:,} bytes came")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as exc:  # a reset, a time-out, a broken TLS record
        raise _Interrupted(f"{type(exc).__name__}: {exc}") from exc


def _remember_version(part: Path, etag: str) -> None:
    if etag and not etag.startswith("W/"):
        etag_file(part).write_text(etag, encoding="utf-8")
    else:
        etag_file(part).unlink(missing_ok=True)


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed and needed > free:
        raise ModelError(
            f"expected {needed:,} free bytes in {part.parent}, found {free:,}; free some or set PROMPTSEG_MODELS"
        )
