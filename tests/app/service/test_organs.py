"""The whole body and texts over REST and with the client: real nnU-Net networks, tiny ones of known answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from promptseg.app.settings import ServeSettings
from promptseg.errors import Cancelled, ModelError, PromptError, UnknownNameError
from promptseg.io import write_volume
from promptseg.prompts import Point, TextPrompt
from promptseg.remote.client import Client, RemoteSession
from promptseg.volume import Geometry

from ..servers import InThread

pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
import tiny_weights
from wholebody_phantoms import blocks, expected

SHAPE = (14, 40, 44)
GEOMETRY = Geometry(SHAPE, (3.0, 3.0, 3.0), (12.0, -7.5, 100.0))
NAMES = {"liver", "kidney_right", "kidney_left", "spleen", "aorta", "brain", "heart", "sternum"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with tiny weights of the task total, fast."""
    models = tmp_path_factory.mktemp("models")
    tiny_weights.write_task(models / "totalsegmentator" / "nnunet" / "results", "total", "bands", fast=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"):
            patch.delenv(name, raising=False)
        patch.setenv("PROMPTSEG_MODELS", str(models))
        settings = ServeSettings(data=tmp_path_factory.mktemp("server"), device="cpu")
        with InThread(settings) as url, Client(url) as client:
            yield client
        os.environ.pop("TOTALSEG_HOME_DIR", None)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "blocks.nii.gz"
    write_volume(blocks(GEOMETRY), path)
    return path


@pytest.fixture
def session(server: Client, image: Path) -> RemoteSession:
    return server.open_session(image, "classical")


def test_every_organ_becomes_a_label_that_clicks_correct(server: Client, session: RemoteSession) -> None:
    told: list[int] = []
    values = session.segment_whole_body(on_progress=lambda progress: told.append(progress.done))
    assert {session.labels[value].name for value in values} == NAMES
    assert told
    right = expected(SHAPE, (2, 3, 3))
    for class_id, name in ((5, "liver"), (3, "kidney_left"), (116, "sternum")):
        mask = session.mask(name)
        assert mask[right == class_id].all(), name
        assert not mask[(right != class_id) & (right >= 0)].any(), name
    state = server.request("GET", f"/sessions/{session.id}").json()
    assert [label["voxels"] for label in state["labels"]] == [int(session.mask(value).sum()) for value in values]

    session.select("liver")
    z, y, x = np.argwhere(session.mask("liver")).mean(axis=0).round().astype(int).tolist()
    before = int(session.mask("liver").sum())
    session.add(Point(voxel=(z, y, x), positive=False), propagate=False)
    assert not session.mask("liver")[z, y, x]
    assert session.mask("liver").sum() < before


def test_what_a_person_has_made_stays(session: RemoteSession) -> None:
    session.new_label("liver")
    session.add(Point(voxel=(3, 10, 30)), propagate=False)
    own = session.mask("liver")
    assert own.any()
    session.segment_whole_body()
    np.testing.assert_array_equal(session.mask("liver"), own)
    assert {label.name for label in session.labels.values()} == NAMES


def test_a_text_becomes_one_label(session: RemoteSession) -> None:
    value = session.segment_text("左肾")
    assert [label.name for label in session.labels.values()] == ["kidney_left"]
    right = expected(SHAPE, (2, 3, 3))
    assert session.mask(value)[right == 3].all()
    session.undo()
    assert not session.mask().any()


def test_words_are_a_prompt_for_the_selected_label(session: RemoteSession) -> None:
    session.new_label("mine")
    session.add(TextPrompt("left kidney"))
    assert [label.name for label in session.labels.values()] == ["mine"]
    right = expected(SHAPE, (2, 3, 3))
    assert session.mask("mine")[right == 3].all()
    assert session.prompts[0].prompt == TextPrompt("left kidney", session.mask("mine"))
    assert len(session.log) == 2
    session.undo()
    assert not session.mask().any()


def test_a_text_that_means_nothing_or_too_much_is_told_with_the_choices(session: RemoteSession) -> None:
    with pytest.raises(UnknownNameError, match=r"several structures.*: .*kidney_left.*; name one of them") as caught:
        session.segment_text("kidney")
    assert {"kidney_left", "kidney_right"} <= set(caught.value.choices)
    with pytest.raises(UnknownNameError, match="did you mean 'liver'") as caught:
        session.segment_text("livr")
    assert caught.value.choices[0] == "liver"
    with pytest.raises(PromptError, match="gallbladder was not found in this image"):
        session.segment_text("gallbladder")
    session.segment_text("liver")
    with pytest.raises(PromptError, match="has liver already"):
        session.segment_text("liver")
    with pytest.raises(ModelError, match="'totl'"):
        session.segment_whole_body("totl")


def test_a_cancelled_run_leaves_nothing_while_clicks_go_on(server: Client, tmp_path: Path) -> None:
    """The image has enough tiles that the cancel comes between two of them."""
    write_volume(blocks(Geometry((60, 90, 100), (3.0, 3.0, 3.0))), tmp_path / "large.nii.gz")
    session = server.open_session(tmp_path / "large.nii.gz", "classical")
    clicked = []

    def stop(_: object) -> None:
        if not clicked:
            state = server.request("GET", f"/sessions/{session.id}").json()
            assert server.request("GET", f"/jobs/{state['job']}").json()["kind"] == "wholebody"
            clicked.append(session.add(Point(voxel=(10, 20, 30)), propagate=False))
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        session.segment_whole_body(on_progress=stop)
    assert clicked[0] is not None
    again = server.resume(session.id)
    assert len(again.labels) == 1
    np.testing.assert_array_equal(again.mask(1), session.mask(1))
    assert server.request("GET", f"/sessions/{session.id}").json()["job"] is None


def test_missing_weights_are_told_with_what_to_do(session: RemoteSession) -> None:
    with pytest.raises(ModelError, match="promptseg models pull"):
        session.segment_whole_body("lung_vessels")


def test_a_picture_is_refused(server: Client, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    session = server.open_session(tmp_path / "photo.png", "classical")
    with pytest.raises(ModelError, match="expects a grey volume"):
        session.segment_whole_body("total")
