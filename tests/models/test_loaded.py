"""Loaded models: one load under concurrent requests, the least recently used goes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from promptseg.errors import ModelError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.models.loaded import LoadedModels


class Sized(OraclePredictor):
    """A fake of a certain size."""

    nbytes = 40
    described = "a fake"


def test_one_load_for_many_who_ask_at_once():
    held, loads, gate = LoadedModels(1000), [], threading.Event()

    def load():
        loads.append(1)
        gate.wait(5)
        return Sized()

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(held.get, "a", "cpu", load) for _ in range(8)]
        gate.set()
        assert len({id(f.result()) for f in futures}) == 1
    assert len(loads) == 1


def test_the_least_recently_used_goes_and_the_report_says_what_is_left():
    held = LoadedModels(100)
    first = held.get("a", "cpu", Sized)
    held.get("b", "cuda:0", Sized)
    assert held.get("a", "cpu", Sized) is first
    held.get("c", "cuda:1", Sized)
    assert [(m.device, m.nbytes, m.described) for m in held.report()] == [
        ("cpu", 40, "a fake"),
        ("cuda:1", 40, "a fake"),
    ]
    assert held.get("a", "cpu", Sized) is first
    assert held.emptiest(2) == 0
    held.clear()
    assert held.report() == ()
    assert held.get("a", "cpu", Sized) is not first


def test_one_that_is_too_large_alone_stays():
    held = LoadedModels(10)
    big = held.get("a", "cpu", Sized)
    assert held.get("a", "cpu", Sized) is big


def test_a_failed_load_reaches_all_and_is_tried_again():
    held, gate = LoadedModels(100), threading.Event()

    def broken():
        gate.wait(5)
        raise ModelError("broken")

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(held.get, "a", "cpu", broken) for _ in range(2)]
        gate.set()
        for future in futures:
            with pytest.raises(ModelError, match="broken"):
                future.result()
    assert held.get("a", "cpu", Sized).model_id == "oracle"
