"""SAM's networks on torch: the CPU in fp32 or bf16, CUDA with autocast."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptseg.models.families.sam.planes import Planes
from promptseg.models.families.sam.planes_on_torch import inputs_on
from promptseg.models.families.sam.wire import WirePrompts
from promptseg.models.networks.architectures import SamNetwork, load_network
from promptseg.models.networks.decoder import MASKS
from promptseg.models.runtime import Device

__all__ = ["TorchSamRunner"]

FloatArray = NDArray[np.float32]
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchSamRunner:
    """See ``families.sam.SamRunner``."""

    has_single = True
    takes_mask = True
    any_size = True

    def __init__(self, network: SamNetwork, device: Device, precision: str = "fp32", *, compiled: bool = False) -> None:
        """Move the network to the device.

        Args:
            network: in fp32 on the CPU.
            device: where it runs.
            precision: fp32, bf16 or fp16; the lower two through autocast, weights stay fp32.
            compiled: compile the encoder at its first run (half a minute, then faster).
        """
        self._device = torch.device(str(device))
        on_gpu = self._device.type == "cuda"
        encoder: Any = network.encoder.to(self._device)
        if on_gpu:
            encoder = encoder.to(memory_format=torch.channels_last)
        self._encoder = torch.compile(encoder) if compiled else encoder
        self._decoder = network.decoder.to(self._device)
        self._type = TYPES[precision]
        self.input_px = network.input_px
        self.low_px = 4 * network.edge
        self.nbytes = sum(v.numel() * v.element_size() for v in network.state().values())
        how = ", compiled" if compiled else ""
        self.described = f"torch {torch.__version__.split('+')[0]} on {device}, {precision}{how}"

    @classmethod
    def from_checkpoint(
        cls,
        arch: str,
        checkpoint: Path,
        device: Device,
        precision: str = "fp32",
        expected_bytes: int = 0,
        *,
        compiled: bool = False,
    ) -> TorchSamRunner:
        """Load a checkpoint; see ``load_network`` for its errors."""
        return cls(load_network(arch, checkpoint, expected_bytes), device, precision, compiled=compiled)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._type is torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self._type)

    def encode(self, batch: Sequence[Planes]) -> list[dict[str, FloatArray]]:
        """Planes of one likeness -> as many times "image" (c, h', w')."""
        with torch.inference_mode(), self._autocast():
            pixels = inputs_on(self._device, batch)
            if self._device.type == "cuda":
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            features = self._encoder(pixels)
        return [{"image": one} for one in np.asarray(features.float().cpu().numpy())]

    def decode(
        self, features: dict[str, FloatArray], wire: WirePrompts, shape: tuple[int, int]
    ) -> tuple[FloatArray, FloatArray]:
        """One slice's arrays and prompts -> logits (4, 4h', 4w'), qualities (4,)."""
        image = features["image"]
        low_shape = (4 * image.shape[1], 4 * image.shape[2])
        mask = wire.mask if wire.mask is not None else np.zeros(low_shape, np.float32)
        arrays = (image, wire.coords, wire.labels, mask[None], np.array(float(wire.mask is not None), np.float32))
        with torch.inference_mode(), self._autocast():
            given = [torch.from_numpy(np.ascontiguousarray(a))[None].to(self._device) for a in arrays]
            logits, scores = self._decoder(*given)
        return (
            np.asarray(logits[0, :MASKS].float().cpu().numpy()),
            np.asarray(scores[0, :MASKS].float().cpu().numpy()),
        )
