"""What MONAI Label's requests say, checked, and what its answers are made of."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile

from promptseg.app.protocols.drawing import Drawing, point_prompt
from promptseg.app.protocols.work import json_object
from promptseg.errors import PromptError
from promptseg.prompts import Box, Prompt
from promptseg.volume import Geometry
from promptseg.volume.exchange import as_sitk

__all__ = ["PARAMS_BYTES", "ending_of", "mask_file", "multipart", "params_of", "prompts_of"]

PARAMS_BYTES = 4 * 1024 * 1024
WRITABLE = (".nrrd", ".nii.gz", ".nii", ".mha")
Shape = tuple[int, int, int]


async def params_of(form: FormData) -> dict[str, Any]:
    """Return the part ``params``: a JSON object, as a field or as a file; empty where there is none.

    Raises:
        PromptError: it is something else.
    """
    text = form.get("params") or "{}"
    if isinstance(text, UploadFile):
        text = (await text.read(PARAMS_BYTES)).decode("utf-8", "replace")
    return json_object(text, "the part 'params'")


def prompts_of(params: Mapping[str, Any], shape: Shape) -> list[Prompt]:
    """Return the clicks, given as [i, j, k], and the region as [i0, i1, j0, j1, k0, k1], in any order of its pairs.

    Points outside the image (z, y, x) are left out; without a positive one there is nothing to answer.

    Raises:
        PromptError: not in these forms.
    """
    prompts: list[Prompt] = []
    for name, positive in (("foreground", True), ("background", False)):
        points = params.get(name) or []
        if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 3 for p in points):
            raise PromptError(f"expected {name} as a list of points [i, j, k], got {points!r}")
        for i, j, k in points:
            if all(isinstance(v, int | float) and 0 <= v < n for v, n in zip((k, j, i), shape, strict=True)):
                prompts.append(point_prompt((k, j, i), positive, shape))
    if any(getattr(prompt, "positive", False) for prompt in prompts):
        return [*_region(params.get("roi"), shape), *prompts]
    return []


def _region(roi: object, shape: Shape) -> list[Prompt]:
    if not roi:
        return []
    try:
        values = [round(float(v)) for v in roi]  # type: ignore[attr-defined]
        i, j, k = (sorted(values[at : at + 2]) for at in (0, 2, 4))
    except (TypeError, ValueError):
        raise PromptError(f"expected roi as six numbers, got {roi!r}") from None
    low = [max(pair[0], 0) for pair in (k, j, i)]
    high = [min(pair[1] + 1, n) for pair, n in zip((k, j, i), shape, strict=True)]
    if any(b <= a for a, b in zip(low, high, strict=True)):
        return []
    return [Box(voxel=((low[0], low[1], low[2]), (high[0], high[1], high[2])))]


def ending_of(params: Mapping[str, Any]) -> str:
    """Return the extension that the label file is wanted in; NRRD's where it cannot be."""
    asked = str(params.get("result_extension") or WRITABLE[0])
    return asked if asked in WRITABLE else WRITABLE[0]


def mask_file(drawing: Drawing, ending: str, *, packed: bool) -> bytes:
    """Return the mask as a file on the image's grid; not packed, a NRRD's voxels lie in it as they are."""
    import SimpleITK as sitk

    geometry: Geometry = drawing.volume.geometry
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"label{ending}"
        sitk.WriteImage(as_sitk(drawing.shown, geometry), str(path), useCompression=packed)
        return path.read_bytes()


def multipart(params: Mapping[str, Any], name: str, content: bytes) -> Response:
    """Return the two parts with a known length: the client reads the socket itself and knows no chunks."""
    boundary = secrets.token_hex(16)
    body = b"".join(
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n'.encode(),
            b"Content-Type: application/json\r\n\r\n",
            json.dumps(params).encode(),
            f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'.encode(),
            b"Content-Type: application/octet-stream\r\n\r\n",
            content,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}")
