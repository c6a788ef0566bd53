"""Room in memory for one more session: idle ones give way, and nobody takes more than a share of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from promptseg.app.errors import BusyError
from promptseg.app.live.memory import MemoryBudget
from promptseg.app.live.served import Served
from promptseg.app.settings import ServeSettings
from promptseg.errors import ReadError

__all__ = ["SessionRoom"]


class SessionRoom:
    """Who gives way to a session that is about to be loaded.

    Args:
        live: the sessions in memory by id.
        memory: of the process.
        settings: its limits; a user's share counts on a server with users.
        put_away: frees a session's memory unless it is at work.
    """

    def __init__(
        self,
        live: Mapping[str, Served],
        memory: MemoryBudget,
        settings: ServeSettings,
        put_away: Callable[[str], object],
    ) -> None:
        self._live, self._memory, self._put_away = live, memory, put_away
        self._limits, self._shared = settings.limits, settings.auth != "none"

    @contextmanager
    def one_more(self, owner: str, more: int) -> Iterator[None]:
        """Hold room for a session of so many bytes, and for its embeddings, while it is loaded.

        Idle sessions are put away, the longest idle first; the owner's own where they are too many or too large.

        Raises:
            BusyError: it does not fit as long as others, or the owner, work.
            ReadError: it takes more than one user may have.
        """
        live = sorted(self._live.values(), key=lambda one: one.last_seen)
        own = [one for one in live if one.owner == owner]
        for served in own[: max(0, len(own) - self._limits.sessions_per_user + 1)]:
            self._put_away(served.id)
        if self._shared:
            self._require_share(owner, own, more)
        leave = (partial(self._put_away, one.id) for one in live)
        with self._memory.promised(more + self._memory.embeddings, leave):
            yield

    def _require_share(self, owner: str, own: list[Served], more: int) -> None:
        most = self._limits.user_memory_bytes
        if more > most:
            raise ReadError(
                f"expected an image that takes at most {most / 1e9:.2f} GB of memory with its masks, got one of "
                f"{more / 1e9:.2f} GB; crop or resample it first"
            )
        for served in own:
            if self._held_by(owner) + more <= most:
                return
            self._put_away(served.id)
        if self._held_by(owner) + more > most:
            raise BusyError(
                f"what you work on takes all of the {most / 1e9:.2f} GB of memory that you have here; close a session, "
                "or wait until it is idle",
                10.0,
                own=True,
            )

    def _held_by(self, owner: str) -> int:
        """Return the bytes of a user's sessions in memory, an image that several show once."""
        own = [one for one in self._live.values() if one.owner == owner]
        images = {id(one.session.volume): int(one.session.volume.array.nbytes) for one in own}
        return sum(images.values()) + sum(one.nbytes + self._memory.embeddings for one in own)
