"""MONAI Label's REST protocol: 3D Slicer's MONAILabel module, and OHIF over a DICOM folder of the server.

The client sends an image once and then all clicks of the present object with every request; the answer is a label file
on the image's grid.
"""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from promptseg.app.door.caller import Caller, Who
from promptseg.app.live.queueing import Turn
from promptseg.app.protocols.datastore import FINAL, Datastore, Stored
from promptseg.app.protocols.dicom_source import DicomSource
from promptseg.app.protocols.drawing import Drawing
from promptseg.app.protocols.monaiwire import PARAMS_BYTES, ending_of, mask_file, multipart, params_of, prompts_of
from promptseg.app.protocols.viewers import Viewer, Viewers
from promptseg.app.protocols.work import begin, in_turn, model_of, our_errors_as_400, places
from promptseg.app.studies.uploads import Intake
from promptseg.errors import PromptError
from promptseg.io.read import read_volume
from promptseg.volume import Volume

__all__ = ["MODEL", "Place", "add"]

MODEL = "promptseg_click"
LABEL = "structure"
MAX_VIEWERS = 16
IDLE_S = 3600.0  # MONAI Label's own expiry

router = APIRouter(include_in_schema=False)


@dataclass(eq=False)
class Place:
    """An image that a client clicks on, and where it came from ("" for a session's own)."""

    drawing: Drawing
    origin: str = ""


def add(app: FastAPI, viewers: Viewers[Place] | None = None) -> None:
    """Add the protocol to an application; ``viewers`` replaces the usual limits."""
    app.state.monailabel = viewers or Viewers(limit=MAX_VIEWERS, idle_s=IDLE_S, per_owner=places(app))
    app.state.dicom_source = DicomSource(app.state.promptseg)
    app.include_router(router)


@router.get("/info/")
async def info(who: Who) -> dict[str, Any]:
    """Tell what there is. A top-level "config" would make Slicer think the server is too old."""
    objects = await run_in_threadpool(lambda: _datastore(who).objects())
    tags = [tag for one in objects.values() for tag in one["labels"]]
    model = {
        "type": "deepgrow",
        "labels": [LABEL],
        "dimension": 3,
        "description": f"promptseg ({model_of(who.state)}): clicks into a 3D mask. Research use only.",
        "config": {},
    }
    return {
        "name": "promptseg",
        "description": "Promptable segmentation. Research use only: not a medical device.",
        "version": version("promptseg"),
        "labels": [LABEL],
        "models": {MODEL: model},
        "trainers": {},
        "strategies": {},
        "scoring": {},
        "train_stats": {},
        "datastore": {
            "total": len(objects),
            "completed": sum(FINAL in one["labels"] for one in objects.values()),
            "label_tags": {tag: tags.count(tag) for tag in sorted(set(tags))},
        },
    }


@router.get("/auth/")
async def auth(request: Request) -> dict[str, bool]:
    """Tell whether a login is needed; asked by Slicer before every call."""
    return {"enabled": request.app.state.promptseg.settings.auth != "none"}


@router.post("/auth/token")
async def auth_token(request: Request) -> dict[str, str]:
    """Take the API key, which a person types as the password; whether it is known shows at the next request."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    return {"access_token": next(iter(fields.get("password", [""]))), "token_type": "bearer"}


@router.get("/auth/token/valid")
async def auth_token_valid(who: Who) -> dict[str, bool]:
    """Answer whoever comes with a known key."""
    return {"valid": True}


@router.get("/train/")
async def train() -> None:
    """Nothing is being trained: any other answer than an error would say that something is."""
    raise HTTPException(404, "no training runs here")


@router.put("/session/")
async def put_session(request: Request, who: Who) -> dict[str, Any]:
    """Take an image (one file, or the files of a DICOM series) for a session."""
    with our_errors_as_400():
        async with _form(request) as form:
            files = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
            if not files:
                raise PromptError("expected the image in the part 'files'")
            volume = await run_in_threadpool(_read_files, files, who)
        drawing = await begin(who.state, who.user, secrets.token_hex(8), volume)
    viewer = _viewers(request).take(who.user, Place(drawing), make_room=True)
    who.state.audit.note(who.user, "monai image", volume.content_hash, "")
    return {"session_id": viewer.token, "session_info": _session_info(viewer, request)}


@router.get("/session/{sid}")
async def get_session(sid: str, request: Request, who: Who) -> dict[str, Any]:
    """Describe a session; ``{}`` where it is gone: Slicer then sends the image again, on 404 it only fails."""
    viewer = _viewers(request).find(who.user, sid)
    return {} if viewer is None else _session_info(viewer, request)


@router.delete("/session/{sid}")
async def delete_session(sid: str, request: Request, who: Who) -> dict[str, Any]:
    """End a session."""
    viewer = _viewers(request).find(who.user, sid)
    if viewer is None:
        raise HTTPException(404, "no such session")
    _viewers(request).leave(who.user, sid)
    return _session_info(viewer, request)


@router.post("/infer/{model}")
async def infer(
    model: str, request: Request, who: Who, image: str = "", session_id: str = "", output: str = ""
) -> Response:
    """Answer all clicks of one object with a label file on the image's grid."""
    if model != MODEL:
        raise HTTPException(404, f"no model {model!r}; expected {MODEL}")
    with our_errors_as_400():
        async with _form(request) as form:
            params = await params_of(form)
            viewer = await _viewer(request, who, form, session_id, image)
        with _viewers(request).using(viewer) as place:
            drawing = place.drawing

            def step(turn: Turn) -> bytes:
                prompts = prompts_of(params, drawing.volume.shape)
                drawing.reset()
                if prompts:
                    drawing.add(*prompts, on_progress=lambda _: turn.pause())
                return mask_file(drawing, ending_of(params), packed=output != "image")

            content = await in_turn(who.state, who.user, viewer.token, step)
    label = str(params.get("label") or LABEL)
    answer = {"label_names": {label: 1}, "latencies": {}}
    if output == "json":
        return JSONResponse(answer)
    name = secrets.token_hex(8) + ending_of(params)
    if output == "image":
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/octet-stream", headers=headers)
    return multipart(answer, name, content)


@router.put("/datastore/")
@router.put("/datastore/image")
async def put_image(request: Request, who: Who, image: str = "") -> dict[str, str]:
    """Keep an image under the client's name for it."""
    await _keep(request, who, image, "file", None)
    return {"image": image}


@router.put("/datastore/label")
async def put_label(request: Request, who: Who, image: str = "", tag: str = "") -> dict[str, str]:
    """Keep a label that a person has finished."""
    await _keep(request, who, image, "label", tag or FINAL)
    return {"image": image, "label": image}


@router.delete("/datastore/")
@router.delete("/datastore/image")
async def delete_image(who: Who, image: str = "", id: str = "") -> dict[str, str]:
    """Delete an image and its labels."""
    return await _delete(who, image or id, None)


@router.delete("/datastore/label")
async def delete_label(who: Who, label: str = "", id: str = "", tag: str = FINAL) -> dict[str, str]:
    """Delete one label of an image."""
    return await _delete(who, label or id, tag)


@router.get("/datastore/")
async def datastore(who: Who) -> dict[str, Any]:
    """List all images and labels."""
    return {"objects": await run_in_threadpool(lambda: _datastore(who).objects())}


@router.get("/datastore/image")
async def get_image(who: Who, image: str) -> FileResponse:
    """Give an image back."""
    return _download(await run_in_threadpool(lambda: _datastore(who).image(image)))


@router.get("/datastore/label")
async def get_label(who: Who, label: str, tag: str = FINAL) -> FileResponse:
    """Give a label back."""
    return _download(await run_in_threadpool(lambda: _datastore(who).label(label, tag)))


@router.post("/activelearning/{strategy}")
async def next_sample(strategy: str, who: Who) -> dict[str, Any]:
    """There is no next image to suggest."""
    return {}


def _viewers(request: Request) -> Viewers[Place]:
    viewers: Viewers[Place] = request.app.state.monailabel
    return viewers


def _datastore(who: Caller) -> Datastore:
    state = who.state
    room = partial(state.catalogue.quota.require, who.user, 0)
    return Datastore(state.settings.data / "datastore", who.user, state.settings.limits, room)


def _session_info(viewer: Viewer[Place], request: Request) -> dict[str, Any]:
    """Describe a session without telling anything of the server's disk."""
    expiry = int(_viewers(request).idle_s)
    return {
        "name": viewer.token,
        "path": "",
        "image": "",
        "meta": {},
        "create_ts": 0,
        "last_access_ts": 0,
        "expiry": expiry,
    }


def _form(request: Request) -> Any:
    return request.form(max_files=20_000, max_fields=16, max_part_size=PARAMS_BYTES)


async def _viewer(request: Request, who: Caller, form: FormData, session_id: str, image: str) -> Viewer[Place]:
    """Find the image: a session's, else a stored one, else one that comes along, else a DICOM series."""
    viewers = _viewers(request)
    if session_id:
        viewer = viewers.find(who.user, session_id)
        if viewer is None:
            raise HTTPException(404, "no such session; load the image again")
        return viewer
    stored = await run_in_threadpool(lambda: _datastore(who).image(image)) if image else None
    file = form.get("file")
    if stored is not None:
        origin = f"datastore {stored.path}"
    else:
        origin = f"series {image}" if not isinstance(file, UploadFile) and image else ""
    if origin and (viewer := viewers.find_by(who.user, lambda place: place.origin == origin)) is not None:
        return viewer
    if stored is not None:
        volume: Volume | None = await run_in_threadpool(read_volume, stored.path)
    elif isinstance(file, UploadFile):
        volume = await run_in_threadpool(_read_files, [file], who)
    else:
        volume = await run_in_threadpool(request.app.state.dicom_source.read, image) if image else None
    if volume is None:
        raise HTTPException(404, f"no image {image!r}: send it, or name a DICOM series of the server")
    drawing = await begin(who.state, who.user, secrets.token_hex(8), volume)
    return viewers.take(who.user, Place(drawing, origin), make_room=True)


def _read_files(files: list[UploadFile], who: Caller) -> Volume:
    """Read an image from uploaded files, which do not stay."""
    state = who.state
    with tempfile.TemporaryDirectory(dir=state.settings.data / "cache") as folder:
        intake = Intake(Path(folder), state.settings.limits)
        for file in files:
            intake.add(Path((file.filename or "").replace("\\", "/")).name or "image", file.file)
        intake.finish()
        only = next(iter(intake.names)) if len(intake.names) == 1 else ""
        return read_volume(Path(folder) / only)


async def _keep(request: Request, who: Caller, image: str, part: str, tag: str | None) -> None:
    with our_errors_as_400():
        async with _form(request) as form:
            file, params = form.get(part), await params_of(form)
            if not isinstance(file, UploadFile):
                raise PromptError(f"expected a file in the part {part!r}")
            source: DicomSource = request.app.state.dicom_source

            def keep() -> None:
                store = _datastore(who)
                known = tag is not None and store.image(image) is None and source.is_known(image)  # OHIF's images
                store.put(image, file.filename or "file", file.file, tag=tag, info=params, known=known)

            await run_in_threadpool(keep)
    who.state.audit.note(who.user, "monai label kept" if tag else "monai image kept")


async def _delete(who: Caller, name: str, tag: str | None) -> dict[str, str]:
    if not await run_in_threadpool(lambda: _datastore(who).delete(name, tag)):
        raise HTTPException(404, "no such image or label")
    await run_in_threadpool(who.state.audit.note_now, who.user, "monai label deleted" if tag else "monai image deleted")
    return {}


def _download(stored: Stored | None) -> FileResponse:
    if stored is None:
        raise HTTPException(404, "no such image or label")
    return FileResponse(stored.path, media_type="application/octet-stream", filename=f"file{stored.ending}")
