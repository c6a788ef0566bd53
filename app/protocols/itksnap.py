"""ITK-SNAP's deep-learning service (DLS), versions 1 and 2.

ITK-SNAP uploads its image once, sends a click or a painted mask, and gets the whole mask back each time. The protocol
has no login, so it works only where the server needs none. Nothing here answers 200 without a full-length result: the
client would read beyond its end.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from promptseg.app.door.caller import Who
from promptseg.app.live.queueing import Turn
from promptseg.app.protocols.drawing import Drawing, lasso_prompts, point_prompt, scribble_prompt
from promptseg.app.protocols.viewers import Viewers
from promptseg.app.protocols.work import Visit, begin, json_object, our_errors_as_400, places
from promptseg.app.state import AppState
from promptseg.errors import PromptError
from promptseg.prompts import Prompt
from promptseg.volume import Geometry, Volume

__all__ = ["Place", "add"]

DLS_VERSION = "0.1.2"  # the reference service's number; the client parses it as integers and asks for at least this
MODEL = "nnInteractive"  # a compatibility name: the client's polygon tool asks for a model of this id and no other
MAX_VIEWERS = 16
IDLE_S = 8 * 3600.0  # the client cannot begin again on its own, and never says goodbye
FAST = 1  # gzip level
METADATA_BYTES = 64 * 1024
INTERACTIONS = ("point", "scribble", "lasso")
Shape = tuple[int, int, int]

router = APIRouter(include_in_schema=False)


@dataclass(eq=False)
class Place:
    """What a session holds: nothing until an image is uploaded."""

    drawing: Drawing | None = None


def add(app: FastAPI, viewers: Viewers[Place] | None = None) -> None:
    """Add the protocol to an application; ``viewers`` replaces the usual limits."""
    app.state.itksnap = viewers or Viewers(limit=MAX_VIEWERS, idle_s=IDLE_S, per_owner=places(app))
    app.include_router(router)


def _open(who: Who) -> AppState:
    if who.state.settings.auth != "none":
        raise HTTPException(403, "ITK-SNAP's protocol has no login; use a server without users on this machine")
    return who.state


def _guest(sid: str, request: Request, who: Who) -> Visit[Place]:
    viewers: Viewers[Place] = request.app.state.itksnap
    state = _open(who)
    viewer = viewers.find(who.user, sid)
    if viewer is None:
        raise HTTPException(404, "this session has ended; reload the image or restart ITK-SNAP")
    return Visit(viewer, viewers, state)


Open = Annotated[AppState, Depends(_open)]
Guest = Annotated[Visit[Place], Depends(_guest)]


@router.get("/status")
async def status() -> dict[str, str]:
    """Say that the server is there."""
    return {"status": "ok", "version": DLS_VERSION}


@router.get("/v2/models")
async def models(state: Open) -> dict[str, Any]:
    """Offer the one model."""
    return {"models": [{"id": MODEL, "channels": [1], "dimensions": 3, "interactions": list(INTERACTIONS)}]}


@router.get("/start_session")
async def start_session(request: Request, state: Open, who: Who) -> dict[str, str]:
    """Begin a session; the longest idle one gives way where there are too many."""
    viewers: Viewers[Place] = request.app.state.itksnap
    return {"session_id": viewers.take(who.user, Place(), make_room=True).token}


@router.get("/v2/start_session/{model_id}")
async def start_model_session(model_id: str, request: Request, state: Open, who: Who) -> dict[str, str]:
    """Begin a session with a model."""
    if model_id != MODEL:
        raise HTTPException(404, f"no such model; expected {MODEL}")
    return await start_session(request, state, who)


@router.post("/upload_raw/{sid}")
@router.post("/v2/upload_raw/{sid}")
async def upload_raw(request: Request, guest: Guest) -> dict[str, str]:
    """Take an image; an earlier one, its prompts and its mask are gone."""
    with guest.viewers.using(guest.viewer) as place, our_errors_as_400():
        raw, data = await _uploaded(request, guest.state)
        volume = await run_in_threadpool(_volume, raw, data, guest.state)
        place.drawing = None
        place.drawing = await begin(guest.state, guest.viewer.owner, guest.viewer.token, volume)
    guest.state.audit.note(guest.viewer.owner, "itk-snap image", volume.content_hash, "")
    return {"message": "image stored"}


@router.get("/process_point_interaction/{sid}")
async def point(guest: Guest, x: float, y: float, z: float, foreground: bool = True) -> dict[str, str]:
    """A click, version 1."""
    return await _prompted(guest, lambda shape: _inside((z, y, x), foreground, shape))


@router.get("/v2/process_point_interaction/{sid}")
async def point_v2(request: Request, guest: Guest, foreground: bool = True) -> dict[str, str]:
    """A click, version 2: ``point`` comes three times, x first."""
    with our_errors_as_400():
        try:
            x, y, z = (float(value) for value in request.query_params.getlist("point"))
        except ValueError:
            raise PromptError("expected the query field point three times, for x, y and z") from None
    return await _prompted(guest, lambda shape: _inside((z, y, x), foreground, shape))


@router.post("/process_scribble_interaction/{sid}")
@router.post("/v2/process_scribble_interaction/{sid}")
async def scribble(request: Request, guest: Guest, foreground: bool = True) -> dict[str, str]:
    """A painted stroke, as a mask of the whole volume."""
    painted = await _mask(request, guest)

    def make(shape: Shape) -> list[Prompt]:
        prompt = scribble_prompt(painted, (0, 0, 0), foreground, shape)
        return [] if prompt is None else [prompt]

    return await _prompted(guest, make)


@router.post("/process_lasso_interaction/{sid}")
@router.post("/v2/process_lasso_interaction/{sid}")
async def lasso(request: Request, guest: Guest, foreground: bool = True) -> dict[str, str]:
    """A filled polygon, as a mask of the whole volume."""
    filled = await _mask(request, guest)
    return await _prompted(guest, lambda shape: [*lasso_prompts(filled, (0, 0, 0), foreground, shape)])


@router.get("/reset_interactions/{sid}")
@router.get("/v2/reset_interactions/{sid}")
async def reset(guest: Guest) -> dict[str, str]:
    """Begin another object on the same image."""
    with guest.viewers.using(guest.viewer) as place:
        if (drawing := place.drawing) is not None:
            await guest.turn(lambda _: drawing.reset())
    return {"status": "success"}


@router.get("/end_session/{sid}")
@router.get("/v2/end_session/{sid}")
async def end_session(guest: Guest) -> dict[str, str]:
    """End a session."""
    guest.viewers.leave(guest.viewer.owner, guest.viewer.token)
    return {"message": "Session ended"}


async def _prompted(guest: Visit[Place], make: Callable[[Shape], list[Prompt]]) -> dict[str, str]:
    with guest.viewers.using(guest.viewer) as place, our_errors_as_400():
        drawing = _image(place)

        def step(turn: Turn) -> bytes:
            prompts = make(drawing.volume.shape)
            if prompts:
                drawing.add(*prompts, on_progress=lambda _: turn.pause())
            return drawing.shown.tobytes()  # uint8 of 0 and 1 reads the same as int8; x runs fastest

        voxels: bytes = await guest.turn(step)
        packed = await run_in_threadpool(gzip.compress, voxels, FAST)
    return {"status": "success", "result": base64.b64encode(packed).decode("ascii")}


def _image(place: Place) -> Drawing:
    if place.drawing is None:
        raise HTTPException(409, "no image in this session; reload the image or restart ITK-SNAP")
    return place.drawing


def _inside(voxel: tuple[float, float, float], positive: bool, shape: Shape) -> list[Prompt]:
    if not all(-0.5 <= v <= n - 0.5 for v, n in zip(voxel, shape, strict=True)):
        raise PromptError(f"expected a point inside the image of size (z, y, x) {list(shape)}, got {list(voxel)}")
    return [point_prompt(voxel, positive, shape)]


async def _mask(request: Request, guest: Visit[Place]) -> NDArray[Any]:
    with our_errors_as_400():
        drawing = _image(guest.viewer.content)
        raw, data = await _uploaded(request, guest.state)
        mask = await run_in_threadpool(_array, raw, data, guest.state)
        if mask.shape != drawing.volume.shape:
            raise PromptError(f"expected a mask of the image's size {drawing.volume.shape}, got {mask.shape}")
        return mask


async def _uploaded(request: Request, state: AppState) -> tuple[bytes, dict[str, Any]]:
    """Return the packed voxels and what is said about them."""
    async with request.form(max_files=1, max_fields=4, max_part_size=METADATA_BYTES) as form:
        file, text = form.get("file"), form.get("metadata")
        if not isinstance(file, UploadFile) or text is None:
            raise PromptError("expected the parts 'file' and 'metadata'")
        if isinstance(text, UploadFile):
            text = (await text.read(METADATA_BYTES)).decode("utf-8", "replace")
        limit = state.settings.limits.upload_bytes
        raw = await file.read(limit + 1)
    if len(raw) > limit:
        raise PromptError(f"expected at most {limit} bytes, got more")
    return raw, json_object(text, "the part 'metadata'")


def _array(raw: bytes, data: Mapping[str, Any], state: AppState) -> NDArray[Any]:
    """Return the uploaded float32 voxels: (z, y, x), or (z, y, x, c) of several components."""
    size = _list(data, "dimensions", (2, 3))
    components = int(data.get("components_per_pixel", 1))
    dims = [int(n) for n in size] + [1] * (3 - len(size))
    if min(dims) < 1 or not 1 <= components <= 16:
        raise PromptError(f"expected positive dimensions and 1 to 16 components, got {size} and {components}")
    count = dims[0] * dims[1] * dims[2]
    if count > state.settings.limits.voxels:
        raise PromptError(f"expected at most {state.settings.limits.voxels} voxels, got {count}")
    if data.get("component_type", "float32") != "float32":
        raise PromptError(f"expected component_type float32, got {data['component_type']!r}")
    wanted = 4 * count * components
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(raw, wanted + 1)
    except zlib.error as exc:
        raise PromptError(f"expected gzip in the part 'file': {exc}") from exc
    if len(plain) != wanted:
        raise PromptError(f"expected {wanted} bytes of float32 for dimensions {size}, got {len(plain)} or more")
    array = np.frombuffer(plain, "<f4").reshape(*dims[::-1], components)
    return array[..., 0] if components == 1 else array


def _volume(raw: bytes, data: Mapping[str, Any], state: AppState) -> Volume:
    """Return the uploaded image on its grid: ITK's order (x, y, z), LPS mm, as ours."""
    array = np.nan_to_num(_array(raw, data, state), nan=0.0, posinf=0.0, neginf=0.0)
    flat = len(data["dimensions"]) == 2
    spacing = [*_list(data, "spacing", (2, 3)), 1.0][:3]
    origin = [*_list(data, "origin", (2, 3)), 0.0][:3]
    direction = _list(data, "direction", (4, 9))
    if len(direction) == 4:
        a, b, c, d = direction
        direction = [a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0]
    shape = (int(array.shape[0]), int(array.shape[1]), int(array.shape[2]))
    if flat and shape[0] != 1:
        raise PromptError("expected one slice for two dimensions")
    geometry = Geometry(shape, _three(spacing), _three(origin), tuple(direction))
    if array.ndim == 4 and array.shape[3] == 3 and array.min() >= 0 and array.max() <= 255:
        return Volume.from_array(array.astype(np.uint8), geometry)
    return Volume.from_array(array.mean(axis=3) if array.ndim == 4 else array, geometry)


def _three(values: list[float]) -> tuple[float, float, float]:
    x, y, z = values
    return (x, y, z)


def _list(data: Mapping[str, Any], name: str, lengths: tuple[int, int]) -> list[float]:
    try:
        values = [float(v) for v in data[name]]
    except (KeyError, TypeError, ValueError):
        values = []
    if len(values) not in lengths or not np.isfinite(values).all():
        raise PromptError(f"expected {name} as {' or '.join(map(str, lengths))} numbers in the part 'metadata'")
    return values
