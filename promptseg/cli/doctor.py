"""What is installed, which device is really used, and what to do about what is missing."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata

from promptseg.errors import PromptsegError
from promptseg.models.loading import load_predictor
from promptseg.models.runtime import SWAP_TO_CPU, SWAP_TO_GPU, choose_device, onnx_distributions, onnx_providers

__all__ = ["Finding", "examine"]

SHOWN_EXTRAS = ("sam", "wholebody", "app", "cluster", "bench", "train", "privacy")
CORE = ("promptseg", "numpy", "SimpleITK", "pydicom", "opencv-python-headless")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what was looked at.
        state: "ok", "absent" (an extra that is not installed) or "broken".
        text: what was found.
        remedy: what to do, or "".
    """

    topic: str
    state: str
    text: str
    remedy: str = ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def examine() -> tuple[Finding, ...]:
    """Look at this environment; nothing is changed and nothing leaves the machine."""
    core = ", ".join(f"{name} {_version(name) or 'missing'}" for name in CORE)
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return (
        Finding("system", "ok", system),
        Finding("core", "ok" if "missing" not in core else "broken", core),
        _onnx(),
        _device(),
        _model(),
        *(_extra(extra, names) for extra, names in _extras().items()),
    )


def _extras() -> dict[str, tuple[str, ...]]:
    """Return the distributions that each extra brings, as the installed package's own metadata says."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(SHOWN_EXTRAS, ())
    for requirement in metadata.requires("promptseg") or ():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)[^;]*;.*extra == ['\"](\w+)['\"].*", requirement)
        if match is not None and match[2] in found:
            found[match[2]] += (match[1],)
    return found


def _onnx() -> Finding:
    found = onnx_distributions()
    text = ", ".join(f"{name} {v}" for name, v in found.items()) or "none"
    if len(found) == 1:
        return Finding("onnx runtime", "ok", f"{text}; providers: {', '.join(onnx_providers())}")
    if not found:
        return Finding("onnx runtime", "broken", text, "pip install onnxruntime")
    return Finding(
        "onnx runtime",
        "broken",
        f"{text} share one module folder, so one hides the other",
        f"for the CPU: {SWAP_TO_CPU}; for CUDA: {SWAP_TO_GPU}",
    )


def _device() -> Finding:
    try:
        return Finding("device", "ok", f"auto means {choose_device('auto')}")
    except PromptsegError as exc:
        return Finding("device", "broken", str(exc))


def _model() -> Finding:
    try:
        predictor = load_predictor("builtin")
    except PromptsegError as exc:
        return Finding("built-in model", "broken", str(exc), "reinstall promptseg")
    used = getattr(predictor, "providers", ())
    return Finding("built-in model", "ok", f"loads; runs on {', '.join(used) or 'the CPU'}")


def _extra(extra: str, names: tuple[str, ...]) -> Finding:
    versions = {name: _version(name) for name in names}
    text = ", ".join(f"{name} {v or 'not installed'}" for name, v in versions.items())
    if all(versions.values()):
        return Finding(f"[{extra}]", "ok", text)
    return Finding(f"[{extra}]", "absent", text, f'pip install "promptseg[{extra}]"')
