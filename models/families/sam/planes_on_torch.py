"""Planes resampled and normalised on the GPU that the network runs on: the host sends bytes only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.families.sam.planes import ROUNDING_BITS, Planes, inputs, taps

__all__ = ["inputs_on", "made_on"]


def inputs_on(device: torch.device, batch: Sequence[Planes]) -> Tensor:
    """Planes of one ``likeness`` -> the network's input (n, 3, h, w) on the device; a CPU leaves it to Pillow."""
    return torch.from_numpy(inputs(batch)) if device.type == "cpu" else made_on(device, batch)


def made_on(device: torch.device, batch: Sequence[Planes]) -> Tensor:
    """The bits of ``planes.inputs``, made by the device from what ``Planes`` hold."""
    first = batch[0]
    levels = torch.empty((len(batch), *first.levels.shape), dtype=_dtype(first), pin_memory=device.type == "cuda")
    host = levels.numpy()
    for one, planes in zip(host, batch, strict=True):
        one[...] = planes.levels
    sent = _resampled(levels.to(device, non_blocking=True), first.inner)
    constants = torch.from_numpy(np.stack([[p.offset, p.scale] for p in batch])).to(device)  # (n, 2, 3)
    offset, scale = constants[:, 0, :, None, None], constants[:, 1, :, None, None]
    made = (sent.float() - offset) / scale
    below, right = (edge - n for edge, n in zip(first.edges, first.inner, strict=True))
    return functional.pad(made, (0, right, 0, below))


def _dtype(planes: Planes) -> torch.dtype:
    return torch.uint8 if planes.levels.dtype == np.uint8 else torch.float32


def _resampled(levels: Tensor, shape: tuple[int, int]) -> Tensor:
    """(n, c, h, w) bytes -> (n, c, *shape) bytes, as Pillow's two passes: along the rows, then along the columns."""
    for axis, wanted in ((3, shape[1]), (2, shape[0])):
        if levels.shape[axis] != wanted:
            levels = _along(levels, axis, wanted)
    return levels


def _along(levels: Tensor, axis: int, wanted: int) -> Tensor:
    places, weights = (torch.from_numpy(a).to(levels.device) for a in taps(levels.shape[axis], wanted))
    line = [-1 if d == axis else 1 for d in range(4)]
    total = torch.tensor(1 << (ROUNDING_BITS - 1), dtype=torch.int32, device=levels.device)
    for k in range(places.shape[1]):
        total = levels.index_select(axis, places[:, k]).int() * weights[:, k].view(line) + total
    return (total >> ROUNDING_BITS).clamp(0, 255).to(torch.uint8)
