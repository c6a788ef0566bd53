"""A training recipe: stages counted in steps, read from a TOML file, so that the same recipe gives the same run."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from promptseg.errors import SettingsError
from promptseg.models.builtin.training.samples import World

__all__ = ["RECIPES", "Recipe", "Stage", "rate_at", "read_recipe", "read_table", "stage_at"]

RECIPES = {path.stem: path for path in sorted(Path(__file__).with_name("recipes").glob("*.toml"))}
"""The shipped recipes by name: one for each member from nothing, and "tune", which goes on from the shipped file."""


class _Stretch(Protocol):
    """What stages of all kinds have."""

    @property
    def steps(self) -> int: ...

    @property
    def rates(self) -> tuple[float, float]: ...


class _InBlocks(Protocol):
    """What recipes of all kinds have."""

    @property
    def block(self) -> int: ...

    @property
    def stages(self) -> Sequence[_Stretch]: ...


S = TypeVar("S", bound=_Stretch)
R = TypeVar("R", bound=_InBlocks)


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        name: for the log.
        steps: optimiser steps.
        rates: learning rate at its first and its last step, changed linearly.
        sizes: working size in pixels -> share of the steps.
        world: what is painted.
        real: share of samples that are real images, see ``Recipe.images``.
    """

    name: str
    steps: int
    rates: tuple[float, float]
    sizes: dict[int, float]
    world: World = field(default_factory=World)
    real: float = 0.0


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
        images: folder of real images (see ``real``), from the working directory; it does not ship. None without.
        start: a file written by ``export`` whose member this goes on from, or "shipped"; None: random weights.
    """

    member: str
    seed: int
    processes: int
    batch: int
    decay: float
    block: int
    stages: tuple[Stage, ...]
    images: str | None = None
    start: str | None = None

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage of a step and how far it is through it, 0..1."""
        return stage_at(self.stages, step)


def stage_at(stages: Sequence[S], step: int) -> tuple[S, float]:
    """The stage of a step and how far it is through it, 0..1."""
    for stage in stages:
        if step < stage.steps:
            return stage, step / stage.steps
        step -= stage.steps
    return stages[-1], 1.0


def rate_at(stages: Sequence[S], step: int, warm_up: int) -> float:
    """Learning rate of a step: along each stage's straight line, and rising from nothing over the first ``warm_up``."""
    stage, done = stage_at(stages, step)
    rate = stage.rates[0] + done * (stage.rates[1] - stage.rates[0])
    return rate * min(1.0, (step + 1) / warm_up)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        SettingsError: as ``read_table``; or a stage asks for real images and the recipe names no folder.
    """
    example = next(iter(RECIPES.values())).name
    recipe = read_table(path, example, lambda table, stages: Recipe(stages=tuple(map(_stage, stages)), **table))
    if recipe.images is None and any(stage.real > 0 for stage in recipe.stages):
        raise SettingsError(f'expected images = "FOLDER" in {path}: a stage asks for real images')
    return recipe


def read_table(path: Path, example: str, make: Callable[[dict[str, Any], list[dict[str, Any]]], R]) -> R:
    """Read a recipe of any kind: ``make`` gets its values and its stages.

    Raises:
        SettingsError: the file is missing, no TOML, or lacks or has surplus keys; or a stage ends within a block.
    """
    try:
        table = tomllib.loads(path.read_text())
        stages = [dict(entry) for entry in table.pop("stage")]
        recipe = make(table, stages)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as exc:
        raise SettingsError(f"expected a training recipe at {path}: {exc!r}; see {example} for one") from exc
    ends = list(itertools.accumulate(stage.steps for stage in recipe.stages))
    if any(end % recipe.block for end in ends):
        raise SettingsError(f"expected stages of whole blocks of {recipe.block} steps in {path}, they end at {ends}")
    return recipe


def _stage(entry: dict[str, Any]) -> Stage:
    rates = (float(entry["rates"][0]), float(entry["rates"][1]))
    sizes = {int(size): float(share) for size, share in entry["sizes"].items()}
    world = World(**entry.get("world", {}))
    return Stage(entry["name"], int(entry["steps"]), rates, sizes, world, float(entry.get("real", 0.0)))
