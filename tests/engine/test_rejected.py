"""A negative click in the middle of a mask rejects the whole thing; one beside the middle corrects a part."""

import numpy as np
from phantoms import OBLIQUE

import promptseg
from promptseg.bench.command import load_bench_predictor
from promptseg.bench.simulate import deepest_point
from promptseg.engine.rejected import beside, is_rejected, other_than
from promptseg.models.families.oracle import OraclePredictor
from promptseg.score.metrics import dice
from promptseg.session.session import Session

SHAPE, SPACING = (15, 70, 90), (4.0, 1.5, 2.0)  # slices, rows, columns; mm
Z, Y, X = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]


def ellipsoid(centre, radii_mm):
    return (
        sum(((axis - c) * s / r) ** 2 for axis, c, s, r in zip((Z, Y, X), centre, SPACING, radii_mm, strict=True)) < 1
    )


BALL = ellipsoid((7, 34, 40), (20, 30, 36))


def rejected(mask, at, within=None):
    z, y, x = at
    return is_rejected(lambda index: mask[index], z, (y, x), within or range(SHAPE[0]), SPACING)


def test_only_the_middle_in_all_three_directions_is_a_rejection():
    assert rejected(BALL, (7, 34, 40))
    assert not rejected(BALL, (7, 34, 48))  # half way to the border
    assert not rejected(BALL, (10, 34, 40))  # the middle of a slice nearer to the end: 8 mm deep, not 20
    assert not rejected(BALL, (7, 2, 2))  # not in the mask
    assert rejected(BALL, (11, 34, 40), within=range(11, 15))  # the end alone


def test_a_click_on_the_last_column_is_looked_up_there():
    plate = np.zeros(SHAPE, bool)
    plate[3:12, 20:49, 40:42] = True
    plate[:, 34, 40] = False  # a groove in the first column
    assert rejected(plate, (7, 34, 41))


def test_only_a_thing_that_is_alone_on_its_slice_is_a_whole():
    apart = ellipsoid((13, 60, 80), (3, 7, 8))
    assert rejected(BALL | apart, (13, 60, 80))
    beside_it = ellipsoid((7, 60, 80), (8, 7, 8))
    assert not rejected(BALL | beside_it, (7, 60, 80))
    assert rejected(BALL | beside_it, (7, 34, 40))  # what else there is on the slice is a twentieth of it
    assert not rejected(BALL | ellipsoid((7, 34, 62), (8, 7, 12)), (7, 34, 62))  # a bulge of the ball is a part


def test_what_is_left_of_the_box_when_the_bright_thing_is_not_meant():
    inner, outer = ellipsoid((7, 34, 40), (20, 24, 28))[7], ellipsoid((7, 34, 40), (20, 36, 42))[7]
    crescent = outer & ~inner & (Y[0] < 34)
    rng = np.random.default_rng(3)
    pixels = np.where(inner, 0.8, np.where(crescent, 0.15, 0.55)) + 0.03 * rng.standard_normal(inner.shape)
    rows, columns = np.flatnonzero(crescent.any(1)), np.flatnonzero(crescent.any(0))
    box = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    found = other_than(pixels.astype(np.float32), inner, (34, 40), tuple(map(float, box)), SPACING[1:])
    assert found[crescent].mean() > 0.9
    assert not (found & inner).any()
    slack = np.zeros_like(inner)
    slack[rows[0] - 4 : rows[-1] + 5, columns[0] - 3 : columns[-1] + 4] = True
    assert not (found & ~slack).any()
    nothing = other_than(
        pixels.astype(np.float32), np.ones_like(inner), (34, 40), (10.0, 10.0, 20.0, 20.0), SPACING[1:]
    )
    assert not nothing.any()


def test_a_click_on_a_part_keeps_what_lies_beside_it():
    """A disc of radius 21 mm with a bulge of radius 9 mm on its rim; the click is in the middle of the bulge."""
    disc, bulge = ellipsoid((7, 34, 40), (1, 21, 21))[7], ellipsoid((7, 34, 53), (1, 9, 9))[7]
    clicks = np.array([[34, 53]], np.float32)
    kept = beside(disc | bulge, clicks, SPACING[1:])
    assert not kept[34, 53]
    assert kept[disc & ~bulge].mean() > 0.9
    assert kept[bulge & ~disc].mean() < 0.1
    assert not beside(disc | bulge, np.array([[34, 41]], np.float32), SPACING[1:]).any()
    assert np.array_equal(beside(disc, np.array([[2, 2]], np.float32), SPACING[1:]), disc)


def scene():
    """A large organ under a thin crescent, as lung over spleen: volume, organ, crescent."""
    organ, shell = ellipsoid((7, 40, 44), (40, 33, 52)), ellipsoid((7, 40, 44), (44, 42, 64))
    crescent = shell & ~organ & (Y < 40)
    image = np.where(organ, 200, np.where(crescent, 90, 0)).astype(np.int16)
    geometry = promptseg.Geometry(SHAPE, SPACING[::-1], (-31.0, 17.5, 204.0), OBLIQUE)
    return promptseg.Volume(image, geometry, promptseg.Window(0, 255)), organ, crescent


def box_over(mask, first, last):
    """The box of a mask's middle slice over a range of slices."""
    places = np.argwhere(mask[(first + last - 1) // 2])
    (y0, x0), (y1, x1) = places.min(0), places.max(0) + 1
    return promptseg.Box(voxel=((float(first), float(y0), float(x0)), (float(last), float(y1), float(x1))))


def negative(z, y, x):
    return promptseg.Point(voxel=(z, y, x), positive=False)


def middle_of(mask):
    return deepest_point(mask, SPACING)


def test_one_click_turns_from_the_wrong_thing_to_the_right_one():
    volume, organ, crescent = scene()
    session = Session(volume, OraclePredictor())
    session.add(box_over(crescent, 4, 12))
    wrong = session.mask()
    assert dice(wrong[4:12], organ[4:12]) > 0.9
    session.add(negative(8, *middle_of(wrong)[1:]))
    mask = session.mask()
    assert np.array_equal(mask[7], wrong[7])  # the box's own slice is an anchor: bit for bit
    assert not (mask[8:12] & organ[8:12]).any()
    assert dice(mask[8], crescent[8]) > 0.99
    assert dice(mask[8:12], crescent[8:12]) > 0.9
    session.undo()
    assert np.array_equal(session.mask(), wrong)


def test_a_click_beside_the_middle_leaves_the_rest():
    volume, organ, _ = scene()
    session = Session(volume, load_bench_predictor("classical"))
    session.add(box_over(organ, 3, 12))
    before = session.mask()
    assert dice(before[3:12], organ[3:12]) > 0.8
    z, y, x = middle_of(before)
    session.add(negative(z, y, x + 17))
    assert session.mask()[z].sum() > 0.4 * before[z].sum()


def test_without_a_box_the_slice_is_emptied_unless_somebody_pointed_at_something_there():
    volume, _, _ = scene()
    session = Session(volume, OraclePredictor())
    session.add(promptseg.Point(voxel=(4, 40, 30)))
    z, y, x = middle_of(session.mask())
    assert (z, y, x) != (4, 40, 30)
    session.add(negative(z, y, x))
    assert not session.mask()[z].any()
    assert session.mask()[4].any()


class Asked(OraclePredictor):
    """Remembers the masks that it was told of, and the points."""

    def __init__(self):
        super().__init__()
        self.told, self.points = [], []

    def predict(self, embedding, prompts, prior=None):
        self.told.append(None if prior is None else prior.logits > 0)
        self.points.append(prompts.points)
        return super().predict(embedding, prompts, prior)


def test_a_mask_that_came_from_elsewhere_is_corrected_not_rejected():
    volume, organ, _ = scene()
    model = Asked()
    session = Session(volume, model)
    session.add(promptseg.MaskPrompt(organ))
    z, y, x = middle_of(organ)
    session.add(negative(z, y, x))
    assert any(told is not None and np.array_equal(told, organ[z]) for told in model.told)


def test_locked_labels_are_negatives_for_what_is_looked_for_instead():
    volume, _, crescent = scene()
    model = Asked()
    session = Session(volume, model)
    other = np.zeros(SHAPE, np.bool_)
    other[6:10, 12:20, 36:52] = True  # a piece over the crescent's top
    session.add(promptseg.MaskPrompt(other))
    session.lock(1)
    session.new_label("lobe")
    session.add(box_over(crescent, 4, 12))
    middle = middle_of(session.mask())
    model.points.clear()
    session.add(negative(8, *middle[1:]))
    assert any(len(points) > 1 and other[8][tuple(points[0].astype(int))] for points in model.points)
    assert not (session.mask() & other).any()


def test_a_large_mask_is_judged_on_a_coarser_grid(monkeypatch):
    places = [(7, 34, 40), (7, 34, 48), (10, 34, 40)]
    fine = [rejected(BALL, at) for at in places]
    monkeypatch.setattr("promptseg.engine.rejected.MOST_VOXELS", BALL.size // 8)
    assert [rejected(BALL, at) for at in places] == fine == [True, False, False]
