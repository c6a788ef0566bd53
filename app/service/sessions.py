"""Routes: sessions, prompts, edits, labels. Every change answers with a Delta."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from promptseg.app.door.caller import Caller, Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.live.editing import edited
from promptseg.app.live.jobs import Watch
from promptseg.app.live.queueing import Turn
from promptseg.app.live.served import Served
from promptseg.app.service.fields import Strict
from promptseg.app.service.jobs import shown_job
from promptseg.app.service.schema import (
    Delta,
    JobOut,
    LabelIn,
    LabelPatch,
    MergeIn,
    OverlapIn,
    RestoreIn,
    SessionIn,
    SessionPatch,
    SessionState,
    SessionSummary,
)
from promptseg.app.service.steps import AcceptIn, EditIn, LabelsIn, PaintIn, PromptsIn, PropagateIn, ReplaceIn
from promptseg.app.service.work import choose, live, started, step, threaded
from promptseg.app.store import SessionRow
from promptseg.app.studies.series import Content, Series
from promptseg.app.studies.sharing import Role
from promptseg.check.finding import Finding
from promptseg.engine.edits import edit_from_dict
from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.prompts import Plane, Prompt, prompt_from_dict
from promptseg.session.replaying import labels_of
from promptseg.session.session import Session
from promptseg.volume import Labelmap
from promptseg.volume.label_voxels import Changed, bounds

__all__ = ["router", "state_answer"]

MOST_PAINTED = 8_000_000  # brushed voxels of one stroke, each place counted: about 200 MB while it is worked out
router = APIRouter(prefix="/sessions", tags=["sessions"], responses=ERRORS)


def state_of(who: Caller, served: Served, row: SessionRow, frames: int) -> dict[str, Any]:
    """Return a session as it goes out, but for what ``Shown`` has of it."""
    volume = served.session.volume
    beside = who.state.jobs.on(served.id)
    return {
        "id": served.id,
        "study": row.study_id,
        "series": row.series,
        "frame": row.frame,
        "frames": frames,
        "title": row.title,
        "model": served.session.model_id,
        "shape": list(volume.shape),
        "spacing_mm": list(volume.geometry.spacing),
        "origin": list(volume.geometry.origin),
        "direction": list(volume.geometry.direction),
        "measured": volume.geometry.measured,
        "colour": volume.is_rgb,
        "modality": volume.modality,
        "window": vars(volume.window),
        "findings": [Finding.of(finding).to_dict() for finding in (*volume.findings, *served.session.findings)],
        "state": "work" if row.state == "new" and served.shown.labels else row.state,
        "note": row.note,
        "job": served.job or (beside.id if beside else None),
        "created": row.created,
        "changed_at": served.last_seen,
    }


async def state_answer(who: Caller, served: Served, row: SessionRow, frames: int, status: int = 200) -> Response:
    """Answer with a session; its prompts may be strokes of megabytes, so not in the event loop."""
    text = await threaded(served.shown.to_json, state_of(who, served, row, frames))
    return Response(text, status, media_type="application/json")


def origin_of(who: Caller, session_id: str) -> tuple[SessionRow, Series]:
    """Return a session's row and the series that it shows."""
    row = who.state.sessions.stored.row(who.user, session_id)
    study = who.state.catalogue.get(who.user, row.study_id)
    return row, Content.from_dict(study.content).get(row.series)


@router.post("", status_code=201, response_model=SessionState)
async def open_session(who: Who, wanted: SessionIn) -> Any:
    """Open a session on a series of a study."""
    study = await threaded(who.state.catalogue.get, who.user, wanted.study, Role.EDITOR)
    series = Content.from_dict(study.content).get(wanted.series)
    served = await threaded(who.state.sessions.open, who.user, study, series, wanted.frame, wanted.model)
    who.state.audit.note(who.user, "session opened", served.session.volume.content_hash, served.id)
    row = await threaded(who.state.sessions.stored.row, who.user, served.id)
    return await state_answer(who, served, row, series.frames, 201)


@router.get("", response_model=list[SessionSummary])
async def list_sessions(who: Who) -> Any:
    """List your sessions, the last used first; also those that are not in memory."""
    who.state.audit.note(who.user, "sessions listed")
    return await threaded(who.state.worklist.lines, who.user)


@router.get("/{session_id}", response_model=SessionState)
async def get_session(who: Who, session_id: str) -> Any:
    """Return a session; one that is not in memory is brought back first."""
    served = await live(who, session_id, Role.READER)
    who.state.audit.note(who.user, "session read", served.session.volume.content_hash, session_id)
    row, series = await threaded(origin_of, who, session_id)
    return await state_answer(who, served, row, series.frames)


@router.post("/{session_id}/restore", response_model=SessionState)
async def restore_session(who: Who, session_id: str, body: RestoreIn) -> Any:
    """Bring back a session whose image, weights or masks are not those of then (409, code "changed"), in one way."""
    served = await threaded(who.state.sessions.get, who.user, session_id, changed=body.how)
    row, series = await threaded(origin_of, who, session_id)
    who.state.audit.note(who.user, f"restored {body.how}", served.session.volume.content_hash, session_id)
    return await state_answer(who, served, row, series.frames)


@router.patch("/{session_id}", response_model=SessionSummary)
async def describe_session(who: Who, session_id: str, body: SessionPatch) -> Any:
    """Give a session another title, state or note; it need not be in memory."""
    line = await threaded(who.state.worklist.describe, who.user, session_id, **body.model_dump(exclude_none=True))
    study = await threaded(who.state.catalogue.get, who.user, line["study"])
    who.state.audit.note(who.user, "session described", study.hash, session_id)
    return line


@router.delete("/{session_id}", status_code=204)
async def delete_session(who: Who, session_id: str) -> Response:
    """Delete a session for good, with its masks and prompts."""
    row = await threaded(who.state.sessions.stored.row, who.user, session_id, Role.OWNER)
    study = await threaded(who.state.catalogue.get, who.user, row.study_id)
    await threaded(who.state.sessions.remove, who.user, session_id)
    await threaded(who.state.audit.note_now, who.user, "session deleted", study.hash, session_id)
    return Response(status_code=204)


@router.post("/{session_id}/close", status_code=204)
async def close_session(who: Who, session_id: str) -> Response:
    """Free a session's memory; nothing is lost, the next request brings it back."""
    await threaded(who.state.sessions.stored.row, who.user, session_id, Role.EDITOR)
    await threaded(who.state.sessions.put_away, session_id)
    return Response(status_code=204)


# --- prompts and edits --------------------------------------------------------------------------------------------


def _prompts(body: PromptsIn, served: Served) -> list[Prompt]:
    return [_prompt(one, served) for one in body.prompts]


def _prompt(data: Any, served: Served) -> Prompt:
    """Return a prompt; a mask of another shape is refused before its voxels take memory."""
    if data.type in ("mask", "text"):
        _require_shape(data.shape if data.type == "mask" else data.mask.shape, served)
    plain = {
        name: value.model_dump() if isinstance(value, Strict) else value for name, value in data if value is not None
    }
    return prompt_from_dict(plain)


def _require_shape(shape: list[int], served: Served) -> None:
    wanted = served.session.volume.shape
    if tuple(shape) != wanted:
        raise GeometryMismatchError(f"expected a mask of the volume's shape (z, y, x) {wanted}, got {tuple(shape)}")


def _require_affordable(paint: PaintIn, served: Served) -> None:
    """Refuse a stroke whose brush, at all its places, covers more voxels than one step may take memory for."""
    spacing = served.session.volume.geometry.spacing_zyx
    axes = [axis for axis in range(3) if paint.plane is None or axis != Plane(paint.plane).axis]
    ball = math.prod(2 * int(paint.radius_mm / spacing[axis]) + 1 for axis in axes)
    if ball * len(paint.centres) > MOST_PAINTED:
        raise PromptError(
            f"expected a stroke of at most {MOST_PAINTED:,} brushed voxels, got {ball * len(paint.centres):,}"
        )


@router.post("/{session_id}/prompts", response_model=Delta)
async def add_prompts(who: Who, session_id: str, body: PromptsIn) -> Response:
    """Add prompts to a label and answer the slices that they lie on (and all others with ``propagate``)."""
    served = await live(who, session_id)
    prompts = await threaded(_prompts, body, served)

    def call(session: Session, turn: Turn) -> Changed | None:
        choose(session, body.label)
        how = {"propagate": body.propagate, "predict": body.predict}
        return session.add(*prompts, **how, on_progress=lambda _: turn.pause())

    return await step(who, session_id, "prompt", call, needs_model=True)


@router.post("/{session_id}/segment", status_code=202, response_model=JobOut)
async def segment(who: Who, session_id: str, body: PromptsIn) -> Any:
    """Add prompts to a label and carry them to all slices, as one step; a job with progress."""
    served = await live(who, session_id)
    prompts = await threaded(_prompts, body, served)

    def call(session: Session, watch: Watch) -> Changed | None:
        choose(session, body.label)
        return session.add(*prompts, on_progress=watch)

    return shown_job(await started(who, session_id, "segment", "prompt", call))


@router.put("/{session_id}/prompts/{prompt_id}", response_model=Delta)
async def replace_prompt(who: Who, session_id: str, prompt_id: int, body: ReplaceIn) -> Response:
    """Put another prompt in the place of one: what moving it means."""
    prompt = _prompt(body.prompt, await live(who, session_id))

    def call(session: Session, turn: Turn) -> Changed | None:
        return session.replace_prompt(prompt_id, prompt, on_progress=lambda _: turn.pause())

    return await step(who, session_id, "prompt", call, needs_model=True)


@router.delete("/{session_id}/prompts/{prompt_id}", response_model=Delta)
async def remove_prompt(who: Who, session_id: str, prompt_id: int) -> Response:
    """Take a prompt away as if it had never been."""

    def call(session: Session, turn: Turn) -> Changed | None:
        return session.remove_prompt(prompt_id, on_progress=lambda _: turn.pause())

    return await step(who, session_id, "prompt", call, needs_model=True)


@router.post("/{session_id}/propagate", status_code=202, response_model=JobOut)
async def propagate(who: Who, session_id: str, body: PropagateIn | None = None) -> Any:
    """Carry a label from its prompted slices to the others; a job with progress."""
    wanted = body or PropagateIn()

    def call(session: Session, watch: Watch) -> Changed | None:
        return session.propagate(wanted.label, afresh=wanted.afresh, on_progress=watch)

    return shown_job(await started(who, session_id, "propagate", "propagate", call))


@router.post("/{session_id}/undo", response_model=Delta)
async def undo(who: Who, session_id: str) -> Response:
    """Take the last step back."""
    return await step(who, session_id, "undo", lambda session, _: session.undo())


@router.post("/{session_id}/redo", response_model=Delta)
async def redo(who: Who, session_id: str) -> Response:
    """Bring back the step that was undone last."""
    return await step(who, session_id, "redo", lambda session, _: session.redo())


@router.post("/{session_id}/edits", response_model=Delta)
async def edit(who: Who, session_id: str, body: EditIn) -> Response:
    """Edit a label by hand."""
    if isinstance(body.edit, PaintIn):
        _require_affordable(body.edit, await live(who, session_id))
    wanted = edit_from_dict(body.edit.model_dump(exclude_none=True))

    def call(session: Session, turn: Turn) -> Changed | None:
        choose(session, body.label)
        return session.edit(wanted, worker=partial(edited, pause=turn.pause))

    return await step(who, session_id, "edit", call)


@router.post("/{session_id}/accept", response_model=Delta)
async def accept(who: Who, session_id: str, body: AcceptIn) -> Response:
    """Say that a slice is right: later prompts elsewhere never change it."""

    def call(session: Session, _: Turn) -> Changed | None:
        choose(session, body.label)
        session.accept(body.index, body.plane)
        return None

    return await step(who, session_id, "accept", call)


@router.put("/{session_id}/overlap", response_model=Delta)
async def set_overlap(who: Who, session_id: str, body: OverlapIn) -> Response:
    """Say what happens from now on where a label's new voxels belong to another one."""

    def call(session: Session, _: Turn) -> Changed | None:
        session.set_overlap(body.rule, body.spared)
        return None

    return await step(who, session_id, "overlap", call)


# --- labels -------------------------------------------------------------------------------------------------------


@router.post("/{session_id}/labels", response_model=Delta)
async def new_label(who: Who, session_id: str, body: LabelIn | None = None) -> Response:
    """Add a label and select it."""

    def call(session: Session, _: Turn) -> Changed | None:
        session.new_label(None if body is None else body.name)
        return None

    return await step(who, session_id, "label", call)


@router.post("/{session_id}/import", response_model=Delta)
async def import_labels(who: Who, session_id: str, body: LabelsIn) -> Response:
    """Add a label for every label of a labelmap that has voxels, as one step."""
    served = await live(who, session_id)
    _require_shape(body.shape, served)
    array, known = await threaded(labels_of, body.model_dump())

    def call(session: Session, _: Turn) -> Changed | None:
        before = session.labelmap.array
        session.import_labels(Labelmap(array, session.geometry, known), body.only)
        return bounds(session.labelmap.array != before)

    return await step(who, session_id, "label", call)


@router.patch("/{session_id}/labels/{value}", response_model=Delta)
async def change_label(who: Who, session_id: str, value: int, body: LabelPatch) -> Response:
    """Rename, recolour, lock, show, or select a label."""

    def call(session: Session, _: Turn) -> Changed | None:
        known = session.labels
        if value not in known:
            session.select(value)
        if body.name is not None and body.name != known[value].name:
            session.rename(value, body.name)
        if body.colour is not None:
            session.recolour(value, tuple(bytes.fromhex(body.colour[1:])))
        if body.locked is not None:
            session.lock(value, body.locked)
        if body.selected:
            session.select(value)
        return None

    view = body.model_dump(include={"visible", "opacity"}, exclude_none=True)
    if view:
        served = await live(who, session_id)
        await threaded(_show, who, served, value, view)
    return await step(who, session_id, "label", call)


def _show(who: Caller, served: Served, value: int, view: dict[str, Any]) -> None:
    if any(label["value"] == value for label in served.shown.labels):
        who.state.sessions.set_view(served, value, **view)


@router.delete("/{session_id}/labels/{value}", response_model=Delta)
async def delete_label(who: Who, session_id: str, value: int) -> Response:
    """Delete a label and its voxels; undo brings it back."""
    return await step(who, session_id, "label", lambda s, _: s.delete_label(value))


@router.post("/{session_id}/labels/{value}/merge", response_model=Delta)
async def merge_label(who: Who, session_id: str, value: int, body: MergeIn) -> Response:
    """Give a label's voxels to another one and delete it."""
    return await step(who, session_id, "label", lambda s, _: s.merge_labels(value, body.into))
