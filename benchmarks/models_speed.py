"""Ratios to segment-anything's SamPredictor, in one run on one machine: encoder, second click, parity, peak memory.

    python benchmarks/models_speed.py                         # ViT-B at 1024 px on a CPU, real slices where they are
    python benchmarks/models_speed.py --arch vit_t            # MobileSAM: torch is 1.00
    python benchmarks/models_speed.py --arch hiera_tiny       # SAM 2.1 tiny: torch is 1.00
    python benchmarks/models_speed.py --variants onnx-fp32 onnx-trim openvino-fp32 openvino-trim --shape 256 512
                                                              # what nobody sees left out: what it saves and changes
    python benchmarks/models_speed.py --device cuda:0         # batches of 1, 8 and 32, images per second; also with
                                                              # --arch hiera_tiny; without a GPU it says so and ends

Two cores take about ten minutes for the first. Its last lines hold the measured ratios against the goals.

Weights are random: speed and parity hold, accuracy does not. Every variant runs in its own process, so that its peak
memory is its own; the processes take turns, and the medians of all rounds count; "fastest" is the ratio of the fastest
encodings. "cores" is processor time over duration: much below the number of cores, something else ran beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

CPU_VARIANTS = ("reference", "onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-bf16", "openvino-int8")
GPU_VARIANTS = ("reference", "torch-bf16", "torch-fp16")
REFERENCES = ("vit_b", "vit_l", "vit_h")  # what segment-anything itself can run
GOALS = {"fp32": 0.42, "int8": 0.30}  # of the reference's encoder
CLICK_GOAL_S = 0.035
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
"""Dense bf16 matrix products per second by the cards' data sheets (SXM where there are several)."""
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
    """Times of encodings and clicks after a first one; the logits of a click and a box for parity."""
    embed(repeats)
    embed_s, cores = [], []
    for index in reversed(range(repeats)):  # the last one is slice 0, whose answers are compared
        start, busy = time.perf_counter(), time.process_time()
        embed(index)
        embed_s.append(time.perf_counter() - start)
        cores.append((time.process_time() - busy) / embed_s[-1])
    logits = [click("point"), click("box")]
    click_s = []
    for _ in range(10):
        start = time.perf_counter()
        click("point")
        click_s.append(time.perf_counter() - start)
    return {"embed_s": embed_s, "cores": cores, "click_s": click_s, "logits": logits}


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

    own = args.arch in sam_model_registry  # else: the speed of ViT-B, with weights of its own
    sam = sam_model_registry[args.arch if own else "vit_b"](checkpoint=str(args.checkpoint) if own else None)
    sam = sam.to(args.device)
    predictor = SamPredictor(sam)
    h, w = args.shape

    def embed(index: int) -> None:
        predictor.set_image(np.roll(np.repeat(real_slice(args.shape)[..., None], 3, 2), index, 0))
        if args.device != "cpu":
            torch.cuda.synchronize()  # its features stay on the GPU: without this only the launches would count

    def click(kind: str) -> np.ndarray:
        if kind == "point":
            masks, scores, _ = predictor.predict(
                np.array([[w // 3, h // 2]]), np.array([1]), multimask_output=True, return_logits=True
            )
            return masks[scores.argmax()]
        box = np.array([w // 4, h // 4, w // 2, h // 2])
        return predictor.predict(box=box, multimask_output=False, return_logits=True)[0][0]

    found = measure(embed, click, args.repeats)
    if args.device != "cpu":
        found["images_per_s"] = {1: 1 / statistics.median(found["embed_s"])}
    return found


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
        found["peak_share"] = peak_share(predictor.inner, max(found["images_per_s"].values()))
    return {**found, "described": predictor.described}


def peak_share(predictor, images_per_s: float) -> float:
    """Share of the card's peak of matrix products; 0 for a card that is not in the table."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from promptseg.models.predictor import SliceImage

    with FlopCounterMode(display=False) as counter:
        predictor.embed(SliceImage(np.zeros((64, 64), np.float32)))
    name = torch.cuda.get_device_name()
    peak = next((flops for card, flops in PEAK_FLOPS.items() if card in name), 0.0)
    return images_per_s * counter.get_total_flops() / peak if peak else 0.0


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
    env["PROMPTSEG_RUNTIME"] = runtime if runtime in ("torch", "onnx", "openvino") else "auto"
    env["PROMPTSEG_TRIM"] = "1" if detail == "trim" else "0"
    env["PROMPTSEG_PRECISION"] = detail if detail in ("fp32", "bf16", "fp16", "int8") else "fp32"
    return env


def prepare(args: argparse.Namespace, folder: Path) -> Path:
    """Random weights in the store, and their exports."""
    from promptseg.models.loading import export_model
    from promptseg.models.own_models import OwnModel, add_model
    from promptseg.models.store import Store

    os.environ.update(environment("torch-fp32", folder))
    family = "sam2" if args.arch.startswith("hiera_") else "sam"
    kept = sorted(folder.glob("weights.*"))
    checkpoint = kept[0] if kept else random_weights(args, folder)
    if not kept:
        add_model(OwnModel(MODEL, checkpoint, family=family, arch=args.arch, input_px=args.px), Store())
    named = [v.partition("-")[2] for v in args.variants if v.startswith(("onnx-", "openvino-"))]
    needed = {"fp32" if detail in ("bf16", "trim") else detail for detail in named}
    for precision in sorted(p for p in needed if not (folder / "models" / MODEL / f"onnx-{p}").is_dir()):
        found = export_model(MODEL, precision)
        print(f"# exported {precision}: {found.bytes / 1e6:.0f} MB, logits {found.logits_max_abs:.2g}", flush=True)
    return checkpoint


def random_weights(args: argparse.Namespace, folder: Path) -> Path:
    """A checkpoint of the real size."""
    import torch

    torch.manual_seed(0)
    if args.arch.startswith("hiera_"):
        from safetensors.torch import save_file

        from promptseg.models.families.sam2 import _build

        state = _build(args.arch, args.px).state_dict()
        save_file({k: v.contiguous().clone() for k, v in state.items()}, folder / "weights.safetensors")
        return folder / "weights.safetensors"
    from promptseg.models.networks.architectures import build_network

    network = build_network(args.arch)
    with torch.no_grad():  # zeros would hide a mistake in the positions
        for name, value in network.encoder.named_parameters():
            if "pos" in name:
                value.normal_(std=0.02)
    torch.save(network.state(), folder / "weights.pth")
    return folder / "weights.pth"


def report(args: argparse.Namespace, folder: Path) -> None:
    """Medians over the rounds per variant, as ratios to the first."""
    first, verdicts = None, []
    print(
        f"{'variant':13} {'encoder s':>10} {'cores':>6} {'ratio':>6} {'fastest':>8} {'click ms':>9} "
        f"{'peak MB':>8} {'max abs':>9} {'largest':>8} {'IoU':>7}"
    )
    for variant in args.variants:
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{variant}.*.json"))]
        if not runs:
            continue
        logits = list(np.load(folder / f"{variant}.0.npz").values())
        all_s, cores, click_s = ([x for r in runs for x in r[key]] for key in ("embed_s", "cores", "click_s"))
        usual, fastest, click = statistics.median(all_s), min(all_s), statistics.median(click_s)
        first = first or (usual, fastest, logits)
        if variant != "reference" and args.variants[0] == "reference" and args.arch not in REFERENCES:
            first = (*first[:2], logits)  # other weights: only the times can be compared
        worst = max(float(np.abs(a - b).max()) for a, b in zip(logits, first[2], strict=True))
        overlaps = [
            ((a > 0) & (b > 0)).sum() / max(1, ((a > 0) | (b > 0)).sum()) for a, b in zip(logits, first[2], strict=True)
        ]
        print(
            f"{variant:13} {usual:10.2f} {statistics.median(cores):6.2f} {usual / first[0]:6.2f} "
            f"{fastest / first[1]:8.2f} {1000 * click:9.1f} {max(r['peak_mb'] for r in runs):8.0f} {worst:9.2g} "
            f"{max(float(np.abs(a).max()) for a in logits):8.2g} {min(overlaps):7.4f}"
        )
        if "images_per_s" in runs[0]:
            share = f", {runs[0]['peak_share']:.0%} of the card's peak" if runs[0].get("peak_share") else ""
            print(f"{'':13} images/s {runs[0]['images_per_s']}{share}")
        if variant.startswith(("onnx-", "openvino-")) and args.variants[0] == "reference":
            verdicts += goals(variant, usual / first[0], click, worst, min(overlaps))
    print("\n".join(verdicts))


def goals(variant: str, ratio: float, click_s: float, worst: float, overlap: float) -> list[str]:
    """Measured against what the project set itself."""
    said = [f"{variant}: click {1000 * click_s:.0f} ms, goal {1000 * CLICK_GOAL_S:.0f}: {click_s <= CLICK_GOAL_S}"]
    precision = variant.partition("-")[2]
    if precision in GOALS:
        said.append(f"{variant}: encoder ratio {ratio:.2f}, goal {GOALS[precision]}: {ratio <= GOALS[precision]}")
    if precision == "fp32":
        said.append(f"{variant}: parity {worst:.2g} and IoU {overlap:.4f}, goal 1e-3: {worst <= 1e-3}")
    return said


def gpu_note(device: str) -> str:
    """What to say of a GPU that was asked for, or that could have been."""
    from promptseg.models.runtime import torch_cuda_count

    count = torch_cuda_count()
    if device == "cpu":
        return f"{count} GPU(s) here: --device cuda:0 measures one" if count else "no GPU here: its part is left out"
    index = int(device.partition(":")[2] or 0)
    return "" if index < count else f"skipped: {device} was asked for and torch sees {count} GPU(s)"


def main() -> None:
    """Run every variant in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_b")
    parser.add_argument("--px", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", type=int, nargs=2, default=(512, 512), help="of the slice")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="*")
    parser.add_argument("--folder", type=Path, help="keep weights and exports here, and use those that are here")
    parser.add_argument("--child")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    args = parser.parse_args()
    args.shape = tuple(args.shape)
    if args.child:
        child(args)
        return
    note = gpu_note(args.device)
    if args.device != "cpu" and note:
        print(note)
        return
    args.variants = args.variants or (CPU_VARIANTS if args.device == "cpu" else GPU_VARIANTS)
    if find_spec("openvino") is None:
        args.variants = [v for v in args.variants if not v.startswith("openvino")]
    if args.device == "cpu" and args.arch not in REFERENCES:
        args.variants = [v if v != "reference" else "torch-fp32" for v in args.variants]
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = prepare(args, folder)
        for turn in range(args.rounds):
            for variant in args.variants:
                command = [sys.executable, __file__, "--child", variant, "--arch", args.arch, "--px", str(args.px)]
                command += ["--device", args.device, "--repeats", str(args.repeats), "--checkpoint", str(checkpoint)]
                command += ["--shape", *map(str, args.shape), "--out", str(Path(name) / f"{variant}.{turn}.npz")]
                subprocess.run(command, env=environment(variant, folder), check=True)
        report(args, Path(name))
    print(note)


if __name__ == "__main__":
    main()
