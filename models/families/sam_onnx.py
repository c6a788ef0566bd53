"""SAM's networks on ONNX Runtime: our own exports, other exporters' decoders, and EfficientSAM's pair."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import DeviceError, ModelError
from promptseg.models.families.wire import WirePrompts
from promptseg.models.runtime import SWAP_TO_GPU, Device

__all__ = ["LOW_PX", "SIZES", "OnnxSamRunner", "describe", "open_encoder", "open_session"]

FloatArray = NDArray[np.float32]
Features = dict[str, FloatArray]

SIZES = ("slices", "h", "w")
"""Names of our encoders' free dimensions."""

LOW_PX = "low_px"
"""Name of the note in our decoders that says how wide the coarse masks of a whole input are."""

OPTIMISED_MAX_BYTES = 1 << 30  # larger graphs are optimised at every start: a protobuf file ends at 2 GiB


def open_session(
    path: Path,
    device: Device,
    *,
    graph_cache: Path | None = None,
    tensorrt: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> Any:
    """Open an ONNX file.

    Args:
        path: the file.
        device: where it runs.
        graph_cache: folder of optimised graphs; the second start on a machine then skips the optimisation.
        sizes: free dimensions of the file, by name, that are always these; a graph is optimised for them.
        tensorrt: let TensorRT take what it can of the graph, CUDA the rest; its engines are kept in ``graph_cache``.

    Raises:
        ModelError: it cannot be read.
        DeviceError: the device was asked for and ONNX Runtime silently took another.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    opened, partial = path, None
    if graph_cache is not None and not tensorrt and path.stat().st_size < OPTIMISED_MAX_BYTES:
        ready = _optimised_name(path, device, graph_cache, sizes or {})
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
        providers = [*([_tensorrt(device, graph_cache)] if tensorrt else []), *device.providers]
        session = onnxruntime.InferenceSession(str(opened), options, providers=providers)
        if partial is not None:
            partial.replace(ready)
    except Exception as exc:
        raise ModelError(f"cannot load the network from {opened}: {exc}") from exc
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    wanted = "TensorrtExecutionProvider" if tensorrt else device.providers[0][0]
    if device.kind == "cuda" and session.get_providers()[0] != wanted:
        used = session.get_providers()[0]
        raise DeviceError(f"expected {path.name} to run on {device} with {wanted}, but got {used}; {SWAP_TO_GPU}")
    return session


def _tensorrt(device: Device, graph_cache: Path | None) -> Any:
    settings: dict[str, Any] = {"device_id": device.index, "trt_fp16_enable": True}
    if graph_cache is not None:
        folder = graph_cache / "tensorrt"
        folder.mkdir(parents=True, exist_ok=True)
        settings |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
    return ("TensorrtExecutionProvider", settings)


def _optimised_name(path: Path, device: Device, folder: Path, sizes: Mapping[str, int]) -> Path:
    """Optimised graphs fit one file, one ONNX Runtime and one kind of processor only."""
    import onnxruntime

    state = path.stat()
    parts = (path.resolve(), state.st_size, state.st_mtime_ns, onnxruntime.__version__, device, sizes, _processor())
    return folder / (hashlib.sha256(repr(parts).encode()).hexdigest()[:32] + ".onnx")


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith("flags")), platform.processor())
    except OSError:
        return platform.processor() or platform.machine()


def open_encoder(
    path: Path,
    device: Device,
    runtime: str,
    precision: str,
    graph_cache: Path | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Any:
    """Open an encoder on ONNX Runtime, or on OpenVINO where ``runtime`` says so; see ``open_session``."""
    if runtime == "openvino":
        from promptseg.models.families.sam_openvino import OpenVinoSession

        return OpenVinoSession(path, precision, graph_cache, sizes)
    return open_session(path, device, graph_cache=graph_cache, tensorrt=runtime == "tensorrt", sizes=sizes)


def describe(encoder: Any, precision: str) -> str:
    """Say what runs an encoder and in which precision."""
    import onnxruntime

    provider = encoder.get_providers()[0]
    if provider == "OpenVINO":
        return f"OpenVINO {encoder.version} on the CPU, {precision}; decoder on ONNX Runtime {onnxruntime.__version__}"
    return f"ONNX Runtime {onnxruntime.__version__} on {provider}, {precision}"


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
        self._encoder = open_encoder(encoder, device, runtime, precision, graph_cache, sizes)
        self._decoder = open_session(decoder, device, graph_cache=graph_cache, tensorrt=runtime == "tensorrt")
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
        self.nbytes = encoder.stat().st_size + decoder.stat().st_size
        self.described = describe(self._encoder, precision)

    def _low_px(self, input_px: int) -> int:
        noted = self._decoder.get_modelmeta().custom_metadata_map.get(LOW_PX)
        if noted is not None:
            return int(noted)
        shape = next((i.shape for i in self._decoder.get_inputs() if i.name == "mask_input"), None)
        return int(shape[-1]) if shape and isinstance(shape[-1], int) else input_px // 4

    def encode(self, batch: FloatArray) -> list[Features]:
        """(n, 3, h, w) -> n times "image" (c, h', w'); one run on a GPU, one per slice on a CPU or a fixed batch.

        On a CPU a larger batch gains nothing, and in int8 its slices would share one scale.
        """
        taken = self._encoder.get_inputs()[0]
        given = batch.astype(np.float16) if self._half else batch
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
        real = wire.labels >= 0  # it pads by itself
        feed = {
            "image_embeddings": features[None],
            "batched_point_coords": wire.coords[real][None, None],
            "batched_point_labels": wire.labels[real][None, None],
            "orig_im_size": np.array(shape, np.int64),
        }
        masks, scores = self._decoder.run(self._outputs, feed)
        return np.asarray(masks[0, 0], np.float32), np.asarray(scores[0, 0], np.float32)
