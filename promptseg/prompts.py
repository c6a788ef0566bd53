"""A person's hints, as frozen values. Every prompt says its frame in its field's name.

Voxel coordinates are (z, y, x), zero-based and continuous, the voxel's centre at the integer. World coordinates are
(x, y, z) in millimetres, LPS (x grows to the patient's left, y to the back, z to the head), as in DICOM and SimpleITK.
Boxes are half-open. A prompt knows nothing of an image: ``promptseg.session.session`` checks that it fits one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError, did_you_mean

__all__ = [
    "Box",
    "Lasso",
    "MaskPrompt",
    "Plane",
    "Point",
    "Prompt",
    "Scribble",
    "TextPrompt",
    "prompt_from_dict",
    "prompt_to_dict",
]

Triple: TypeAlias = tuple[float, float, float]
LARGEST_INDEX = 2.0**53  # floats above it no longer count one by one


class Plane(StrEnum):
    """A family of parallel 2D cuts through the array, named by the usual patient orientation.

    The names follow the array's axes: AXIAL fixes z, CORONAL fixes y, SAGITTAL fixes x. For an obliquely acquired or
    re-ordered volume these are the nearest planes of the *array*, not of the patient.
    """

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"

    @property
    def axis(self) -> int:
        """The array axis that a slice index counts along: 0 (z), 1 (y) or 2 (x)."""
        return {"axial": 0, "coronal": 1, "sagittal": 2}[self.value]

    @staticmethod
    def of_axis(axis: int) -> Plane:
        """Return the plane whose slices are counted along array ``axis`` (0, 1 or 2)."""
        return (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL)[axis]


def parse_plane(value: str | Plane) -> Plane:
    """Return the plane of this name.

    Raises:
        PromptError: unknown name.
    """
    try:
        return Plane(value)
    except ValueError:
        names = [p.value for p in Plane]
        raise PromptError(
            f"expected a plane (one of {', '.join(names)}), got {value!r}{did_you_mean(str(value), names)}"
        ) from None


def _triple(value: Sequence[float], what: str) -> Triple:
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"expected {what} as three numbers, got {value!r}") from None
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers):
        raise PromptError(f"expected {what} as three finite numbers, got {value!r}")
    return (numbers[0], numbers[1], numbers[2])


def _flag(value: object) -> bool:
    """Return ``positive`` as a bool. Text is refused: "false" would count as true."""
    if isinstance(value, bool | int | np.bool_ | np.integer) and value in (0, 1):
        return bool(value)
    raise PromptError(f"expected positive as true or false, got {value!r}")


def _slice_index(value: Any) -> int:
    try:
        index = int(value)
    except (TypeError, ValueError, OverflowError):
        index = None
    if index is None or isinstance(value, bool | str) or index != value:
        raise PromptError(f"expected a lasso's slice index as an integer, got {value!r}")
    return index


@dataclass(frozen=True)
class Point:
    """A click. Give exactly one of ``voxel`` (z, y, x) and ``world`` (x, y, z) in LPS mm.

    Attributes:
        voxel: (z, y, x) continuous voxel index, or None.
        world: (x, y, z) LPS mm, or None.
        positive: True: "this is the object"; False: "this is not".
        plane: the view it was made in; the slice through the point in that plane becomes an anchor.
    """

    voxel: Triple | None = None
    world: Triple | None = None
    positive: bool = True
    plane: Plane = Plane.AXIAL

    def __post_init__(self) -> None:
        if (self.voxel is None) == (self.world is None):
            raise PromptError(f"expected exactly one of voxel=(z, y, x) and world=(x, y, z), got {self!r}")
        if self.voxel is not None:
            object.__setattr__(self, "voxel", _triple(self.voxel, "a point's voxel (z, y, x)"))
        if self.world is not None:
            object.__setattr__(self, "world", _triple(self.world, "a point's world (x, y, z)"))
        object.__setattr__(self, "plane", parse_plane(self.plane))
        object.__setattr__(self, "positive", _flag(self.positive))


@dataclass(frozen=True)
class Box:
    """A box around the object, half-open in voxels: ``((z0, y0, x0), (z1, y1, x1))``.

    One voxel thick along an axis: a 2D box on that slice, then propagated. Thicker along all three: it prompts its
    middle axial slice, and the mask stays inside the box's z range. ``world`` gives two opposite corner *points*
    (x, y, z) in LPS mm instead; every voxel whose centre lies between them belongs to the box.
    """

    voxel: tuple[Triple, Triple] | None = None
    world: tuple[Triple, Triple] | None = None

    def __post_init__(self) -> None:
        if (self.voxel is None) == (self.world is None):
            raise PromptError(
                f"expected exactly one of voxel=((z0, y0, x0), (z1, y1, x1)) and world=(two corners), got {self!r}"
            )
        name = "voxel" if self.voxel is not None else "world"
        corners = self.voxel if self.voxel is not None else self.world
        if corners is None or not isinstance(corners, Sequence) or len(corners) != 2:
            raise PromptError(f"expected a box as two corners, got {corners!r}")
        low, high = (_triple(c, f"a box corner ({name})") for c in corners)
        if name == "voxel" and any(b <= a for a, b in zip(low, high, strict=True)):
            raise PromptError(
                f"expected a half-open box with z0 < z1, y0 < y1, x0 < x1, got {low} to {high}; "
                "a box on the single slice k reads from z0 = k to z1 = k + 1"
            )
        object.__setattr__(self, name, (low, high))


@dataclass(frozen=True, eq=False)
class Scribble:
    """Painted voxels: ``voxels`` is (n, 3) of (z, y, x), in any order; int or float (rounded to the nearest voxel)."""

    voxels: NDArray[np.int64]
    positive: bool = True
    plane: Plane | None = None

    def __post_init__(self) -> None:
        try:
            given = np.asarray(self.voxels, dtype=np.float64)
        except (TypeError, ValueError):
            raise PromptError("expected a scribble's voxels as (n, 3) numbers (z, y, x)") from None
        if given.ndim != 2 or given.shape[1] != 3 or len(given) == 0 or not np.isfinite(given).all():
            raise PromptError(f"expected a scribble's voxels as (n >= 1, 3) finite numbers, got shape {given.shape}")
        if np.abs(given).max() > LARGEST_INDEX:
            raise PromptError(f"expected a scribble's voxels below {LARGEST_INDEX:g}, got {np.abs(given).max():g}")
        object.__setattr__(self, "voxels", np.rint(given).astype(np.int64))
        object.__setattr__(self, "positive", _flag(self.positive))
        if self.plane is not None:
            object.__setattr__(self, "plane", parse_plane(self.plane))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Scribble)
            and np.array_equal(self.voxels, other.voxels)
            and (self.positive, self.plane) == (other.positive, other.plane)
        )

    __hash__ = None  # type: ignore[assignment]  # holds an array


@dataclass(frozen=True, eq=False)
class Lasso:
    """A closed outline on one slice: everything inside is (about) the object, or is not when ``positive`` is False.

    Attributes:
        plane: the slice's plane.
        index: the slice index along the plane's axis.
        polygon: (n >= 3, 2) corner points in the slice's (row, column) = the two remaining array axes in order
            (axial: (y, x); coronal: (z, x); sagittal: (z, y)); continuous voxels.
        positive: object or background.
    """

    plane: Plane
    index: int
    polygon: NDArray[np.float64]
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "plane", parse_plane(self.plane))
        object.__setattr__(self, "index", _slice_index(self.index))
        try:
            polygon = np.array(self.polygon, dtype=np.float64)
        except (TypeError, ValueError):
            raise PromptError("expected a lasso's polygon as (n, 2) numbers") from None
        if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.isfinite(polygon).all():
            raise PromptError(f"expected a lasso's polygon as (n >= 3, 2) finite numbers, got shape {polygon.shape}")
        object.__setattr__(self, "polygon", polygon)
        object.__setattr__(self, "positive", _flag(self.positive))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Lasso)
            and (self.plane, self.index, self.positive) == (other.plane, other.index, other.positive)
            and np.array_equal(self.polygon, other.polygon)
        )

    __hash__ = None  # type: ignore[assignment]  # holds an array


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """An existing mask to refine: bool (z, y, x) of the volume's shape. It becomes the label's mask as it is."""

    mask: NDArray[np.bool_]
    plane: Plane = field(default=Plane.AXIAL)

    def __post_init__(self) -> None:
        mask = np.asarray(self.mask)
        if mask.ndim == 2:
            mask = mask[None]
        if mask.ndim != 3:
            raise PromptError(f"expected a mask of shape (z, y, x), got {mask.shape}")
        object.__setattr__(self, "mask", mask != 0)
        object.__setattr__(self, "plane", parse_plane(self.plane))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskPrompt) and np.array_equal(self.mask, other.mask) and self.plane == other.plane

    __hash__ = None  # type: ignore[assignment]  # holds an array


@dataclass(frozen=True, eq=False)
class TextPrompt:
    """What is looked for, in words: ``TextPrompt("left kidney")``. A text engine turns it into a mask.

    Attributes:
        text: the words.
        mask: bool (z, y, x) what the engine found, once it was asked: a log gives it back without the engine.
    """

    text: str
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise PromptError(f"expected a text prompt of at least one word, got {self.text!r}")
        object.__setattr__(self, "text", " ".join(self.text.split()))
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.ndim != 3:
                raise PromptError(f"expected a mask of shape (z, y, x), got {mask.shape}")
            object.__setattr__(self, "mask", mask != 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TextPrompt) or self.text != other.text:
            return False
        if self.mask is None or other.mask is None:
            return self.mask is other.mask
        return np.array_equal(self.mask, other.mask)

    __hash__ = None  # type: ignore[assignment]  # holds an array


Prompt: TypeAlias = Point | Box | Scribble | Lasso | MaskPrompt | TextPrompt


def _runs(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask as run lengths in C order, starting with the number of leading False voxels."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat.view(np.int8))) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    runs = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return {"shape": list(mask.shape), "runs": runs}


def _mask_of(data: Mapping[str, Any]) -> NDArray[np.bool_]:
    shape, runs = tuple(int(n) for n in data["shape"]), np.asarray(data["runs"], dtype=np.int64)
    if len(shape) != 3 or min(shape) < 0 or (runs < 0).any() or int(runs.sum()) != math.prod(shape):
        raise PromptError(f"expected mask runs that add up to shape {shape}, got a sum of {int(runs.sum())}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape)


def _point_to_dict(prompt: Point) -> dict[str, Any]:
    frame = {"voxel": list(prompt.voxel)} if prompt.voxel is not None else {"world": list(prompt.world or ())}
    return {"type": "point", **frame, "positive": prompt.positive, "plane": prompt.plane.value}


def _box_to_dict(prompt: Box) -> dict[str, Any]:
    name, corners = ("voxel", prompt.voxel) if prompt.voxel is not None else ("world", prompt.world)
    return {"type": "box", name: [list(c) for c in corners or ()]}


def prompt_to_dict(prompt: Prompt) -> dict[str, Any]:
    """Return the prompt as plain JSON types; ``prompt_from_dict`` gives back an equal prompt."""
    if isinstance(prompt, Point):
        return _point_to_dict(prompt)
    if isinstance(prompt, Box):
        return _box_to_dict(prompt)
    if isinstance(prompt, Scribble):
        plane = {"plane": prompt.plane.value} if prompt.plane is not None else {}
        return {"type": "scribble", "voxels": prompt.voxels.tolist(), "positive": prompt.positive, **plane}
    if isinstance(prompt, Lasso):
        return {
            "type": "lasso",
            "plane": prompt.plane.value,
            "index": prompt.index,
            "polygon": prompt.polygon.tolist(),
            "positive": prompt.positive,
        }
    if isinstance(prompt, TextPrompt):
        return {"type": "text", "text": prompt.text, **({} if prompt.mask is None else {"mask": _runs(prompt.mask)})}
    return {"type": "mask", **_runs(prompt.mask), "plane": prompt.plane.value}


_READERS: dict[str, Callable[[Mapping[str, Any]], Prompt]] = {
    "point": lambda d: Point(
        voxel=d.get("voxel"),
        world=d.get("world"),
        positive=d.get("positive", True),
        plane=parse_plane(d.get("plane", "axial")),
    ),
    "box": lambda d: Box(voxel=d.get("voxel"), world=d.get("world")),
    "scribble": lambda d: Scribble(d["voxels"], d.get("positive", True), d.get("plane")),
    "lasso": lambda d: Lasso(d["plane"], d["index"], d["polygon"], d.get("positive", True)),
    "mask": lambda d: MaskPrompt(_mask_of(d), parse_plane(d.get("plane", "axial"))),
    "text": lambda d: TextPrompt(d["text"], None if d.get("mask") is None else _mask_of(d["mask"])),
}


def prompt_from_dict(data: Mapping[str, Any]) -> Prompt:
    """Return the prompt that ``prompt_to_dict`` wrote.

    Raises:
        PromptError: unknown type, missing field or impossible value.
    """
    if not isinstance(data, Mapping):
        raise PromptError(f"expected a prompt as a JSON object, got {type(data).__name__}")
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise PromptError(
            f"expected a prompt type (one of {', '.join(_READERS)}), got {kind!r}{did_you_mean(str(kind), _READERS)}"
        )
    try:
        return _READERS[kind](data)
    except KeyError as exc:
        raise PromptError(f"expected the field {exc.args[0]!r} in a {kind} prompt; it is missing") from exc
    except (TypeError, ValueError, OverflowError) as exc:
        raise PromptError(f"a {kind} prompt has a value of the wrong kind: {exc}") from exc
