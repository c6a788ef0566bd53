"""The one place that chooses device, runtime and precision, and says which are really used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from promptseg.errors import DeviceError, MissingExtraError, ModelError, did_you_mean

__all__ = [
    "Device",
    "Placement",
    "checked_device",
    "choose_device",
    "choose_placement",
    "gpu_count",
    "has_openvino",
    "is_out_of_memory",
    "needing_memory",
    "onnx_distributions",
    "onnx_providers",
    "torch_cuda_count",
    "torch_gpu_bytes",
]

# ONNX Runtime's CPU and GPU wheels share one module folder: whichever was installed last wins, silently.
ONNX_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
SWAP_TO_CPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"
SWAP_TO_GPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
EXPORTED = ("fp32", "fp16", "int8")
OUT_OF_MEMORY = ("out of memory", "allocate memory")  # as CUDA, torch and ONNX Runtime put it
CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # the default tries every algorithm anew for every shape: seconds a click
    "arena_extend_strategy": "kSameAsRequested",  # the default doubles its memory: 24 GB for a network of 40 MB
}
DEVICE_PATTERN = re.compile(r"auto|cpu|cuda(:\d+)?")
DEVICE_ALIASES = {"gpu": "cuda"}  # TotalSegmentator's word


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
            return [("CUDAExecutionProvider", {"device_id": self.index, **CUDA_OPTIONS})]
        return ["CPUExecutionProvider"]


@dataclass(frozen=True)
class Placement:
    """How a model runs.

    Attributes:
        device: where.
        runtime: "torch", "onnx" (ONNX Runtime), "openvino" or "tensorrt" (ONNX Runtime with TensorRT).
        precision: "fp32", "bf16", "fp16" or "int8".
        reason: why, in one clause, for people.
    """

    device: Device
    runtime: str
    precision: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.runtime} on {self.device} in {self.precision} ({self.reason})"


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


def has_openvino() -> bool:
    """Return True when OpenVINO is installed."""
    return find_spec("openvino") is not None


def torch_cuda_count() -> int:
    """Return how many GPUs torch can use; 0 without torch."""
    if find_spec("torch") is None:
        return 0
    import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def gpu_count(runtime: str) -> int:
    """Return how many GPUs a runtime ("torch", or one through ONNX Runtime) can use."""
    return torch_cuda_count() if runtime == "torch" else _cuda_count()


def torch_gpu_bytes(device: str) -> int | None:
    """Return the whole memory of a "cuda:N"; None where torch does not see it."""
    index = int(device.partition(":")[2])
    if index >= torch_cuda_count():
        return None
    import torch

    return int(torch.cuda.get_device_properties(index).total_memory)


def is_out_of_memory(exc: Exception) -> bool:
    """Return True when a runtime says that its device has no memory left."""
    return any(words in str(exc) for words in OUT_OF_MEMORY)


@contextmanager
def needing_memory(what: str, where: str) -> Iterator[None]:
    """Turn a runtime's own error, that a device has no memory left, into one that says what to do.

    Raises:
        DeviceError: there is no memory for ``what`` on ``where``.
    """
    try:
        yield
    except Exception as exc:
        if not is_out_of_memory(exc):
            raise
        raise DeviceError(
            f"expected memory for {what}, but {where} has none left: end other programs there, "
            f"or use a smaller model or device='cpu'"
        ) from exc


def checked_device(requested: str) -> str:
    """Return a device's name as this program writes it: "auto", "cpu", "cuda" or "cuda:N"; "gpu" means "cuda".

    Raises:
        DeviceError: another name; Apple's GPU ("mps"), which the networks' 3D layers do not run on, among them.
    """
    kind, colon, index = requested.partition(":")
    name = f"{DEVICE_ALIASES.get(kind, kind)}{colon}{index}"
    if kind == "mps":
        raise DeviceError("expected a device (auto, cpu, cuda or cuda:N), got 'mps': Apple's GPU is not used; take cpu")
    if not DEVICE_PATTERN.fullmatch(name):
        raise DeviceError(
            f"expected a device (auto, cpu, cuda or cuda:N), got {requested!r}"
            f"{did_you_mean(requested, ('auto', 'cpu', 'cuda', 'cuda:0'))}"
        )
    return name


def choose_device(requested: str = "auto") -> Device:
    """Choose where inference runs.

    Args:
        requested: ``"auto"`` (a GPU when ONNX Runtime can use one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:N"``.

    Raises:
        DeviceError: unknown name, or the GPU asked for cannot be used. Never a silent fallback.
        MissingExtraError: no ONNX Runtime at all.
    """
    requested = checked_device(requested)
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


def choose_placement(
    requested: str,
    *,
    has_checkpoint: bool,
    exports: tuple[str, ...],
    runtime: str = "auto",
    precision: str = "auto",
) -> Placement:
    """Choose device, runtime and precision for a model that may be there in several forms.

    A GPU that torch can use wins, then one that ONNX Runtime can use, then OpenVINO on the CPU where it is installed
    (fastest there), then ONNX Runtime on the CPU (more than twice as fast as torch), then torch on the CPU.

    Args:
        requested: see ``choose_device``.
        has_checkpoint: torch weights are on disk.
        exports: precisions in which an ONNX pair is on disk; "openvino-int8" where there is one for OpenVINO.
        runtime: "auto", "torch", "onnx", "openvino" or "tensorrt".
        precision: "auto", "fp32", "bf16", "fp16" or "int8".

    Raises:
        DeviceError: the device asked for cannot be used by what is there. Never a silent fallback.
        ModelError: nothing that is there has the runtime and precision asked for.
        MissingExtraError: only torch weights are there, and torch is not installed.
    """
    requested = checked_device(requested)
    torch_here = (
        has_checkpoint and find_spec("torch") is not None and runtime in ("auto", "torch") and precision != "int8"
    )
    usable = tuple(p for p in exports if p in EXPORTED and precision in ("auto", p)) if runtime != "torch" else ()
    if runtime == "tensorrt":
        return _on_tensorrt(requested, exports, precision)
    on_openvino = _on_openvino(runtime, precision, exports, ours=has_checkpoint)
    if runtime == "openvino":
        if on_openvino is None:
            raise ModelError(
                f"expected an ONNX pair in fp32 (int8 for int8) and no fp16 for the runtime openvino, "
                f"found ONNX {', '.join(exports) or 'nothing'} and precision {precision}; "
                f"make one with: promptseg models export ID"
            )
        if requested not in ("auto", "cpu"):
            raise DeviceError(f"expected device cpu or auto for the runtime openvino, got {requested!r}")
        return on_openvino
    if not torch_here and not usable:
        if has_checkpoint and not exports and runtime in ("auto", "torch") and find_spec("torch") is None:
            raise MissingExtraError("torch", "sam")
        found = ", ".join([*(["a checkpoint"] if has_checkpoint else []), *(f"ONNX {p}" for p in exports)]) or "nothing"
        raise ModelError(
            f"expected weights for runtime {runtime} and precision {precision}, found {found}; "
            f"make them with: promptseg models export ID --precision {'fp32' if precision == 'auto' else precision}"
        )
    if requested != "cpu":
        placed = _on_gpu(requested, torch_here, usable, precision)
        if placed is not None:
            return placed
    if on_openvino is not None:
        return on_openvino
    if usable:
        best = "fp32" if "fp32" in usable else usable[0]
        return Placement(Device("cpu"), "onnx", best, "an ONNX pair is here, the fastest on a CPU")
    if precision == "fp16":
        raise DeviceError(
            "expected fp32 or bf16 for torch on a CPU, got fp16, which no CPU multiplies at speed; "
            "set PROMPTSEG_PRECISION to another one, or use a GPU"
        )
    chosen = "fp32" if precision == "auto" else precision
    return Placement(Device("cpu"), "torch", chosen, "no ONNX pair is here; promptseg models export makes one")


def _on_openvino(runtime: str, precision: str, exports: tuple[str, ...], *, ours: bool) -> Placement | None:
    """A placement on OpenVINO; None where another runtime is meant, or the files are not for it."""
    needed = {"fp16": "", "int8": "openvino-int8"}.get(precision, "fp32")
    if runtime not in ("auto", "openvino") or needed not in exports:
        return None
    if not has_openvino() or (runtime == "auto" and not ours):
        if runtime == "openvino":
            raise MissingExtraError("openvino", "openvino")
        return None
    chosen = "fp32" if precision == "auto" else precision
    return Placement(Device("cpu"), "openvino", chosen, "an ONNX pair and OpenVINO are here, the fastest on a CPU")


def _on_tensorrt(requested: str, exports: tuple[str, ...], precision: str) -> Placement:
    """A placement on TensorRT, through ONNX Runtime; of a pair in fp32 it makes fp16 itself.

    Raises:
        DeviceError: the CPU was asked for, or there is no such GPU or no TensorRT.
        ModelError: no ONNX pair in fp32 is here, or the precision is none of TensorRT's.
    """
    count, offered = _cuda_count(), onnx_providers()
    index = int(requested.partition(":")[2] or 0)
    if requested == "cpu" or index >= count or "TensorrtExecutionProvider" not in offered:
        raise DeviceError(
            f"expected a CUDA device number {index} and TensorRT for the runtime tensorrt, got device {requested!r}, "
            f"{count} usable GPU(s) and ONNX Runtime with {', '.join(offered) or 'nothing'}; install TensorRT and "
            f"{SWAP_TO_GPU}, or choose another PROMPTSEG_RUNTIME"
        )
    if "fp32" not in exports or precision not in ("auto", "fp32", "fp16"):
        raise ModelError(
            f"expected an ONNX pair in fp32 and the precision fp32 or fp16 for the runtime tensorrt, found "
            f"{', '.join(exports) or 'nothing'} and precision {precision}; make one with: promptseg models export ID"
        )
    chosen = "fp16" if precision == "auto" else precision
    return Placement(Device("cuda", index), "tensorrt", chosen, f"ONNX Runtime sees {count} GPU(s) and TensorRT")


def _on_gpu(requested: str, torch_here: bool, usable: tuple[str, ...], precision: str) -> Placement | None:
    """A placement on a GPU; None when "auto" finds none."""
    index = int(requested.partition(":")[2] or 0)
    count = torch_cuda_count() if torch_here else 0
    if index < count:
        chosen = _half_precision(index) if precision == "auto" else precision
        return Placement(Device("cuda", index), "torch", chosen, f"torch sees {count} GPU(s)")
    if usable and index < (count := _cuda_count()):
        best = next(p for p in ("fp16", "fp32", *usable) if p in usable)
        return Placement(Device("cuda", index), "onnx", best, f"ONNX Runtime sees {count} GPU(s)")
    if requested == "auto":
        return None
    raise DeviceError(
        f"expected a CUDA device number {index}; torch sees {torch_cuda_count()}, ONNX Runtime {_cuda_count()} "
        f"(it offers {', '.join(onnx_providers()) or 'nothing'}). On a machine with an NVIDIA GPU install torch with "
        f"CUDA, or: {SWAP_TO_GPU}; or use device='cpu'"
    )


def _half_precision(index: int) -> str:
    import torch

    major, _ = torch.cuda.get_device_capability(index)
    return "bf16" if major >= 8 else "fp16"  # Ampere and later multiply bf16 at full speed
