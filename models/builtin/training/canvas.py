"""A canvas on which synthetic scenes are painted: coherent noise, level sets, regions and candidate targets.

Every array has a leading depth axis of 1, or of several where the cuts are neighbouring slices of one synthetic 3D
world: from cut to cut shapes and textures are the same up to a small random change, and things end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Candidate", "Canvas"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@dataclass(eq=False)
class Candidate:
    """A thing that a person might mean.

    Attributes:
        mask: bool (depth, size, size).
        weight: how often it is chosen, relative to the scene's other candidates.
        parts: True when it may be broken into connected components before it is used as a target.
        whole: True when later paint inside it does not cut it (an organ with a lesion painted in it).
    """

    mask: BoolArray
    weight: float
    parts: bool = True
    whole: bool = False


class Canvas:
    """Random state, coordinates, image and candidates of one scene.

    Attributes:
        rng: the only source of randomness.
        size: edge in pixels.
        depth: cuts of the world.
        easy: a clear picture: contrasts strong, textures and noise mild. People mostly prompt what they can see.
        drift: how much one cut differs from the next (0.06 thin slices .. 0.6 thick ones).
        image: float32 (depth, size, size).
        candidates: what may become the target.
    """

    def __init__(self, rng: np.random.Generator, size: int, depth: int, *, easy: bool = False) -> None:
        self.rng, self.size, self.depth, self.easy = rng, size, depth, easy
        self.drift = float(rng.choice([0.06, 0.15, 0.3, 0.45, 0.6])) if depth > 1 else 0.0
        self.image = np.zeros((depth, size, size), np.float32)
        self.candidates: list[Candidate] = []
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        y, x = np.meshgrid(axis, axis, indexing="ij")
        warp = rng.uniform(0, 0.12)
        self.y = y[None] + warp * self.noise(int(rng.integers(3, 7)))
        self.x = x[None] + warp * self.noise(int(rng.integers(3, 7)))
        self.textures = [self._texture() for _ in range(3)]

    def uniform(self, low: float, high: float) -> float:
        """One float."""
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        """One float, uniform in its logarithm."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def contrast(self, low: float, high: float) -> float:
        """A difference of intensity, uniform in its logarithm; never faint in a clear picture."""
        return self.log_uniform(max(low, min(0.15, 0.6 * high)), high) if self.easy else self.log_uniform(low, high)

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def noise(self, cells: int, shape: tuple[int, int] | None = None) -> FloatArray:
        """Smooth unit noise (depth, h, w), the whole canvas by default, with ``cells`` bumps along an edge."""
        height, width = shape or (self.size, self.size)
        cells = min(max(2, cells), self.size)
        planes = [self.rng.standard_normal((cells, cells)).astype(np.float32)]
        angle = self.drift * min(1.5, 0.5 + cells / 12)
        for _ in range(self.depth - 1):
            other = self.rng.standard_normal((cells, cells)).astype(np.float32)
            planes.append(math.cos(angle) * planes[-1] + math.sin(angle) * other)
        resize = cv2.INTER_CUBIC if cells < self.size else cv2.INTER_NEAREST
        return np.stack([cv2.resize(plane, (width, height), interpolation=resize) for plane in planes])

    def fractal(
        self, cells: int, octaves: int = 3, fall: float = 0.5, shape: tuple[int, int] | None = None
    ) -> FloatArray:
        """Noise over several scales, unit variance or so."""
        total = self.noise(cells, shape)
        for octave in range(1, octaves):
            total = total + fall**octave * self.noise(cells * 2**octave, shape)
        return total / math.sqrt(sum(fall ** (2 * k) for k in range(octaves)))

    def _texture(self) -> FloatArray:
        """One of several kinds of texture, about unit variance."""
        kind = int(self.rng.choice(5, p=[0.34, 0.26, 0.15, 0.21, 0.04]))
        if kind == 0:
            return self.fractal(int(self.rng.integers(4, 16)), 4, 0.7)
        if kind == 1:
            return self.noise(int(self.rng.integers(24, 90)))
        if kind == 2:
            return np.asarray(1.0 - np.abs(self.noise(int(self.rng.integers(8, 40)))), np.float32)
        if kind == 3:
            spots = self.noise(int(self.rng.integers(16, 70)))
            return np.asarray(np.maximum(spots - 0.7, 0) * 2, np.float32)
        angle, pitch = self.uniform(0, math.pi), self.log_uniform(4, 40)
        stripes = np.sin(pitch * (math.cos(angle) * self.y + math.sin(angle) * self.x) * 3 + 1.5 * self.noise(6))
        return stripes.astype(np.float32)

    def shade(self, mean: float, rough: float) -> FloatArray:
        """Intensities of one region: mean, texture of strength ``rough`` and often a gradient."""
        rough = rough * (0.35 if self.easy else 1.0)
        out = mean + rough * self.textures[int(self.rng.integers(0, len(self.textures)))]
        if self.chance(0.3):
            angle, slope = self.uniform(0, 2 * math.pi), self.uniform(0, 0.1 if self.easy else 0.25)
            out = out + slope * (math.cos(angle) * self.y + math.sin(angle) * self.x)
        return out.astype(np.float32)

    def paint(
        self,
        level: FloatArray,
        value: FloatArray | float,
        *,
        soft: float = 1.0,
        weight: float = 1.0,
        add: bool = False,
        parts: bool = True,
        whole: bool = True,
        child: bool = False,
    ) -> BoolArray:
        """Paint a region and make it a candidate.

        Args:
            level: (depth, size, size), pixels inside the border, negative outside.
            value: intensity, or what to add where ``add``.
            soft: width of the edge in pixels.
            weight: of the candidate; 0 makes none.
            add: superpose (X-ray) instead of covering; superposed things do not cut each other.
            parts: the candidate may be broken into connected components.
            whole: the candidate keeps what is later painted as its child.
            child: painted inside earlier candidates, which stay whole.

        Returns:
            bool (depth, size, size), the region.
        """
        mask: BoolArray = level > 0
        near = np.any(level > -max(soft, 0.3), axis=0)
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if len(rows) == 0:
            return mask
        part = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        alpha = np.clip(level[part] / max(soft, 0.3) + 0.5, 0, 1)
        local = value[part] if isinstance(value, np.ndarray) else value
        if add:
            self.image[part] += alpha * local
        else:
            self.image[part] += alpha * (local - self.image[part])
            for candidate in self.candidates:
                if not (child and candidate.whole):
                    candidate.mask[part] &= ~mask[part]
        if weight > 0:
            self.candidates.append(Candidate(mask.copy(), weight, parts, whole))
        return mask
