"""How long it takes to bring a session back, against how long it was worked on.

    python benchmarks/reopening.py
    python benchmarks/reopening.py --model builtin --steps 8 24

Every tenth step carries the label through the volume, others are clicks, edits and undos. "killed" is the folder as a
process killed three seconds after the last step leaves it (one that is killed in a step's own moment has that step to
do again); "replayed" is the same without its snapshot: what it takes to work everything out again. All must give the
voxels of the session that is still open. Seconds are the process's own (CPU), so that other programs count less.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import promptseg
from promptseg.engine.edits import Grow, RemoveIslands
from promptseg.example import example_path
from promptseg.prompts import Point
from promptseg.session.session import Session
from promptseg.session.snapshot import FILE_NAME

LIMIT_S = 2.0
KILLED_AFTER_S = 3.0


def work(session: Session, steps: int, chance: random.Random) -> None:
    """Do so many steps of all kinds."""
    for step in range(1, steps + 1):
        z, y, x = (float(chance.randrange(*span)) for span in ((5, 43), (40, 100), (40, 140)))
        if step % 10 == 0:
            session.propagate()
        elif step % 7 == 0:
            session.undo()
        elif step % 5 == 0:
            session.edit(RemoveIslands() if step % 2 else Grow(0.9))
        else:
            session.add(Point(voxel=(z, y, x), positive=step % 3 > 0), propagate=False)


def brought_back(folder: Path, open_now: Session) -> float:
    """Bring a copied folder back; return the seconds it took.

    Raises:
        SystemExit: other voxels than the open session's.
    """
    began = time.process_time()
    session = promptseg.resume(folder, "cpu")
    took = time.process_time() - began
    if not np.array_equal(session.labelmap.array, open_now.labelmap.array):
        raise SystemExit("the session came back with other voxels")
    session.close()
    shutil.rmtree(folder)
    return took


def main() -> int:
    """Measure, print the table; 1 where a killed session takes more than two seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="classical")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 40, 160])
    parser.add_argument("--replay", type=int, default=40, help="largest history that is also replayed")
    options = parser.parse_args()
    late = False
    print(f"| steps ({options.model}) | work | killed, brought back | closed, brought back | replayed |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for steps in options.steps:
            folder, copy = Path(name) / str(steps), Path(name) / "copy"
            session = promptseg.open_session(example_path(), options.model, "cpu", folder=folder)
            began = time.process_time()
            work(session, steps, random.Random(steps))
            worked = time.process_time() - began
            time.sleep(KILLED_AFTER_S)
            shutil.copytree(folder, copy)
            killed = brought_back(copy, session)
            shutil.copytree(folder, copy)
            (copy / FILE_NAME).unlink(missing_ok=True)
            replayed = f"{brought_back(copy, session):.1f} s" if steps <= options.replay else "not run"
            shutil.rmtree(copy, ignore_errors=True)
            session.close()
            shutil.copytree(folder, copy)
            closed = brought_back(copy, session)
            print(f"| {steps} | {worked:.1f} s | {killed:.2f} s | {closed:.2f} s | {replayed} |", flush=True)
            late |= killed > LIMIT_S
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
