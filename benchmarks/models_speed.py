"""Ratios to the reference implementation, in one run on one machine: encoder, second click, parity, peak memory.

    python benchmarks/models_speed.py                         # ViT-B at 1024 px on a CPU, real slices where they are
    python benchmarks/models_speed.py --arch vit_t            # MobileSAM
    python benchmarks/models_speed.py --arch hiera_tiny       # SAM 2.1 tiny
    python benchmarks/models_speed.py --variants reference onnx-fp32 onnx-trim openvino-fp32 openvino-trim \
        --shape 256 512                                       # padding left out: what it saves and changes
        --image ct_ts_dicom_j2k/dicom                         # (instead of --shape) air and table left out
    python benchmarks/models_speed.py --device cuda:0         # batches of 1, 8 and 32, images per second; also with
                                                              # --arch hiera_tiny; without a GPU it says so and ends

Two cores take about ten minutes for the first. Its last lines hold the measured ratios against the goals.

References and random weights: models_references.py. Weights are random: speed and parity hold, accuracy does not. Every
variant runs in its own process, so that its peak memory is its own; the processes take turns, and the medians of all
rounds count; "fastest" is the ratio of the fastest encodings. "cores" is processor time over duration: much below the
number of cores, something else ran beside it; "system s" is the operating system's part of that time, most of it spent
on handing out memory. On a GPU "peak MB" is the GPU's: torch's own count, or all that is taken there after a run of
ONNX Runtime. ``--batches`` measures throughput on a CPU too, to try that part without a GPU.
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
GPU_VARIANTS = ("reference", "torch-fp32", "torch-bf16", "torch-bf16-compiled", "torch-fp16", "onnx-fp16")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
GOALS = {"fp32": 0.42, "int8": 0.30}  # of the reference's encoder, ViT-B
CLICK_GOAL_S = 0.035
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}
"""Dense bf16 matrix products per second by the cards' data sheets (SXM where there are several)."""
GPU_BATCHES = (1, 8, 32)
THROUGHPUT_RUNS = 5
MODEL = "speed"


def reference_of(arch: str) -> str:
    """Name of the reference for an architecture."""
    return {"vit_t": "mobile-sam", "vit_t_256": "lite-medsam"}.get(arch, "sam2" if arch.startswith("hiera") else "sam")


def real_slice(args: argparse.Namespace) -> tuple[np.ndarray, tuple[float, float]]:
    """A CT slice in bytes and its (row, column) spacing in mm; smooth shapes where the real images are absent."""
    data = Path(os.environ.get("PROMPTSEG_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    path = data / (args.image or "ct_ts_trunk3mm/image.nii.gz")
    spacing = (1.0, 1.0)
    if path.exists():
        import SimpleITK as sitk

        found = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)) if path.is_dir() else str(path)
        image = sitk.ReadImage(found)
        volume = sitk.GetArrayFromImage(image).astype(np.float32)
        cut = np.clip((volume[volume.shape[0] // 2] + 160) / 400, 0, 1)
        spacing = (image.GetSpacing()[1], image.GetSpacing()[0])
    elif args.image:
        raise SystemExit(f"expected a volume or a folder of DICOM files at {path}, found nothing")
    else:
        y, x = np.mgrid[:100, :120].astype(np.float32)
        cut = 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)
    if args.image:
        return np.rint(cut * 255).astype(np.uint8), spacing
    import cv2

    return np.rint(cv2.resize(cut, args.shape[::-1]) * 255).astype(np.uint8), (1.0, 1.0)


def peak_mb(variant: str, device: str) -> float:
    """Most memory that this process had so far: of the GPU where it runs there, else resident."""
    if device != "cpu":
        import torch

        if variant.startswith("onnx"):  # torch does not see it, and its arena gives nothing back
            free, total = torch.cuda.mem_get_info(device)
            return (total - free) / 1e6
        return torch.cuda.max_memory_allocated(device) / 1e6
    from promptseg.models.bench import peak_memory_bytes

    return peak_memory_bytes() / 1e6


def measure(embed, click, repeats: int) -> dict[str, object]:
    """Times of encodings and clicks after a first one; the logits of a click and a box for parity."""
    embed(repeats)
    embed_s, cores, system_s = [], [], []
    for index in reversed(range(repeats)):  # the last one is slice 0, whose answers are compared
        start, before = time.perf_counter(), os.times()
        embed(index)
        embed_s.append(time.perf_counter() - start)
        user, system = (now - then for now, then in zip(os.times()[:2], before[:2], strict=True))
        cores.append((user + system) / embed_s[-1])
        system_s.append(system)
    logits = [click("point"), click("box")]
    click_s = []
    for _ in range(10):
        start = time.perf_counter()
        click("point")
        click_s.append(time.perf_counter() - start)
    return {"embed_s": embed_s, "cores": cores, "system_s": system_s, "click_s": click_s, "logits": logits}


def run_reference(args: argparse.Namespace) -> dict[str, object]:
    """The reference's own classes."""
    from models_references import REFERENCES, build

    reference = REFERENCES[reference_of(args.arch)](build(args.arch, args.px), args.device)
    image, _ = real_slice(args)
    h, w = image.shape[:2]

    def embed(index: int) -> None:
        reference.embed(np.roll(image, index, 0))
        if args.device != "cpu":
            import torch

            torch.cuda.synchronize()  # its features stay on the GPU: without this only the launches would count

    def click(kind: str) -> np.ndarray:
        if kind == "point" and hasattr(reference, "click"):  # LiteMedSAM's script takes boxes only
            return reference.click(np.array([w // 3, h // 2]))
        return reference.box(np.array([w // 4, h // 4, w // 2, h // 2]))

    found = measure(embed, click, args.repeats)
    if args.batches:
        found["images_per_s"] = {1: 1 / statistics.median(found["embed_s"])}
    return found


def run_ours(args: argparse.Namespace) -> dict[str, object]:
    """The model manager, with the runtime and precision that the variant names."""
    from promptseg.models.loading import load_predictor
    from promptseg.models.predictor import SliceImage, SlicePrompts

    predictor = load_predictor(MODEL, args.device)
    image, spacing = real_slice(args)
    pixels = image.astype(np.float32) / 255
    h, w = pixels.shape
    point = SlicePrompts(np.array([[h // 2, w // 3]], np.float32), np.array([True]))
    box = SlicePrompts(box=(h // 4, w // 4, h // 2 + 1, w // 2 + 1))
    takes_points = reference_of(args.arch) != "lite-medsam"
    held = {}

    def embed(index: int) -> None:  # without the cache of embeddings
        held["embedding"] = predictor.inner.embed(SliceImage(np.roll(pixels, index, 0), spacing))

    def click(kind: str) -> np.ndarray:
        return predictor.predict(held["embedding"], point if kind == "point" and takes_points else box).logits

    found = measure(embed, click, args.repeats)
    if args.batches:
        images = [SliceImage(np.roll(pixels, i, 0), spacing) for i in range(max(args.batches))]
        found["images_per_s"] = throughput(predictor.inner, images, args.batches)
        if args.child.startswith("torch") and "compiled" not in args.child:
            found["flops"] = encoder_flops(predictor.inner, images[0])
            found["peak_share"] = peak_share(args.device, found["flops"] * max(found["images_per_s"].values()))
    return {**found, "described": predictor.described}


def throughput(predictor, images: list, batches: list[int]) -> dict[int, float]:
    """Images per second by batch: medians of several runs after a first one."""
    found = {}
    for batch in batches:
        predictor.embed_batch(images[:batch])
        seconds = []
        for _ in range(THROUGHPUT_RUNS):
            start = time.perf_counter()
            predictor.embed_batch(images[:batch])  # its result is on the CPU: the GPU is done
            seconds.append(time.perf_counter() - start)
        found[batch] = batch / statistics.median(seconds)
    return found


def encoder_flops(predictor, image) -> int:
    """Floating-point operations of one encoding, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        predictor.embed(image)
    return counter.get_total_flops()


def peak_share(device: str, flops_per_s: float) -> float:
    """Share of the card's peak of matrix products; 0 for a card that is not in the table, and for a CPU."""
    if device == "cpu":
        return 0.0
    import torch

    name = torch.cuda.get_device_name(device)
    peak = next((flops for card, flops in PEAK_FLOPS.items() if card in name), 0.0)
    return flops_per_s / peak if peak else 0.0


def child(args: argparse.Namespace) -> None:
    """One variant in this process; the result goes to a file."""
    found = run_reference(args) if args.child == "reference" else run_ours(args)
    np.savez(args.out, *found.pop("logits"))
    args.out.with_suffix(".json").write_text(json.dumps({**found, "peak_mb": peak_mb(args.child, args.device)}))


def environment(variant: str, folder: Path) -> dict[str, str]:
    """Settings of the model manager for a variant: runtime and precision, "trim" or "compiled", with dashes."""
    runtime, *details = variant.split("-")
    env = {**os.environ, "PROMPTSEG_MODELS": str(folder / "models"), "PROMPTSEG_CACHE": str(folder / "cache")}
    env["PROMPTSEG_RUNTIME"] = runtime if runtime in ("torch", "onnx", "openvino") else "auto"
    env["PROMPTSEG_TRIM"] = str(int("trim" in details))
    env["PROMPTSEG_COMPILE"] = str(int("compiled" in details))
    env["PROMPTSEG_PRECISION"] = precision_of(variant)
    return env


def precision_of(variant: str) -> str:
    """fp32 where the variant names none."""
    return next((p for p in PRECISIONS if p in variant.split("-")), "fp32")


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """The reference's weights in the store, and their exports."""
    from models_references import build, save

    from promptseg.models.loading import export_model
    from promptseg.models.own_models import OwnModel, add_model
    from promptseg.models.weights.store import Store

    os.environ.update(environment("torch-fp32", folder))
    if not (folder / "models" / MODEL).is_dir():
        checkpoint = save(build(args.arch, args.px), args.arch, folder)
        family = "sam2" if args.arch.startswith("hiera") else "sam"
        input_px = args.px if family == "sam2" else 0
        add_model(OwnModel(MODEL, checkpoint, family=family, arch=args.arch, input_px=input_px), Store())
        checkpoint.unlink()
    named = [precision_of(v) for v in args.variants if v.startswith(("onnx-", "openvino-"))]
    needed = {"fp32" if precision == "bf16" else precision for precision in named}
    for precision in sorted(p for p in needed if not (folder / "models" / MODEL / f"onnx-{p}").is_dir()):
        found = export_model(MODEL, precision)
        print(f"# exported {precision}: {found.bytes / 1e6:.0f} MB, logits {found.logits_max_abs:.2g}", flush=True)


def report(args: argparse.Namespace, folder: Path) -> None:
    """Medians over the rounds per variant, as ratios to the first."""
    from models_references import distance

    first, verdicts = None, []
    print(
        f"{'variant':19} {'encoder s':>10} {'cores':>6} {'system s':>8} {'ratio':>6} {'fastest':>8} "
        f"{'click ms':>9} {'peak MB':>8} {'max abs':>9} {'largest':>8} {'IoU':>7}"
    )
    for variant in args.variants:
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{variant}.*.json"))]
        if not runs:
            continue
        logits = list(np.load(folder / f"{variant}.0.npz").values())
        all_s, cores, system_s, click_s = (
            [x for r in runs for x in r[key]] for key in ("embed_s", "cores", "system_s", "click_s")
        )
        usual, fastest, click = statistics.median(all_s), min(all_s), statistics.median(click_s)
        first = first or (usual, fastest, logits)
        worst, overlap = distance(logits, first[2])
        print(
            f"{variant:19} {usual:10.2f} {statistics.median(cores):6.2f} {statistics.median(system_s):8.2f} "
            f"{usual / first[0]:6.2f} {fastest / first[1]:8.2f} {1000 * click:9.1f} "
            f"{max(r['peak_mb'] for r in runs):8.0f} {worst:9.2g} "
            f"{max(float(np.abs(a).max()) for a in logits):8.2g} {overlap:7.4f}"
        )
        if "images_per_s" in runs[0]:
            share = f", {runs[0]['peak_share']:.0%} of the card's peak" if runs[0].get("peak_share") else ""
            counted = f", {runs[0]['flops'] / 1e9:.0f} GFLOP an image" if "flops" in runs[0] else ""
            rates = ", ".join(f"{rate:.1f} at a batch of {n}" for n, rate in runs[0]["images_per_s"].items())
            print(f"{'':19} images/s: {rates}{counted}{share}")
        if variant.startswith(("onnx-", "openvino-")) and args.variants[0] == "reference" and args.arch == "vit_b":
            verdicts += goals(variant, usual / first[0], click, worst, overlap)
    print("\n".join(verdicts))


def goals(variant: str, ratio: float, click_s: float, worst: float, overlap: float) -> list[str]:
    """Measured against what the project set itself for ViT-B."""
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


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_b")
    parser.add_argument("--px", type=int, default=1024, help="edge of SAM 2's input; the others have their own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", type=int, nargs=2, default=(512, 512), help="of the slice")
    parser.add_argument("--image", default="", help="in the folder of real images: its middle slice as it is")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="*")
    parser.add_argument("--batches", type=int, nargs="*", help="slices in one run; by default 1, 8 and 32 on a GPU")
    parser.add_argument("--folder", type=Path, help="keep weights and exports here, and use those that are here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.shape = tuple(args.shape)
    if args.batches is None:
        args.batches = [] if args.device == "cpu" else list(GPU_BATCHES)
    args.variants = args.variants or variants_of(args.device)
    if find_spec("openvino") is None:
        args.variants = [v for v in args.variants if not v.startswith("openvino")]
    return args


def variants_of(device: str) -> list[str]:
    """What is measured on a device when nothing is named."""
    from promptseg.models.runtime import onnx_providers

    if device == "cpu":
        return list(CPU_VARIANTS)
    has_cuda = "CUDAExecutionProvider" in onnx_providers()
    return [v for v in GPU_VARIANTS if has_cuda or not v.startswith("onnx")]


def main() -> None:
    """Run every variant in turns."""
    args = arguments()
    if args.child:
        child(args)
        return
    note = gpu_note(args.device)
    if args.device != "cpu" and note:
        print(note)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(args, folder)
        for turn in range(args.rounds):
            for variant in args.variants:
                command = [sys.executable, __file__, "--child", variant, "--arch", args.arch, "--px", str(args.px)]
                command += ["--device", args.device, "--repeats", str(args.repeats), "--image", args.image]
                command += ["--shape", *map(str, args.shape), "--out", str(Path(name) / f"{variant}.{turn}.npz")]
                command += ["--batches", *map(str, args.batches)]
                subprocess.run(command, env=environment(variant, folder), check=True)
        report(args, Path(name))
    print(note)


if __name__ == "__main__":
    main()
