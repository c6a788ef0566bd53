"""From the event loop to the model's thread and back; the loop itself never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from promptseg.app.door.caller import Caller
from promptseg.app.errors import HeldElsewhereError
from promptseg.app.live.jobs import LiveJob, Watch
from promptseg.app.live.queueing import Work
from promptseg.app.live.served import Change, Served
from promptseg.app.live.sessions import SessionStep
from promptseg.app.studies.sharing import Role
from promptseg.errors import Cancelled
from promptseg.session.session import Session
from promptseg.volume.label_voxels import Changed

__all__ = ["ask", "choose", "live", "started", "step", "threaded"]

T = TypeVar("T")
LARGE = 1_000_000  # voxels that are not packed in the event loop


async def threaded(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run something that reads files or asks the store."""
    return await run_in_threadpool(call, *arguments, **named)


async def live(who: Caller, session_id: str, role: Role = Role.EDITOR) -> Served:
    """Return a session from memory or from its journal, to a caller who may do what ``role`` may."""
    served = who.state.sessions.find(who.user, session_id, role)
    if served is None:
        served = await threaded(who.state.sessions.get, who.user, session_id, role)
    return served


async def _with_session(who: Caller, session_id: str, role: Role, use: Callable[[Served], Awaitable[T]]) -> T:
    """Return what ``use`` gives of a session; it is called once more where the session was put away meanwhile."""
    try:
        return await use(await live(who, session_id, role))
    except HeldElsewhereError:
        return await use(await live(who, session_id, role))


async def step(who: Caller, session_id: str, action: str, call: SessionStep, *, needs_model: bool = False) -> Response:
    """Do a step on a session and answer with its Delta; one that ``needs_model`` waits for the model's thread."""

    async def use(served: Served) -> Change:
        change: Change = await _finished(who, who.state.sessions.submit(served, call, needs_model=needs_model))
        who.state.audit.note(who.user, action, served.session.volume.content_hash, session_id)
        return change

    return await _delta(await _with_session(who, session_id, Role.EDITOR, use))


async def started(
    who: Caller, session_id: str, kind: str, action: str, call: Callable[[Session, Watch], Changed | None]
) -> LiveJob:
    """Start a long step on a session."""

    async def use(served: Served) -> LiveJob:
        job = await threaded(who.state.jobs.on_session, served, kind, call)
        who.state.audit.note(who.user, action, served.session.volume.content_hash, session_id)
        return job

    return await _with_session(who, session_id, Role.EDITOR, use)


def choose(session: Session, label: int | None) -> None:
    """Select the label that a request names; label 1 comes into being by itself."""
    if label is not None and label != session.selected and not (label == 1 and not session.labels):
        session.select(label)


async def ask(who: Caller, session_id: str, question: Callable[[Session], T]) -> T:
    """Ask a session something that only its own thread may read."""

    async def use(served: Served) -> T:
        answer: T = await _finished(who, who.state.sessions.ask(served, question))
        return answer

    return await _with_session(who, session_id, Role.READER, use)


async def _finished(who: Caller, work: Work) -> Any:
    """Wait for a step; when the caller hangs up first, a step that has not begun never does."""
    future = asyncio.wrap_future(work.future)
    if work.future.done():
        return await future
    gone = asyncio.ensure_future(_hung_up(who))
    try:
        done, _ = await asyncio.wait({future, gone}, return_when=asyncio.FIRST_COMPLETED)
        if future not in done:
            work.cancel()
            raise Cancelled("the caller hung up")
        return future.result()
    finally:
        gone.cancel()


async def _hung_up(who: Caller) -> None:
    while (await who.request.receive())["type"] != "http.disconnect":
        pass


async def _delta(change: Change) -> Response:
    large = change.voxels is not None and change.voxels.size > LARGE
    text = await threaded(change.to_json) if large else change.to_json()
    return Response(text, media_type="application/json")
