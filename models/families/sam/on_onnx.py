"""SAM's networks on ONNX Runtime: our own exports, other exporters' decoders, and EfficientSAM's pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.models.checkpoints import weights_bytes
from promptseg.models.families.sam.layout import SIZES
from promptseg.models.families.sam.onnx_sessions import describe, open_encoder, open_session
from promptseg.models.families.sam.planes import Planes, inputs
from promptseg.models.families.sam.wire import WirePrompts
from promptseg.models.runtime import Device, Placement

__all__ = ["LOW_PX", "OnnxSamRunner"]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]


LOW_PX = "low_px"
"""Name of the note in our decoders that says how wide the coarse masks of a whole input are."""


class OnnxSamRunner:
    """See ``families.sam.SamRunner``; the decoder's layout is read from the names of its inputs."""

    def __init__(
        self,
        encoder: Path,
        decoder: Path,
        device: Device,
        *,
        input_px: int = 1024,
        precision: str = "fp32",
        runtime: str = "onnx",
        graph_cache: Path | None = None,
        any_size: bool = False,
    ) -> None:
        """Open both files; ``runtime`` "openvino" runs the encoder there, ``any_size`` leaves it open to any grid.

        Raises:
            ModelError: one cannot be read, or the decoder has inputs that are not known.
            DeviceError: see ``open_session``.
        """
        sizes = {} if any_size else {SIZES[1]: input_px, SIZES[2]: input_px}
        sizes |= {} if device.kind == "cuda" else {SIZES[0]: 1}
        placed = Placement(device, runtime, precision)
        self._encoder = open_encoder(encoder, placed, graph_cache, sizes)
        self._decoder = open_session(decoder, placed, graph_cache)
        self._names = tuple(i.name for i in self._decoder.get_inputs())
        self._types = {i.name: i.type for i in self._decoder.get_inputs()}
        self._is_efficient = "batched_point_coords" in self._names
        if not self._is_efficient and not {"image_embeddings", "point_coords", "point_labels"} <= set(self._names):
            raise ModelError(
                f"expected a SAM decoder with inputs image_embeddings, point_coords, point_labels, mask_input, "
                f"has_mask_input in {decoder}, got {', '.join(self._names)}"
            )
        outputs = [o.name for o in self._decoder.get_outputs()]
        wanted = ("output_masks", "iou_predictions") if self._is_efficient else ("low_res_masks", "iou_predictions")
        if not self._is_efficient and not set(wanted) <= set(outputs):
            raise ModelError(f"expected the outputs {', '.join(wanted)} of {decoder}, got {', '.join(outputs)}")
        self._outputs = outputs[:2] if self._is_efficient else list(wanted)
        taken = self._encoder.get_inputs()[0]
        self.any_size = not self._is_efficient and not any(isinstance(n, int) for n in taken.shape[2:])
        self._together = device.kind == "cuda" and not isinstance(taken.shape[0], int)
        self._half = "float16" in self._encoder.get_inputs()[0].type
        self.has_single = not self._is_efficient
        self.takes_mask = "mask_input" in self._names
        self.input_px = input_px
        self.low_px = self._low_px(input_px)
        self.nbytes = weights_bytes(encoder) + weights_bytes(decoder)
        self.described = describe(self._encoder, precision)

    def _low_px(self, input_px: int) -> int:
        noted = self._decoder.get_modelmeta().custom_metadata_map.get(LOW_PX)
        if noted is not None:
            return int(noted)
        shape = next((i.shape for i in self._decoder.get_inputs() if i.name == "mask_input"), None)
        return int(shape[-1]) if shape and isinstance(shape[-1], int) else input_px // 4

    def encode(self, batch: Sequence[Planes]) -> list[Features]:
        """Planes -> as many times "image" (c, h', w'); one run on a GPU, one per slice on a CPU or a fixed batch.

        On a CPU a larger batch gains nothing, and in int8 its slices would share one scale.
        """
        taken = self._encoder.get_inputs()[0]
        pixels = inputs(batch)
        given = pixels.astype(np.float16) if self._half else pixels
        runs = [given] if self._together else [given[i : i + 1] for i in range(len(given))]
        made = [self._encoder.run(None, {taken.name: part})[0] for part in runs]
        return [{"image": np.asarray(one, np.float32)} for part in made for one in part]

    def decode(self, features: Features, wire: WirePrompts, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """One slice's arrays and prompts -> logits (k, m, m'), qualities (k,)."""
        if self._is_efficient:
            return self._decode_efficient(features["image"], wire, shape)
        low_shape = [4 * n for n in features["image"].shape[1:]]
        mask = wire.mask if wire.mask is not None else np.zeros(low_shape, np.float32)
        feed = {
            "image_embeddings": features["image"][None],
            "point_coords": wire.coords[None],
            "point_labels": wire.labels[None],
            "mask_input": mask[None, None],
            "has_mask_input": np.array([float(wire.mask is not None)], np.float32),  # 0 or 1, never -1
            "orig_im_size": np.array(shape, np.float32),
        }
        feed = {
            k: v.astype(np.float16) if "float16" in self._types[k] else v for k, v in feed.items() if k in self._names
        }
        logits, scores = self._decoder.run(self._outputs, feed)
        return np.asarray(logits[0], np.float32), np.asarray(scores[0], np.float32)

    def _decode_efficient(
        self, features: FloatArray, wire: WirePrompts, shape: tuple[int, int]
    ) -> tuple[FloatArray, FloatArray]:
        """EfficientSAM takes points in the slice's own pixels and answers on its grid, best first or not."""
        order = np.argsort(wire.labels < 2, kind="stable")  # it reads six points: a box's corners (2, 3) come first
        order = order[wire.labels[order] >= 0]  # it pads by itself
        feed = {
            "image_embeddings": features[None],
            "batched_point_coords": wire.coords[order][None, None],
            "batched_point_labels": wire.labels[order][None, None],
            "orig_im_size": np.array(shape, np.int64),
        }
        masks, scores = self._decoder.run(self._outputs, feed)
        return np.asarray(masks[0, 0], np.float32), np.asarray(scores[0, 0], np.float32)
