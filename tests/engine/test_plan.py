"""Plans: which slices an anchor may change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptseg.engine.plan import plan_runs


def indices(run):
    return [step.index for step in run.steps]


def test_a_lone_anchor_walks_to_both_ends():
    down, up = plan_runs(3, [3], 7, reach=100)
    assert indices(down) == [2, 1, 0]
    assert indices(up) == [4, 5, 6]
    assert (down.end, up.end) == ("volume border", "volume border")
    assert [s.source for s in up.steps] == [3, 4, 5]


def test_the_next_anchor_is_never_touched_and_the_middle_is_marked():
    _, up, back = plan_runs(2, [2, 9], 20, reach=100)
    assert indices(up) == [3, 4, 5, 6, 7, 8]
    assert [s.index for s in up.steps if s.beyond_middle] == [6, 7, 8]  # 5.5 is the middle
    assert (up.end, up.other) == ("next anchor", 9)
    assert (back.anchor, indices(back), back.other, back.returning) == (9, [8, 7, 6], 2, True)
    assert [step.source for step in back.steps] == [9, 8, 7]


def test_an_object_narrows_like_an_ellipsoid_towards_ends_that_were_given_but_not_towards_a_cut():
    down, up = plan_runs(7, [7], 40, reach=100, limits=(0, 15))
    assert down.in_range
    assert {step.taper for step in down.steps} == {1.0}  # slice 0 is the volume's border
    assert [step.taper for step in up.steps] == sorted((step.taper for step in up.steps), reverse=True)
    assert up.steps[-1].taper == pytest.approx(np.sqrt(1 - (14 / 15) ** 2))  # half a slice from the end of 7.5
    assert [step.source_taper for step in up.steps] == [up.taper, *(step.taper for step in up.steps[:-1])]
    free, _ = plan_runs(7, [7], 40, reach=100)
    assert not free.in_range
    assert {step.taper for step in free.steps} == {1.0}


def test_reach_counts_slices_from_the_anchor():
    down, up = plan_runs(10, [10], 20, reach=2)
    assert indices(down) == [9, 8]
    assert indices(up) == [11, 12]
    assert up.end == "range in mm"


def test_a_range_binds_only_anchors_inside_it():
    down, up = plan_runs(5, [5], 20, reach=100, limits=(3, 8))
    assert indices(down) == [4, 3]
    assert indices(up) == [6, 7]
    assert (down.end, up.end) == ("range limit", "range limit")
    down, up = plan_runs(9, [9], 12, reach=100, limits=(3, 8))
    assert len(down.steps) + len(up.steps) == 11


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            st.just(n), st.integers(0, n - 1), st.sets(st.integers(0, n - 1), max_size=5), st.integers(1, 50)
        )
    )
)
def test_steps_are_contiguous_inside_and_stop_before_anchors(case):
    n, anchor, others, reach = case
    runs = plan_runs(anchor, others | {anchor}, n, reach)
    for direction, run in zip((-1, 1), runs[:2], strict=True):
        steps = indices(run)
        assert steps == [anchor + direction * (i + 1) for i in range(len(steps))]
        assert not set(steps) & others
        assert all(0 <= i < n and abs(i - anchor) <= reach for i in steps)
        assert all(s.source == s.index - direction for s in run.steps)
    for back in runs[2:]:
        own = next(run for run in runs[:2] if run.other == back.anchor)
        assert sorted(indices(back)) == sorted(s.index for s in own.steps if s.beyond_middle)
        assert [s.source for s in back.steps] == [back.anchor, *indices(back)[:-1]][: len(back.steps)]
