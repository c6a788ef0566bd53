"""N cases through one warm ``WholeBody`` against ``TotalSegmentator`` called once per case: masks, time, memory.

    python benchmarks/wholebody_against_cli.py                     # task total, fast, 3 cases
    python benchmarks/wholebody_against_cli.py --cases 8
    python benchmarks/wholebody_against_cli.py --speed full        # five models at 1.5 mm
    python benchmarks/wholebody_against_cli.py --speed full --roi-subset liver kidney_left
    python benchmarks/wholebody_against_cli.py --task total_mr

Weights are tiny and random, in TotalSegmentator's layout: start-up, input and output, resampling and plumbing are
real, the networks are not. Cases are pieces of a real CT, oblique and anisotropic. Ours is one process for all cases,
its start and the loading of the networks counted; the command is one process per case, as its users call it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import promptseg

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "wholebody"), str(TESTS / "dev")]
SIZE = (40, 72, 80)  # (z, y, x) voxels of a case


def write_cases(folder: Path, count: int) -> list[Path]:
    """Cut ``count`` overlapping pieces from the real CT and lay them obliquely."""
    from wholebody_phantoms import turned

    import promptseg
    from promptseg.volume import Geometry, Volume

    named = os.environ.get("PROMPTSEG_TEST_DATA")
    data = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    whole = promptseg.read_volume(data / "ct_ts_trunk3mm" / "image.nii.gz").array
    paths = []
    for number in range(count):
        z, y, x = (int(n) for n in np.random.default_rng(number).integers(0, np.array(whole.shape) - SIZE))
        piece = np.ascontiguousarray(whole[z : z + SIZE[0], y : y + SIZE[1], x : x + SIZE[2]])
        geometry = Geometry(SIZE, (2.2, 2.6, 3.7), (81.25, -40.5, 312.0 + number), turned(9, -14, 11 + number))
        paths.append(folder / f"case{number}.nii.gz")
        promptseg.write_volume(Volume.from_array(piece, geometry), paths[-1])
    return paths


def ours(arguments: argparse.Namespace, cases: list[Path], out: Path) -> dict[str, object]:
    """Segment all cases in this process; return seconds of every step and the peak memory."""
    import promptseg

    engine = engine_of(arguments)
    engine.load()
    steps: dict[str, float] = {}
    for case in cases:
        result = engine.run(promptseg.read_volume(case))
        promptseg.write_labelmap(result.labelmap, out / case.name)
        for step, seconds in result.seconds.items():
            steps[step] = steps.get(step, 0.0) + seconds
    return {"steps": steps, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def engine_of(arguments: argparse.Namespace) -> promptseg.WholeBody:
    """Return the engine that the arguments ask for."""
    import promptseg

    speed = {"fast": arguments.speed == "fast", "fastest": arguments.speed == "fastest"}
    return promptseg.WholeBody(arguments.task, **speed, roi_subset=arguments.roi_subset, device=arguments.device)


def write_weights(arguments: argparse.Namespace, weights: Path) -> None:
    """Write the task's tiny networks, and those that find its region first."""
    import tiny_weights

    speed = {"fast": arguments.speed == "fast", "fastest": arguments.speed == "fastest"}
    tiny_weights.write_task(weights, arguments.task, "random", **speed)
    for model in engine_of(arguments).models:
        if not (weights / model.name).is_dir():
            tiny_weights.write_tiny_weights(weights, model.dataset_id)


def by_command(arguments: argparse.Namespace, case: Path, out: Path) -> None:
    """Run TotalSegmentator's own command on one case."""
    program = Path(sysconfig.get_path("scripts")) / "TotalSegmentator"
    options = [f"--{arguments.speed}"] if arguments.speed != "full" else []
    options += ["--roi_subset", *arguments.roi_subset] if arguments.roi_subset else []
    device = "gpu" if arguments.device.startswith("cuda") else "cpu"
    command = [sys.executable, str(program), "-i", str(case), "-o", str(out / case.name), "--ml", "-d", device]
    subprocess.run([*command, "--task", arguments.task, *options], check=True, capture_output=True, timeout=1800)


def compare(cases: list[Path], ours_in: Path, theirs_in: Path) -> tuple[float, float, int]:
    """Return the worst Dice of any class in any case, the share of equal voxels, and how many classes were seen."""
    import nibabel

    worst, equal, seen = 1.0, [], set()
    for case in cases:
        made, wanted = (np.asanyarray(nibabel.load(folder / case.name).dataobj) for folder in (ours_in, theirs_in))
        equal.append(float((made == wanted).mean()))
        for value in sorted({*np.unique(made).tolist(), *np.unique(wanted).tolist()} - {0}):
            seen.add(value)
            both = np.count_nonzero((made == value) & (wanted == value))
            worst = min(worst, 2 * both / (np.count_nonzero(made == value) + np.count_nonzero(wanted == value)))
    return worst, float(np.mean(equal)), len(seen)


def main() -> None:
    """Run both sides and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="total")
    parser.add_argument("--speed", choices=("full", "fast", "fastest"), default="fast")
    parser.add_argument("--roi-subset", nargs="+", default=(), help="only these classes")
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        out, *cases = (Path(text) for text in arguments.worker)
        print(json.dumps(ours(arguments, cases, out)))
        return

    with tempfile.TemporaryDirectory(prefix="promptseg-") as name:
        folder = Path(name)
        home = folder / "models" / "totalsegmentator"
        os.environ.update(PROMPTSEG_MODELS=str(folder / "models"), TOTALSEG_HOME_DIR=str(home))
        write_weights(arguments, home / "nnunet" / "results")
        from promptseg.wholebody.weights import ensure_home

        ensure_home()  # silent for both sides
        for side in ("ours", "theirs"):
            (folder / side).mkdir()
        cases = write_cases(folder, arguments.cases)
        started = time.perf_counter()
        worker = [sys.executable, __file__, *sys.argv[1:], "--worker", str(folder / "ours"), *map(str, cases)]
        done = subprocess.run(worker, check=True, capture_output=True, text=True, timeout=3600)
        warm_s = time.perf_counter() - started
        warm = json.loads(done.stdout.splitlines()[-1])
        started = time.perf_counter()
        for case in cases:
            by_command(arguments, case, folder / "theirs")
        command_s = time.perf_counter() - started
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        worst, equal, classes = compare(cases, folder / "ours", folder / "theirs")
    size = " x ".join(str(n) for n in SIZE[::-1])
    print(f"{arguments.cases} cases of {size} voxels, task {arguments.task} ({arguments.speed}), {arguments.device}")
    print(f"masks: {classes} classes seen, worst Dice {worst:.5f}, {100 * equal:.4f} % of the voxels equal")
    print(f"one warm process     {warm_s:7.1f} s   peak {warm['peak_mb']:6.0f} MB")
    print("   steps, s:         " + ", ".join(f"{step} {seconds:.2f}" for step, seconds in warm["steps"].items()))
    print(f"one command per case {command_s:7.1f} s   peak {peak_mb:6.0f} MB in its largest process")
    print(f"ratio of wall time   {warm_s / command_s:7.2f}")


if __name__ == "__main__":
    main()
