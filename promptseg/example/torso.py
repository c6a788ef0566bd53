"""The example's generator: a torso in computed tomography, made by arithmetic from fixed seeds, no patient behind it.

The anatomy is painted at 3 x 2 x 2 samples per voxel, averaged (partial volume), then blurred, hardened and made
noisy as a scanner would. The grid is anisotropic, off-origin and turned about all three axes, so nothing that mixes
up axes, frames or spacings gets the right answer by luck.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promptseg.example.acquisition import acquire
from promptseg.example.canvas import FACTOR, Canvas, rotation
from promptseg.example.organs import paint_gut, paint_kidney, paint_liver, paint_mesentery, paint_spleen, paint_vessels
from promptseg.example.wall import paint_chest, paint_shell, paint_skeleton
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import DEFAULT_COLORS, Label

__all__ = ["LABELS", "torso_geometry", "torso_voxels"]

SHAPE = (48, 140, 180)
SPACING_MM = (2.0, 2.0, 4.8)
TURN_DEG = (6.0, -3.0, -5.0)  # of the grid in the patient, about x, y, z
CENTER_MM = (11.5, -163.0, -412.5)  # LPS position of the middle of the body
NOISE_SEED = 2026

NAMES = ("liver", "spleen", "kidney_right", "kidney_left", "aorta", "lung_right", "lung_left", "lesion")
COLORS = (*DEFAULT_COLORS, (255, 90, 90))
LABELS = {n: Label(n, name, color) for n, (name, color) in enumerate(zip(NAMES, COLORS, strict=True), start=1)}


def torso_geometry() -> Geometry:
    """Return the example's grid: (z, y, x) 48 x 140 x 180 voxels of 4.8 x 2 x 2 mm."""
    direction = rotation(TURN_DEG)
    half = (np.asarray(SHAPE[::-1]) - 1) / 2 * SPACING_MM
    origin = np.asarray(CENTER_MM) - direction @ half
    return Geometry(SHAPE, SPACING_MM, (origin[0], origin[1], origin[2]), tuple(direction.ravel()))


def torso_voxels() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return (HU int16, truth labels uint8), both (z, y, x) on ``torso_geometry()``; the same voxels every time."""
    canvas = Canvas(torso_geometry(), CENTER_MM)
    value = {label.name: label.value for label in LABELS.values()}
    paint_shell(canvas)
    paint_skeleton(canvas)
    paint_chest(canvas, left=value["lung_left"], right=value["lung_right"])
    paint_mesentery(canvas)
    paint_gut(canvas)
    paint_spleen(canvas, value["spleen"])
    paint_liver(canvas, value["liver"], value["lesion"])
    paint_kidney(canvas, -1.0, value["kidney_right"])
    paint_kidney(canvas, +1.0, value["kidney_left"])
    paint_vessels(canvas, value["aorta"])
    middle = tuple(slice(f // 2, None, f) for f in FACTOR)
    return acquire(canvas.mean_hu(), canvas.depth[middle], seed=NOISE_SEED), canvas.majority()
