"""Make the figures of the documentation again: ``python docs/figures/make_figures.py [FOLDER]``.

Every figure is drawn by the package itself from the example that ships with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.api import apply_log, open_session
from promptseg.example import example_prompts_path, example_truth, example_volume
from promptseg.overlay import render_overlay
from promptseg.promptlog import logged_prompts, read_log

JPEG_QUALITY = 88


def main(folder: Path) -> None:
    """Write ``example.jpg``, the example with its truth, and ``demo.jpg``, what ``make demo`` makes of its prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    volume, log = example_volume(), read_log(example_prompts_path())
    prompts = logged_prompts(log.entries)
    write(folder / "example.jpg", render_overlay(volume, example_truth(), prompts=prompts))
    session = open_session(volume)
    apply_log(session, log)
    write(folder / "demo.jpg", render_overlay(volume, session.labelmap, prompts=prompts))


def write(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB picture (h, w, 3) as JPEG."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise SystemExit("the figure could not be encoded")
    path.write_bytes(data.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
