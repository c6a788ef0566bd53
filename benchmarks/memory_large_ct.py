"""A 512 x 512 x 1000 int16 CT from its file to a saved mask: the process's peak resident memory.

    python benchmarks/memory_large_ct.py [--slices 1000] [--size 512] [--limit-gib 4]

The volume is synthetic: noise around -1000 HU and an ellipsoid of 60 HU over a tenth of the slices. It is read from an
uncompressed NIfTI file, clicked once, propagated, and saved. Exits with 1 where the peak lies above the limit. About
two minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from promptseg.bench.memory import PeakMemory

SEED = 7


def write_volume(path: Path, slices: int, size: int) -> None:
    """Write the synthetic CT (z, y, x) = (slices, size, size), 0.8 x 0.8 x 1.5 mm."""
    rng = np.random.default_rng(SEED)
    array = np.empty((slices, size, size), np.int16)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    for z in range(slices):
        array[z] = rng.normal(-1000, 20, (size, size)).astype(np.int16)
        height = 1 - ((z - slices / 2) / (slices / 20)) ** 2
        inside = ((y - size / 2) / (size / 6)) ** 2 + ((x - size / 2) / (size / 5)) ** 2 < height
        array[z][inside] += 1060
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.8, 1.5))
    sitk.WriteImage(image, str(path), useCompression=False)


def main() -> None:
    """Make the file in a child process's stead, then measure the session alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--limit-gib", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii"
        write_volume(path, options.slices, options.size)
        with PeakMemory() as memory:
            started = time.perf_counter()
            import promptseg

            session = promptseg.open_session(path)
            middle, half = options.slices // 2, options.size / 2
            session.add(promptseg.Point(voxel=(middle, half, half)))
            found, walked = int(session.mask().sum()), session.log[-1]["slices"]
            session.save(Path(folder) / "mask.nii.gz")
            seconds = time.perf_counter() - started
    peak_gib = memory.peak_mib / 1024
    print(
        f"{options.size} x {options.size} x {options.slices} int16: peak {peak_gib:.2f} GiB resident, {seconds:.0f} s, "
        f"{walked} slices walked, {found} voxels"
    )
    sys.exit(1 if peak_gib > options.limit_gib else 0)


if __name__ == "__main__":
    main()
