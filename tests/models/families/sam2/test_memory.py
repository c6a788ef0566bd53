"""SAM 2's memory against transformers' own video session: same weights, a real stack, slice by slice."""

import re
from dataclasses import replace

import numpy as np
import pytest

import promptseg
import promptseg.session.session
from promptseg.errors import ModelError
from promptseg.models.embeddings import CachedPredictor, EmbeddingCache
from promptseg.models.predictor import SliceImage, SlicePrompts, carrier_of
from promptseg.models.runtime import Device

from .conftest import EDGE, draw_weights
from .test_predictor import original_names

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch
STEPS = 18  # more than the memory's own reach of fifteen
TRACKING = {
    "memory_temporal_positional_encoding": "maskmem_tpos_enc",
    "no_memory_positional_encoding": "no_mem_pos_enc",
    "no_object_pointer": "no_obj_ptr",
    "occlusion_spatial_embedding_parameter": "no_obj_embed_spatial",
}
IS_TRACKING = (*TRACKING, "memory_", "mask_downsample", "object_pointer_proj", "temporal_positional")


def original_tracking_name(key):
    """transformers' names of what is for video back to those in sam2's files; apart from the code that it tests."""
    if key in TRACKING:
        return TRACKING[key]
    if found := re.match(r"memory_encoder\.mask_downsampler\.layers\.(\d)\.(conv|layer_norm)\.", key):
        place = 3 * int(found[1]) + (found[2] == "layer_norm")
        return key.replace(found[0], f"memory_encoder.mask_downsampler.encoder.{place}.")
    key = key.replace("mask_downsampler.final_conv", "mask_downsampler.encoder.12")
    key = key.replace("memory_encoder.projection", "memory_encoder.out_proj").replace(
        "feature_projection", "pix_feat_proj"
    )
    key = key.replace("memory_fuser", "fuser").replace("depthwise_conv", "dwconv").replace("pointwise_conv", "pwconv")
    key = re.sub(r"(fuser\.layers\.\d+)\.scale$", r"\1.gamma", key).replace("layer_norm", "norm")
    key = key.replace("temporal_positional_encoding_projection_layer", "obj_ptr_tpos_proj")
    if key.startswith("object_pointer_proj"):
        key = key.replace("layers.0", "layers.1").replace("proj_in", "layers.0").replace("proj_out", "layers.2")
        key = key.replace("object_pointer_proj", "obj_ptr_proj")
    return key.replace("o_proj", "out_proj")


@pytest.fixture(scope="module")
def reference(tiny):
    from transformers.models.sam2_video import modeling_sam2_video
    from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoConfig, Sam2VideoPromptEncoderConfig

    from promptseg.models.families.sam2 import shapes

    torch.manual_seed(3)
    config = Sam2VideoConfig(
        vision_config=shapes.vision_config(shapes.HIERA[tiny], EDGE),
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(image_size=EDGE),
        image_size=EDGE,
        memory_attention_rope_feat_sizes=[EDGE // 16] * 2,
    )
    model = modeling_sam2_video.Sam2VideoModel(config).eval()
    with torch.no_grad():
        draw_weights(model, 1.0)
        model.memory_temporal_positional_encoding.normal_()
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(4.0)
    return model


@pytest.fixture
def checkpoint(reference, tmp_path):
    state = reference.state_dict()
    video = {k: v for k, v in state.items() if k.startswith(IS_TRACKING) or k in TRACKING}
    image = original_names({k: v for k, v in state.items() if k not in video})
    torch.save({"model": image | {original_tracking_name(k): v for k, v in video.items()}}, tmp_path / "sam2.pt")
    return tmp_path / "sam2.pt"


@pytest.fixture(scope="module")
def stack(request):
    import SimpleITK as sitk

    data = request.getfixturevalue("shared_data")
    volume = sitk.GetArrayFromImage(sitk.ReadImage(str(data / "ct_ts_trunk3mm" / "image.nii.gz")))
    start = volume.shape[0] // 2 - STEPS // 2
    return np.clip((volume[start : start + STEPS].astype(np.float32) + 160) / 400, 0, 1)


def theirs(model, stack, mask, order):
    """transformers' streaming session over the slices in this order, the first one with a mask."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    h, w = mask.shape
    session = Sam2VideoInferenceSession(video_height=h, video_width=w, dtype=torch.float32)
    session.obj_id_to_idx(1)
    square = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(), (EDGE, EDGE), mode="bilinear", antialias=True
    )
    session.add_mask_inputs(0, 0, (square >= 0.5).float())
    session.obj_with_new_inputs = [1]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    answers = []
    for frame, index in enumerate(order):
        pixels = torch.from_numpy(np.rint(stack[index] * 255).astype(np.float32) / 255)[None, None].expand(1, 3, h, w)
        pixels = torch.nn.functional.interpolate(pixels, (EDGE, EDGE), mode="bilinear", antialias=True)
        pixels = (pixels - mean[:, None, None]) / deviation[:, None, None]
        out = model(session, frame=pixels, frame_idx=frame)
        answers.append((out.pred_masks[0, 0], float(out.object_score_logits.flatten()[0])))
    return answers


@pytest.mark.parametrize("direction", [1, -1], ids=["upwards", "downwards"])
def test_a_walk_equals_transformers_session(predictor, reference, stack, direction):
    mask = np.zeros(stack.shape[1:], bool)
    mask[30:60, 40:80] = True
    order = list(range(STEPS))[::direction]
    expected = theirs(reference, stack, mask, order)
    carrier = carrier_of(predictor)
    images = [SliceImage(stack[i]) for i in range(STEPS)]
    memory = carrier.remember(predictor.embed(images[order[0]]), np.where(mask, 5, -5).astype(np.float32), order[0])
    for index, (low, score) in zip(order[1:], expected[1:], strict=True):
        answer, memory = carrier.carry(predictor.embed(images[index]), index, memory)
        assert score > 0
        full = torch.nn.functional.interpolate(low[None, None].float(), mask.shape, mode="bilinear")[0, 0].numpy()
        assert np.abs(full).max() > 0.1
        assert np.abs(answer.logits - full).max() <= 1e-3
        union = ((answer.logits > 0) | (full > 0)).sum()
        assert ((answer.logits > 0) & (full > 0)).sum() >= 0.999 * union
    assert len(memory.seen) == 16  # the anchor and fifteen pointers
    assert sum(s.features is not None for s in memory.seen) == 7  # the anchor and six memories


def test_a_memory_is_a_value_and_knows_its_model(predictor, card, checkpoint, stack):
    from promptseg.models.families.sam2.predictor import load_sam2

    carrier = carrier_of(CachedPredictor(predictor, EmbeddingCache("t")))
    assert carrier is carrier_of(predictor)
    a, b = (predictor.embed(SliceImage(stack[i])) for i in (3, 4))
    drawn = predictor.predict(a, SlicePrompts(box=(30, 40, 60, 80))).logits
    memory = carrier.remember(a, drawn, 3)
    first, _ = carrier.carry(b, 4, memory)
    again, _ = carrier.carry(b, 4, memory)
    assert np.array_equal(first.logits, again.logits)
    two = carrier.remember(b, drawn, 9, memory)
    assert [s.index for s in two.seen] == [3, 9]
    assert not np.array_equal(carrier.carry(b, 4, two)[0].logits, first.logits)
    other = load_sam2(replace(card, id="other"), checkpoint, Device("cpu"), "fp32")
    with pytest.raises(ModelError, match="expected a memory made by 'other', got one by 'tiny2'"):
        carrier_of(other).carry(other.embed(SliceImage(stack[4])), 4, memory)
    with pytest.raises(ModelError, match="expected an embedding made by 'other'"):
        carrier_of(other).remember(a, drawn, 3)


def test_an_object_that_is_gone_is_said_to_be_gone(card, checkpoint, tmp_path, stack):
    from promptseg.models.families.sam2.predictor import load_sam2

    state = torch.load(checkpoint, weights_only=True)["model"]
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(-9.0)
    torch.save({"model": state}, tmp_path / "blind.pt")
    predictor = load_sam2(card, tmp_path / "blind.pt", Device("cpu"), "fp32")
    a, b = (predictor.embed(SliceImage(stack[i])) for i in (3, 4))
    memory = predictor.carrier.remember(a, np.ones(a.shape, np.float32), 3)
    answer, after = predictor.carrier.carry(b, 4, memory)
    assert answer.score == 0
    assert not answer.mask.any()
    assert [s.index for s in after.seen] == [3, 4]


def test_image_weights_alone_have_no_memory(card, checkpoint, tmp_path):
    from promptseg.models.families.oracle import OraclePredictor
    from promptseg.models.families.sam2.predictor import load_sam2
    from promptseg.models.families.sam2.shapes import TRACKING_KEYS

    state = torch.load(checkpoint, weights_only=True)["model"]
    torch.save({k: v for k, v in state.items() if not k.startswith(TRACKING_KEYS)}, tmp_path / "image.pt")
    assert carrier_of(load_sam2(card, tmp_path / "image.pt", Device("cpu"), "fp32")) is None
    assert carrier_of(OraclePredictor()) is None
    torch.save({"model": {**state, "memory_encoder.surprise": torch.ones(2)}}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match=r"the memory of SAM 2 .* 1 unexpected \(memory_encoder.surprise\)"):
        carrier_of(load_sam2(card, tmp_path / "odd.pt", Device("cpu"), "fp32"))


class Spied:
    """A real memory, and what it was asked."""

    def __init__(self, carrier):
        self.carrier, self.remembered, self.carried = carrier, [], []

    def remember(self, embedding, logits, index, memory=None):
        self.remembered.append(index)
        return self.carrier.remember(embedding, logits, index, memory)

    def carry(self, embedding, index, memory):
        self.carried.append((index, [s.index for s in memory.seen]))
        return self.carrier.carry(embedding, index, memory)


def walked(predictor, stack, **options):
    """A square painted on slice 9 and carried on by the engine; two slices accepted before as they were."""
    volume = promptseg.Volume(stack, promptseg.Geometry(stack.shape, (3.0, 3.0, 5.0)), promptseg.Window(0, 1))
    session = promptseg.session.session.Session(volume, predictor, promptseg.EngineOptions(**options))
    start = np.zeros(stack.shape, bool)
    start[4, 20:40, 20:40] = True
    session.add(promptseg.MaskPrompt(start))
    session.accept(4)
    session.add(promptseg.Scribble(np.argwhere(np.ones((1, 20, 24))) + np.array((9, 40, 50))))
    assert np.array_equal(session.mask()[4], start[4])  # an anchor stays as it is
    return session


OPEN = {
    "min_score": 1e-6,
    "min_overlap": 1e-6,
    "max_area_ratio": 1e6,
    "max_intensity_shift": 1e6,
    "min_similarity": 1e-9,
}


def test_the_engine_walks_with_the_memory(predictor, stack):
    predictor._carrier, predictor._open_carrier = (spied := Spied(predictor.carrier)), None
    session = walked(CachedPredictor(predictor, EmbeddingCache("walk")), stack, **OPEN)
    assert set(spied.remembered) == {4, 9}  # the walk's anchor, and the one that it walks towards
    up = [(index, seen) for index, seen in spied.carried if index > 9]
    assert up[0] == (10, [9])
    assert up[1][0] == 11
    assert {index for index, _ in spied.carried} <= set(range(STEPS)) - {4, 9}
    assert next(seen for index, seen in spied.carried if index == 8) == [4, 9]
    again = walked(CachedPredictor(predictor, EmbeddingCache("walk")), stack, **OPEN)
    assert np.array_equal(session.mask(), again.mask())
    predictor._carrier = None
    without = walked(CachedPredictor(predictor, EmbeddingCache("walk")), stack, **OPEN)
    assert np.array_equal(session.mask()[9], without.mask()[9])
    assert not np.array_equal(session.mask(), without.mask())


def test_the_stop_rules_hold_for_a_walk_with_the_memory(card, checkpoint, tmp_path, stack):
    from promptseg.models.families.sam2.predictor import load_sam2

    state = torch.load(checkpoint, weights_only=True)["model"]
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(-9.0)
    torch.save({"model": state}, tmp_path / "blind.pt")
    predictor = load_sam2(card, tmp_path / "blind.pt", Device("cpu"), "fp32")
    predictor._carrier, predictor._open_carrier = (spied := Spied(predictor.carrier)), None
    session = walked(predictor, stack)
    assert np.flatnonzero(session.mask()[9:].any((1, 2))).tolist() == [0]
    assert [index for index, _ in spied.carried if index > 9] == [10, 11]  # two slices without it end the walk
    assert all(seen[-1] == 9 for index, seen in spied.carried if index > 9)  # and are not remembered
