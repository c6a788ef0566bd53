"""What a label is after another was joined to it, beyond its voxels."""

import pytest

from promptseg.engine.propagate import LabelState
from promptseg.prompts import Plane
from promptseg.session.history import State
from promptseg.session.label_steps import merged
from promptseg.volume import Label


def joined(kept: LabelState, gone: LabelState) -> LabelState:
    labels = {value: Label.default(value) for value in (1, 2)}
    return merged(State(labels, {1: kept, 2: gone}), 2, 1, {}).engine[1]


@pytest.mark.parametrize(
    ("kept", "gone", "limits"),
    [
        (((3, 17), Plane.CORONAL), ((3, 17), Plane.CORONAL), (3, 17)),
        (((3, 17), Plane.CORONAL), ((3, 17), Plane.AXIAL), None),  # the same numbers of other slices
        (((3, 17), Plane.AXIAL), ((3, 18), Plane.AXIAL), None),
        (((3, 17), Plane.AXIAL), (None, Plane.AXIAL), None),
        ((None, Plane.SAGITTAL), (None, Plane.SAGITTAL), None),
    ],
)
def test_a_thick_box_limits_both_or_none(kept, gone, limits):
    found = joined(*(LabelState({}, tuple(one) if one else None, limits_plane=plane) for one, plane in (kept, gone)))
    assert found.limits == limits
    assert found.limits_plane is kept[1]
