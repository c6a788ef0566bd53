"""State dicts from files: never runs code, and says what was expected and found.

Reads ``.pth``/``.pt`` (torch's zip and older pickle layouts, tensors only) and ``.safetensors``.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import MissingExtraError, ModelError
from promptseg.models.settings import available_memory_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BESIDE", "check_size", "describe_architecture", "match_keys", "read_state", "weights_bytes"]

CONTAINERS = ("model", "state_dict", "model_state", "model_state_dict", "net")
"""Names under which trainers keep the weights beside optimiser and epoch (SAM 2, Lightning, torch_em, MONAI)."""

PREFIXES = ("module.", "sam.", "model.", "sam_model.")
"""What wrappers put before every key: DistributedDataParallel, torch_em, Lightning."""

BESIDE = ".data"
"""After an ONNX file's name: that of the file beside it with its weights, where they are more than protobuf's 2 GiB."""

SHOWN = 3  # keys named in a message


def read_state(path: Path, expected_bytes: int = 0) -> dict[str, Tensor]:
    """Return a file's tensors by name, without containers and wrappers' prefixes.

    Args:
        path: .pth, .pt or .safetensors.
        expected_bytes: its size where it is known; another size is refused before anything is read.

    Raises:
        ModelError: it is cut off, carries code, is something else, or is larger than the free memory.
        MissingExtraError: torch or safetensors is not installed.
    """
    check_size(path, expected_bytes)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _unwrap(content, path)
    return _without_prefix(state)


def check_size(path: Path, expected_bytes: int = 0) -> None:
    """Refuse a file before any memory is taken for it.

    Args:
        path: weights; what an ONNX file keeps beside it in ``<name>.data`` is counted.
        expected_bytes: its size where it is known.

    Raises:
        ModelError: it cannot be read, has another size, or is larger than the free memory.
    """
    try:
        size = path.stat().st_size
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror}") from exc
    if expected_bytes and size != expected_bytes:
        raise ModelError(f"{path} is not whole: expected {expected_bytes:,} bytes, got {size:,}; pull it again")
    size, free = weights_bytes(path), available_memory_bytes()
    if free is not None and size > free:
        raise ModelError(f"{path} holds {size:,} bytes, but only {free:,} bytes of memory are free")


def weights_bytes(path: Path) -> int:
    """Size of a file of weights, with what an ONNX file keeps beside it in ``<name>.data``."""
    beside = path.with_name(path.name + BESIDE)
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as exc:
        raise MissingExtraError("safetensors", "sam") from exc
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise ModelError(f"{path} is not a whole safetensors file: {exc}") from exc


def _read_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as exc:
        raise MissingExtraError("torch", "sam") from exc
    _check_layout(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it may not understand; then it raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        raise ModelError(
            f"{path} is refused: besides tensors it holds Python objects, and loading those can run any code "
            f"({_named_object(exc)}); ask its authors for a plain state dict or a .safetensors file"
        ) from exc
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as exc:
        raise ModelError(f"{path} cannot be read as a checkpoint, it is damaged or cut off: {exc}") from exc


def _check_layout(path: Path) -> None:
    """Refuse what is cut off, and zips that would unpack to more than they are."""
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] != b"PK":
        if start[:1] != b"\x80":
            raise ModelError(f"expected a torch checkpoint in {path}, but it starts with {start!r}")
        return  # the layout before torch 1.6: a bare pickle
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except zipfile.BadZipFile as exc:
        raise ModelError(f"{path} is cut off: its table of contents at the end is missing; pull it again") from exc
    if unpacked > path.stat().st_size:
        raise ModelError(f"{path} is refused: it would unpack to {unpacked:,} bytes, checkpoints are never packed")


def _named_object(exc: Exception) -> str:
    for line in str(exc).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:160]
    return str(exc).splitlines()[0][:160] if str(exc) else "pickle"


def _is_state(content: Any) -> bool:
    import torch

    return isinstance(content, Mapping) and bool(content) and all(isinstance(v, torch.Tensor) for v in content.values())


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    if _is_state(content):
        return dict(content)
    if isinstance(content, Mapping):
        for name in CONTAINERS:
            if _is_state(content.get(name)):
                return dict(content[name])
        found = ", ".join(str(k) for k in list(content)[:8])
        raise ModelError(f"expected tensors by name in {path}, or under {', '.join(CONTAINERS)}; found {found}")
    raise ModelError(f"expected tensors by name in {path}, found {type(content).__name__}")


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def describe_architecture(state: Mapping[str, Tensor]) -> str:
    """Name what a state dict looks like, for messages."""
    if any(key.startswith("sam_mask_decoder.") for key in state):
        return "SAM 2"
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        kernel = state["image_encoder.patch_embed.seq.0.c.weight"].shape[-1]
        return "SAM with TinyViT (vit_t)" if kernel == 3 else "SAM with TinyViT for 256 px (vit_t_256)"
    if "image_encoder.pos_embed" in state:
        width = int(state["image_encoder.pos_embed"].shape[-1])
        name = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}.get(width, f"a ViT {width} wide")
        adapter = any(".Adapter." in key for key in state)
        edge = int(state["image_encoder.pos_embed"].shape[1]) * 16
        return f"SAM {name}{' with adapters' if adapter else ''} for {edge} px"
    if "vision_encoder.pos_embed" in state:
        return "SAM in the layout of transformers"
    return "none of the known ones"


def match_keys(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, *, ignored: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Return exactly the tensors that an architecture expects.

    Args:
        state: what the file holds.
        expected: the architecture's own state dict.
        what: the architecture's name, for the message.
        ignored: beginnings of keys that the file may hold besides.

    Raises:
        ModelError: keys are missing or unexpected, or a shape differs; the message counts and names them.
    """
    missing = [k for k in expected if k not in state]
    skipped = tuple(ignored)
    extra = [k for k in state if k not in expected and not (skipped and k.startswith(skipped))]
    other = [
        f"{k} is {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    if not (missing or extra or other):
        return {k: state[k] for k in expected}
    parts = [
        f"{len(names)} {label} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
        for names, label in ((missing, "missing"), (extra, "unexpected"), (other, "of another shape"))
        if names
    ]
    raise ModelError(
        f"expected the weights of {what}, but of {len(expected)} tensors {', '.join(parts)}; "
        f"the file looks like {describe_architecture(state)}"
    )
