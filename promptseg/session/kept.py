"""What every session can do beside its verbs: tell who keeps it, and be kept, closed and brought back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

from promptseg.errors import WriteError
from promptseg.session.history import History, Past
from promptseg.session.one_at_a_time import Occupied, one_at_a_time
from promptseg.session.reading import SessionView
from promptseg.volume.label_voxels import Layers

__all__ = ["KeptSession"]


class _Autosave(Protocol):
    findings: tuple[str, ...]

    @property
    def revision(self) -> int: ...

    def save(self) -> None: ...

    def rested(self, seconds: float) -> None: ...

    def close(self) -> None: ...


@one_at_a_time
class KeptSession(SessionView):
    """The side of a ``Session`` that its folder sees."""

    _autosave: _Autosave | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """What a person should know of how the session was brought back: sentences, none where all is well."""
        return () if self._autosave is None else self._autosave.findings

    @property
    def revision(self) -> int:
        """How many lines its journal has, undo and redo among them; 0 for a session without one."""
        return 0 if self._autosave is None else self._autosave.revision

    def record_to(self, record: Callable[[Mapping[str, Any]], None]) -> None:
        """From now on call ``record`` with every entry, as the constructor's argument of that name."""
        self._history.record = record

    def keep_by(self, autosave: _Autosave, record: Callable[[Mapping[str, Any]], None]) -> None:
        """Record to an autosave's journal, and tell it whenever a call has ended."""
        self._autosave, self._history.record = autosave, record

    def close(self) -> None:
        """Let others go on with the session's folder; this session can be read, and refuses to change."""
        if self._autosave is not None:
            self._autosave.close()
            self._history.record = _refuse

    def snapshot(self) -> None:
        """Have a snapshot written in the background, so that it is brought back quickly."""
        if self._autosave is not None:
            self._autosave.save()

    def twin(self) -> Self:
        """Return a session of the same state that is nobody's: to export from while this one goes on."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        Occupied.__init__(twin)
        twin._autosave, twin._layers = None, Layers(self.volume.shape, self.options.overlap)
        twin._history = History(twin._layers)
        twin._history.restore(self._history.capture())
        return twin

    def capture(self) -> Past:
        """Return the whole history as it is now."""
        return self._history.capture()

    def go_on_from(self, past: Past) -> None:
        """Go on from a captured history of the same image, model and options."""
        self._history.restore(past)

    def _rested(self, seconds: float) -> None:
        if self._autosave is not None:
            self._autosave.rested(seconds)


def _refuse(_: Mapping[str, Any]) -> None:
    raise WriteError("the session is closed; bring it back with promptseg.resume(folder)")
