"""Objects on a volume's grid: one integer per voxel, with a name and a colour per integer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, PromptError, UnknownNameError, did_you_mean
from promptseg.volume.exchange import as_nibabel, as_sitk, as_torch
from promptseg.volume.geometry import Geometry

__all__ = ["DEFAULT_COLORS", "Label", "Labelmap", "colour", "find_label"]

# Okabe & Ito, "Color Universal Design" (2008): distinguishable with every common colour vision deficiency.
DEFAULT_COLORS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


@dataclass(frozen=True)
class Label:
    """One object: ``value`` in the array (1 ... 65535), its ``name``, and its sRGB ``color`` (0 ... 255 each)."""

    value: int
    name: str
    color: tuple[int, int, int]

    @staticmethod
    def default(value: int, name: str | None = None) -> Label:
        """Return a label with the palette's colour for ``value``."""
        return Label(value, name or f"label {value}", DEFAULT_COLORS[(value - 1) % len(DEFAULT_COLORS)])


def find_label(labels: Mapping[int, Label], key: int | str) -> Label:
    """Return the label of this name or value; a value may be written out, as on a command line.

    Raises:
        UnknownNameError: there is none; ``choices`` has all names, the message the near ones too.
    """
    named = next((label for label in labels.values() if label.name == key), None)
    value = int(key) if isinstance(key, int) or key.isdigit() else 0
    found = named or labels.get(value)
    if found is not None:
        return found
    names = [label.name for label in labels.values()]
    raise UnknownNameError(
        f"no label {key!r}; known: {', '.join(names) or 'none'}{did_you_mean(str(key), names)}", choices=tuple(names)
    )


def colour(given: Sequence[int]) -> tuple[int, int, int]:
    """Return an sRGB colour.

    Raises:
        PromptError: not three of 0 ... 255.
    """
    try:
        red, green, blue = (int(part) for part in given)
    except (TypeError, ValueError):
        raise PromptError(f"expected a colour as three integers from 0 to 255, got {given!r}") from None
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise PromptError(f"expected a colour as three integers from 0 to 255, got {given!r}")
    return (red, green, blue)


@dataclass(frozen=True, eq=False, repr=False)
class Labelmap:
    """Labels on a grid. 0 is background.

    Attributes:
        array: unsigned integers (z, y, x).
        geometry: its frame.
        labels: value to Label, for every value that has a name (a value without one gets a default).

    Raises:
        GeometryMismatchError: array and geometry disagree in shape.
    """

    array: NDArray[Any]
    geometry: Geometry
    labels: Mapping[int, Label] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape or self.array.dtype.kind != "u":
            raise GeometryMismatchError(
                f"expected an unsigned integer array of shape {self.geometry.shape}, "
                f"got {self.array.dtype} of shape {self.array.shape}"
            )

    def __repr__(self) -> str:
        """Say what it is, without voxels."""
        names = ", ".join(label.name for label in self.labels.values())
        return f"<Labelmap {self.array.dtype}, {self.geometry}, labels: {names or 'none named'}>"

    def label(self, key: int | str) -> Label:
        """Return the label of this value or name; a default one for a value that is there but has no name.

        Raises:
            PromptError: no such label; near names are listed.
        """
        try:
            return find_label(self.labels, key)
        except UnknownNameError:
            if str(key).isdigit() and int(key) > 0 and bool((self.array == int(key)).any()):
                return Label.default(int(key))
            raise

    def mask(self, key: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x) of one label, by value or name; of the only one when ``key`` is None.

        Raises:
            PromptError: no such label, or several and no ``key``.
        """
        if key is None:
            if len(self.labels) != 1:
                raise PromptError(f"expected the name or value of one of {len(self.labels)} labels, got none")
            key = next(iter(self.labels))
        return np.asarray(self.array == self.label(key).value)

    def volume_ml(self, key: int | str) -> float | None:
        """Return voxel count times voxel volume, in millilitres; None where no voxel size is known."""
        return self.geometry.volume_ml(int(np.count_nonzero(self.mask(key))))

    def to_sitk(self) -> Any:
        """Return the labels as a SimpleITK image, in the same place."""
        return as_sitk(self.array, self.geometry)

    def to_nibabel(self) -> Any:
        """Return the labels as a nibabel NIfTI image: array (x, y, z), affine to RAS mm.

        Raises:
            MissingExtraError: nibabel is not installed.
        """
        return as_nibabel(self.array, self.geometry)

    def to_torch(self) -> Any:
        """Return the labels as a tensor (1, x, y, z): a MetaTensor with its place where MONAI is installed.

        Raises:
            MissingExtraError: torch is not installed.
        """
        return as_torch(self.array, self.geometry)
