"""Routes: the whole body, and a structure by its name. Both are jobs; people go on clicking meanwhile."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from promptseg.app.door.caller import Caller, Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.live.jobs import Report
from promptseg.app.live.served import Served
from promptseg.app.live.wholebody import OrganRun, land
from promptseg.app.service.jobs import shown_job
from promptseg.app.service.schema import JobOut, TextIn, WholeBodyIn
from promptseg.app.service.work import live, threaded
from promptseg.session.session import Session
from promptseg.volume import Labelmap

__all__ = ["router"]

router = APIRouter(prefix="/sessions", tags=["automatic"], responses=ERRORS)


@router.post("/{session_id}/wholebody", status_code=202, response_model=JobOut)
async def whole_body(who: Who, session_id: str, body: WholeBodyIn | None = None) -> Any:
    """Make every organ that is found a label, where nothing is labelled yet; a job with progress."""
    wanted = body or WholeBodyIn()
    served = await live(who, session_id)
    run = await threaded(who.state.organs.whole, served.session.volume, wanted.task, wanted.fast)
    return await _start(who, served, "wholebody", run)


@router.post("/{session_id}/text", status_code=202, response_model=JobOut)
async def text(who: Who, session_id: str, body: TextIn) -> Any:
    """Make the structure that a text names a label; a job with progress. 422 lists the choices where there are more."""
    served = await live(who, session_id)
    run = await threaded(who.state.organs.named, served.session.volume, body.text, body.fast)
    return await _start(who, served, "text", run)


async def _start(who: Caller, served: Served, kind: str, run: OrganRun) -> dict[str, Any]:
    volume = served.session.volume

    def work(report: Report) -> Labelmap:
        return who.state.organs.segment(volume, run, report)

    def landed(session: Session, found: Labelmap) -> Any:
        return land(session, found, run.only)

    job = await threaded(who.state.jobs.beside_session, served, kind, work, landed)
    who.state.audit.note(who.user, kind, volume.content_hash, served.id)
    return shown_job(job)
