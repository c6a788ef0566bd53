"""A real job for tests of isolation: what a case does is said by the first word of its id."""

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np

from promptseg.batch.job import Result
from promptseg.errors import ReadError
from promptseg.volume import Geometry, Label, Labelmap, Volume

SHAPE, SPACING, ORIGIN = (6, 20, 31), (0.7, 0.9, 3.5), (-11.0, 40.5, 7.0)  # (z, y, x), x y z mm
THRESHOLD = 100


def image_of(case_id):
    """Voxels that differ from case to case."""
    rng = np.random.default_rng(sum(case_id.encode()))
    return rng.integers(0, 200, SHAPE).astype(np.int16)


class TroubleJob:
    def __init__(self, spec):
        self.slow_s = float(spec.options.get("slow", 0))
        self.loads, self.device = 0, spec.device

    def load(self):
        self.loads += 1

    def warm(self):
        pass

    def prepare(self, case):
        if case.id.startswith("unreadable"):
            raise ReadError(f"cannot read {case.image}: it is broken")
        volume = Volume.from_array(image_of(case.id), Geometry(SHAPE, SPACING, ORIGIN))
        return case, volume

    def infer(self, prepared):
        case, volume = prepared
        time.sleep(self.slow_s)
        getattr(self, f"_{case.id.split('-')[0]}", lambda _case: None)(case)
        return (volume.array > THRESHOLD).astype(np.uint8), *self._told()

    def finish(self, prepared, inferred):
        _, volume = prepared
        labels, *findings = inferred
        return Result(
            volume, Labelmap(labels, volume.geometry, {1: Label.default(1, "bright")}), None, "t", tuple(findings)
        )

    def _told(self):
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        return f"pid {os.getpid()}", f"loads {self.loads}", f"gpu {gpu}", f"device {self.device}"

    def _hangs(self, case):
        time.sleep(3600)

    def _crashes(self, case):
        os.kill(os.getpid(), signal.SIGSEGV)

    def _hungry(self, case):
        held = [np.ones(2**20) for _ in range(4096)]  # 8 MiB each, up to 32 GiB
        time.sleep(3600 + len(held))

    def _bug(self, case):
        raise ZeroDivisionError("a mistake in the job")

    def _flaky(self, case):
        marker = Path(case.image)
        if not marker.exists():
            marker.touch()
            raise ReadError("the network file system was away for a moment") from OSError(errno.EIO, "I/O error")
