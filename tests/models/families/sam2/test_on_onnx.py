"""SAM 2.1's exported pair against torch, and its memory beside it."""

import numpy as np
import pytest

from promptseg.errors import ModelError
from promptseg.models.families.sam2.on_onnx import choose_masks
from promptseg.models.loading import export_model, load_predictor, loaded_models
from promptseg.models.predictor import Prior, SliceImage, SlicePrompts, carrier_of
from promptseg.models.weights import registry
from promptseg.models.weights.registry import ModelCard, WeightFile
from promptseg.models.weights.store import Store

from .conftest import EDGE
from .test_memory import checkpoint, reference  # noqa: F401 - fixtures: a tiny SAM 2 as its project saves it

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

pytestmark = pytest.mark.torch

CLICK = SlicePrompts(np.array([[60, 50]], np.float32), np.array([True]))
BOX = SlicePrompts(box=(20, 30, 60, 90))


@pytest.fixture
def tiny2(checkpoint, monkeypatch):  # noqa: F811 - the fixture
    file = WeightFile("sam2.pt", hash_source="none published")
    row = ("tiny-sam2", "sam2", "a tiny SAM 2", 2, ("point",), "Apache-2.0", True, "this test")
    made = ModelCard(*row, arch="tiny", input_px=EDGE, preprocess="sam2", files=(file,))
    package = registry._package_cards()
    monkeypatch.setattr(registry, "_package_cards", lambda: {**package, "tiny-sam2": made})
    Store().adopt(made, file, checkpoint, trust_on_first_use=True)
    loaded_models().clear()
    yield made
    loaded_models().clear()


@pytest.mark.usefixtures("tiny2")
def test_export_equals_torch_and_keeps_its_memory(slices):
    images = [SliceImage(np.roll(slices[0], i, 0).astype(np.float32) / 255) for i in range(3)]
    on_torch = load_predictor("tiny-sam2", "cpu")
    report = export_model("tiny-sam2")
    assert report.logits_scale > 0.1
    assert report.logits_max_abs <= 1e-3
    assert report.mask_iou >= 0.999
    on_onnx = load_predictor("tiny-sam2", "cpu")
    assert on_onnx.described.startswith("ONNX Runtime")
    a, b = on_torch.embed(images[0]), on_onnx.embed(images[0])
    boxed = on_torch.predict(a, BOX).logits
    many = SlicePrompts(np.random.default_rng(0).uniform(0, 90, (9, 2)).astype(np.float32), np.arange(9) % 2 == 0)
    cases = [(CLICK, None), (BOX, None), (many, None), (CLICK, Prior(boxed)), (SlicePrompts(), Prior(boxed))]
    for prompts, known in [*cases, (SlicePrompts(), Prior(boxed, neighbour=a))]:
        theirs, ours = on_torch.predict(a, prompts, known), on_onnx.predict(b, prompts, known)
        assert np.abs(theirs.logits - ours.logits).max() <= 1e-3
        assert abs(theirs.score - ours.score) < 1e-4
    walked = []
    for predictor in (on_torch, on_onnx):
        alone = predictor.nbytes
        carrier = carrier_of(predictor)
        assert predictor.nbytes == alone + carrier.nbytes > alone + 1_000_000  # loaded now, and counted
        memory = carrier.remember(predictor.embed(images[0]), boxed, 0)
        _, memory = carrier.carry(predictor.embed(images[1]), 1, memory)
        walked.append(carrier.carry(predictor.embed(images[2]), 2, memory)[0].logits)
    assert np.abs(walked[0] - walked[1]).max() <= 1e-3


@pytest.mark.usefixtures("tiny2")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_exports_are_close(precision):
    report = export_model("tiny-sam2", precision)
    assert report.logits_max_abs < 0.2 * report.logits_scale


def test_an_unsteady_single_answer_gives_way_to_the_best_of_three():
    masks = np.full((4, 5, 6), -3, np.float32)
    masks[0, :2] = 2.0
    scores = np.array([0.1, 0.2, 0.9, 0.3], np.float32)
    assert choose_masks(masks, scores, lone_click=False)[1].tolist() == scores[:1].tolist()
    masks[0, 0, 0] = 0.01  # one of twelve pixels is neither in nor out
    assert choose_masks(masks, scores, lone_click=False)[1].tolist() == scores[2:3].tolist()
    assert choose_masks(masks, scores, lone_click=True)[0].shape == (3, 5, 6)


def test_another_decoder_says_what_it_has(no_decoder):
    from promptseg.models.families.sam2.on_onnx import Sam2OnnxRunner
    from promptseg.models.runtime import Device, Placement

    with pytest.raises(ModelError, match=r"expected a SAM 2 decoder .* got a"):
        Sam2OnnxRunner(no_decoder, no_decoder, Placement(Device("cpu"), "onnx", "fp32"), 128)
