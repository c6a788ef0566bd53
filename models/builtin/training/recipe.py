"""A training recipe: stages counted in steps, read from a TOML file, so that the same recipe gives the same run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptseg.errors import SettingsError
from promptseg.models.builtin.training.samples import World

__all__ = ["RECIPES", "Recipe", "Stage", "read_recipe"]

RECIPES = {path.stem: path for path in sorted(Path(__file__).with_name("recipes").glob("*.toml"))}
"""The recipes of the shipped file's members, by member."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        name: for the log.
        steps: optimiser steps.
        rates: learning rate at its first and its last step, changed linearly.
        sizes: working size in pixels -> share of the steps.
        world: what is painted.
    """

    name: str
    steps: int
    rates: tuple[float, float]
    sizes: dict[int, float]
    world: World = field(default_factory=World)


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Attributes:
        member: which network it is, a key of ``network.MEMBERS``.
        seed: of all randomness.
        processes: which share every step, each with samples of its own on one core; another number is another run.
        batch: samples of one process in one step at 128 px; smaller views take more, larger ones fewer.
        decay: of the running mean of the weights, which is what is exported.
        block: steps between checkpoints; a run resumes at the last one and goes on as if it had not stopped.
        stages: in order.
    """

    member: str
    seed: int
    processes: int
    batch: int
    decay: float
    block: int
    stages: tuple[Stage, ...]

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage of a step and how far it is through it, 0..1."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step / stage.steps
            step -= stage.steps
        return self.stages[-1], 1.0


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        SettingsError: the file is missing, no TOML, or lacks or has surplus keys.
    """
    try:
        table = tomllib.loads(path.read_text())
        stages = tuple(_stage(dict(entry)) for entry in table.pop("stage"))
        recipe = Recipe(stages=stages, **table)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as exc:
        raise SettingsError(
            f"expected a training recipe at {path}: {exc!r}; see {next(iter(RECIPES.values())).name} for one"
        ) from exc
    ends = [sum(stage.steps for stage in stages[: k + 1]) for k in range(len(stages))]
    if any(end % recipe.block for end in ends):
        raise SettingsError(f"expected stages of whole blocks of {recipe.block} steps in {path}, they end at {ends}")
    return recipe


def _stage(entry: dict[str, Any]) -> Stage:
    rates = (float(entry["rates"][0]), float(entry["rates"][1]))
    sizes = {int(size): float(share) for size, share in entry["sizes"].items()}
    return Stage(entry["name"], int(entry["steps"]), rates, sizes, World(**entry.get("world", {})))
