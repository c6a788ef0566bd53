"""What a scanner adds to the anatomy: blur, beam hardening, correlated noise, rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promptseg.example.canvas import Floats

__all__ = ["acquire"]

BLUR_PX = 0.55  # sigma of the in-plane point spread
CUPPING_HU = 7.0  # how much darker the middle of the body is than its rim
STREAK_HU = 9.0  # how much darker tissue is that lies left and right of dense bone
NOISE_HU = (7.0, 13.0)  # standard deviation at the skin and in the middle of the body
AIR_NOISE_HU = 5.0
BONE_HU = 250.0


def acquire(hu: Floats, depth: NDArray[np.float32], *, seed: int) -> NDArray[np.int16]:
    """Return int16 HU (z, y, x) as a scanner would give them.

    Args:
        hu: noise-free HU (z, y, x).
        depth: mm below the skin at each voxel, <= 0 outside the body.
        seed: of the noise.
    """
    import cv2

    random = np.random.RandomState(seed)
    inner = np.clip(depth.astype(np.float64) / 90.0, 0.0, 1.0)
    sharp = np.stack([cv2.GaussianBlur(s, (0, 0), BLUR_PX) for s in hu])
    bone = np.clip((hu - BONE_HU) / 500.0, 0.0, 1.0)
    shadow = np.stack([cv2.GaussianBlur(b, (0, 0), sigmaX=14.0, sigmaY=2.0) for b in bone])
    inside = depth > 0
    dark = CUPPING_HU * inner + STREAK_HU * np.minimum(shadow * 8.0, 1.0) * (hu < BONE_HU)
    scale = np.where(inside, NOISE_HU[0] + (NOISE_HU[1] - NOISE_HU[0]) * inner, AIR_NOISE_HU)
    scale = np.where(hu < -700.0, np.minimum(scale, 9.0), scale)
    image = sharp - np.where(inside, dark, 0.0) + scale * _noise(random, hu.shape)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def _noise(random: np.random.RandomState, shape: tuple[int, ...]) -> Floats:
    """Return noise of standard deviation 1 with the grain of a filtered back-projection.

    Its spectrum lacks the lowest and the highest frequencies (Riederer, Pelc, Chesler 1978, Phys. Med. Biol. 23:446);
    neighbouring slices share a little of it, as helical interpolation does.
    """
    import cv2

    white = random.standard_normal(shape)
    white[1:] += 0.35 * white[:-1].copy()
    band = np.stack([cv2.GaussianBlur(s, (0, 0), 0.75) - 0.8 * cv2.GaussianBlur(s, (0, 0), 2.6) for s in white])
    return np.asarray(band / band.std())
