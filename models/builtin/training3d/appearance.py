"""From labels to an image as a scanner might show them: random greys, texture, shading, blur, thick slices, noise."""

from __future__ import annotations

import torch
from torch import Tensor

from promptseg.models.builtin.training3d.fields import Chance, blurred, random_field, view_grid
from promptseg.models.families.builtin.volume_views import EVERY, HIGH_PERCENTILE, LARGEST, LOW_PERCENTILE

__all__ = ["photograph", "rephotograph", "stretched"]

TEXTURE_KNOTS = (9, 17, 33)
"""Scales of the tissues' own texture."""


def photograph(chance: Chance, labels: Tensor, label_count: int) -> Tensor:
    """An image (n, 1, d, h, w), stretched as the network sees it, of labels (n, d, h, w) below ``label_count``."""
    n = len(labels)
    at = view_grid(labels.shape[1], labels.device)[None].expand(n, -1, -1, -1, -1)
    flat = labels.flatten(1)
    image = _greys(chance, n, label_count).gather(1, flat).view(n, 1, *labels.shape[1:])
    rough = chance.uniform(n, label_count, high=0.25) * chance.under(0.5, n, label_count)
    texture = sum(_each(chance.uniform(n)) * random_field(chance, at, knots) for knots in TEXTURE_KNOTS)
    image = image + rough.gather(1, flat).view_as(image) * texture
    image = image * (1 + _each(chance.uniform(n, high=0.5)) * random_field(chance, at * 0.7, 3))
    image = blurred(image, _sharpness(chance, n))
    image = image + _noise(chance, image)
    return _developed(chance, image, gamma=2.0, inverted=0.25)


def rephotograph(chance: Chance, image: Tensor) -> Tensor:
    """The same stretched image with another gamma, perhaps inverted, and some more noise."""
    unit = ((image + 1) / 2).clamp(-0.3, 1.3)
    unit = unit + _each(chance.uniform(len(unit), high=0.05)) * chance.normal(*unit.shape)
    return _developed(chance, unit, gamma=1.65, inverted=0.4)


def stretched(image: Tensor) -> Tensor:
    """Between each image's own percentiles to -1..1 and clipped, as ``volume_views.stretch`` does for one view."""
    levels = torch.tensor([LOW_PERCENTILE / 100, HIGH_PERCENTILE / 100], device=image.device)
    low, high = torch.quantile(image.flatten(1)[:, ::EVERY], levels, dim=1)
    return ((image - _each(low)) / (_each(high - low) + 1e-4) * 2 - 1).clamp(-LARGEST, LARGEST)


def _greys(chance: Chance, n: int, label_count: int) -> Tensor:
    """A mean grey (n, label_count) for every label; in some images few tissues, so that neighbours look alike."""
    grey = chance.uniform(n, label_count)
    levels = torch.as_tensor(chance.rng.integers(2, 9, (n, 1)), device=grey.device)
    alike = (grey * levels).floor() / levels + 0.06 * chance.normal(n, label_count)
    return torch.where(chance.under(0.45, n, 1), alike, grey)


def _sharpness(chance: Chance, n: int) -> Tensor:
    """Blur (n, 3) in voxels, in half of the images more of it along one axis: thick slices."""
    sigma = chance.uniform(n, 1, low=0.2, high=1.3).expand(n, 3)
    thick = chance.uniform(n, 1, low=0.5, high=2.8) * chance.under(0.5, n, 1)
    axis = torch.as_tensor(chance.rng.integers(0, 3, n), device=sigma.device)
    across = torch.nn.functional.one_hot(axis, 3) > 0
    return torch.where(across, torch.maximum(sigma, thick), sigma)


def _noise(chance: Chance, image: Tensor) -> Tensor:
    """Mostly little noise, white or with a grain; in some images it grows with the grey (speckle)."""
    n = len(image)
    grain = blurred(chance.normal(*image.shape), chance.uniform(n, 1, low=0.05, high=1.2).expand(n, 3))
    grain = grain / _each(grain.flatten(1).std(1))
    speckle = _each(chance.under(0.2, n))
    amount = _each(0.24 * chance.uniform(n) ** 2.5)
    return amount * grain * torch.where(speckle, 1.5 * image.abs(), torch.ones_like(image))


def _developed(chance: Chance, image: Tensor, gamma: float, inverted: float) -> Tensor:
    """Stretched, with a random gamma up to the one given either way; a share is inverted."""
    unit = ((stretched(image) + 1) / 2).clamp(-0.3, 1.3)
    power = _each(chance.spread(len(unit), low=1 / gamma, high=gamma))
    unit = torch.where(unit > 0, unit.clamp_min(1e-4) ** power, unit)
    return stretched(torch.where(_each(chance.under(inverted, len(unit))), 1 - unit, unit))


def _each(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1, 1)
