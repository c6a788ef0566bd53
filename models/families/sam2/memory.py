"""SAM 2's memory: a mask carried through a stack with what was seen on the slices before.

After sam2 (Ravi et al. 2024, sam2/modeling/sam2_base.py), on transformers' modules of the same weights. What they keep
in a session and sam2 in an ``inference_state`` is a value here: the anchors' memories, those of the last six slices,
and the object pointers of the last fifteen (``num_maskmem`` 7, ``max_obj_ptrs_in_encoder`` 16).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.models.checkpoints import match_keys, read_state
from promptseg.models.families.sam.frames import Frame
from promptseg.models.families.sam2.shapes import RENAMES, TRACKING_KEYS, HieraShape, rename_keys, vision_config
from promptseg.models.predictor import Embedding, Prediction
from promptseg.models.runtime import Device
from promptseg.models.weights.registry import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sam2Carrier", "Sam2Memory", "load_carrier"]

FloatArray = NDArray[np.float32]

RECENT = 6  # slices whose memory is looked at besides the anchors': num_maskmem - 1
POINTERS = 15  # slices whose object pointer is looked at: max_obj_ptrs_in_encoder - 1
NOWHERE = -10.0  # logit of an answer that says that there is no object
NO_ENCODER = HieraShape(8, 1, (1, 1, 1, 1), (), background=7)  # stands where this file needs none

TRACKING_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^memory_attention\.norm\.", "memory_attention.layer_norm."),
    (r"^memory_encoder\.mask_downsampler\.encoder\.12\.", "memory_encoder.mask_downsampler.final_conv."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
    (r"(memory_fuser\.layers\.\d+)\.norm\.", r"\1.layer_norm."),
    (r"\.gamma$", ".scale"),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^obj_ptr_proj\.layers\.0\.", "object_pointer_proj.proj_in."),
    (r"^obj_ptr_proj\.layers\.1\.", "object_pointer_proj.layers.0."),
    (r"^obj_ptr_proj\.layers\.2\.", "object_pointer_proj.proj_out."),
    *RENAMES,
)
"""From the names in sam2's files to those of transformers.models.sam2_video, in this order."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is remembered of one slice.

    Attributes:
        index: where it lies in its stack.
        is_anchor: a person has prompted or accepted it.
        features: (tokens, 1, 64) in bf16 on the model's device; None where the slice is too far back.
        pointer: (1, 256), the object in one vector.
    """

    index: int
    is_anchor: bool
    features: Tensor | None
    pointer: Tensor


@dataclass(frozen=True, eq=False)
class Sam2Memory:
    """Slices in the order in which they were seen; the family's own, see ``predictor.Carrier``."""

    model_id: str
    seen: tuple[Seen, ...] = ()

    def with_slice(self, new: Seen) -> Sam2Memory:
        """Return the memory with one more slice; what no later slice can look at is dropped."""
        kept = []
        for old in self.seen:
            behind = abs(new.index - old.index)
            if old.index == new.index or (not old.is_anchor and behind >= POINTERS):
                continue
            kept.append(replace(old, features=None) if not old.is_anchor and behind >= RECENT else old)
        return Sam2Memory(self.model_id, (*kept, new))


def load_carrier(card: ModelCard, checkpoint: Path, device: Device, precision: str) -> Sam2Carrier | None:
    """Load what a checkpoint holds for video; None when it holds image mode only.

    Raises:
        ModelError: the file is unsafe, damaged, or holds another architecture's memory.
        MissingExtraError: torch or transformers is not installed.
    """
    file = card.file("checkpoint")
    state = read_state(checkpoint, file.bytes if file is not None else 0)
    if not any(key.startswith("memory_encoder.") for key in state):
        return None
    tracker = _build_tracker(card.input_px or 1024)
    named = {k: v for k, v in _named(state).items() if not k.startswith("vision_encoder.")}
    fitting = match_keys(named, tracker.state_dict(), f"the memory of SAM 2 in {checkpoint}")
    tracker.load_state_dict({key: value.float() for key, value in fitting.items()})
    return Sam2Carrier(tracker.requires_grad_(False), card, device, precision)


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not any(key.startswith("sam_mask_decoder.") for key in state):
        return dict(state)
    named = rename_keys(state)
    for key, value in state.items():
        if key.startswith(TRACKING_KEYS):
            named[_tracking_name(key)] = value
    return named


def _tracking_name(key: str) -> str:
    layer = re.match(r"memory_encoder\.mask_downsampler\.encoder\.(\d+)\.", key)
    if layer and layer[1] != "12":  # convolution, norm and activation in turns
        kind = ("conv", "layer_norm")[int(layer[1]) % 3]
        return f"memory_encoder.mask_downsampler.layers.{int(layer[1]) // 3}.{kind}.{key.rpartition('.')[2]}"
    for pattern, replacement in TRACKING_RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _build_tracker(input_px: int) -> Any:
    """Transformers' video model without weights and without its image encoder."""
    vision = vision_config(NO_ENCODER, input_px)
    from transformers.models.sam2_video import modeling_sam2_video
    from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoConfig, Sam2VideoPromptEncoderConfig

    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(image_size=input_px),
        image_size=input_px,
        memory_attention_rope_feat_sizes=[input_px // 16] * 2,
    )
    tracker = modeling_sam2_video.Sam2VideoModel(config).eval()
    tracker.position_encoding = tracker.vision_encoder.neck.position_encoding
    tracker.vision_encoder = None
    return tracker


class Sam2Carrier:
    """See ``promptseg.models.predictor.Carrier``.

    Args:
        tracker: see ``_build_tracker``, with weights.
        card: whose weights they are.
        device: where it runs.
        precision: fp32, bf16 or fp16.
    """

    def __init__(self, tracker: Any, card: ModelCard, device: Device, precision: str) -> None:
        import torch

        self._device = torch.device(str(device))
        self._tracker = tracker.to(self._device)
        self._model_id = card.id
        self._input_px = card.input_px or 1024
        self._type = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        edge = self._input_px // 16
        self._places = self._sines(tracker.position_encoding, 256, edge)
        self._memory_places = self._sines(tracker.memory_encoder.position_encoding, tracker.mem_dim, edge)
        self.nbytes = sum(p.numel() * p.element_size() for p in tracker.parameters())

    def _sines(self, encoding: Any, channels: int, edge: int) -> Tensor:
        import torch

        made: Tensor = encoding(torch.Size((1, channels, edge, edge)), self._device, torch.float32)
        return made.flatten(2).permute(2, 0, 1)

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        return nullcontext() if self._type is None else torch.autocast(self._device.type, self._type)

    def remember(self, embedding: Embedding, logits: FloatArray, index: int, memory: object | None = None) -> object:
        """Take a slice's mask as the truth, as sam2's ``add_new_mask`` does."""
        import torch

        known = self._mine(memory) if memory is not None else Sam2Memory(self._model_id)
        mask = torch.from_numpy(np.ascontiguousarray(logits > 0, np.float32)).to(self._device)[None, None]
        square = (self._input_px, self._input_px)
        with torch.inference_mode(), self._autocast():
            mask = torch.nn.functional.interpolate(mask, square, mode="bilinear", antialias=True)
            *fine, plain = self._levels(embedding)
            out = self._tracker._use_mask_as_output(plain, fine, (mask >= 0.5).float())
            return known.with_slice(self._seen(plain, out, index, is_anchor=True))

    def carry(self, embedding: Embedding, index: int, memory: object) -> tuple[Prediction, object]:
        """Answer with the memory alone, as sam2's ``propagate_in_video`` does."""
        import torch

        known = self._mine(memory)
        with torch.inference_mode(), self._autocast():
            *fine, plain = self._levels(embedding)
            informed = self._informed(_flat(plain), index, known).squeeze(1).transpose(1, 2).reshape(plain.shape)
            out = self._tracker._single_frame_forward(image_embeddings=[*fine, informed], multimask_output=True)
            after = known.with_slice(self._seen(plain, out, index, is_anchor=False))
        if float(out.object_score_logits.flatten()[0]) <= 0:
            return Prediction(np.full(embedding.shape, NOWHERE, np.float32), 0.0), after
        inner = embedding.features["inner"]
        frame = Frame("sam2", embedding.shape, (int(inner[0]), int(inner[1])), self._input_px)
        low = np.asarray(out.pred_masks.float().cpu().numpy()).reshape(out.pred_masks.shape[-2:])
        score = min(1.0, max(0.0, float(out.iou_scores.max())))
        return Prediction(frame.restore(low), score), after

    def _mine(self, memory: object) -> Sam2Memory:
        if not isinstance(memory, Sam2Memory) or memory.model_id != self._model_id:
            kind = getattr(memory, "model_id", type(memory).__name__)
            raise ModelError(f"expected a memory made by {self._model_id!r}, got one by {kind!r}")
        return memory

    def _levels(self, embedding: Embedding) -> list[Tensor]:
        """Finest, fine and coarse features; the coarse ones without the "nothing is remembered" of image mode."""
        import torch

        if embedding.model_id != self._model_id:
            raise ModelError(f"expected an embedding made by {self._model_id!r}, got one by {embedding.model_id!r}")
        names = ("finest", "fine", "image")
        levels = [torch.from_numpy(embedding.features[name][None]).to(self._device) for name in names]
        levels[-1] = levels[-1] - self._tracker.no_memory_embedding.reshape(1, -1, 1, 1)
        return levels

    def _seen(self, plain: Tensor, out: Any, index: int, *, is_anchor: bool) -> Seen:
        """Turn a slice's answer into a memory of it."""
        features, _ = self._tracker._encode_new_memory(
            current_vision_feats=_flat(plain),
            pred_masks_high_res=out.high_res_masks,
            object_score_logits=out.object_score_logits,
            is_mask_from_pts=is_anchor,
        )
        return Seen(index, is_anchor, features, out.object_pointer)

    def _informed(self, flat: Tensor, index: int, known: Sam2Memory) -> Tensor:
        """Mix the memories into a slice's features (tokens, 1, 256)."""
        import torch

        tracker, anchors = self._tracker, [s for s in known.seen if s.is_anchor]
        if not anchors:
            raise ModelError("expected a memory with an anchor in it; call remember first")
        recent = {abs(index - s.index): s for s in known.seen if not s.is_anchor}
        looked = [(0, s.features) for s in anchors]
        looked += [(behind, recent[behind].features) for behind in range(RECENT, 0, -1) if behind in recent]
        memories = [features for _, features in looked if features is not None]
        steps = tracker.memory_temporal_positional_encoding  # the last row is for anchors
        places = [self._memory_places + steps[behind - 1] for behind, features in looked if features is not None]
        ahead = index - known.seen[-1].index
        told = [(abs(index - s.index), s.pointer) for s in anchors if (index - s.index) * ahead >= 0]
        told += [(behind, recent[behind].pointer) for behind in range(1, POINTERS + 1) if behind in recent]
        pointers, pointer_places = tracker._process_object_pointers(
            [behind for behind, _ in told], [p for _, p in told], POINTERS + 1, 1, tracker.hidden_dim, self._device
        )
        informed: Tensor = tracker.memory_attention(
            flat,
            torch.cat([*memories, pointers]).float(),
            self._places,
            torch.cat([*places, pointer_places]),
            len(pointers),
        )
        return informed


def _flat(features: Tensor) -> Tensor:
    """(1, c, h, w) -> (h w, 1, c)."""
    return features.flatten(2).permute(2, 0, 1)
