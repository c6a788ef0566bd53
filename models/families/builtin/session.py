"""The built-in networks' ONNX files, opened with ONNX Runtime or OpenVINO."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import DeviceError, ModelError
from promptseg.models.runtime import Device

__all__ = ["Network", "open_network", "open_on_openvino"]

FloatArray = NDArray[np.float32]

MOST_THREADS = 4
"""Cores that one answer of a small network makes use of."""


@dataclass(frozen=True, eq=False)
class Network:
    """An opened file.

    Attributes:
        run: input array -> output arrays in the file's order; any number of threads may call it.
        provider: what computes: an execution provider of ONNX Runtime, or "OpenVINO".
        described: runtime, device and precision in words.
    """

    run: Callable[[FloatArray], list[Any]]
    provider: str
    described: str


def open_network(path: Path, device: Device | None = None, threads: int | None = None) -> Network:
    """Open a file with one input on ONNX Runtime.

    Args:
        path: the ONNX file.
        device: where it runs; the CPU when None.
        threads: cores used by one call; all but at most four when None.

    Raises:
        ModelError: the file cannot be read.
        DeviceError: ONNX Runtime took another execution provider than the device asks for.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(MOST_THREADS, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the core to others
    wanted = (device or Device("cpu")).providers
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as exc:  # ONNX Runtime's errors have no common base but this
        raise ModelError(f"cannot load the network from {path}: {exc}") from exc
    provider = session.get_providers()[0]
    first = wanted[0][0] if isinstance(wanted[0], tuple) else wanted[0]
    if provider != first:
        raise DeviceError(f"expected ONNX Runtime to use {first}, it took {provider}; use device='cpu'")
    name = session.get_inputs()[0].name
    described = f"ONNX Runtime {onnxruntime.__version__} on {provider}, fp32"
    return Network(lambda array: list(session.run(None, {name: array})), provider, described)


def open_on_openvino(path: Path, threads: int | None = None) -> Network:
    """Open a file with one input on OpenVINO's CPU plugin, in fp32 whatever the processor could do.

    Raises:
        ModelError: the file cannot be read.
    """
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(threads or min(MOST_THREADS, os.cpu_count() or 1)),
        "NUM_STREAMS": "1",
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as exc:
        raise ModelError(f"cannot load the network from {path}: {str(exc).splitlines()[0]}") from exc
    request, lock = compiled.create_infer_request(), threading.Lock()

    def run(array: FloatArray) -> list[Any]:
        with lock:  # one request: its buffers are large, and a second gains nothing on the same cores
            made = request.infer([array], share_inputs=True)
            return [made[output].copy() for output in compiled.outputs]

    return Network(run, "OpenVINO", f"OpenVINO {openvino.__version__.split('-')[0]} on the CPU, fp32")
