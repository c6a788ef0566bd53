"""From nothing to the first mask: import, open, clicks and memory, beside segment-anything's own package.

    python benchmarks/first_click.py
    python benchmarks/first_click.py --shape 300 512 512 --ours-only

Each side runs in a process of its own, which begins with the import; segment-anything has ViT-B with random weights,
which costs what trained ones cost. What an installation costs, ``packaging/try_wheel.py`` prints.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

COMMON = """
import json, resource, sys, time
clock = [time.perf_counter()]
def lap():
    clock.append(time.perf_counter())
    return clock[-1] - clock[-2]
z, y, x = {shape}
found = {{}}
import numpy as np
scan = np.full((z, y, x), -900, np.int16)
scan[z // 4 : -(z // 4), y // 4 : -(y // 4), x // 3 : -(x // 3)] = 60
lap()
"""
OURS = """
import promptseg
from promptseg import Geometry, Point, Volume
found["import"] = lap()
session = promptseg.open_session(Volume.from_array(scan, Geometry(scan.shape, (0.8, 0.8, 1.0)), modality="CT"))
found["open"] = lap()
for name, place in (("first click", (0, 0, 0)), ("second click", (0, 9, 7)), ("next slice", (1, 0, 0))):
    session.add(Point(voxel=(z // 2 + place[0], y // 2 + place[1], x // 2 + place[2])), propagate=False)
    found[name] = lap()
"""
THEIRS = """
from segment_anything import SamPredictor, sam_model_registry
found["import"] = lap()
predictor = SamPredictor(sam_model_registry["vit_b"]())
found["open"] = lap()
def shown(slice_):
    grey = np.clip((scan[slice_].astype(float) + 160) / 400 * 255, 0, 255).astype(np.uint8)
    predictor.set_image(np.repeat(grey[..., None], 3, axis=2))
shown(z // 2)
for name, place in (("first click", (0, 0, 0)), ("second click", (0, 9, 7)), ("next slice", (1, 0, 0))):
    if name == "next slice":
        shown(z // 2 + 1)
    predictor.predict(np.array([[x // 2 + place[2], y // 2 + place[1]]]), np.array([1]))
    found[name] = lap()
"""
END = """
usage = resource.getrusage(resource.RUSAGE_SELF)
found["cpu"], found["peak MiB"] = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
print(json.dumps(found))
"""


def main() -> None:
    """Time both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(48, 256, 256), metavar=("Z", "Y", "X"))
    parser.add_argument("--ours-only", action="store_true")
    given = parser.parse_args()
    sides = {"promptseg, builtin": OURS} | ({} if given.ours_only else {"segment-anything, vit_b": THEIRS})
    told = {name: _run(COMMON.format(shape=tuple(given.shape)) + code + END) for name, code in sides.items()}
    print(f"{'seconds':14}" + "".join(f"{name:>26}" for name in told))
    for step in next(iter(told.values())):
        print(f"{step:14}" + "".join(f"{found[step]:26.2f}" for found in told.values()))


def _run(code: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
