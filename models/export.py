"""Write a model as an ONNX pair, and measure how far its answers are from torch's.

``<models folder>/<id>/onnx-<precision>/{encoder.onnx, decoder.onnx, export.json}``. ``export.json`` names the hash of
the checkpoint that it was made from: an export of other weights is not used.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import MissingExtraError, ModelError
from promptseg.models import runtime
from promptseg.models.checkpoints import BESIDE
from promptseg.models.families.sam.layout import SIZES
from promptseg.models.families.sam.on_onnx import LOW_PX
from promptseg.models.precision import compress, halve, quantise
from promptseg.models.predictor import Predictor, Prior, SliceImage, SlicePrompts

__all__ = [
    "EXPORT_PRECISIONS",
    "ExportReport",
    "Tracer",
    "exported",
    "put_in_place",
    "sam2_tracer",
    "sam_tracer",
    "write_export",
]

FloatArray = NDArray[np.float32]
EXPORT_PRECISIONS = ("fp32", "fp16", "int8")
OPSET = 17
REPORT_FILE = "export.json"
FILES = {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}
OPENVINO_INT8 = "encoder-openvino.onnx"  # beside the others in int8: its weights alone, for OpenVINO
PARITY_SHAPE = (300, 400)  # of the slice that both runtimes are asked about


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how close it is to torch in fp32.

    Attributes:
        model_id, arch, precision: what it is.
        source_sha256: of the checkpoint.
        logits_max_abs: largest difference of logits on the slice's grid, over several prompts.
        logits_scale: largest logit of torch, to judge the difference by.
        mask_iou: smallest overlap of the masks.
        score_max_abs: largest difference of the scores.
        embed_s_torch, embed_s_onnx: seconds of one encoding, after a first one.
        openvino: the same figures of what OpenVINO runs, by name; empty where it is not installed or runs none of it.
        bytes: of both files.
        versions: torch, onnx and onnxruntime.
    """

    model_id: str
    arch: str
    precision: str
    source_sha256: str
    logits_max_abs: float
    logits_scale: float
    mask_iou: float
    score_max_abs: float
    embed_s_torch: float
    embed_s_onnx: float
    bytes: int
    versions: dict[str, str]
    openvino: dict[str, float] = field(default_factory=dict)


def exported(folder: Path, source_sha256: str) -> dict[str, dict[str, Path]]:
    """Return precision to role to path of the exports of these very weights in a model's folder."""
    found = {}
    for precision in EXPORT_PRECISIONS:
        place = folder / f"onnx-{precision}"
        try:
            report = json.loads((place / REPORT_FILE).read_text(encoding="utf-8"))
            source = report.get("source_sha256")
        except (OSError, ValueError, AttributeError):
            continue
        paths = {role: place / name for role, name in FILES.items()}
        if source == source_sha256 and all(p.is_file() for p in paths.values()):
            found[precision] = paths
            if (place / OPENVINO_INT8).is_file():
                found["openvino-int8"] = {**paths, "encoder": place / OPENVINO_INT8}
    return found


Tracer = Callable[[Path, Path], None]
"""Writes an encoder and a decoder in fp32."""

OpenPair = Callable[[Path, Path, str], Predictor]


def write_export(
    tracer: Tracer,
    folder: Path,
    precision: str,
    *,
    open_pair: OpenPair,
    reference: Predictor,
    about: dict[str, str],
) -> ExportReport:
    """Write the pair, compare it with torch, and put it in place.

    Args:
        tracer: see ``sam_tracer`` and ``sam2_tracer``.
        folder: the model's folder.
        precision: fp32, fp16 or int8.
        open_pair: makes a predictor of (encoder, decoder, "onnx" or "openvino").
        reference: the same network on torch.
        about: model_id, arch and source_sha256.

    Raises:
        ModelError: unknown precision.
        MissingExtraError: the package onnx is not installed.
    """
    if precision not in EXPORT_PRECISIONS:
        raise ModelError(f"expected a precision ({', '.join(EXPORT_PRECISIONS)}), got {precision!r}")
    try:
        import onnx
        import onnxruntime
        import torch
    except ImportError as exc:
        raise MissingExtraError(exc.name or "onnx", "sam") from exc
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
        work = Path(name)
        encoder, decoder = _write_pair(tracer, work, precision)
        measured = _compare(reference, open_pair(encoder, decoder, "onnx"))
        for_openvino = {"fp32": encoder, "int8": work / OPENVINO_INT8}.get(precision)
        on_openvino = {}
        if for_openvino is not None and runtime.has_openvino():
            on_openvino = _compare(reference, open_pair(for_openvino, decoder, "openvino"))
        report = ExportReport(
            precision=precision,
            bytes=sum(p.stat().st_size for p in work.iterdir()),
            versions={"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
            model_id=about["model_id"],
            arch=about["arch"],
            source_sha256=about["source_sha256"],
            openvino=on_openvino,
            **measured,
        )
        (work / REPORT_FILE).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
        put_in_place(work, folder / f"onnx-{precision}")
    return report


def put_in_place(work: Path, final: Path) -> None:
    """Move the files of an export into its folder, the report last."""
    final.mkdir(exist_ok=True)
    (final / REPORT_FILE).unlink(missing_ok=True)  # what has no report is not used
    for old in final.iterdir():  # an earlier export may have had more files
        if not (work / old.name).exists():
            old.unlink()
    for path in sorted(work.iterdir(), key=lambda p: p.name == REPORT_FILE):
        shutil.move(path, final / path.name)


def _write_pair(tracer: Tracer, work: Path, precision: str) -> tuple[Path, Path]:
    encoder, decoder = work / FILES["encoder"], work / FILES["decoder"]
    tracer(encoder, decoder)
    beside = _gather(encoder, [path for path in work.iterdir() if path not in (encoder, decoder)])
    if precision == "int8":
        compress(encoder, work / OPENVINO_INT8)
        quantise(encoder)
    elif precision == "fp16":
        halve(encoder)
    if precision != "fp32":
        beside.unlink(missing_ok=True)
    return encoder, decoder


def _gather(encoder: Path, scattered: list[Path]) -> Path:
    """Put the weights of an encoder beyond 2 GiB, for which the exporter makes a file each, into one beside it."""
    import onnx

    beside = encoder.with_name(encoder.name + BESIDE)
    if scattered:
        model = onnx.load(str(encoder))
        for path in scattered:
            path.unlink()
        onnx.save(model, str(encoder), save_as_external_data=True, location=beside.name)
    return beside


def sam_tracer(network: Any) -> Tracer:
    """Write a ``SamNetwork`` that is in fp32 on the CPU."""

    def write(encoder: Path, decoder: Path) -> None:
        _trace_encoder(network, encoder)
        _trace_decoder(network, decoder)

    return write


def sam2_tracer(model: Any, input_px: int) -> Tracer:
    """Write transformers' ``Sam2Model`` that is in fp32 on the CPU; it cannot be used for anything else afterwards."""

    def write(encoder: Path, decoder: Path) -> None:
        import torch

        from promptseg.models.families.sam2.on_onnx import DECODER_INPUTS, DECODER_OUTPUTS, ENCODER_OUTPUTS, traceable

        encodes, decodes = traceable(model)
        pixels = torch.zeros(1, 3, input_px, input_px)
        with torch.no_grad():
            levels = encodes(pixels)
        _trace(encodes, (pixels,), encoder, ["pixels"], list(ENCODER_OUTPUTS), {})
        example = (
            *levels,
            torch.zeros(1, 3, 2),
            torch.tensor([[1.0, 0.0, -1.0]]),
            torch.zeros(1, 1, input_px // 4, input_px // 4),
            torch.zeros(1),
        )
        free = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
        _trace(decodes, example, decoder, list(DECODER_INPUTS), list(DECODER_OUTPUTS), free)

    return write


def _trace_encoder(network: Any, path: Path) -> None:
    import torch

    pixels = torch.zeros(1, 3, network.input_px, network.input_px)
    slices, h, w = SIZES
    free = {"pixels": {0: slices, 2: h, 3: w}, "image_embeddings": {0: slices, 2: "rows", 3: "columns"}}
    _trace(network.encoder, (pixels,), path, ["pixels"], ["image_embeddings"], free)


def _trace_decoder(network: Any, path: Path) -> None:
    import torch
    from torch import nn

    class WithPositions(nn.Module):
        """The decoder with the positions of the grid as a constant."""

        positions: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.inner = network.decoder
            with torch.no_grad():
                positions = network.decoder.prompt_encoder.grid(network.edge, network.edge)
            self.register_buffer("positions", positions)

        def forward(self, image: Any, coords: Any, labels: Any, mask: Any, has_mask: Any) -> Any:
            sparse = self.inner.prompt_encoder.sparse(coords, labels)
            dense = self.inner.prompt_encoder.dense(mask, has_mask)
            positions = self.positions[:, :, : image.shape[2], : image.shape[3]]
            return self.inner.mask_decoder(image, positions, sparse, dense)

    edge = network.edge
    example = (
        torch.zeros(1, network.decoder.prompt_encoder.no_mask_embed.weight.shape[1], edge, edge),
        torch.zeros(1, 3, 2),
        torch.tensor([[1.0, 0.0, -1.0]]),
        torch.zeros(1, 1, 4 * edge, 4 * edge),
        torch.zeros(1),
    )
    names = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input"]
    free = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
    free |= {"image_embeddings": {2: "rows", 3: "columns"}}
    free |= {name: {2: f"{name} rows", 3: f"{name} columns"} for name in ("mask_input", "low_res_masks")}
    _trace(WithPositions().eval(), example, path, names, ["low_res_masks", "iou_predictions"], free)
    _note(path, LOW_PX, str(4 * edge))


def _note(path: Path, name: str, text: str) -> None:
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {name: text})
    onnx.save(model, str(path))


def _trace(module: Any, example: tuple[Any, ...], path: Path, inputs: list[str], outputs: list[str], free: Any) -> None:
    """Export with the legacy exporter: its files run faster on the CPU than the newer one's, see docs/adr/0012."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # sizes that become constants, and the exporter's own deprecation
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )


def _cases(shape: tuple[int, int], known: FloatArray) -> list[tuple[SlicePrompts, Prior | None]]:
    """Every kind of input to a decoder; ``known`` is an answer to be corrected, for the mask prompt."""
    h, w = shape
    click = SlicePrompts(np.array([[h / 2, w / 3]], np.float32), np.array([True]))
    box = SlicePrompts(box=(h / 4, w / 4, h / 2, w / 2))
    both = SlicePrompts(np.array([[h / 3, w / 3], [h / 2, w / 2]], np.float32), np.array([True, False]), box=box.box)
    return [(click, None), (box, None), (both, None), (click, Prior(known)), (SlicePrompts(), Prior(known))]


def _compare(torch_side: Predictor, onnx_side: Predictor) -> dict[str, float]:
    """Ask both about one slice of smooth shapes."""
    y, x = np.mgrid[: PARITY_SHAPE[0], : PARITY_SHAPE[1]].astype(np.float32)
    pixels = 0.5 + 0.25 * np.sin(x / 23) * np.cos(y / 17) + 0.2 * ((y - 120) ** 2 + (x - 150) ** 2 < 60**2)
    image = SliceImage(np.clip(pixels, 0, 1).astype(np.float32))
    embeddings, seconds = [], []
    for predictor in (torch_side, onnx_side):
        predictor.embed(image)
        start = time.perf_counter()
        embeddings.append(predictor.embed(image))
        seconds.append(time.perf_counter() - start)
    worst, scale, overlap, score = 0.0, 0.0, 1.0, 0.0
    known = (20 * (pixels - 0.5)).astype(np.float32)
    for prompts, prior in _cases(PARITY_SHAPE, known):
        a = torch_side.predict(embeddings[0], prompts, prior)
        b = onnx_side.predict(embeddings[1], prompts, prior)
        worst = max(worst, float(np.abs(a.logits - b.logits).max()))
        scale = max(scale, float(np.abs(a.logits).max()))
        union = int((a.mask | b.mask).sum())
        overlap = min(overlap, int((a.mask & b.mask).sum()) / union if union else 1.0)
        score = max(score, abs(a.score - b.score))
    return {
        "logits_max_abs": worst,
        "logits_scale": scale,
        "mask_iou": overlap,
        "score_max_abs": score,
        "embed_s_torch": seconds[0],
        "embed_s_onnx": seconds[1],
    }
