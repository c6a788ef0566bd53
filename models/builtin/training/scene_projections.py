"""What lies one upon the other: X-rays of chest, bones and teeth, and trees of vessels."""

from __future__ import annotations

import math

import numpy as np

from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.organs import near
from promptseg.models.builtin.training.shapes import band, blob, rib, tree

__all__ = ["teeth", "vessels", "xray"]


def vessels(canvas: Canvas) -> None:
    """A tree of vessels as in the eye, or a dense net as in angiography; all of it is meant."""
    canvas.image += canvas.shade(canvas.uniform(0.2, 0.8), canvas.log_uniform(0.01, 0.12))
    if canvas.chance(0.3):
        canvas.image += 0.1 * canvas.fractal(5, 4, 0.7)
    mean = float(canvas.image.mean())
    dense = canvas.chance(0.45)
    sign = 1.0 if dense or canvas.chance(0.4) else -1.0
    contrast = sign * canvas.contrast(0.08, 0.5)
    if canvas.chance(0.5):
        disc = blob(canvas, (canvas.uniform(-0.6, 0.6), canvas.uniform(-0.6, 0.6)), (0.2, 0.2), rough=0.04, power=2.0)
        canvas.paint(disc, canvas.shade(near(canvas, mean), 0.03), weight=1.0, soft=canvas.uniform(1, 8))
    hub = (canvas.uniform(-1, 1), canvas.uniform(-1, 1))
    stems = int(canvas.rng.integers(2, 7))
    if dense:
        roots = [((canvas.uniform(-1, 1), canvas.uniform(-1, 1)), canvas.uniform(0, 6.3)) for _ in range(stems + 5)]
    else:
        roots = [(hub, canvas.uniform(0, 6.3)) for _ in range(stems)]
    level = tree(
        canvas, roots, canvas.log_uniform(2.0, 7), int(canvas.rng.integers(2, 6)), thin=canvas.uniform(0.6, 0.85)
    )
    if dense and canvas.chance(0.7):
        mesh = band(canvas, int(canvas.rng.integers(16, 40)), 1.6)
        canvas.image += (mesh > 0) * contrast * canvas.uniform(0.2, 0.6)
        if canvas.chance(0.5):
            hole = blob(canvas, (0, 0), (0.2, 0.2), rough=0.3)
            canvas.image -= (hole > 0) * contrast * 0.3
            canvas.candidates.append(Candidate(hole > 0, 1.0, True, True))
    strength = np.clip(np.maximum(level, 0) / 3 + 0.5, 0, 1) if canvas.chance(0.5) else np.ones_like(level)
    tone = canvas.image + contrast * strength * (1 + 0.2 * canvas.noise(8))
    canvas.paint(level, tone, weight=6.0, parts=canvas.chance(0.2), soft=1.2)
    if canvas.chance(0.25):
        other = tree(canvas, [(hub, canvas.uniform(0, 6.3)) for _ in range(3)], canvas.uniform(2, 6), 3)
        canvas.paint(other, canvas.image + contrast * canvas.uniform(0.3, 0.7), weight=1.0, parts=False)


def xray(canvas: Canvas) -> None:
    """Superposition: fields, ribs, a heart's shadow, long bones; borders are crossed by other borders."""
    canvas.image += canvas.shade(canvas.uniform(0.3, 0.7), 0.03)
    outline = blob(
        canvas, (0.1, 0), (canvas.uniform(0.8, 1.5), canvas.uniform(0.7, 1.2)), angle=0.0, rough=0.05, ends=0
    )
    canvas.paint(outline, canvas.uniform(-0.3, 0.3), add=True, weight=0.1, soft=20, parts=False)
    if canvas.chance(0.6):
        deep = canvas.contrast(0.08, 0.5) * canvas.rng.choice([-1, -1, 1])
        half = canvas.uniform(0.3, 0.5)
        both = np.zeros(canvas.image.shape, bool)
        for side in (-1, 1):
            radii = (canvas.uniform(0.45, 0.8), canvas.uniform(0.2, 0.36))
            level = blob(canvas, (canvas.uniform(-0.1, 0.1), side * half), radii, angle=side * 0.15, rough=0.1, ends=0)
            if canvas.chance(0.6):
                dome = blob(canvas, (canvas.uniform(0.7, 1.0), side * half), (0.45, 0.45), rough=0.05, power=2.0)
                level = np.minimum(level, -dome)
            haze = deep * (1 + 0.25 * canvas.noise(6))
            both |= canvas.paint(level, haze, add=True, weight=1.5, parts=False, soft=canvas.log_uniform(1.5, 14))
        canvas.candidates.append(Candidate(both, 3.5, False, True))
        shadow = blob(canvas, (0.25, canvas.uniform(-0.1, 0.2)), (0.4, 0.35), rough=0.1)
        canvas.paint(shadow, -deep * canvas.uniform(0.4, 1.0), add=True, weight=1.0, soft=canvas.log_uniform(2, 10))
    if canvas.chance(0.6):
        bars = rib(canvas, int(canvas.rng.integers(6, 20)), canvas.uniform(0.2, 0.55))
        strength = canvas.log_uniform(0.03, 0.25)
        canvas.paint(bars, strength, add=True, weight=0.2, soft=2)
        canvas.paint(bars - 2, -strength * canvas.uniform(0, 0.7), add=True, weight=0.0, soft=2)
    for _ in range(int(canvas.rng.integers(0, 6))):
        _bone(canvas)
    if canvas.chance(0.3):
        _wing(canvas)
    for _ in range(int(canvas.rng.integers(0, 6))):
        radius = canvas.log_uniform(0.04, 0.6)
        level = blob(
            canvas, (canvas.uniform(-0.8, 0.8), canvas.uniform(-0.8, 0.8)), (radius, radius * canvas.uniform(0.5, 2))
        )
        delta = canvas.contrast(0.06, 0.35) * canvas.rng.choice([-1, 1])
        canvas.paint(level, delta, add=True, weight=1.0, soft=canvas.log_uniform(1, 12), parts=False)


def _wing(canvas: Canvas) -> None:
    """Flat bones with holes, one or a mirrored pair, as a pelvis."""
    at = (canvas.uniform(-0.5, 0.3), canvas.uniform(0.25, 0.6))
    delta = canvas.contrast(0.1, 0.35)
    radii, hole = (canvas.uniform(0.25, 0.6), canvas.uniform(0.15, 0.4)), canvas.uniform(0.08, 0.2)
    angle = canvas.uniform(-0.8, 0.8)
    both = np.zeros(canvas.image.shape, bool)
    for side in (-1, 1) if canvas.chance(0.7) else (1,):
        level = blob(canvas, (at[0], side * at[1]), radii, angle=side * angle, rough=0.3)
        foot = (at[0] + radii[0] * 1.1, side * at[1] * 0.7)
        ring = blob(canvas, foot, (hole * 2, hole * 1.8), rough=0.12)
        gap = blob(canvas, foot, (hole, hole * 0.8), rough=0.1)
        level = np.minimum(np.maximum(level, ring), -gap)
        both |= canvas.paint(level, delta * (1 + 0.2 * canvas.noise(16)), add=True, weight=1.5, parts=False, soft=2.5)
        rim = canvas.uniform(2, 6)
        canvas.paint(level - rim, -delta * canvas.uniform(0, 0.6), add=True, weight=0.0, soft=3)
    canvas.candidates.append(Candidate(both, 1.5, False, True))


def _bone(canvas: Canvas) -> None:
    """A shaft with a head or two, brighter at its cortex, superposed."""
    at = (canvas.uniform(-0.8, 0.8), canvas.uniform(-0.8, 0.8))
    width, length = canvas.log_uniform(0.06, 0.3), canvas.uniform(0.3, 1.2)
    angle = canvas.uniform(0, math.pi)
    level = blob(canvas, at, (length, width), angle=angle, rough=0.08, power=4.5)
    for end in (-1, 1):
        if canvas.chance(0.6):
            head = (at[0] + end * math.cos(angle) * length, at[1] + end * math.sin(angle) * length)
            radius = width * canvas.uniform(1.1, 1.8)
            level = np.maximum(level, blob(canvas, head, (radius, radius * canvas.uniform(0.8, 1.2)), rough=0.1))
    delta = canvas.contrast(0.08, 0.4)
    canvas.paint(level, delta * (1 + 0.15 * canvas.noise(20)), add=True, weight=1.5, parts=False, soft=2)
    rim = max(1.5, width * canvas.size * canvas.uniform(0.05, 0.2))
    canvas.paint(level - rim, -delta * canvas.uniform(0, 0.6), add=True, weight=0.0, soft=3)


def teeth(canvas: Canvas) -> None:
    """Rows of hard things with roots and pulp, on a blurred background."""
    canvas.image += canvas.shade(canvas.uniform(0.1, 0.5), 0.05) + 0.1 * canvas.noise(4)
    bright = canvas.contrast(0.12, 0.5)
    rows = int(canvas.rng.integers(1, 3))
    pitch = canvas.log_uniform(0.15, 0.6)
    union = np.zeros(canvas.image.shape, bool)
    for row in range(rows):
        base = (row - (rows - 1) / 2) * canvas.uniform(0.5, 0.8) + canvas.uniform(-0.1, 0.1)
        way = 1 if row else -1
        bend = canvas.uniform(-0.3, 0.3)
        tall = pitch * canvas.uniform(0.7, 1.4)
        for x in np.arange(-1 + canvas.uniform(0, pitch), 1, pitch):
            if canvas.chance(0.1):
                continue
            at = (base + bend * x * x, float(x))
            level = blob(
                canvas, at, (tall * 0.5, pitch * 0.44), angle=canvas.uniform(-0.15, 0.15), rough=0.08, power=3.5
            )
            for root in (-0.25, 0.25):
                spot = (at[0] + way * tall * 0.7, at[1] + root * pitch * canvas.uniform(0.4, 1))
                level = np.maximum(level, blob(canvas, spot, (tall * 0.6, pitch * 0.18), angle=0.15 * root, rough=0.08))
            tone = canvas.image + bright * canvas.uniform(0.8, 1.2)
            union |= canvas.paint(level, tone, weight=0.5, parts=False, soft=2)
            if canvas.chance(0.6):
                pulp = blob(canvas, (at[0] + way * tall * 0.2, at[1]), (tall * 0.5, pitch * 0.07), angle=0.0)
                canvas.paint(np.minimum(pulp, level - 2), canvas.image - bright * 0.4, weight=0.0, child=True, soft=2)
            if canvas.chance(0.15):
                canvas.paint(blob(canvas, at, (tall * 0.2, pitch * 0.25)), 1.0, weight=0.2, child=True)
    if canvas.chance(0.5):
        _jaw(canvas, bright)
    canvas.candidates.append(Candidate(union, 3.0, False, True))


def _jaw(canvas: Canvas, bright: float) -> None:
    """A broad curved bone behind the lower row, superposed, with a canal along it."""
    low, thick = canvas.uniform(0.4, 0.9), canvas.uniform(0.25, 0.7)
    bend = canvas.uniform(0.4, 1.6)
    lower = low - bend * canvas.x**2 - canvas.y + 0.05 * canvas.noise(5)
    upper = canvas.y - (low - thick - bend * canvas.uniform(0.6, 1.0) * canvas.x**2) + 0.05 * canvas.noise(5)
    ends = canvas.uniform(0.7, 1.1) - np.abs(canvas.x) + 0.04 * canvas.noise(4)
    level = (np.minimum(np.minimum(lower, upper), ends) * canvas.size / 2).astype(np.float32)
    tone = bright * canvas.uniform(0.2, 0.8) * (1 + 0.2 * canvas.noise(30))
    canvas.paint(level, tone.astype(np.float32), add=True, weight=3.0, parts=False, soft=3)
    if canvas.chance(0.5):
        canvas.paint(level - 6, -bright * canvas.uniform(0.0, 0.3), add=True, weight=0.0, soft=5)
