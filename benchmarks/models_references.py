"""What ours must equal: the reference implementations of SAM's family, with random weights of the real sizes.

| name | network | from a slice to logits |
|---|---|---|
| sam | segment-anything's own | its ``SamPredictor`` |
| medsam | the same | the lines of MedSAM's MedSAM_Inference.py @3e56a52 |
| mobile-sam | timm's TinyViT blocks between segment-anything's parts, in tiny_vit_sam.py's order | ``SamPredictor`` |
| lite-medsam | the same at 256 px, with kernels of one pixel first | MedSAM's CVPR24_LiteMedSAM_infer.py @0c044e9 |
| sam2 | transformers' ``Sam2Model`` | sam2's utils/transforms.py |

MedSAM's scripts enlarge probabilities and cut them at 0.5; here logits are enlarged, as everywhere else. Used by the
benchmarks and the tests; nothing of the product imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

VITS = ("vit_b", "vit_l", "vit_h")
VIT_LOGITS = 20.0


@dataclass(frozen=True)
class TinyShape:
    """TinyViT's numbers; the defaults are those of MobileSAM's build_sam.py."""

    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)


def randomise(network: nn.Module, gain: float = 1.5) -> nn.Module:
    """Draw all weights but the norms' so wide that answers vary; zeros would hide what is multiplied by them.

    ``gain``: deviation of what a layer makes of ones; the deeper a network, the less of it keeps masks from becoming
    all or nothing.
    """
    torch.manual_seed(6)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and not any(kept in name for kept in ("norm", "gaussian", "positional")):
                value.normal_(std=0.3 if value.ndim < 2 else gain / value[0].numel() ** 0.5)
    return network.eval()


def tiny_sam(edge_px: int, stride: int, shape: TinyShape | None = None) -> nn.Module:
    """segment_anything's ``Sam`` around timm's blocks; stride 16 is MobileSAM's start, 4 LiteMedSAM's."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    edge = edge_px // stride
    prompts = PromptEncoder(256, (edge, edge), (edge_px, edge_px), 16)
    masks = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048))
    return randomise(Sam(TinyEncoder(edge_px, stride, shape or TinyShape()), prompts, masks))


class TinyStage(nn.Module):
    """Blocks of one width, and the step to the next."""

    def __init__(self, index: int, shape: TinyShape) -> None:
        super().__init__()
        from timm.models import tiny_vit

        width = shape.widths[index]
        self.is_flat = index > 0
        self.blocks = nn.ModuleList(
            tiny_vit.TinyVitBlock(width, shape.heads[index], shape.windows[index])
            if self.is_flat
            else tiny_vit.MBConv(width, width, 4.0, nn.GELU, 0.0)
            for _ in range(shape.depths[index])
        )
        if index < 3:
            self.downsample = tiny_vit.PatchMerging(width, shape.widths[index + 1], nn.GELU)
        if index == 2:  # the embedding keeps this resolution
            self.downsample.conv2.conv.stride = (1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) -> the same, or wider and halved."""
        for block in self.blocks:
            x = block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if self.is_flat else block(x)
        return self.downsample(x) if hasattr(self, "downsample") else x


class TinyEncoder(nn.Module):
    """TinyViT with SAM's neck."""

    def __init__(self, edge_px: int, stride: int, shape: TinyShape) -> None:
        super().__init__()
        from segment_anything.modeling.common import LayerNorm2d
        from timm.models import tiny_vit

        first, last = shape.widths[0], shape.widths[3]
        self.img_size = edge_px
        if stride == 16:
            self.patch_embed = tiny_vit.PatchEmbed(3, first, nn.GELU)
        else:  # MedSAM, distillation/tiny_vit_sam.py
            self.patch_embed = nn.Sequential()
            self.patch_embed.add_module("conv1", tiny_vit.ConvNorm(3, first // 2, 1))
            self.patch_embed.add_module("act", nn.GELU())
            self.patch_embed.add_module("conv2", tiny_vit.ConvNorm(first // 2, first, 1))
        self.layers = nn.ModuleList(TinyStage(index, shape) for index in range(4))
        self.neck = nn.Sequential(
            nn.Conv2d(last, 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, edge_px, edge_px) -> (n, 256, edge, edge)."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)


def tiny_state(sam: nn.Module) -> dict[str, torch.Tensor]:
    """timm's names to those in the projects' checkpoints."""
    state = {}
    for key, value in sam.state_dict().items():
        name = key.replace(".conv.", ".c.").replace("patch_embed.conv1", "patch_embed.seq.0")
        name = name.replace("patch_embed.conv2", "patch_embed.seq.2")
        if "attention_bias_idxs" not in name:
            state[name] = value
    return state


def build(arch: str, px: int = 1024) -> nn.Module:
    """A reference network, by the name that the model manager has for its architecture; always the same weights.

    ``px`` is the edge of SAM 2's input; the others have their own.
    """
    torch.manual_seed(5)  # tables of positions are drawn where the network is made
    if arch in VITS:
        return _vit(arch)
    if arch.startswith("vit_t"):
        return tiny_sam(*((256, 4) if arch == "vit_t_256" else (1024, 16)))
    if arch == "hiera_tiny" and px == 1024:
        from transformers.models.sam2 import Sam2Config, Sam2Model

        model = Sam2Model(Sam2Config())  # its defaults are SAM 2.1 tiny
    else:
        from promptseg.models.families.sam2.predictor import _build

        model = _build(arch, px)  # transformers' classes by the model manager's table of sizes
    places = model.shared_image_embedding.positional_embedding
    with torch.no_grad():  # one table in the original, two copies here
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(places)
    return randomise(model, gain=1.0)


def _vit(arch: str) -> nn.Module:
    from segment_anything import sam_model_registry

    sam = randomise(sam_model_registry[arch](), gain=1.0)
    with torch.no_grad():  # logits of a trained network's size
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[2].weight *= VIT_LOGITS
            mlp.layers[2].bias *= VIT_LOGITS
    return sam


def save(network: nn.Module, arch: str, folder: Path) -> Path:
    """Write a checkpoint as the architecture's project does; SAM 2's as transformers does."""
    path = folder / ("weights.safetensors" if arch.startswith("hiera") else "weights.pth")
    if arch.startswith("hiera"):
        from safetensors.torch import save_file

        save_file({k: v.contiguous().clone() for k, v in network.state_dict().items()}, path)
    else:
        torch.save(tiny_state(network) if arch.startswith("vit_t") else network.state_dict(), path)
    return path


class SamReference:
    """``SamPredictor``; a reference keeps one slice between ``embed`` and the prompts.

    Slices are uint8 (h, w) or (h, w, 3); places are (x, y), boxes (x0, y0, x1, y1) with both corners inside.
    """

    def __init__(self, network: Any, device: str = "cpu") -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(network.to(device))

    def embed(self, image: np.ndarray) -> None:
        """The expensive part."""
        self._predictor.set_image(_rgb(image))

    def click(self, place: np.ndarray) -> np.ndarray:
        """The best of three answers, (h, w)."""
        masks, scores, _ = self._predictor.predict(place[None], np.array([1]), return_logits=True)
        return masks[scores.argmax()]

    def box(self, box: np.ndarray) -> np.ndarray:
        """The single answer, (h, w)."""
        return self._predictor.predict(box=box, multimask_output=False, return_logits=True)[0][0]


class MedSamReference:
    """MedSAM's script: stretched to the square, min-max; boxes only."""

    def __init__(self, network: Any, device: str = "cpu") -> None:
        self._network, self._device = network.to(device), device
        self._edge = network.image_encoder.img_size

    def _input(self, image: np.ndarray) -> np.ndarray:
        from skimage.transform import resize

        edge = (self._edge, self._edge)
        small = resize(_rgb(image), edge, order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
        return (small - small.min()) / np.clip(small.max() - small.min(), 1e-8, None)

    def _boxed(self, box: np.ndarray) -> np.ndarray:
        h, w = self._shape
        return box / np.array([w, h, w, h]) * self._edge

    def _back(self, low: torch.Tensor) -> torch.Tensor:
        return interpolate(low, self._shape, mode="bilinear")

    @torch.no_grad()
    def embed(self, image: np.ndarray) -> None:
        """The expensive part."""
        self._shape = image.shape[:2]
        pixels = torch.tensor(self._input(image)).float().permute(2, 0, 1)[None]
        self._features = self._network.image_encoder(pixels.to(self._device))

    @torch.no_grad()
    def box(self, box: np.ndarray) -> np.ndarray:
        """The single answer, (h, w)."""
        boxes = torch.as_tensor(self._boxed(box), dtype=torch.float, device=self._device)[None, None]
        prompts = self._network.prompt_encoder
        sparse, dense = prompts(points=None, boxes=boxes, masks=None)
        places = prompts.get_dense_pe()
        low, _ = self._network.mask_decoder(self._features, places, sparse, dense, multimask_output=False)
        return self._back(low)[0, 0].cpu().numpy()


class LiteMedSamReference(MedSamReference):
    """LiteMedSAM's script: long side to the edge, min-max, padded; boxes only."""

    def _input(self, image: np.ndarray) -> np.ndarray:
        h, w = image.shape[:2]
        scale = self._edge / max(h, w)
        self._new = (int(h * scale + 0.5), int(w * scale + 0.5))
        small = cv2.resize(_rgb(image), self._new[::-1], interpolation=cv2.INTER_AREA)
        small = (small - small.min()) / np.clip(small.max() - small.min(), 1e-8, None)
        return np.pad(small, ((0, self._edge - self._new[0]), (0, self._edge - self._new[1]), (0, 0)))

    def _boxed(self, box: np.ndarray) -> np.ndarray:
        return (box * (self._edge / max(self._shape))).astype(int)

    def _back(self, low: torch.Tensor) -> torch.Tensor:
        return super()._back(low[..., : self._new[0], : self._new[1]])


class Sam2Reference:
    """transformers' ``Sam2Model`` behind sam2's own way from a slice to its input."""

    def __init__(self, network: Any, device: str = "cpu") -> None:
        self._network, self._device = network.to(device), device
        self._edge = network.config.prompt_encoder_config.image_size

    @torch.no_grad()
    def embed(self, image: np.ndarray) -> None:
        """The expensive part."""
        self._shape = image.shape[:2]
        pixels = torch.from_numpy(_rgb(image).copy()).permute(2, 0, 1)[None].float() / 255
        pixels = interpolate(pixels, (self._edge, self._edge), mode="bilinear", antialias=True)
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (pixels - mean[:, None, None]) / deviation[:, None, None]
        self._features = self._network.get_image_embeddings(pixels.to(self._device))

    def click(self, place: np.ndarray) -> np.ndarray:
        """The best of three answers, (h, w)."""
        return self._answer(True, input_points=self._scaled(place).view(1, 1, 1, 2))

    def box(self, box: np.ndarray) -> np.ndarray:
        """The single answer, (h, w)."""
        return self._answer(False, input_boxes=self._scaled(box.reshape(2, 2)).view(1, 1, 4))

    def _scaled(self, places: np.ndarray) -> torch.Tensor:
        h, w = self._shape
        scale = torch.tensor([self._edge / w, self._edge / h])
        return (torch.as_tensor(places, dtype=torch.float) * scale).to(self._device)

    @torch.no_grad()
    def _answer(self, is_ambiguous: bool, **prompts: torch.Tensor) -> np.ndarray:
        out = self._network(image_embeddings=self._features, multimask_output=is_ambiguous, **prompts)
        best = int(out.iou_scores[0, 0].argmax())
        low = out.pred_masks[:, 0, best, None]
        return interpolate(low, self._shape, mode="bilinear", align_corners=False)[0, 0].cpu().numpy()


REFERENCES = {
    "sam": SamReference,
    "medsam": MedSamReference,
    "mobile-sam": SamReference,
    "lite-medsam": LiteMedSamReference,
    "sam2": Sam2Reference,
}


def distance(ours: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[float, float]:
    """(largest difference of logits, smallest overlap of masks) over the answers that both have."""
    pairs = list(zip(ours, theirs, strict=False))
    overlaps = [((a > 0) & (b > 0)).sum() / max(1, ((a > 0) | (b > 0)).sum()) for a, b in pairs]
    return max(float(np.abs(a - b).max()) for a, b in pairs), float(min(overlaps))


def _rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
