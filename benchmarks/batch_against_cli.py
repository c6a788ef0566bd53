"""N cases through ``promptseg batch --job wholebody`` against the same N through TotalSegmentator's own command.

    python benchmarks/batch_against_cli.py [--cases 8] [--network full] [--finer 2] [--image SCAN.nii.gz]

Both use the same network with random weights, the same options (task total, 3 mm, CPU) and write one label file per
case. By default the network is tiny, so start-up and reading, resampling and writing dominate, which is what is
compared. ``--network full`` is one of nnU-Net's default size (31 million weights, 128³ voxels at a time), and with
``--finer 2`` the images have twice the resolution along each axis, about what scanners give. Printed: wall time, peak
memory (sum over each program's processes, shared pages counted once), and how many voxels the two agree on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "wholebody"))
SAMPLE_S = 0.25
MIB = 1024.0 * 1024.0


class PeakOfTree(threading.Thread):
    """Samples the memory of a process and all its children until ``stop`` is set."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak_mib, self.stop = psutil.Process(pid), 0.0, threading.Event()

    def run(self) -> None:
        """Sample."""
        while not self.stop.wait(SAMPLE_S):
            total = 0
            try:
                tree = [self.root, *self.root.children(recursive=True)]
            except psutil.Error:
                continue
            for process in tree:
                try:
                    full = process.memory_full_info()
                    total += getattr(full, "pss", 0) or full.rss
                except psutil.Error:
                    continue
            self.peak_mib = max(self.peak_mib, total / MIB)


def measured(command: list[str | Path], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return seconds and MiB at the peak."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = PeakOfTree(process.pid)
    peak.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - started
    peak.stop.set()
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}:\n{said}")
    return seconds, peak.peak_mib


def make_cases(folder: Path, image: Path | None, count: int, finer: int) -> list[Path]:
    """Write ``count`` scans that differ: each shifted by other voxels and with other noise."""
    if image is None:
        shared = ROOT.parent / "shared" / "data" / "ct_ts_trunk3mm" / "image.nii.gz"
        image = shared if shared.exists() else ROOT / "promptseg" / "example" / "torso_ct.nii.gz"
    scan = sitk.ReadImage(str(image))
    if finer > 1:
        size = [n * finer for n in scan.GetSize()]
        spacing = [s / finer for s in scan.GetSpacing()]
        scan = sitk.Resample(
            scan, size, sitk.Transform(), sitk.sitkLinear, scan.GetOrigin(), spacing, scan.GetDirection()
        )
    array = sitk.GetArrayFromImage(scan)
    paths = []
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 5, array.shape)
        made = sitk.GetImageFromArray(np.roll(array + noise, 3 * number, axis=1).astype(np.int16))
        made.CopyInformation(scan)
        paths.append(folder / f"scan{number}.nii.gz")
        sitk.WriteImage(made, str(paths[-1]))
    print(f"{count} scans of {' x '.join(str(n) for n in scan.GetSize())} voxels, "
          f"{' x '.join(f'{s:g}' for s in scan.GetSpacing())} mm")  # fmt: skip
    return paths


def environment_with_weights(folder: Path, network: str) -> dict[str, str]:
    """Write the network ("tiny", or "full": nnU-Net's default size) with random weights, and silent settings.

    Returns:
        The environment that finds them.
    """
    from tiny_weights import write_task

    os.environ["TOTALSEG_HOME_DIR"], os.environ["TOTALSEG_WEIGHTS_PATH"] = str(folder / "home"), str(folder / "weights")
    from promptseg.wholebody.weights import ensure_home

    ensure_home()
    write_task(folder / "weights", "total", "full" if network == "full" else "random", fast=True)
    return dict(os.environ)


def agreement(ours: Path, theirs: Path) -> float:
    """Return the share of voxels with the same class."""
    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (ours, theirs))
    return float((a == b).mean())


def main() -> None:
    """Run both, print the figures; exit code 1 when the ratio misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--network", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--finer", type=int, default=1, help="resolution, times that of the image")
    parser.add_argument("--image", type=Path, help="a CT; default: the shared test scan, else the example")
    parser.add_argument("--bar", type=float, default=0.5, help="largest ratio that counts as success")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="promptseg-bench-") as name:
        folder = Path(name)
        environment = environment_with_weights(folder, given.network)
        scans = make_cases(folder, given.image, given.cases, given.finer)
        bin_folder = Path(sys.executable).parent
        subprocess.run([bin_folder / "TotalSegmentator", "--help"], env=environment, capture_output=True, check=False)
        seconds, peaks = [], []
        for number, scan in enumerate(scans):
            options = ["--ml", "--fast", "--device", "cpu", "--task", "total"]
            once = measured(
                [bin_folder / "TotalSegmentator", "-i", scan, "-o", folder / f"cli{number}.nii.gz", *options],
                environment,
            )
            seconds.append(once[0])
            peaks.append(once[1])
        print(f"TotalSegmentator, once per case: {sum(seconds):7.1f} s, {np.mean(seconds):5.1f} s per case, "
              f"peak {max(peaks):6.0f} MiB")  # fmt: skip
        options = ["--job", "wholebody", "--task", "total", "--fast", "--device", "cpu"]
        batch = [bin_folder / "promptseg", "batch", *scans, "-o", folder / "out", *options]
        ours_s, ours_mib = measured(batch, environment)
        print(f"promptseg batch:                 {ours_s:7.1f} s, {ours_s / len(scans):5.1f} s per case, "
              f"peak {ours_mib:6.0f} MiB")  # fmt: skip

        made = folder / "out" / "cases"
        same = [
            agreement(made / scan.name.removesuffix(".nii.gz") / "mask.nii.gz", folder / f"cli{number}.nii.gz")
            for number, scan in enumerate(scans)
        ]
    ratio = ours_s / sum(seconds)
    print(f"ratio {ratio:.2f} (bar {given.bar:g}); voxels with the same class: {100 * min(same):.4f} % at least")
    sys.exit(0 if ratio <= given.bar else 1)


if __name__ == "__main__":
    main()
