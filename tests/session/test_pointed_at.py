"""A prompt inside another label: its voxels stay, and that is said."""

import logging

import numpy as np
import pytest

import promptseg
from promptseg.engine.hints import place
from promptseg.models.families.oracle import OraclePredictor
from promptseg.session.pointed_at import labels_pointed_at
from promptseg.session.session import Session
from promptseg.volume import Geometry, Volume

SHAPE = (5, 12, 20)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:9, 3:11] = 2
LABELS[2, 2:9, 15:18] = 7
GRID = Geometry(SHAPE, (0.7, 1.1, 3.0))
INSIDE, BESIDE = (2, 5, 6), (2, 10, 6)


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        (promptseg.Point(voxel=INSIDE), [2]),
        (promptseg.Point(voxel=INSIDE, plane="sagittal"), [2]),
        (promptseg.Point(voxel=INSIDE, positive=False), []),
        (promptseg.Point(voxel=BESIDE), []),
        (promptseg.Point(voxel=(2.4, 11.4, 19.4)), []),
        (promptseg.Scribble(voxels=((2, 3, 13), (2, 3, 14), (2, 3, 15))), [7]),
        (promptseg.Scribble(voxels=((2, 3, 14), (2, 3, 15)), positive=False), []),
        (promptseg.Box(voxel=((2, 1, 2), (3, 10, 12))), [2]),  # 56 of 90 pixels
        (promptseg.Box(voxel=((2, 0, 0), (3, 12, 20))), []),
    ],
)
def test_clicks_and_strokes_count_at_once_and_a_box_where_it_is_mostly_another_label(prompt, found):
    placed = [place(prompt, GRID)]
    assert labels_pointed_at(placed, LABELS, {2, 7}) == found
    assert labels_pointed_at(placed, LABELS, set()) == []


@pytest.mark.parametrize(
    ("rule", "locked", "said"), [("keep", False, True), ("overwrite", False, False), ("overwrite", True, True)]
)
def test_it_is_said_where_another_label_keeps_what_is_pointed_at(rule, locked, said, caplog):
    session = Session(Volume.from_array((LABELS == 2).astype(np.int16), GRID), OraclePredictor())
    session.new_label("organ")
    session.add(promptseg.MaskPrompt(LABELS == 2))
    session.set_overlap(rule)
    session.lock(1, locked=locked)
    session.new_label("lesion")
    with caplog.at_level(logging.WARNING):
        session.add(promptseg.Point(voxel=INSIDE))
    assert ("a prompt of label 2 points at voxels that label 1 keeps" in caplog.text) is said
    assert session.mask("lesion")[INSIDE] != said
