"""SAM 2.1 in the original project's file layout against transformers' own classes."""

import re

import numpy as np
import pytest

from promptseg.errors import ModelError
from promptseg.models.predictor import Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import Device

from .conftest import EDGE, draw_weights

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch
PLACES = {"conv1": 0, "layer_norm1": 1, "conv2": 3, "layer_norm2": 4, "conv3": 6}


def original_names(state):
    """transformers' names back to those in sam2's files; written apart from the code that it tests."""
    back = {}
    for key, value in state.items():
        if key == "no_memory_embedding":
            back["no_mem_embed"] = value
        elif key == "shared_image_embedding.positional_embedding":
            back["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = value
        elif key == "prompt_encoder.shared_embedding.positional_embedding":
            continue
        elif key == "prompt_encoder.point_embed.weight":
            back |= {f"sam_prompt_encoder.point_embeddings.{i}.weight": value[i : i + 1] for i in range(4)}
        elif key.startswith("vision_encoder.neck"):
            back[re.sub(r"convs\.(\d+)\.", r"convs.\1.conv.", key).replace("vision_encoder", "image_encoder")] = value
        elif key.startswith("vision_encoder.backbone"):
            name = key.replace("vision_encoder.backbone", "image_encoder.trunk").replace("projection", "proj")
            name = name.replace("layer_norm", "norm").replace("mlp.proj_in", "mlp.layers.0")
            back[name.replace("mlp.proj_out", "mlp.layers.1")] = value
        elif key.startswith("prompt_encoder"):
            name = re.sub(r"mask_embed\.(\w+)\.", lambda m: f"mask_downscaling.{PLACES[m[1]]}.", key)
            back[f"sam_{name}"] = value
        else:
            name = key.replace("o_proj", "out_proj").replace("layer_norm", "norm")
            if "transformer" in name:
                name = name.replace("mlp.proj_in", "mlp.layers.0").replace("mlp.proj_out", "mlp.layers.1")
            else:
                name = name.replace(".layers.0.", ".layers.1.").replace("proj_in", "layers.0")
                name = name.replace("proj_out", "layers.2")
            for old, new in (("upscale_conv1", 0), ("upscale_norm", 1), ("upscale_conv2", 3)):
                name = name.replace(old, f"output_upscaling.{new}")
            back[f"sam_{name}"] = value
    return back


@pytest.fixture(scope="module")
def reference(tiny):
    from promptseg.models.families.sam2 import predictor as network

    torch.manual_seed(2)
    model = network._build(tiny, EDGE)
    with torch.no_grad():
        draw_weights(model, 1.5)
    return model


@pytest.fixture
def checkpoint(reference, tmp_path):
    state = original_names(reference.state_dict())
    state["memory_encoder.fuser.layers.0.gamma"] = torch.ones(3)  # tracking, which image mode does not read
    torch.save({"model": state}, tmp_path / "sam2.pt")
    return tmp_path / "sam2.pt"


def upscaled(low, shape):
    return torch.nn.functional.interpolate(low[None, None], shape, mode="bilinear", align_corners=False)[0, 0].numpy()


@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_image_mode_equals_transformers(predictor, reference, slices, which):
    image = slices[which]
    h, w = image.shape[:2]
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    pixels = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
    pixels = torch.nn.functional.interpolate(pixels, (EDGE, EDGE), mode="bilinear", antialias=True)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels - mean[:, None, None]) / deviation[:, None, None]
    scale = torch.tensor([EDGE / w, EDGE / h])
    embedding = predictor.embed(SliceImage(image.astype(np.float32) / 255))
    click = np.array([[w * 0.4, h * 0.6]], np.float32)
    with torch.no_grad():
        lone = reference(pixels, input_points=(torch.from_numpy(click) * scale)[None, None], multimask_output=True)
        box = torch.tensor([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round()
        boxed = reference(pixels, input_boxes=(box.view(2, 2) * scale).view(1, 1, 4), multimask_output=False)
    best = int(lone.iou_scores[0, 0].argmax())
    ours = predictor.predict(embedding, SlicePrompts(click[:, ::-1].copy(), np.array([True])))
    theirs = upscaled(lone.pred_masks[0, 0, best], (h, w))
    assert np.abs(theirs).max() > 0.1
    assert np.abs(ours.logits - theirs).max() <= 1e-3
    assert ours.score == pytest.approx(float(lone.iou_scores[0, 0, best]), abs=1e-4)
    x0, y0, x1, y1 = box.tolist()
    ours = predictor.predict(embedding, SlicePrompts(box=(y0, x0, y1 + 1, x1 + 1)))
    theirs = upscaled(boxed.pred_masks[0, 0, 0], (h, w))
    assert np.abs(ours.logits - theirs).max() <= 1e-3
    assert ((ours.logits > 0) & (theirs > 0)).sum() >= 0.999 * ((ours.logits > 0) | (theirs > 0)).sum()


def test_a_carried_mask_is_answered_or_said_to_be_gone(predictor, slices):
    embedding = predictor.embed(SliceImage(slices[0].astype(np.float32) / 255))
    carried = np.full(embedding.shape, -8, np.float32)
    carried[30:60, 40:80] = 8
    answer = predictor.predict(embedding, SlicePrompts(), Prior(carried, neighbour=embedding))
    assert answer.logits.shape == embedding.shape
    assert answer.mask.any() or answer.score < 0.5


def test_a_checkpoint_of_transformers_is_taken_as_well(card, reference, tmp_path, predictor, slices):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    from promptseg.models.families.sam2.predictor import load_sam2

    state = {key: value.contiguous().clone() for key, value in reference.state_dict().items()}
    safetensors.save_file(state, tmp_path / "model.safetensors")
    again = load_sam2(card, tmp_path / "model.safetensors", Device("cpu"), "fp32")
    image = SliceImage(slices[0].astype(np.float32) / 255)
    assert np.array_equal(predictor.embed(image).features["image"], again.embed(image).features["image"])


def test_other_weights_and_architectures_are_named(card, checkpoint, tiny_checkpoint):
    from dataclasses import replace

    from promptseg.models.families.sam2.predictor import load_sam2

    with pytest.raises(ModelError, match=r"expected the weights of SAM 2 hiera_tiny .* looks like"):
        load_sam2(replace(card, arch="hiera_tiny", input_px=1024), checkpoint, Device("cpu"), "fp32")
    with pytest.raises(ModelError, match=r"expected the weights of SAM 2 tiny .* looks like SAM"):
        load_sam2(card, tiny_checkpoint, Device("cpu"), "fp32")
    with pytest.raises(ModelError, match="did you mean 'hiera_tiny'"):
        load_sam2(replace(card, arch="hiera_tny"), checkpoint, Device("cpu"), "fp32")


@pytest.mark.usefixtures("segment_anything")  # repairs torchvision, which transformers looks at
@pytest.mark.parametrize(
    ("arch", "millions"),
    [("hiera_tiny", 38.9), ("hiera_small", 46.0), ("hiera_base_plus", 80.8), ("hiera_large", 224.4)],
)
def test_full_sizes_have_the_published_number_of_parameters(arch, millions):
    """The table of the sam2 project's README; SAM 2.1 has the same networks and two small parts more."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoConfig
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoModel

    from promptseg.models.families.sam2 import predictor as network
    from promptseg.models.families.sam2 import shapes as sam2

    new = ("occlusion_spatial_embedding_parameter", "temporal_positional_encoding_projection_layer")
    with torch.device("meta"):
        whole = Sam2VideoModel(Sam2VideoConfig(vision_config=sam2.vision_config(sam2.HIERA[arch], 1024)))
        ours = network._build(arch, 1024).state_dict()
    counted = sum(p.numel() for name, p in whole.named_parameters() if not name.startswith(new))
    assert round(counted / 1e6, 1) == millions
    theirs = whole.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: theirs[name].shape for name in ours}
