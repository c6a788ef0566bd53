"""SAM's networks on ONNX Runtime: our own exports, other exporters' decoders, and EfficientSAM's pair."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import DeviceError, ModelError
from promptseg.models.families.wire import WirePrompts
from promptseg.models.runtime import SWAP_TO_GPU, Device

__all__ = ["OnnxSamRunner", "open_session"]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]

OPTIMISED_MAX_BYTES = 1 << 30  # larger graphs are optimised at every start: a protobuf file ends at 2 GiB


def open_session(path: Path, device: Device, *, threads: int = 0, graph_cache: Path | None = None) -> Any:
    """Open an ONNX file.

    Args:
        path: the file.
        device: where it runs.
        threads: cores; 0 is ONNX Runtime's own choice.
        graph_cache: folder of optimised graphs; the second start on a machine then skips the optimisation.

    Raises:
        ModelError: it cannot be read.
        DeviceError: the device was asked for and ONNX Runtime silently took another.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    opened, partial = path, None
    if graph_cache is not None and path.stat().st_size < OPTIMISED_MAX_BYTES:
        ready = _optimised_name(path, device, graph_cache)
        if ready.is_file():
            opened = ready
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        else:
            ready.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".graph-", suffix=".onnx", dir=ready.parent)
            os.close(handle)
            partial = Path(name)
            options.optimized_model_filepath = str(partial)
    try:
        session = onnxruntime.InferenceSession(str(opened), options, providers=device.providers)
        if partial is not None:
            partial.replace(ready)
    except Exception as exc:
        raise ModelError(f"cannot load the network from {opened}: {exc}") from exc
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    if device.kind == "cuda" and session.get_providers()[0] == "CPUExecutionProvider":
        raise DeviceError(f"expected {path.name} to run on {device}, but ONNX Runtime fell back; {SWAP_TO_GPU}")
    return session


def _optimised_name(path: Path, device: Device, folder: Path) -> Path:
    """Optimised graphs fit one file, one ONNX Runtime and one kind of processor only."""
    import onnxruntime

    state = path.stat()
    parts = (path.resolve(), state.st_size, state.st_mtime_ns, onnxruntime.__version__, device, _processor())
    return folder / (hashlib.sha256(repr(parts).encode()).hexdigest()[:32] + ".onnx")


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith("flags")), platform.processor())
    except OSError:
        return platform.processor() or platform.machine()


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
        graph_cache: Path | None = None,
    ) -> None:
        """Open both files.

        Raises:
            ModelError: one cannot be read, or the decoder has inputs that are not known.
            DeviceError: see ``open_session``.
        """
        import onnxruntime

        self._encoder = open_session(encoder, device, graph_cache=graph_cache)
        self._decoder = open_session(decoder, device, graph_cache=graph_cache)
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
        self._half = "float16" in self._encoder.get_inputs()[0].type
        self.has_single = not self._is_efficient
        self.takes_mask = "mask_input" in self._names
        self.input_px = input_px
        self.low_px = self._low_px(input_px)
        self.nbytes = encoder.stat().st_size + decoder.stat().st_size
        version = onnxruntime.__version__
        self.described = f"ONNX Runtime {version} on {self._encoder.get_providers()[0]}, {precision}"

    def _low_px(self, input_px: int) -> int:
        shape = next((i.shape for i in self._decoder.get_inputs() if i.name == "mask_input"), None)
        return int(shape[-1]) if shape and isinstance(shape[-1], int) else input_px // 4

    def encode(self, batch: FloatArray) -> list[Features]:
        """(n, 3, h, w) -> n times "image" (c, h', w'); one run per slice where the file has a fixed batch."""
        taken = self._encoder.get_inputs()[0]
        given = batch.astype(np.float16) if self._half else batch
        runs = [given] if not isinstance(taken.shape[0], int) else [given[i : i + 1] for i in range(len(given))]
        made = [self._encoder.run(None, {taken.name: part})[0] for part in runs]
        return [{"image": np.asarray(one, np.float32)} for part in made for one in part]

    def decode(self, features: Features, wire: WirePrompts, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """One slice's arrays and prompts -> logits (k, m, m'), qualities (k,)."""
        if self._is_efficient:
            return self._decode_efficient(features["image"], wire, shape)
        mask = wire.mask if wire.mask is not None else np.zeros((self.low_px, self.low_px), np.float32)
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
        real = wire.labels >= 0  # it pads by itself
        feed = {
            "image_embeddings": features[None],
            "batched_point_coords": wire.coords[real][None, None],
            "batched_point_labels": wire.labels[real][None, None],
            "orig_im_size": np.array(shape, np.int64),
        }
        masks, scores = self._decoder.run(self._outputs, feed)
        return np.asarray(masks[0, 0], np.float32), np.asarray(scores[0, 0], np.float32)
