"""The one place that chooses a device, and says which one is really used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from promptseg.errors import DeviceError, MissingExtraError

__all__ = ["Device", "choose_device", "onnx_distributions", "onnx_providers"]

# ONNX Runtime's CPU and GPU wheels share one module folder: whichever was installed last wins, silently.
ONNX_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
SWAP_TO_CPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"
SWAP_TO_GPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
DEVICE_PATTERN = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class Device:
    """Where inference runs: ``kind`` is "cpu" or "cuda", ``index`` counts GPUs."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @property
    def providers(self) -> list[Any]:
        """ONNX Runtime execution providers for this device, in order."""
        if self.kind == "cuda":
            return [("CUDAExecutionProvider", {"device_id": self.index})]
        return ["CPUExecutionProvider"]


def onnx_distributions() -> dict[str, str]:
    """Return the installed ONNX Runtime wheels and their versions; more than one is a broken environment."""
    found = {}
    for name in ONNX_DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def onnx_providers() -> tuple[str, ...]:
    """Return the execution providers that the installed ONNX Runtime was built with; () without one."""
    if find_spec("onnxruntime") is None:
        return ()
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def _cuda_count() -> int:
    """Return how many GPUs CUDA shows to ONNX Runtime; 0 when its build or the driver lacks CUDA."""
    if "CUDAExecutionProvider" not in onnx_providers():
        return 0
    import ctypes
    import ctypes.util

    try:
        driver = ctypes.CDLL(ctypes.util.find_library("cuda") or "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    ok = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if ok else 0


def choose_device(requested: str = "auto") -> Device:
    """Choose where inference runs.

    Args:
        requested: ``"auto"`` (a GPU when ONNX Runtime can use one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:N"``.

    Raises:
        DeviceError: unknown name, or the GPU asked for cannot be used. Never a silent fallback.
        MissingExtraError: no ONNX Runtime at all.
    """
    if not DEVICE_PATTERN.fullmatch(requested):
        raise DeviceError(f"expected a device (auto, cpu, cuda or cuda:N), got {requested!r}")
    if not onnx_distributions() and find_spec("onnxruntime") is None:
        raise MissingExtraError("onnxruntime", "all")
    if requested == "cpu":
        return Device("cpu")
    count = _cuda_count()
    if requested == "auto":
        return Device("cuda", 0) if count else Device("cpu")
    index = int(requested.partition(":")[2] or 0)
    if index >= count:
        raise DeviceError(
            f"expected a CUDA device number {index}, found {count} usable; ONNX Runtime here offers "
            f"{', '.join(onnx_providers())}. On a machine with an NVIDIA GPU: {SWAP_TO_GPU}; or use device='cpu'"
        )
    return Device("cuda", index)
