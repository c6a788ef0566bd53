"""A user's own weights under an id of their own: checked, copied, and named in a row beside them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from promptseg.errors import ModelError
from promptseg.models.digests import digest_file
from promptseg.models.registry import ROW_FILE, ModelCard, WeightFile, model_card, model_cards
from promptseg.models.store import Store
from promptseg.models.trust import write_atomically

__all__ = ["OwnModel", "add_model"]

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx")
DEFAULT_ARCH = {"sam": "vit_b", "sam2": "hiera_tiny"}
DEFAULT_PREPROCESS = {
    "vit_b_adapter": "sam-med2d",
    "vit_t_256": "lite-medsam",
    "efficient_sam": "as-is",
}
"""Where the architecture is only known with one way to prepare slices; else "sam" or "sam2"."""


@dataclass(frozen=True)
class OwnModel:
    """What a user says about their weights.

    Attributes:
        model_id: lower-case letters, digits, ".", "_" and "-".
        checkpoint: .pth, .pt or .safetensors; or the encoder of an ONNX pair.
        decoder: the pair's decoder, or None.
        family: "sam" or "sam2".
        arch: see ``networks/architectures.py`` and ``families/sam2.py``; the family's usual one when "".
        preprocess: see ``families/frames.py``; the architecture's own when "".
        input_px: edge of the encoder's input; the architecture's own when 0.
        title, licence, source: for the list.
        prompts: kinds that it understands.
    """

    model_id: str
    checkpoint: Path
    decoder: Path | None = None
    family: str = "sam"
    arch: str = ""
    preprocess: str = ""
    input_px: int = 0
    title: str = ""
    licence: str = "not stated"
    source: str = "added by the user"
    prompts: Iterable[str] = field(default=("point", "box", "scribble", "lasso", "mask"))


def add_model(own: OwnModel, store: Store) -> ModelCard:
    """Check a user's weights, copy them into the store, and make them usable by their id.

    Raises:
        ModelError: the id is taken or malformed, a file is unsafe or damaged, or it is not what was said.
        MissingExtraError: torch is needed to look into the checkpoint and is not installed.
    """
    _check_id(own.model_id, store)
    sources = _sources(own)
    card = _card(own, sources)
    if own.decoder is None:
        _check_checkpoint(card, own.checkpoint)
    else:
        _check_pair(card, own.checkpoint, own.decoder)
    folder = store.folder(own.model_id)
    try:
        with store.locked(own.model_id):
            folder.mkdir(parents=True, exist_ok=True)
            for file, source in sources.items():
                path = store.path(own.model_id, file)
                shutil.copyfile(source, path)
                sha256 = digest_file(path)["sha256"]
                store.trust.pin(own.model_id, file.name, path, sha256, "added by the user")
            write_atomically(folder / ROW_FILE, _row(card))
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)
        raise ModelError(f"cannot copy the weights into {folder}: {exc}") from exc
    return model_card(own.model_id, store.settings.models_dir)


def _check_id(model_id: str, store: Store) -> None:
    if not ID.fullmatch(model_id):
        raise ModelError(f"expected an id of lower-case letters, digits, '.', '_' and '-', got {model_id!r}")
    if model_id in model_cards(store.settings.models_dir):
        raise ModelError(f"the id {model_id!r} is taken; choose another or run: promptseg models rm {model_id}")


def _sources(own: OwnModel) -> dict[WeightFile, Path]:
    given = [own.checkpoint] if own.decoder is None else [own.checkpoint, own.decoder]
    for path in given:
        if not path.is_file():
            raise ModelError(f"expected a file of weights, found nothing at {path}")
        if path.suffix.lower() not in SUFFIXES:
            raise ModelError(f"expected a file of weights ({', '.join(SUFFIXES)}), got {path.name}")
    is_onnx = own.checkpoint.suffix.lower() == ".onnx"
    if is_onnx != (own.decoder is not None):
        raise ModelError("expected two .onnx files (--checkpoint ENCODER --decoder DECODER), or one checkpoint")
    roles = ["encoder", "decoder"] if is_onnx else ["checkpoint"]
    return {
        WeightFile(path.name, role, hash_source="added by the user", bytes=path.stat().st_size): path
        for role, path in zip(roles, given, strict=True)
    }


def _card(own: OwnModel, files: Iterable[WeightFile]) -> ModelCard:
    if own.family not in DEFAULT_ARCH:
        raise ModelError(f"expected a family ({', '.join(DEFAULT_ARCH)}), got {own.family!r}")
    arch = own.arch or DEFAULT_ARCH[own.family]
    return ModelCard(
        id=own.model_id,
        family=own.family,
        title=own.title or f"added by the user from {own.checkpoint.name}",
        dimensions=2,
        prompts=tuple(own.prompts),
        licence=own.licence,
        commercial_use=True,  # the user's own affair
        source=own.source,
        arch=arch,
        input_px=own.input_px or _input_px(own.family, arch),
        preprocess=own.preprocess or DEFAULT_PREPROCESS.get(arch, own.family),
        files=tuple(files),
        user=True,
    )


def _input_px(family: str, arch: str) -> int:
    return 256 if arch in ("vit_b_adapter", "vit_t_256") else 1024


def _check_checkpoint(card: ModelCard, checkpoint: Path) -> None:
    """Load it once, as every start will."""
    from promptseg.models.families.frames import KINDS

    if card.preprocess not in KINDS:
        raise ModelError(f"expected a way to prepare slices ({', '.join(KINDS)}), got {card.preprocess!r}")
    if card.family == "sam2":
        from promptseg.models.families.sam2 import load_sam2
        from promptseg.models.runtime import Device

        load_sam2(card, checkpoint, Device("cpu"), "fp32")
        return
    try:
        from promptseg.models.networks.architectures import load_network
    except ImportError as exc:
        from promptseg.errors import MissingExtraError

        raise MissingExtraError("torch", "sam") from exc
    load_network(card.arch, checkpoint)


def _check_pair(card: ModelCard, encoder: Path, decoder: Path) -> None:
    from promptseg.models.families.sam_onnx import OnnxSamRunner
    from promptseg.models.runtime import Device

    OnnxSamRunner(encoder, decoder, Device("cpu"), input_px=card.input_px)


def _row(card: ModelCard) -> str:
    """The card as TOML; strings are written as JSON writes them, which TOML reads."""
    lines = [f"[{json.dumps(card.id)}]"]
    for name in (
        "family",
        "arch",
        "title",
        "dimensions",
        "licence",
        "commercial_use",
        "source",
        "input_px",
        "preprocess",
    ):
        lines.append(f"{name} = {json.dumps(getattr(card, name))}")
    lines.append(f"prompts = {json.dumps(list(card.prompts))}")
    for file in card.files:
        lines.append(f"\n[[{json.dumps(card.id)}.files]]")
        lines += [f"{name} = {json.dumps(getattr(file, name))}" for name in ("name", "role", "hash_source", "bytes")]
    return "\n".join(lines) + "\n"
