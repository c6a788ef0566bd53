"""Dice, IoU, NSD, HD95 and ASSD of this project beside DeepMind's surface-distance and MONAI, on the same masks.

    python benchmarks/metrics_parity.py [--data ../shared/data]

Prints a Markdown table. Predictions are true labels that were grown, shifted or cut. surface-distance measures the
same thing and must agree; so must MONAI's Dice, IoU and sub-voxel NSD. MONAI's HD95 and ASSD are defined on the centres
of border voxels, not on the surface between voxels, and count every border voxel alike: they may differ by about a
voxel, and the largest difference is shown in voxel diagonals. Run in its own process: both packages warn when imported.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from promptseg.score import metrics

TOLERANCE_MM = 1.0
LABELS = {
    "mr_hippocampus_001/label.nii.gz": 1,
    "mr_spinalcord_t1/label_t1w_seg-manual.nii.gz": 1,
    "mr_pyradiomics_brain1_nrrd/label.nrrd": 1,
    "ct_ts_trunk3mm/label_total.nii.gz": 5,
}
NAMES = ("dice", "iou", "nsd", "hd95_mm", "assd_mm")


@dataclass(frozen=True)
class Case:
    """Two bool masks (z, y, x) and their spacing in mm (z, y, x)."""

    name: str
    truth: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, float, float]


def cases(data: Path | None) -> Iterator[Case]:
    """Yield two phantoms of this script, and four real labels where the data are."""
    grid = np.indices((18, 40, 34), dtype=float)
    spacing = (3.0, 0.7, 1.1)
    for name, radii, moved in (
        ("ellipsoid, shifted", (20.0, 9.0, 12.0), 1.0),
        ("thin plate, grown", (4.0, 12.0, 15.0), 0),
    ):
        truth = sum(((g - n / 2) * s / r) ** 2 for g, n, s, r in zip(grid, (18, 40, 34), spacing, radii)) <= 1  # noqa: B905
        prediction = np.roll(truth, (1, -2), (0, 2)) if moved else _grown(truth)
        yield Case(name, truth, prediction, spacing)
    if data is None:
        return
    from promptseg.io import read_labelmap

    for number, (file, value) in enumerate(LABELS.items()):
        labelmap = read_labelmap(data / file)
        truth = np.pad(labelmap.mask(value), 2)
        prediction = _grown(truth) if number % 2 else np.roll(truth, (1, 1), (1, 2))
        yield Case(file.partition("/")[0], truth, prediction, labelmap.geometry.spacing_zyx)


def _grown(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask))


def ours(case: Case) -> dict[str, float]:
    """Return this project's numbers."""
    found = metrics.surface_distances(case.truth, case.prediction, case.spacing)
    overlap = metrics.dice(case.truth, case.prediction), metrics.iou(case.truth, case.prediction)
    return dict(zip(NAMES, (*overlap, found.nsd(TOLERANCE_MM), found.percentile(95), found.mean()), strict=True))


def deepmind(case: Case) -> dict[str, float]:
    """Return surface-distance's numbers (it has no IoU)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import surface_distance as reference

        for old, new in (("bool", bool), ("float", float), ("int", int)):
            if old not in np.__dict__:
                setattr(np, old, new)  # its release of 2018 uses names that NumPy 2 has removed
        found = reference.compute_surface_distances(case.truth, case.prediction, case.spacing)
        means = reference.compute_average_surface_distance(found)
        areas = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
        return {
            "dice": float(reference.compute_dice_coefficient(case.truth, case.prediction)),
            "nsd": float(reference.compute_surface_dice_at_tolerance(found, TOLERANCE_MM * (1 + metrics.TIE))),
            "hd95_mm": float(reference.compute_robust_hausdorff(found, 95)),
            "assd_mm": float((means[0] * areas[0] + means[1] * areas[1]) / sum(areas)),
        }


def monai(case: Case) -> dict[str, float]:
    """Return MONAI's numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from monai import metrics as reference

        guess, truth = (torch.from_numpy(mask[None, None]) for mask in (case.prediction, case.truth))
        spacing = {"include_background": True, "spacing": case.spacing}
        nsd = reference.compute_surface_dice(
            guess, truth, class_thresholds=[TOLERANCE_MM * (1 + metrics.TIE)], use_subvoxels=True, **spacing
        )
        return {
            "dice": float(reference.compute_dice(guess, truth)),
            "iou": float(reference.compute_iou(guess, truth)),
            "nsd": float(nsd),
            "hd95_mm": float(reference.compute_hausdorff_distance(guess, truth, percentile=95, **spacing)),
            "assd_mm": float(reference.compute_average_surface_distance(guess, truth, symmetric=True, **spacing)),
        }


def table(data: Path | None) -> list[str]:
    """Return the lines of the Markdown table."""
    lines = [
        "| case | | Dice | IoU | NSD at 1 mm | HD95, mm | ASSD, mm |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in cases(data):
        for program, measure in (("promptseg", ours), ("surface-distance", deepmind), ("MONAI", monai)):
            found = measure(case)
            cells = [f"{found[name]:.5f}" if name in found else "–" for name in NAMES]
            lines.append(f"| {case.name} | {program} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    print("\n".join(table(parser.parse_args().data)))
