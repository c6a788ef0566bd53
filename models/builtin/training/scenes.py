"""Families of synthetic scenes: what medical pictures are built from, none of them real."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from promptseg.models.builtin.training.canvas import Canvas
from promptseg.models.builtin.training.scene_cuts import body, brain, chest, heart, tissues
from promptseg.models.builtin.training.scene_projections import teeth, vessels, xray
from promptseg.models.builtin.training.scene_surfaces import cells, photograph, smear, ultrasound

__all__ = ["FAMILIES", "choose_family", "paint_scene"]

FAMILIES: dict[str, tuple[Callable[[Canvas], None], float]] = {
    "body": (body, 1.6),
    "tissues": (tissues, 1.6),
    "heart": (heart, 1.0),
    "cells": (cells, 0.8),
    "vessels": (vessels, 3.2),
    "xray": (xray, 1.2),
    "ultrasound": (ultrasound, 1.2),
    "photograph": (photograph, 0.7),
    "brain": (brain, 1.0),
    "teeth": (teeth, 0.5),
    "chest": (chest, 0.8),
    "smear": (smear, 0.5),
}
"""Every family with its share."""


def choose_family(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """A random family's name by share; ``shares`` replaces those of ``FAMILIES`` by name."""
    names = list(FAMILIES)
    weights = np.array([shares.get(name, FAMILIES[name][1]) for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def paint_scene(canvas: Canvas, family: str) -> None:
    """Paint one scene of a family."""
    FAMILIES[family][0](canvas)
