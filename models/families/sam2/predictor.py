"""SAM 2.1 and its fine-tunes: transformers' modules with the weights of the original project's files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError, did_you_mean
from promptseg.models.checkpoints import match_keys, read_state
from promptseg.models.families.sam.planes import Planes
from promptseg.models.families.sam.predictor import SamOptions, SamPredictor, SamRunner
from promptseg.models.families.sam.wire import WirePrompts
from promptseg.models.families.sam2.shapes import HIERA, TRACKING_KEYS, rename_keys, vision_config
from promptseg.models.predictor import Carrier
from promptseg.models.runtime import Device
from promptseg.models.weights.registry import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sam2Runner", "load_image_model", "load_sam2", "with_memory"]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]


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
        from promptseg.models.families.sam2.memory import load_carrier

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

    def encode(self, batch: Sequence[Planes]) -> list[Features]:
        """Planes -> as often "image" (256, h/16, w/16), "fine" (64, h/8, w/8) and "finest" (32, h/4, w/4)."""
        import torch

        from promptseg.models.families.sam.planes_on_torch import inputs_on

        with torch.inference_mode(), self._autocast():
            levels = self._model.get_image_embeddings(inputs_on(self._device, batch))
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
