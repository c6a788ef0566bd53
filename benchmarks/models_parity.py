"""How far every family's answers are from its reference implementation's: full sizes, real slices, all precisions.

    python benchmarks/models_parity.py                                # everything: two cores take about ten minutes
    python benchmarks/models_parity.py --families mobile-sam sam2     # some of it
    python benchmarks/models_parity.py --variants torch-fp32 onnx-fp32 openvino-fp32

The references and their random weights: models_references.py. The slices: an axial CT, a chest X-ray broader than high,
an ultrasound picture in colour, from the folder of real images (``PROMPTSEG_TEST_DATA``, else ../shared/data); the
prompts on each: a click and a box (MedSAM, LiteMedSAM: a box). "from the reference" and "from torch" (ours, fp32) are
the largest differences of logits on the slice's grid; IoU is the smallest overlap of masks with the reference's.
fp16 is made for GPUs: on a CPU it sees the first slice only.

Every variant runs in its own process, so that its peak memory is its own. Seconds are the median of the slices and mean
little where something else runs beside it; the rest does not depend on that. It ends with 1 where fp32 on any runtime
is further than 1e-3 from the reference or from torch, or overlaps less than 0.999.
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
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

MAX_ABS, LEAST_IOU = 1e-3, 0.999
FP32 = ("torch-fp32", "onnx-fp32", "openvino-fp32")
LOWER = ("torch-bf16", "openvino-bf16", "onnx-fp16", "onnx-int8", "openvino-int8")
ON_REQUEST = ("torch-fp16",)  # torch multiplies fp16 on a CPU number by number
REFERENCE = "reference"
MODEL = "compared"  # id in the store


@dataclass(frozen=True)
class Case:
    """What is compared: an architecture and the way that slices take into it.

    Attributes:
        arch: of the network.
        kind: see ``families/frames.py``.
        prompts: asked on each slice.
        variants: ours.
    """

    arch: str
    kind: str
    prompts: tuple[str, ...] = ("click", "box")
    variants: tuple[str, ...] = FP32 + LOWER + ON_REQUEST

    @property
    def family(self) -> str:
        """The model manager's."""
        return "sam2" if self.arch.startswith("hiera") else "sam"


CASES = {
    "sam": Case("vit_b", "sam"),
    "medsam": Case("vit_b", "medsam", ("box",), FP32),  # sam's weights: only the way to them differs
    "mobile-sam": Case("vit_t", "sam"),
    "lite-medsam": Case("vit_t_256", "lite-medsam", ("box",)),
    "sam2": Case("hiera_tiny", "sam2"),
}


def real_slices(count: int) -> list[np.ndarray]:
    """uint8 (h, w) or (h, w, 3)."""
    import cv2
    import SimpleITK as sitk

    data = Path(os.environ.get("PROMPTSEG_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not data.is_dir():
        raise SystemExit("expected a folder of real images in PROMPTSEG_TEST_DATA or ../shared/data, found none")
    volume = sitk.GetArrayFromImage(sitk.ReadImage(str(data / "ct_ts_trunk3mm" / "image.nii.gz")))
    cut = np.clip((volume[volume.shape[0] // 2].astype(np.float32) + 160) / 400, 0, 1)
    xray = cv2.imread(str(sorted((data / "images2d" / "xray_lung").glob("*.jpg"))[0]), cv2.IMREAD_GRAYSCALE)
    sound = cv2.imread(str(sorted((data / "images2d" / "us_fetalhead").glob("*.png"))[0]), cv2.IMREAD_COLOR)
    return [np.rint(cut * 255).astype(np.uint8), xray[:380], sound][:count]


def asked(image: np.ndarray) -> dict[str, np.ndarray]:
    """Prompts in the references' terms: (x, y), and (x0, y0, x1, y1) with both corners inside."""
    h, w = image.shape[:2]
    return {
        "click": np.array([w * 0.4, h * 0.6]).round(),
        "box": np.array([w * 0.2, h * 0.3, w * 0.7, h * 0.8]).round(),
    }


def by_reference(name: str, images: list[np.ndarray]) -> tuple[list[float], list[np.ndarray]]:
    """(seconds of each encoding, logits per slice and prompt)."""
    from models_references import REFERENCES, build

    reference = REFERENCES[name](build(CASES[name].arch))  # the same seed, so the weights that were saved
    seconds, logits = [], []
    for image in images:
        start = time.perf_counter()
        reference.embed(image)
        seconds.append(time.perf_counter() - start)
        logits += [getattr(reference, kind)(asked(image)[kind]) for kind in CASES[name].prompts]
    return seconds, logits


def by_ours(name: str, images: list[np.ndarray]) -> tuple[list[float], list[np.ndarray]]:
    """The same by the model manager, with the runtime and precision that the environment says."""
    from promptseg.models.loading import load_predictor
    from promptseg.models.predictor import SliceImage, SlicePrompts

    predictor = load_predictor(MODEL, "cpu").inner  # without the cache of embeddings
    seconds, logits = [], []
    for image in images:
        start = time.perf_counter()
        embedding = predictor.embed(SliceImage(image.astype(np.float32) / 255))
        seconds.append(time.perf_counter() - start)
        places = asked(image)
        x0, y0, x1, y1 = places["box"]
        prompts = {
            "click": SlicePrompts(places["click"][None, ::-1].astype(np.float32), np.array([True])),
            "box": SlicePrompts(box=(y0, x0, y1 + 1, x1 + 1)),
        }
        logits += [predictor.predict(embedding, prompts[kind]).logits for kind in CASES[name].prompts]
    return seconds, logits


def child(args: argparse.Namespace) -> None:
    """One variant of one family in this process; the result goes to a file."""
    from promptseg.models.bench import peak_memory_bytes

    images = real_slices(args.slices)
    name = args.families[0]
    if args.child == REFERENCE:
        seconds, logits = by_reference(name, images)
    else:
        seconds, logits = by_ours(name, images)
    np.savez(args.out, *logits)
    found = {"encoder_s": statistics.median(seconds), "peak_mb": peak_memory_bytes() / 1e6}
    args.out.with_suffix(".json").write_text(json.dumps(found))


def environment(variant: str, folder: Path) -> dict[str, str]:
    """Settings of the model manager for a variant."""
    runtime, _, precision = variant.partition("-")
    return {
        **os.environ,
        "PROMPTSEG_MODELS": str(folder / "models"),
        "PROMPTSEG_CACHE": str(folder / "cache"),
        "PROMPTSEG_RUNTIME": runtime,
        "PROMPTSEG_PRECISION": precision,
        "PROMPTSEG_TRIM": "0",
    }


def prepare(name: str, variants: list[str], folder: Path) -> None:
    """The reference's weights in a store, and the exports that the variants run."""
    from models_references import build, save

    from promptseg.models.loading import export_model
    from promptseg.models.own_models import OwnModel, add_model
    from promptseg.models.weights.store import Store

    os.environ.update(environment("torch-fp32", folder))
    if not (folder / "models" / MODEL).is_dir():
        case = CASES[name]
        checkpoint = save(build(case.arch), case.arch, folder)
        add_model(OwnModel(MODEL, checkpoint, family=case.family, arch=case.arch, preprocess=case.kind), Store())
        checkpoint.unlink()
    exported = {v.partition("-")[2].replace("bf16", "fp32") for v in variants if not v.startswith("torch")}
    for precision in sorted(p for p in exported if not (folder / "models" / MODEL / f"onnx-{p}").is_dir()):
        export_model(MODEL, precision)


def run(name: str, variant: str, slices: int, folder: Path) -> dict[str, object]:
    """One child; its seconds, memory and logits."""
    out = folder / "answers.npz"
    command = [sys.executable, __file__, "--child", variant, "--families", name, "--out", str(out)]
    env = environment(variant if variant != REFERENCE else "torch-fp32", folder)
    subprocess.run([*command, "--slices", str(slices)], env=env, check=True)
    return {**json.loads(out.with_suffix(".json").read_text()), "logits": list(np.load(out).values())}


def compare(name: str, variants: list[str], slices: int, folder: Path) -> list[str]:
    """Print one family's rows; returns a sentence for each fp32 variant that is too far away."""
    from models_references import distance

    prepare(name, variants, folder)
    reference, torch_fp32, said = run(name, REFERENCE, slices, folder), None, []
    largest = max(float(np.abs(a).max()) for a in reference["logits"])
    shares = [float((a > 0).mean()) for a in reference["logits"]]
    if largest < 0.1 or not any(0.01 < share < 0.99 for share in shares):
        raise SystemExit(f"the reference of {name} says nothing: logits up to {largest:.2g}, masks of {shares}")
    print_row(name, REFERENCE, "", "", f"{largest:.3g}", "", reference)
    for variant in variants:
        found = run(name, variant, 1 if "fp16" in variant else slices, folder)
        worst, overlap = distance(found["logits"], reference["logits"])
        from_torch, overlap_torch = distance(found["logits"], torch_fp32) if torch_fp32 else (0.0, 1.0)
        torch_fp32 = found["logits"] if variant == "torch-fp32" else torch_fp32
        size = max(float(np.abs(a).max()) for a in found["logits"])
        shown = f"{from_torch:.2g}" if torch_fp32 and variant != "torch-fp32" else ""
        print_row(name, variant, f"{worst:.2g}", shown, f"{size:.3g}", f"{overlap:.4f}", found)
        too_far = max(worst, from_torch) > MAX_ABS or min(overlap, overlap_torch) < LEAST_IOU
        if variant.endswith("fp32") and too_far:
            said.append(f"{name} {variant}: {worst:.2g} from the reference, {from_torch:.2g} from torch, IoU {overlap}")
    return said


def print_row(name: str, variant: str, worst: str, from_torch: str, size: str, overlap: str, found: dict) -> None:
    """One line of the table."""
    cells = (name, variant, worst, from_torch, size, overlap, f"{found['encoder_s']:.2f}", f"{found['peak_mb']:.0f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Run families and variants one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--variants", nargs="+", choices=FP32 + LOWER + ON_REQUEST, default=list(FP32 + LOWER))
    parser.add_argument("--slices", type=int, choices=(1, 2, 3), default=3)
    parser.add_argument("--folder", type=Path, help="keep weights and exports here, and use those that are here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    offered = [v for v in args.variants if find_spec("openvino") is not None or not v.startswith("openvino")]
    print("| family | variant | from the reference | from torch | largest logit | IoU | encoder s | peak MB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    said: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for family in args.families:
            folder = (args.folder or Path(name)) / family
            folder.mkdir(parents=True, exist_ok=True)
            said += compare(family, [v for v in offered if v in CASES[family].variants], args.slices, folder)
    print("\n".join(said) or f"fp32: everything within {MAX_ABS:g}, IoU at least {LEAST_IOU:g}")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
