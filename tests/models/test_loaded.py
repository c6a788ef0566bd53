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


def get(held, key, load=Sized, device="cpu"):
    return held.get({key: device}, lambda _: load())


def test_one_load_for_many_who_ask_at_once():
    held, loads, gate = LoadedModels(1000), [], threading.Event()

    def load():
        loads.append(1)
        gate.wait(5)
        return Sized()

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(get, held, "a", load) for _ in range(8)]
        gate.set()
        assert len({id(f.result()) for f in futures}) == 1
    assert len(loads) == 1


def test_the_least_recently_used_goes_and_the_report_says_what_is_left():
    held = LoadedModels(100)
    first = get(held, "a")
    get(held, "b", Sized, "cpu")
    assert get(held, "a") is first
    get(held, "c", Sized, "cpu")
    assert [(m.device, m.nbytes, m.described) for m in held.report()] == [
        ("cpu", 40, "a fake"),
        ("cpu", 40, "a fake"),
    ]
    assert get(held, "a") is first
    held.clear()
    assert held.report() == ()
    assert get(held, "a") is not first


def test_one_that_is_too_large_alone_stays():
    held = LoadedModels(10)
    big = get(held, "a")
    assert get(held, "a") is big


def test_a_failed_load_reaches_all_and_is_tried_again():
    held, gate = LoadedModels(100), threading.Event()

    def broken():
        gate.wait(5)
        raise ModelError("broken")

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(get, held, "a", broken) for _ in range(2)]
        gate.set()
        for future in futures:
            with pytest.raises(ModelError, match="broken"):
                future.result()
    assert get(held, "a").model_id == "oracle"


def test_a_gpu_s_memory_and_the_host_s_are_counted_apart_and_as_they_grow():
    held = LoadedModels(100, {"cuda:0": 60, "cuda:1": None}.get)
    first = get(held, "a", device="cuda:0")
    get(held, "b", device="cpu")
    get(held, "c", device="cpu")
    assert [m.model_id for m in held.report()] == ["oracle"] * 3  # 40 on the GPU, 80 in the host
    first.held_bytes = 30  # embeddings, which lie in the host's memory
    get(held, "c")
    assert [(m.device, m.held_bytes) for m in held.report()] == [("cpu", 0), ("cpu", 0)]
    get(held, "d", device="cuda:0")
    get(held, "e", device="cuda:0")  # two would be 80 of 60
    assert [m.device for m in held.report()] == ["cpu", "cpu", "cuda:0"]


def test_any_gpu_will_do_and_the_emptiest_does_with_loads_in_flight():
    held, gate, begun, chosen = LoadedModels(1000), threading.Event(), threading.Event(), []

    def load(key):
        chosen.append(key)
        begun.set()
        gate.wait(30)
        return Sized()

    both = {("a", 0): "cuda:0", ("a", 1): "cuda:1"}
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(held.get, both, load, 40)
        assert begun.wait(30)
        assert held.choose({("b", 0): "cuda:0", ("b", 1): "cuda:1"}) == ("b", 1)
        again = pool.submit(held.get, both, load, 40)  # not a second copy on the other one
        gate.set()
        assert slow.result() is again.result()
    assert chosen == [("a", 0)]
    assert held.choose(both) == ("a", 0)
