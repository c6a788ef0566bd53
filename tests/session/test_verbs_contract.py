"""Every kind of session does the same: one here, one on a server, and what a viewer draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantoms import SHAPE, X, Y, Z, volume_of

import promptseg
from promptseg.app.protocols.drawing import Drawing
from promptseg.app.settings import ServeSettings
from promptseg.engine.edits import Grow
from promptseg.errors import Cancelled, GeometryMismatchError, PromptError, UnknownNameError, WriteError
from promptseg.export import read_segmentation  # noqa: F401 - its readers are there before the clock runs
from promptseg.io import read_labelmap
from promptseg.prompts import Box, MaskPrompt, Point, Scribble, TextPrompt
from promptseg.remote.client import Client
from promptseg.session.verbs import PromptVerbs, SessionVerbs
from promptseg.volume import Geometry, Label, Labelmap

from ..app.servers import InThread

pytestmark = pytest.mark.server

MODEL = "classical"
LEFT = ((Y - 35) ** 2 + (X - 25) ** 2 < 120) & (Z >= 4) & (Z < 20)
RIGHT = ((Y - 35) ** 2 + (X - 60) ** 2 < 120) & (Z >= 3) & (Z < 21)
ON_LEFT = Box(voxel=((12, 24, 14), (13, 46, 36)))
ON_RIGHT = Box(voxel=((12, 24, 49), (13, 46, 71)))
FRAME = Geometry(SHAPE, (0.8, 0.9, 3.0), (-20.0, 11.0, 300.0), (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1))
VOLUME = promptseg.Volume.from_array(volume_of(LEFT, RIGHT).array, FRAME)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return promptseg.write_volume(VOLUME, tmp_path_factory.mktemp("scan") / "scan.nii.gz")[0]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with InThread(ServeSettings(data=tmp_path_factory.mktemp("server"))) as url, Client(url) as made:
        yield made


@pytest.fixture(scope="module")
def study(client: Client, scan: Path) -> str:
    return str(client.add_study(scan)["id"])


@pytest.fixture
def opened(request: pytest.FixtureRequest, scan: Path) -> Callable[[str], Any]:
    def make(kind: str) -> Any:
        if kind == "local":
            return promptseg.open_session(scan, MODEL)
        if kind == "remote":
            client, study = (request.getfixturevalue(name) for name in ("client", "study"))
            return client.session_on(study, MODEL)
        return Drawing(promptseg.read_volume(scan), MODEL, "cpu", 1 << 26)

    return make


@pytest.fixture(params=["local", "remote"])
def session(request: pytest.FixtureRequest, opened: Callable[[str], Any]) -> SessionVerbs:
    return opened(request.param)  # type: ignore[no-any-return]


@pytest.fixture(params=["local", "remote", "drawn"])
def prompted(request: pytest.FixtureRequest, opened: Callable[[str], Any]) -> PromptVerbs:
    return opened(request.param)  # type: ignore[no-any-return]


def difference(before: np.ndarray, after: np.ndarray) -> Any:
    """Return the smallest half-open box around what differs."""
    where = np.argwhere(before != after)
    if not len(where):
        return None
    return tuple(where.min(axis=0).tolist()), tuple((where.max(axis=0) + 1).tolist())


# --- prompts: here, on a server, drawn --------------------------------------------------------------------------------


def test_one_add_is_one_step(prompted: PromptVerbs) -> None:
    empty = prompted.mask()
    changed = prompted.add(ON_LEFT)
    mask = prompted.mask()
    assert 2 * (mask & LEFT).sum() / (mask.sum() + LEFT.sum()) > 0.9
    assert changed == difference(empty, mask)
    assert prompted.can_undo
    assert prompted.undo() == changed
    assert not prompted.mask().any()


def test_a_slice_first_and_the_rest_afterwards_gives_what_one_call_gives(
    prompted: PromptVerbs, opened: Callable[[str], Any]
) -> None:
    at_once = opened("local")
    at_once.add(ON_LEFT)
    prompted.add(ON_LEFT, propagate=False)
    first = prompted.mask()
    assert prompted.is_pending()
    assert first[12].any()
    assert not first[[5, 18]].any()
    assert prompted.propagate() == difference(first, prompted.mask())
    assert not prompted.is_pending()
    np.testing.assert_array_equal(prompted.mask(), at_once.mask())


def test_prompts_wait_until_they_are_asked_for(prompted: PromptVerbs) -> None:
    assert prompted.add(ON_LEFT, predict=False) is None
    assert not prompted.mask().any()
    assert prompted.is_pending()
    prompted.propagate()
    assert prompted.mask()[12].any()


def test_progress_counts_and_cancelled_leaves_everything_as_it_was(prompted: PromptVerbs) -> None:
    told = []
    prompted.add(ON_LEFT, on_progress=told.append)
    assert told
    assert all(0 <= one.done <= one.total and one.elapsed_s >= 0 for one in told)
    prompted.undo()

    def stop(_: object) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        prompted.add(ON_LEFT, on_progress=stop)
    assert not prompted.mask().any()


@pytest.mark.parametrize("prompts", [(), (Point(voxel=(99, 0, 0)),)])
def test_a_bad_prompt_changes_nothing(prompted: PromptVerbs, prompts: tuple[Any, ...]) -> None:
    with pytest.raises(PromptError, match=r"expected|outside"):
        prompted.add(*prompts)
    assert not prompted.mask().any()


# --- all verbs: here and on a server ----------------------------------------------------------------------------------


def worked(session: SessionVerbs) -> list[Any]:
    """A person's work; what each verb gave."""
    told: list[Any] = [session.new_label("left")]
    told.append(session.add(ON_LEFT))
    told.append(session.add(Point(voxel=(8, 35, 32)), propagate=False))
    told.append(session.edit(Grow(by_mm=2.0)))
    told.append(session.new_label())
    told.append(session.add(ON_RIGHT, propagate=False))
    told.append(session.replace_prompt(3, Scribble([[12, 35, 60], [12, 36, 60]])))
    told.append(session.remove_prompt(2))
    told.append(session.propagate("left"))
    told.append(session.accept(12, "sagittal"))
    told.append(session.rename("label 2", "right"))
    told.append(session.recolour("right", (1, 2, 3)))
    told.append(session.set_overlap("visible", ["left"]))
    told.append(session.select("left"))
    told += [session.undo(), session.undo(), session.redo()]
    return told


def state(session: SessionVerbs) -> dict[str, Any]:
    names = ("model_id", "labels", "locked", "selected", "overlap", "prompts", "can_undo", "can_redo", "geometry")
    return {name: getattr(session, name) for name in names}


def entries(session: SessionVerbs) -> list[dict[str, Any]]:
    return [{key: entry[key] for key in entry if key != "time"} for entry in session.log]


def test_the_same_lines_give_the_same_session(opened: Callable[[str], Any]) -> None:
    local, remote = opened("local"), opened("remote")
    assert worked(local) == worked(remote)
    np.testing.assert_array_equal(local.labelmap.array, remote.labelmap.array)
    assert state(local) == state(remote)
    assert entries(local) == entries(remote)
    for label in local.labels:
        assert local.review(label) == remote.review(label)
        np.testing.assert_array_equal(local.confidence(label), remote.confidence(label))
        assert local.is_pending(label) == remote.is_pending(label)


def test_every_verb_is_one_entry_and_one_undo(session: SessionVerbs) -> None:
    worked(session)
    while session.can_redo:
        session.redo()
    masks = []
    count = len(session.log)
    while session.can_undo:
        masks.append(session.labelmap.array)
        session.undo()
        assert len(session.log) == (count := count - 1)
    assert not session.labelmap.array.any()
    for mask in reversed(masks):
        session.redo()
        np.testing.assert_array_equal(session.labelmap.array, mask)
    assert not session.can_redo


def test_values_are_of_the_same_kinds(session: SessionVerbs) -> None:
    session.add(ON_LEFT)
    kept = session.prompts[0]
    assert (kept.id, kept.label, kept.prompt) == (1, 1, ON_LEFT)
    worst = session.review()[0]
    assert (worst.plane, worst.measured.index) == (promptseg.Plane.AXIAL, worst.index)
    assert 0 <= worst.confidence == worst.measured.confidence <= 1
    strip = session.confidence()
    assert (strip.shape, strip.dtype, strip[12]) == ((SHAPE[0],), np.float32, 1.0)
    assert np.isnan(strip[[0, SHAPE[0] - 1]]).all()
    assert session.labels == {1: Label.default(1)}
    assert isinstance(session.log[0]["digest"], str)


def test_a_mask_that_no_3d_network_has_answered_has_no_probabilities(session: SessionVerbs) -> None:
    session.add(MaskPrompt(LEFT))
    with pytest.raises(PromptError, match="3D network"):
        session.probabilities()


@pytest.mark.slow
def test_probabilities_are_the_same(client: Client, study: str, scan: Path) -> None:
    told = []
    for session in (promptseg.open_session(scan, "builtin"), client.session_on(study, "builtin")):
        session.add(ON_LEFT)
        told.append((session.probabilities(), session.mask()))
    (here, mask), (there, same) = told
    np.testing.assert_array_equal(mask, same)
    assert (here.dtype, here.shape, here.max() <= 1, here.min() >= 0) == (np.float32, SHAPE, True, True)
    np.testing.assert_array_equal(here, there)


def test_masks_and_words_are_prompts_too(session: SessionVerbs) -> None:
    session.add(MaskPrompt(RIGHT))
    session.new_label("left")
    session.add(TextPrompt("left thing", LEFT))
    np.testing.assert_array_equal(session.labelmap.array, np.where(LEFT, 2, RIGHT))
    assert session.prompts == ((1, 1, MaskPrompt(RIGHT)), (2, 2, TextPrompt("left thing", LEFT)))
    with pytest.raises(GeometryMismatchError, match="shape"):
        session.add(MaskPrompt(LEFT[:-1]))
    with pytest.raises(PromptError, match="on its own"):
        session.add(MaskPrompt(LEFT), ON_LEFT)


def test_labels_are_imported_as_one_step(session: SessionVerbs) -> None:
    array = np.where(LEFT, 7, np.where(RIGHT, 3, 0)).astype(np.uint8)
    found = Labelmap(array, session.geometry, {7: Label(7, "left", (9, 8, 7)), 3: Label(3, "right", (1, 2, 3))})
    assert session.import_labels(found) == (1, 2)
    assert {label.name: label.color for label in session.labels.values()} == {"left": (9, 8, 7), "right": (1, 2, 3)}
    np.testing.assert_array_equal(session.mask("left"), LEFT)
    session.undo()
    assert (session.labels, session.labelmap.array.any()) == ({}, False)
    assert session.import_labels(found, ["right"]) == (1,)
    other = Labelmap(array, Geometry(SHAPE), found.labels)
    with pytest.raises(GeometryMismatchError, match="grid"):
        session.import_labels(other)


def test_a_locked_label_is_left_alone(session: SessionVerbs) -> None:
    session.add(MaskPrompt(LEFT))
    session.new_label("other")
    session.add(MaskPrompt(RIGHT))
    session.lock(1)
    assert session.locked == {1}
    for refused in (
        lambda: session.merge_labels("other", 1),
        lambda: session.merge_labels(1, "other"),
        lambda: session.delete_label(1),
    ):
        with pytest.raises(PromptError, match="locked"):
            refused()
    session.add(MaskPrompt(LEFT | RIGHT))
    np.testing.assert_array_equal(session.mask(1), LEFT)
    assert list(session.labels) == [1, 2]
    session.lock(1, False)
    assert session.merge_labels("other", 1) == difference(np.where(RIGHT, 2, 0), np.zeros(SHAPE))
    np.testing.assert_array_equal(session.mask(1), LEFT | RIGHT)


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.seg.nrrd", "labels.stl", "labels.obj"])
def test_a_file_holds_what_the_labels_are(session: SessionVerbs, tmp_path: Path, name: str) -> None:
    session.add(MaskPrompt(LEFT))
    written = session.save(tmp_path / name)
    assert written[0] == tmp_path / name
    assert all(path.stat().st_size > 100 for path in written if path.suffix in (".stl", ".obj", ".gz", ".nrrd"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    if not name.endswith((".stl", ".obj")):
        back = read_labelmap(written[0])
        np.testing.assert_array_equal(back.array, LEFT)
        assert back.geometry.same_as(VOLUME.geometry)


def test_what_a_format_does_not_hold_is_said(session: SessionVerbs, tmp_path: Path) -> None:
    session.add(MaskPrompt(LEFT))
    session.new_label()
    session.add(MaskPrompt(RIGHT))
    for name, said in (("two.stl", "STL holds one object"), ("mask.xyz", "ends with")):
        with pytest.raises(WriteError, match=said):
            session.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_log_makes_the_masks_again(session: SessionVerbs, scan: Path, tmp_path: Path) -> None:
    worked(session)
    again = promptseg.replay(scan, session.export_prompts(tmp_path / "log.json"))
    np.testing.assert_array_equal(again.array, session.labelmap.array)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.select("nothing"),
        lambda s: s.mask("nothing"),
        lambda s: s.merge_labels("left", "nothing"),
        lambda s: s.review("nothing"),
    ],
)
def test_an_unknown_label_lists_those_there_are(session: SessionVerbs, call: Callable[[Any], Any]) -> None:
    session.new_label("left")
    with pytest.raises(UnknownNameError, match="no label 'nothing'; known: left") as caught:
        call(session)
    assert caught.value.choices == ("left",)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.rename("left", ""),
        lambda s: s.new_label("left"),
        lambda s: s.recolour("left", (1, 2)),
        lambda s: s.recolour("left", (1, 2, 256)),
        lambda s: s.accept(99),
        lambda s: s.accept(3, "oblique"),
        lambda s: s.remove_prompt(9),
        lambda s: s.replace_prompt(9, ON_LEFT),
        lambda s: s.is_pending("right"),
        lambda s: s.merge_labels("left", "left"),
    ],
)
def test_what_does_not_fit_is_a_prompt_error_and_no_entry(session: SessionVerbs, call: Callable[[Any], Any]) -> None:
    session.new_label("left")
    with pytest.raises(PromptError):
        call(session)
    assert len(session.log) == 1
