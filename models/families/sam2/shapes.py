"""SAM 2's published sizes, and its checkpoints' keys as transformers names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptseg.errors import MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HIERA", "RENAMES", "TRACKING_KEYS", "HieraShape", "rename_keys", "vision_config"]


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
