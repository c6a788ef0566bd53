"""The organs of the upper abdomen, in the patient coordinates and contrast phase of ``wall``."""

from __future__ import annotations

import numpy as np

from promptseg.example.canvas import Canvas, Ellipsoid, Floats, Level, Wobble, roughen, smooth_path
from promptseg.example.wall import BLOOD, FAT, diaphragm

__all__ = ["paint_gut", "paint_kidney", "paint_liver", "paint_mesentery", "paint_spleen", "paint_vessels"]

GAS, FLUID, STOOL, GUT_WALL = -960.0, 18.0, -60.0, 98.0
LIVER, SPLEEN, PANCREAS, BILE, PORTAL = 112.0, 124.0, 96.0, 9.0, 182.0
LESION_CORE, LESION_RIM = 48.0, 84.0
RENAL_CORTEX, RENAL_MEDULLA, URINE = 188.0, 136.0, 30.0
LIVER_BOX = ((-150.0, -100.0, -95.0), (75.0, 90.0, 75.0))


def paint_gut(canvas: Canvas) -> None:
    """Paint stomach (with an air-fluid level), pancreas, duodenum, small bowel loops and colon."""
    stomach = smooth_path(
        [
            (66, 12, 50, 27),
            (66, -6, 30, 33),
            (58, -30, 2, 28),
            (34, -46, -26, 21),
            (4, -48, -32, 16),
            (-20, -34, -24, 11),
        ]
    )
    _paint_hollow(canvas, stomach, wall=3.6, gas_above=-40.0, seed=41)
    pancreas = [
        (-24, -14, -40, 12),
        (-14, -16, -22, 13),
        (8, -18, -8, 10),
        (36, -4, 2, 10),
        (62, 14, 12, 11),
        (82, 22, 18, 8),
    ]
    _paint_lobed(canvas, smooth_path(pancreas, 9))
    _paint_hollow(
        canvas, smooth_path([(-34, -28, -24, 11), (-44, -4, -40, 12), (-38, 2, -75, 12), (-8, 4, -88, 11)]), seed=42
    )
    random = np.random.RandomState(43)
    for n in range(24):
        center = np.array([random.uniform(-66, 84), random.uniform(-50, -4), random.uniform(-130, -56)])
        knots = [(*(center + random.normal(0, 1, 3) * (20, 10, 12)), random.uniform(9, 12.5)) for _ in range(4)]
        _paint_hollow(canvas, smooth_path(knots, 5), gas_above=-62.0 if n % 6 == 0 else -999.0, seed=100 + n)
    colon = [
        [(-104, 6, -140, 20), (-103, 0, -100, 21), (-98, -18, -72, 19), (-84, -48, -66, 18)],
        [(-84, -48, -66, 18), (-48, -63, -84, 17), (0, -69, -96, 17), (46, -64, -84, 16), (84, -46, -46, 16)],
        [(84, -46, -46, 16), (106, -14, -26, 16), (110, 20, -48, 15), (111, 26, -92, 14), (110, 22, -145, 14)],
    ]
    for n, part in enumerate(colon):
        path = smooth_path(part, 14)
        path[:, 3] *= 1.0 + 0.16 * np.sin(np.arange(len(path)) * 1.5)  # the haustra
        _paint_hollow(canvas, path, wall=2.4, content=_stool(60 + n), gas_above=(-30.0, -74.0, -40.0)[n], seed=60 + n)


def _stool(seed: int) -> Level:
    lumps = Wobble(seed, 13.0, waves=9)
    return lambda x, y, z: np.asarray(STOOL + 75.0 * lumps(x, y, z))


def _paint_hollow(
    canvas: Canvas,
    path: Floats,
    *,
    wall: float = 2.6,
    content: Level | None = None,
    gas_above: float = -999.0,
    seed: int,
) -> None:
    """Paint a tube with a wall; in front of y = ``gas_above`` (the patient lies on the back) it holds gas."""
    mottle = Wobble(seed, 18.0)

    def fill(x: Floats, y: Floats, z: Floats) -> Floats:
        inner = content(x, y, z) if content else FLUID + 9.0 * mottle(x, y, z)
        return np.asarray(np.where(y < gas_above, GAS, inner))

    canvas.tube(path, GUT_WALL)
    canvas.tube(path, fill, shrink=wall)


def _paint_lobed(canvas: Canvas, path: Floats) -> None:
    lobes = Wobble(45, 12.0, waves=7)

    def hu(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(np.where(lobes(x, y, z) > 1.25, FAT + 60.0, PANCREAS))

    canvas.tube(path, hu)


def paint_liver(canvas: Canvas, value: int, lesion: int) -> None:
    """Paint the liver with its vessels, one lesion in the right lobe, and the gallbladder beside it."""
    right = Ellipsoid((-80, 0, 8), (74, 88, 84), (0, 8, 0))
    left = Ellipsoid((-10, -48, 24), (62, 32, 36), (0, -14, 0))
    hilum = Ellipsoid((-18, 10, -46), (46, 58, 58), (0, 20, 0))
    large, small, mottle = Wobble(51, 80.0), Wobble(52, 32.0), Wobble(53, 16.0)

    def smooth(x: Floats, y: Floats, z: Floats) -> Floats:
        lobes = np.minimum(np.maximum(right(x, y, z), x + 6.0), left(x, y, z))
        cleft = 3.0 - np.abs(x + 14.0 + 0.25 * (y + 60.0)) - 0.35 * np.clip(y + 52.0, 0, 99)  # the falciform ligament
        cut = np.maximum(-hilum(x, y, z), cleft - 0.5 * np.clip(z - 22.0, 0, 99))
        return np.maximum(lobes, cut)

    rough = roughen(smooth, (2.6, large), (1.1, small))

    def level(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.maximum(rough(x, y, z), z - diaphragm(x, y) + 3.4)

    def hu(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(LIVER + 2.2 * mottle(x, y, z))

    canvas.paint(level, LIVER_BOX, hu, label=value, room_mm=1.2)
    _paint_liver_vessels(canvas, value)
    core, edge = Ellipsoid((-92, 22, 20), (19, 16, 18), (20, 15, 30)), Wobble(54, 24.0)

    def lesion_level(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(core(x, y, z) + 1.6 * edge(x, y, z))

    def lesion_hu(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(LESION_CORE + (LESION_RIM - LESION_CORE) * np.clip(1.0 + lesion_level(x, y, z) / 7.0, 0, 1))

    canvas.paint(lesion_level, core.bounds(), lesion_hu, label=lesion)
    bladder = Ellipsoid((-44, -44, -30), (14, 24, 20), (-35, 0, 15))
    canvas.paint(lambda x, y, z: bladder(x, y, z) - 1.8, bladder.bounds(), 82.0)
    canvas.paint(bladder, bladder.bounds(), BILE)


def _paint_liver_vessels(canvas: Canvas, value: int) -> None:
    """Paint the portal tree from the hilum and three hepatic veins to the inferior vena cava."""
    random = np.random.RandomState(55)
    portal = [
        [(-36, -4, 4, 7), (-58, 4, 14, 5.6), (-84, -2, 20, 4.2), (-108, -16, 26, 2.4)],
        [(-58, 4, 14, 5), (-76, 34, 6, 3.8), (-94, 52, 0, 2.2)],
        [(-58, 4, 14, 4.6), (-82, -6, -14, 3.4), (-98, -6, -40, 2.0)],
        [(-40, -8, 8, 5.4), (-22, -34, 24, 4.4), (6, -52, 30, 3.0), (36, -54, 32, 1.8)],
    ]
    hepatic = [
        [(-20, 14, 56, 6.5), (-50, 16, 48, 5), (-84, 26, 34, 3.6), (-112, 30, 10, 2)],
        [(-20, 12, 56, 6), (-38, -18, 46, 4.6), (-58, -46, 28, 3), (-72, -58, 6, 1.8)],
        [(-18, 10, 56, 5.5), (-2, -20, 46, 4), (22, -46, 40, 2.6)],
    ]
    for trunks, hu in ((portal, PORTAL), (hepatic, PORTAL - 14.0)):
        for knots in trunks:
            path = smooth_path(knots)
            canvas.tube(path, hu, over=value)
            for _ in range(6):
                at = path[random.randint(3, len(path))]
                tip = at[:3] + random.normal(0, 1, 3) * (17, 17, 14)
                canvas.tube(np.array([(*at[:3], 0.75 * at[3]), (*tip, 0.9)]), hu - 8.0, over=value)


def paint_spleen(canvas: Canvas, value: int) -> None:
    """Paint the spleen: a crescent between the diaphragm and the stomach."""
    outer, hollow = (
        Ellipsoid((92, 32, 14), (46, 56, 54), (25, -10, 0)),
        Ellipsoid((60, 4, 14), (38, 42, 64), (20, 0, 0)),
    )
    large, small, mottle = Wobble(71, 60.0), Wobble(72, 25.0), Wobble(73, 16.0)

    def smooth(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.maximum(outer(x, y, z), -hollow(x, y, z))

    rough = roughen(smooth, (1.9, large), (0.8, small))

    def level(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.maximum(rough(x, y, z), z - diaphragm(x, y) + 3.4)

    def hu(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.asarray(SPLEEN + 2.5 * mottle(x, y, z))

    canvas.paint(level, outer.bounds(), hu, label=value, room_mm=1.2)


def paint_kidney(canvas: Canvas, side: float, value: int) -> None:
    """Paint one kidney in its fat: cortex, pyramids, sinus fat and pelvis. ``side`` is +1 left, -1 right."""
    center = (side * 64.0, 34.0, -34.0 if side > 0 else -50.0)
    turn = (-10.0, side * 13.0, side * 28.0)
    kidney, capsule = Ellipsoid(center, (26, 23, 53), turn), Ellipsoid(center, (33, 32, 62), turn)
    sinus = Ellipsoid((center[0] - side * 13.0, center[1] - 7.0, center[2]), (16, 10, 27), turn)
    pelvis = Ellipsoid((center[0] - side * 15.0, center[1] - 6.0, center[2] - 4.0), (13, 5, 13), turn)
    surface, edge, columns = Wobble(81 + int(side), 48.0), Wobble(84, 22.0), Wobble(86 + int(side), 25.0, waves=8)

    level, opening = roughen(kidney, (1.5, surface), (0.5, edge)), roughen(sinus, (1.6, edge))

    def without_sinus(x: Floats, y: Floats, z: Floats) -> Floats:
        return np.maximum(level(x, y, z), -opening(x, y, z))

    def hu(x: Floats, y: Floats, z: Floats) -> Floats:
        deep = (level(x, y, z) < -7.0) & (columns(x, y, z) > -0.75)
        return np.asarray(np.where(deep, RENAL_MEDULLA, RENAL_CORTEX))

    canvas.paint(capsule, capsule.bounds(), FAT + 3.0, room_mm=0.0)
    canvas.paint(without_sinus, kidney.bounds(), hu, label=value)
    canvas.paint(pelvis, pelvis.bounds(), URINE)


def paint_vessels(canvas: Canvas, aorta: int) -> None:
    """Paint aorta, inferior vena cava, portal confluence, and the large branches of each."""
    calcified = smooth_path([(20, 16, -42, 2.2), (19, 20, -62, 2.6)])
    canvas.tube(
        smooth_path([(-20, 12, 130, 12), (-20, 12, 58, 12.5), (-23, 12, 0, 11.5), (-21, 14, -150, 11)]), BLOOD - 14
    )
    canvas.tube(
        smooth_path([(76, 14, 10, 4), (40, 2, 4, 4.4), (6, -10, -6, 5), (-14, -10, -8, 6.5), (-38, -6, 4, 7)]), PORTAL
    )
    canvas.tube(
        smooth_path([(-14, -10, -8, 6), (-10, -20, -40, 5.4), (-6, -30, -75, 4.6), (-2, -36, -125, 3.4)]), PORTAL
    )
    for knots in (
        [(10, 8, 16, 4.4), (10, -10, 18, 3.6), (0, -16, 18, 3.0), (-24, -16, 12, 2.4), (-40, -8, 12, 2.0)],
        [(10, -8, 18, 3.2), (36, -2, 16, 2.6), (60, 8, 22, 2.2), (78, 16, 20, 1.8)],
        [(11, 6, 2, 4.4), (10, -10, -12, 3.8), (8, -22, -45, 3.4), (6, -32, -90, 2.8), (4, -34, -130, 2.4)],
        [(14, 12, -24, 3.4), (-10, 24, -30, 2.8), (-34, 28, -42, 2.6), (-50, 28, -48, 2.2)],
        [(14, 12, -22, 3.4), (34, 22, -28, 2.8), (52, 26, -34, 2.2)],
    ):
        canvas.tube(smooth_path(knots), BLOOD + 12.0)
    canvas.tube(smooth_path([(-20, 8, -28, 5), (4, -6, -24, 4.4), (30, 10, -26, 4.6), (52, 24, -34, 4)]), BLOOD - 4)
    canvas.tube(smooth_path([(-24, 12, -42, 5), (-36, 20, -46, 4.6), (-50, 26, -50, 4)]), BLOOD - 4)
    trunk = [(16, 20, 140, 12.5), (16, 20, 70, 12), (12, 12, 10, 11), (13, 12, -60, 9.8), (11, 14, -150, 9.2)]
    canvas.tube(smooth_path(trunk, 8), BLOOD + 6.0, label=aorta)
    canvas.tube(calcified, 640.0, over=aorta)


def paint_mesentery(canvas: Canvas) -> None:
    """Paint the small vessels of the belly's fat. The organs painted later cover most of them."""
    random = np.random.RandomState(91)
    for _ in range(30):
        start = np.array([random.uniform(-8, 10), -30.0, random.uniform(-120, -45)])
        end = start + np.array([random.normal(0, 34), random.uniform(-30, 4), random.normal(-8, 12)])
        middle = (start + end) / 2 + random.normal(0, 4, 3)
        canvas.tube(smooth_path([(*start, 1.9), (*middle, 1.5), (*end, 0.9)], 3), 120.0)
