"""Echoes, cameras and microscopes: speckle, skin, cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.organs import near
from promptseg.models.builtin.training.shapes import band, blob, tube

__all__ = ["cells", "photograph", "smear", "ultrasound"]

FloatArray = NDArray[np.float32]


def ultrasound(canvas: Canvas) -> None:
    """Dark chambers and lesions with bright walls in speckled tissue; bright outlines whose inside is meant."""
    canvas.image += canvas.shade(canvas.uniform(0.25, 0.6), 0.05) + 0.12 * canvas.fractal(4, 3)
    for _ in range(int(canvas.rng.integers(0, 6))):
        sheet = band(canvas, int(canvas.rng.integers(2, 5)), canvas.log_uniform(2, 8))
        gate = np.clip(canvas.noise(4), 0, 1)
        canvas.image += (sheet > 0) * gate * canvas.uniform(-0.2, 0.4)
    for _ in range(int(canvas.rng.integers(1, 4))):
        radius = canvas.log_uniform(0.1, 0.75)
        radii = (radius, radius * canvas.uniform(0.5, 1.7))
        at = (canvas.uniform(-0.5, 0.5), canvas.uniform(-0.5, 0.5))
        level = blob(canvas, at, radii, rough=canvas.log_uniform(0.02, 0.25), power=2.0)
        kind = canvas.rng.integers(0, 4)
        soft = canvas.log_uniform(1, 10)
        if kind == 0:
            gate = np.clip(0.6 + canvas.noise(5), 0, 1)
            bright = canvas.uniform(0.2, 0.6) * gate * np.exp(-((level / canvas.log_uniform(1.5, 5)) ** 2))
            inside = canvas.uniform(-0.2, 0.05)
            canvas.paint(level, canvas.image + inside, weight=2.5, parts=False, soft=soft)
            canvas.image += bright
            continue
        dark = canvas.image * canvas.uniform(0.05, 0.75) if kind < 3 else canvas.image + canvas.uniform(0.1, 0.3)
        canvas.paint(level, dark, weight=2.0, parts=False, soft=soft)
        if canvas.chance(0.5):
            wall = canvas.uniform(2, 16)
            gate = np.clip(0.7 + 0.6 * canvas.noise(5), 0, 1)
            canvas.image += canvas.uniform(0.05, 0.3) * gate * ((level < 0) & (level > -wall))
            canvas.candidates.append(Candidate((level < 0) & (level > -wall), 0.6, False, True))
        if canvas.chance(0.35):
            _open_wall(canvas, at, level, min(radii) * canvas.size / 2)
        if canvas.chance(0.4):
            cut = canvas.uniform(-0.2, 0.2) * canvas.size + (canvas.y - at[0]) * canvas.size / 2
            half = np.minimum(level, cut).astype(np.float32)
            canvas.paint(half, canvas.image * canvas.uniform(0.6, 1.5), weight=0.7, parts=False, child=True, soft=3)


def _open_wall(canvas: Canvas, at: tuple[float, float], level: FloatArray, radius_px: float) -> None:
    """A wall around most of a chamber, open towards a second chamber, as the heart in echo."""
    wide = max(2.5, radius_px * canvas.uniform(0.15, 0.5))
    side, reach = canvas.uniform(0, 2 * math.pi), canvas.uniform(0.2, 0.8)
    along = math.sin(side) * (canvas.y - at[0]) + math.cos(side) * (canvas.x - at[1])
    cap = (reach * radius_px - along * canvas.size / 2).astype(np.float32)
    wall = np.minimum(np.minimum(-level, level + wide), cap)
    tone = canvas.image * canvas.uniform(0.6, 1.2) + canvas.uniform(0.0, 0.25)
    canvas.paint(wall, tone, weight=2.0, parts=False, child=True, soft=2)
    both = np.maximum(wall, level)
    canvas.candidates.append(Candidate(both > 0, 0.6, False, True))
    if canvas.chance(0.7):
        spot = (
            at[0] + math.sin(side) * radius_px * 3.2 / canvas.size,
            at[1] + math.cos(side) * radius_px * 3.2 / canvas.size,
        )
        radius = radius_px * 2 / canvas.size * canvas.uniform(0.5, 1.0)
        other = np.minimum(blob(canvas, spot, (radius, radius * canvas.uniform(0.8, 1.3)), rough=0.1), -level - 1)
        canvas.paint(other, canvas.image * canvas.uniform(0.2, 0.7), weight=1.5, parts=False, soft=3)


def photograph(canvas: Canvas) -> None:
    """A lesion or polyp on skin or mucosa, hairs and glints over it."""
    canvas.image += canvas.shade(canvas.uniform(0.3, 0.9), canvas.log_uniform(0.01, 0.08)) + 0.08 * canvas.noise(3)
    mean = float(canvas.image.mean())
    for _ in range(int(canvas.rng.choice([1, 1, 2, 3]))):
        radius = canvas.log_uniform(0.1, 0.8)
        at = (canvas.uniform(-0.5, 0.5), canvas.uniform(-0.5, 0.5))
        level = blob(canvas, at, (radius, radius * canvas.uniform(0.6, 1.6)), rough=canvas.log_uniform(0.04, 0.5))
        tone = near(canvas, mean)
        canvas.paint(
            level,
            canvas.shade(tone, canvas.log_uniform(0.02, 0.15)),
            weight=2.0,
            parts=False,
            soft=canvas.log_uniform(1, 14),
        )
        if canvas.chance(0.6):
            spots = canvas.fractal(int(canvas.rng.integers(4, 14)), 2)
            canvas.image += np.where((spots > 0.6) & (level > 0), canvas.uniform(-0.25, 0.25), 0).astype(np.float32)
    for _ in range(int(canvas.rng.choice([0, 0, 3, 8]))):
        hair = tube(canvas, (1.6, 1.2), wiggle=0.04)
        canvas.paint(hair, canvas.uniform(0, 1), weight=0.0, child=True)
    if canvas.chance(0.3):
        glint = canvas.noise(int(canvas.rng.integers(10, 30))) > 2.2
        canvas.image = np.where(glint, 1.0, canvas.image).astype(np.float32)


def cells(canvas: Canvas) -> None:
    """Many alike things, apart or touching; a person means one, or all of them."""
    canvas.image += canvas.shade(canvas.uniform(0.05, 0.95), canvas.log_uniform(0.005, 0.1))
    radius = canvas.log_uniform(0.03, 0.22)
    stretch = canvas.uniform(0.6, 1.6)
    gap = radius * canvas.uniform(1.5, 3.2)
    mean = near(canvas, float(canvas.image.mean()))
    nucleus = canvas.chance(0.3)
    rim = canvas.chance(0.3)
    centres: list[tuple[float, float]] = []
    union = np.zeros(canvas.image.shape, bool)
    rough = canvas.log_uniform(0.03, 0.3)
    for _ in range(400):
        if len(centres) >= 60:
            break
        at = (canvas.uniform(-1, 1), canvas.uniform(-1, 1))
        if any((at[0] - c[0]) ** 2 + (at[1] - c[1]) ** 2 < gap**2 for c in centres):
            continue
        centres.append(at)
    for at in centres[: max(3, int(canvas.uniform(0.3, 1.0) * len(centres)))]:
        grow = canvas.uniform(0.7, 1.3)
        level = blob(canvas, at, (radius * grow, radius * grow * stretch), rough=rough, power=2.0)
        tone = mean + 0.12 * canvas.rng.standard_normal() * canvas.chance(0.5)
        union |= canvas.paint(level, canvas.shade(tone, 0.03), weight=0.25, parts=False, soft=canvas.uniform(0.7, 2.5))
        if rim:
            canvas.paint(level - max(1.5, radius * 20), tone + 0.2, weight=0.0, child=True)
        if nucleus:
            core = blob(canvas, at, (radius * grow * 0.45, radius * grow * 0.45 * stretch), rough=0.1)
            canvas.paint(core, near(canvas, tone), weight=0.05, child=True)
    canvas.candidates.append(Candidate(union, 4.0, False, True))


def smear(canvas: Canvas) -> None:
    """One or few large cells with a lobed nucleus among pale discs."""
    ground = canvas.uniform(0.5, 1.0)
    canvas.image += canvas.shade(ground, 0.02)
    disc = canvas.uniform(0.12, 0.4)
    for _ in range(int(canvas.rng.integers(0, 14))):
        at = (canvas.uniform(-1.1, 1.1), canvas.uniform(-1.1, 1.1))
        level = blob(canvas, at, (disc, disc * canvas.uniform(0.8, 1.2)), rough=0.06, power=2.0)
        tone = ground - canvas.uniform(0.1, 0.3)
        canvas.paint(level, canvas.shade(tone, 0.02), weight=0.15, parts=False, soft=2)
        if canvas.chance(0.6):
            canvas.paint(level - disc * 40 * canvas.uniform(0.5, 1), tone + 0.12, weight=0.0, child=True, soft=8)
    for _ in range(int(canvas.rng.choice([1, 1, 1, 2, 4]))):
        at, radius = (canvas.uniform(-0.4, 0.4), canvas.uniform(-0.4, 0.4)), canvas.log_uniform(0.2, 0.7)
        body_level = blob(canvas, at, (radius, radius * canvas.uniform(0.8, 1.2)), rough=0.12, power=2.0)
        plasma = ground - canvas.log_uniform(0.05, 0.35)
        canvas.paint(body_level, canvas.shade(plasma, canvas.log_uniform(0.01, 0.08)), weight=2.0, parts=False, soft=2)
        lobes = []
        for _ in range(int(canvas.rng.integers(1, 6))):
            spot = (at[0] + radius * canvas.uniform(-0.4, 0.4), at[1] + radius * canvas.uniform(-0.4, 0.4))
            lobe = radius * canvas.uniform(0.25, 0.6)
            lobes.append(blob(canvas, spot, (lobe, lobe * canvas.uniform(0.7, 1.3)), rough=0.15))
        nucleus = np.minimum(np.maximum.reduce(lobes), body_level - 1)
        dark = canvas.shade(plasma - canvas.log_uniform(0.08, 0.5), canvas.log_uniform(0.01, 0.08))
        inner = canvas.paint(nucleus, dark, weight=2.5, parts=False, child=True, soft=2)
        canvas.candidates.append(Candidate((body_level > 0) & ~inner, 1.0, False, True))
