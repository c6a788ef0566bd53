"""Ratios to segment-anything's SamPredictor, in one run on one machine: encoder, second click, parity, peak memory.

    python benchmarks/models_speed.py                         # ViT-B at 1024 px, real slices where they are
    python benchmarks/models_speed.py --arch vit_t --px 1024  # MobileSAM: torch is 1.00
    python benchmarks/models_speed.py --device cuda:0         # batches of 1, 8 and 32, images per second

Weights are random: speed and parity hold, accuracy does not. Every variant runs in its own process, so that its peak
memory is its own; the processes take turns, and the best of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CPU_VARIANTS = ("reference", "torch", "torch-bf16", "torch-trim", "onnx-fp32", "onnx-int8")
GPU_VARIANTS = ("reference", "torch-bf16", "torch-fp16")
MODEL = "speed"


def real_slice(shape: tuple[int, int]) -> np.ndarray:
    """A CT slice in bytes; smooth shapes where the real images are absent."""
    data = Path(os.environ.get("PROMPTSEG_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    path = data / "ct_ts_trunk3mm" / "image.nii.gz"
    import cv2

    if path.is_file():
        import SimpleITK as sitk

        volume = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
        cut = np.clip((volume[volume.shape[0] // 2] + 160) / 400, 0, 1)
    else:
        y, x = np.mgrid[:100, :120].astype(np.float32)
        cut = 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)
    return np.rint(cv2.resize(cut, shape[::-1], interpolation=cv2.INTER_LINEAR) * 255).astype(np.uint8)


def peak_mb() -> float:
    """Most resident memory of this process so far."""
    from promptseg.models.bench import peak_memory_bytes

    return peak_memory_bytes() / 1e6


def measure(embed, click, repeats: int) -> dict[str, object]:
    """Best encoding and best click after a first one; the logits of a click and a box for parity."""
    embed(0)
    embed_s = []
    for index in range(1, repeats + 1):
        start = time.perf_counter()
        embed(index)
        embed_s.append(time.perf_counter() - start)
    embed(0)
    logits = [click("point"), click("box")]
    click_s = []
    for _ in range(5):
        start = time.perf_counter()
        click("point")
        click_s.append(time.perf_counter() - start)
    return {"embed_s": min(embed_s), "click_s": min(click_s), "logits": logits}


def run_reference(args: argparse.Namespace) -> dict[str, object]:
    """segment-anything's own classes; where its torchvision lacks an operator, it is declared first."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from segment_anything import SamPredictor, sam_model_registry

    sam = sam_model_registry[args.arch](checkpoint=str(args.checkpoint)).to(args.device)
    predictor = SamPredictor(sam)
    h, w = args.shape

    def embed(index: int) -> None:
        predictor.set_image(np.roll(np.repeat(real_slice(args.shape)[..., None], 3, 2), index, 0))

    def click(kind: str) -> np.ndarray:
        if kind == "point":
            masks, scores, _ = predictor.predict(
                np.array([[w // 3, h // 2]]), np.array([1]), multimask_output=True, return_logits=True
            )
            return masks[scores.argmax()]
        box = np.array([w // 4, h // 4, w // 2, h // 2])
        return predictor.predict(box=box, multimask_output=False, return_logits=True)[0][0]

    return measure(embed, click, args.repeats)


def run_ours(args: argparse.Namespace) -> dict[str, object]:
    """The model manager, with the runtime and precision that the variant names."""
    from promptseg.models.loading import load_predictor
    from promptseg.models.predictor import SliceImage, SlicePrompts

    predictor = load_predictor(MODEL, args.device)
    h, w = args.shape
    held = {}

    def embed(index: int) -> None:
        pixels = np.roll(real_slice(args.shape), index, 0).astype(np.float32) / 255
        held["embedding"] = predictor.inner.embed(SliceImage(pixels))  # without the cache of embeddings

    def click(kind: str) -> np.ndarray:
        point = SlicePrompts(np.array([[h // 2, w // 3]], np.float32), np.array([True]))
        box = SlicePrompts(box=(h // 4, w // 4, h // 2 + 1, w // 2 + 1))
        return predictor.predict(held["embedding"], point if kind == "point" else box).logits

    found = measure(embed, click, args.repeats)
    if args.device != "cpu":
        found["images_per_s"] = throughput(predictor.inner, args.shape)
    return {**found, "described": predictor.described}


def throughput(predictor, shape: tuple[int, int]) -> dict[int, float]:
    """Images per second at batches of 1, 8 and 32."""
    from promptseg.models.predictor import SliceImage

    found = {}
    for batch in (1, 8, 32):
        images = [SliceImage(np.roll(real_slice(shape), i, 0).astype(np.float32) / 255) for i in range(batch)]
        predictor.embed_batch(images)
        start = time.perf_counter()
        predictor.embed_batch(images)
        found[batch] = batch / (time.perf_counter() - start)
    return found


def child(args: argparse.Namespace) -> None:
    """One variant in this process; the result goes to a file."""
    found = run_reference(args) if args.child == "reference" else run_ours(args)
    np.savez(args.out, *found.pop("logits"))
    args.out.with_suffix(".json").write_text(json.dumps({**found, "peak_mb": peak_mb()}))


def environment(variant: str, folder: Path) -> dict[str, str]:
    """Settings of the model manager for a variant."""
    runtime, _, detail = variant.partition("-")
    env = {**os.environ, "PROMPTSEG_MODELS": str(folder / "models"), "PROMPTSEG_CACHE": str(folder / "cache")}
    env["PROMPTSEG_RUNTIME"] = runtime if runtime in ("torch", "onnx") else "auto"
    env["PROMPTSEG_TRIM"] = "1" if detail == "trim" else "0"
    env["PROMPTSEG_PRECISION"] = detail if detail in ("fp32", "bf16", "fp16", "int8") else "fp32"
    return env


def prepare(args: argparse.Namespace, folder: Path) -> Path:
    """Random weights in the store, and their exports."""
    import torch

    from promptseg.models.loading import export_model
    from promptseg.models.networks.architectures import build_network
    from promptseg.models.own_models import OwnModel, add_model
    from promptseg.models.store import Store

    torch.manual_seed(0)
    checkpoint = folder / "weights.pth"
    torch.save(build_network(args.arch).state(), checkpoint)
    os.environ.update(environment("torch-fp32", folder))
    add_model(OwnModel(MODEL, checkpoint, arch=args.arch, input_px=args.px), Store())
    for variant in args.variants:
        if variant.startswith("onnx-"):
            report = export_model(MODEL, variant.removeprefix("onnx-"))
            print(f"# exported {report.precision}: {report.bytes / 1e6:.0f} MB, logits {report.logits_max_abs:.2g}")
    return checkpoint


def report(args: argparse.Namespace, folder: Path) -> None:
    """Best of the rounds per variant, as ratios to the first."""
    first = None
    print(f"{'variant':12} {'encoder s':>10} {'ratio':>6} {'click ms':>9} {'peak MB':>8} {'max abs':>9} {'IoU':>7}")
    for variant in args.variants:
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{variant}.*.json"))]
        if not runs:
            continue
        logits = list(np.load(folder / f"{variant}.0.npz").values())
        best = min(r["embed_s"] for r in runs)
        first = first or (best, logits)
        worst = max(float(np.abs(a - b).max()) for a, b in zip(logits, first[1], strict=True))
        overlaps = [
            ((a > 0) & (b > 0)).sum() / max(1, ((a > 0) | (b > 0)).sum()) for a, b in zip(logits, first[1], strict=True)
        ]
        print(
            f"{variant:12} {best:10.2f} {best / first[0]:6.2f} {1000 * min(r['click_s'] for r in runs):9.1f} "
            f"{max(r['peak_mb'] for r in runs):8.0f} {worst:9.2g} {min(overlaps):7.4f}"
        )
        if "images_per_s" in runs[0]:
            print(f"{'':12} images/s {runs[0]['images_per_s']}")


def main() -> None:
    """Run every variant in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_b")
    parser.add_argument("--px", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", type=int, nargs=2, default=(512, 512), help="of the slice")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--variants", nargs="*")
    parser.add_argument("--child")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    args = parser.parse_args()
    args.shape = tuple(args.shape)
    if args.child:
        child(args)
        return
    args.variants = args.variants or (CPU_VARIANTS if args.device == "cpu" else GPU_VARIANTS)
    if not args.arch.startswith("vit_") or args.arch in ("vit_t", "vit_t_256", "vit_b_adapter"):
        args.variants = [v for v in args.variants if v != "reference"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = prepare(args, folder)
        for turn in range(args.rounds):
            for variant in args.variants:
                command = [sys.executable, __file__, "--child", variant, "--arch", args.arch, "--px", str(args.px)]
                command += ["--device", args.device, "--repeats", str(args.repeats), "--checkpoint", str(checkpoint)]
                command += ["--shape", *map(str, args.shape), "--out", str(folder / f"{variant}.{turn}.npz")]
                subprocess.run(command, env=environment(variant, folder), check=True)
        report(args, folder)


if __name__ == "__main__":
    main()
