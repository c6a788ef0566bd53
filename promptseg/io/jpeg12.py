"""12-bit JPEG (Extended, process 2 and 4) through GDCM, in a process of its own.

GDCM's 12-bit decoder writes past its buffers on some damaged files and takes the process with it. So a child decodes;
it is started at the first such image, serves all later ones, and ends with its parent. When it dies or takes too long,
the file is refused and the next image gets a new child.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from pathlib import Path

from promptseg.errors import ReadError

__all__ = ["decode_jpeg12"]

SECONDS = 5.0  # per file; a CT slice takes some hundredths
START_SECONDS = 60.0  # for the child to load GDCM, on a busy machine
_lock = threading.Lock()
_child: subprocess.Popen[str] | None = None


def decode_jpeg12(file: Path, name: str) -> tuple[bytes, bool]:
    """Decode a DICOM file.

    Args:
        file: holds pixels and their description; the decoded pixels are written beside it.
        name: what messages call it.

    Returns:
        16-bit pixels of all frames, and whether they are signed.

    Raises:
        ReadError: damaged, or of a kind that GDCM does not decode.
    """
    with _lock:
        answer = _ask(file)
    if answer not in ("signed", "unsigned"):
        raise ReadError(f"cannot read {name}: its compressed pixels (12-bit JPEG) are damaged")
    return file.with_suffix(".raw").read_bytes(), answer == "signed"


def _ask(file: Path) -> str:
    """Return the child's answer; "" when it died or was ended for taking too long."""
    global _child
    if _child is not None and _child.poll() is not None:
        _end(_child)
        _child = None
    if _child is None:
        command = [sys.executable, "-c", "from promptseg.io.jpeg12 import serve; serve()"]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        _child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, text=True, encoding="utf-8")
        _line(_child, START_SECONDS)
    answer = _line(_child, SECONDS, f"{file}\n")
    if not answer:
        _end(_child)
        _child = None
    return answer


def _line(child: subprocess.Popen[str], seconds: float, question: str = "") -> str:
    """Return the child's next line; "" when it died, or was ended because none came within so many seconds."""
    if child.stdin is None or child.stdout is None:
        return ""
    watchdog = threading.Timer(seconds, child.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        child.stdin.write(question)
        child.stdin.flush()
        return child.stdout.readline().strip()
    except OSError:
        return ""
    finally:
        watchdog.cancel()


@atexit.register
def _end_last() -> None:
    if _child is not None:
        _end(_child)


def _end(child: subprocess.Popen[str]) -> None:
    """End a child that has nothing to do, or hangs, and take its pipes away."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was written to a dead process
                continue
    child.kill()
    child.wait()


def serve() -> None:
    """Answer file names on standard input with "signed", "unsigned" or "damaged" until it closes: the child's work."""
    import gdcm

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # GDCM prints; only answers may go to the parent
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        file = Path(line.rstrip("\n"))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        text = reader.GetImage().GetBuffer() if reader.Read() else None
        answer = "damaged"
        if text is not None:
            file.with_suffix(".raw").write_bytes(text.encode("utf-8", "surrogateescape"))
            answer = "signed" if reader.GetImage().GetPixelFormat().GetPixelRepresentation() else "unsigned"
        answers.write(f"{answer}\n")
        answers.flush()
