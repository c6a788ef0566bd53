"""nnInteractive's remote protocol, version 2: napari-nninteractive, SlicerNNInteractive, ``nninteractive-client``.

The viewer claims a viewer, sends its image and keeps a mask of its own; every answer is the new content of the box that
changed. Axes are the viewer's array axes and are never turned round: they are (z, y, x) here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from promptseg.app.door.caller import Who
from promptseg.app.errors import FullError
from promptseg.app.live.queueing import Turn
from promptseg.app.protocols.drawing import Drawing, box_prompt, lasso_prompts, point_prompt, scribble_prompt
from promptseg.app.protocols.frames import unpack
from promptseg.app.protocols.nnwire import (
    buffer_dtype,
    corner_of,
    field_of,
    is_flat,
    is_positive,
    prediction,
    volume_of,
)
from promptseg.app.protocols.viewers import Viewers
from promptseg.app.protocols.work import Visit, begin, body_of, json_object, model_of, our_errors_as_400, places
from promptseg.app.state import AppState
from promptseg.errors import PromptError
from promptseg.models.weights.registry import model_card
from promptseg.prompts import MaskPrompt, Prompt
from promptseg.volume.label_voxels import Changed

__all__ = ["Place", "add", "capabilities"]

MAX_VIEWERS = 16
IDLE_S, LIVENESS_S = 600.0, 60.0  # the reference server's; clients beat every 30 s then
FULL_RETRY_S = 10
SUPPORTED = {"scribble": True, "lasso": True, "points": True, "bbox2d": True, "bbox3d": False}


@dataclass(eq=False)
class Place:
    """What a viewer works on: nothing at first, then an image, then the viewer's mask of some dtype."""

    drawing: Drawing | None = None
    dtype: np.dtype[Any] | None = None

    def ready(self) -> Drawing:
        """Return the drawing.

        Raises:
            PromptError: the viewer has sent no image or no target buffer yet.
        """
        if self.drawing is None or self.dtype is None:
            raise PromptError("expected an image and a target buffer before the first prompt; send them first")
        return self.drawing


Shape = tuple[int, int, int]


def capabilities(state: AppState) -> dict[str, Any]:
    """Return what a client is told of the server. Channel numbers belong to another network; clients want the keys."""
    card = model_card(model_of(state))
    return {
        "supported_interactions": dict(SUPPORTED),
        "channel_mapping": {
            "prev_seg": 0,
            "bbox2d": [1, 2],
            "bbox3d": [1, 2],
            "lasso": [1, 2],
            "points": [3, 4],
            "scribble": [5, 6],
        },
        "num_interaction_channels": 7,
        "supports_initial_label": True,
        "supports_zero_shot_label_refinement": True,
        "preferred_scribble_thickness": [2, 2, 2],
        "interaction_decay": None,
        "patch_size": None,
        "do_autozoom": True,
        "inference_session_version": f"promptseg {version('promptseg')}",
        "license": f"{card.licence} ({card.id})",
        "supports_undo": True,
    }


router = APIRouter(include_in_schema=False)


def add(app: FastAPI, viewers: Viewers[Place] | None = None) -> None:
    """Add the protocol to an application; ``viewers`` replaces the usual limits."""
    app.state.nninteractive = viewers or Viewers(
        limit=MAX_VIEWERS, idle_s=IDLE_S, liveness_s=LIVENESS_S, per_owner=places(app)
    )
    app.include_router(router)


def _guest(request: Request, who: Who) -> Visit[Place]:
    viewers: Viewers[Place] = request.app.state.nninteractive
    viewer = viewers.find(who.user, request.headers.get("X-Lease-Token"))
    if viewer is None:
        raise HTTPException(410, "this place is no longer held: it was idle too long, or the server restarted")
    return Visit(viewer, viewers, who.state)


Guest = Annotated[Visit[Place], Depends(_guest)]


@router.get("/healthz")
async def healthz(request: Request) -> dict[str, bool]:
    """Say that the server is there and its models answer; needs no key."""
    state: AppState = request.app.state.promptseg
    if state.sessions.queues.silent_s() > state.settings.limits.stuck_s:
        raise HTTPException(503, "a model does not answer any more")
    return {"ok": True}


@router.post("/claim")
async def claim(request: Request, who: Who) -> dict[str, Any]:
    """Let a viewer in."""
    viewers: Viewers[Place] = request.app.state.nninteractive
    try:
        viewer = viewers.take(who.user, Place())
    except FullError as exc:
        raise HTTPException(503, str(exc), {"Retry-After": str(FULL_RETRY_S)}) from exc
    return {
        "lease_token": viewer.token,
        "idle_timeout_seconds": viewers.idle_s,
        "liveness_timeout_seconds": viewers.liveness_s,
        "max_sessions": viewers.limit,
    }


@router.get("/capabilities")
async def tell_capabilities(who: Who) -> dict[str, Any]:
    """Tell what the server can do."""
    return capabilities(who.state)


@router.post("/release")
async def release(request: Request, who: Who) -> dict[str, bool]:
    """Let a viewer go; fine also where there is none."""
    request.app.state.nninteractive.leave(who.user, request.headers.get("X-Lease-Token"))
    return {"released": True}


@router.post("/heartbeat")
async def heartbeat(guest: Guest) -> dict[str, float]:
    """Note that the viewer is there; answered also while a prediction runs."""
    guest.viewers.sign_of_life(guest.viewer)
    return {"remaining_seconds": guest.viewers.left_s(guest.viewer)}


@router.get("/lease_status")
async def lease_status(guest: Guest) -> dict[str, float]:
    """Tell how long the viewer is held without a request."""
    return {"remaining_seconds": guest.viewers.left_s(guest.viewer), "idle_timeout_seconds": guest.viewers.idle_s}


@router.post("/set_image")
async def set_image(request: Request, guest: Guest) -> dict[str, list[int]]:
    """Take a new image; mask, prompts and undo of the old one are gone."""
    with guest.viewers.using(guest.viewer) as place, our_errors_as_400():
        array, data = await _framed(request, guest.state)
        volume = await run_in_threadpool(volume_of, array, data.get("image_properties") or {}, guest.state)
        place.drawing = place.dtype = None
        place.drawing = await begin(guest.state, guest.viewer.owner, guest.viewer.token, volume)
    guest.state.audit.note(guest.viewer.owner, "nninteractive image", volume.content_hash, "")
    return {"original_image_shape": [int(array.shape[0]), *volume.shape]}


@router.post("/set_target_buffer")
async def set_target_buffer(request: Request, guest: Guest) -> dict[str, Any]:
    """Begin with an empty mask of the viewer's dtype."""
    data = await _json(request)
    with guest.viewers.using(guest.viewer) as place, our_errors_as_400():
        if place.drawing is None:
            raise PromptError("expected an image before the target buffer; send it first")
        drawing, dtype = place.drawing, buffer_dtype(data, place.drawing.volume.shape)
        await guest.turn(lambda _: drawing.reset())
        place.dtype = dtype
    return {}


@router.post("/set_do_autozoom")
async def set_do_autozoom(request: Request, guest: Guest) -> dict[str, Any]:
    """Accepted: the engine always looks as near as it needs to."""
    with guest.viewers.using(guest.viewer):
        await _json(request)
    return {}


@router.post("/reset_interactions")
async def reset_interactions(guest: Guest) -> dict[str, Any]:
    """Begin another object on the same image."""
    with guest.viewers.using(guest.viewer) as place, our_errors_as_400():
        drawing = place.ready()
        await guest.turn(lambda _: drawing.reset())
    return {}


@router.post("/undo")
async def undo(guest: Guest) -> Response:
    """Take the last step back."""
    return await _step(guest, lambda drawing, _: (drawing.can_undo, drawing.undo()))


@router.post("/predict")
async def predict(guest: Guest) -> Response:
    """Answer the prompts that wait."""

    def step(drawing: Drawing, turn: Turn) -> tuple[bool, Changed | None]:
        if not drawing.is_pending():
            return False, None
        return True, drawing.propagate(on_progress=lambda _: turn.pause())

    return await _step(guest, step)


@router.post("/add_point_interaction")
async def add_point(request: Request, guest: Guest) -> Response:
    """A click."""
    data = await _json(request)
    at, sign = field_of(data, "coordinates"), is_positive(data)
    return await _prompted(guest, data, lambda shape: [point_prompt(at, sign, shape)])


@router.post("/add_bbox_interaction")
async def add_bbox(request: Request, guest: Guest) -> Response:
    """A box on one slice."""
    data = await _json(request)
    spans, sign = field_of(data, "bbox_coords"), is_positive(data)

    def make(shape: Shape) -> list[Prompt]:
        if not data.get("override_capability_checks") and not is_flat(spans):
            raise PromptError("3D boxes are not supported: expected a box that is one voxel thick along one axis")
        return [box_prompt(spans, sign, shape)]

    return await _prompted(guest, data, make)


@router.post("/add_scribble_interaction")
async def add_scribble(request: Request, guest: Guest) -> Response:
    """A painted stroke."""
    with our_errors_as_400():
        painted, data = await _framed(request, guest.state)
    sign = is_positive(data)

    def make(shape: Shape) -> list[Prompt]:
        prompt = scribble_prompt(painted, corner_of(painted, data.get("interaction_bbox"), shape), sign, shape)
        return [] if prompt is None else [prompt]

    return await _prompted(guest, data, make)


@router.post("/add_lasso_interaction")
async def add_lasso(request: Request, guest: Guest) -> Response:
    """A filled outline."""
    with our_errors_as_400():
        filled, data = await _framed(request, guest.state)
    sign = is_positive(data)

    def make(shape: Shape) -> list[Prompt]:
        return [*lasso_prompts(filled, corner_of(filled, data.get("interaction_bbox"), shape), sign, shape)]

    return await _prompted(guest, data, make)


@router.post("/add_initial_seg_interaction")
async def add_initial_seg(request: Request, guest: Guest) -> Response:
    """An existing mask to go on from."""
    with our_errors_as_400():
        mask, data = await _framed(request, guest.state)
    run = bool(data.get("run_prediction", False))

    def step(drawing: Drawing, _: Turn) -> tuple[bool, Changed | None]:
        if mask.shape != drawing.volume.shape:
            raise PromptError(f"expected a mask of shape {list(drawing.volume.shape)}, got {list(mask.shape)}")
        box = drawing.add(MaskPrompt(mask != 0))
        return (True, box) if run else (False, None)

    return await _step(guest, step)


async def _prompted(guest: Visit[Place], data: Mapping[str, Any], make: Callable[[Shape], list[Prompt]]) -> Response:
    run = bool(data.get("run_prediction", True))

    def step(drawing: Drawing, turn: Turn) -> tuple[bool, Changed | None]:
        prompts = make(drawing.volume.shape)
        if not prompts:
            return run, None
        return run, drawing.add(*prompts, predict=run, on_progress=lambda _: turn.pause())

    return await _step(guest, step)


async def _step(guest: Visit[Place], step: Callable[[Drawing, Turn], tuple[bool, Changed | None]]) -> Response:
    """Do a step on the viewer's drawing and answer with the box that changed."""
    with guest.viewers.using(guest.viewer) as place, our_errors_as_400():
        drawing, dtype = place.ready(), place.dtype

        def whole(turn: Turn) -> Response:
            return prediction(drawing, dtype, *step(drawing, turn))

        answer: Response = await guest.turn(whole)
        return answer


async def _json(request: Request) -> dict[str, Any]:
    try:
        data = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as exc:
        raise HTTPException(400, f"expected JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise HTTPException(422, "expected a JSON object")
    return data


async def _framed(request: Request, state: AppState) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return the array in the body and the parameters in the header."""
    data = json_object(request.headers.get("X-Meta") or "{}", "the header X-Meta")
    limit = state.settings.limits.upload_bytes
    body = await body_of(request, limit)
    return await run_in_threadpool(unpack, body, limit=limit), data
