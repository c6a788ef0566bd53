"""What nnInteractive's requests hold, checked, and what its answers are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import HTTPException
from fastapi.responses import Response
from numpy.typing import NDArray

from promptseg.app.protocols.drawing import Drawing
from promptseg.app.protocols.frames import pack
from promptseg.app.state import AppState
from promptseg.errors import PromptError
from promptseg.volume import Geometry, Volume
from promptseg.volume.label_voxels import Changed, as_slices

__all__ = ["buffer_dtype", "corner_of", "field_of", "is_flat", "is_positive", "prediction", "volume_of"]


def field_of(data: Mapping[str, Any], name: str) -> Any:
    """Return a field; 400 where it is missing."""
    if name not in data:
        raise HTTPException(400, f"expected the field {name!r}; it is missing")
    return data[name]


def is_positive(data: Mapping[str, Any]) -> bool:
    """Return whether a prompt adds to the object or takes away from it."""
    return bool(field_of(data, "include_interaction"))


def volume_of(array: NDArray[Any], properties: Mapping[str, Any], state: AppState) -> Volume:
    """Return the first channel of [C, z, y, x] on a grid of the given spacing, in axis order (z, y, x), mm."""
    if array.ndim != 4 or min(array.shape) < 1:
        raise PromptError(f"expected an image of four axes (channel and three of space), got shape {list(array.shape)}")
    if array[0].size > state.settings.limits.voxels:
        raise PromptError(f"expected at most {state.settings.limits.voxels} voxels, got {array[0].size}")
    grey = array[0]
    if grey.dtype.kind == "f":
        grey = np.nan_to_num(grey.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    spacing = properties.get("spacing") if isinstance(properties, Mapping) else None
    try:
        z, y, x = (float(v) for v in spacing) if spacing is not None else (1.0, 1.0, 1.0)
    except (TypeError, ValueError):
        raise PromptError(f"expected spacing as three numbers in mm, got {spacing!r}") from None
    return Volume.from_array(np.ascontiguousarray(grey), Geometry(shape=grey.shape, spacing=(x, y, z)))


def buffer_dtype(data: Mapping[str, Any], shape: tuple[int, int, int]) -> np.dtype[Any]:
    """Return the dtype of the viewer's buffer, which has the image's shape (z, y, x)."""
    asked = field_of(data, "shape")
    if not isinstance(asked, list) or tuple(asked) != shape:
        raise PromptError(f"expected a target buffer of the image's shape {list(shape)}, got {asked!r}")
    name = str(field_of(data, "dtype"))
    if name not in {"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}:
        raise PromptError(f"expected a target buffer of bool or an integer dtype, got {name!r}")
    return np.dtype(name)


def is_flat(spans: Any) -> bool:
    """True when a box is exactly one voxel thick along an axis, as given; also for what ``box_prompt`` will refuse."""
    try:
        sizes = [float(b) - float(a) for a, b in spans]
    except (TypeError, ValueError):
        return True
    return any(size == 1.0 for size in sizes) or any(size <= 0 for size in sizes)


def corner_of(array: NDArray[Any], box: Any, shape: tuple[int, int, int]) -> list[int]:
    """Return where a mask's first voxel lies in the image: the lower corner of the box that it was cut to."""
    if array.ndim != 3:
        raise PromptError(f"expected a mask of three axes, got shape {list(array.shape)}")
    if box is None:
        if array.shape != shape:
            raise PromptError(f"expected a mask of the image's shape {list(shape)}, got {list(array.shape)}")
        return [0, 0, 0]
    try:
        spans = [(int(a), int(b)) for a, b in box]
    except (TypeError, ValueError):
        raise PromptError(f"expected interaction_bbox as three spans, got {box!r}") from None
    if len(spans) != 3 or any(a < 0 or b > n or b <= a for (a, b), n in zip(spans, shape, strict=False)):
        raise PromptError(f"expected interaction_bbox inside the image of shape {list(shape)}, got {spans}")
    if tuple(b - a for a, b in spans) != array.shape:
        raise PromptError(f"expected a mask of interaction_bbox's size, got {list(array.shape)} for {spans}")
    return [a for a, _ in spans]


def prediction(drawing: Drawing, dtype: np.dtype[Any] | None, ran: bool, box: Changed | None) -> Response:
    """Return the answer to a prompt: the changed half-open box (z, y, x) and its whole new content."""
    meta: dict[str, Any] = {"ran_prediction": ran, "bbox": None}
    content = b""
    if box is not None:
        part = drawing.shown[as_slices(box)].astype(dtype or np.uint8)
        meta.update(bbox=[list(span) for span in zip(*box, strict=True)], dtype=part.dtype.name, shape=list(part.shape))
        content = pack(part)
    header = json.dumps(meta, separators=(",", ":"))
    return Response(content, media_type="application/octet-stream", headers={"X-Meta": header})
