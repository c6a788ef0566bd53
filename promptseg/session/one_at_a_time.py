"""One thread at a time in an object: the second waits until the first one's call is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, TypeVar

__all__ = ["Occupied", "one_at_a_time"]

C = TypeVar("C", bound=type)


class Occupied:
    """Base of classes whose public methods take turns; a method may call others, and so may what it calls back."""

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._depth = 0

    def _rested(self, seconds: float) -> None:
        """Called at the end of a call from outside, still in its turn, with how long it took."""


def one_at_a_time(kind: C) -> C:
    """Class decorator: every public method that the class itself defines waits for its turn."""
    for name, method in list(vars(kind).items()):
        if isfunction(method) and not name.startswith("_"):
            setattr(kind, name, _taking_turns(method))
    return kind


def _taking_turns(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def in_turn(self: Any, /, *args: Any, **named: Any) -> Any:
        with self._turn:
            began, self._depth = time.perf_counter(), self._depth + 1
            try:
                return method(self, *args, **named)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._rested(time.perf_counter() - began)

    return in_turn
