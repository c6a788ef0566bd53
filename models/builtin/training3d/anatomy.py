"""Label maps of real anatomy: shapes only, seen through warped random views (Billot et al., SynthSeg, 2023).

They are the user's own file: a .npz whose arrays ``a0``, ``a1``, ... are uint8 label maps (z, y, x) with voxels about
as long as broad, 0 for nothing. Other arrays in it are not read. Each connected part of a label can be what is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import torch
from torch import Tensor

from promptseg.errors import ModelError
from promptseg.models.builtin.training3d.fields import Chance, random_field, rotations, view_grid
from promptseg.models.builtin.training3d.placing import Placing, place_views

__all__ = ["LabelMaps", "read_label_maps"]

SMALLEST_PART, LARGEST_COUNTED = 300, 30_000
"""Voxels of a part that can be meant, and from which on larger ones are not chosen more often."""

LIKING = 0.35
"""Parts are chosen in proportion to this power of their size."""

GREYS = 50
"""So many different tissues a view shows at most; the last one is the object's."""

COARSE = 40
"""Edge of the grid on which views are placed."""

TURN, UPRIGHT = 0.25, 0.5
"""How far views are turned, and the share of them that are not."""

WARPS = ((4, 0.16), (9, 0.04))
"""Knots and largest amount of the views' displacements, in halves of the view."""


@dataclass(frozen=True)
class _Part:
    """One connected part: the map's number, its own number there, its half-open box (z0, z1), (y0, y1), (x0, x1)."""

    number: int
    part: int
    box: tuple[tuple[int, int], ...]


class LabelMaps:
    """Label maps on the device, with their connected parts.

    Attributes:
        greys: labels of a view are below it.
    """

    greys = GREYS

    def __init__(self, maps: list[np.ndarray], device: str = "cpu") -> None:
        self._maps: list[Tensor] = []
        self._numbered: list[Tensor] = []
        self._parts: list[_Part] = []
        weights: list[float] = []
        for number, array in enumerate(maps):
            numbered = cc3d.connected_components(array, connectivity=26)
            known = cc3d.statistics(numbered)
            for part, voxels in enumerate(known["voxel_counts"]):
                if part and voxels >= SMALLEST_PART:
                    sides = tuple((side.start, side.stop) for side in known["bounding_boxes"][part])
                    self._parts.append(_Part(number, part, sides))
                    weights.append(float(min(voxels, LARGEST_COUNTED)) ** LIKING)
            self._maps.append(torch.from_numpy(array).to(device))
            self._numbered.append(torch.from_numpy(numbered.astype(np.int32)).to(device))
        if not self._parts:
            raise ModelError(f"expected label maps with parts of at least {SMALLEST_PART} voxels, found none")
        self._weights = np.array(weights) / np.sum(weights)

    def look(self, chance: Chance, count: int, side: int, placing: Placing) -> tuple[Tensor, Tensor]:
        """Look at ``count`` parts, all along one axis.

        Returns:
            labels int64 (count, side, side, side), below ``greys``, and the objects, bool of the same shape.
        """
        axis = int(chance.rng.integers(3))
        parts = [self._parts[k] for k in chance.rng.choice(len(self._parts), count, p=self._weights)]
        box = torch.tensor(
            [np.roll(p.box, -axis, 0).tolist() for p in parts], dtype=torch.float32, device=chance.device
        )
        middle, scale = box.mean(2), (box[..., 1] - box[..., 0]) / 2
        whole = middle[:, None, None, None] + view_grid(COARSE, chance.device) * scale[:, None, None, None]
        coarse = torch.stack(
            [self._read(self._numbered, p, at, axis) == p.part for p, at in zip(parts, whole, strict=True)]
        )
        centre, half = place_views(chance, coarse, scale, placing)
        local = self._warped(chance, count, side) * half.clamp_min(2.0)[:, None, None, None]
        views = (middle + centre)[:, None, None, None] + local
        labels, targets = [], []
        for part, at in zip(parts, views, strict=True):
            target = self._read(self._numbered, part, at, axis) == part.part
            greys = torch.as_tensor(chance.rng.integers(0, GREYS - 1, 256), device=chance.device)
            labels.append(torch.where(target, GREYS - 1, greys[self._read(self._maps, part, at, axis).long()]))
            targets.append(target)
        return torch.stack(labels), torch.stack(targets)

    @staticmethod
    def _read(maps: list[Tensor], part: _Part, at: Tensor, axis: int) -> Tensor:
        """Values of a part's map at coordinates (..., 3) in voxels, its axes turned so that ``axis`` comes first."""
        turned = maps[part.number].permute(*np.roll(range(3), -axis).tolist())
        index = at.floor().long()
        limit = torch.tensor(turned.shape, device=at.device)
        inside = ((index >= 0) & (index < limit)).all(-1)
        index = torch.minimum(index.clamp_min(0), limit - 1)
        return turned[index[..., 0], index[..., 1], index[..., 2]] * inside

    @staticmethod
    def _warped(chance: Chance, count: int, side: int) -> Tensor:
        """A view's coordinates (count, side, side, side, 3), bent and turned."""
        grid = view_grid(side, chance.device)[None].expand(count, -1, -1, -1, -1)
        for knots, most in WARPS:
            amount = chance.uniform(count, 1, 1, 1, 1, high=most)
            grid = grid + amount * random_field(chance, grid * 0.6, knots, 3).permute(0, 2, 3, 4, 1)
        turn = rotations(chance, count, TURN)
        upright = chance.under(UPRIGHT, count).view(-1, 1, 1)
        turn = torch.where(upright, torch.eye(3, device=turn.device), turn)
        return (grid.flatten(1, 3) @ turn).view_as(grid)


def read_label_maps(path: Path, device: str = "cpu") -> LabelMaps:
    """Read a user's file of label maps.

    Raises:
        ModelError: the file cannot be read, or holds no label maps.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            maps = [archive[name] for name in archive.files if re.fullmatch(r"a\d+", name)]
    except (OSError, ValueError) as exc:
        raise ModelError(f"expected a .npz with label maps a0, a1, ... at {path}: {exc}") from exc
    if not maps or any(array.ndim != 3 or array.dtype != np.uint8 for array in maps):
        found = ", ".join(f"{array.dtype} {array.shape}" for array in maps) or "none"
        raise ModelError(f"expected uint8 label maps (z, y, x) named a0, a1, ... in {path}, found {found}")
    return LabelMaps(maps, device)
