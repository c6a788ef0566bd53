"""What every protocol needs of the server: a drawing's step in its model's fair queue, off the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import FastAPI, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from promptseg.app.door.statuses import status_of
from promptseg.app.errors import BusyError, UploadTooLargeError
from promptseg.app.live.queueing import Priority, Turn, Work
from promptseg.app.protocols.drawing import Drawing
from promptseg.app.protocols.viewers import Viewer, Viewers
from promptseg.app.state import AppState
from promptseg.errors import PromptError, PromptsegError
from promptseg.volume import Volume

__all__ = ["Visit", "begin", "body_of", "in_turn", "json_object", "model_of", "our_errors_as_400", "places"]

T = TypeVar("T")
PATIENCE_S = 45.0  # nnInteractive's client gives up after 60


def model_of(state: AppState) -> str:
    """Return the id of the model that viewers get: the first one that the server allows."""
    return state.settings.models[0] if state.settings.models else "builtin"


async def begin(state: AppState, user: str, token: str, volume: Volume) -> Drawing:
    """Open a drawing on an image; idle sessions give way to it where memory is short.

    Raises:
        BusyError: it does not fit as long as others work.
    """
    model, room = model_of(state), state.sessions.memory
    voxels = int(volume.array.size)

    def opened(_: Turn) -> Drawing:
        try:
            with state.sessions.room.one_more(user, int(volume.array.nbytes) + 2 * voxels):
                drawing = Drawing(volume, model, state.settings.device, room.embeddings)
                room.hold(drawing)
                return drawing
        except BusyError as exc:
            raise BusyError(str(exc), exc.retry_after_s, own=True) from exc  # 503 has another meaning in viewers

    return await in_turn(state, user, token, opened, priority=Priority.OPEN)


async def in_turn(
    state: AppState,
    user: str,
    token: str,
    call: Callable[[Turn], T],
    *,
    priority: Priority = Priority.INTERACTIVE,
) -> T:
    """Run something in the model's thread when it is this user's turn, and wait for it.

    Raises:
        BusyError: after a patient while there is still no place in the queue.
    """
    queue = state.sessions.queues.of(model_of(state))
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            work = await run_in_threadpool(queue.submit, Work(user, token[:8], priority, call))
            break
        except BusyError as exc:
            if asyncio.get_running_loop().time() + exc.retry_after_s > deadline:
                raise BusyError(str(exc), exc.retry_after_s, own=True) from exc  # 503 has another meaning in viewers
            await asyncio.sleep(min(exc.retry_after_s, 1.0))
    result: T = await asyncio.wrap_future(work.future)
    return result


@dataclass(frozen=True)
class Visit(Generic[T]):
    """A request of a viewer that has been let in."""

    viewer: Viewer[T]
    viewers: Viewers[T]
    state: AppState

    async def turn(self, call: Callable[[Turn], Any]) -> Any:
        """Run something in the model's thread when it is the viewer's turn, and wait for it; raises as ``in_turn``."""
        return await in_turn(self.state, self.viewer.owner, self.viewer.token, call)


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Return a JSON object that a viewer sent; ``where`` it stands is told where it is none.

    Raises:
        PromptError: it is something else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise PromptError(f"expected JSON in {where}: {exc}") from exc
    if not isinstance(data, dict):
        raise PromptError(f"expected a JSON object in {where}")
    return data


async def body_of(request: Request, limit: int) -> bytes:
    """Return a request's body.

    Raises:
        UploadTooLargeError: it is longer than ``limit`` bytes.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise UploadTooLargeError(f"expected at most {limit} bytes in one request, got more", limit=limit)
        parts.append(part)
    return b"".join(parts)


def places(app: FastAPI) -> int | None:
    """Return how many viewers of one protocol a user may have at once; None where everybody is the same user."""
    settings = app.state.promptseg.settings
    return None if settings.auth == "none" else int(settings.limits.viewers_per_user)


@contextmanager
def our_errors_as_400() -> Iterator[None]:
    """Turn our errors about what a viewer sent into 400; elsewhere they are 422, which viewers take for a crash."""
    try:
        yield
    except PromptsegError as exc:
        code = status_of(exc)
        raise HTTPException(400 if code in (409, 422) else code, str(exc)) from exc
