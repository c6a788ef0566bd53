"""SAM 2.1 on ONNX Runtime: the two networks that are written, and the runner that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.models.checkpoints import weights_bytes
from promptseg.models.families.sam.onnx_sessions import describe, open_encoder, open_session
from promptseg.models.families.sam.planes import Planes, inputs
from promptseg.models.families.sam.wire import WirePrompts
from promptseg.models.runtime import Placement

__all__ = ["DECODER_INPUTS", "DECODER_OUTPUTS", "ENCODER_OUTPUTS", "Sam2OnnxRunner", "choose_masks", "traceable"]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]

ENCODER_OUTPUTS = ("image", "fine", "finest")
DECODER_INPUTS = (*ENCODER_OUTPUTS, "point_coords", "point_labels", "mask_input", "has_mask_input")
DECODER_OUTPUTS = ("low_res_masks", "iou_predictions", "object_score")
STABILITY_OFFSET, STABILITY_LEAST = 0.05, 0.98
"""dynamic_multimask_stability_delta and _thresh of sam2/configs/sam2.1/*.yaml."""


def traceable(model: Any) -> tuple[Any, Any]:
    """Transformers' ``Sam2Model`` as two modules with arrays only, for export.

    The encoder gives ``ENCODER_OUTPUTS``; the decoder takes ``DECODER_INPUTS`` (points padded with one of label -1) and
    gives all four masks and qualities, so that the choice among them is made outside, by ``choose_masks``.
    """
    import torch
    from torch import nn

    model.set_attn_implementation("eager")

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, pixels: Any) -> Any:
            return tuple(self.inner.get_image_embeddings(pixels)[::-1])

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prompts, self.masks = model.prompt_encoder, model.mask_decoder
            with torch.no_grad():
                self.register_buffer("positions", model.get_image_wide_positional_embeddings())

        def forward(self, image: Any, fine: Any, finest: Any, coords: Any, labels: Any, mask: Any, has: Any) -> Any:
            sparse = self.prompts._embed_points(coords[:, None], labels[:, None].long(), pad=False)
            empty = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
            dense = has * self.prompts.mask_embed(mask) + (1 - has) * empty
            masks, scores, _, present = self.masks(image, self.positions, sparse, dense, False, [finest, fine])
            return masks[:, 0], scores[:, 0], present[:, 0]

    model.mask_decoder._dynamic_multimask_via_stability = lambda masks, scores: (masks, scores)
    return Encoder().eval(), Decoder().eval()


class Sam2OnnxRunner:
    """See ``families.sam.SamRunner``."""

    has_single = False  # as in ``families.sam2.Sam2Runner``: what comes is chosen by its score
    takes_mask = True
    any_size = False

    def __init__(
        self, encoder: Path, decoder: Path, placed: Placement, input_px: int, graph_cache: Path | None = None
    ) -> None:
        """Open both files.

        Raises:
            ModelError: one cannot be read, or the decoder is not one of ``traceable``'s.
            DeviceError: see ``open_session``.
        """
        self._encoder = open_encoder(encoder, placed, graph_cache)
        self._decoder = open_session(decoder, placed, graph_cache)
        names = [i.name for i in self._decoder.get_inputs()]
        if set(names) != set(DECODER_INPUTS):
            raise ModelError(
                f"expected a SAM 2 decoder with the inputs {', '.join(DECODER_INPUTS)} in {decoder}, "
                f"got {', '.join(names)}"
            )
        self.input_px = input_px
        self.low_px = input_px // 4
        self.nbytes = weights_bytes(encoder) + weights_bytes(decoder)
        self.described = describe(self._encoder, placed.precision)

    def encode(self, batch: Sequence[Planes]) -> list[Features]:
        """Planes -> as many times "image" (256, h/16, w/16), "fine" (64, h/8, w/8) and "finest" (32, h/4, w/4)."""
        made = []
        for pixels in inputs(batch):
            levels = self._encoder.run(list(ENCODER_OUTPUTS), {"pixels": pixels[None]})
            made.append({n: np.asarray(x[0], np.float32) for n, x in zip(ENCODER_OUTPUTS, levels, strict=True)})
        return made

    def decode(self, features: Features, wire: WirePrompts, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """One slice's arrays, prompts and the slice's shape -> logits (k, h/4, w/4), qualities (k,)."""
        real = wire.labels >= 0
        mask = wire.mask if wire.mask is not None else np.zeros((self.low_px, self.low_px), np.float32)
        masks, scores, present = self._decoder.run(
            list(DECODER_OUTPUTS),
            {
                **{name: features[name][None] for name in ENCODER_OUTPUTS},
                "point_coords": np.append(wire.coords[real], np.zeros((1, 2), np.float32), 0)[None],
                "point_labels": np.append(wire.labels[real], np.float32(-1)).astype(np.float32)[None],
                "mask_input": mask[None, None],
                "has_mask_input": np.array([float(wire.mask is not None)], np.float32),
            },
        )
        logits, quality = choose_masks(np.asarray(masks[0]), np.asarray(scores[0]), lone_click=wire.is_ambiguous)
        if wire.is_carried and float(present.flatten()[0]) < 0:
            quality = np.zeros_like(quality)
        return logits, quality


def choose_masks(masks: FloatArray, scores: FloatArray, *, lone_click: bool) -> tuple[FloatArray, FloatArray]:
    """Three masks for a lone click, else the single one, or the best of three where that one is not stable.

    As sam2's mask decoder (``_dynamic_multimask_via_stability``).

    Args:
        masks: logits (4, h, w), the single one first.
        scores: qualities (4,).
        lone_click: part, object or whole may be meant.
    """
    if lone_click:
        return masks[1:], scores[1:]
    sure, maybe = int((masks[0] > STABILITY_OFFSET).sum()), int((masks[0] > -STABILITY_OFFSET).sum())
    which = 0 if maybe == 0 or sure / maybe >= STABILITY_LEAST else 1 + int(np.argmax(scores[1:]))
    return masks[which : which + 1], scores[which : which + 1]
