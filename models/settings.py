"""The model manager's settings: one frozen object, one reader of the environment.

| variable | means | default |
|---|---|---|
| ``PROMPTSEG_MODELS`` | folder of weights | the user's data folder |
| ``PROMPTSEG_CACHE`` | folder of what can be made again: embeddings, optimised graphs | the user's cache folder |
| ``PROMPTSEG_MIRRORS`` | base addresses tried first, with commas: ``<base>/<id>/<file>`` | none |
| ``HF_ENDPOINT`` | stands in for ``https://huggingface.co`` | none |
| ``PROMPTSEG_OFFLINE``, else ``HF_HUB_OFFLINE`` | 1: never open a connection | 0 |
| ``PROMPTSEG_EMBEDDINGS_MB`` | limit of the embeddings on disk; 0 keeps none there | 0 |
| ``PROMPTSEG_LOADED_MB`` | limit of loaded models in the host's memory; a GPU has half of its own | half of it |
| ``PROMPTSEG_RUNTIME`` | auto, torch, onnx, openvino (CPU) or tensorrt (ONNX Runtime with TensorRT) | auto |
| ``PROMPTSEG_PRECISION`` | auto, fp32, bf16, fp16 or int8 | auto |
| ``PROMPTSEG_TRIM`` | 1: do not compute padding, air and tables (answers change, see models/README.md) | 0 |
| ``PROMPTSEG_COMPILE`` | 1: on torch, compile the encoder at its first slice (half a minute, then faster) | 0 |

Proxies are the platform's own (``https_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promptseg.errors import SettingsError

__all__ = ["PRECISIONS", "RUNTIMES", "ModelSettings", "available_memory_bytes", "model_settings"]

RUNTIMES = ("auto", "torch", "onnx", "openvino", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
MIB = 1024**2
DEFAULT_LOADED_BYTES = 8 * 1024**3  # where the platform does not tell its memory


@dataclass(frozen=True)
class ModelSettings:
    """See the module's table; sizes are in bytes."""

    models_dir: Path
    cache_dir: Path
    mirrors: tuple[str, ...] = ()
    hf_endpoint: str = ""
    offline: bool = False
    embedding_disk_bytes: int = 0
    loaded_bytes: int = DEFAULT_LOADED_BYTES
    runtime: str = "auto"
    precision: str = "auto"
    trim: bool = False
    compiled: bool = False


def model_settings(environ: Mapping[str, str] | None = None) -> ModelSettings:
    """Read the settings; ``os.environ`` when nothing else is given.

    Raises:
        SettingsError: a variable has an impossible value.
    """
    env = os.environ if environ is None else environ
    data, cache = _user_folders(env)
    return ModelSettings(
        models_dir=Path(env.get("PROMPTSEG_MODELS") or data / "models").expanduser(),
        cache_dir=Path(env.get("PROMPTSEG_CACHE") or cache).expanduser(),
        mirrors=tuple(part.strip().rstrip("/") for part in env.get("PROMPTSEG_MIRRORS", "").split(",") if part.strip()),
        hf_endpoint=env.get("HF_ENDPOINT", "").rstrip("/"),
        offline=_flag(env, "PROMPTSEG_OFFLINE" if env.get("PROMPTSEG_OFFLINE") else "HF_HUB_OFFLINE"),
        embedding_disk_bytes=_megabytes(env, "PROMPTSEG_EMBEDDINGS_MB", 0),
        loaded_bytes=_megabytes(env, "PROMPTSEG_LOADED_MB", _half_of_memory()),
        runtime=_one_of(env, "PROMPTSEG_RUNTIME", RUNTIMES),
        precision=_one_of(env, "PROMPTSEG_PRECISION", PRECISIONS),
        trim=_flag(env, "PROMPTSEG_TRIM"),
        compiled=_flag(env, "PROMPTSEG_COMPILE"),
    )


def _user_folders(env: Mapping[str, str]) -> tuple[Path, Path]:
    """(data, cache) folders as the platform has them."""
    home = Path.home()
    if sys.platform == "win32":
        local = Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local") / "promptseg"
        return local, local / "cache"
    if sys.platform == "darwin":
        return home / "Library/Application Support/promptseg", home / "Library/Caches/promptseg"
    data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "promptseg", Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "promptseg"


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise SettingsError(f"expected {name} to be 0 or 1, got {env[name]!r}")


def _megabytes(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise SettingsError(f"expected {name} to be a whole number of MiB, got {text!r}")
    return int(text) * MIB


def _one_of(env: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name, "").strip().lower() or allowed[0]
    if value not in allowed:
        raise SettingsError(f"expected {name} to be one of {', '.join(allowed)}, got {env[name]!r}")
    return value


def available_memory_bytes() -> int | None:
    """Memory that a new array could take without swapping; None where the platform does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _half_of_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return DEFAULT_LOADED_BYTES
