"""Random fields and masks on the device that trains: what all painting and prompting is made of.

Batches are (n, channels, d, h, w) or (n, d, h, w); coordinates are (z, y, x), -1..1 over a view from edge to edge.
"""

from __future__ import annotations

import cc3d
import edt
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Chance",
    "blurred",
    "bounds_of",
    "connected_to",
    "depth_inside",
    "field_at",
    "random_field",
    "rotations",
    "view_grid",
]

BLUR_REACH = 4
"""A Gaussian is cut off this many voxels from its middle."""

MOST_DEPTH = 14
"""Depths inside a mask are counted up to this: deeper is simply deep."""

FLOOD_STEPS = 110
"""A flood on a GPU ends after so many steps: nearly twice through a view of 64 voxels."""


class Chance:
    """Random numbers on one device, all of them from one seed.

    Attributes:
        device: where tensors are made.
        rng: for choices that the program itself takes; they never wait for the device.
    """

    def __init__(self, seed: tuple[int, ...], device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.rng = np.random.default_rng(seed)
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) >> 1)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Evenly in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self._generator, device=self.device)

    def spread(self, *shape: int, low: float, high: float) -> Tensor:
        """Between low and high, as many in every octave."""
        return self.uniform(*shape, low=float(np.log(low)), high=float(np.log(high))).exp()

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(shape, generator=self._generator, device=self.device)

    def under(self, share: float | Tensor, *shape: int) -> Tensor:
        """bool: True for this share."""
        return self.uniform(*shape) < share

    def pick(self, weights: Tensor) -> Tensor:
        """An index (n,) for every row of weights (n, k), in their proportion; any where all are 0."""
        return torch.multinomial(weights.float() + 1e-9, 1, generator=self._generator)[:, 0]

    def toss(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)


def view_grid(side: int, device: torch.device) -> Tensor:
    """Coordinates (side, side, side, 3) of a view's voxel centres."""
    axis = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def field_at(field: Tensor, at: Tensor) -> Tensor:
    """A coarse field (n, c, k, k, k) at coordinates (n, d, h, w, 3): (n, c, d, h, w), mirrored outside -1..1."""
    return functional.grid_sample(field, at.flip(-1), padding_mode="reflection", align_corners=False)


def random_field(chance: Chance, at: Tensor, cells: int, channels: int = 1) -> Tensor:
    """Smooth noise (n, channels, d, h, w) at coordinates, of ``cells`` knots an axis."""
    return field_at(chance.normal(len(at), channels, cells, cells, cells), at)


def rotations(chance: Chance, count: int, amount: float = 1.0) -> Tensor:
    """Rotation matrices (count, 3, 3): evenly over all for 1, near none for small amounts."""
    q = chance.normal(count, 4)
    q[:, 0] += (1 - amount) * 8
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, 1).view(count, 3, 3)


def blurred(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of (n, 1, d, h, w) by sigma (n, 3) voxels an axis."""
    steps = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=image.device, dtype=image.dtype)
    for axis in range(3):
        kernel = torch.exp(-0.5 * (steps / sigma[:, axis : axis + 1].clamp_min(0.05)) ** 2)
        shape = [len(image), 1, 1, 1, 1]
        shape[2 + axis] = -1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = BLUR_REACH
        weights = (kernel / kernel.sum(1, keepdim=True)).view(shape)
        padded = functional.pad(image.transpose(0, 1), padding, mode="replicate")
        image = functional.conv3d(padded, weights, groups=len(image)).transpose(0, 1)
    return image


def connected_to(mask: Tensor, seeds: Tensor) -> Tensor:
    """The parts of masks (n, d, h, w) that hang together (26 neighbours) with seeds, bool of the same shape."""
    if mask.device.type == "cpu":
        parts = [_labelled(one, seed) for one, seed in zip(mask.numpy(), (seeds & mask).numpy(), strict=True)]
        return torch.from_numpy(np.stack(parts))
    allowed = mask[:, None].half()
    reached = (seeds & mask)[:, None].half()
    for _ in range(FLOOD_STEPS):
        reached = functional.max_pool3d(reached, 3, 1, 1) * allowed
    return reached[:, 0] > 0.5


def _labelled(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    parts = cc3d.connected_components(mask, connectivity=26)
    found: np.ndarray = np.isin(parts, np.unique(parts[seeds])) & mask
    return found


def depth_inside(mask: Tensor) -> Tensor:
    """How deep every voxel of masks (n, d, h, w) lies, 0 outside: in voxels on the CPU, in erosions on a GPU."""
    if mask.device.type == "cpu":
        depths = [edt.edt(one, black_border=True, parallel=1) for one in mask.numpy()]
        return torch.from_numpy(np.stack(depths)).clamp_max(MOST_DEPTH)
    outside = 1 - mask[:, None].half()
    depth = torch.zeros_like(outside)
    for _ in range(MOST_DEPTH):
        depth += 1 - outside
        outside = functional.max_pool3d(functional.pad(outside, (1,) * 6, value=1.0), 3, 1, 0)
    return depth[:, 0].float()


def bounds_of(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and last index (n,) of True in rows (n, k); (k, -1) where there is none."""
    index = torch.arange(occupied.shape[1], device=occupied.device)
    first = torch.where(occupied, index, occupied.shape[1]).amin(1)
    last = torch.where(occupied, index, -1).amax(1)
    return first, last
