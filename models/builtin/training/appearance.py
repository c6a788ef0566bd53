"""From a painted canvas to a picture as machines make them: blur, resolution, bias, noise, field of view, tone."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.canvas import Canvas

__all__ = ["photograph_canvas"]

FloatArray = NDArray[np.float32]


def photograph_canvas(canvas: Canvas, family: str) -> FloatArray:
    """Degrade ``canvas.image`` as an imaging machine would.

    Returns:
        float32 (depth, size, size) in [0, 1].
    """
    image = canvas.image.astype(np.float32)
    if not (canvas.easy and canvas.chance(0.75)):
        image = _hidden_structure(canvas, image)
    image = _blur(canvas, image)
    if canvas.chance(0.5):
        image = image * np.exp(
            canvas.uniform(0, 0.2 if canvas.easy else 0.4) * canvas.noise(int(canvas.rng.integers(2, 4)))
        )
    image = _noise(canvas, image, family)
    image = _field_of_view(canvas, image, family)
    return _tone(canvas, image)


def _hidden_structure(canvas: Canvas, image: FloatArray) -> FloatArray:
    """Structure that is nobody's target: patches, fine texture everywhere, crossing bars."""
    if canvas.chance(0.35):
        patches = np.digitize(canvas.noise(int(canvas.rng.choice([5, 9, 16]))), [-0.8, 0.0, 0.8])
        steps = canvas.rng.uniform(-0.5, 0.5, 4) * canvas.uniform(0, 0.25)
        image = image + steps.astype(np.float32)[patches]
    if canvas.chance(0.35):
        image = image + canvas.uniform(0, 0.06) * canvas.textures[0]
    if canvas.chance(0.06):
        angle = canvas.uniform(0, math.pi)
        wave = np.sin(canvas.uniform(8, 60) * (math.cos(angle) * canvas.y + math.sin(angle) * canvas.x))
        image = np.asarray(image + canvas.uniform(0, 0.1) * wave, np.float32)
    return image.astype(np.float32)


def _blur(canvas: Canvas, image: FloatArray) -> FloatArray:
    """Point spread and a coarser grid."""
    sigma = canvas.log_uniform(0.3, 1.3 if canvas.easy else 2.2)
    planes = []
    coarse = canvas.uniform(0.3, 1.0) if canvas.chance(0.45) else 1.0
    up = int(canvas.rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST], p=[0.5, 0.35, 0.15]))
    squash = canvas.uniform(0.5, 1.0) if canvas.chance(0.2) else 1.0
    for plane in image:
        blurred = cv2.GaussianBlur(plane, (0, 0), sigma)
        if coarse < 1:
            shape = (max(24, round(canvas.size * coarse * squash)), max(24, round(canvas.size * coarse)))
            small = cv2.resize(blurred, shape, interpolation=cv2.INTER_AREA)
            grain = 0.08 * canvas.uniform(0, 1) ** 2 * canvas.rng.standard_normal(small.shape).astype(np.float32)
            blurred = cv2.resize(small + grain, (canvas.size, canvas.size), interpolation=up)
        planes.append(blurred)
    return np.stack(planes)


def _noise(canvas: Canvas, image: FloatArray, family: str) -> FloatArray:
    """Gaussian, Rician, Poisson-like, correlated, or speckle."""
    low, high = np.percentile(image[:, ::4, ::4], (2, 98))
    strength = canvas.uniform(0, 1) ** 3 * (0.07 if canvas.easy else 0.2) * float(high - low)
    white = canvas.rng.standard_normal(image.shape, dtype=np.float32)
    kind = canvas.rng.choice(["gauss", "rice", "poisson", "grain", "speckle"], p=[0.3, 0.2, 0.15, 0.25, 0.1])
    if family == "ultrasound" and canvas.chance(0.85):
        kind = "speckle"
    if kind == "gauss":
        return image + strength * white
    if kind == "rice":
        other = canvas.rng.standard_normal(image.shape, dtype=np.float32)
        return np.asarray(np.hypot(image + strength * white, strength * other), np.float32)
    if kind == "poisson":
        return (image + strength * np.sqrt(np.maximum(image, 0.01)) * white).astype(np.float32)
    widths = (canvas.log_uniform(0.6, 3.0), canvas.log_uniform(0.6, 3.0))
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), widths[0], sigmaY=widths[1]) for plane in white])
    smooth /= smooth.std() + 1e-6
    if kind == "grain":
        return (image + strength * smooth).astype(np.float32)
    ripple = np.exp(canvas.uniform(0.05, 0.2 if canvas.easy else 0.38) * smooth)
    return (np.maximum(image, 0.0) * ripple + 0.3 * strength * smooth).astype(np.float32)


def _field_of_view(canvas: Canvas, image: FloatArray, family: str) -> FloatArray:
    """A fan, a disc or padding with a constant outside; shadows and depth loss in ultrasound."""
    size = canvas.size
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    y, x = axis[:, None], axis[None]
    outside = 0.0 if canvas.chance(0.8) else canvas.uniform(0, 1)
    seen = np.ones((size, size), bool)
    if family == "ultrasound":
        top = canvas.uniform(-2.2, -1.0)
        angle = np.arctan2(x - canvas.uniform(-0.2, 0.2), y - top)
        if canvas.chance(0.5):
            beams = canvas.noise(int(canvas.rng.integers(6, 40)))[0].mean(0)
            index = np.clip(((angle / 1.2 + 1) / 2 * size).astype(int), 0, size - 1)
            image = image * np.clip(1 + canvas.uniform(0.1, 0.6) * beams[index], 0.1, 2)
        if canvas.chance(0.5):
            image = image * np.exp(-canvas.uniform(-0.3, 0.9) * (y + 1) / 2)
        if canvas.chance(0.6):
            reach = np.hypot(x, y - top)
            fan = (np.abs(angle) < canvas.uniform(0.5, 0.9)) & (reach < -top + canvas.uniform(0.6, 1.1))
            seen = fan & (reach > canvas.uniform(0.0, 0.5))
    elif canvas.chance(0.12):
        seen = np.hypot(y - canvas.uniform(-0.1, 0.1), x - canvas.uniform(-0.1, 0.1)) < canvas.uniform(0.8, 1.2)
    elif canvas.chance(0.08):
        edge = canvas.uniform(0.6, 1.0)
        seen = np.broadcast_to(np.abs(x) < edge, (size, size))
    if seen.all():
        return image
    for candidate in canvas.candidates:
        candidate.mask &= seen
    return np.where(seen, image, outside).astype(np.float32)


def _tone(canvas: Canvas, image: FloatArray) -> FloatArray:
    """Window, gamma, inversion, coarse grey levels, JPEG."""
    low, high = np.percentile(image[:, ::4, ::4], (canvas.uniform(0, 3), canvas.uniform(97, 100)))
    image = np.clip((image - low) / max(high - low, 1e-3), 0, 1)
    image = image ** math.exp(canvas.uniform(-0.6, 0.6))
    if canvas.chance(0.25):
        image = 1 - image
    if canvas.chance(0.15):
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(canvas.rng.integers(50 if canvas.easy else 15, 90))]
        planes = []
        for plane in image:
            coded = cv2.imencode(".jpg", (plane * 255).astype(np.uint8), quality)[1]
            planes.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32) / 255)
        image = np.stack(planes)
    return image.astype(np.float32)
