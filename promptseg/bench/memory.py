"""How much memory a piece of work took at its peak, native libraries included."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from types import TracebackType

__all__ = ["PeakMemory"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5), /proc/pid/clear_refs


class PeakMemory:
    """Context manager; ``peak_mib`` holds the process's largest resident size while it was open, in MiB.

    On Linux the kernel's own peak is reset on entry. Elsewhere the peak is that since the process began, and where the
    system tells nothing it is NaN.
    """

    peak_mib: float = float("nan")

    def __enter__(self) -> PeakMemory:
        with contextlib.suppress(OSError):
            CLEAR.write_text(RESET_PEAK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peak_mib = _peak_mib()


def _peak_mib() -> float:
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found is not None:
            return int(found.group(1)) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
