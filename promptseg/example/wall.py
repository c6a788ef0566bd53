"""The torso's shell and frame: skin, fat, muscles, spine, ribs, table, lungs, heart.

Patient coordinates in mm: x to the patient's left, y to the back, z to the head; (0, 0, 0) in the middle of the body
at the height of the first lumbar vertebra. HU are those of a portal venous phase CT (e.g. Radiopaedia,
"Hounsfield unit").
"""

from __future__ import annotations

import numpy as np

from promptseg.example.canvas import Canvas, Ellipsoid, Floats, Wobble, roughen, smooth_path

__all__ = ["diaphragm", "paint_chest", "paint_shell", "paint_skeleton", "wall_mm"]

FAT, MUSCLE, SKIN, MARROW, CORTEX, DISC = -105.0, 58.0, 45.0, 150.0, 600.0, 85.0
LUNG, BLOOD = -860.0, 150.0
VERTEBRA_MM = 34.0  # one vertebra and its disc
RIB_PITCH_MM = 30.0
RIB_ENDS = {
    0: 0.8,
    1: 1.15,
    2: 1.5,
    3: 1.9,
    4: 2.2,
}  # the floating ribs' length, in radians around the body from the spine


def fat_mm(x: Floats, y: Floats, z: Floats) -> Floats:
    """Return the thickness of the fat under the skin, mm: thicker at the flanks and over the lower belly."""
    angle = np.abs(np.arctan2(x, y))
    return np.asarray(9.0 + 6.0 * np.sin(angle) ** 2 + np.clip(-z, 0, 90) * 0.10 * np.clip(angle - 1.6, 0, 1))


def wall_mm(x: Floats, y: Floats, z: Floats) -> Floats:
    """Return how deep below the skin the chest and belly begin, mm: behind fat, muscles and ribs."""
    angle = np.abs(np.arctan2(x, y))
    return np.asarray(fat_mm(x, y, z) + 15.0 + 36.0 * np.exp(-((angle / 0.55) ** 2)))


def diaphragm(x: Floats, y: Floats) -> Floats:
    """Return the height z of the diaphragm, mm: a higher dome on the right, deep recesses along the wall and back."""
    domes = (
        peak - drop * (((x - cx) / 70.0) ** 2 + ((y + 18.0) / np.where(y > -18.0, 92.0, 80.0)) ** 2) ** power
        for cx, peak, drop, power in ((-64.0, 68.0, 105.0, 2.6), (72.0, 56.0, 105.0, 2.6), (-4.0, 50.0, 80.0, 1.6))
    )
    right, left, middle = domes
    return np.asarray(np.maximum(np.maximum(right, left), middle))


def paint_shell(canvas: Canvas) -> None:
    """Paint skin, fat, the belly's muscles and the fat inside; fill ``canvas.depth``."""
    shape_noise, stripe_noise = Wobble(11, 170.0, waves=3), Wobble(12, 40.0)
    for index, x, y, z in canvas.chunks(((-185.0, -135.0, -200.0), (185.0, 130.0, 200.0))):
        half_width = 157.0 + 0.00045 * z**2 + 0.03 * z
        half_depth = np.where(y > 0, 103.0, 108.0) + 0.02 * z
        rho = ((np.abs(x) / half_width) ** 2.35 + (np.abs(y) / half_depth) ** 2.35) ** (1 / 2.35)
        depth = np.hypot(x, y) * (1.0 / np.maximum(rho, 1e-3) - 1.0) + 2.2 * shape_noise(x, y, z)
        depth -= 5.0 * np.exp(-((x / 11.0) ** 2)) * (y > 60.0)  # the groove along the spine
        canvas.depth[index] = depth
        body = depth > 0
        canvas.room[index][body] = depth[body] - wall_mm(x[body], y[body], z[body])
        hu = canvas.hu[index]
        hu[body] = SKIN
        hu[depth > 2.8] = FAT
        shell = body & (canvas.room[index] < 0)
        x, y, z, depth = x[shell], y[shell], z[shell], depth[shell]
        layer = (depth - fat_mm(x, y, z) + 0.8 * stripe_noise(x, y, z)) / 13.0
        between = (np.abs(layer - 0.36) < 0.045) | (np.abs(layer - 0.68) < 0.045)
        midline = (np.abs(x) < 3.0 + 0.03 * np.clip(-z, 0, 90)) & (y < 0)
        rectus = ~midline & (layer > 0.15 + 0.8 * (np.abs(np.abs(x) - 38.0) / 44.0) ** 3)
        muscle = (layer > 0) & np.where(np.abs(np.arctan2(x, y)) > 2.4, rectus, ~between)
        hu[shell] = np.where(muscle, MUSCLE, hu[shell])
    for side in (-1.0, 1.0):
        back = Ellipsoid((side * 34, 75, 0), (31, 19, 400), (0, 0, side * 12))
        flank = Ellipsoid((side * 68, 56, -70), (20, 9, 70), (0, 0, side * -25))
        psoas = Ellipsoid((side * 36, 40, -95), (17, 20, 90), (4, side * -6, 0))
        for shape, seed in ((back, 13), (flank, 14), (psoas, 15)):
            _paint_muscle(canvas, shape, seed)


def _paint_muscle(canvas: Canvas, shape: Ellipsoid, seed: int) -> None:
    surface, streaks = Wobble(seed, 45.0), Wobble(seed + 50, 11.0)

    def hu(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(MUSCLE - 55.0 * (streaks(x, y, 0.15 * z) > 1.75))

    canvas.paint(roughen(shape, (1.3, surface)), shape.bounds(), hu)


def paint_skeleton(canvas: Canvas) -> None:
    """Paint the spine (bodies, discs, canal, arches, processes), the ribs with their cartilage, and the table."""
    texture = Wobble(21, 9.0)
    for index, x, y, z in canvas.chunks(((-48.0, 8.0, -200.0), (48.0, 104.0, 200.0))):
        x, y, z = np.broadcast_arrays(x, y + 0.00035 * z**2, z)  # the lordosis
        phase = np.mod(z + 12.0, VERTEBRA_MM) / VERTEBRA_MM  # 0 ... 0.74 a vertebra, the rest its disc
        waist = 1.0 - 0.10 * np.sin(np.pi * np.clip(phase / 0.74, 0, 1))
        body = (np.sqrt((x / 24.0) ** 2 + ((y - 40.0) / 17.5) ** 2) / waist - 1.0) * 17.5
        body = np.maximum(body, -(np.hypot(x / 1.4, y - 66.0) - 11.5))
        bone = phase < 0.74
        plate = np.minimum(phase, 0.74 - phase) * VERTEBRA_MM
        hu = canvas.hu[index]
        arch = np.abs(np.hypot(x / 1.25, y - 64.0) - 12.0) - 3.2
        arch = np.where((phase > 0.1) & (phase < 0.62), arch, 1.0)
        spine = np.maximum(np.abs(x) - 3.6, np.abs(y - 84.0) - 10.0)
        spine = np.where((phase > 0.25) & (phase < 0.72), spine, 1.0)
        drop = 0.08 * np.abs(x)
        cross = np.maximum(np.abs(x) - 37.0, np.hypot(y - 66.0 - drop, (phase - 0.3) * VERTEBRA_MM) - 4.2)
        facet = np.hypot(np.abs(x) - 17.0, y - 69.0) - np.where((phase > 0.55) | (phase < 0.12), 6.5, 0.0)
        process = np.minimum(np.minimum(arch, spine), np.minimum(cross, facet))
        marrow = MARROW + 28.0 * texture(x, y, z)
        hu[(body < 0) & ~bone] = DISC
        rim = (body > -1.6) | (plate < 1.7)
        hu[(body < 0) & bone] = np.where(rim, CORTEX, marrow)[(body < 0) & bone]
        hu[process < 0] = np.where(process > -1.6, CORTEX + 60.0, MARROW + 50.0)[process < 0]
        canal = np.hypot(x / 1.3, y - 64.0) < 8.6
        hu[canal] = -20.0
        hu[np.hypot(x / 1.1, y - 64.0) < 6.6] = 28.0
    _paint_ribs(canvas)
    for index, x, y, _ in canvas.chunks(((-200.0, 60.0, -200.0), (200.0, 160.0, 200.0))):
        below = y - (112.0 - 0.0011 * x**2)
        outside = canvas.depth[index] <= 0
        hu = canvas.hu[index]
        hu[outside & (below > 0) & (below < 16.0)] = -920.0
        hu[outside & ((np.abs(below - 1.5) < 1.7) | (np.abs(below - 14.5) < 1.7))] = 40.0


def _paint_ribs(canvas: Canvas) -> None:
    for index, x, y, z in canvas.chunks():
        near = (canvas.depth[index] > 8.0) & (canvas.depth[index] < 85.0)
        x, y, z, depth, hu = x[near], y[near], z[near], canvas.depth[index][near], canvas.hu[index][near]
        angle = np.abs(np.arctan2(x, y))
        drop = np.where(angle < 2.2, 75.0 * angle - 20.0, 145.0 - 90.0 * (angle - 2.2))
        turns = (z + drop - 15.0) / RIB_PITCH_MM
        number = np.rint(turns)
        inward = fat_mm(x, y, z) + 8.0 + 46.0 * np.exp(-((np.clip(angle - 0.15, 0, 9) / 0.42) ** 2))
        across, along = (depth - inward) / 4.3, (turns - number) * RIB_PITCH_MM * 0.8 / 7.2
        ends = np.full(angle.shape, 2.75)
        for rib, end in RIB_ENDS.items():
            ends[number == rib] = end
        inside = (np.hypot(across, along) < 1.0) & (number >= 0) & (angle > 0.36) & (angle < ends)
        core = np.hypot(across / 0.62, along / 0.75) < 1.0
        bone = np.where(core, MARROW + 60.0, CORTEX + 120.0)
        hu[inside] = np.where(angle > 2.2, 115.0, bone)[inside]
        canvas.hu[index][near] = hu


def paint_chest(canvas: Canvas, left: int, right: int) -> None:
    """Paint both lungs with their vessels, the mediastinum's fat, the heart and the oesophagus."""
    dome_noise, edge = Wobble(31, 75.0), Wobble(32, 60.0)
    for index, x, y, z in canvas.chunks(((-160.0, -120.0, -80.0), (160.0, 120.0, 200.0))):
        inner = canvas.room[index] > 0
        x, y, z = x[inner], y[inner], z[inner]
        top = diaphragm(x, y) + 2.5 * dome_noise(x, y, np.zeros(1))
        middle = 24.0 + 16.0 * np.clip(-y / 60.0, -0.4, 1.0) + 10.0 * ((x > 0) & (y > 0))
        lung = (z > top) & (np.abs(x) > middle - 8.0)
        lung[lung] = np.abs(x[lung]) > middle[lung] + 2.5 * edge(x[lung], y[lung], z[lung])
        hu, label = canvas.hu[index][inner], canvas.label[index][inner]
        hu[(z < top) & (z > top - 3.2)] = MUSCLE - 8.0  # the diaphragm itself
        x, y, z = x[lung], y[lung], z[lung]
        hu[lung] = LUNG + 0.55 * (y + 60.0) + 18.0 * edge(2 * x, 2 * y, 2 * z)  # the back is denser: gravity
        label[lung] = np.where(x > 0, left, right)
        canvas.hu[index][inner], canvas.label[index][inner] = hu, label
    heart, chambers, fat = Ellipsoid((22, -34, 102), (60, 47, 46), (12, 18, 25)), Wobble(33, 55.0), Wobble(34, 50.0)

    muscle = roughen(heart, (1.5, fat))

    def sac(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(heart(x, y, z) - 5.0 + 2.0 * fat(x, y, z))

    def blood(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(np.where((muscle(x, y, z) < -9.0) & (chambers(x, y, z) > -0.5), BLOOD + 6.0, 108.0))

    canvas.paint(sac, heart.bounds(14), FAT + 10.0)
    canvas.paint(muscle, heart.bounds(14), blood)
    canvas.tube(smooth_path([(4, 10, 200, 8), (6, 6, 100, 8), (16, -6, 66, 8), (30, -4, 56, 9)]), 48.0)
    _paint_lung_vessels(canvas, left, right)


def _paint_lung_vessels(canvas: Canvas, left: int, right: int) -> None:
    random = np.random.RandomState(35)
    for side, value in ((1.0, left), (-1.0, right)):
        for _ in range(16):
            start = np.array([side * 38.0, 8.0 + random.normal(0, 8), 125.0])
            end = np.array([side * random.uniform(48, 128), random.uniform(-85, 85), random.uniform(-20, 90)])
            middle = (start + end) / 2 + random.normal(0, 10, 3)
            path = smooth_path([(*start, 4.6), (*middle, 2.6), (*end, 0.7)])
            canvas.tube(path, 60.0, over=value)
            for _ in range(4):
                at = path[random.randint(4, len(path))]
                tip = at[:3] + random.normal(0, 22, 3) + np.array([side * 10.0, 0.0, -14.0])
                canvas.tube(np.array([(*at[:3], at[3] * 0.7), (*tip, 0.5)]), 20.0, over=value)
