"""Routes: the whole body, and a structure by its name. Both are jobs; people go on clicking meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import APIRouter

from promptseg.app.door.caller import Caller, Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.live.jobs import TellProgress
from promptseg.app.live.served import Served
from promptseg.app.service.jobs import shown_job
from promptseg.app.service.schema import JobOut, TextIn, WholeBodyIn
from promptseg.app.service.work import choose, live, threaded
from promptseg.session.session import Session
from promptseg.session.text_engines import found_prompt
from promptseg.volume import Labelmap
from promptseg.volume.label_voxels import Changed, bounds
from promptseg.wholebody.by_name import Wanted, land

__all__ = ["router"]

router = APIRouter(prefix="/sessions", tags=["automatic"], responses=ERRORS)


@router.post("/{session_id}/wholebody", status_code=202, response_model=JobOut)
async def whole_body(who: Who, session_id: str, body: WholeBodyIn | None = None) -> Any:
    """Make every organ that is found a label, where nothing is labelled yet; a job with progress."""
    asked = body or WholeBodyIn()
    served = await live(who, session_id)
    structures = who.state.whole_body.structures
    wanted = await threaded(structures.whole, served.session.volume, asked.task, fast=asked.fast)
    return await _start(who, served, "wholebody", wanted, lambda session, found: _landed(session, found, wanted))


@router.post("/{session_id}/text", status_code=202, response_model=JobOut)
async def text(who: Who, session_id: str, body: TextIn) -> Any:
    """Make the structure that a text names a label; a job with progress. 422 has the choices where there are more."""
    served = await live(who, session_id)
    structures = who.state.whole_body.structures
    wanted = await threaded(structures.named, served.session.volume, body.text, fast=body.fast)

    def landed(session: Session, found: Labelmap) -> Changed | None:
        if body.label is None:
            return _landed(session, found, wanted)
        prompt = found_prompt(body.text, found.mask(wanted.only[0]))
        choose(session, body.label)
        return session.add(prompt)

    return await _start(who, served, "text", wanted, landed)


def _landed(session: Session, found: Labelmap, wanted: Wanted) -> Changed | None:
    values = land(session, found, wanted.only)
    return bounds(np.isin(session.labelmap.array, values))


async def _start(
    who: Caller, served: Served, kind: str, wanted: Wanted, landed: Callable[[Session, Labelmap], Changed | None]
) -> dict[str, Any]:
    volume = served.session.volume

    def work(report: TellProgress) -> Labelmap:
        return who.state.whole_body.segment(volume, wanted, report)

    job = await threaded(who.state.jobs.beside_session, served, kind, work, landed)
    who.state.audit.note(who.user, kind, volume.content_hash, served.id)
    return shown_job(job)
