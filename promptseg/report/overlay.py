"""One picture of a result: three planes with outlines, prompts, orientation letters, scale bar and legend.

Radiological display: the patient's right on the picture's left, front up in axial, head up in coronal and sagittal
cuts. Cuts follow the array's planes; letters name the nearest anatomical direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import WriteError
from promptseg.measure.size import size_of
from promptseg.prompts import Box, Lasso, Point, Prompt, Scribble
from promptseg.report import marks
from promptseg.report.marks import INK, Color, Picture
from promptseg.volume.geometry import IDENTITY_DIRECTION, Geometry
from promptseg.volume.labelmap import Label, Labelmap
from promptseg.volume.orientation import LETTERS, anatomical_axes
from promptseg.volume.volume import Volume

__all__ = ["PlanePicture", "is_unplaced", "render_overlay", "render_planes", "write_overlay_png"]

MAX_WIDTH_PX, MAX_HEIGHT_PX = 1680, 900  # of all cuts together; the frame comes on top
MARGIN_PX, GAP_PX, HEADER_PX, ROW_PX = 24, 16, 40, 30
FAINT: Color = (140, 148, 160)
PAGE: Color = (18, 20, 24)
FOOTNOTE = "Research use only. Not a medical device."
TITLES = {2: "Axial", 1: "Coronal", 0: "Sagittal"}  # by the patient axis that the cut is perpendicular to
# patient axes that run down and to the right in a cut perpendicular to the key, and the sense in which they run
LAYOUT = {2: ((1, 1), (0, 1)), 1: ((2, -1), (0, 1)), 0: ((2, -1), (1, 1))}


@dataclass(frozen=True, eq=False)
class PlanePicture:
    """One cut as it is drawn.

    Attributes:
        title: e.g. "Axial   z 26"; "" for a picture without a place in a patient.
        axis: array axis that the cut is perpendicular to.
        index: the slice along it.
        picture: uint8 RGB (height, width, 3).
    """

    title: str
    axis: int
    index: int
    picture: Picture


@dataclass(frozen=True)
class _View:
    """One cut: which array axes run down and to the right, flipped or not, and how large a voxel is drawn.

    Attributes:
        axis: array axis that the cut is perpendicular to.
        index: the slice along it.
        rows, columns: array axes that run down and to the right.
        flips: True where index 0 lies at the bottom, at the right.
        size: (height, width) in pixels.
        shape: (rows, columns) in voxels.
        title: e.g. "Axial  z 26".
        letters: at the left, right, top and bottom; empty strings where the frame is unknown.
    """

    axis: int
    index: int
    rows: int
    columns: int
    flips: tuple[bool, bool]
    size: tuple[int, int]
    shape: tuple[int, int]
    title: str
    letters: tuple[str, str, str, str]

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the slice of a (z, y, x[, 3]) array as displayed, in voxels."""
        plane = array[(slice(None),) * self.axis + (self.index,)]
        if self.rows > self.columns:
            plane = np.swapaxes(plane, 0, 1)
        return plane[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def pixel(self, voxel: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
        """Return (x, y) in the picture of a (z, y, x) position; a voxel's centre at the centre of its block."""
        place = []
        for axis, flip, size, count in zip((self.rows, self.columns), self.flips, self.size, self.shape, strict=True):
            along = voxel[axis] if not flip else count - 1 - voxel[axis]
            place.append((along + 0.5) * size / count - 0.5)
        return place[1], place[0]


def render_overlay(
    volume: Volume, labelmap: Labelmap, *, prompts: Sequence[Prompt] = (), center: Sequence[float] | None = None
) -> Picture:
    """Draw a result.

    Args:
        volume: grey or RGB; its window is used. A volume of one slice gives one large view.
        labelmap: on the volume's grid.
        prompts: drawn where they lie on the cuts shown; points and boxes of other slices as hollow or dashed marks.
        center: (z, y, x) voxel that the cuts go through; None: the slices that show most of the labels, each label
            counted by the share of its own largest slice.

    Returns:
        uint8 RGB (height, width, 3).

    Raises:
        GeometryMismatchError: volume and labelmap lie on different grids.
    """
    volume.geometry.require_same(labelmap.geometry, "labelmap and image")
    present = _present(labelmap)
    views = _views(volume.geometry, _center(labelmap, present) if center is None else center)
    panels = [_panel(volume, labelmap, present, view, prompts) for view in views]
    return _page(volume, labelmap, present, panels, views)


def render_planes(
    volume: Volume,
    labelmap: Labelmap,
    *,
    prompts: Sequence[Prompt] = (),
    center: Sequence[float] | None = None,
    room: tuple[int, int] = (MAX_WIDTH_PX, MAX_HEIGHT_PX),
) -> tuple[PlanePicture, ...]:
    """Draw the cuts alone, axial first, all in one scale; see ``render_overlay``.

    Args:
        volume, labelmap, prompts, center: as there.
        room: (width, height) in pixels that all cuts side by side may take.

    Raises:
        GeometryMismatchError: volume and labelmap lie on different grids.
    """
    volume.geometry.require_same(labelmap.geometry, "labelmap and image")
    present = _present(labelmap)
    views = _views(volume.geometry, _center(labelmap, present) if center is None else center, room)
    return tuple(
        PlanePicture(view.title, view.axis, view.index, _panel(volume, labelmap, present, view, prompts))
        for view in views
    )


def write_overlay_png(
    volume: Volume,
    labelmap: Labelmap,
    path: str | Path,
    *,
    prompts: Sequence[Prompt] = (),
    center: Sequence[float] | None = None,
) -> Path:
    """Write ``render_overlay``'s picture as PNG, whole or not at all; return the path.

    Raises:
        GeometryMismatchError: volume and labelmap lie on different grids.
        WriteError: the file cannot be written.
    """
    import cv2

    from promptseg.io.atomic import all_or_nothing

    path = Path(path).expanduser()
    if path.suffix.lower() != ".png":
        raise WriteError(f"cannot write {path}: expected a name that ends with .png")
    done, data = cv2.imencode(".png", render_overlay(volume, labelmap, prompts=prompts, center=center)[..., ::-1])
    if not done:
        raise WriteError(f"cannot write {path}: the picture could not be encoded")
    with all_or_nothing(path) as folder:
        (folder / path.name).write_bytes(data.tobytes())
    return path


# --- what is shown --------------------------------------------------------------------------------------------------


def _present(labelmap: Labelmap) -> list[Label]:
    values = [int(v) for v in np.unique(labelmap.array) if v]
    return [labelmap.labels.get(v) or Label.default(v) for v in values]


def _center(labelmap: Labelmap, present: list[Label]) -> tuple[int, ...]:
    shares = [np.zeros(n) for n in labelmap.array.shape]
    for label in present:
        mask = labelmap.array == label.value
        for axis, share in enumerate(shares):
            area = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
            share += area / area.max()
    return tuple(int(s.argmax()) if s.any() else len(s) // 2 for s in shares)


def is_unplaced(geometry: Geometry) -> bool:
    """Return True for a picture without a place in a patient (a photograph): no letters, no flips, no millimetres."""
    plain = geometry.direction == IDENTITY_DIRECTION and geometry.origin == (0.0, 0.0, 0.0)
    return geometry.shape[0] == 1 and plain


def _views(
    geometry: Geometry, center: Sequence[float], room: tuple[int, int] = (MAX_WIDTH_PX, MAX_HEIGHT_PX)
) -> list[_View]:
    """Return the cuts to draw, axial first, all in one scale."""
    axes = anatomical_axes(geometry)
    flat = [axis for axis, n in enumerate(geometry.shape) if n == 1]
    order = flat[:1] or sorted(range(3), key=lambda axis: -axes[axis][0])
    extent = [n * s for n, s in zip(geometry.shape, geometry.spacing_zyx, strict=True)]
    placed = []
    for axis in order:
        towards = {patient: (i, sense) for i, (patient, sense) in enumerate(axes)}
        (down, down_sense), (right, right_sense) = LAYOUT[axes[axis][0]]
        (rows, row_sense), (columns, column_sense) = towards[down], towards[right]
        placed.append((axis, rows, columns, (row_sense != down_sense, column_sense != right_sense)))
    width = sum(extent[columns] for _, _, columns, _ in placed)
    height = max(extent[rows] for _, rows, _, _ in placed)
    scale = min((room[0] - GAP_PX * (len(placed) - 1)) / width, room[1] / height)
    views = []
    for axis, rows, columns, flips in placed:
        size = (max(1, round(extent[rows] * scale)), max(1, round(extent[columns] * scale)))
        index = min(max(round(float(center[axis])), 0), geometry.shape[axis] - 1)
        patient = axes[axis][0]
        (down, down_sense), (right, right_sense) = LAYOUT[patient]
        top, bottom = LETTERS[down][::down_sense]
        left, right_letter = LETTERS[right][::right_sense]
        title, letters = f"{TITLES[patient]}   {'zyx'[axis]} {index}", (left, right_letter, top, bottom)
        if is_unplaced(geometry):
            title, letters = "", ("", "", "", "")
        shape = (geometry.shape[rows], geometry.shape[columns])
        views.append(_View(axis, index, rows, columns, flips, size, shape, title, letters))
    return views


# --- one cut --------------------------------------------------------------------------------------------------------


def _panel(volume: Volume, labelmap: Labelmap, present: list[Label], view: _View, prompts: Sequence[Prompt]) -> Picture:
    """Return one cut with everything on it: uint8 RGB of ``view.size``."""
    import cv2

    cut = view.cut(volume.array)
    grey = cut if volume.is_rgb else np.rint(volume.window.apply(cut) * 255.0).astype(np.uint8)
    rgb = np.ascontiguousarray(grey if volume.is_rgb else np.repeat(grey[..., None], 3, axis=2))
    larger = view.size[0] * view.size[1] > rgb.shape[0] * rgb.shape[1]
    picture: Picture = cv2.resize(rgb, view.size[::-1], interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)
    labels = view.cut(labelmap.array)
    for label in present:
        mask = labels == label.value
        if mask.any():
            marks.fill_outline(picture, mask, label.color)
    for prompt in prompts:
        _mark(picture, prompt, view, volume.geometry)
    _letters(picture, view.letters)
    spacing = volume.geometry.spacing_zyx
    if view.title or volume.geometry.spacing != (1.0, 1.0, 1.0):
        marks.scale_bar(picture, view.size[1] / (view.shape[1] * spacing[view.columns]))
    return picture


def _letters(picture: Picture, letters: tuple[str, str, str, str]) -> None:
    height, width = picture.shape[:2]
    left, right, top, bottom = letters
    middle = height / 2 + 7, width / 2 - 6
    for letter, at in (
        (left, (10, middle[0])),
        (right, (width - 24, middle[0])),
        (top, (middle[1], 26)),
        (bottom, (middle[1], height - 12)),
    ):
        if letter:
            marks.text(picture, letter, at, size=20, halo=True)


def _mark(picture: Picture, prompt: Prompt, view: _View, geometry: Geometry) -> None:
    """Draw one prompt where it meets or is projected onto the cut. A mask prompt is what the outlines show already."""
    if isinstance(prompt, Point):
        place = prompt.voxel if prompt.voxel is not None else geometry.world_to_voxel(prompt.world or ())
        voxel = [float(v) for v in place]
        here = round(voxel[view.axis]) == view.index
        marks.point(picture, view.pixel(voxel), prompt.positive, here=here)
    elif isinstance(prompt, Box):
        _mark_box(picture, prompt, view, geometry)
    elif isinstance(prompt, Scribble):
        color = marks.POSITIVE if prompt.positive else marks.NEGATIVE
        for voxel in prompt.voxels[prompt.voxels[:, view.axis] == view.index]:
            marks.dot(picture, view.pixel(voxel), color)
    elif isinstance(prompt, Lasso) and (prompt.plane.axis, prompt.index) == (view.axis, view.index):
        color = marks.POSITIVE if prompt.positive else marks.NEGATIVE
        corners = np.insert(prompt.polygon, view.axis, prompt.index, axis=1)
        marks.closed_line(picture, [view.pixel(corner) for corner in corners], color)


def _mark_box(picture: Picture, prompt: Box, view: _View, geometry: Geometry) -> None:
    if prompt.voxel is not None:
        low, high = (np.asarray(corner) - 0.5 for corner in prompt.voxel)  # half-open: the faces of the voxels
    else:
        ends = geometry.world_to_voxel(prompt.world or ())
        low, high = ends.min(axis=0), ends.max(axis=0)
    here = bool(low[view.axis] <= view.index <= high[view.axis])
    (xa, ya), (xb, yb) = view.pixel(low), view.pixel(high)
    marks.box(picture, (min(xa, xb), min(ya, yb)), (max(xa, xb), max(ya, yb)), INK if here else FAINT, here=here)


# --- the page -------------------------------------------------------------------------------------------------------


def _page(
    volume: Volume, labelmap: Labelmap, present: list[Label], panels: list[Picture], views: list[_View]
) -> Picture:
    """Return the panels side by side, titles above, legend and footnote below."""
    inner = sum(p.shape[1] for p in panels) + GAP_PX * (len(panels) - 1)
    width = max(inner, 460) + 2 * MARGIN_PX
    height = max(p.shape[0] for p in panels)
    rows = _legend_rows(labelmap, present, width - 2 * MARGIN_PX)
    header = HEADER_PX if any(view.title for view in views) else MARGIN_PX
    below = header + height + 20
    page = np.full((below + ROW_PX * (len(rows) + 1) + 12, width, 3), PAGE, np.uint8)
    left = (width - inner) // 2
    for panel, view in zip(panels, views, strict=True):
        top = header + (height - panel.shape[0]) // 2
        page[header : header + height, left : left + panel.shape[1]] = 0
        page[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
        marks.text(page, view.title, (left, header - 13), size=16)
        left += panel.shape[1] + GAP_PX
    for number, row in enumerate(rows):
        y = below + ROW_PX * number + 16
        for x, label, words in row:
            page[y - 12 : y + 2, MARGIN_PX + x : MARGIN_PX + x + 14] = label.color
            marks.text(page, words, (MARGIN_PX + x + 22, y), size=15)
    y = page.shape[0] - 20
    window = volume.window
    shown = "" if volume.is_rgb else f"W {window.width:.4g}   L {window.level:.4g}   ({window.source})"
    marks.text(page, FOOTNOTE, (MARGIN_PX, y), FAINT, size=14)
    room = width - 2 * MARGIN_PX - marks.text_width(FOOTNOTE, 14) - 30
    if shown and marks.text_width(shown, 14) <= room:
        marks.text(page, shown, (width - MARGIN_PX - marks.text_width(shown, 14), y), FAINT, size=14)
    return page


def _legend_rows(labelmap: Labelmap, present: list[Label], width: int) -> list[list[tuple[int, Label, str]]]:
    """Return rows of (x, label, words): as many labels beside each other as fit."""
    rows: list[list[tuple[int, Label, str]]] = [[]]
    x = 0
    for label in present:
        count = int(np.count_nonzero(labelmap.array == label.value))
        size = size_of(count, labelmap.geometry)
        value = float(size.value)  # type: ignore[arg-type]  # a single number
        unit = {"mm2": "mm²"}.get(size.unit, size.unit)
        words = f"{label.name}  {value:.3g} {unit}" if value < 100 else f"{label.name}  {value:.0f} {unit}"
        needed = 22 + marks.text_width(words) + 30
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0
        rows[-1].append((x, label, words))
        x += needed
    return rows
