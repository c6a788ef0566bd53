"""ONNX files opened for a placement: checked for room, optimised once per machine, and on the device asked for."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from promptseg.errors import DeviceError, ModelError
from promptseg.models.checkpoints import check_size, weights_bytes
from promptseg.models.runtime import SWAP_TO_GPU, Placement

__all__ = ["describe", "open_encoder", "open_session"]

GRAPH, WEIGHTS = "graph.onnx", "graph.bin"
"""An optimised network's two files in its folder of the graph cache: weights apart, for protobuf ends at 2 GiB."""


def open_session(
    path: Path, placed: Placement, graph_cache: Path | None = None, sizes: Mapping[str, int] | None = None
) -> Any:
    """Open an ONNX file with ONNX Runtime.

    Args:
        path: the file.
        placed: where it runs; on "tensorrt" CUDA takes what TensorRT cannot.
        graph_cache: folder of optimised graphs and TensorRT's engines; the second start on a machine then skips the
            optimisation. One that cannot be used costs that time, no more.
        sizes: free dimensions of the file, by name, that are always these; a graph is optimised for them.

    Raises:
        ModelError: it cannot be read, or is larger than the free memory.
        DeviceError: the device was asked for and ONNX Runtime silently took another.
    """
    check_size(path)
    with_tensorrt = placed.runtime == "tensorrt"
    providers = [*([_tensorrt(placed, graph_cache)] if with_tensorrt else []), *placed.device.providers]
    session = None
    if graph_cache is not None and not with_tensorrt:
        session = _open_kept(path, providers, graph_cache, sizes or {})
    if session is None:
        try:
            session = _open(path, providers, sizes or {})
        except Exception as exc:  # ONNX Runtime's errors have no common base but this
            raise ModelError(f"cannot load the network from {path}: {exc}") from exc
    wanted = "TensorrtExecutionProvider" if with_tensorrt else placed.device.providers[0][0]
    if placed.device.kind == "cuda" and session.get_providers()[0] != wanted:
        used = session.get_providers()[0]
        raise DeviceError(
            f"expected {path.name} to run on {placed.device} with {wanted}, but got {used}; {SWAP_TO_GPU}"
        )
    return session


def _open(
    path: Path,
    providers: list[Any],
    sizes: Mapping[str, int],
    *,
    keep_in: Path | None = None,
    is_optimised: bool = False,
) -> Any:
    """A session; ``keep_in`` is an empty folder for the optimised graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    if is_optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if keep_in is not None:
        options.optimized_model_filepath = str(keep_in / GRAPH)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def _open_kept(path: Path, providers: list[Any], graph_cache: Path, sizes: Mapping[str, int]) -> Any:
    """The optimised graph, made where it is not there or spoiled; None where that cannot be done."""
    kept = graph_cache / _name(path, providers, sizes)
    if (kept / GRAPH).is_file():
        try:
            return _open(kept / GRAPH, providers, sizes, is_optimised=True)
        except Exception:  # noqa: BLE001  whatever is wrong with a copy, the original is there
            shutil.rmtree(kept, ignore_errors=True)
    partial = None
    try:
        graph_cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".graph-", dir=graph_cache))
        session = _open(path, providers, sizes, keep_in=partial)
        with suppress(OSError):  # another process was faster
            partial.replace(kept)
    except Exception:  # noqa: BLE001  a full or read-only disk; what is wrong with the file shows later
        return None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return session


def _tensorrt(placed: Placement, graph_cache: Path | None) -> Any:
    settings: dict[str, Any] = {"device_id": placed.device.index, "trt_fp16_enable": placed.precision == "fp16"}
    if graph_cache is not None:
        folder = graph_cache / "tensorrt" / placed.precision
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return ("TensorrtExecutionProvider", settings)
        settings |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
    return ("TensorrtExecutionProvider", settings)


def _name(path: Path, providers: list[Any], sizes: Mapping[str, int]) -> str:
    """Optimised graphs fit one file, one ONNX Runtime and one kind of processor only."""
    import onnxruntime

    changed = path.stat().st_mtime_ns
    parts = (path.resolve(), weights_bytes(path), changed, onnxruntime.__version__, providers, sizes, _processor())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next((line for line in lines if line.startswith("flags")), platform.processor())
    except OSError:
        return platform.processor() or platform.machine()


def open_encoder(
    path: Path, placed: Placement, graph_cache: Path | None = None, sizes: Mapping[str, int] | None = None
) -> Any:
    """Open an encoder on ONNX Runtime, or on OpenVINO where ``placed`` says so; see ``open_session``."""
    if placed.runtime == "openvino":
        from promptseg.models.families.sam.on_openvino import OpenVinoSession

        check_size(path)
        return OpenVinoSession(path, placed.precision, graph_cache, sizes)
    return open_session(path, placed, graph_cache, sizes)


def describe(encoder: Any, precision: str) -> str:
    """Say what runs an encoder and in which precision."""
    import onnxruntime

    provider = encoder.get_providers()[0]
    if provider == "OpenVINO":
        return f"OpenVINO {encoder.version} on the CPU, {precision}; decoder on ONNX Runtime {onnxruntime.__version__}"
    return f"ONNX Runtime {onnxruntime.__version__} on {provider}, {precision}"
