"""SAM 2.1 and its fine-tunes: transformers' modules with the weights of the original project's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import MissingExtraError, ModelError, did_you_mean
from promptseg.models.checkpoints import match_keys, read_state
from promptseg.models.families.sam import SamOptions, SamPredictor, SamRunner
from promptseg.models.families.wire import WirePrompts
from promptseg.models.predictor import Carrier
from promptseg.models.registry import ModelCard
from promptseg.models.runtime import Device

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "HIERA",
    "RENAMES",
    "TRACKING_KEYS",
    "HieraShape",
    "Sam2Runner",
    "load_image_model",
    "load_sam2",
    "rename_keys",
    "vision_config",
    "with_memory",
]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]


@dataclass(frozen=True)
class HieraShape:
    """The numbers that make an image encoder (sam2/configs/sam2.1/*.yaml).

    Attributes:
        width: channels of the first stage; they double at every stage, as the heads do.
        heads: attention heads of the first stage.
        blocks: per stage.
        global_blocks: those without windows.
        windows: edge per stage.
        background: edge of the coarse part of the position table.
    """

    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background: int = 7


HIERA: dict[str, HieraShape] = {
    "hiera_tiny": HieraShape(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "hiera_small": HieraShape(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "hiera_base_plus": HieraShape(112, 2, (2, 3, 16, 3), (12, 16, 20), background=14),
    "hiera_large": HieraShape(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}

TRACKING_KEYS = (
    *("memory_attention.", "memory_encoder.", "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr"),
    *("no_obj_embed_spatial", "mask_downsample.", "obj_ptr_proj.", "obj_ptr_tpos_proj."),
    *("memory_temporal_positional_encoding", "no_memory_positional_encoding", "no_object_pointer"),
    *(
        "occlusion_spatial_embedding_parameter",
        "object_pointer_proj.",
        "temporal_positional_encoding_projection_layer.",
    ),
)
"""What the files hold for video, in sam2's and in transformers' names; see ``families/sam2_memory.py``."""

RENAMES: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"\.out_proj\.", ".o_proj."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.2\.", r"\1.proj_out."),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.1\.", r"\1.layers.0."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"^no_mem_embed$", "no_memory_embedding"),
)
"""From the names in sam2's files to those of transformers.models.sam2, in this order."""


def rename_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of sam2's own files under the names of transformers' modules, without ``TRACKING_KEYS``."""
    import torch

    renamed: dict[str, Tensor] = {}
    points: dict[int, Tensor] = {}
    for key, value in state.items():
        if key.startswith(TRACKING_KEYS):
            continue
        for pattern, replacement in RENAMES:
            key = re.sub(pattern, replacement, key)
        if key.endswith("pe_layer.positional_encoding_gaussian_matrix"):
            renamed["prompt_encoder.shared_embedding.positional_embedding"] = value
            renamed["shared_image_embedding.positional_embedding"] = value
        elif found := re.fullmatch(r"prompt_encoder\.point_embeddings\.(\d)\.weight", key):
            points[int(found[1])] = value
        else:
            renamed[key] = value
    if points:
        renamed["prompt_encoder.point_embed.weight"] = torch.cat([points[i] for i in sorted(points)])
    return renamed


def vision_config(shape: HieraShape, input_px: int) -> Any:
    """Transformers' description of an image encoder.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig, Sam2VisionConfig
    except ImportError as exc:
        raise MissingExtraError("transformers", "sam") from exc
    widths = [shape.width * 2**i for i in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        image_size=[input_px, input_px],
        blocks_per_stage=list(shape.blocks),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[shape.heads * 2**i for i in range(4)],
        window_size_per_stage=list(shape.windows),
        global_attention_blocks=list(shape.global_blocks),
        window_positional_embedding_background_size=[shape.background] * 2,
    )
    return Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[input_px // stride] * 2 for stride in (4, 8, 16)],
    )


def _build(arch: str, input_px: int) -> Any:
    """The network without weights."""
    shape = HIERA.get(arch)
    if shape is None:
        raise ModelError(f"expected an architecture ({', '.join(HIERA)}), got {arch!r}{did_you_mean(arch, HIERA)}")
    vision = vision_config(shape, input_px)
    from transformers.models.sam2 import modeling_sam2
    from transformers.models.sam2.configuration_sam2 import Sam2Config, Sam2PromptEncoderConfig

    return modeling_sam2.Sam2Model(
        Sam2Config(vision_config=vision, prompt_encoder_config=Sam2PromptEncoderConfig(image_size=input_px))
    ).eval()


def load_image_model(card: ModelCard, checkpoint: Path) -> Any:
    """Transformers' ``Sam2Model`` in fp32 on the CPU with a checkpoint's weights; see ``load_sam2`` for the errors."""
    file = card.file("checkpoint")
    state = read_state(checkpoint, file.bytes if file is not None else 0)
    model = _build(card.arch, card.input_px or 1024)
    is_original = any(key.startswith("sam_mask_decoder.") for key in state)
    if not is_original and any(key.startswith(("image_encoder.", "prompt_encoder.pe_layer")) for key in state):
        match_keys(state, model.state_dict(), f"SAM 2 {card.arch} in {checkpoint}")
    named = rename_keys(state) if is_original else dict(state)
    fitting = match_keys(named, model.state_dict(), f"SAM 2 {card.arch} in {checkpoint}", ignored=TRACKING_KEYS)
    model.load_state_dict({key: value.float() for key, value in fitting.items()})
    return model.requires_grad_(False)


def load_sam2(
    card: ModelCard, checkpoint: Path, device: Device, precision: str, *, compiled: bool = False
) -> SamPredictor:
    """Load a checkpoint of the original project (.pt) or one saved by transformers (.safetensors).

    Raises:
        ModelError: unknown architecture; or the file is unsafe, damaged, or another architecture's.
        MissingExtraError: torch or transformers is not installed.
    """
    model = load_image_model(card, checkpoint)
    runner = Sam2Runner(model, card.input_px or 1024, device, precision, compiled=compiled)
    return with_memory(runner, card, checkpoint, device, precision)


def with_memory(runner: SamRunner, card: ModelCard, checkpoint: Path, device: Device, precision: str) -> SamPredictor:
    """A predictor on any runtime whose memory, when it is asked for, runs on torch from the same checkpoint."""

    def open_carrier() -> Carrier | None:
        from promptseg.models.families.sam2_memory import load_carrier

        return load_carrier(card, checkpoint, device, precision)

    return SamPredictor(runner, card.id, SamOptions("sam2", card.score), open_carrier)


class Sam2Runner:
    """See ``families.sam.SamRunner``; transformers' ``Sam2Model`` on torch."""

    has_single = False  # the decoder itself falls back to the best of three when its single answer is unstable
    takes_mask = True
    any_size = False

    def __init__(
        self, model: Any, input_px: int, device: Device, precision: str = "fp32", *, compiled: bool = False
    ) -> None:
        import torch

        self._device = torch.device(str(device))
        self._model = model.to(self._device)
        if compiled:
            self._model.vision_encoder.backbone.compile()
        self._type = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self.input_px = input_px
        self.low_px = input_px // 4
        self.nbytes = sum(p.numel() * p.element_size() for p in model.parameters())
        how = ", compiled" if compiled else ""
        self.described = f"torch {torch.__version__.split('+')[0]} on {device}, {precision}{how}"

    def _autocast(self) -> Any:
        import torch

        return nullcontext() if self._type is None else torch.autocast(self._device.type, self._type)

    def encode(self, batch: FloatArray) -> list[Features]:
        """(n, 3, h, w) -> n times "image" (256, h/16, w/16), "fine" (64, h/8, w/8) and "finest" (32, h/4, w/4)."""
        import torch

        with torch.inference_mode(), self._autocast():
            levels = self._model.get_image_embeddings(torch.from_numpy(batch).to(self._device))
        finest, fine, image = (np.asarray(level.float().cpu().numpy()) for level in levels)
        return [{"image": image[i], "fine": fine[i], "finest": finest[i]} for i in range(len(batch))]

    def decode(self, features: Features, wire: WirePrompts, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """One slice's arrays and prompts -> logits (k, h/4, w/4), qualities (k,).

        A carried mask's quality is 0 where the network says that the object is not in the picture.
        """
        import torch

        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

        real = wire.labels >= 0  # the network pads by itself
        levels = [tensor(features[name][None]) for name in ("finest", "fine", "image")]
        mask = None if wire.mask is None else tensor(wire.mask[None, None])
        with torch.inference_mode(), self._autocast():
            out = self._model(
                image_embeddings=levels,
                input_points=tensor(wire.coords[real][None, None]),
                input_labels=tensor(wire.labels[real].astype(np.int64)[None, None]),
                input_masks=mask,
                multimask_output=wire.is_ambiguous,
            )
        scores = np.asarray(out.iou_scores[0, 0].float().cpu().numpy())
        if wire.is_carried and float(out.object_score_logits.flatten()[0]) < 0:
            scores = np.zeros_like(scores)
        return np.asarray(out.pred_masks[0, 0].float().cpu().numpy()), scores
