"""A small labelled image and predictors whose results are known in advance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts

SHAPE = (9, 26, 34)  # z, y, x
SPACING = (0.7, 1.1, 3.0)  # x, y, z in mm
ORIGIN = (-12.0, 30.5, 101.0)
BALL, TUBE = 3, 7  # label values


def labels_array() -> np.ndarray:
    z, y, x = np.indices(SHAPE, dtype=float)
    labels = np.zeros(SHAPE, np.uint8)
    labels[((z - 4) * 3.0) ** 2 + ((y - 12) * 1.1) ** 2 + ((x - 13) * 0.7) ** 2 <= 8.0**2] = BALL
    labels[1:8, 20:23, 27:31] = TUBE
    return labels


def write(array: np.ndarray, path: Path, flip_y: bool = False) -> Path:
    """Write (z, y, x) as NIfTI; ``flip_y`` stores the same voxels in the opposite order along y."""
    image = sitk.GetImageFromArray(array[:, ::-1] if flip_y else array)
    image.SetSpacing(SPACING)
    if flip_y:
        image.SetOrigin((ORIGIN[0], ORIGIN[1] + (SHAPE[1] - 1) * SPACING[1], ORIGIN[2]))
        image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    else:
        image.SetOrigin(ORIGIN)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


CASES = """
[[image]]
name = "phantom"
image = "image.nii.gz"
label = "label.nii.gz"
modality = "MR"
dimensions = [2, 3]
targets = [
    { name = "ball", value = 3, kind = "organ" },
    { name = "tube", value = 7, kind = "thin vessel" },
]
"""


@dataclass(frozen=True)
class Shown:
    """One call that a predictor received."""

    prompts: SlicePrompts
    prior: Prior | None


class KnownPredictor:
    """Answers every question with the same kind of mask: ``"truth"`` (by brightness), ``"nothing"``, ``"half"``."""

    def __init__(self, kind: str, low: float = 0.3, score: float = 1.0) -> None:
        self.kind, self.low, self.score = kind, low, score
        self.shown: list[Shown] = []

    @property
    def model_id(self) -> str:
        return self.kind

    def embed(self, image: SliceImage) -> Embedding:
        return Embedding(self.model_id, image.shape, image.spacing_mm, {"pixels": image.pixels})

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        self.shown.append(Shown(prompts, prior))
        mask = embedding.features["pixels"] > self.low
        if self.kind == "nothing":
            mask = np.zeros_like(mask)
        if self.kind == "half":
            mask = mask.copy()
            mask[:, : mask.shape[1] // 2] = False
        return Prediction(np.where(mask, 5, -5).astype(np.float32), self.score)
