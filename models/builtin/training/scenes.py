"""Families of synthetic scenes: what medical pictures are built from, none of them real."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.shapes import band, blob, folded, rib, tree, tube

__all__ = ["FAMILIES", "choose_family", "paint_scene"]

FloatArray = NDArray[np.float32]


def _partition(canvas: Canvas, regions: int, cells: int, weight: float) -> None:
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


def _near(canvas: Canvas, mean: float) -> float:
    """An intensity at a contrast from nearly none to strong."""
    contrast = canvas.contrast(0.05, 0.6) * float(canvas.rng.choice([-1, 1]))
    return mean + contrast if -0.1 < mean + contrast < 1.1 else mean - contrast


def _organ(canvas: Canvas, centre: tuple[float, float], radii: tuple[float, float], mean: float) -> None:
    """A blob, often with a rim, vessels, a core or lesions inside; the whole and the parts are candidates."""
    level = blob(canvas, centre, radii, rough=canvas.log_uniform(0.03, 0.4))
    size = min(radii) * canvas.size / 2
    inner = _near(canvas, mean)
    canvas.paint(
        level,
        canvas.shade(inner, canvas.log_uniform(0.005, 0.12)),
        soft=canvas.rng.choice([0.7, 1.5, 3.0, min(8.0, size * 0.4)]),
        weight=2.0,
    )
    if canvas.chance(0.25):
        wall = max(1.2, size * canvas.uniform(0.05, 0.45))
        canvas.paint(level - wall, canvas.shade(_near(canvas, inner), 0.03), weight=1.0, child=True)
        if canvas.chance(0.6) and canvas.candidates:
            ring = (level > 0) & (level <= wall)
            canvas.candidates.append(Candidate(ring, 1.5, False, True))
    if canvas.chance(0.3):
        for _ in range(int(canvas.rng.integers(1, 4))):
            at = (centre[0] + radii[0] * canvas.uniform(-0.6, 0.6), centre[1] + radii[1] * canvas.uniform(-0.6, 0.6))
            radius = min(radii) * canvas.log_uniform(0.1, 0.5)
            part = np.minimum(blob(canvas, at, (radius, radius * canvas.uniform(0.6, 1.5))), level - 1)
            canvas.paint(
                part, canvas.shade(_near(canvas, inner), 0.04), weight=1.0, child=True, soft=canvas.uniform(0.7, 3)
            )
    if size > 14 and canvas.chance(0.25):
        wide = canvas.uniform(1.5, max(2.0, size * 0.15))
        start = (centre[0], centre[1])
        vessels = tree(canvas, [(start, canvas.uniform(0, 6.3)) for _ in range(2)], wide, 2)
        canvas.paint(np.minimum(vessels, level - 1), _near(canvas, inner), weight=0.25, child=True)


def body(canvas: Canvas) -> None:
    """A trunk or limb: skin, fat, muscle, organs that touch, bones, vessels, loops of bowel."""
    outside = canvas.uniform(0, 0.1)
    canvas.image += outside
    radii = (canvas.uniform(0.55, 1.3), canvas.uniform(0.7, 1.4))
    trunk = blob(canvas, (0, 0), radii, angle=0.0, rough=0.06, power=canvas.uniform(2, 3), ends=0.0)
    fat = canvas.uniform(0.1, 0.9)
    canvas.paint(trunk, canvas.shade(fat, 0.03), weight=0.15, parts=False)
    muscle = _near(canvas, fat)
    inner = trunk - canvas.uniform(2, 0.2 * canvas.size)
    if canvas.chance(0.8):
        canvas.paint(inner, canvas.shade(muscle, 0.04), weight=0.15, child=True, soft=1.5)
    else:
        fields = Canvas.noise(canvas, int(canvas.rng.integers(3, 9)))
        canvas.paint(np.minimum(inner, fields * 12), canvas.shade(muscle, 0.04), weight=0.3, child=True)
    for _ in range(int(canvas.rng.integers(2, 15))):
        mean = muscle if canvas.chance(0.6) else fat
        radius = canvas.log_uniform(0.05, 0.6)
        at = (canvas.uniform(-0.75, 0.75) * radii[0], canvas.uniform(-0.75, 0.75) * radii[1])
        _organ(canvas, at, (radius, radius * canvas.log_uniform(0.4, 2.2)), mean)
    if canvas.chance(0.5):
        spine(canvas, (canvas.uniform(0.2, 0.6), canvas.uniform(-0.2, 0.2)), canvas.log_uniform(0.1, 0.3))
    for _ in range(int(canvas.rng.integers(0, 5))):
        at = (canvas.uniform(-0.7, 0.7), canvas.uniform(-0.7, 0.7))
        radius = canvas.log_uniform(0.02, 0.1)
        canvas.paint(
            blob(canvas, at, (radius, radius * canvas.uniform(0.8, 1.3)), rough=0.05), _near(canvas, muscle), weight=0.8
        )


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


def tissues(canvas: Canvas) -> None:
    """A random map of tissues with things in it: the least scripted family."""
    _partition(canvas, int(canvas.rng.integers(2, 10)), int(canvas.rng.choice([3, 4, 6, 9, 14])), 0.6)
    mean = float(canvas.image.mean())
    for _ in range(int(canvas.rng.integers(0, 9))):
        radius = canvas.log_uniform(0.04, 0.8)
        at = (canvas.uniform(-0.9, 0.9), canvas.uniform(-0.9, 0.9))
        _organ(canvas, at, (radius, radius * canvas.log_uniform(0.3, 3)), mean)
    if canvas.chance(0.3):
        for _ in range(int(canvas.rng.integers(1, 4))):
            wide = canvas.log_uniform(2, 16)
            canvas.paint(tube(canvas, (wide, wide * canvas.uniform(0.5, 1))), _near(canvas, mean), weight=2.0)
    if canvas.chance(0.2):
        sheets = band(canvas, int(canvas.rng.integers(2, 8)), canvas.log_uniform(3, 14))
        canvas.paint(sheets, canvas.shade(_near(canvas, mean), 0.03), weight=1.0)


def heart(canvas: Canvas) -> None:
    """A ring around a cavity (with knobs), a crescent at its side, surroundings."""
    _partition(canvas, int(canvas.rng.integers(2, 7)), int(canvas.rng.integers(2, 6)), 0.2)
    centre = (canvas.uniform(-0.4, 0.4), canvas.uniform(-0.4, 0.4))
    radius = canvas.log_uniform(0.12, 0.55)
    radii = (radius, radius * canvas.uniform(0.75, 1.5))
    angle = canvas.uniform(0, math.pi)
    outer = blob(canvas, centre, radii, angle=angle, rough=0.06, power=2.0)
    wall = canvas.uniform(0.15, 0.55)
    offset = (centre[0] + radius * canvas.uniform(-0.12, 0.12), centre[1] + radius * canvas.uniform(-0.12, 0.12))
    cavity = blob(canvas, offset, (radii[0] * (1 - wall), radii[1] * (1 - wall)), angle=angle, rough=0.1, power=2.0)
    blood = canvas.uniform(0.2, 1.0)
    flesh = _near(canvas, blood)
    if canvas.chance(0.8):
        side = canvas.uniform(0, 2 * math.pi)
        at = (centre[0] + radius * 1.1 * math.sin(side), centre[1] + radius * 1.1 * math.cos(side))
        crescent = blob(canvas, at, (radius * canvas.uniform(0.6, 1.1), radius * canvas.uniform(0.6, 1.1)), rough=0.12)
        if canvas.chance(0.5):
            canvas.paint(crescent + radius * 6, canvas.shade(flesh, 0.04), weight=0.3)
        canvas.paint(crescent, canvas.shade(blood + canvas.uniform(-0.06, 0.06), 0.04), weight=2.0, parts=False)
    canvas.paint(outer, canvas.shade(flesh, 0.04), weight=1.0, parts=False, soft=1.5)
    canvas.paint(
        np.minimum(cavity, outer - 1), canvas.shade(blood, 0.04), weight=2.0, parts=False, child=True, soft=1.5
    )
    ring = (outer > 0) & (np.minimum(cavity, outer - 1) <= 0)
    canvas.candidates.append(Candidate(ring, 4.0, False, True))
    for _ in range(int(canvas.rng.integers(0, 4))):
        at = (offset[0] + radii[0] * canvas.uniform(-0.4, 0.4), offset[1] + radii[1] * canvas.uniform(-0.4, 0.4))
        knob = blob(canvas, at, (radius * 0.1, radius * 0.12))
        canvas.paint(np.minimum(knob, cavity), flesh, weight=0.0, child=True)


def cells(canvas: Canvas) -> None:
    """Many alike things, apart or touching; a person means one, or all of them."""
    canvas.image += canvas.shade(canvas.uniform(0.05, 0.95), canvas.log_uniform(0.005, 0.1))
    radius = canvas.log_uniform(0.03, 0.22)
    stretch = canvas.uniform(0.6, 1.6)
    gap = radius * canvas.uniform(1.5, 3.2)
    mean = _near(canvas, float(canvas.image.mean()))
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
            canvas.paint(core, _near(canvas, tone), weight=0.05, child=True)
    canvas.candidates.append(Candidate(union, 4.0, False, True))


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
        canvas.paint(disc, canvas.shade(_near(canvas, mean), 0.03), weight=1.0, soft=canvas.uniform(1, 8))
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


def photograph(canvas: Canvas) -> None:
    """A lesion or polyp on skin or mucosa, hairs and glints over it."""
    canvas.image += canvas.shade(canvas.uniform(0.3, 0.9), canvas.log_uniform(0.01, 0.08)) + 0.08 * canvas.noise(3)
    mean = float(canvas.image.mean())
    for _ in range(int(canvas.rng.choice([1, 1, 2, 3]))):
        radius = canvas.log_uniform(0.1, 0.8)
        at = (canvas.uniform(-0.5, 0.5), canvas.uniform(-0.5, 0.5))
        level = blob(canvas, at, (radius, radius * canvas.uniform(0.6, 1.6)), rough=canvas.log_uniform(0.04, 0.5))
        tone = _near(canvas, mean)
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


def brain(canvas: Canvas) -> None:
    """Skull, folded cortex, white matter, ventricles, deep nuclei, a tumour with its oedema."""
    canvas.image += canvas.uniform(0, 0.08)
    radii = (canvas.uniform(0.7, 1.1), canvas.uniform(0.6, 1.0))
    head = blob(canvas, (0, 0), radii, angle=0.0, rough=0.04, power=2.2, ends=0.0)
    tones = canvas.rng.permutation(np.linspace(0.1, 0.95, 6)) + 0.05 * canvas.rng.standard_normal(6)
    canvas.paint(head, canvas.shade(tones[0], 0.04), weight=0.1, parts=False)
    skull = canvas.uniform(3, 10)
    canvas.paint(head - skull, canvas.shade(tones[1], 0.03), weight=0.1, child=True, parts=False)
    rim = skull + canvas.uniform(2, 8)
    pia = folded(canvas, head - rim, int(canvas.rng.integers(10, 22)), canvas.uniform(4, 20))
    canvas.paint(pia, canvas.shade(tones[2], 0.02), weight=2.0, parts=False, child=True)
    gray = pia.copy()
    white = folded(canvas, pia - canvas.uniform(3, 9), int(canvas.rng.integers(8, 20)), canvas.uniform(0, 14))
    tone = tones[2] + canvas.contrast(0.06, 0.35) * canvas.rng.choice([-1, 1])
    canvas.paint(white, canvas.shade(tone, 0.02), weight=2.0, parts=False, child=True, soft=1.5)
    canvas.candidates.append(Candidate((gray > 0) & (white <= 0), 2.0, False, True))
    for side in (-1, 1):
        horn = blob(
            canvas, (canvas.uniform(-0.2, 0.1), side * 0.12), (0.25, canvas.uniform(0.04, 0.12)), angle=side * 0.3
        )
        canvas.paint(horn, tones[4], weight=0.8, parts=False)
        for _ in range(2):
            at = (canvas.uniform(-0.15, 0.25), side * canvas.uniform(0.2, 0.35))
            nucleus = blob(canvas, at, (canvas.uniform(0.06, 0.16), canvas.uniform(0.05, 0.1)))
            canvas.paint(nucleus, canvas.shade(tone + canvas.uniform(-0.2, 0.2), 0.02), weight=0.8, child=True, soft=2)
    if canvas.chance(0.6):
        at, radius = (canvas.uniform(-0.5, 0.5), canvas.uniform(-0.5, 0.5)), canvas.log_uniform(0.06, 0.3)
        swelling = blob(canvas, at, (radius * 1.6, radius * 1.5), rough=0.5)
        canvas.paint(np.minimum(swelling, head - rim), canvas.shade(_near(canvas, tone), 0.05), weight=1.5, soft=4)
        _organ(canvas, at, (radius, radius * canvas.uniform(0.7, 1.3)), tone)


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


def chest(canvas: Canvas) -> None:
    """A cut through the chest: two dark fields with vessels and hazy patches, heart, spine, wall."""
    canvas.image += canvas.uniform(0, 0.1)
    trunk = blob(canvas, (0, 0), (canvas.uniform(0.6, 1.0), canvas.uniform(0.8, 1.2)), angle=0.0, rough=0.05, ends=0)
    flesh = canvas.uniform(0.5, 0.9)
    canvas.paint(trunk, canvas.shade(flesh, 0.04), weight=0.2, parts=False)
    air = flesh - canvas.uniform(0.2, 0.6)
    both = np.zeros(canvas.image.shape, bool)
    for side in (-1, 1):
        radii = (canvas.uniform(0.3, 0.7), canvas.uniform(0.2, 0.38))
        lung = blob(
            canvas, (canvas.uniform(-0.1, 0.1), side * canvas.uniform(0.35, 0.5)), radii, angle=side * 0.2, rough=0.15
        )
        lung = np.minimum(lung, trunk - 5)
        region = canvas.paint(lung, canvas.shade(air, 0.03), weight=2.0, parts=False)
        both |= region
        hilum = (canvas.uniform(-0.1, 0.1), side * 0.2)
        roots = [(hilum, (0 if side > 0 else math.pi) + canvas.uniform(-0.9, 0.9)) for _ in range(4)]
        branches = tree(canvas, roots, canvas.uniform(2, 6), 3)
        canvas.paint(np.minimum(branches, lung), canvas.shade(flesh, 0.03), weight=0.3, child=True)
        for _ in range(int(canvas.rng.integers(0, 4))):
            at = (canvas.uniform(-0.4, 0.4), side * canvas.uniform(0.2, 0.6))
            radius = canvas.log_uniform(0.03, 0.25)
            haze = blob(canvas, at, (radius, radius * canvas.uniform(0.5, 1.6)), rough=canvas.uniform(0.1, 0.7))
            tone = canvas.image + (flesh - air) * canvas.uniform(0.25, 0.9)
            canvas.paint(np.minimum(haze, lung), tone, weight=1.0, child=True, soft=canvas.log_uniform(1, 8))
    canvas.candidates.append(Candidate(both & (trunk > 0), 2.0, False, True))
    _organ(canvas, (canvas.uniform(-0.1, 0.2), canvas.uniform(-0.15, 0.15)), (0.3, 0.25), flesh)
    spine(canvas, (canvas.uniform(0.35, 0.6), 0.0), canvas.uniform(0.1, 0.18))


FAMILIES: dict[str, tuple[Callable[[Canvas], None], float]] = {
    "body": (body, 1.6),
    "tissues": (tissues, 1.6),
    "heart": (heart, 1.0),
    "cells": (cells, 0.8),
    "vessels": (vessels, 3.2),
    "xray": (xray, 1.2),
    "ultrasound": (ultrasound, 1.2),
    "photograph": (photograph, 0.7),
    "brain": (brain, 1.0),
    "teeth": (teeth, 0.5),
    "chest": (chest, 0.8),
    "smear": (smear, 0.5),
}
"""Every family with its share."""


def choose_family(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """A random family's name by share; ``shares`` replaces those of ``FAMILIES`` by name."""
    names = list(FAMILIES)
    weights = np.array([shares.get(name, FAMILIES[name][1]) for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def paint_scene(canvas: Canvas, family: str) -> None:
    """Paint one scene of a family."""
    FAMILIES[family][0](canvas)
