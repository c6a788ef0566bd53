"""MobileSAM and LiteMedSAM as whole networks: timm's blocks between segment-anything's own parts, on real slices."""

import cv2
import numpy as np
import pytest

from promptseg.models.predictor import SliceImage, SlicePrompts
from promptseg.models.runtime import Device

torch = pytest.importorskip("torch", reason="torch is not installed")

from promptseg.models.families.sam import SamOptions, SamPredictor  # noqa: E402
from promptseg.models.families.sam_torch import TorchSamRunner  # noqa: E402
from promptseg.models.networks import architectures  # noqa: E402
from promptseg.models.networks.tiny_vit import TinyVitShape  # noqa: E402

WIDTHS, DEPTHS, HEADS, WINDOWS = (16, 32, 40, 80), (1, 1, 2, 1), (1, 2, 2, 4), (7, 7, 14, 7)
MAX_ABS, LEAST_IOU = 1e-3, 0.999
SHAPE = {"widths": WIDTHS, "depths": DEPTHS, "heads": HEADS, "windows": WINDOWS}


def build_reference(edge_px, stride):
    """segment_anything's Sam around timm's TinyViT blocks, in the order of the projects' tiny_vit_sam.py."""
    blocks = pytest.importorskip("timm.models.tiny_vit", reason="timm is not installed")
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from segment_anything.modeling.common import LayerNorm2d

    nn, gelu = torch.nn, torch.nn.GELU

    class Stage(nn.Module):
        def __init__(self, index):
            super().__init__()
            width = WIDTHS[index]
            self.blocks = nn.ModuleList(
                blocks.MBConv(width, width, 4.0, gelu, 0.0)
                if index == 0
                else blocks.TinyVitBlock(width, HEADS[index], WINDOWS[index])
                for _ in range(DEPTHS[index])
            )
            self.is_flat = index > 0
            if index < 3:
                self.downsample = blocks.PatchMerging(width, WIDTHS[index + 1], gelu)
            if index == 2:  # the embedding keeps this resolution
                self.downsample.conv2.conv.stride = (1, 1)

        def forward(self, x):
            for block in self.blocks:
                x = block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if self.is_flat else block(x)
            return self.downsample(x) if hasattr(self, "downsample") else x

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.img_size = edge_px
            if stride == 16:
                self.patch_embed = blocks.PatchEmbed(3, WIDTHS[0], gelu)
            else:  # LiteMedSAM: kernels of one pixel (MedSAM, distillation/tiny_vit_sam.py)
                norm = blocks.ConvNorm
                self.patch_embed = nn.Sequential()
                self.patch_embed.add_module("conv1", norm(3, WIDTHS[0] // 2, 1))
                self.patch_embed.add_module("act", gelu())
                self.patch_embed.add_module("conv2", norm(WIDTHS[0] // 2, WIDTHS[0], 1))
            self.layers = nn.ModuleList(Stage(index) for index in range(4))
            self.neck = nn.Sequential(
                nn.Conv2d(WIDTHS[3], 256, 1, bias=False),
                LayerNorm2d(256),
                nn.Conv2d(256, 256, 3, padding=1, bias=False),
                LayerNorm2d(256),
            )

        def forward(self, x):
            x = self.patch_embed(x)
            for layer in self.layers:
                x = layer(x)
            return self.neck(x)

    edge = edge_px // stride
    torch.manual_seed(6)
    sam = Sam(
        Encoder(),
        PromptEncoder(256, (edge, edge), (edge_px, edge_px), 16),
        MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048)),
    )
    with torch.no_grad():
        for name, value in sam.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and "norm" not in name and "gaussian" not in name:
                value.normal_(std=0.3 if value.ndim < 2 else 1.5 / value[0].numel() ** 0.5)
    return sam.eval()


def as_their_project_saves_it(sam):
    """timm's names to those in the projects' checkpoints."""
    state = {}
    for key, value in sam.state_dict().items():
        name = key.replace(".conv.", ".c.").replace("patch_embed.conv1", "patch_embed.seq.0")
        name = name.replace("patch_embed.conv2", "patch_embed.seq.2")
        if "attention_bias_idxs" not in name:
            state[name] = value
    return state


def load(monkeypatch, tmp_path, sam, shape, options):
    monkeypatch.setitem(architectures.ARCHITECTURES, "small", shape)
    torch.save(as_their_project_saves_it(sam), tmp_path / "w.pt")
    return SamPredictor(TorchSamRunner.from_checkpoint("small", tmp_path / "w.pt", Device("cpu")), "small", options)


def check(ours, theirs):
    assert np.abs(theirs).max() > 0.1
    assert theirs.std() > 0.05
    assert np.abs(ours.logits - theirs).max() <= MAX_ABS
    assert (ours.mask & (theirs > 0)).sum() >= LEAST_IOU * (ours.mask | (theirs > 0)).sum()


@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT", "X-ray", "ultrasound in colour"])
def test_mobile_sam_equals_its_reference(segment_anything, monkeypatch, tmp_path, slices, which):
    sam, image = build_reference(192, 16), slices[which]
    predictor = load(monkeypatch, tmp_path, sam, TinyVitShape(192, **SHAPE), SamOptions())
    h, w = image.shape[:2]
    reference = segment_anything.SamPredictor(sam)
    reference.set_image(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2))
    embedding = predictor.embed(SliceImage(image.astype(np.float32) / 255))
    click = np.array([[w * 0.4, h * 0.6]])
    masks, scores, _ = reference.predict(click, np.array([1]), multimask_output=True, return_logits=True)
    lone = SlicePrompts(click[:, ::-1].astype(np.float32), np.array([True]))
    check(predictor.predict(embedding, lone), masks[scores.argmax()])
    box = np.array([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round()
    masks, _, _ = reference.predict(box=box, multimask_output=False, return_logits=True)
    check(predictor.predict(embedding, SlicePrompts(box=(box[1], box[0], box[3] + 1, box[2] + 1))), masks[0])


@pytest.mark.parametrize("which", [0, 1], ids=["CT", "X-ray"])
@pytest.mark.usefixtures("segment_anything")
def test_lite_medsam_equals_its_reference(monkeypatch, tmp_path, slices, which):
    """The steps of its own script (CVPR24_LiteMedSAM_infer.py): resize, min-max, pad, box, crop, resize."""
    edge, image = 64, slices[which]
    sam = build_reference(edge, 4)
    shape = TinyVitShape(edge, strided_start=False, **SHAPE)
    predictor = load(monkeypatch, tmp_path, sam, shape, SamOptions("lite-medsam"))
    h, w = image.shape
    scale = edge / max(h, w)
    new = (int(h * scale + 0.5), int(w * scale + 0.5))
    small = cv2.resize(np.repeat(image[..., None], 3, 2), new[::-1], interpolation=cv2.INTER_AREA)
    small = (small - small.min()) / np.clip(small.max() - small.min(), 1e-8, None)
    padded = np.pad(small, ((0, edge - new[0]), (0, edge - new[1]), (0, 0)))
    box = np.array([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round()
    with torch.no_grad():
        features = sam.image_encoder(torch.tensor(padded).float().permute(2, 0, 1)[None])
        scaled = torch.tensor((box * (edge / max(h, w))).astype(int), dtype=torch.float32)
        sparse, dense = sam.prompt_encoder(points=None, boxes=scaled[None, None], masks=None)
        low, _ = sam.mask_decoder(features, sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False)
        theirs = torch.nn.functional.interpolate(low[..., : new[0], : new[1]], (h, w), mode="bilinear")[0, 0].numpy()
    embedding = predictor.embed(SliceImage(image.astype(np.float32) / 255))
    check(predictor.predict(embedding, SlicePrompts(box=(box[1], box[0], box[3] + 1, box[2] + 1))), theirs)
