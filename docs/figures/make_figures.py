"""Make the figures of the documentation again: ``python docs/figures/make_figures.py [FOLDER]``.

Every figure is drawn by the package itself from the example that ships with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from promptseg.example import example_prompts_path, example_truth, example_volume
from promptseg.overlay import render_overlay
from promptseg.promptlog import logged_prompts, read_log

JPEG_QUALITY = 88


def main(folder: Path) -> None:
    """Write ``example.jpg``: the example volume with its truth and its prompts in three planes."""
    prompts = logged_prompts(read_log(example_prompts_path()).entries)
    picture = render_overlay(example_volume(), example_truth(), prompts=prompts)
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise SystemExit("the figure could not be encoded")
    (folder / "example.jpg").write_bytes(data.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
