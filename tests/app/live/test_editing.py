"""Edits that last are done in a process of their own, with the same result; what would not end is refused or ended."""

from __future__ import annotations

import time

import numpy as np
import pytest

from promptseg.app.live import editing
from promptseg.app.live.aside import aside
from promptseg.app.live.editing import edited
from promptseg.engine.edits import Grow, Smooth, edit_from_dict
from promptseg.errors import Cancelled, PromptError, PromptsegError, ReadError
from promptseg.volume import Geometry, Volume, Window

GEOMETRY = Geometry((9, 30, 41), spacing=(0.7, 0.9, 2.5), origin=(-20.0, 7.0, 300.0))
VOLUME = Volume(np.zeros(GEOMETRY.shape, np.int16), GEOMETRY, Window(0.0, 1.0))
MASK = np.zeros(GEOMETRY.shape, bool)
MASK[2:6, 4:20, 7:31] = True
MASK[3, 9:12, 10:20] = False
MASK[7, 1, 1] = True


def go_on() -> None:
    pass


@pytest.mark.parametrize("edit", [Grow(2.6), edit_from_dict({"kind": "fill holes", "plane": "axial"})])
def test_another_process_gives_the_same(edit: Grow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "AT_ONCE", 1)
    assert np.array_equal(edited(edit, MASK, VOLUME, pause=go_on), edit.apply(MASK, VOLUME))


def test_an_edit_that_works_on_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MOST_WORKED_ON", 5000)
    with pytest.raises(PromptError, match="works on at most 5,000 voxels, got 11,070"):
        edited(Smooth(900.0), MASK, VOLUME, pause=go_on)
    assert edited(Grow(0.1), MASK & (np.arange(41) < 12), VOLUME, pause=go_on).any()


def test_what_is_sent_and_comes_back_may_be_large() -> None:
    sent = np.arange(4_000_000, dtype=np.uint32)  # some hundred times what a pipe holds
    assert np.array_equal(aside(np.flip, sent, pause=go_on), sent[::-1])


def test_what_goes_wrong_elsewhere_is_told_here() -> None:
    with pytest.raises(ReadError, match="too small"):
        aside(_refuse, "too small", pause=go_on)
    with pytest.raises(PromptsegError, match="status 3"):
        aside(_die, pause=go_on)


def test_what_takes_too_long_or_is_not_wanted_any_more_ends() -> None:
    began = time.monotonic()
    with pytest.raises(PromptsegError, match="ask for less"):
        aside(_spin, pause=go_on, longest_s=1)

    def leave() -> None:
        raise Cancelled("left")

    with pytest.raises(Cancelled):
        aside(time.sleep, 600, pause=leave)
    assert time.monotonic() - began < 60


def _refuse(why: str) -> None:
    raise ReadError(why)


def _spin() -> None:
    while True:
        pass


def _die() -> None:
    raise SystemExit(3)
