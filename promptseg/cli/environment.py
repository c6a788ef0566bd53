"""What is installed, which device is really used, and what to do about what is missing."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

from promptseg.errors import PromptsegError
from promptseg.models.loading import load_predictor
from promptseg.models.runtime import SWAP_TO_CPU, SWAP_TO_GPU, choose_device, onnx_distributions, onnx_providers

__all__ = ["Diagnosis", "examine", "try_imports"]

NOT_SHOWN = ("all", "dev")  # sums of the others, and what developers need
# What an extra is used through: its own module does not say whether two packages fit each other.
USED_THROUGH = {
    "app": ("promptseg.app.application", "promptseg.app.ui"),
    "bench": ("matplotlib.pyplot",),
    "client": ("promptseg.remote.client",),
    "cluster": ("ray",),
    "gpu": ("torch",),
    "mcp": ("promptseg.remote.agents", "mcp.server"),
    "nninteractive": ("nnInteractive",),
    "openvino": ("openvino",),
    "parquet": ("pyarrow.parquet",),
    "postgresql": ("psycopg",),
    "privacy": ("dicomanonymizer",),
    "sam": ("torch", "onnx", "transformers.models.sam2.modeling_sam2"),
    "train": ("torch", "onnxscript"),
    "wholebody": ("totalsegmentator.python_api", "nnunetv2.inference.predict_from_raw_data"),
}
TRY_S = 300.0  # seconds for all imports: torch, gradio and ray on a slow disk
# Each module is imported in one child process, whose death is a finding too; a line of JSON before and after each.
TRIAL = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
for name in sys.argv[1:]:
    print(json.dumps([name, None]), flush=True)
    try:
        importlib.import_module(name)
        said = ""
    except BaseException as exc:
        causes = [exc]
        while causes[-1].__cause__ or causes[-1].__context__:
            causes.append(causes[-1].__cause__ or causes[-1].__context__)
        said = " ".join(f"{type(causes[-1]).__name__}: {causes[-1]}".split())[:300]
    print(json.dumps([name, said]), flush=True)
"""
CORE = ("promptseg", "numpy", "SimpleITK", "pydicom", "opencv-python-headless")


@dataclass(frozen=True)
class Diagnosis:
    """One line of the report.

    Attributes:
        topic: what was looked at.
        state: "ok" (tried, and it works), "absent" (an extra that is not installed) or "broken".
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


def examine() -> tuple[Diagnosis, ...]:
    """Look at this environment and try what is installed; nothing is changed and nothing leaves the machine."""
    core = ", ".join(f"{name} {_version(name) or 'missing'}" for name in CORE)
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    extras = _extras()
    here = [extra for extra, names in extras.items() if all(_version(name) for name in names)]
    tried = try_imports(list(dict.fromkeys(name for extra in here for name in USED_THROUGH.get(extra, ()))))
    return (
        Diagnosis("system", "ok", system),
        Diagnosis("core", "ok" if "missing" not in core else "broken", core),
        _onnx(),
        _device(),
        _model(),
        _viewer(),
        *(_extra(extra, names, tried) for extra, names in extras.items()),
    )


def _extras() -> dict[str, tuple[str, ...]]:
    """Return the distributions that each extra brings, as the installed package's own metadata says."""
    names = metadata.metadata("promptseg").get_all("Provides-Extra") or []
    found: dict[str, tuple[str, ...]] = {name: () for name in sorted(names) if name not in NOT_SHOWN}
    for requirement in metadata.requires("promptseg") or ():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)[^;]*;.*extra == ['\"](\w+)['\"].*", requirement)
        if match is not None and match[2] in found and match[1] != "promptseg":
            found[match[2]] += (match[1],)
    return found


def try_imports(names: list[str]) -> dict[str, str]:
    """Import modules in a child process; return what went wrong with each, "" where nothing did."""
    found: dict[str, str] = {}
    while left := [name for name in names if name not in found]:
        try:
            done = subprocess.run(
                [sys.executable, "-c", TRIAL, *left], capture_output=True, text=True, timeout=TRY_S, check=False
            )
            lines, why = done.stdout, f"ends the process with code {done.returncode}"
        except subprocess.TimeoutExpired as exc:
            lines = exc.stdout.decode(errors="replace") if isinstance(exc.stdout, bytes) else exc.stdout or ""
            why = f"takes longer than {TRY_S:g} s"
        said = dict(json.loads(line) for line in lines.splitlines() if line.startswith('["'))
        found |= {name: why if text is None else text for name, text in said.items()}
        if not said:
            found |= dict.fromkeys(left, why)
    return found


def _onnx() -> Diagnosis:
    found = onnx_distributions()
    text = ", ".join(f"{name} {v}" for name, v in found.items()) or "none"
    if len(found) == 1:
        return Diagnosis("onnx runtime", "ok", f"{text}; providers: {', '.join(onnx_providers())}")
    if not found:
        return Diagnosis("onnx runtime", "broken", text, "pip install onnxruntime")
    return Diagnosis(
        "onnx runtime",
        "broken",
        f"{text} share one module folder, so one hides the other",
        f"for the CPU: {SWAP_TO_CPU}; for CUDA: {SWAP_TO_GPU}",
    )


def _device() -> Diagnosis:
    try:
        return Diagnosis("device", "ok", f"auto means {choose_device('auto')}")
    except PromptsegError as exc:
        return Diagnosis("device", "broken", str(exc))


def _model() -> Diagnosis:
    try:
        predictor = load_predictor("builtin")
    except PromptsegError as exc:
        return Diagnosis("built-in model", "broken", str(exc), "reinstall promptseg")
    used = getattr(predictor, "providers", ())
    return Diagnosis("built-in model", "ok", f"loads; runs on {', '.join(used) or 'the CPU'}")


def _viewer() -> Diagnosis:
    from importlib.resources import files

    if (files("promptseg.app.viewer") / "static" / "vendor" / "niivue.js").is_file():
        return Diagnosis("browser app", "ok", "the viewer's library is here")
    return Diagnosis("browser app", "broken", "the viewer's library is missing", "python -m promptseg.app.viewer.build")


def _extra(extra: str, names: tuple[str, ...], tried: dict[str, str]) -> Diagnosis:
    versions = {name: _version(name) for name in names}
    text = ", ".join(f"{name} {v or 'not installed'}" for name, v in versions.items())
    if not all(versions.values()):
        return Diagnosis(f"[{extra}]", "absent", text, f'pip install "promptseg[{extra}]"')
    wrong = {name: tried[name] for name in USED_THROUGH.get(extra, ()) if tried.get(name)}
    if not wrong:
        return Diagnosis(f"[{extra}]", "ok", text)
    name, said = next(iter(wrong.items()))
    if "torchvision" in said:
        belongs = f"torchvision {_version('torchvision')} does not match torch {_version('torch')}"
        remedy = "install both from one index, e.g. pip install --force-reinstall torch torchvision"
        return Diagnosis(f"[{extra}]", "broken", f"{text}; {belongs}", remedy)
    return Diagnosis(f"[{extra}]", "broken", f"{text}; {name}: {said}", f'pip install --upgrade "promptseg[{extra}]"')
