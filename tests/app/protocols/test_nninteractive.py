"""nnInteractive's protocol with the published clients, oldest and newest, over a real socket."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from viewers import SHAPE, dice, from_wheel, phantom

from promptseg.app.protocols import nninteractive
from promptseg.app.protocols.frames import pack
from promptseg.app.protocols.viewers import Viewers

remote = pytest.importorskip("nnInteractive.inference.remote.remote_session")
CENTRE, OUTSIDE = (8, 13, 25), (16, 4, 4)
SPACING = np.array([3.0, 1.0, 1.0])


def _newest() -> Any:
    return remote


def _oldest() -> Any:
    """Version 2.5.0's session module; the rest of its package is the same in both."""
    return from_wheel("nninteractive_client", "nnInteractive/inference/remote/remote_session.py", "nninteractive_2_5_0")


@pytest.fixture(params=[_newest, _oldest], ids=["newest", "2.5.0"])
def client(request: pytest.FixtureRequest, address: str) -> Iterator[Any]:
    module = request.param()
    session = module.nnInteractiveRemoteInferenceSession(address)
    yield session
    session.close()


@pytest.fixture
def loaded(client: Any) -> Any:
    return load(client)


def load(client: Any, dtype: str = "float32") -> Any:
    image, _ = phantom(dtype)
    client.set_image(image[None], {"spacing": SPACING})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    return client


def truth() -> np.ndarray:
    return phantom()[1]


def test_1_the_constructor_claims_and_asks_what_there_is(client: Any) -> None:
    assert client.ping()
    assert client.supported_interactions == {
        "points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True
    }  # fmt: skip
    assert client.channel_mapping["points"] == (3, 4)
    assert list(client.preferred_scribble_thickness) == [2, 2, 2]
    assert "Apache-2.0" in client.license
    assert client.supports_undo
    assert client.heartbeat() > 500


class Recorder:
    """ASGI middleware that notes every request, and takes a prefix off as a proxy does."""

    def __init__(self, app: Any, seen: list[str], prefix: str = "") -> None:
        self._app, self._seen, self._prefix = app, seen, prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self._seen.append(f"{scope['method']} {scope['path']}")
            path = scope["path"].removeprefix(self._prefix)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def test_1_14_the_constructor_asks_two_things_and_then_its_heart_beats(listen: Callable[..., str]) -> None:
    beating: list[tuple[Any, list[str]]] = []
    for version in (_newest, _oldest):
        seen: list[str] = []

        def watched(app: Any, seen: list[str] = seen) -> None:
            app.add_middleware(Recorder, seen=seen)
            app.state.nninteractive = Viewers(limit=2, idle_s=600.0, liveness_s=10.0)  # a beat each 5 s, its shortest

        session = version().nnInteractiveRemoteInferenceSession(listen(watched))
        assert seen == ["POST /claim", "GET /capabilities"]
        beating.append((session, seen))
    deadline = time.monotonic() + 120
    for session, seen in beating:
        while "POST /heartbeat" not in seen:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        session.close()


def test_15_the_address_may_have_a_prefix(listen: Callable[..., str]) -> None:
    seen: list[str] = []
    address = listen(lambda app: app.add_middleware(Recorder, seen=seen, prefix="/nni"))
    session = load(remote.nnInteractiveRemoteInferenceSession(f"{address}/nni"))
    session.add_point_interaction(CENTRE, include_interaction=True)
    assert session.target_buffer[CENTRE] == 1
    assert all(" /nni/" in one for one in seen)
    session.close()


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16", "float64", "uint16"])
def test_3_images_of_every_usual_dtype_are_taken(client: Any, dtype: str) -> None:
    load(client, dtype)
    assert tuple(client.original_image_shape) == (1, *SHAPE)
    client.add_point_interaction(CENTRE, include_interaction=True)
    assert dice(client.target_buffer, truth()) > 0.8


def test_3_a_bool_image_is_taken(client: Any) -> None:
    client.set_image(truth()[None])
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    client.add_point_interaction(CENTRE, include_interaction=True)
    assert client.target_buffer[CENTRE] == 1


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32"])
def test_4_buffers_of_whole_numbers_are_filled(loaded: Any, dtype: str) -> None:
    loaded.set_target_buffer(np.zeros(SHAPE, dtype))
    loaded.add_point_interaction(CENTRE, include_interaction=True)
    assert loaded.target_buffer.dtype == dtype
    assert set(np.unique(loaded.target_buffer.astype(int))) == {0, 1}


@pytest.mark.parametrize("body", [{"shape": list(SHAPE), "dtype": "float32"}, {"shape": [30, 40], "dtype": "uint8"},
                                  {"shape": [20, 0, 40], "dtype": "uint8"}, {"shape": [20, 30, 41], "dtype": "uint8"},
                                  {"dtype": "uint8"}, {"shape": list(SHAPE), "dtype": "object"}])  # fmt: skip
def test_4_other_buffers_are_refused(loaded: Any, body: dict[str, Any]) -> None:
    answer = loaded._http.post("/set_target_buffer", json=body)
    assert answer.status_code == 400
    assert "expected" in answer.json()["detail"]


def test_5_a_point_changes_the_smallest_box_and_nothing_outside(loaded: Any) -> None:
    box = loaded.add_point_interaction(CENTRE, include_interaction=True)
    changed = np.argwhere(loaded.target_buffer)
    assert [[int(a), int(b) + 1] for a, b in zip(changed.min(0), changed.max(0), strict=True)] == [list(s) for s in box]
    assert loaded.target_buffer[CENTRE] == 1
    assert dice(loaded.target_buffer, truth()) > 0.8


def test_5_points_between_and_beyond_voxels_are_moved_into_the_image(loaded: Any) -> None:
    loaded.add_point_interaction((8.4, 12.6, 25.49), include_interaction=True)
    assert loaded.target_buffer[CENTRE] == 1
    loaded.add_point_interaction((-3, 99, 0), include_interaction=False)
    assert loaded.target_buffer[0, 29, 0] == 0


def test_6_the_same_point_again_changes_nothing_and_a_negative_one_removes(loaded: Any) -> None:
    loaded.add_point_interaction(CENTRE, include_interaction=True)
    before = loaded.target_buffer.copy()
    assert loaded.add_point_interaction(CENTRE, include_interaction=True) is None
    np.testing.assert_array_equal(loaded.target_buffer, before)
    loaded.add_point_interaction((8, 17, 25), include_interaction=False)
    assert loaded.target_buffer[8, 17, 25] == 0


def test_7_a_box_on_one_slice(loaded: Any) -> None:
    loaded.add_bbox_interaction([[8, 9], [5.6, 20.4], [15.9, SHAPE[2] + 1]], include_interaction=True)
    assert dice(loaded.target_buffer, truth()) > 0.7


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ([[8, 8], [5, 20], [16, 35]], "zero in at least one dimension"),
        ([[4, 12], [5, 20], [16, 35]], "3D"),
        ([[8, 9], [20, 5], [16, 35]], "lower"),
        ([[8, 9], [5, 20]], "three"),
        ([[90, 91], [5, 20], [16, 35]], "inside"),
    ],
)
def test_7_other_boxes_are_refused_and_change_nothing(loaded: Any, box: list[list[int]], word: str) -> None:
    loaded.add_point_interaction(CENTRE, include_interaction=True)
    before = loaded.target_buffer.copy()
    body = {"bbox_coords": box, "include_interaction": True, "run_prediction": True}
    answer = loaded._http.post("/add_bbox_interaction", json=body)
    assert answer.status_code == 400
    assert word in answer.json()["detail"]
    assert loaded.undo()  # the step before is still the last one
    assert before.any()
    assert not loaded.target_buffer.any()


def test_7_a_negative_box_takes_away(loaded: Any) -> None:
    loaded.add_initial_seg_interaction(truth().astype(np.uint8))
    loaded.add_bbox_interaction([[8, 9], [13, 30], [0, 40]], include_interaction=False)
    assert not loaded.target_buffer[8, 13:].any()


def test_8_a_scribble_in_its_box_and_a_lasso_of_the_whole_volume(loaded: Any) -> None:
    stroke = np.zeros((1, 6, 7), np.uint8)
    stroke[0, 3, :] = 1
    loaded.add_scribble_interaction(stroke, include_interaction=True, interaction_bbox=[[8, 9], [10, 16], [21, 28]])
    assert loaded.target_buffer[8, 13, 21:28].all()
    loaded.reset_interactions()
    region = np.zeros(SHAPE, np.uint8)
    region[8] = truth()[8]
    loaded.add_lasso_interaction(region, include_interaction=True)
    assert dice(loaded.target_buffer[8], truth()[8]) > 0.85


def test_8_masks_of_another_size_or_place_are_refused_and_empty_ones_change_nothing(loaded: Any) -> None:
    full = np.zeros(SHAPE, np.uint8)
    assert loaded.add_scribble_interaction(full, include_interaction=True) is None
    for box in ([[8, 9], [10, 16], [21, 29]], [[8, 9], [26, 32], [21, 28]]):
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            loaded.add_scribble_interaction(
                np.ones((1, 6, 7), np.uint8), include_interaction=True, interaction_bbox=box
            )
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        loaded.add_lasso_interaction(full[:-1], include_interaction=True)


def test_9_prompts_wait_for_the_prediction(address: str) -> None:
    session = load(remote.nnInteractiveRemoteInferenceSession(address))
    assert session.add_point_interaction(CENTRE, include_interaction=True, run_prediction=False) is None
    assert not session.target_buffer.any()
    assert session._predict() is not None
    assert session.target_buffer[CENTRE] == 1
    assert session._predict() is None
    session.close()


def test_10_undo_is_one_level_deep_and_exact(loaded: Any) -> None:
    assert not loaded.undo()
    loaded.add_point_interaction(CENTRE, include_interaction=True)
    before = loaded.target_buffer.copy()
    loaded.add_point_interaction((8, 17, 25), include_interaction=False)
    assert loaded.undo()
    np.testing.assert_array_equal(loaded.target_buffer, before)
    assert not loaded.undo()
    loaded.reset_interactions()
    assert not loaded.undo()


def test_11_an_initial_mask_is_taken_as_it_is_and_undone(loaded: Any) -> None:
    seed = np.zeros(SHAPE, np.uint8)
    seed[2:9, 4:11, 3:19] = 1
    assert loaded.add_initial_seg_interaction(seed, run_prediction=False) is None
    np.testing.assert_array_equal(loaded.target_buffer, seed)
    assert loaded.undo()
    assert not loaded.target_buffer.any()
    assert loaded._http.post("/add_initial_seg_interaction", content=pack(seed[1:])).status_code == 400


def test_11_after_any_sequence_both_sides_hold_the_same(listen: Callable[..., str]) -> None:
    viewers: Viewers[nninteractive.Place] = Viewers(limit=2, idle_s=600.0)
    address = listen(lambda app: setattr(app.state, "nninteractive", viewers))
    session = load(remote.nnInteractiveRemoteInferenceSession(address))
    rng = np.random.default_rng(11)
    viewer = viewers.find_by("local", lambda place: place.drawing is not None)
    assert viewer is not None
    place = viewer.content
    for _ in range(120):
        at = tuple(int(rng.integers(n)) for n in SHAPE)
        sign, run = bool(rng.random() < 0.7), bool(rng.random() < 0.8)
        kind = rng.integers(8)
        if kind <= 2:
            session.add_point_interaction(at, include_interaction=sign, run_prediction=run)
        elif kind == 3:
            box = [[at[0], at[0] + 1], [min(at[1], 20), min(at[1], 20) + 8], [min(at[2], 30), min(at[2], 30) + 9]]
            session.add_bbox_interaction(box, include_interaction=sign, run_prediction=run)
        elif kind == 4:
            corner = [[at[0], at[0] + 1], [min(at[1], 25), min(at[1], 25) + 5], [min(at[2], 34), min(at[2], 34) + 6]]
            session.add_scribble_interaction(
                (rng.random((1, 5, 6)) < 0.4).astype(np.uint8), include_interaction=sign, run_prediction=run,
                interaction_bbox=corner,
            )  # fmt: skip
        elif kind == 5:
            session.undo()
        elif kind == 6:
            session.add_initial_seg_interaction((rng.random(SHAPE) < 0.1).astype(np.uint8), run_prediction=run)
        else:
            session.reset_interactions()
        np.testing.assert_array_equal(session.target_buffer, place.drawing.shown)
    session.close()


def test_12_a_reset_empties_both_and_an_image_of_another_shape_follows(loaded: Any) -> None:
    loaded.add_point_interaction(CENTRE, include_interaction=True)
    loaded.reset_interactions()
    assert not loaded.target_buffer.any()
    loaded.add_point_interaction(CENTRE, include_interaction=True)
    assert dice(loaded.target_buffer, truth()) > 0.8
    flat = phantom()[0][None, 8:9]
    loaded.set_image(flat)
    loaded.set_target_buffer(np.zeros((1, 30, 40), np.uint8))
    loaded.add_point_interaction((0, 13, 25), include_interaction=True)
    assert dice(loaded.target_buffer[0], truth()[8]) > 0.8


def test_12_prompts_before_an_image_are_refused(client: Any) -> None:
    body = {"coordinates": list(CENTRE), "include_interaction": True}
    answer = client._http.post("/add_point_interaction", json=body)
    assert (answer.status_code, "image" in answer.json()["detail"]) == (400, True)
    assert client._http.post("/add_point_interaction", json=[1]).status_code == 422
    assert client._http.post("/add_point_interaction", json={"coordinates": [1, 2, 3]}).status_code == 400
    assert client._http.post("/add_point_interaction", content=b"{").status_code == 400


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the refused client leaks its socket
def test_13_seats_are_counted_and_given_back(listen: Callable[..., str]) -> None:
    address = listen(lambda app: setattr(app.state, "nninteractive", Viewers(limit=1, idle_s=600.0)))
    first = remote.nnInteractiveRemoteInferenceSession(address)
    with pytest.raises(remote.ServerAtCapacityError):
        remote.nnInteractiveRemoteInferenceSession(address)
    gc.collect()
    first.close()
    first.close()
    second = remote.nnInteractiveRemoteInferenceSession(address)
    answer = httpx.post(f"{address}/heartbeat", headers={"X-Lease-Token": "0" * 32})
    assert answer.status_code == 410
    second._http.post("/release")
    with pytest.raises(remote.SessionExpiredError):
        second.reset_interactions()


def test_14_a_heartbeat_is_answered_while_a_prediction_runs(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(remote.nnInteractiveRemoteInferenceSession(address))
    began, go_on = threading.Event(), threading.Event()
    real = nninteractive.Drawing.add

    def slow(self: Any, *args: Any, **kwargs: Any) -> Any:
        began.set()
        assert go_on.wait(60)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(nninteractive.Drawing, "add", slow)
    worker = threading.Thread(target=lambda: session.add_point_interaction(CENTRE, include_interaction=True))
    worker.start()
    assert began.wait(30)
    assert session.heartbeat() > 0
    token = session._http.headers["X-Lease-Token"]
    assert httpx.post(f"{address}/heartbeat", headers={"X-Lease-Token": token}, json={}).status_code == 200
    assert httpx.post(f"{address}/heartbeat", headers={"X-Lease-Token": token}).status_code == 200
    assert worker.is_alive()
    go_on.set()
    worker.join(60)
    assert session.target_buffer[CENTRE] == 1
    session.close()


def test_15_two_viewers_at_once_do_not_disturb_each_other(address: str) -> None:
    image, inside = phantom()
    flipped, mirrored = image[:, ::-1, ::-1].copy(), inside[:, ::-1, ::-1]
    results: dict[str, np.ndarray] = {}

    def work(name: str, data: np.ndarray, at: tuple[int, int, int]) -> None:
        session = remote.nnInteractiveRemoteInferenceSession(address)
        session.set_image(data[None])
        session.set_target_buffer(np.zeros(SHAPE, np.uint8))
        for _ in range(5):
            session.reset_interactions()
            session.add_point_interaction(at, include_interaction=True)
        results[name] = session.target_buffer.copy()
        session.close()

    threads = [
        threading.Thread(target=work, args=("plain", image, CENTRE)),
        threading.Thread(target=work, args=("turned", flipped, (8, 29 - 13, 39 - 25))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert dice(results["plain"], inside) > 0.8
    assert dice(results["turned"], mirrored) > 0.8


def test_a_damaged_frame_is_refused_and_the_server_lives(loaded: Any) -> None:
    good = pack(np.zeros((1, 4, 5, 6), np.float32))
    for body in (b"", b"NNIA", good[:-4], b"XXXX" + good[4:], pack(np.zeros((4, 5, 6), np.float32))):
        assert loaded._http.post("/set_image", content=body).status_code == 400
    assert loaded._http.post("/set_image", content=good, headers={"X-Meta": "{"}).status_code == 400
    assert loaded.ping()


def test_a_silent_viewer_loses_its_seat_and_a_busy_one_does_not() -> None:
    now = [0.0]
    viewers: Viewers[str] = Viewers(limit=2, idle_s=600.0, liveness_s=60.0, clock=lambda: now[0])
    silent, beating, busy = viewers.take("a", "silent"), viewers.take("a", "beating"), None
    viewers.leave("a", silent.token)
    silent, busy = viewers.take("a", "silent"), beating
    with viewers.using(busy):
        now[0] = 61.0
        assert viewers.find("a", silent.token) is None
        assert viewers.find("a", busy.token) is busy
    for _ in range(10):
        now[0] += 59.0
        viewers.sign_of_life(busy)
        assert viewers.find("a", busy.token) is busy
    now[0] += 59.0
    assert viewers.find("a", busy.token) is None  # alive, but idle for more than 600 s
    assert viewers.find("b", viewers.take("a", "x").token) is None


def test_13_without_a_known_key_nothing_but_the_sign_of_life_is_answered(listen: Callable[..., str]) -> None:
    apps: list[Any] = []
    address = listen(apps.append, auth="keys")
    accounts = apps[0].state.promptseg.accounts
    accounts.add("reader")
    key = accounts.new_key("reader")
    assert httpx.get(f"{address}/healthz").json() == {"ok": True}
    for headers in ({}, {"Authorization": "Bearer psk_wrong"}):
        answer = httpx.post(f"{address}/claim", headers=headers)
        assert answer.status_code == 401
        assert isinstance(answer.json()["detail"], str)
    session = load(remote.nnInteractiveRemoteInferenceSession(address, api_key=key))
    session.add_point_interaction(CENTRE, include_interaction=True)
    assert session.target_buffer[CENTRE] == 1
    accounts.add("other")
    lease = session._http.headers["X-Lease-Token"]
    foreign = {"Authorization": f"Bearer {accounts.new_key('other')}", "X-Lease-Token": lease}
    assert httpx.post(f"{address}/heartbeat", headers=foreign).status_code == 410
    session.close()
