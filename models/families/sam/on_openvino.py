"""SAM's encoders on OpenVINO: the same ONNX files, about a quarter less time than ONNX Runtime on a CPU.

Only the encoder runs here; the decoder is quicker to call on ONNX Runtime. See docs/adr/0014.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.errors import DeviceError, MissingExtraError, ModelError
from promptseg.models.families.sam.layout import SIZES
from promptseg.models.families.sam.openvino_rows import in_row_blocks

__all__ = ["OpenVinoSession"]

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}
INT8_GROUP = 256  # numbers that share one scale where int8 weights are multiplied; it divides all encoders' widths


@dataclass(frozen=True)
class _Input:
    """As ONNX Runtime describes one."""

    name: str
    type: str
    shape: list[int | str]


class OpenVinoSession:
    """What the runners use of an ``onnxruntime.InferenceSession``, on OpenVINO's CPU plugin.

    Args:
        path: an ONNX file in fp32; for int8 one whose weights are in int8.
        precision: fp32; bf16 where the processor multiplies it (AVX-512 BF16, AMX); int8, with all else in bf16 where
            the processor can, in fp32 elsewhere.
        graph_cache: folder of compiled networks; the second start on a machine then skips the compilation.
        sizes: free dimensions of the file, by name, that are always these.

    Raises:
        ModelError: the file cannot be read.
        DeviceError: the processor has no such precision.
        MissingExtraError: openvino is not installed.
    """

    def __init__(
        self,
        path: Path,
        precision: str = "fp32",
        graph_cache: Path | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        try:
            import openvino
        except ImportError as exc:
            raise MissingExtraError("openvino", "openvino") from exc
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": HINTS[precision]}
        settings["INFERENCE_NUM_THREADS"] = str(_processors())
        if precision == "int8":
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(INT8_GROUP)
        if graph_cache is not None:
            settings["CACHE_DIR"] = str(graph_cache / "openvino")
        try:
            core = openvino.Core()
            network = core.read_model(str(path))
            if sizes and network.is_dynamic():
                network.reshape(_sized(openvino, network.input().partial_shape, sizes))
            if precision == "fp32":
                in_row_blocks(network)
            compiled = _compiled(core, network, settings)
        except RuntimeError as exc:
            raise ModelError(f"cannot load the network from {path}: {str(exc).splitlines()[0]}") from exc
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != HINTS[precision] and precision != "int8":
            raise DeviceError(f"expected a processor that multiplies {precision}, but OpenVINO would run in {used}")
        self._inputs = [
            _Input(i.any_name, "tensor(float)", [d.get_length() if d.is_static else "free" for d in i.partial_shape])
            for i in compiled.inputs
        ]
        self._names = [o.any_name for o in compiled.outputs]
        self._request = compiled.create_infer_request()  # one: its buffers are large, and a second gains nothing
        self._lock = threading.Lock()
        self.version = openvino.__version__.split("-")[0]

    def get_inputs(self) -> list[_Input]:
        """Name, type and shape of every input."""
        return self._inputs

    def get_providers(self) -> list[str]:
        """For people: what runs it."""
        return ["OpenVINO"]

    def run(self, outputs: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        """Return the outputs asked for, all of them in the file's order when None."""
        with self._lock:
            made = self._request.infer(feed, share_inputs=True)
            return [made[name].copy() for name in outputs or self._names]


def _compiled(core: Any, network: Any, settings: dict[str, str]) -> Any:
    """The network for the CPU; a folder of compiled ones that cannot be used costs time only."""
    try:
        return core.compile_model(network, "CPU", settings)
    except RuntimeError:
        if not settings.pop("CACHE_DIR", ""):
            raise
        return core.compile_model(network, "CPU", settings)


def _sized(openvino: Any, shape: Any, sizes: Mapping[str, int]) -> Any:
    """The shape (slices, 3, h, w) of an encoder's input, its free dimensions as ``sizes`` says."""
    names = (SIZES[0], "", *SIZES[1:])
    dimensions = zip(names, shape, strict=True)
    return openvino.PartialShape([d if d.is_static else openvino.Dimension(sizes.get(n, -1)) for n, d in dimensions])


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
