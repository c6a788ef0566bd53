"""What a whole-body run will cost, said before it begins: networks, tiles, and the memory that it needs at least."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promptseg.errors import ModelError
from promptseg.volume import Geometry, Volume
from promptseg.wholebody.engine import WholeBody
from promptseg.wholebody.task import Model
from promptseg.wholebody.weights import find_model, require_models

__all__ = ["Cost", "PassCost", "cost_of"]

SCORE_BYTES = 2  # of a class's score in a voxel: nnU-Net adds its tiles up in half precision
IMAGE_BYTES = 20  # of an image's voxel: nibabel's float64 twice and more; 1.2 GiB at 300 x 400 x 400, total --fast
PIECES, MARGIN = 3, 20  # of force_split; voxels that its pieces overlap (TotalSegmentator's nnunet.py)
GIB = 1024**3


@dataclass(frozen=True)
class PassCost:
    """One run of a network over the whole image; where a region is found first it will be less.

    Attributes:
        network: its name.
        shape: voxels that it is fed, (x, y, z).
        tiles: positions of its window, all folds together.
        bytes: of its classes' scores.
    """

    network: str
    shape: tuple[int, int, int]
    tiles: int
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What a run will cost at most in tiles, and takes in memory.

    Attributes:
        passes: in order.
        bytes: of memory at the costliest moment: scores and image.
    """

    passes: tuple[PassCost, ...]
    bytes: int

    def __str__(self) -> str:
        """Say it in one line."""
        largest = max(self.passes, key=lambda one: one.bytes)
        tiles = sum(one.tiles for one in self.passes)
        grid = " x ".join(map(str, largest.shape))
        networks = "1 network" if len(self.passes) == 1 else f"{len(self.passes)} networks"
        return f"{networks}, up to {grid} voxels, at most {tiles} tiles, about {self.bytes / GIB:.1f} GiB of memory"


def cost_of(engine: WholeBody, volume: Volume) -> Cost:
    """Work out what a volume will cost, from its size and the networks' plans. Loads no network.

    Raises:
        ModelError: the weights are missing, or the image is too short for ``force_split``.
    """
    require_models(engine.models, engine.task.name, engine.asked)
    pieces = PIECES if engine.options.force_split else 1
    passes = tuple(_cost(model, volume.geometry, pieces) for model in engine.runs)
    length = min(one.shape[2] for one in passes)
    if pieces > 1 and length < PIECES * MARGIN:
        raise ModelError(
            f"force_split needs an image of {PIECES * MARGIN} slices or more at the network's voxel size, this one has "
            f"{length}; leave it away"
        )
    return Cost(passes, max(one.bytes for one in passes) + IMAGE_BYTES * volume.array.size)


def _cost(model: Model, geometry: Geometry, pieces: int) -> PassCost:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = find_model(model)
    plans = PlansManager(str(folder / "plans.json")).get_configuration(model.folder.rpartition("__")[2])
    classes = len(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"])
    shape = _shape(geometry, plans.spacing[::-1])
    fed = (shape[0], shape[1], shape[2] // pieces + 2 * MARGIN * (pieces > 1))
    windows = zip(fed[::-1], plans.patch_size, strict=True)
    tiles = pieces * math.prod(_positions(length, window, model.step_size) for length, window in windows)
    folds = len(model.folds) if model.folds else len(list(folder.glob("fold_[0-9]")))
    return PassCost(model.name, shape, tiles * folds, SCORE_BYTES * classes * math.prod(fed))


def _shape(geometry: Geometry, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return the size (x, y, z) along the body's axes in voxels of a spacing."""
    extent = np.zeros(3)
    axes = np.abs(np.asarray(geometry.direction).reshape(3, 3))
    for axis, (count, mm) in enumerate(zip(geometry.shape[::-1], geometry.spacing, strict=True)):
        extent[int(np.argmax(axes[:, axis]))] = count * mm
    x, y, z = (max(1, round(length / mm)) for length, mm in zip(extent.tolist(), spacing, strict=True))
    return (x, y, z)


def _positions(length: int, window: int, step: float) -> int:
    """Return how many windows cover a length (nnU-Net's ``compute_steps_for_sliding_window``)."""
    return 1 if length <= window else math.ceil((length - window) / (window * step)) + 1
