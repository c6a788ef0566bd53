"""Routes: jobs, and their progress as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from promptseg.app.door.caller import Who
from promptseg.app.door.statuses import ERRORS
from promptseg.app.live.jobs import LAST, LiveJob
from promptseg.app.service.schema import JobOut
from promptseg.app.service.work import threaded
from promptseg.app.studies.sharing import Role

__all__ = ["router", "shown_job"]

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=ERRORS)
PING_S = 15.0  # a comment line now and then keeps proxies from closing a quiet stream
POLL_S = 1.0  # how often a job of another process is looked at


def shown_job(job: LiveJob) -> dict[str, Any]:
    """Return a job as it goes out."""
    return job.to_dict()


@router.get("/{job_id}", response_model=JobOut)
async def get_job(who: Who, job_id: str) -> Any:
    """Say how a job stands."""
    return shown_job(await threaded(who.state.jobs.get, who.user, job_id))


@router.delete("/{job_id}", status_code=202, response_model=JobOut)
async def cancel_job(who: Who, job_id: str) -> Any:
    """Ask a job to stop at its next slice; the session stays as it was before the job."""
    job = await threaded(who.state.jobs.get, who.user, job_id)
    if job.session_id is not None:
        await threaded(who.state.sessions.stored.row, who.user, job.session_id, Role.EDITOR)
    job.cancel()
    return shown_job(job)


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "progress, then done, cancelled or failed"}},
)
async def events(who: Who, job_id: str) -> Response:
    """Stream a job's progress until it ends."""
    job = await threaded(who.state.jobs.get, who.user, job_id)
    return StreamingResponse(
        _stream(who, job),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(who: Who, job: LiveJob) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def tell(event: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, event)

    end = job.listen(tell)
    quiet = 0.0
    try:
        while True:
            try:
                event = await asyncio.wait_for(waiting.get(), POLL_S)
            except TimeoutError:
                quiet += POLL_S
                if quiet >= PING_S:
                    quiet = 0.0
                    yield ": still here\n\n"
                ended = await _elsewhere(who, job)
                if ended is None:
                    continue
                event = ended
            yield f"data: {await threaded(_encoded, event)}\n\n"
            if event["kind"] in LAST:
                return
    finally:
        end()


def _encoded(event: dict[str, Any]) -> str:
    """Return an event as JSON, its Delta too."""
    delta, rest = event.get("delta"), {name: value for name, value in event.items() if name != "delta"}
    text = json.dumps(rest, separators=(",", ":"))
    return f'{text[:-1]},"delta":{"null" if delta is None else delta.to_json()}}}'


async def _elsewhere(who: Who, job: LiveJob) -> dict[str, Any] | None:
    """Return the end of a job that runs in another process, None as long as it runs."""
    now = await threaded(who.state.jobs.get, who.user, job.id)
    return now.last if now is not job and now.state in LAST else None
