"""A slow model can be left, and big images are refused before work begins."""

import time

import numpy as np
import pytest
from phantoms import X, Y, volume_of

import promptseg
from promptseg.engine import memory
from promptseg.engine.interrupt import Interruptible
from promptseg.engine.memory import estimate_memory, free_memory, require_memory
from promptseg.errors import TooLargeError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.session.session import Session

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
SLOW_S = 1.5


class SlowPredictor(OraclePredictor):
    """Takes as long as a large encoder on a CPU."""

    def embed(self, image):
        time.sleep(SLOW_S)
        return super().embed(image)


def test_cancel_is_obeyed_in_the_middle_of_a_slow_slice_and_nothing_more_is_asked():
    slow = SlowPredictor()
    session = Session(volume_of(LEFT), slow)
    asked = []

    def cancel(progress):
        asked.append(time.perf_counter())
        raise promptseg.Cancelled("stop")

    with pytest.raises(promptseg.Cancelled):
        session.add(promptseg.Point(voxel=(12, 35, 25)), on_progress=cancel)
    returned_after = time.perf_counter() - asked[0]
    assert slow.embedded == 0  # the slow call itself is still running
    assert returned_after < SLOW_S / 2  # on a quiet machine milliseconds: benchmarks/cancel_latency.py
    assert not session.mask().any()
    assert not session.can_undo
    session._predictor._pool.submit(lambda: None).result(60)  # after all that was begun
    assert (slow.embedded, slow.predicted, len(asked)) == (1, 0, 1)


def test_answers_and_errors_pass_through():
    class Broken(OraclePredictor):
        def embed(self, image):
            raise TimeoutError("the model's own")

    inner = OraclePredictor()
    watched = Interruptible(inner)
    assert watched.model_id == "oracle"
    with Interruptible(Broken()).watched(lambda: None), pytest.raises(TimeoutError, match="own"):
        Interruptible(Broken()).embed(None)
    broken = Interruptible(Broken())
    with broken.watched(lambda: None), pytest.raises(TimeoutError, match="own"):
        broken.embed(None)
    session = Session(volume_of(LEFT), inner)
    session.add(promptseg.Point(voxel=(12, 35, 25)), on_progress=lambda progress: None)
    assert np.array_equal(session.mask(), LEFT)


def test_what_cannot_fit_is_refused_in_one_sentence(monkeypatch):
    needed = estimate_memory((1000, 512, 512), 2 * 1000 * 512 * 512, promptseg.EngineOptions(), 512 * 1024**2)
    assert 2.3e9 < needed.total < 4 * 1024**3  # a large CT fits into 4 GiB
    monkeypatch.setattr(memory, "free_memory", lambda: needed.total // 2)
    with pytest.raises(TooLargeError, match=r"GiB of free memory .* got .* GiB; close other programs") as caught:
        require_memory(needed)
    assert "\n" not in str(caught.value)
    require_memory(needed, held=needed.total // 2 + 1)
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    require_memory(needed)


def test_a_session_asks_before_it_takes_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1024)
    with pytest.raises(TooLargeError):
        Session(volume_of(LEFT), OraclePredictor())


def test_free_memory_is_known_on_linux():
    free = free_memory()
    assert free is None or free > 0
