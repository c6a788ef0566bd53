"""What several families of scenes hold: maps of tissues, organs with their parts, a vertebra."""

from __future__ import annotations

import numpy as np

from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.shapes import blob, tree

__all__ = ["near", "organ", "partition", "spine"]


def partition(canvas: Canvas, regions: int, cells: int, weight: float) -> None:
    """Fill the canvas with a random map of tissues."""
    fields = np.stack([canvas.fractal(cells, 2, 0.35) for _ in range(regions)])
    winner = fields.argmax(0)
    level = canvas.uniform(0.15, 0.85)
    spread = canvas.contrast(0.06, 0.5)
    for index in range(regions):
        mask = winner == index
        shade = canvas.shade(level + spread * canvas.rng.standard_normal() * 0.7, canvas.log_uniform(0.005, 0.12))
        canvas.image = np.where(mask, shade, canvas.image)
        canvas.candidates.append(Candidate(mask, weight, True, True))


def near(canvas: Canvas, mean: float) -> float:
    """An intensity at a contrast from nearly none to strong."""
    contrast = canvas.contrast(0.05, 0.6) * float(canvas.rng.choice([-1, 1]))
    return mean + contrast if -0.1 < mean + contrast < 1.1 else mean - contrast


def organ(canvas: Canvas, centre: tuple[float, float], radii: tuple[float, float], mean: float) -> None:
    """A blob, often with a rim, vessels, a core or lesions inside; the whole and the parts are candidates."""
    level = blob(canvas, centre, radii, rough=canvas.log_uniform(0.03, 0.4))
    size = min(radii) * canvas.size / 2
    inner = near(canvas, mean)
    canvas.paint(
        level,
        canvas.shade(inner, canvas.log_uniform(0.005, 0.12)),
        soft=canvas.rng.choice([0.7, 1.5, 3.0, min(8.0, size * 0.4)]),
        weight=2.0,
    )
    if canvas.chance(0.25):
        wall = max(1.2, size * canvas.uniform(0.05, 0.45))
        canvas.paint(level - wall, canvas.shade(near(canvas, inner), 0.03), weight=1.0, child=True)
        if canvas.chance(0.6) and canvas.candidates:
            ring = (level > 0) & (level <= wall)
            canvas.candidates.append(Candidate(ring, 1.5, False, True))
    if canvas.chance(0.3):
        for _ in range(int(canvas.rng.integers(1, 4))):
            at = (centre[0] + radii[0] * canvas.uniform(-0.6, 0.6), centre[1] + radii[1] * canvas.uniform(-0.6, 0.6))
            radius = min(radii) * canvas.log_uniform(0.1, 0.5)
            part = np.minimum(blob(canvas, at, (radius, radius * canvas.uniform(0.6, 1.5))), level - 1)
            canvas.paint(
                part, canvas.shade(near(canvas, inner), 0.04), weight=1.0, child=True, soft=canvas.uniform(0.7, 3)
            )
    if size > 14 and canvas.chance(0.25):
        wide = canvas.uniform(1.5, max(2.0, size * 0.15))
        start = (centre[0], centre[1])
        vessels = tree(canvas, [(start, canvas.uniform(0, 6.3)) for _ in range(2)], wide, 2)
        canvas.paint(np.minimum(vessels, level - 1), near(canvas, inner), weight=0.25, child=True)


def spine(canvas: Canvas, at: tuple[float, float], radius: float) -> None:
    """A vertebra: body with a spongy core, arch, canal."""
    bone = canvas.uniform(0.6, 1.0) if canvas.chance(0.7) else canvas.uniform(0, 0.4)
    vertebra = blob(canvas, at, (radius, radius * canvas.uniform(1, 1.4)), angle=0.0, rough=0.06, power=2.6)
    back = (at[0] + radius * 1.4, at[1])
    arch = np.maximum(
        blob(canvas, back, (radius * 0.9, radius * 0.35), angle=canvas.uniform(-0.3, 0.3)),
        blob(canvas, (at[0] + radius * 1.2, at[1]), (radius * 0.35, radius * 1.5), angle=0.0),
    )
    level = np.maximum(vertebra, arch)
    canvas.paint(level, canvas.shade(bone, 0.06), weight=2.0, parts=False)
    if canvas.chance(0.7):
        canvas.paint(vertebra - 2, canvas.shade(bone - canvas.uniform(0, 0.4), 0.08), weight=0.5, child=True)
    canal = blob(canvas, (at[0] + radius * 1.05, at[1]), (radius * 0.4, radius * 0.5), rough=0.03)
    canvas.paint(canal, canvas.uniform(0.1, 0.9), weight=1.0)
    if canvas.chance(0.5):
        canvas.paint(canal - canal.max() * 0.4, canvas.uniform(0.1, 0.9), weight=1.5, child=True)
