"""From a prompt in the volume to hints on slices: where the 3D frame ends and 2D begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError
from promptseg.models.predictor import SlicePrompts
from promptseg.prompts import Box, Lasso, Plane, Point, Prompt, Scribble, prompt_to_dict
from promptseg.volume import Geometry

__all__ = ["Hint", "PlacedPrompt", "by_plane", "merge_hints", "place"]

Mask = NDArray[np.bool_]
SUBPIXEL_BITS = 8  # cv2.fillPoly's fixed-point fraction: 1/256 pixel
FARTHEST_PX = 4e6  # what OpenCV's numbers hold with this fraction
MANY_CORNERS = 2000  # of a polygon
CORE_SHARE = 0.5  # of a lasso's deepest point: what is deeper than this is surely the object
ROUNDING = 1e-6  # voxels; a world coordinate's rounding error must not move a border by one voxel


@dataclass(frozen=True, eq=False)
class Hint:
    """What a person said on one slice.

    Attributes:
        prompts: for the predictor.
        outline: bool (h, w), a lasso's inside: the answer's starting point and its outer limit; or None.
        erased: bool (h, w), a negative lasso's inside; or None.
    """

    prompts: SlicePrompts
    outline: Mask | None = None
    erased: Mask | None = None


@dataclass(frozen=True)
class PlacedPrompt:
    """A prompt on the volume's grid.

    Attributes:
        plane: the plane whose slices it speaks about.
        hints: slice index to hint.
        limits: half-open slice range that the mask must stay in, or None.
    """

    plane: Plane
    hints: Mapping[int, Hint]
    limits: tuple[int, int] | None = None


@dataclass
class _SliceFrame:
    """The (row, column) axes of a plane's slices."""

    plane: Plane
    geometry: Geometry
    axes: tuple[int, int] = field(init=False)
    shape: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = (axis for axis in range(3) if axis != self.plane.axis)
        self.axes = (rows, columns)
        self.shape = (self.geometry.shape[rows], self.geometry.shape[columns])

    @property
    def count(self) -> int:
        return self.geometry.shape[self.plane.axis]


def place(prompt: Prompt, geometry: Geometry) -> PlacedPrompt:
    """Put a point, box, scribble or lasso onto the grid.

    Raises:
        PromptError: it lies outside the image; the message says where the image ends.
    """
    if isinstance(prompt, Point):
        return _place_point(prompt, geometry)
    if isinstance(prompt, Box):
        return _place_box(prompt, geometry)
    if isinstance(prompt, Scribble):
        return _place_scribble(prompt, geometry)
    if isinstance(prompt, Lasso):
        return _place_lasso(prompt, geometry)
    raise PromptError(f"expected a point, box, scribble or lasso here, got {type(prompt).__name__}")


def _outside(prompt: Prompt, geometry: Geometry, where: object) -> PromptError:
    size = ", ".join(str(n) for n in geometry.shape)
    kind = prompt_to_dict(prompt)["type"]
    return PromptError(
        f"the {kind} lies outside the image: expected voxels (z, y, x) from (0, 0, 0) to below ({size}), got {where}"
    )


def _place_point(point: Point, geometry: Geometry) -> PlacedPrompt:
    if point.voxel is not None:
        voxel = point.voxel
    else:
        z, y, x = (float(v) for v in geometry.world_to_voxel(point.world))  # type: ignore[arg-type]  # one is set
        voxel = (z, y, x)
    if not geometry.contains(voxel):
        raise _outside(point, geometry, tuple(round(v, 2) for v in voxel))
    frame = _SliceFrame(point.plane, geometry)
    index = min(max(round(voxel[point.plane.axis]), 0), frame.count - 1)
    place_2d = np.array([[voxel[a] for a in frame.axes]], np.float32)
    return PlacedPrompt(point.plane, {index: Hint(SlicePrompts(place_2d, np.array([point.positive])))})


def _box_corners(box: Box, geometry: Geometry) -> tuple[list[int], list[int]]:
    """Return whole-voxel half-open corners: every voxel whose centre lies inside."""
    if box.voxel is not None:
        low, high = box.voxel
        return [math.ceil(v - ROUNDING) for v in low], [max(math.ceil(v - ROUNDING), 1) for v in high]
    a, b = box.world  # type: ignore[misc]  # one of both is set
    corners = geometry.world_to_voxel([[x, y, z] for x in (a[0], b[0]) for y in (a[1], b[1]) for z in (a[2], b[2])])
    low_centres = np.ceil(corners.min(axis=0) - ROUNDING).astype(int)
    high_centres = np.floor(corners.max(axis=0) + ROUNDING).astype(int) + 1
    return low_centres.tolist(), np.maximum(high_centres, low_centres + 1).tolist()


def _place_box(box: Box, geometry: Geometry) -> PlacedPrompt:
    low, high = _box_corners(box, geometry)
    low = [max(v, 0) for v in low]
    high = [min(v, n) for v, n in zip(high, geometry.shape, strict=True)]
    if any(b <= a for a, b in zip(low, high, strict=True)):
        raise _outside(box, geometry, prompt_to_dict(box))
    thin = [axis for axis in range(3) if high[axis] - low[axis] == 1]
    plane = Plane.of_axis(thin[0]) if thin else Plane.AXIAL
    axis = plane.axis
    frame = _SliceFrame(plane, geometry)
    rows, columns = frame.axes
    hint = Hint(SlicePrompts(box=(float(low[rows]), float(low[columns]), float(high[rows]), float(high[columns]))))
    if thin:
        return PlacedPrompt(plane, {low[axis]: hint})
    return PlacedPrompt(plane, {(low[axis] + high[axis] - 1) // 2: hint}, limits=(low[axis], high[axis]))


def _place_scribble(scribble: Scribble, geometry: Geometry) -> PlacedPrompt:
    inside = ((scribble.voxels >= 0) & (scribble.voxels < geometry.shape)).all(axis=1)
    voxels = scribble.voxels[inside]
    if len(voxels) == 0:
        corners = scribble.voxels.min(axis=0).tolist(), scribble.voxels.max(axis=0).tolist()
        raise _outside(scribble, geometry, f"voxels between {corners[0]} and {corners[1]}")
    plane = scribble.plane or _flat_plane(voxels)
    frame = _SliceFrame(plane, geometry)
    hints = {}
    for index in np.unique(voxels[:, plane.axis]):
        drawn = np.zeros(frame.shape, np.int8)
        here = voxels[voxels[:, plane.axis] == index]
        drawn[here[:, frame.axes[0]], here[:, frame.axes[1]]] = 1 if scribble.positive else -1
        hints[int(index)] = Hint(SlicePrompts(scribble=drawn))
    return PlacedPrompt(plane, hints)


def _flat_plane(voxels: NDArray[np.int64]) -> Plane:
    """Return the plane that the stroke lies in: the first axis along which it does not move; else axial."""
    flat = np.flatnonzero((voxels == voxels[0]).all(axis=0))
    return Plane.of_axis(int(flat[0])) if flat.size else Plane.AXIAL


def _place_lasso(lasso: Lasso, geometry: Geometry) -> PlacedPrompt:
    frame = _SliceFrame(lasso.plane, geometry)
    if not 0 <= lasso.index < frame.count:
        raise PromptError(
            f"the lasso lies outside the image: expected a {lasso.plane} slice index from 0 to {frame.count - 1}, "
            f"got {lasso.index}"
        )
    filled = _filled(lasso.polygon, frame.shape)
    inside = filled > 0
    if not inside.any():
        raise _outside(lasso, geometry, f"row, column corners {lasso.polygon.round(1).tolist()[:4]} ...")
    if not lasso.positive:
        drawn = np.where(inside, np.int8(-1), np.int8(0))
        return PlacedPrompt(lasso.plane, {lasso.index: Hint(SlicePrompts(scribble=drawn), erased=inside)})
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = (float(rows[0]), float(columns[0]), float(rows[-1]) + 1, float(columns[-1]) + 1)
    depth = cv2.distanceTransform(np.pad(filled, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    core = np.where(depth > CORE_SHARE * depth.max(), np.int8(1), np.int8(0))
    return PlacedPrompt(lasso.plane, {lasso.index: Hint(SlicePrompts(box=box, scribble=core), outline=inside)})


def _filled(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pixels (h, w) inside a polygon of (row, column) corners, by the even-odd rule, its border included."""
    filled = np.zeros(shape, np.uint8)
    near = np.clip(polygon, -FARTHEST_PX, FARTHEST_PX)
    corners = np.rint(near[:, ::-1] * (1 << SUBPIXEL_BITS)).astype(np.int32)
    if len(corners) <= MANY_CORNERS:
        cv2.fillPoly(filled, [corners], 1, shift=SUBPIXEL_BITS)
        return filled
    # OpenCV sorts the edges anew on each row, so its time grows with the square of the corners. Counting is linear.
    cv2.polylines(filled, [corners], isClosed=True, color=1, shift=SUBPIXEL_BITS)
    height, width = shape
    crossed = np.zeros(height * (width + 1), np.int64)
    following = np.roll(near, -1, axis=0)
    for start in range(0, len(near), MANY_CORNERS):
        low, high = near[start : start + MANY_CORNERS], following[start : start + MANY_CORNERS]
        turned = (low[:, 0] > high[:, 0])[:, None]
        low, high = np.where(turned, high, low), np.where(turned, low, high)
        first = np.clip(np.ceil(low[:, 0]), 0, height).astype(np.int64)
        count = np.clip(np.ceil(high[:, 0]), 0, height).astype(np.int64) - first
        edge = np.repeat(np.arange(len(low)), count)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        share = (row - low[edge, 0]) / (high[edge, 0] - low[edge, 0])
        column = np.ceil(low[edge, 1] + share * (high[edge, 1] - low[edge, 1]))
        at = row * (width + 1) + np.clip(column, 0, width).astype(np.int64)
        crossed += np.bincount(at, minlength=len(crossed))
    odd = np.cumsum(crossed.reshape(height, width + 1), axis=1)[:, :width] % 2 == 1
    filled[odd] = 1
    return filled


def merge_hints(old: Hint | None, new: Hint) -> Hint:
    """Add a newer hint on the same slice: points add up, the newest box and outline count, newer paint lies on top."""
    if old is None:
        return new
    scribble = old.prompts.scribble
    if new.prompts.scribble is not None:
        scribble = (
            new.prompts.scribble
            if scribble is None
            else np.where(new.prompts.scribble != 0, new.prompts.scribble, scribble)
        )
    prompts = SlicePrompts(
        points=np.concatenate([old.prompts.points, new.prompts.points]),
        positive=np.concatenate([old.prompts.positive, new.prompts.positive]),
        box=new.prompts.box or old.prompts.box,
        scribble=scribble,
    )
    outline = new.outline if new.outline is not None else old.outline
    erased = new.erased if old.erased is None else (old.erased if new.erased is None else old.erased | new.erased)
    if erased is not None and new.outline is not None:
        erased = erased & ~new.outline
    return replace(new, prompts=prompts, outline=outline, erased=erased)


def by_plane(placed: Sequence[PlacedPrompt]) -> list[PlacedPrompt]:
    """Join prompts of one plane, in order of first appearance; hints on one slice add up, the last range counts."""
    groups: dict[Plane, PlacedPrompt] = {}
    for item in placed:
        known = groups.get(item.plane)
        hints = dict(known.hints) if known is not None else {}
        for index, hint in item.hints.items():
            hints[index] = merge_hints(hints.get(index), hint)
        limits = item.limits or (known.limits if known is not None else None)
        groups[item.plane] = PlacedPrompt(item.plane, hints, limits)
    return list(groups.values())
