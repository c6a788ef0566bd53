"""From a model's id to a loaded predictor: found, checked, placed, and kept in memory while there is room."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import DeviceError, ModelError, UnknownModelError
from promptseg.models.declared import declared_models, load_declared
from promptseg.models.export import ExportReport, Tracer, exported, sam2_tracer, sam_tracer, write_export
from promptseg.models.loaded import LoadedModels
from promptseg.models.predictor import Predictor
from promptseg.models.runtime import (
    Device,
    Placement,
    choose_device,
    choose_placement,
    gpu_count,
    has_openvino,
    needing_memory,
    torch_gpu_bytes,
)
from promptseg.models.settings import ModelSettings, model_settings
from promptseg.models.volume_predictor import VolumePredictor
from promptseg.models.weights.registry import ModelCard, model_card
from promptseg.models.weights.store import Store

if TYPE_CHECKING:
    from promptseg.models.families.sam.predictor import SamRunner

__all__ = ["export_model", "load_predictor", "loaded_models", "placement_of", "weights_hash"]

GPU_BATCH = 8  # slices made ahead in one run: more of them gain nothing on a large encoder
EMBEDDINGS_MADE = 2
"""Part of every embedding's key: raised when the same slice and weights no longer give what lies on a user's disk."""

Key = tuple[object, ...]
_LOCK = threading.Lock()
_LOADED: LoadedModels | None = None


def loaded_models() -> LoadedModels:
    """This process's loaded models; ``report()`` says what they are."""
    global _LOADED
    with _LOCK:
        if _LOADED is None:
            _LOADED = LoadedModels(model_settings().loaded_bytes, _gpu_limit)
        return _LOADED


def _gpu_limit(device: str) -> int | None:
    """Half of a GPU's memory is for weights, the rest for what is computed."""
    whole = torch_gpu_bytes(device)
    return None if whole is None else whole // 2


@dataclass(frozen=True)
class _Weights:
    """What is on disk for a model: files by role, exports by precision, and one hash for all of it."""

    files: dict[str, Path]
    exports: dict[str, dict[str, Path]]
    fingerprint: str


def _weights(card: ModelCard, store: Store) -> _Weights:
    files = store.ensure(card)
    fingerprint = store.fingerprint(card)
    exports = exported(store.folder(card.id), fingerprint) if "checkpoint" in files else {}
    if "encoder" in files:
        exports = {"fp32": files}
    return _Weights(files, exports, fingerprint)


def placement_of(card: ModelCard, device: str, settings: ModelSettings | None = None) -> Placement:
    """Say where, on what and in which precision a model would run; see ``choose_placement`` for the errors."""
    settings = settings or model_settings()
    weights = _weights(card, Store(settings))
    placements = _keyed(card, weights, _placements(card, weights, device, settings), settings)
    return placements[loaded_models().choose({key: str(placed.device) for key, placed in placements.items()})]


def _placements(card: ModelCard, weights: _Weights, device: str, settings: ModelSettings) -> list[Placement]:
    """Where a model may run: one placement, or one on every GPU where any will do."""

    def place(requested: str) -> Placement:
        return choose_placement(
            requested,
            has_checkpoint="checkpoint" in weights.files,
            exports=tuple(weights.exports),
            runtime=settings.runtime,
            precision=settings.precision,
        )

    first = place(device)
    if device not in ("auto", "cuda") or first.device.kind == "cpu":
        return [first]
    return [first, *(place(f"cuda:{index}") for index in range(1, gpu_count(first.runtime)))]


def _embedding_key(card: ModelCard, weights: _Weights, placed: Placement, settings: ModelSettings) -> Key:
    """Everything that decides what a slice's embedding is; the same on every device."""
    how = (card.family, card.arch, card.preprocess, card.input_px, card.score)
    return (EMBEDDINGS_MADE, card.id, weights.fingerprint, *how, placed.runtime, placed.precision, settings.trim)


def _keyed(
    card: ModelCard, weights: _Weights, placements: list[Placement], settings: ModelSettings
) -> dict[Key, Placement]:
    """Placements by what names a loaded model."""
    return {
        (_embedding_key(card, weights, placed, settings), placed.device, settings.compiled): placed
        for placed in placements
    }


def _builtin(card: ModelCard, device: Device) -> Predictor:
    from promptseg.models.builtin import BUILTIN_ONNX
    from promptseg.models.families.builtin.predictor import BuiltinPredictor

    return BuiltinPredictor(
        BUILTIN_ONNX, model_id=card.id, device=device, volume=lambda: _builtin_volume(card.id, device)
    )


def _builtin_volume(model_id: str, device: Device) -> VolumePredictor:
    from promptseg.models.builtin import BUILTIN_3D_ONNX
    from promptseg.models.families.builtin.volume import BuiltinVolumePredictor

    may_be = device.kind == "cpu" and model_settings().runtime in ("auto", "openvino")
    runtime = "openvino" if may_be and has_openvino() else "onnx"
    return BuiltinVolumePredictor(BUILTIN_3D_ONNX, model_id, device=device, runtime=runtime)


def _classical(card: ModelCard, _device: Device) -> Predictor:
    from promptseg.models.families.classical import ClassicalPredictor

    return ClassicalPredictor(card.id)


def _sam(card: ModelCard, weights: _Weights, placed: Placement, settings: ModelSettings) -> Predictor:
    from promptseg.models.families.sam.predictor import SamOptions, SamPredictor

    options = SamOptions(card.preprocess or "sam", card.score, settings.trim)
    runner: SamRunner
    if placed.runtime != "torch":
        runner = _onnx_runner(card, _pair(weights, placed), placed, settings)
    else:
        from promptseg.models.families.sam.on_torch import TorchSamRunner

        runner = TorchSamRunner.from_checkpoint(
            card.arch,
            weights.files["checkpoint"],
            placed.device,
            placed.precision,
            _known_bytes(card),
            compiled=settings.compiled,
        )
    return SamPredictor(runner, card.id, options)


def _pair(weights: _Weights, placed: Placement) -> dict[str, Path]:
    """The files of a placement; OpenVINO and TensorRT halve those in fp32, and OpenVINO has an int8 of its own."""
    if placed.runtime in ("openvino", "tensorrt"):
        return weights.exports["openvino-int8" if placed.precision == "int8" else "fp32"]
    return weights.exports[placed.precision]


def _onnx_runner(
    card: ModelCard, pair: dict[str, Path], placed: Placement, settings: ModelSettings | None
) -> SamRunner:
    from promptseg.models.families.sam.on_onnx import OnnxSamRunner

    return OnnxSamRunner(
        pair["encoder"],
        pair["decoder"],
        placed.device,
        input_px=card.input_px or 1024,
        precision=placed.precision,
        runtime=placed.runtime,
        graph_cache=settings.cache_dir / "graphs" if settings is not None else None,
        any_size=settings is not None and settings.trim,
    )


def _known_bytes(card: ModelCard) -> int:
    file = card.file("checkpoint")
    return file.bytes if file is not None else 0


def _sam2(card: ModelCard, weights: _Weights, placed: Placement, settings: ModelSettings) -> Predictor:
    from promptseg.models.families.sam.predictor import SamOptions, SamPredictor
    from promptseg.models.families.sam2.predictor import load_sam2, with_memory

    if placed.runtime == "torch":
        return load_sam2(card, weights.files["checkpoint"], placed.device, placed.precision, compiled=settings.compiled)
    runner = _sam2_onnx_runner(card, _pair(weights, placed), placed, settings)
    checkpoint = weights.files.get("checkpoint")
    if checkpoint is None:  # a pair that a user added: its memory was never exported
        return SamPredictor(runner, card.id, SamOptions("sam2", card.score))
    return with_memory(runner, card, checkpoint, Device("cpu"), "fp32")


def _sam2_onnx_runner(
    card: ModelCard, pair: dict[str, Path], placed: Placement, settings: ModelSettings | None
) -> SamRunner:
    from promptseg.models.families.sam2.on_onnx import Sam2OnnxRunner

    graphs = settings.cache_dir / "graphs" if settings is not None else None
    return Sam2OnnxRunner(pair["encoder"], pair["decoder"], placed, card.input_px or 1024, graphs)


_INSIDE: dict[str, Callable[[ModelCard, Device], Predictor]] = {"builtin": _builtin, "classical": _classical}
_ON_DISK: dict[str, Callable[[ModelCard, _Weights, Placement, ModelSettings], Predictor]] = {
    "sam": _sam,
    "sam2": _sam2,
}


def load_predictor(model_id: str, device: str = "auto") -> Predictor:
    """Return the loaded model; the same object for the same model and device while it stays in memory.

    Args:
        model_id: an id of the registry, or of a model that another package declares.
        device: see ``choose_device``.

    Raises:
        UnknownModelError: no such id.
        DeviceError: the device is not there.
        ModelError: the weights are missing or broken, or their licence was not accepted.
        MissingExtraError: a package that the model needs is not installed.
    """
    try:
        card = model_card(model_id)  # an unknown model is reported before an unknown device
    except UnknownModelError:
        if model_id not in declared_models():
            raise
        return load_declared(model_id, device)
    if card.family in _INSIDE:
        chosen = choose_device(device)
        if card.family == "classical" and chosen.kind != "cpu":
            if device != "auto":
                raise DeviceError(
                    f"model {model_id!r} runs on the CPU only; expected device cpu or auto, got {device!r}"
                )
            chosen = Device("cpu")
        return loaded_models().get({(model_id, chosen): str(chosen)}, lambda _: _INSIDE[card.family](card, chosen))
    if card.family not in _ON_DISK:
        raise ModelError(_no_class(card))
    settings = model_settings()
    weights = _weights(card, Store(settings))
    placements = _keyed(card, weights, _placements(card, weights, device, settings), settings)

    def load(key: Key) -> Predictor:
        return _opened(card, weights, placements[key], settings)

    return loaded_models().get(
        {key: str(placed.device) for key, placed in placements.items()},
        load,
        sum(path.stat().st_size for path in weights.files.values()),
    )


@functools.cache
def _builtin_hash() -> str:
    from promptseg.models.builtin import BUILTIN_3D_ONNX, BUILTIN_ONNX

    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (BUILTIN_ONNX, BUILTIN_3D_ONNX)]
    return hashlib.sha256("-".join(digests).encode()).hexdigest()


def weights_hash(model_id: str) -> str:
    """Return the sha256 (hex) that names a model's weights; of several files that of their hashes. "" for none.

    Raises:
        UnknownModelError: no such id.
        ModelError: the weights are missing.
    """
    card = model_card(model_id)
    if card.family in _INSIDE:
        return _builtin_hash() if card.family == "builtin" else ""
    found = _weights(card, Store(model_settings())).fingerprint
    return hashlib.sha256(found.encode()).hexdigest() if "-" in found else found


def _opened(card: ModelCard, weights: _Weights, placed: Placement, settings: ModelSettings) -> Predictor:
    """The model with a cache of its embeddings."""
    from promptseg.models.embeddings import CachedPredictor, EmbeddingCache

    with needing_memory(f"model {card.id!r}", str(placed.device)):
        predictor = _ON_DISK[card.family](card, weights, placed, settings)
    cache = EmbeddingCache(
        repr(_embedding_key(card, weights, placed, settings)),
        disk=settings.cache_dir / "embeddings" if settings.embedding_disk_bytes else None,
        disk_bytes=settings.embedding_disk_bytes,
    )
    return CachedPredictor(predictor, cache, GPU_BATCH if placed.device.kind == "cuda" else 1)


def _no_class(card: ModelCard) -> str:
    if card.dimensions == 3:
        return (
            f"model {card.id!r} segments whole volumes through its own package and is not run slice by slice; "
            f"from Python: promptseg.models.families.nninteractive.open_volume; see {card.source}"
        )
    known = ", ".join([*_INSIDE, *_ON_DISK])
    return f"model {card.id!r} names the family {card.family!r}; known: {known}"


def export_model(model_id: str, precision: str = "fp32") -> ExportReport:
    """Write a model as an ONNX pair into its folder; from then on ``load_predictor`` uses it.

    Raises:
        ModelError: the model has no checkpoint, or its family cannot be exported.
        MissingExtraError: torch or onnx is not installed.
    """
    card, settings = model_card(model_id), model_settings()
    if card.family not in _ON_DISK or card.file("checkpoint") is None:
        raise ModelError(
            f"expected a model of the family {' or '.join(_ON_DISK)} with a checkpoint, "
            f"got {model_id!r} ({card.family})"
        )
    store = Store(settings)
    weights = _weights(card, store)
    choose_placement("cpu", has_checkpoint=True, exports=(), runtime="torch")  # torch must be here
    tracer, reference = (_sam2_source if card.family == "sam2" else _sam_source)(card, weights)

    def open_pair(encoder: Path, decoder: Path, runtime: str) -> Predictor:
        from promptseg.models.families.sam.predictor import SamOptions, SamPredictor

        runner = _sam2_onnx_runner if card.family == "sam2" else _onnx_runner
        options = SamOptions(card.preprocess or card.family, card.score)
        placed = Placement(Device("cpu"), runtime, precision)
        return SamPredictor(runner(card, {"encoder": encoder, "decoder": decoder}, placed, None), card.id, options)

    return write_export(
        tracer,
        store.folder(card.id),
        precision,
        open_pair=open_pair,
        reference=reference,
        about={"model_id": card.id, "arch": card.arch, "source_sha256": weights.fingerprint},
    )


def _sam_source(card: ModelCard, weights: _Weights) -> tuple[Tracer, Predictor]:
    """What writes a SAM, and the same on torch to compare with."""
    from promptseg.models.families.sam.on_torch import TorchSamRunner
    from promptseg.models.families.sam.predictor import SamOptions, SamPredictor
    from promptseg.models.networks.architectures import load_network

    network = load_network(card.arch, weights.files["checkpoint"], _known_bytes(card))
    options = SamOptions(card.preprocess or "sam", card.score)
    return sam_tracer(network), SamPredictor(TorchSamRunner(network, Device("cpu")), card.id, options)


def _sam2_source(card: ModelCard, weights: _Weights) -> tuple[Tracer, Predictor]:
    """What writes a SAM 2, and the same on torch to compare with."""
    from promptseg.models.families.sam2.predictor import load_image_model, load_sam2

    checkpoint = weights.files["checkpoint"]
    tracer = sam2_tracer(load_image_model(card, checkpoint), card.input_px or 1024)
    return tracer, load_sam2(card, checkpoint, Device("cpu"), "fp32")
