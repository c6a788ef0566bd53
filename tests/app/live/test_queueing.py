"""The queue of a model: turns, priorities, cancellation, honest answers when full."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from promptseg.app.errors import BusyError
from promptseg.app.live import queueing
from promptseg.app.live.queueing import OPEN_PATIENCE_S, ModelQueue, Priority, Turn, Work
from promptseg.errors import Cancelled

SOON_S = 120.0


@pytest.fixture
def queue() -> Iterator[ModelQueue]:
    made = ModelQueue("test", per_user=5, total=12)
    yield made
    made.close()


class Gate:
    """A job that runs until it is told to go on, pausing all the time when ``pausing``."""

    def __init__(self, *, pausing: bool = False) -> None:
        self.begun, self.open, self._pausing = threading.Event(), threading.Event(), pausing

    def __call__(self, turn: Turn) -> str:
        self.begun.set()
        deadline = time.monotonic() + SOON_S
        while not self.open.wait(0.001):
            assert time.monotonic() < deadline
            if self._pausing:
                turn.pause()
        return "gate"


def put(
    queue: ModelQueue, user: str, done: list[str], kind: Priority = Priority.INTERACTIVE, session: str = ""
) -> Work:
    return queue.submit(Work(user, session or user, kind, lambda _: done.append(user)))


def test_people_take_turns(queue: ModelQueue) -> None:
    gate, done = Gate(), []
    queue.submit(Work("x", "x", Priority.INTERACTIVE, gate))
    gate.begun.wait(SOON_S)
    works = [put(queue, user, done) for user in ("ann", "ann", "ann", "bob", "bob", "eve")]
    gate.open.set()
    for work in works:
        work.future.result(SOON_S)
    assert done == ["ann", "bob", "eve", "ann", "bob", "ann"]


def test_clicks_come_before_long_work_and_between_its_slices(queue: ModelQueue) -> None:
    gate, done = Gate(pausing=True), []
    long = queue.submit(Work("ann", "a", Priority.BATCH, gate))
    gate.begun.wait(SOON_S)
    later = put(queue, "bob", done, Priority.BATCH)
    click = put(queue, "eve", done)
    back = put(queue, "kim", done, Priority.OPEN)
    click.future.result(SOON_S)
    back.future.result(SOON_S)
    assert not long.future.done()
    assert done == ["eve", "kim"]
    gate.open.set()
    later.future.result(SOON_S)
    assert long.future.result(SOON_S) == "gate"


def test_clicks_without_a_pause_do_not_keep_a_session_out(queue: ModelQueue) -> None:
    back, deadline = threading.Event(), time.monotonic() + SOON_S

    def click(_: Turn) -> None:  # leaves the next one behind, so that one waits at any time
        time.sleep(0.001)
        if not back.is_set() and time.monotonic() < deadline:
            queue.submit(Work("ann", "a", Priority.INTERACTIVE, click))

    def bring_back(_: Turn) -> float:
        back.set()
        return time.monotonic()

    queue.submit(Work("ann", "a", Priority.INTERACTIVE, click))
    began = time.monotonic()
    taken = queue.submit(Work("bob", "b", Priority.OPEN, bring_back)).future.result(2 * SOON_S)
    assert OPEN_PATIENCE_S - 0.5 < taken - began < SOON_S / 2


def test_sessions_that_waited_and_clicks_take_turns(queue: ModelQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "OPEN_PATIENCE_S", 0.0)
    gate, done = Gate(), []
    queue.submit(Work("x", "x", Priority.INTERACTIVE, gate))
    gate.begun.wait(SOON_S)
    works = [put(queue, user, done, Priority.OPEN) for user in ("back1", "back2", "back3")]
    works += [put(queue, user, done) for user in ("ann", "bob")]
    gate.open.set()
    for work in works:
        work.future.result(SOON_S)
    assert done == ["back1", "ann", "back2", "bob", "back3"]


def test_a_step_that_lasts_gives_way_to_who_had_less(queue: ModelQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "QUANTUM_S", 0.01)
    stroke, done = Gate(pausing=True), []
    heavy = queue.submit(Work("ann", "a", Priority.INTERACTIVE, stroke))
    stroke.begun.wait(SOON_S)
    time.sleep(0.05)  # so much she has had
    for _ in range(3):
        put(queue, "eve", done).future.result(SOON_S)
    own = put(queue, "ann", done, session="another of hers")
    assert done == ["eve", "eve", "eve"]
    assert not heavy.future.done()
    assert not own.future.done()
    stroke.open.set()
    assert heavy.future.result(SOON_S) == "gate"
    own.future.result(SOON_S)


def test_who_had_less_of_the_thread_comes_first(queue: ModelQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "QUANTUM_S", 0.01)
    queue.submit(Work("ann", "a", Priority.INTERACTIVE, lambda _: time.sleep(0.05))).future.result(SOON_S)
    gate, done = Gate(), []
    queue.submit(Work("x", "x", Priority.INTERACTIVE, gate))
    gate.begun.wait(SOON_S)
    works = [put(queue, user, done) for user in ("ann", "ann", "bob", "bob")]
    gate.open.set()
    for work in works:
        work.future.result(SOON_S)
    assert done == ["bob", "bob", "ann", "ann"]


def edit(queue: ModelQueue, user: str, session: str, call: Callable[[Turn], Any]) -> Work:
    return queue.submit(Work(user, session, Priority.INTERACTIVE, call, needs_model=False))


def test_what_needs_no_model_waits_for_none(queue: ModelQueue) -> None:
    click, slow, done = Gate(), Gate(), []
    queue.submit(Work("ann", "a", Priority.INTERACTIVE, click))
    click.begun.wait(SOON_S)
    edit(queue, "ann", "b", slow)
    second = edit(queue, "ann", "c", lambda _: done.append("second"))  # hers takes one thread beside the model's
    edit(queue, "bob", "d", lambda _: done.append("bob")).future.result(SOON_S)
    assert done == ["bob"]
    slow.open.set()
    second.future.result(SOON_S)
    assert done == ["bob", "second"]
    click.open.set()


def test_a_sessions_steps_keep_their_order_whoever_does_them(queue: ModelQueue) -> None:
    grow, done = Gate(), []
    edit(queue, "ann", "a", grow)
    grow.begun.wait(SOON_S)
    click = put(queue, "ann", done, session="a")
    undo = edit(queue, "ann", "a", lambda _: done.append("undo"))
    put(queue, "ann", done, session="b").future.result(SOON_S)
    assert not click.future.done()
    grow.open.set()
    undo.future.result(SOON_S)
    assert done == ["ann", "ann", "undo"]


def test_a_click_on_the_session_of_a_long_job_waits_for_its_end(queue: ModelQueue) -> None:
    gate, done = Gate(pausing=True), []
    long = queue.submit(Work("ann", "a", Priority.BATCH, gate))
    gate.begun.wait(SOON_S)
    own, other = put(queue, "ann", done, session="a"), put(queue, "bob", done)
    other.future.result(SOON_S)
    assert not own.future.done()
    long.cancel()
    own.future.result(SOON_S)
    with pytest.raises(Cancelled):
        long.future.result(SOON_S)


def test_a_cancelled_waiting_job_never_begins(queue: ModelQueue) -> None:
    gate, done = Gate(), []
    queue.submit(Work("x", "x", Priority.INTERACTIVE, gate))
    gate.begun.wait(SOON_S)
    work = put(queue, "ann", done)
    work.cancel()
    gate.open.set()
    with pytest.raises(Cancelled):
        work.future.result(SOON_S)
    assert done == []


def test_a_full_queue_says_how_long(queue: ModelQueue) -> None:
    gate, done = Gate(), []
    queue.submit(Work("x", "x", Priority.INTERACTIVE, gate))
    gate.begun.wait(SOON_S)
    works = [put(queue, "ann", done) for _ in range(5)]
    with pytest.raises(BusyError) as own:
        put(queue, "ann", done)
    assert own.value.own
    works += [put(queue, user, done) for user in ("bob", "eve") for _ in range(3)] + [put(queue, "kim", done)]
    with pytest.raises(BusyError, match="busy") as full:
        put(queue, "zoe", done)
    assert not full.value.own
    assert 0 < queue.wait_s("bob", Priority.INTERACTIVE) <= queue.wait_s("bob", Priority.BATCH)
    assert queue.wait_s("zoe", Priority.INTERACTIVE) < queue.wait_s("ann", Priority.INTERACTIVE)  # turns: zoe is early
    gate.open.set()
    for work in works:
        work.future.result(SOON_S)


def test_an_error_reaches_who_waits_and_the_queue_goes_on(queue: ModelQueue) -> None:
    def fail(_: Turn) -> None:
        raise ValueError("broken")

    work = queue.submit(Work("ann", "a", Priority.INTERACTIVE, fail))
    with pytest.raises(ValueError, match="broken"):
        work.future.result(SOON_S)
    done: list[str] = []
    put(queue, "ann", done).future.result(SOON_S)
    assert done == ["ann"]


def test_closing_tells_everyone(queue: ModelQueue) -> None:
    gate, done = Gate(pausing=True), []
    running = queue.submit(Work("ann", "a", Priority.BATCH, gate))
    gate.begun.wait(SOON_S)
    waiting = put(queue, "bob", done, Priority.BATCH)
    queue.close()
    with pytest.raises(Cancelled):
        running.future.result(SOON_S)
    with pytest.raises(BusyError):
        waiting.future.result(SOON_S)
    with pytest.raises(BusyError):
        put(queue, "eve", done)
