"""A user's own weights under an id of their own: checked, copied, and named in a row beside them."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promptseg.errors import MissingExtraError, ModelError
from promptseg.models.weights.registry import ModelCard, WeightFile, model_card
from promptseg.models.weights.store import BY_USER, Store

if TYPE_CHECKING:
    from promptseg.models.families.sam.predictor import SamPredictor

__all__ = ["OwnModel", "add_model"]

SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx")
DEFAULT_ARCH = {"sam": "vit_b", "sam2": "hiera_tiny"}
DEFAULT_PREPROCESS = {
    "vit_b_adapter": "sam-med2d",
    "vit_t_256": "lite-medsam",
    "efficient_sam": "as-is",
}
"""Where the architecture is only known with one way to prepare slices; else "sam" or "sam2"."""

SCORES = ("iou", "stability")
DEFAULT_SCORE = {"medsam": "stability"}
"""By way to prepare slices; else "iou". MedSAM's training leaves the estimate of overlap out (train_one_gpu.py)."""

PROBE_SHAPE = (48, 64)  # of the slice that an ONNX pair must answer before it is taken
EXTERNAL = re.compile(rb"j.{1,2}\n\x08location\x12(.)", re.S)
"""An entry "location" of a tensor's external_data (field 13 of onnx.proto's TensorProto), then the name's length."""


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
        score: see ``ModelCard.score``; what fits ``preprocess`` when "".
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
    score: str = ""
    input_px: int = 0
    title: str = ""
    licence: str = "not stated"
    source: str = "added by the user"
    prompts: Iterable[str] = field(default=("point", "box", "scribble", "lasso", "mask"))


def add_model(own: OwnModel, store: Store) -> ModelCard:
    """Check a user's weights, copy them into the store, and make them usable by their id.

    Raises:
        ModelError: the id is taken or malformed, a file is unsafe or damaged, it is not what was said, or it cannot be
            copied. Files of the user stay as they are.
        MissingExtraError: torch is needed to look into the checkpoint and is not installed.
    """
    store.check_new_id(own.model_id)
    sources = _sources(own)
    card = _card(own, sources)
    _check_choices(card)
    if own.decoder is None:
        _check_checkpoint(card, own.checkpoint)
    else:
        _check_pair(card, own.checkpoint, own.decoder)
    store.adopt_own(card, sources, _row(card))
    return model_card(own.model_id, store.settings.models_dir)


def _sources(own: OwnModel) -> dict[WeightFile, Path]:
    given = [own.checkpoint] if own.decoder is None else [own.checkpoint, own.decoder]
    for path in given:
        if not path.is_file():
            raise ModelError(f"expected a file of weights, found nothing at {path}")
        if path.suffix.lower() not in SUFFIXES:
            raise ModelError(f"expected a file of weights ({', '.join(SUFFIXES)}), got {path.name}")
    if {path.suffix.lower() == ".onnx" for path in given} != {own.decoder is not None}:
        raise ModelError("expected two .onnx files (--checkpoint ENCODER --decoder DECODER), or one checkpoint")
    if own.decoder is None:
        return {_file(own.checkpoint.name, "checkpoint", own.checkpoint): own.checkpoint}
    pair = {"encoder": own.checkpoint, "decoder": own.decoder}
    return {_file(f"{role}.onnx", role, path): path for role, path in pair.items()}


def _file(name: str, role: str, path: Path) -> WeightFile:
    return WeightFile(name, role, hash_source=BY_USER, bytes=path.stat().st_size)


def _card(own: OwnModel, files: Iterable[WeightFile]) -> ModelCard:
    if own.family not in DEFAULT_ARCH:
        raise ModelError(f"expected a family ({', '.join(DEFAULT_ARCH)}), got {own.family!r}")
    arch = own.arch or DEFAULT_ARCH[own.family]
    preprocess = own.preprocess or DEFAULT_PREPROCESS.get(arch, own.family)
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
        preprocess=preprocess,
        score=own.score or DEFAULT_SCORE.get(preprocess, "iou"),
        files=tuple(files),
        user=True,
    )


def _input_px(family: str, arch: str) -> int:
    return 256 if arch in ("vit_b_adapter", "vit_t_256") else 1024


def _check_choices(card: ModelCard) -> None:
    from promptseg.models.families.sam.frames import KINDS

    kinds = ("sam2",) if card.family == "sam2" else KINDS
    if card.preprocess not in kinds:
        raise ModelError(f"expected a way to prepare slices ({', '.join(kinds)}), got {card.preprocess!r}")
    if card.score not in SCORES:
        raise ModelError(f"expected a score ({', '.join(SCORES)}), got {card.score!r}")


def _check_checkpoint(card: ModelCard, checkpoint: Path) -> None:
    """Load it once, as every start will."""
    if card.family == "sam2":
        from promptseg.models.families.sam2.predictor import load_sam2
        from promptseg.models.runtime import Device

        load_sam2(card, checkpoint, Device("cpu"), "fp32")
        return
    try:
        from promptseg.models.networks.architectures import load_network
    except ImportError as exc:
        raise MissingExtraError("torch", "sam") from exc
    network = load_network(card.arch, checkpoint)
    if network.input_px != card.input_px:
        raise ModelError(f"expected an input of {network.input_px} px for {card.arch}, got --input-px {card.input_px}")


def _check_pair(card: ModelCard, encoder: Path, decoder: Path) -> None:
    """Let both answer a click on a small slice."""
    from promptseg.models.predictor import SliceImage, SlicePrompts

    for path in (encoder, decoder):
        if elsewhere := _external(path):
            raise ModelError(
                f"{path} keeps its weights in another file ({elsewhere}); write it as one file, in Python: "
                f'onnx.save(onnx.load("{path.name}"), "whole.onnx")'
            )
    pixels = np.linspace(0, 1, PROBE_SHAPE[0] * PROBE_SHAPE[1], dtype=np.float32).reshape(PROBE_SHAPE)
    click = SlicePrompts(np.array([[n / 2 for n in PROBE_SHAPE]], np.float32), np.array([True]))
    try:
        predictor = _open_pair(card, encoder, decoder)
        answer = predictor.predict(predictor.embed(SliceImage(pixels)), click)
        if answer.logits.shape != PROBE_SHAPE or not np.isfinite(answer.logits).all():
            raise ValueError(f"logits {answer.logits.shape} for a slice {PROBE_SHAPE}, or some that are not finite")
    except Exception as exc:
        raise ModelError(
            f"expected a pair of the family {card.family} for {card.input_px} px and slices prepared as "
            f"{card.preprocess}, but {encoder} and {decoder} do not answer a click: {exc}"
        ) from exc


def _external(path: Path) -> str:
    """The name of the file that holds an ONNX file's weights, or "" when it holds them itself."""
    if not path.stat().st_size:
        return ""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = EXTERNAL.search(content)
        return content[found.end() : found.end() + found[1][0]].decode(errors="replace") if found else ""


def _open_pair(card: ModelCard, encoder: Path, decoder: Path) -> SamPredictor:
    from promptseg.models.families.sam.on_onnx import OnnxSamRunner
    from promptseg.models.families.sam.predictor import SamOptions, SamPredictor, SamRunner
    from promptseg.models.families.sam2.on_onnx import Sam2OnnxRunner
    from promptseg.models.runtime import Device, Placement

    runner: SamRunner
    if card.family == "sam2":
        runner = Sam2OnnxRunner(encoder, decoder, Placement(Device("cpu"), "onnx", "fp32"), card.input_px)
    else:
        runner = OnnxSamRunner(encoder, decoder, Device("cpu"), input_px=card.input_px)
    return SamPredictor(runner, card.id, SamOptions(card.preprocess, card.score))


def _row(card: ModelCard) -> str:
    """The card as TOML."""
    lines = [f"[{_toml(card.id)}]"]
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
        "score",
    ):
        lines.append(f"{name} = {_toml(getattr(card, name))}")
    lines.append(f"prompts = {_toml(list(card.prompts))}")
    for file in card.files:
        lines.append(f"\n[[{_toml(card.id)}.files]]")
        lines += [f"{name} = {_toml(getattr(file, name))}" for name in ("name", "role", "hash_source", "bytes")]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """As JSON writes it, which TOML reads but for pairs of escapes (an emoji) and a bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
