"""Verbs that a face needs: show a slice first, move a prompt, take one back, keep labels in order."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import SHAPE, X, Y, Z, volume_of

import promptseg
from promptseg.engine.edits import Grow, Paint
from promptseg.errors import PromptError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.session.prompt_log import read_log
from promptseg.session.restoring import restore
from promptseg.session.session import Session

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
RIGHT = ((Y - 35) ** 2 + (X - 60) ** 2 < 120) & (Z >= 3) & (Z < 21)
VOLUME = volume_of(LEFT, RIGHT)
ON_LEFT = promptseg.Point(voxel=(12, 35, 25))
ON_RIGHT = promptseg.Point(voxel=(12, 35, 60))


def opened(**options):
    return Session(VOLUME, OraclePredictor(), promptseg.EngineOptions(**options))


def seen(session):
    return session.labelmap.array.tolist(), session.labels, session.locked, session.selected, session.prompts


def replayed(session, tmp_path):
    log = read_log(session.export_prompts(tmp_path / "log.json"))
    again = restore(session.volume, log, OraclePredictor())
    if session.selected:
        again.select(session.selected)
    return again


@pytest.mark.parametrize(
    "prompts",
    [
        (ON_LEFT,),
        (ON_LEFT, promptseg.Point(voxel=(4, 36, 26))),
        (ON_LEFT, promptseg.Point(voxel=(12, 35, 25), plane="coronal")),
        (promptseg.Box(voxel=((5, 24, 14), (18, 47, 37))),),
    ],
)
def test_a_slice_first_and_the_rest_afterwards_gives_what_one_call_gives(prompts):
    at_once, in_two = opened(), opened()
    at_once.add(*prompts)
    in_two.add(*prompts, propagate=False)
    assert in_two.is_pending()
    assert in_two.mask().sum() < at_once.mask().sum()
    in_two.propagate()
    assert np.array_equal(in_two.mask(), at_once.mask())
    assert in_two.review() == at_once.review()
    assert not in_two.is_pending()
    assert in_two.propagate() is None
    assert len(in_two.log) == 2


def test_prompts_that_wait_are_answered_with_the_next_one():
    at_once, waiting = opened(), opened()
    second = promptseg.Point(voxel=(12, 35, 60))
    at_once.add(ON_LEFT, second)
    assert waiting.add(ON_LEFT, predict=False) is None
    assert not waiting.mask().any()
    assert [kept.prompt for kept in waiting.prompts] == [ON_LEFT]
    waiting.add(second)
    assert np.array_equal(waiting.mask(), at_once.mask())
    lone = opened()
    lone.add(ON_LEFT, predict=False)
    lone.propagate()
    assert np.array_equal(lone.mask(), LEFT)


def test_progress_shows_what_the_walk_has_found_so_far():
    session = opened()
    session.add(promptseg.MaskPrompt(RIGHT))
    session.new_label("left")
    screen = session.labelmap.array
    steps = []

    def show(progress):
        if progress.index is None:  # a slow machine: the same count again
            return
        steps.append((progress.plane, progress.index, progress.done))
        if progress.changed is not None:
            low, high = progress.changed
            cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            screen[cut] = progress.labels_in(progress.changed)
        assert progress.left_s >= 0

    session.add(ON_LEFT, on_progress=show)
    assert np.array_equal(screen, session.labelmap.array)
    assert [done for *_, done in steps] == list(range(1, SHAPE[0]))
    assert [index for _, index, _ in steps] == [*range(11, -1, -1), *range(13, SHAPE[0])]
    low, high = (2, 30, 20), (14, 40, 70)
    assert np.array_equal(session.labels_in((low, high)), session.labelmap.array[2:14, 30:40, 20:70])


def test_cancelled_propagation_keeps_the_slice_and_can_go_on():
    session = opened()
    session.add(ON_LEFT, propagate=False)
    before = seen(session)

    def stop(progress):
        if progress.done == 5:
            raise promptseg.Cancelled("stop")

    with pytest.raises(promptseg.Cancelled):
        session.propagate(on_progress=stop)
    assert seen(session) == before
    assert session.is_pending()
    session.propagate()
    assert np.array_equal(session.mask(), LEFT)


def test_a_prompt_taken_back_leaves_the_log_without_it():
    session, without = opened(), opened()
    for one in (session, without):
        one.new_label("left")
        one.add(ON_LEFT)
    session.add(ON_RIGHT)  # a mistake
    for one in (session, without):
        one.edit(Grow(1.0))
        one.new_label("right")
        one.add(promptseg.Point(voxel=(10, 36, 60)))
    assert [kept.id for kept in session.prompts] == [1, 2, 3]
    before = seen(session)
    changed = session.remove_prompt(2)
    assert changed is not None
    assert np.array_equal(session.labelmap.array, without.labelmap.array)
    assert [kept.id for kept in session.prompts] == [1, 3]
    session.undo()
    assert seen(session) == before
    session.redo()
    assert np.array_equal(session.labelmap.array, without.labelmap.array)
    session.select("left")
    session.add(promptseg.Point(voxel=(3, 30, 25)))
    assert [kept.id for kept in session.prompts] == [1, 3, 4]


def test_a_moved_prompt_is_as_if_it_had_always_been_there(tmp_path):
    session = opened()
    session.add(ON_RIGHT, promptseg.Point(voxel=(12, 5, 5), positive=False))
    session.add(promptseg.Point(voxel=(20, 35, 60)))
    session.replace_prompt(1, ON_LEFT)
    session.replace_prompt(3, promptseg.Point(voxel=(20, 35, 25)))
    assert np.array_equal(session.mask(), LEFT)
    assert session.prompts[0] == (1, 1, ON_LEFT)
    assert seen(replayed(session, tmp_path)) == seen(session)
    with pytest.raises(PromptError, match="outside the image"):
        session.replace_prompt(1, promptseg.Point(voxel=(99, 0, 0)))
    with pytest.raises(PromptError, match=r"a prompt in force \(1, 2, 3\), got 9"):
        session.remove_prompt(9)
    assert np.array_equal(session.mask(), LEFT)
    session.undo()
    session.undo()
    assert np.array_equal(session.mask(), RIGHT)


def test_the_label_stays_when_its_only_prompt_goes():
    session = opened()
    session.add(ON_LEFT)
    session.remove_prompt(1)
    assert session.labels[1].name == "label 1"
    assert not session.mask(1).any()
    assert session.prompts == ()


def test_an_imported_mask_replaces_earlier_prompts_and_gives_them_back():
    session = opened()
    session.add(ON_LEFT)
    session.add(promptseg.MaskPrompt(RIGHT))
    assert [kept.id for kept in session.prompts] == [2]
    session.remove_prompt(2)
    assert [kept.id for kept in session.prompts] == [1]
    assert np.array_equal(session.mask(), LEFT)


def test_labels_are_renamed_recoloured_and_deleted():
    session = opened()
    session.add(ON_LEFT)
    session.new_label("right")
    session.add(ON_RIGHT)
    session.rename(1, "left")
    session.recolour("left", (1, 2, 255))
    assert session.labels[1] == promptseg.Label(1, "left", (1, 2, 255))
    for bad in ("", "  ", "right"):
        with pytest.raises(PromptError):
            session.rename(1, bad)
    for bad in ((1, 2), (1, 2, 256), "red", None):
        with pytest.raises(PromptError, match="three integers"):
            session.recolour(1, bad)
    session.lock("right")
    with pytest.raises(PromptError, match="locked"):
        session.delete_label("right")
    assert session.delete_label("left") is not None
    assert list(session.labels) == [2]
    assert [kept.label for kept in session.prompts] == [2]
    assert (session.labelmap.array == 1).sum() == 0
    session.undo()
    assert np.array_equal(session.mask("left"), LEFT)


def test_a_prediction_takes_from_others_only_where_that_was_chosen(tmp_path):
    session = opened()
    session.add(promptseg.MaskPrompt(LEFT))
    session.new_label("right")
    session.new_label("whole")
    assert session.overlap == "keep"
    session.add(promptseg.MaskPrompt(LEFT | RIGHT))
    assert np.array_equal(session.mask(1), LEFT)
    assert np.array_equal(session.mask("whole"), RIGHT)
    session.edit(Grow(30.0))
    assert np.array_equal(session.mask(1), LEFT)
    z, y, x = np.argwhere(LEFT)[0]
    session.edit(Paint([(z, y, x)]))  # a brush is a person's own hand
    assert session.mask("whole")[z, y, x]
    session.undo()
    session.set_overlap("visible", ["right"])
    session.add(promptseg.MaskPrompt(LEFT))
    assert not session.mask(1).any()
    session.undo()
    session.set_overlap("visible", [1])
    session.add(promptseg.MaskPrompt(LEFT | RIGHT))
    assert np.array_equal(session.mask(1), LEFT)
    session.set_overlap("overwrite")
    session.add(promptseg.MaskPrompt(LEFT | RIGHT))
    assert np.array_equal(session.mask("whole"), LEFT | RIGHT)
    session.remove_prompt(session.prompts[-1].id)
    assert np.array_equal(session.mask(1), LEFT)  # what it had taken is given back
    assert seen(replayed(session, tmp_path)) == seen(session)
    with pytest.raises(PromptError, match="did you mean 'keep'"):
        session.set_overlap("kep")


def test_a_brush_may_be_held_inside_a_label():
    session = opened()
    session.add(promptseg.MaskPrompt(LEFT))
    session.new_label("part")
    session.edit(Paint([(12, 35, 25), (12, 35, 36)], radius_mm=9, within=1))
    assert session.mask("part").any()
    assert not (session.mask("part") & ~LEFT).any()
    assert np.array_equal(session.mask(1) | session.mask("part"), LEFT)


@pytest.mark.parametrize("overlap", ["overwrite", "allow"])
def test_merged_labels_are_one_that_can_be_corrected(overlap, tmp_path):
    session = Session(volume_of(LEFT | RIGHT), OraclePredictor(), promptseg.EngineOptions(overlap=overlap))
    session.add(ON_LEFT)
    session.new_label("right")
    session.add(ON_RIGHT)
    session.merge_labels("right", 1)
    assert np.array_equal(session.mask(1), LEFT | RIGHT)
    assert list(session.labels) == [1]
    assert session.selected == 1
    assert [kept.label for kept in session.prompts] == [1, 1]
    session.add(promptseg.Point(voxel=(12, 35, 60), positive=False))
    assert np.array_equal(session.mask(1)[12], LEFT[12])
    assert seen(replayed(session, tmp_path)) == seen(session)
    session.undo()
    session.undo()
    assert np.array_equal(session.mask("right"), RIGHT)
    with pytest.raises(PromptError, match="twice"):
        session.merge_labels(1, 1)


def test_the_strip_says_what_is_known_of_every_slice():
    session = opened()
    session.add(ON_RIGHT)
    strip = session.confidence()
    assert strip.shape == (SHAPE[0],)
    assert strip[12] == 1
    assert np.isnan(strip[:3]).all()
    assert np.isnan(strip[21:]).all()
    assert ((strip[3:21] > 0) & (strip[3:21] <= 1)).all()
    assert np.isnan(session.confidence(plane="sagittal")).all()
    assert {(r.plane, r.index) for r in session.review()} == {("axial", k) for k in range(3, 21) if k != 12}


def test_a_journal_remembers_every_verb_and_the_selection(tmp_path):
    scan = tmp_path / "scan.nii.gz"
    promptseg.write_volume(VOLUME, scan)
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    session.add(promptseg.Box(voxel=((12, 24, 14), (13, 46, 36))), propagate=False)
    session.propagate()
    session.new_label("right")
    session.add(promptseg.Box(voxel=((12, 24, 49), (13, 46, 71))))
    session.rename(1, "left")
    session.replace_prompt(2, promptseg.Box(voxel=((11, 24, 49), (12, 46, 71))))
    session.recolour("left", (9, 9, 9))
    session.remove_prompt(1)
    session.undo()
    session.select("left")
    session.close()
    session.record_to(lambda entry: None)
    again = promptseg.resume(tmp_path / "work")
    assert seen(again) == seen(session)
    assert again.can_redo
    session.redo()
    again.redo()
    assert seen(again) == seen(session)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("point"),
            st.integers(0, SHAPE[0] - 1),
            st.sampled_from([25, 60]),
            st.booleans(),
            st.sampled_from([(True, True), (False, True), (True, False)]),
        ),
        st.tuples(st.just("mask"), st.integers(10, 80)),
        st.tuples(st.sampled_from(["label", "propagate", "grow", "lock", "unlock", "undo", "redo"])),
        st.tuples(st.just("remove"), st.integers(1, 5)),
        st.tuples(st.just("replace"), st.integers(1, 5), st.integers(0, SHAPE[0] - 1)),
        st.tuples(st.just("rename"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("recolour"), st.integers(0, 255)),
        st.tuples(st.just("delete"), st.integers(1, 3)),
        st.tuples(st.just("merge"), st.integers(1, 3), st.integers(1, 3)),
        st.tuples(st.just("select"), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=8,
)


def perform(session, step):
    op, *values = step
    try:
        if op == "point":
            z, x, positive, (propagate, predict) = values
            point = promptseg.Point(voxel=(z, 35, x), positive=positive)
            session.add(point, propagate=propagate, predict=predict)
        elif op == "mask":
            session.add(promptseg.MaskPrompt(LEFT & (values[0] > X)))
        elif op == "replace":
            session.replace_prompt(values[0], promptseg.Point(voxel=(values[1], 35, 25)))
        elif op == "recolour":
            session.recolour(1, (values[0], 0, 0))
        else:
            verbs = {
                "label": session.new_label,
                "propagate": session.propagate,
                "grow": lambda: session.edit(Grow(1.0)),
                "lock": lambda: session.lock(session.selected),
                "unlock": lambda: session.lock(session.selected, False),
                "undo": session.undo,
                "redo": session.redo,
                "remove": session.remove_prompt,
                "rename": lambda name: session.rename(1, name),
                "delete": session.delete_label,
                "merge": session.merge_labels,
                "select": session.select,
            }
            verbs[op](*values)
    except PromptError:
        pass  # refused: nothing happened, nothing is logged


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from(["overwrite", "allow", "keep"]))
def test_any_story_replays_and_unwinds(steps, overlap):
    session = opened(overlap=overlap)
    for step in steps:
        before = seen(session), session.log
        perform(session, step)
        if len(session.log) > len(before[1]):
            after = seen(session)
            session.undo()
            assert seen(session) == before[0]
            session.redo()
            assert seen(session) == after
    assert json.loads(json.dumps(session.log)) == list(session.log)
    again = restore(VOLUME, session.prompt_log(), OraclePredictor())
    if session.labels:
        again.select(session.selected)
    assert seen(again) == seen(session)
    while session.can_undo:
        session.undo()
    assert not session.labelmap.array.any()
    assert session.prompts == ()


def test_slices_that_were_accepted_in_either_label_are_accepted_in_both_together():
    session = opened()
    for name, mask in (("left", LEFT), ("right", RIGHT)):
        session.new_label(name)
        session.add(promptseg.MaskPrompt(mask))
        session.accept(12)
    session.merge_labels("right", "left")
    (anchor,) = session._engine_state(session.selected).anchors.values()
    assert np.array_equal(anchor.logits > 0, (LEFT | RIGHT)[12])
