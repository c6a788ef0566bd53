"""One person's work: labels, undo and redo, locks, logs."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import PHANTOMS, SHAPE, X, Y, volume_of

import promptseg
from promptseg.errors import GeometryMismatchError, PromptError, ReplayError
from promptseg.models.builtin import BUILTIN_3D_ONNX, BUILTIN_ONNX
from promptseg.models.families.oracle import OraclePredictor
from promptseg.session.session import Session

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
RIGHT = (Y - 35) ** 2 + (X - 60) ** 2 < 120


def opened(**options):
    return Session(volume_of(LEFT, RIGHT), OraclePredictor(), promptseg.EngineOptions(**options))


def box_of(mask):
    spans = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(int(s[0]) for s in spans), tuple(int(s[-1]) + 1 for s in spans)


def test_add_returns_the_half_open_box_of_change_and_none_without_one():
    session = opened()
    assert session.add(promptseg.Point(voxel=(12, 35, 25))) == box_of(LEFT)
    assert session.add(promptseg.Point(voxel=(12, 36, 25))) is None
    assert np.array_equal(session.mask(), LEFT)


def test_labels_come_with_the_first_prompt_or_by_name():
    session = opened()
    assert session.labels == {}
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    assert session.selected == 1
    assert session.new_label("right") == 2
    session.add(promptseg.Point(voxel=(12, 35, 60)))
    assert session.select(1) == 1
    assert session.select("right") == 2
    labelmap = session.labelmap
    assert np.array_equal(labelmap.mask("right"), RIGHT)
    assert np.array_equal(labelmap.mask(1), LEFT)
    assert labelmap.geometry == session.volume.geometry
    with pytest.raises(PromptError, match=r"no label 'rigt'.*did you mean 'right'"):
        session.select("rigt")
    with pytest.raises(PromptError, match="exists already"):
        session.new_label("right")


def test_select_1_before_any_prompt_makes_label_1():
    session = opened()
    assert session.select(1) == 1
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    assert session.labelmap.array.max() == 1


def test_the_labelmap_is_a_copy():
    session = opened()
    before = session.labelmap
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    assert not before.array.any()


def test_a_newer_label_takes_voxels_and_undo_gives_them_back():
    session = opened(overlap="overwrite")
    session.add(promptseg.MaskPrompt(LEFT))
    session.new_label("thief")
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    assert not session.mask(1).any()
    assert np.array_equal(session.mask("thief"), LEFT)
    session.undo()
    assert np.array_equal(session.mask(1), LEFT)
    assert not session.mask("thief").any()


def test_locked_labels_keep_their_voxels_and_refuse_prompts():
    session = opened()
    session.add(promptseg.MaskPrompt(LEFT & (X < 25)))
    session.lock(1)
    with pytest.raises(PromptError, match="label 1 is locked"):
        session.add(promptseg.Point(voxel=(12, 35, 25)))
    session.new_label("rest")
    session.add(promptseg.Point(voxel=(12, 35, 27)))
    assert np.array_equal(session.mask(1), LEFT & (X < 25))
    assert np.array_equal(session.mask("rest"), LEFT & (X >= 25))
    session.lock(1, False)
    session.select(1)
    session.add(promptseg.Point(voxel=(12, 35, 25)))


def test_overlap_keep_leaves_neighbours_alone():
    session = Session(volume_of(LEFT), OraclePredictor(), promptseg.EngineOptions(overlap="keep"))
    session.add(promptseg.MaskPrompt(LEFT & (X < 25)))
    session.new_label("second")
    session.add(promptseg.Point(voxel=(12, 35, 27)))
    assert np.array_equal(session.mask(1), LEFT & (X < 25))
    assert np.array_equal(session.mask("second"), LEFT & (X >= 25))


def test_overlap_allow_gives_both_labels_the_voxel_unless_it_is_locked():
    session = Session(volume_of(LEFT), OraclePredictor(), promptseg.EngineOptions(overlap="allow"))
    session.add(promptseg.MaskPrompt(LEFT & (X < 25)))
    session.new_label("whole")
    session.add(promptseg.Point(voxel=(12, 35, 27)))
    assert np.array_equal(session.mask(1), LEFT & (X < 25))
    assert np.array_equal(session.mask("whole"), LEFT)
    assert np.array_equal(session.labelmap.array == 2, LEFT)  # in one array the newer label lies on top
    session.undo()
    assert not session.mask("whole").any()
    session.lock(1)
    session.add(promptseg.Point(voxel=(12, 35, 27)))
    assert np.array_equal(session.mask("whole"), LEFT & (X >= 25))
    with pytest.raises(promptseg.errors.SettingsError, match="did you mean 'allow'"):
        promptseg.EngineOptions(overlap="alow")


def test_an_accepted_slice_stays_bit_for_bit_and_the_log_says_how_many_slices_were_walked():
    trunk = (Y - 35) ** 2 + (X - 30) ** 2 < 100
    session = Session(volume_of(trunk), OraclePredictor())
    session.add(promptseg.MaskPrompt(trunk & (X < 30)))
    session.accept(9)
    session.accept(15)
    session.add(promptseg.Point(voxel=(12, 35, 33)))
    found = session.mask()
    assert np.array_equal(found[9], (trunk & (X < 30))[9])
    assert np.array_equal(found[15:], (trunk & (X < 30))[15:])
    assert np.array_equal(found[11:14], trunk[11:14])
    assert session.log[-1]["slices"] <= 4  # slices 10, 11, 13 and 14 at most
    with pytest.raises(PromptError, match="0 to 23"):
        session.accept(24)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("point"), st.integers(0, SHAPE[0] - 1), st.sampled_from([25, 60]), st.booleans()),
        st.tuples(st.just("label")),
        st.tuples(st.just("mask"), st.integers(10, 80)),
        st.tuples(st.just("lock"), st.booleans()),
    ),
    min_size=1,
    max_size=6,
)


def perform(session, step):
    try:
        if step[0] == "point":
            session.add(promptseg.Point(voxel=(step[1], 35, step[2]), positive=step[3]))
        elif step[0] == "label":
            session.new_label()
        elif step[0] == "lock" and session.labels:
            session.lock(session.selected, step[1])
        elif step[0] == "mask":
            session.add(promptseg.MaskPrompt(LEFT & (step[1] > X)))
    except PromptError:
        pass  # a locked label refuses: nothing happened, nothing is logged


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_undo_and_redo_walk_through_the_same_states(steps):
    session = opened()
    states = [(session.labelmap.array, session.selected)]
    for step in steps:
        before = len(session.log)
        perform(session, step)
        if len(session.log) > before:
            states.append((session.labelmap.array, session.selected))
    for array, selected in reversed(states[:-1]):
        session.undo()
        assert np.array_equal(session.labelmap.array, array)
        assert session.selected == selected
    assert not session.can_undo
    assert session.undo() is None
    for array, selected in states[1:]:
        session.redo()
        assert np.array_equal(session.labelmap.array, array)
        assert session.selected == selected
    assert session.redo() is None


def test_undo_holds_what_changed_and_not_the_volume():
    session = opened()
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    for row in range(10, 60):
        session.edit(promptseg.edits.Paint(((12, row, 80),), radius_mm=1.0))
    held = [len(p.before) + len(p.after) for step in session._history.done[1:] for p in step.patches]
    assert len(held) == 50
    assert max(held) < 100  # bytes of a few voxels; the volume has 154,560
    for _ in range(51):
        session.undo()
    assert not session.mask().any()


def test_a_new_prompt_ends_redo():
    session = opened()
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    session.undo()
    session.add(promptseg.Point(voxel=(12, 35, 60)))
    assert not session.can_redo
    assert np.array_equal(session.mask(), RIGHT)


def test_a_failed_prompt_changes_nothing():
    session = opened()
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    log = session.log
    with pytest.raises(PromptError):
        session.add(promptseg.Point(voxel=(12, 35, 60)), promptseg.Point(voxel=(99, 0, 0)))
    with pytest.raises(GeometryMismatchError):
        session.add(promptseg.MaskPrompt(np.ones((2, 3, 4), bool)))
    with pytest.raises(PromptError):
        session.add()
    assert session.log == log
    assert np.array_equal(session.mask(), LEFT)


def test_scribble_and_lasso_are_orders():
    session = opened()
    paint = np.array([[12, y, 45] for y in range(30, 40)])  # on background, between the two
    session.add(promptseg.Scribble(paint), promptseg.Point(voxel=(12, 35, 25)), propagate=False)
    assert session.mask()[12, 30:40, 45].all()
    session.add(promptseg.Lasso("axial", 12, [(20, 10), (20, 25), (50, 25), (50, 10)], positive=False), propagate=False)
    assert not session.mask()[12, 20:51, 10:25].any()
    assert session.mask()[12, 30:40, 45].all()


def test_a_lasso_bounds_the_answer():
    session = opened()
    session.add(promptseg.Lasso("axial", 12, [(30, 20), (30, 30), (40, 30), (40, 20)]), propagate=False)
    found = session.mask()[12]
    assert found[30:41, 20:31].all()
    assert not found[:, 36:].any()  # 2 mm margin = 3 pixels beyond column 30, though the object goes to 35
    assert found.sum() < LEFT[12].sum()


def test_review_lists_the_least_confident_slice_first():
    truth, k, (y, x) = PHANTOMS["thins out"]
    session = Session(volume_of(truth), OraclePredictor())
    session.add(promptseg.Point(voxel=(k, y, x)))
    confidences = [r.confidence for r in session.review()]
    assert confidences == sorted(confidences)
    assert all(0 <= c <= 1 for c in confidences)
    assert {r.index for r in session.review()} == set(np.flatnonzero(truth.any((1, 2)))) - {k}


def test_the_log_is_plain_json_and_names_everything(tmp_path):
    session = opened()
    session.new_label("left")
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    path = session.export_prompts(tmp_path / "prompts.json")
    data = json.loads(path.read_text())
    assert data["image"] == session.volume.content_hash
    assert data["model"] == "oracle"
    assert data["window"] == {"low": 0, "high": 255, "source": "user"}
    assert [e["op"] for e in data["entries"]] == ["label", "prompt"]
    assert data["entries"][1]["changed"] == [list(c) for c in box_of(LEFT)]


def test_replay_gives_the_same_voxels_and_refuses_another_image(tmp_path):
    volume = volume_of(LEFT, RIGHT)
    session = promptseg.open_session(volume, "classical")
    session.new_label("left")
    session.add(promptseg.Box(voxel=((12, 24, 14), (13, 46, 36))))
    session.new_label("right")
    session.add(promptseg.Point(voxel=(12, 35, 60)), promptseg.Point(voxel=(12, 5, 5), positive=False))
    session.select("left")
    session.add(promptseg.Scribble(np.array([[3, y, 25] for y in range(30, 40)])))
    session.undo()
    session.redo()
    path = session.export_prompts(tmp_path / "p.json")
    assert np.array_equal(promptseg.replay(volume, path).array, session.labelmap.array)
    assert np.array_equal(promptseg.segment(volume, path).array, session.labelmap.array)
    other = volume_of(RIGHT)
    with pytest.raises(ReplayError, match="another image"):
        promptseg.replay(other, path)
    assert promptseg.replay(other, path, strict=False).labels[2].name == "right"


def test_a_log_names_the_weights_and_replay_refuses_others(tmp_path):
    volume = volume_of(LEFT, RIGHT)
    session = promptseg.open_session(volume)
    session.add(promptseg.Box(voxel=((12, 24, 14), (13, 46, 36))), propagate=False)
    path = session.export_prompts(tmp_path / "p.json")
    log = json.loads(path.read_text())
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (BUILTIN_ONNX, BUILTIN_3D_ONNX)]
    assert log["weights"] == hashlib.sha256("-".join(files).encode()).hexdigest()
    assert np.array_equal(promptseg.replay(volume, path).array, session.labelmap.array)
    path.write_text(json.dumps({**log, "weights": "0" * 64}))
    with pytest.raises(ReplayError, match="made with other weights of the model 'builtin'"):
        promptseg.replay(volume, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "promptseg prompt log"),
        ('{"format": "promptseg prompt log", "version": 99, "entries": []}', "version 1, got 99"),
        ('{"format": "promptseg prompt log", "version": 1}', "lacks a field"),
        ('{"format": "promptseg prompt log", "version": 1, "entries": [{"op": "fly"}]}', "got 'fly'"),
        ('[{"type": "pont", "voxel": [1, 2, 3]}]', "did you mean 'point'"),
        ('[{"type": "box"}]', "prompt 1 of 1: expected exactly one of voxel"),
        ("[]", "at least one prompt"),
    ],
)
def test_a_bad_log_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(promptseg.PromptsegError, match=message) as caught:
        promptseg.segment(volume_of(LEFT), path, "classical")
    assert "\n" not in str(caught.value)


def test_segment_takes_a_list_of_prompts():
    labelmap = promptseg.segment(volume_of(LEFT), [promptseg.Box(voxel=((12, 24, 14), (13, 46, 36)))], "classical")
    mask = labelmap.mask(1)
    assert 2 * (mask & LEFT).sum() / (mask.sum() + LEFT.sum()) > 0.95
    assert np.array_equal(labelmap.mask(), mask)
