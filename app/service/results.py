"""Routes: the image, the labels, what they measure, and files to take away."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from numpy.typing import NDArray

from promptseg.app.door.caller import Caller, Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.live.exporting import EXPORTS, ZIP, export, measured, reads_the_log
from promptseg.app.live.served import Served
from promptseg.app.service.fields import Plane
from promptseg.app.service.schema import SliceReviewOut
from promptseg.app.service.work import ask, live, threaded
from promptseg.app.store import Study
from promptseg.app.studies.series import Content
from promptseg.app.studies.sharing import Role
from promptseg.errors import WriteError
from promptseg.io.nifti_bytes import nifti_header
from promptseg.session.session import Session

__all__ = ["collection", "router"]

router = APIRouter(prefix="/sessions/{session_id}", tags=["results"], responses=ERRORS)
collection = APIRouter(prefix="/collection", tags=["results"], responses=ERRORS)
NIFTI = "application/octet-stream"
BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {NIFTI: {}}, "description": "NIfTI-1, uncompressed"}}
EXPORTED: dict[str, Any] = {kind.partition(";")[0]: {} for kind in (ZIP, *(one.media_type for one in EXPORTS.values()))}
BLOCK = 1024**2


@router.get("/image.nii", response_class=FileResponse, responses=BYTES)
async def image(who: Who, session_id: str, frame: Annotated[int | None, Query(ge=0, le=100_000)] = None) -> Response:
    """Return the image for a viewer: int16, uint8, float32 or RGB24; voxel (i, j, k) is our (z, y, x) = (k, j, i).

    ``frame`` shows another frame of a 4D image; the session's labels belong to its own.
    """
    served = await live(who, session_id, Role.READER)
    tag = f'"{served.session.volume.content_hash}-{frame}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if who.request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    who.state.audit.note(who.user, "image read", served.session.volume.content_hash, session_id)
    path = await threaded(_image_file, who, served, frame)
    return FileResponse(path, media_type=NIFTI, headers=headers)


def _image_file(who: Caller, served: Served, frame: int | None) -> Path:
    row = who.state.sessions.stored.row(who.user, served.id)
    study = who.state.catalogue.get(who.user, row.study_id)
    series = Content.from_dict(study.content).get(row.series)
    volume, volumes = served.session.volume, who.state.volumes
    if frame is not None and frame != (row.frame or 0):
        volume = volumes.volume(study.id, Path(study.folder), series, frame)
    else:
        frame = row.frame
    return volumes.image_file(study.id, series, frame, volume)


@router.get("/labels.nii", response_class=StreamingResponse, responses=BYTES)
async def labels(who: Who, session_id: str) -> Response:
    """Return the labels as they stand, uint8, on the image's grid; the header X-Revision says which state it is."""
    served = await live(who, session_id, Role.READER)
    who.state.audit.note(who.user, "labels read", served.session.volume.content_hash, session_id)
    revision = served.shown.revision
    array = await threaded(served.array.copy)
    return _nifti(array, served, {"X-Revision": str(revision)})


@router.get("/probabilities.nii", response_class=StreamingResponse, responses=BYTES)
async def probabilities(
    who: Who, session_id: str, label: Annotated[int | None, Query(ge=1, le=255)] = None
) -> Response:
    """Return how probably each voxel is the label's, float32 of 0 to 1, where a 3D network has answered it."""
    served = await live(who, session_id)
    return _nifti(await ask(who, session_id, lambda session: session.probabilities(label)), served)


def _nifti(array: NDArray[Any], served: Served, headers: dict[str, str] | None = None) -> Response:
    head = nifti_header(array, served.session.volume.geometry)

    def blocks() -> Iterator[bytes]:
        yield head
        flat = memoryview(array.tobytes())
        for start in range(0, len(flat), BLOCK):
            yield bytes(flat[start : start + BLOCK])

    length = {"Content-Length": str(len(head) + array.nbytes), "Cache-Control": "no-store"}
    return StreamingResponse(blocks(), media_type=NIFTI, headers={**length, **(headers or {})})


@router.get("/review", response_model=list[SliceReviewOut])
async def review(who: Who, session_id: str, label: Annotated[int | None, Query(ge=1, le=255)] = None) -> Any:
    """List the slices of a label, the least sure first, with the reason."""
    return await ask(who, session_id, lambda session: _review(session, label))


def _review(session: Session, label: int | None) -> list[dict[str, Any]]:
    if not session.labels:
        return []
    return [
        {**vars(one), "plane": one.plane.value, "measured": one.measured and vars(one.measured)}
        for one in session.review(label)
    ]


@router.get("/confidence", response_model=list[float | None])
async def confidence(
    who: Who,
    session_id: str,
    label: Annotated[int | None, Query(ge=1, le=255)] = None,
    plane: Plane = "axial",
) -> Any:
    """Return a label's confidence, 0 to 1, for every slice of a plane; null where it has no voxel."""
    return await ask(who, session_id, lambda session: _confidence(session, label, plane))


def _confidence(session: Session, label: int | None, plane: str) -> list[float | None]:
    if not session.labels:
        return []
    values = session.confidence(label, plane)
    return [None if math.isnan(value) else float(value) for value in values]


@router.get("/measurements", response_model=list[dict[str, Any]])
async def measurements(who: Who, session_id: str) -> Any:
    """Measure every label that has a voxel: one row per label and quantity."""
    served = await live(who, session_id, Role.READER)
    who.state.audit.note(who.user, "measurements read", served.session.volume.content_hash, session_id)
    async with who.state.exports.of(who.user):
        return await threaded(measured, served)


async def _exported(
    who: Caller, session_id: str, format: str, label: int | None = None, identity: bool = False
) -> tuple[str, bytes, str]:
    served = await live(who, session_id, Role.READER)
    row = await threaded(who.state.sessions.stored.row, who.user, session_id)
    study: Study = await threaded(who.state.catalogue.get, who.user, row.study_id)
    async with who.state.exports.of(who.user):
        if reads_the_log(format):  # from a copy, beside everybody's clicks
            served = served.beside(await ask(who, session_id, lambda session: session.twin()))
        found = await threaded(export, served, row, study, format, label, identity=identity)
    volume, action = served.session.volume, f"export {format}{' with identity' if identity else ''}"
    await threaded(who.state.audit.note_now, who.user, action, volume.content_hash, session_id)
    return found


@router.get(
    "/export",
    response_class=FileResponse,
    responses={200: {"content": EXPORTED, "description": "The file; several come as one zip archive"}},
)
async def export_labels(
    who: Who,
    session_id: str,
    format: Annotated[Literal[tuple(EXPORTS)], Query()],  # type: ignore[valid-type]  # a tuple of names, as Literal takes it
    label: Annotated[int | None, Query(ge=1, le=255)] = None,
    identity: Annotated[bool, Query()] = False,
) -> Response:
    """Take the labels away as a file; with ``identity`` a DICOM object keeps the patient's name, id and dates."""
    name, content, kind = await _exported(who, session_id, format, label, identity)
    digest = hashlib.sha256(content).hexdigest()
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-SHA256": digest}
    return Response(content, media_type=kind, headers=headers)


@collection.get(
    "",
    response_class=FileResponse,
    responses={200: {"content": {ZIP: {}}, "description": "A folder for each session"}},
)
async def export_many(
    who: Who,
    format: Annotated[Literal[tuple(EXPORTS)], Query()],  # type: ignore[valid-type]  # a tuple of names, as Literal takes it
    state: Annotated[Literal["new", "work", "done", "rejected"], Query()] = "done",
) -> Response:
    """Take the labels of all your sessions of a state away, as one zip archive with a folder for each session."""
    lines = await threaded(who.state.worklist.lines, who.user)
    wanted = [line for line in lines if line["state"] == state and line["labels"]]
    if not wanted:
        raise WriteError(f"there is no session of state {state!r} with a label")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, line in enumerate(wanted, start=1):
            name, content, _ = await _exported(who, line["id"], format)
            archive.writestr(f"{number:03d}-{line['id'][:8]}/{name}", content)
        archive.writestr("sessions.json", json.dumps(wanted, indent=1, ensure_ascii=False))
    headers = {"Content-Disposition": f'attachment; filename="sessions-{state}.zip"'}
    return Response(buffer.getvalue(), media_type=ZIP, headers=headers)
