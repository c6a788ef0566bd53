"""An ONNX pair in EfficientSAM's layout: slices at their own size, answers on their own grid."""

import warnings

import numpy as np
import pytest

from promptseg.models.families.sam import SamOptions, SamPredictor
from promptseg.models.predictor import Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import Device

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")


class Encoder(torch.nn.Module):
    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 8).repeat(1, 4, 1, 1)


class Decoder(torch.nn.Module):
    """Discs of three sizes around the mean of the points; the middle one expects the best overlap."""

    def forward(self, embeddings, coords, labels, size):
        y = torch.arange(size[0]).to(torch.float32)[:, None]
        x = torch.arange(size[1]).to(torch.float32)[None]
        centre = coords.mean(2)[0, 0]
        squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        masks = torch.stack([radius**2 - squared for radius in (5.0, 12.0, 30.0)])[None, None]
        # a term that keeps every input in the graph
        masks = masks + 0 * (embeddings.sum() + labels.sum())
        return masks, torch.tensor([[[0.2, 0.9, 0.4]]]), masks[..., :4, :4]


@pytest.fixture
def predictor(tmp_path):
    from promptseg.models.families.sam_onnx import OnnxSamRunner

    decoder_inputs = ["image_embeddings", "batched_point_coords", "batched_point_labels", "orig_im_size"]
    example = (torch.zeros(1, 12, 8, 8), torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2), torch.tensor([50, 60]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder(),
            (torch.zeros(1, 3, 64, 64),),
            str(tmp_path / "e.onnx"),
            input_names=["batched_images"],
            output_names=["image_embeddings"],
            opset_version=17,
            dynamo=False,
        )
        torch.onnx.export(
            Decoder(),
            example,
            str(tmp_path / "d.onnx"),
            input_names=decoder_inputs,
            output_names=["output_masks", "iou_predictions", "low_res"],
            dynamic_axes={"batched_point_coords": {2: "n"}, "batched_point_labels": {2: "n"}},
            opset_version=17,
            dynamo=False,
        )
    runner = OnnxSamRunner(tmp_path / "e.onnx", tmp_path / "d.onnx", Device("cpu"))
    assert not runner.takes_mask
    return SamPredictor(runner, "fast", SamOptions("as-is"))


def test_clicks_boxes_and_carried_masks_on_the_slices_own_grid(predictor):
    embedding = predictor.embed(SliceImage(np.random.default_rng(0).random((64, 64), np.float32)))
    click = SlicePrompts(np.array([[20, 40]], np.float32), np.array([True]))
    answer = predictor.predict(embedding, click)
    assert answer.score == pytest.approx(0.9)
    assert answer.mask.shape == (64, 64)
    assert answer.mask.sum() == pytest.approx(np.pi * 144, rel=0.05)
    assert answer.mask[20, 40]
    boxed = predictor.predict(embedding, SlicePrompts(box=(10, 20, 31, 41)))
    rows, columns = np.nonzero(boxed.mask)
    assert (rows.mean(), columns.mean()) == pytest.approx((20, 30), abs=0.5)
    carried = np.full((64, 64), -5, np.float32)
    carried[30:41, 10:21] = 5
    moved = predictor.predict(embedding, SlicePrompts(), Prior(carried, neighbour=embedding))
    rows, columns = np.nonzero(moved.mask)
    assert (rows.mean(), columns.mean()) == pytest.approx((35, 15), abs=0.6)
