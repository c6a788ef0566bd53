"""A task of TotalSegmentator: its classes and the networks that it runs."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptseg.volume import Label

__all__ = ["GOLDEN_RATIO", "Model", "Task", "class_labels"]


GOLDEN_RATIO = 0.6180339887  # hues that lie this far apart (mod 1) stay distinct for any number of classes


@dataclass(frozen=True)
class Task:
    """One of TotalSegmentator's tasks, from its own registry.

    Attributes:
        name: as it calls it.
        modality: "CT" or "MR".
        needs_licence: its weights and its use need a licence number from its authors.
        classes: label value to class name.
        has_fast: a 3 mm model exists; ``fast`` means that.
        has_fastest: a 6 mm model exists.
    """

    name: str
    modality: str
    needs_licence: bool
    classes: Mapping[int, str]
    has_fast: bool
    has_fastest: bool

    @property
    def takes_subset(self) -> bool:
        """True where TotalSegmentator accepts ``roi_subset``."""
        return self.name.startswith("total")


@dataclass(frozen=True)
class Model:
    """One trained network.

    Attributes:
        dataset_id: TotalSegmentator's number.
        name: the folder of its weights.
        url: where TotalSegmentator publishes them; "" where only its licence server has them, or nobody has.
        folder: nnU-Net's folder inside: trainer, plans and configuration.
        folds: which of its folds vote; None for all that are there.
        step_size: how far the network's window moves, in window sizes.
    """

    dataset_id: int
    name: str
    url: str
    folder: str
    folds: tuple[int, ...] | None
    step_size: float


def class_labels(classes: Mapping[int, str], only: Sequence[str] = ()) -> dict[int, Label]:
    """Return a named, coloured label per class; with ``only``, of these classes."""
    return {
        value: Label(value, name, _color(value))
        for value, name in sorted(classes.items())
        if value > 0 and (not only or name in only)
    }


def _color(value: int) -> tuple[int, int, int]:
    """A colour per class: hues by the golden ratio, two brightnesses."""
    channels = colorsys.hsv_to_rgb(value * GOLDEN_RATIO % 1.0, 0.65, 0.95 if value % 2 else 0.75)
    red, green, blue = (round(255 * channel) for channel in channels)
    return (red, green, blue)
