"""The SAM family against segment-anything's own SamPredictor: same weights, real slices, same answers."""

from dataclasses import replace

import numpy as np
import pytest

from promptseg.errors import DeviceError
from promptseg.models.families.sam import frames
from promptseg.models.predictor import Prior, SliceImage, SlicePrompts

torch = pytest.importorskip("torch", reason="torch is not installed")

from promptseg.models.families.sam.on_torch import TorchSamRunner  # noqa: E402
from promptseg.models.families.sam.planes import inputs  # noqa: E402
from promptseg.models.families.sam.predictor import SamOptions, SamPredictor  # noqa: E402
from promptseg.models.families.sam.wire import to_wire  # noqa: E402
from promptseg.models.runtime import Device  # noqa: E402

pytestmark = pytest.mark.torch

MAX_ABS = 1e-3


@pytest.fixture
def predictor(tiny_arch, tiny_checkpoint):
    return SamPredictor(TorchSamRunner.from_checkpoint(tiny_arch, tiny_checkpoint, Device("cpu")), "tiny")


@pytest.fixture
def reference(segment_anything, reference_sam):
    return segment_anything.SamPredictor(reference_sam)


def as_slice(image):
    return SliceImage(image.astype(np.float32) / 255)


def rgb(image):
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)


def overlap(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 1.0


def check(ours, theirs):
    assert np.abs(theirs).max() > 0.1  # the random network says something
    assert np.abs(ours - theirs).max() <= MAX_ABS
    assert overlap(ours > 0, theirs > 0) >= 0.999


@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_the_input_is_the_reference_s_bit_for_bit(segment_anything, reference_sam, slices, which):
    image = slices[which]
    transform = segment_anything.utils.transforms.ResizeLongestSide(192)
    resized = torch.as_tensor(transform.apply_image(rgb(image))).permute(2, 0, 1)[None]
    theirs = reference_sam.preprocess(resized)[0].numpy()
    planes, frame = frames.prepare("sam", image.astype(np.float32) / 255, 192)
    assert frame.inner == tuple(resized.shape[-2:])
    assert np.array_equal(inputs([planes])[0], theirs)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_clicks_and_boxes(predictor, reference, slices, number):
    image = slices[number]
    h, w = image.shape[:2]
    reference.set_image(rgb(image))
    embedding = predictor.embed(as_slice(image))
    assert np.abs(embedding.features["image"] - reference.features[0].numpy()).max() <= MAX_ABS

    click = np.array([[w * 0.4, h * 0.6]])
    masks, scores, _ = reference.predict(click, np.array([1]), multimask_output=True, return_logits=True)
    lone = predictor.predict(embedding, SlicePrompts(click[:, ::-1].astype(np.float32), np.array([True])))
    check(lone.logits, masks[scores.argmax()])
    assert lone.score == pytest.approx(min(1, max(0, scores.max())), abs=1e-4)
    candidates = lone.candidates()
    assert len(candidates) == 3
    for candidate, which in zip(candidates, np.argsort(-scores), strict=True):
        check(candidate.logits, masks[which])
        assert candidate.score == pytest.approx(min(1, max(0, scores[which])), abs=1e-4)
    assert np.array_equal(candidates[0].logits, lone.logits)

    box = np.array([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round()
    masks, scores, _ = reference.predict(box=box, multimask_output=False, return_logits=True)
    boxed = predictor.predict(embedding, SlicePrompts(box=(box[1], box[0], box[3] + 1, box[2] + 1)))
    check(boxed.logits, masks[0])
    assert boxed.candidates() == ()

    places, labels = np.array([[w * 0.4, h * 0.6], [w * 0.1, h * 0.1]]), np.array([1, 0])
    masks, _, _ = reference.predict(places, labels, box=box, multimask_output=False, return_logits=True)
    prompts = SlicePrompts(places[:, ::-1].astype(np.float32), labels > 0, (box[1], box[0], box[3] + 1, box[2] + 1))
    check(predictor.predict(embedding, prompts).logits, masks[0])


def test_a_mask_prompt_reaches_the_decoder_unchanged(predictor, reference, slices):
    image = slices[0]
    reference.set_image(rgb(image))
    embedding = predictor.embed(as_slice(image))
    click = np.array([[50.0, 40.0]])
    mask_input = np.random.default_rng(1).normal(0, 5, (1, 48, 48)).astype(np.float32)
    _, _, low = reference.predict(
        click, np.array([1]), mask_input=mask_input, multimask_output=False, return_logits=True
    )
    wire = to_wire(
        SlicePrompts(click[:, ::-1].astype(np.float32), np.array([True])),
        Prior(np.ones(image.shape[:2], np.float32)),
        frames.Frame("sam", image.shape[:2], reference.input_size, 192),
        (48, 48),
        48,
    )
    logits, _ = predictor._runner.decode(embedding.features, replace(wire, mask=mask_input[0]), image.shape[:2])
    assert np.abs(logits[0] - low[0]).max() <= MAX_ABS


def test_without_a_mask_prompt_the_dense_prompt_is_the_learnt_empty_one(predictor, slices):
    """A published exporter feeds -1 for "no mask"; that adds a mask prompt turned inside out."""
    embedding = predictor.embed(as_slice(slices[0]))
    decoder = predictor._runner._decoder.prompt_encoder
    junk = torch.full((1, 1, 48, 48), 7.0)
    empty = decoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    assert torch.equal(decoder.dense(junk, torch.zeros(1)).expand(1, 256, 12, 12), empty.expand(1, 256, 12, 12))
    assert embedding.nbytes > 0


def test_a_batch_gives_what_single_slices_give(predictor, slices):
    cut = as_slice(slices[0])
    shifted = SliceImage(np.roll(cut.pixels, 5, axis=0))
    both = predictor.embed_batch([cut, as_slice(slices[1]), shifted])
    for image, made in zip([cut, as_slice(slices[1]), shifted], both, strict=True):
        assert np.abs(made.features["image"] - predictor.embed(image).features["image"]).max() < 1e-4


def test_a_batch_that_the_device_has_no_memory_for_is_halved(predictor, slices, monkeypatch):
    images = [SliceImage(np.roll(as_slice(slices[0]).pixels, i, axis=0)) for i in range(5)]
    whole = predictor.embed_batch(images)
    encode, sizes, most = predictor._runner.encode, [], 2

    def small_card(batch):
        sizes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return encode(batch)

    monkeypatch.setattr(predictor._runner, "encode", small_card)
    for one, made in zip(whole, predictor.embed_batch(images), strict=True):
        assert np.abs(one.features["image"] - made.features["image"]).max() < 1e-4
    assert sizes == [5, 2, 3, 1, 2]
    most = 0
    with pytest.raises(DeviceError, match=r"expected memory for one slice of 192 x 192 px, but torch .* has none left"):
        predictor.embed_batch(images)
    monkeypatch.setattr(predictor._runner, "decode", lambda *_: small_card([0]))
    with pytest.raises(DeviceError, match=r"expected memory for one answer, but torch .* has none left"):
        predictor.predict(whole[0], SlicePrompts(box=(20, 30, 60, 90)))


def test_bf16_on_the_cpu_is_close(tiny_arch, tiny_checkpoint, predictor, slices):
    half = SamPredictor(TorchSamRunner.from_checkpoint(tiny_arch, tiny_checkpoint, Device("cpu"), "bf16"), "tiny")
    box = SlicePrompts(box=(20, 30, 60, 90))
    a = predictor.predict(predictor.embed(as_slice(slices[0])), box)
    b = half.predict(half.embed(as_slice(slices[0])), box)
    assert np.abs(a.logits - b.logits).max() < 0.1 * np.abs(a.logits).max()


def test_trimming_leaves_the_padding_out_which_changes_answers_on_the_same_grid(predictor, slices):
    """How far answers move is for trained weights to say; see docs/adr/0015."""
    wide = slices[1][:200]
    full = predictor.embed(as_slice(wide))
    trimming = SamPredictor(predictor._runner, "tiny", SamOptions(trim=True))
    trimmed = trimming.embed(as_slice(wide))
    rows = -(-full.features["inner"][0] // 16)
    assert full.features["image"].shape == (256, 12, 12)
    assert trimmed.features["image"].shape == (256, rows, 12)
    box = SlicePrompts(box=(50, 100, 150, 300))
    a, b = predictor.predict(full, box), trimming.predict(trimmed, box)
    assert a.logits.shape == b.logits.shape == wide.shape
    assert not np.array_equal(a.logits, b.logits)  # so it is off unless asked for
    square = as_slice(np.maximum(slices[1][:, :380], 9))
    assert np.array_equal(predictor.embed(square).features["image"], trimming.embed(square).features["image"])


@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_medsam_s_own_script(predictor, reference_sam, slices, which):
    """MedSAM_Inference.py on the same weights: its resampling, its box, its way back. (There probabilities are enlarged
    and then cut, here logits, as everywhere else.)"""
    transform = pytest.importorskip("skimage.transform", reason="scikit-image is not installed")
    image, edge = slices[which], 192
    h, w = image.shape[:2]
    small = transform.resize(rgb(image), (edge, edge), order=3, preserve_range=True, anti_aliasing=True)
    small = small.astype(np.uint8)
    small = (small - small.min()) / np.clip(small.max() - small.min(), a_min=1e-8, a_max=None)
    box = np.array([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round()
    with torch.no_grad():
        features = reference_sam.image_encoder(torch.tensor(small).float().permute(2, 0, 1)[None])
        boxes = torch.as_tensor(box / np.array([w, h, w, h]) * edge, dtype=torch.float)[None, None]
        sparse, dense = reference_sam.prompt_encoder(points=None, boxes=boxes, masks=None)
        places = reference_sam.prompt_encoder.get_dense_pe()
        low, _ = reference_sam.mask_decoder(features, places, sparse, dense, multimask_output=False)
        theirs = torch.nn.functional.interpolate(low, (h, w), mode="bilinear")[0, 0].numpy()
    medsam = SamPredictor(predictor._runner, "tiny", SamOptions("medsam"))
    ours = medsam.predict(medsam.embed(as_slice(image)), SlicePrompts(box=(box[1], box[0], box[3] + 1, box[2] + 1)))
    check(ours.logits, theirs)


def test_black_borders_are_not_computed_and_answers_come_back_in_place(predictor, slices):
    """A picture in the middle of black: cut, it is computed as if it lay in the corner."""
    shown = np.maximum(slices[0][20:80, 30:100], 9)
    framed = np.zeros((200, 240), np.uint8)
    framed[70:130, 90:160] = shown
    trimming = SamPredictor(predictor._runner, "tiny", SamOptions(trim=True))
    full, cut = predictor.embed(as_slice(framed)), trimming.embed(as_slice(framed))
    assert cut.features["cut"].tolist() == [62, 82, 138, 168]
    assert np.prod(cut.features["image"].shape[1:]) < 0.25 * np.prod(full.features["image"].shape[1:])
    corner = np.zeros_like(framed)
    corner[8:68, 8:78] = shown
    moved = SlicePrompts(np.array([[30.0, 40.0]], np.float32), np.array([True]), (15.0, 20.0, 50.0, 60.0))
    placed = SlicePrompts(moved.points + np.array([62, 82], np.float32), moved.positive, (77.0, 102.0, 112.0, 142.0))
    prior = np.full(framed.shape, -8, np.float32)
    prior[80:110, 100:140] = 8
    at_corner = np.roll(prior, (-62, -82), (0, 1))
    in_corner = trimming.embed(as_slice(corner))
    there = trimming.predict(cut, placed, Prior(prior)).logits
    here = trimming.predict(in_corner, moved, Prior(at_corner)).logits
    assert np.abs(there[62:138, 82:168] - here[:76, :86]).max() <= MAX_ABS
    assert (there[:62] == frames.OUTSIDE_LOGIT).all()
    assert there.shape == framed.shape
    black = trimming.embed(as_slice(np.zeros((50, 40), np.uint8)))
    assert "cut" not in black.features
    assert trimming.predict(black, SlicePrompts(box=(5, 5, 20, 20))).logits.shape == (50, 40)


def test_a_carried_mask_becomes_box_point_and_logits_and_a_doubtful_answer_is_none(predictor, slices):
    embedding = predictor.embed(as_slice(slices[0]))
    carried = np.full(embedding.shape, -8, np.float32)
    carried[30:60, 40:80] = 8
    answer = predictor.predict(embedding, SlicePrompts(), Prior(carried, neighbour=embedding))
    assert answer.logits.shape == embedding.shape
    assert answer.mask.any() == (answer.score >= 0.5)
    nothing = Prior(np.full(embedding.shape, -8, np.float32), neighbour=embedding)
    assert not predictor.predict(embedding, SlicePrompts(), nothing).mask.any()
    assert not predictor.predict(embedding, SlicePrompts()).mask.any()


def test_stability_stands_in_for_an_untrained_score(predictor, slices):
    steady = SamPredictor(predictor._runner, "tiny", SamOptions(score="stability"))
    answer = steady.predict(steady.embed(as_slice(slices[0])), SlicePrompts(box=(20, 30, 60, 90)))
    assert 0 <= answer.score <= 1
