"""A recipe of the 3D network: as the 2D network's, stages counted in steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptseg.models.builtin.training.recipe import read_table
from promptseg.models.builtin.training3d.network import FULL_WIDTHS
from promptseg.models.builtin.training3d.people import People
from promptseg.models.builtin.training3d.placing import Placing
from promptseg.models.builtin.training3d.scenes import Painting

__all__ = ["RECIPES", "Recipe", "Stage", "read_recipe"]

RECIPES = {path.stem: path for path in sorted(Path(__file__).with_name("recipes").glob("*.toml"))}
"""The recipes by name."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        name: for the log.
        steps: optimiser steps.
        rates: learning rate at its first and its last step, changed linearly.
        sides: edge of the views in voxels -> share of the steps.
        painting: what is painted.
        people: how it is prompted.
    """

    name: str
    steps: int
    rates: tuple[float, float]
    sides: dict[int, float]
    painting: Painting = field(default_factory=Painting)
    people: People = field(default_factory=People)


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Attributes:
        start: "nothing", or "shipped" to go on from the shipped file's weights.
        seed: of all randomness.
        group: samples at a side of 64 that are painted and prompted together.
        groups: of each side, open at a time.
        per_step: groups in one step.
        uses: how often a painted scene is prompted from anew, turned and in other greys from the second time on.
        decay: of the running mean of the weights, which is what is exported.
        block: steps between checkpoints; a run resumes at the last one and goes on as if it had not stopped.
        stages: in order.
        widths: the network's.
    """

    start: str
    seed: int
    group: int
    groups: int
    per_step: int
    uses: int
    decay: float
    block: int
    stages: tuple[Stage, ...]
    widths: tuple[int, ...] = FULL_WIDTHS

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; see ``training.recipe.read_table`` for the errors."""
    example = next(iter(RECIPES.values())).name
    return read_table(path, example, lambda table, stages: Recipe(stages=tuple(map(_stage, stages)), **table))


def _stage(entry: dict[str, Any]) -> Stage:
    painting = dict(entry.get("painting", {}))
    placing = Placing(**painting.pop("placing", {}))
    return Stage(
        entry["name"],
        int(entry["steps"]),
        (float(entry["rates"][0]), float(entry["rates"][1])),
        {int(side): float(share) for side, share in entry["sides"].items()},
        Painting(placing=placing, **painting),
        People(**entry.get("people", {})),
    )
