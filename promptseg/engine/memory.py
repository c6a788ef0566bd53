"""How much memory a session will need, worked out before it begins."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from promptseg.engine.options import EngineOptions
from promptseg.errors import TooLargeError

__all__ = ["MemoryEstimate", "estimate_memory", "free_memory", "require_memory"]

GIB = 1024**3
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
WORK_COPIES = 3  # of one label's voxels at the busiest moment: a mask, another one, and what differs
MODEL_BYTES = 512 * 1024**2  # a network's weights and buffers; the built-in one takes a fifth of it
FUSED_COPIES = 4  # more where planes vote: a mask of each, and the result
LABEL_LAYERS = 8  # reserved where labels may overlap: every label then has an array of its own


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what they are for.

    Attributes:
        image: the voxels as they are held.
        labels: the labels' arrays.
        work: copies in the middle of a call.
        embeddings: what the model keeps of the slices, at most.
        model: the network.
    """

    image: int
    labels: int
    work: int
    embeddings: int
    model: int = MODEL_BYTES

    @property
    def total(self) -> int:
        """All of it."""
        return self.image + self.labels + self.work + self.embeddings + self.model


def estimate_memory(
    shape: tuple[int, int, int], image_bytes: int, options: EngineOptions, cache_bytes: int
) -> MemoryEstimate:
    """Estimate what a session on a volume needs.

    Args:
        shape: (z, y, x).
        image_bytes: the voxels as they are held.
        options: the engine's numbers.
        cache_bytes: what embeddings may take.
    """
    voxels = math.prod(shape)
    layers = LABEL_LAYERS if options.overlap == "allow" else 1
    copies = WORK_COPIES + (FUSED_COPIES if options.fuse == "auto" else 0)
    return MemoryEstimate(image_bytes, voxels * layers, voxels * copies, cache_bytes)


def require_memory(needed: MemoryEstimate, held: int = 0) -> None:
    """Refuse work that cannot fit.

    Args:
        needed: the estimate.
        held: bytes of it that are taken already.

    Raises:
        TooLargeError: less is free; nothing is known to be free: it is let through.
    """
    free = free_memory()
    if free is None or needed.total - held <= free:
        return
    raise TooLargeError(
        f"expected at least {(needed.total - held) / GIB:.1f} GiB of free memory for this image (labels and work "
        f"{(needed.labels + needed.work) / GIB:.1f}, embeddings {needed.embeddings / GIB:.1f}, model "
        f"{needed.model / GIB:.1f}), got {free / GIB:.1f} GiB; close other programs, or crop or resample the image",
        needed_bytes=needed.total - held,
        free_bytes=free,
    )


def free_memory() -> int | None:
    """Return the bytes that this process may still take: the machine's, or its container's; None: not known."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        line = re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())
        found += [int(line.group(1)) * 1024] if line is not None else []
    with contextlib.suppress(OSError, ValueError):
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            stat = (CGROUP / "memory.stat").read_text()
            reclaimable = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)
            used = int((CGROUP / "memory.current").read_text())
            found.append(int(limit) - used + (int(reclaimable.group(1)) if reclaimable is not None else 0))
    return min(found) if found else None
