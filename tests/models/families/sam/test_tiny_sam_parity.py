"""MobileSAM and LiteMedSAM as whole networks: timm's blocks between segment-anything's own parts, on real slices."""

import numpy as np
import pytest

from promptseg.models.predictor import SliceImage, SlicePrompts
from promptseg.models.runtime import Device

torch = pytest.importorskip("torch", reason="torch is not installed")

import models_references as references  # noqa: E402

from promptseg.models.families.sam.on_torch import TorchSamRunner  # noqa: E402
from promptseg.models.families.sam.predictor import SamOptions, SamPredictor  # noqa: E402
from promptseg.models.networks import architectures  # noqa: E402
from promptseg.models.networks.tiny_vit import TinyVitShape  # noqa: E402

pytestmark = pytest.mark.torch

SHAPE = {"widths": (16, 32, 40, 80), "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 4), "windows": (7, 7, 14, 7)}
MAX_ABS, LEAST_IOU = 1e-3, 0.999


def build_reference(edge_px, stride):
    pytest.importorskip("timm.models.tiny_vit", reason="timm is not installed")
    return references.tiny_sam(edge_px, stride, references.TinyShape(**SHAPE))


def load(monkeypatch, tmp_path, sam, shape, options):
    monkeypatch.setitem(architectures.ARCHITECTURES, "small", shape)
    torch.save(references.tiny_state(sam), tmp_path / "w.pt")
    return SamPredictor(TorchSamRunner.from_checkpoint("small", tmp_path / "w.pt", Device("cpu")), "small", options)


def check(ours, theirs):
    assert np.abs(theirs).max() > 0.1
    assert theirs.std() > 0.05
    assert np.abs(ours.logits - theirs).max() <= MAX_ABS
    assert (ours.mask & (theirs > 0)).sum() >= LEAST_IOU * (ours.mask | (theirs > 0)).sum()


def asked(image):
    """A click (x, y) and a box (x0, y0, x1, y1) with both corners inside."""
    h, w = image.shape[:2]
    return np.array([w * 0.4, h * 0.6]), np.array([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round()


def as_prompt(box):
    return SlicePrompts(box=(box[1], box[0], box[3] + 1, box[2] + 1))


@pytest.mark.usefixtures("segment_anything")
@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_mobile_sam_equals_its_reference(monkeypatch, tmp_path, slices, which):
    sam, image = build_reference(192, 16), slices[which]
    predictor = load(monkeypatch, tmp_path, sam, TinyVitShape(192, **SHAPE), SamOptions())
    reference = references.SamReference(sam)
    reference.embed(image)
    embedding = predictor.embed(SliceImage(image.astype(np.float32) / 255))
    click, box = asked(image)
    lone = SlicePrompts(click[None, ::-1].astype(np.float32), np.array([True]))
    check(predictor.predict(embedding, lone), reference.click(click))
    check(predictor.predict(embedding, as_prompt(box)), reference.box(box))


@pytest.mark.usefixtures("segment_anything")
@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_lite_medsam_equals_its_reference(monkeypatch, tmp_path, slices, which):
    """The steps of its own script (CVPR24_LiteMedSAM_infer.py): resize, min-max, pad, box, crop, resize."""
    sam, image = build_reference(128, 4), slices[which]
    shape = TinyVitShape(128, strided_start=False, **SHAPE)
    predictor = load(monkeypatch, tmp_path, sam, shape, SamOptions("lite-medsam"))
    reference = references.LiteMedSamReference(sam)
    reference.embed(image)
    embedding = predictor.embed(SliceImage(image.astype(np.float32) / 255))
    box = asked(image)[1]  # on the CT a corner falls just short of a pixel of the input
    check(predictor.predict(embedding, as_prompt(box)), reference.box(box))
