"""How well intensities alone tell that an object has ended: the two limits of the engine's tissue test on true masks.

    python benchmarks/ends_by_intensity.py [--data ../shared/data]

Inside: every slice of every true mask against the object's largest slice (a test that fires here is wrong). Beyond: the
object's last mask laid on the 1st, 2nd and 4th slice past its end (a test that fires here is right).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import promptseg
from promptseg.engine.checks import SMALL_AREA_PX, Appearance, appearance, measure

CASES = {
    "ct_ts_trunk3mm": ("image.nii.gz", "label_total.nii.gz"),
    "mr_ts_abdomen_small": ("image.nii.gz", "label_total_mr.nii.gz"),
    "mr_hippocampus_001": ("image.nii.gz", "label.nii.gz"),
    "ct_pulmonary_artery": ("image.nii.gz", "labels/pulmonary_artery.nii.gz"),
}
SMALLEST_VOXELS = 500
SIMILARITY = (0.5, 0.6, 0.7)
SHIFT = (1.5, 2.0, 2.5)


def rows_of(volume: promptseg.Volume, mask: np.ndarray) -> tuple[list, list]:
    """Return (similarity, shift) of slices inside, and (similarity, shift, distance) beyond the ends."""

    def look(z: int, where: np.ndarray) -> Appearance:
        return appearance(volume.window.apply(volume.array[z][where]))

    slices = np.flatnonzero(mask.sum(axis=(1, 2)) > SMALL_AREA_PX)
    if len(slices) < 2:
        return [], []
    key = int(slices[np.argmax(mask[slices].sum(axis=(1, 2)))])
    anchor = look(key, mask[key])

    def compared(z: int, where: np.ndarray) -> tuple[float, float]:
        step = measure(z, where, where, look(z, where), anchor=anchor, score=1.0)
        return step.similarity, step.intensity_shift

    inside = [compared(int(z), mask[z]) for z in slices if z != key]
    beyond = []
    for last, direction in ((int(slices[0]), -1), (int(slices[-1]), 1)):
        end = last
        while 0 <= end + direction < len(mask) and mask[end + direction].any():
            end += direction
        for distance in (1, 2, 4):
            z = end + direction * distance
            if 0 <= z < len(mask):
                beyond.append((*compared(z, mask[last]), distance))
    return inside, beyond


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    inside, beyond, objects = [], [], 0
    for name, (image, label) in CASES.items():
        volume = promptseg.read_volume(data / name / image)
        labels = promptseg.read_labelmap(data / name / label).array
        for value in np.unique(labels)[1:]:
            if (labels == value).sum() >= SMALLEST_VOXELS:
                found = rows_of(volume, labels == value)
                inside, beyond, objects = inside + found[0], beyond + found[1], objects + 1
    within, past = np.array(inside), np.array(beyond)
    print(f"{objects} objects, {len(within)} slices inside, {len(past)} beyond\n")
    print("| similarity below | or shift above | fires inside | 1 slice beyond | 2 | 4 |\n|---|---|---|---|---|---|")
    for similarity in SIMILARITY:
        for shift in SHIFT:
            wrong = ((within[:, 0] < similarity) | (within[:, 1] > shift)).mean()
            fires = (past[:, 0] < similarity) | (past[:, 1] > shift)
            right = " | ".join(f"{fires[past[:, 2] == d].mean():.0%}" for d in (1, 2, 4))
            print(f"| {similarity} | {shift} | {wrong:.1%} | {right} |")


if __name__ == "__main__":
    main()
