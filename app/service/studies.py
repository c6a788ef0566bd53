"""Routes: studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from promptseg.app.door.caller import Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.errors import UnreadableBodyError
from promptseg.app.service.schema import ShareIn, StudyIn, StudyOut
from promptseg.app.service.work import threaded
from promptseg.app.store import Study
from promptseg.app.studies.about import about
from promptseg.app.studies.series import Content
from promptseg.app.studies.sharing import Role
from promptseg.errors import ReadError

__all__ = ["UPLOAD", "router"]

router = APIRouter(prefix="/studies", tags=["studies"], responses=ERRORS)
UPLOAD: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
            "required": ["files"],
        }
    }
}
BODY: dict[str, Any] = {
    "required": True,
    "content": {**UPLOAD, "application/json": {"schema": StudyIn.model_json_schema()}},
}


def shown(study: Study) -> dict[str, Any]:
    """Return a study as it goes out."""
    content = Content.from_dict(study.content).to_dict()
    series = [{key: one[key] for key in one if key not in ("file", "dicom", "first")} for one in content["series"]]
    plain = {"id": study.id, "created": study.created, "title": study.title}
    return {**plain, "series": series, "findings": content["findings"]}


@router.post("", status_code=201, response_model=StudyOut, openapi_extra={"requestBody": BODY})
async def add_study(who: Who) -> Any:
    """Take a study in: files to upload, a path here, an address of a known DICOMweb server, or the example.

    Uploaded files' names may hold folders; a zip archive is unpacked.
    """
    kind = who.request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        study = await _uploaded(who)
    elif kind == "application/json":
        study = await _named(who)
    else:
        raise UnreadableBodyError(f"expected multipart/form-data with files, or JSON, got {kind[:100] or 'nothing'!r}")
    who.state.audit.note(who.user, "study added", study.hash)
    return shown(study)


async def _uploaded(who: Who) -> Study:
    limits = who.state.settings.limits
    try:
        form = await who.request.form(max_files=limits.upload_files, max_fields=10)
    except ClientDisconnect:
        raise ReadError("the upload ended too early") from None
    try:
        files = [(one.filename or "file", one.file) for one in form.getlist("files") if isinstance(one, UploadFile)]
        if not files:
            raise ReadError("expected at least one file in the field files, got none")
        return await threaded(who.state.catalogue.upload, who.user, files)
    finally:
        await form.close()


async def _named(who: Who) -> Study:
    try:
        wanted = StudyIn.model_validate_json(await who.request.body())
    except ValidationError as exc:
        why = exc.errors()[0]["msg"][:200]
        raise UnreadableBodyError(f"expected {{path}}, {{dicomweb}} or {{example: true}}: {why}") from None
    if [wanted.example, wanted.path is not None, wanted.dicomweb is not None].count(True) != 1:
        raise UnreadableBodyError("expected one of a path, a DICOMweb address and the example")
    if wanted.path is not None:
        return await threaded(who.state.catalogue.refer, who.user, wanted.path)
    if wanted.dicomweb is not None:
        return await threaded(who.state.catalogue.fetch, who.user, wanted.dicomweb)
    return await threaded(who.state.catalogue.example, who.user)


@router.get("", response_model=list[StudyOut])
async def list_studies(who: Who) -> Any:
    """List your studies, the newest first."""
    who.state.audit.note(who.user, "studies listed")
    return [shown(study) for study in await threaded(who.state.catalogue.all, who.user)]


@router.get("/{study_id}", response_model=StudyOut)
async def get_study(who: Who, study_id: str) -> Any:
    """Say what a study holds."""
    return shown(await threaded(who.state.catalogue.get, who.user, study_id))


@router.delete("/{study_id}", status_code=204)
async def delete_study(who: Who, study_id: str) -> Response:
    """Delete a study and its files; its sessions must go first."""
    study = await threaded(who.state.catalogue.get, who.user, study_id, Role.OWNER)
    await threaded(who.state.catalogue.remove, who.user, study_id)
    await threaded(who.state.audit.note_now, who.user, "study deleted", study.hash)
    return Response(status_code=204)


@router.get("/{study_id}/shares", response_model=dict[str, str])
async def list_shares(who: Who, study_id: str) -> Any:
    """Say with whom a study is shared: the user's name and role."""
    await threaded(who.state.catalogue.get, who.user, study_id, Role.OWNER)
    return await threaded(who.state.shares.of_study, study_id)


@router.put("/{study_id}/shares/{name}", status_code=204)
async def share(who: Who, study_id: str, name: str, body: ShareIn) -> Response:
    """Share a study with a colleague: a reader looks and exports, an editor works on its masks, too."""
    study = await threaded(who.state.catalogue.get, who.user, study_id, Role.OWNER)
    await threaded(who.state.shares.give, study_id, name, body.role)
    await threaded(who.state.audit.note_now, who.user, f"shared with {body.role}", study.hash)
    return Response(status_code=204)


@router.delete("/{study_id}/shares/{name}", status_code=204)
async def unshare(who: Who, study_id: str, name: str) -> Response:
    """Share a study with a colleague no longer."""
    study = await threaded(who.state.catalogue.get, who.user, study_id, Role.OWNER)
    await threaded(who.state.shares.take, study_id, name)
    await threaded(who.state.audit.note_now, who.user, "shared no longer", study.hash)
    return Response(status_code=204)


@router.get("/{study_id}/series/{series_id}/about", response_model=dict[str, str])
async def about_series(who: Who, study_id: str, series_id: str) -> Any:
    """Say what a DICOM series' files say of patient, study and series; {} for other files."""
    study = await threaded(who.state.catalogue.get, who.user, study_id)
    who.state.audit.note(who.user, "patient read", study.hash)
    series = Content.from_dict(study.content).get(series_id)
    if series.dicom is None:
        return {}
    folder = Path(study.folder)
    return await threaded(about, folder / series.first if series.first else folder)


@router.get(
    "/{study_id}/series/{series_id}/thumbnail.png",
    response_class=FileResponse,
    responses={200: {"content": {"image/png": {}}, "description": "The middle slice"}},
)
async def thumbnail(who: Who, study_id: str, series_id: str) -> FileResponse:
    """Show a series' middle slice."""
    study = await threaded(who.state.catalogue.get, who.user, study_id)
    who.state.audit.note(who.user, "thumbnail read", study.hash)
    series = Content.from_dict(study.content).get(series_id)
    path = await threaded(who.state.volumes.thumbnail, study.id, Path(study.folder), series)
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})
