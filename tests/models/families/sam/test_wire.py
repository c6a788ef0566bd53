"""Hints and carried masks in SAM's wire format."""

import numpy as np

from promptseg.models.families.sam.frames import Frame
from promptseg.models.families.sam.wire import deepest, stroke_points, to_wire
from promptseg.models.predictor import Embedding, Prior, SlicePrompts

FRAME = Frame("sam", (100, 200), (512, 1024), 1024)
LOW = ((256, 256), 256)


def point(y, x, positive=True):
    return SlicePrompts(np.array([[y, x]], np.float32), np.array([positive]))


def test_a_lone_click_is_padded_and_ambiguous():
    wire = to_wire(point(10, 20), None, FRAME, *LOW)
    assert wire.labels.tolist() == [1, -1]
    assert np.allclose(wire.coords, [[102.4, 51.2], [0, 0]])
    assert wire.is_ambiguous
    assert wire.mask is None
    assert not to_wire(point(10, 20, False), None, FRAME, *LOW).is_ambiguous


def test_a_half_open_box_ends_at_its_last_pixel():
    wire = to_wire(SlicePrompts(box=(10, 20, 51, 101)), None, FRAME, *LOW)
    assert wire.labels.tolist() == [2, 3]
    assert np.allclose(wire.coords, [[102.4, 51.2], [512, 256]])
    assert not wire.is_ambiguous


def test_strokes_become_a_few_spread_points():
    drawn = np.zeros((100, 200), np.int8)
    drawn[50, 20:180] = 1
    drawn[80:90, 5:9] = -1
    wire = to_wire(SlicePrompts(scribble=drawn), None, FRAME, *LOW)
    assert wire.labels.tolist().count(1) == 6
    assert wire.labels.tolist().count(0) >= 2
    ahead = wire.coords[wire.labels == 1, 0] / 5.12
    assert ahead.max() - ahead.min() > 150
    assert len(stroke_points(np.zeros((5, 5), bool))) == 0
    assert len(stroke_points(np.eye(2, dtype=bool))) == 1


def test_a_carried_mask_becomes_box_point_and_logits():
    logits = np.full((100, 200), -50, np.float32)
    logits[40:60, 100:150] = 50
    neighbour = Embedding("m", (100, 200), (1.0, 1.0), {})
    wire = to_wire(SlicePrompts(), Prior(logits, neighbour), FRAME, *LOW)
    assert wire.labels.tolist() == [1, 2, 3]
    x, y = wire.coords[0] / 5.12
    assert 45 <= y <= 55
    assert 105 <= x <= 145
    assert np.allclose(wire.coords[1] / 5.12, [95, 38])
    assert np.allclose(wire.coords[2] / 5.12, [154, 61])
    assert wire.mask.shape == (256, 256)
    assert wire.mask.max() == 32
    assert (wire.mask > 0).sum() == 26 * 64  # 20 x 50 pixels of the slice
    own = to_wire(point(50, 120), Prior(logits), FRAME, *LOW)
    assert own.labels.tolist() == [1, -1]  # an earlier answer on this slice adds its logits, no box of its own
    assert own.mask is not None
    assert not own.is_ambiguous


def test_a_carried_mask_that_bends_says_also_where_it_is_not():
    logits = np.full((100, 200), -50, np.float32)
    logits[20:80, 40:50] = 50
    logits[70:80, 40:120] = 50  # an L: most of its box is beside it
    wire = to_wire(SlicePrompts(), Prior(logits, Embedding("m", (100, 200), (1.0, 1.0), {})), FRAME, *LOW)
    assert wire.labels.tolist() == [1, 0, 2, 3]
    (inside_x, inside_y), (outside_x, outside_y) = np.rint(wire.coords[:2] / 5.12).astype(int)
    assert logits[inside_y, inside_x] > 0
    assert 25 <= outside_y <= 60
    assert 65 <= outside_x <= 110


def test_the_deepest_pixel_counts_the_slices_border():
    mask = np.zeros((20, 30), bool)
    mask[:9, :21] = True
    assert deepest(mask)[0] == 4
