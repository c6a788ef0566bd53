"""Masks put together: files of one class each into one label map, and several classes under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError, UnknownNameError, did_you_mean
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label, Labelmap

__all__ = ["OVERLAPS", "combine"]

OVERLAPS = ("refuse", "first", "last")
SMALL = 255  # labels that fit into a byte


def combine(
    parts: Iterable[tuple[str, Labelmap]], groups: Mapping[str, Sequence[str]] | None = None, overlap: str = "refuse"
) -> Labelmap:
    """Return one label map of the labels of several masks on one grid, numbered from 1 in the order given.

    Args:
        parts: masks, looked at one after the other, each with the name that its only label gets where that has none of
            its own.
        groups: name of a new label to the labels that it is made of, ``*`` and ``?`` standing for any letters; labels
            in no group are left out. None: every label as it is, those of one name together.
        overlap: whose a voxel is that two labels have: the "first" of them, the "last", or "refuse" for an error.

    Raises:
        GeometryMismatchError: the grids differ.
        PromptError: no mask, or an overlap that was to be refused.
        UnknownNameError: a group without any label.
    """
    if overlap not in OVERLAPS:
        raise PromptError(f"expected an overlap of {', '.join(OVERLAPS)}, got {overlap!r}")
    values = {} if groups is None else {title: value for value, title in enumerate(groups, start=1)}
    met: dict[str, set[str]] = {}  # label to the new ones that it went into
    array: NDArray[np.uint16] | None = None
    grid: Geometry | None = None
    for part, labelmap in parts:
        if array is None or grid is None:
            array, grid = np.zeros(labelmap.geometry.shape, np.uint16), labelmap.geometry
        grid.require_same(labelmap.geometry, "the masks")
        for name, value in _named(labelmap, part).items():
            titles = [name] if groups is None else [t for t, patterns in groups.items() if _fits(name, patterns)]
            met[name] = {*met.get(name, ()), *titles}
            for title in titles:
                _put(array, labelmap.array == value, title, values, overlap)
    if array is None or grid is None:
        raise PromptError("expected one mask or more, got none")
    for title, patterns in (groups or {}).items():
        if not any(title in titles for titles in met.values()):
            near = did_you_mean(patterns[0], met) if patterns else ""
            raise UnknownNameError(f"no label is called {' or '.join(patterns)}{near}", choices=list(met))
    small = array.astype(np.uint8) if len(values) <= SMALL else array
    return Labelmap(small, grid, {value: Label.default(value, title) for title, value in values.items()})


def _put(array: NDArray[np.uint16], mask: NDArray[np.bool_], title: str, values: dict[str, int], overlap: str) -> None:
    value = values.setdefault(title, len(values) + 1)
    taken = mask & (array != 0) & (array != value)
    if overlap == "refuse" and taken.any():
        other = {number: name for name, number in values.items()}[int(array[taken][0])]
        raise PromptError(
            f"{np.count_nonzero(taken)} voxels belong to {other!r} and to {title!r}; say whose they are with --overlap "
            "first or last"
        )
    array[mask & ~taken if overlap == "first" else mask] = value


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _named(labelmap: Labelmap, part: str) -> dict[str, int]:
    """Return every label's name and value, those without a name too; a mask's only one is called as the mask is."""
    unnamed = sorted(set(np.unique(labelmap.array).tolist()) - {0, *labelmap.labels})
    labels = [*labelmap.labels.values(), *(Label.default(value) for value in unnamed)]
    if len(labels) == 1 and labels[0].name == Label.default(labels[0].value).name:
        return {part: labels[0].value}
    return {label.name: label.value for label in labels}
