"""Real images beside painted ones: openly licensed, de-identified pictures with labels, warped anew for every sample.

A folder of sets, none of which ships:

- ``SET/NAME_image.png``: grey or colour, 8 bits; ``SET/NAME_mask.png``: label numbers, 0 is background (one number per
  structure, or one per instance);
- ``LICENCES.csv`` with the columns of ``LICENCE_COLUMNS``: a set without a row, or of a licence that is not in
  ``OPEN_LICENCES`` or not sure, is refused, so that weights trained on a folder can be given to everyone.

Sets are drawn by the square root of their size, so that hundreds of nuclei do not drown ten carcinomas.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import SettingsError
from promptseg.models.builtin.training.samples import LARGEST_SHARE, SMALLEST_PX, Sample, visibility
from promptseg.models.families.builtin.thin import is_thin

__all__ = ["LICENCE_COLUMNS", "OPEN_LICENCES", "RealImages", "choose_target", "is_tree", "read_licences"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]

OPEN_LICENCES = ("CC0", "CC BY 3.0", "CC BY 4.0", "MIT", "Apache-2.0")
"""Licences under which weights may be given to everyone, trained on a set and its owner named."""

LICENCE_COLUMNS = ("set", "items", "modality", "structure", "dataset", "licence", "certainty", "repository")
"""What the folder's licence table must say of every set."""

MOST_OF_A_SET = 60
"""A set of more images is drawn no more often than one of so many."""

CANVAS_PX, TREE_CANVAS_PX = 256, 384
"""Edge of a sample; trees of thin things get more, as they are looked at tile by tile."""

ONE_PIECE, ONE_BRANCH, UNION, FIELD = 0.85, 0.2, 0.15, 0.12
"""How often one connected piece of a label is meant, one piece of a thin tree, several labels, all instances."""

MANY = 12
"""Images of more labels than this show instances of one thing."""

TREE_SHARE = 0.2
"""A label whose largest piece is thin and holds this share of it is a tree (vessels, a ridge, a membrane)."""

TRIES = 20
"""Draws before a sample is given up."""

ZOOM, TREE_ZOOM = (-0.25, 0.6), (-0.1, 0.7)
"""Range of the logarithm of the zoom; 0 fits the longer side onto the canvas."""

LARGEST_TURN_DEG = 25.0
"""... beside quarter turns and mirroring."""

GAMMA, INVERTED, BLURRED, NOISY = 0.6, 0.2, 0.4, 0.5
"""Largest logarithm of gamma, and shares of inverted, blurred and noisy pictures."""


@dataclass(frozen=True, eq=False)
class _Pair:
    image: Path
    mask: Path


class RealImages:
    """The sets of a folder, and samples from them.

    Attributes:
        sets: name -> number of images.
    """

    def __init__(self, folder: Path) -> None:
        """Find the images of a folder.

        Raises:
            SettingsError: no image is there, a mask is missing, or a set's licence does not allow it.
        """
        licences = read_licences(folder)
        self._pairs: dict[str, list[_Pair]] = {}
        for images in sorted(folder.glob("*/*_image.png")):
            pair = _Pair(images, images.with_name(images.name.removesuffix("_image.png") + "_mask.png"))
            if not pair.mask.exists():
                raise SettingsError(f"expected a mask {pair.mask} for {images.name}; there is none")
            self._pairs.setdefault(images.parent.name, []).append(pair)
        if not self._pairs:
            raise SettingsError(f"expected SET/NAME_image.png with SET/NAME_mask.png in {folder}; there are none")
        for name in self._pairs:
            _require_open(name, licences)
        self.sets = {name: len(pairs) for name, pairs in self._pairs.items()}
        shares = np.sqrt([min(MOST_OF_A_SET, count) for count in self.sets.values()])
        self._shares = shares / shares.sum()

    def sample(self, rng: np.random.Generator) -> Sample | None:
        """One sample of a random set; None when chance offered nothing of a fitting size."""
        for _ in range(TRIES):
            pairs = self._pairs[list(self.sets)[int(rng.choice(len(self._shares), p=self._shares))]]
            image, labels = _read(pairs[int(rng.integers(len(pairs)))])
            chosen = choose_target(labels, rng)
            if chosen is None:
                continue
            target, family = chosen
            picture, there = _warped(image, target, rng, tree=family == "vessels")
            if there.sum() >= SMALLEST_PX and there.mean() <= LARGEST_SHARE:
                seen = _photographed(picture, rng)
                return Sample(seen[None], there[None], family, visibility(seen, there))
        return None


def read_licences(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's ``LICENCES.csv``.

    Raises:
        SettingsError: it is missing or lacks a column.
    """
    path = folder / "LICENCES.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as exc:
        raise SettingsError(f"expected a table of licences at {path} beside the sets of images: {exc}") from exc
    missing = [column for column in LICENCE_COLUMNS if not rows or column not in rows[0]]
    if missing:
        raise SettingsError(f"expected the columns {', '.join(LICENCE_COLUMNS)} in {path}; missing: {missing}")
    return rows


def _require_open(name: str, rows: Sequence[dict[str, str]]) -> None:
    row = next((row for row in rows if row["set"] == name), None)
    if row is None:
        raise SettingsError(
            f"expected a row for the set {name!r} in LICENCES.csv; nobody may train on an unknown licence"
        )
    if row["licence"] not in OPEN_LICENCES or row["certainty"] != "sure":
        raise SettingsError(
            f"expected the set {name!r} to have one of {', '.join(OPEN_LICENCES)}, read for sure; "
            f"got {row['licence']!r} ({row['certainty']}): take the set out of the folder"
        )


def choose_target(labels: Labels, rng: np.random.Generator) -> tuple[BoolArray, str] | None:
    """What a person may mean in a labelled picture, and its family ("vessels", "cells", "real").

    One structure, mostly one connected piece of it; a thin tree mostly whole; now and then several structures
    together, or all of many instances.

    Args:
        labels: (h, w), 0 is background.
        rng: randomness.

    Returns:
        bool (h, w) and the family, or None without labels of a fitting size.
    """
    values = np.unique(labels)
    values = values[values > 0]
    if not len(values):
        return None
    if len(values) > MANY and rng.random() < FIELD:
        return np.asarray(labels > 0), "cells"
    target = np.asarray(labels == rng.choice(values))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(target.astype(np.uint8))
    areas, tree = stats[1:, cv2.CC_STAT_AREA].astype(np.float64), is_tree(target)
    family = "vessels" if tree else ("cells" if max(len(values), count - 1) > MANY else "real")
    if not tree and 1 < len(values) <= MANY and rng.random() < UNION:
        several = rng.choice(values, size=min(len(values), int(rng.integers(2, 4))), replace=False)
        return np.isin(labels, several), family
    if count > 2 and rng.random() < (ONE_BRANCH if tree else ONE_PIECE):
        areas[areas < SMALLEST_PX] = 0
        if areas.sum() == 0:
            return None
        target = np.asarray(pieces == 1 + int(rng.choice(len(areas), p=areas / areas.sum())))
    return target, family


def is_tree(target: BoolArray) -> bool:
    """Whether a label (h, w), not empty, is a tree of thin things, see ``TREE_SHARE``."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(target.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + int(areas.argmax())
    return bool(areas.max() >= TREE_SHARE * areas.sum()) and is_thin(np.asarray(pieces == largest))


@lru_cache(maxsize=4096)
def _read(pair: _Pair) -> tuple[NDArray[np.uint8], Labels]:
    """Grey values and labels as they lie on disk, 8 or 16 bits: decoding takes a millisecond, keeping them 80 kB."""
    image, mask = cv2.imread(str(pair.image), cv2.IMREAD_COLOR), cv2.imread(str(pair.mask), cv2.IMREAD_UNCHANGED)
    if image is None or mask is None:
        raise SettingsError(f"expected pictures at {pair.image} and {pair.mask}, one cannot be read")
    labels = mask if mask.ndim == 2 else mask[..., 0]
    if image.shape[:2] != labels.shape:
        raise SettingsError(f"expected a mask of {image.shape[:2]} pixels at {pair.mask}, got {labels.shape}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), labels


def _warped(
    image: NDArray[np.uint8], target: BoolArray, rng: np.random.Generator, *, tree: bool
) -> tuple[FloatArray, BoolArray]:
    """Image in [0, 1] and target on a square canvas: zoomed, turned, mirrored; black outside the picture."""
    edge = TREE_CANVAS_PX if tree else CANVAS_PX
    low, high = TREE_ZOOM if tree else ZOOM
    height, width = target.shape
    zoom = edge / max(height, width) * float(np.exp(rng.uniform(low, high)))
    x, y = (width - 1) / 2, (height - 1) / 2
    if zoom * max(height, width) > edge:  # not all of it is seen: somewhere around a place in the target
        inside = np.argwhere(target)
        y, x = inside[int(rng.integers(len(inside)))] + rng.normal(0, edge / (8 * zoom), 2)
    turn = rng.uniform(-LARGEST_TURN_DEG, LARGEST_TURN_DEG) + 90 * int(rng.integers(4))
    matrix = cv2.getRotationMatrix2D((float(x), float(y)), turn, zoom)
    matrix[:, 2] += (edge / 2 - x, edge / 2 - y)
    if rng.random() < 0.5:
        matrix[0] *= -1
        matrix[0, 2] += edge - 1
    area = cv2.INTER_AREA if zoom < 0.7 else cv2.INTER_LINEAR
    picture = cv2.warpAffine(image.astype(np.float32) / 255, matrix, (edge, edge), flags=area)
    there = cv2.warpAffine(target.astype(np.float32), matrix, (edge, edge), flags=cv2.INTER_LINEAR)
    return np.asarray(picture, np.float32), np.asarray(there > 0.5)


def _photographed(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The picture through another machine: gamma, inversion, blur, noise, brightness and contrast."""
    seen = np.clip(picture, 0, 1) ** float(np.exp(rng.uniform(-GAMMA, GAMMA)))
    if rng.random() < INVERTED:
        seen = 1 - seen
    if rng.random() < BLURRED:
        seen = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.3, 1.3)))
    if rng.random() < NOISY:
        seen = seen + rng.normal(0, rng.uniform(0, 0.06), seen.shape)
    return np.asarray(np.clip(seen * rng.uniform(0.6, 1.2) + rng.uniform(-0.1, 0.2), 0, 1), np.float32)
