"""Cuts through a body, as CT and MR show them."""

from __future__ import annotations

import math

import numpy as np

from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.organs import near, organ, partition, spine
from promptseg.models.builtin.training.shapes import band, blob, folded, tree, tube

__all__ = ["body", "brain", "chest", "heart", "tissues"]


def body(canvas: Canvas) -> None:
    """A trunk or limb: skin, fat, muscle, organs that touch, bones, vessels, loops of bowel."""
    outside = canvas.uniform(0, 0.1)
    canvas.image += outside
    radii = (canvas.uniform(0.55, 1.3), canvas.uniform(0.7, 1.4))
    trunk = blob(canvas, (0, 0), radii, angle=0.0, rough=0.06, power=canvas.uniform(2, 3), ends=0.0)
    fat = canvas.uniform(0.1, 0.9)
    canvas.paint(trunk, canvas.shade(fat, 0.03), weight=0.15, parts=False)
    muscle = near(canvas, fat)
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
        organ(canvas, at, (radius, radius * canvas.log_uniform(0.4, 2.2)), mean)
    if canvas.chance(0.5):
        spine(canvas, (canvas.uniform(0.2, 0.6), canvas.uniform(-0.2, 0.2)), canvas.log_uniform(0.1, 0.3))
    for _ in range(int(canvas.rng.integers(0, 5))):
        at = (canvas.uniform(-0.7, 0.7), canvas.uniform(-0.7, 0.7))
        radius = canvas.log_uniform(0.02, 0.1)
        canvas.paint(
            blob(canvas, at, (radius, radius * canvas.uniform(0.8, 1.3)), rough=0.05), near(canvas, muscle), weight=0.8
        )


def tissues(canvas: Canvas) -> None:
    """A random map of tissues with things in it: the least scripted family."""
    partition(canvas, int(canvas.rng.integers(2, 10)), int(canvas.rng.choice([3, 4, 6, 9, 14])), 0.6)
    mean = float(canvas.image.mean())
    for _ in range(int(canvas.rng.integers(0, 9))):
        radius = canvas.log_uniform(0.04, 0.8)
        at = (canvas.uniform(-0.9, 0.9), canvas.uniform(-0.9, 0.9))
        organ(canvas, at, (radius, radius * canvas.log_uniform(0.3, 3)), mean)
    if canvas.chance(0.3):
        for _ in range(int(canvas.rng.integers(1, 4))):
            wide = canvas.log_uniform(2, 16)
            canvas.paint(tube(canvas, (wide, wide * canvas.uniform(0.5, 1))), near(canvas, mean), weight=2.0)
    if canvas.chance(0.2):
        sheets = band(canvas, int(canvas.rng.integers(2, 8)), canvas.log_uniform(3, 14))
        canvas.paint(sheets, canvas.shade(near(canvas, mean), 0.03), weight=1.0)


def heart(canvas: Canvas) -> None:
    """A ring around a cavity (with knobs), a crescent at its side, surroundings."""
    partition(canvas, int(canvas.rng.integers(2, 7)), int(canvas.rng.integers(2, 6)), 0.2)
    centre = (canvas.uniform(-0.4, 0.4), canvas.uniform(-0.4, 0.4))
    radius = canvas.log_uniform(0.12, 0.55)
    radii = (radius, radius * canvas.uniform(0.75, 1.5))
    angle = canvas.uniform(0, math.pi)
    outer = blob(canvas, centre, radii, angle=angle, rough=0.06, power=2.0)
    wall = canvas.uniform(0.15, 0.55)
    offset = (centre[0] + radius * canvas.uniform(-0.12, 0.12), centre[1] + radius * canvas.uniform(-0.12, 0.12))
    cavity = blob(canvas, offset, (radii[0] * (1 - wall), radii[1] * (1 - wall)), angle=angle, rough=0.1, power=2.0)
    blood = canvas.uniform(0.2, 1.0)
    flesh = near(canvas, blood)
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
        canvas.paint(np.minimum(swelling, head - rim), canvas.shade(near(canvas, tone), 0.05), weight=1.5, soft=4)
        organ(canvas, at, (radius, radius * canvas.uniform(0.7, 1.3)), tone)


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
    organ(canvas, (canvas.uniform(-0.1, 0.2), canvas.uniform(-0.15, 0.15)), (0.3, 0.25), flesh)
    spine(canvas, (canvas.uniform(0.35, 0.6), 0.0), canvas.uniform(0.1, 0.18))
