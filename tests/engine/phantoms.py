"""Objects that end, split, merge, drift, tilt and thin out, on grids that are neither cubic nor isotropic."""

import numpy as np

import promptseg

SHAPE = (24, 70, 92)  # z, y, x
SPACING = (0.8, 0.8, 4.0)  # x, y, z in mm: thick slices
ORIGIN = (-31.0, 17.5, 204.0)
COS, SIN = np.cos(0.2), np.sin(0.2)
OBLIQUE = (COS, 0.0, SIN, 0.0, 1.0, 0.0, -SIN, 0.0, COS)  # turned by 0.2 rad about y
Z, Y, X = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)


def turned(x_degrees: float, y_degrees: float, z_degrees: float) -> tuple[float, ...]:
    """Return a direction, Rz @ Ry @ Rx, row by row."""
    cx, cy, cz = np.cos(np.radians([x_degrees, y_degrees, z_degrees]))
    sx, sy, sz = np.sin(np.radians([x_degrees, y_degrees, z_degrees]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return tuple((about_z @ about_y @ about_x).ravel().tolist())


def _disc(cy, cx, r):
    return (Y - cy) ** 2 + (X - cx) ** 2 < np.square(r)


def _between(low, high):
    return (low <= Z) & (high > Z)


PHANTOMS = {
    # name: (truth, anchor slice, (y, x) inside it)
    "ends": (_disc(35, 45, 12) & _between(5, 19), 11, (35, 45)),
    "drifts": (_disc(20 + 1.2 * Z, 20 + 2.0 * Z, 8) & _between(2, 22), 11, (33, 42)),
    "tilts steeply": (_disc(35, 10 + 3.0 * Z, 5) & _between(1, 23), 12, (35, 46)),
    "thins out": (_disc(35, 45, np.clip(14 - 1.1 * np.abs(Z - 12), 0, None)), 12, (35, 45)),
    "splits": (
        (_disc(35, 45 - np.clip(Z - 8, 0, None) * 1.5, 7) | _disc(35, 45 + np.clip(Z - 8, 0, None) * 1.5, 7))
        & _between(2, 22),
        6,
        (35, 45),
    ),
    "merges": (
        (_disc(35, 45 - np.clip(16 - Z, 0, None) * 1.5, 7) | _disc(35, 45 + np.clip(16 - Z, 0, None) * 1.5, 7))
        & _between(2, 22),
        19,
        (35, 45),
    ),
    "a hole opens": (_disc(35, 45, 15) & ~_disc(35, 45, np.clip(Z - 8, 0, 8)), 5, (35, 45)),
    "a thin oblique tube": (_disc(10 + 1.5 * Z, 12 + 2.5 * Z, 1.8), 12, (28, 42)),
}


def volume_of(truth, other=None):
    """Truth at 200 HU-like units, an optional second object at 120, background 0; window fixed."""
    image = np.zeros(SHAPE, np.int16)
    if other is not None:
        image[other] = 120
    image[truth] = 200
    geometry = promptseg.Geometry(SHAPE, SPACING, ORIGIN, OBLIQUE)
    return promptseg.Volume(image, geometry, promptseg.Window(0, 255))
