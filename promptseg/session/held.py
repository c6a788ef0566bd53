"""An open session as a value of Python: ``with`` closes it, its text says what it is, and it is never copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Protocol, TypeVar

from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label

__all__ = ["HeldSession"]

NAMES_SHOWN = 5


class _Session(Protocol):
    @property
    def model_id(self) -> str: ...

    @property
    def geometry(self) -> Geometry: ...

    @property
    def labels(self) -> Mapping[int, Label]: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=_Session)


class HeldSession:
    """Mixin of the sessions that a person may hold, wherever they live."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self: _Session, *_: object) -> None:
        self.close()

    def __repr__(self: _Session) -> str:
        """Say model, size and labels; waits for nobody."""
        names = [label.name for label in self.labels.values()]
        more = f", {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        told = f"{', '.join(names[:NAMES_SHOWN])}{more}" if names else "no labels yet"
        size = " x ".join(map(str, self.geometry.shape))
        return f"<{type(self).__name__} {self.model_id} on {size} voxels (z, y, x): {told}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse: half of a session would be another's.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "a session cannot be copied or pickled: pass its labelmap (session.labelmap), or its prompts "
            "(session.export_prompts), from which promptseg.replay makes the same masks"
        )
