"""Routes: labels from elsewhere into a session: mask files, and the labels of another frame."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from promptseg.app.door.caller import Caller, Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.errors import UnreadableBodyError
from promptseg.app.live.queueing import Turn
from promptseg.app.live.served import Served
from promptseg.app.service.schema import Delta, FrameIn, MaskSeriesIn, SessionState
from promptseg.app.service.sessions import state_answer
from promptseg.app.service.studies import UPLOAD
from promptseg.app.service.work import live, step, threaded
from promptseg.app.studies.series import Content
from promptseg.app.studies.sharing import Role
from promptseg.app.studies.uploads import Intake
from promptseg.errors import PromptError, PromptsegError, ReadError
from promptseg.export.read import read_masks_onto
from promptseg.session.carrying import carry_labels, free_names
from promptseg.session.session import Session
from promptseg.volume import Labelmap
from promptseg.volume.label_voxels import Changed, bounds

__all__ = ["router"]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {**UPLOAD, "application/json": {"schema": MaskSeriesIn.model_json_schema()}},
    }
}
router = APIRouter(prefix="/sessions/{session_id}", tags=["sessions"], responses=ERRORS)


@router.post("/masks", response_model=Delta, openapi_extra=BODY)
async def add_masks(who: Who, session_id: str) -> Response:
    """Add the labels of mask files: NIfTI, NRRD, MHA, TIFF, PNG, DICOM SEG or RTSTRUCT, put onto the image's grid.

    JSON ``{"series": id}`` names a file of the session's own study instead. Names and colours are kept; a name that is
    taken gets a number. Labels that are there keep their voxels, as the session's ``overlap`` says.
    """
    served = await live(who, session_id)
    if who.request.headers.get("content-type", "").startswith("application/json"):
        try:
            wanted = MaskSeriesIn.model_validate_json(await who.request.body())
        except ValidationError:
            raise UnreadableBodyError('expected {"series": id} or files') from None
        found = await threaded(_of_series, who, served, wanted)
    else:
        found = await _uploaded(who, served)

    def call(session: Session, _: Turn) -> Changed | None:
        before = session.labelmap.array
        for name, labelmap in found:
            session.import_labels(free_names(labelmap, session, name))
        return bounds(session.labelmap.array != before)

    return await step(who, session_id, "label", call)


async def _uploaded(who: Caller, served: Served) -> list[tuple[str, Labelmap]]:
    try:
        form = await who.request.form(max_files=who.state.settings.limits.upload_files, max_fields=10)
    except ClientDisconnect:
        raise ReadError("the upload ended too early") from None
    try:
        files = [(one.filename or "file", one.file) for one in form.getlist("files") if isinstance(one, UploadFile)]
        return await threaded(_read, who, served, files)
    finally:
        await form.close()


def _of_series(who: Caller, served: Served, wanted: MaskSeriesIn) -> list[tuple[str, Labelmap]]:
    """Return what another file of the session's own study holds."""
    study = who.state.catalogue.get(who.user, served.study_id)
    series = Content.from_dict(study.content).get(wanted.series)
    if series.dicom is not None:
        raise ReadError("expected a mask file of the study, got a DICOM series")
    path = Path(study.folder) / series.file if series.file else Path(study.folder)
    return [(series.title.split(".")[0], read_masks_onto(path, served.session.volume)[0])]


def _read(who: Caller, served: Served, files: Sequence[tuple[str, BinaryIO]]) -> list[tuple[str, Labelmap]]:
    """Return what each file is called and holds, on the session's grid.

    Raises:
        ReadError, PromptError: none of them is a mask, or there is no object in them.
    """
    found, refused = [], []
    with tempfile.TemporaryDirectory(prefix="promptseg-", dir=who.state.settings.data) as name:
        folder = Path(name)
        intake = Intake(folder, who.state.settings.limits)
        for name, file in files:
            intake.add(name, file)
        intake.finish()
        for stored, said in intake.names.items():
            plain = Path(said.replace("\\", "/")).name
            if plain.lower().endswith((".txt", ".raw", ".zraw", ".img")):
                continue  # descriptions and voxels of the file beside
            try:
                labelmap, _ = read_masks_onto(folder / stored, served.session.volume)
            except PromptsegError as exc:
                told = str(exc).replace(str(folder / stored), plain).replace(Path(stored).name, plain)
                refused.append(type(exc)(told) if type(exc) in (ReadError, PromptError) else ReadError(told))
                continue
            found.append((plain.split(".")[0], labelmap))
    if refused and not found:
        raise refused[0]
    if not any(labelmap.array.any() for _, labelmap in found):
        raise PromptError("there is no object in these files: nothing was added")
    return found


@router.post("/frames/{frame}", response_model=SessionState)
async def open_frame(
    who: Who, session_id: str, frame: Annotated[int, InPath(ge=0, le=100_000)], body: FrameIn | None = None
) -> Any:
    """Open another frame of a 4D image: its own session, found or made, with the same labels; ``carry``: and masks."""
    served = await live(who, session_id)
    row = await threaded(who.state.sessions.stored.row, who.user, session_id)
    study = await threaded(who.state.catalogue.get, who.user, row.study_id, Role.EDITOR)
    series = Content.from_dict(study.content).get(row.series)
    if frame >= series.frames:
        raise ReadError(f"expected a frame from 0 to {series.frames - 1}, got {frame}")
    other = await threaded(who.state.worklist.on_frame, who.user, row, study, series, frame)
    carry = bool(body and body.carry)
    if other.id != served.id and (carry or not other.shown.labels):
        labels = served.labelmap()
        await step(who, other.id, "carry", lambda session, _: carry_labels(labels, session, masks=carry))
    there = await threaded(who.state.sessions.stored.row, who.user, other.id)
    return await state_answer(who, other, there, series.frames)
