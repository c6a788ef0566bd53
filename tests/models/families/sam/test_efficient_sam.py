"""An ONNX pair with the inputs and outputs of EfficientSAM's own export, and an answer that can be worked out.

The contract is that of yformer/EfficientSAM, export_to_onnx.py and onnx_models.py: slices of any size in [0, 1], which
the encoder itself stretches to its square; points (batch, queries, points, 2) as (x, y) in the slice's pixels with
float labels (1 object, 2 and 3 a box's corners; 0 has no meaning of its own), brought to the square, cut or padded to
six with -1; masks (batch, queries, 3, h, w) enlarged to the slice's int64 size, their qualities, the coarse masks. The
number of points is free, as in labelme's files: osam asks with many in one query (_models/efficientsam/_models.py).
"""

import warnings

import numpy as np
import pytest

from promptseg.models.families.sam.predictor import SamOptions, SamPredictor
from promptseg.models.predictor import Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import Device

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
from torch.nn.functional import interpolate  # noqa: E402

pytestmark = pytest.mark.torch

EDGE, MOST_POINTS = 128, 6  # the original's edge is 1024
RADII = (10.0, 24.0, 60.0)  # of the three answers, in pixels of the square
SHAPE = (50, 60)


class Encoder(torch.nn.Module):
    """(b, 3, h, w) -> (b, 256, EDGE / 16, EDGE / 16), as the original's."""

    def forward(self, images):
        square = interpolate(images, (EDGE, EDGE), mode="bilinear")
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        square = (square - mean[:, None, None]) / deviation[:, None, None]
        return torch.nn.functional.avg_pool2d(square, 16).repeat(1, 86, 1, 1)[:, :256]


class Decoder(torch.nn.Module):
    """Discs around the mean of the points and corners, wider where the slice is bright; the middle one is the best."""

    def forward(self, embeddings, coords, labels, size):
        places = torch.stack([coords[..., 0] * EDGE / size[1], coords[..., 1] * EDGE / size[0]], -1)
        b, queries = coords.shape[:2]
        places = torch.cat([places, torch.full((b, queries, MOST_POINTS, 2), -1.0)], 2)[:, :, :MOST_POINTS]
        labels = torch.cat([labels, torch.full((b, queries, MOST_POINTS), -1.0)], 2)[:, :, :MOST_POINTS]
        counts = (labels > 0).float()[..., None]
        centre = (places * counts).sum(2) / counts.sum(2)
        at = torch.arange(EDGE // 4) * 4.0 + 1.5
        squared = (at - centre[..., 0, None]).square()[:, :, None] + (at - centre[..., 1, None]).square()[..., None]
        brightness = embeddings.mean((1, 2, 3))[:, None, None, None, None]
        low = torch.tensor(RADII).square()[:, None, None] - squared[:, :, None] + brightness
        low = low.reshape(-1, 3, EDGE // 4, EDGE // 4)
        masks = interpolate(low, (size[0], size[1]), mode="bilinear").reshape(b, queries, 3, size[0], size[1])
        return masks, torch.tensor([[[0.2, 0.9, 0.4]]]).repeat(b, queries, 1), low


def export(module, example, path, inputs, outputs, free):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=free,
            opset_version=17,
            dynamo=False,
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("efficient")
    export(
        Encoder(),
        (torch.zeros(1, 3, 108, 192),),
        folder / "e.onnx",
        ["batched_images"],
        ["image_embeddings"],
        {"batched_images": {0: "batch", 2: "height", 3: "width"}},
    )
    edge = EDGE // 16
    export(
        Decoder(),
        (torch.zeros(1, 256, edge, edge), torch.zeros(1, 1, 5, 2), torch.ones(1, 1, 5), torch.tensor([108, 192])),
        folder / "d.onnx",
        ["image_embeddings", "batched_point_coords", "batched_point_labels", "orig_im_size"],
        ["output_masks", "iou_predictions"],  # the third output has no name in the original either
        {name: {1: "queries", 2: "points"} for name in ("batched_point_coords", "batched_point_labels")},
    )
    return folder / "e.onnx", folder / "d.onnx"


@pytest.fixture
def predictor(pair):
    from promptseg.models.families.sam.on_onnx import OnnxSamRunner

    runner = OnnxSamRunner(*pair, Device("cpu"))
    assert not runner.takes_mask
    return SamPredictor(runner, "fast", SamOptions("as-is"))


@pytest.fixture
def embedding(predictor):
    return predictor.embed(SliceImage(np.random.default_rng(0).random(SHAPE, np.float32)))


def centre_of(answer):
    rows, columns = np.nonzero(answer.mask)
    return rows.mean(), columns.mean()


def test_a_slice_goes_in_at_its_own_size_and_colour(predictor, embedding):
    pixels = np.random.default_rng(1).random((*SHAPE, 3), np.float32)
    made = predictor.embed(SliceImage(pixels)).features["image"]
    whole = np.rint(pixels * 255) / 255
    theirs = Encoder()(torch.from_numpy(whole.astype(np.float32)).permute(2, 0, 1)[None])[0]
    assert made.shape == (256, EDGE // 16, EDGE // 16)
    assert np.abs(made - theirs.numpy()).max() < 1e-4
    assert embedding.shape == SHAPE


def test_clicks_and_boxes_on_the_slices_own_grid(predictor, embedding):
    answer = predictor.predict(embedding, SlicePrompts(np.array([[20, 40]], np.float32), np.array([True])))
    assert answer.score == pytest.approx(0.9)
    assert answer.mask.shape == SHAPE
    stretch = SHAPE[0] * SHAPE[1] / EDGE**2
    assert answer.mask.sum() == pytest.approx(np.pi * RADII[1] ** 2 * stretch, rel=0.05)
    assert centre_of(answer) == pytest.approx((20, 40), abs=0.6)
    places = np.array([[20, 40], [24, 30], [5, 5]], np.float32)
    both = predictor.predict(embedding, SlicePrompts(places, np.array([True, True, False])))
    assert centre_of(both) == pytest.approx((22, 35), abs=0.6)
    boxed = predictor.predict(embedding, SlicePrompts(box=(10, 20, 31, 41)))
    assert centre_of(boxed) == pytest.approx((20, 30), abs=0.6)


def test_a_box_is_among_the_six_points_that_are_read(predictor, embedding):
    clicks = SlicePrompts(np.tile(np.float32([[20, 40]]), (6, 1)), np.full(6, True), box=(10, 20, 31, 41))
    inside = [(10, 20), (30, 40), *[(20, 40)] * 4]
    assert centre_of(predictor.predict(embedding, clicks)) == pytest.approx(np.mean(inside, 0), abs=0.6)


def test_a_carried_mask_becomes_a_box_and_points(predictor, embedding):
    carried = np.full(SHAPE, -5, np.float32)
    carried[25:36, 20:31] = 5
    moved = predictor.predict(embedding, SlicePrompts(), Prior(carried, neighbour=embedding))
    assert centre_of(moved) == pytest.approx((30, 25), abs=0.7)
