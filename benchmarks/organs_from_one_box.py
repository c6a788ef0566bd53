"""One box on the middle slice of each organ, through the command line: Dice per organ, seconds, geometry.

    python benchmarks/organs_from_one_box.py [--data ../shared/data] [--model builtin]

Each organ is segmented by its own `promptseg segment` process, as a person would; the mask is opened with SimpleITK
and with nibabel and must lie on the image's grid in both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

import promptseg
from promptseg.score.metrics import dice

ORGANS = {"liver": 5, "kidney_left": 3, "spleen": 1}  # TotalSegmentator's "total" ids
CASES = {
    "ct_ts_trunk3mm": ("ct_ts_trunk3mm/image.nii.gz", "ct_ts_trunk3mm/label_total.nii.gz"),
    "ct_ts_dicom_j2k": ("ct_ts_dicom_j2k/dicom", "ct_ts_dicom_j2k/label_total.nii.gz"),
}


def on_grid(label_path: Path, volume: promptseg.Volume) -> np.ndarray:
    """Return the truth on the volume's grid (another axis order is reordered; nearest neighbour, no interpolation)."""
    reference = sitk.Image(*volume.shape[::-1], sitk.sitkUInt8)
    reference.SetSpacing(volume.geometry.spacing)
    reference.SetOrigin(volume.geometry.origin)
    reference.SetDirection(volume.geometry.direction)
    label = sitk.Resample(sitk.ReadImage(str(label_path)), reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(label)


def same_grid(path: Path, volume: promptseg.Volume) -> bool:
    """Return True when SimpleITK and nibabel both find the image's frame in the mask file."""
    read = sitk.ReadImage(str(path))
    ours = volume.geometry
    itk = np.allclose(read.GetOrigin(), ours.origin, atol=1e-3) and np.allclose(
        read.GetDirection(), ours.direction, atol=1e-5
    )
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ nib.load(path).affine  # NIfTI's world is RAS
    return bool(itk and np.allclose(lps, ours.affine, rtol=1e-5, atol=1e-3))


def middle_box(mask: np.ndarray) -> str:
    """Return a tight box on the middle slice of the mask as the command line takes it."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    k = int(slices[0] + slices[-1]) // 2
    rows, columns = np.flatnonzero(mask[k].any(axis=1)), np.flatnonzero(mask[k].any(axis=0))
    return f"{k},{rows[0]},{columns[0]},{k + 1},{rows[-1] + 1},{columns[-1] + 1}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="builtin")
    options = parser.parse_args()
    print(f"| case | organ | Dice, model {options.model} | whole process, s | grid in SimpleITK and nibabel |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case, (image, label) in CASES.items():
            volume = promptseg.read_volume(options.data / image)
            truth = on_grid(options.data / label, volume)
            for organ, value in ORGANS.items():
                wanted = truth == value
                if not wanted.any():
                    print(f"| {case} | {organ} | not in this scan | | |")
                    continue
                out = Path(folder) / f"{case}_{organ}.nii.gz"
                command = [sys.executable, "-m", "promptseg", "segment", str(options.data / image)]
                command += ["--box", middle_box(wanted), "--label", organ, "--model", options.model, "-o", str(out)]
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds = time.perf_counter() - started
                found = promptseg.read_labelmap(out).mask(organ)
                grid = "same" if same_grid(out, volume) else "DIFFERENT"
                print(f"| {case} | {organ} | {dice(found, wanted):.3f} | {seconds:.1f} | {grid} |")


if __name__ == "__main__":
    main()
