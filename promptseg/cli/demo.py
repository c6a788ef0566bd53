"""``promptseg demo``: the example from its prompts, against its known truth, with a picture to look at."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.options import DeviceName, Model
from promptseg.cli.segment import FOLDER_NAMES, save_folder
from promptseg.cli.terminal import progress, tell, wrote

if TYPE_CHECKING:
    from promptseg.session.session import Session
    from promptseg.volume import Labelmap

__all__ = ["demo"]

IMAGE_NAME = "scan.nii.gz"  # beside the mask, so that any viewer can lay one over the other


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("out"),
    model: Model = "builtin",
    device: DeviceName = "auto",
) -> None:
    """Segment the example volume from one box an organ, say what each became, and lay the masks over the image."""
    from promptseg.example import example_prompts_path, example_truth, example_volume
    from promptseg.io import write_volume
    from promptseg.io.outputs import require_folder
    from promptseg.models.loading import load_predictor
    from promptseg.session.prompt_log import read_log
    from promptseg.session.restoring import restore

    output = require_folder(output, (IMAGE_NAME, *FOLDER_NAMES))
    volume, truth = example_volume(), example_truth()
    started = time.perf_counter()
    log, predictor = read_log(example_prompts_path()), load_predictor(model, device)
    with progress("segmenting the example") as (_, on_progress):
        session = restore(volume, log, predictor, on_progress=on_progress)
    seconds = time.perf_counter() - started
    rows = _rows(session, truth)
    output.mkdir(parents=True, exist_ok=True)
    image, *_ = write_volume(volume, output / IMAGE_NAME)
    files = wrote([image, *save_folder(session, output)])
    tell(_lines(session, rows, seconds, files), {"objects": rows, "seconds": seconds, "files": files})


def _rows(session: Session, truth: Labelmap) -> list[dict[str, Any]]:
    """Return what became of each object: its prompt, its slices, its volume, and how far it is the true one."""
    from promptseg.score.metrics import dice

    made, rows = session.labelmap, []
    for entry in session.log:
        if entry["op"] != "prompt":
            continue
        label = made.labels[entry["label"]]
        mask, true = made.mask(label.value), truth.mask(label.name)
        rows.append(
            {
                "name": label.name,
                "prompts": [prompt["type"] for prompt in entry["prompts"]],
                "slices": int(mask.any(axis=(1, 2)).sum()),
                "true_slices": int(true.any(axis=(1, 2)).sum()),
                "volume_ml": made.volume_ml(label.value),
                "dice": dice(mask, true),
            }
        )
    return rows


def _lines(session: Session, rows: list[dict[str, Any]], seconds: float, files: list[str]) -> list[str]:
    size = " x ".join(str(n) for n in session.volume.shape[::-1])
    lines = [
        f"the example: a CT phantom of {size} voxels (made by this project, no patient data); model {session.model_id}",
        "each object from one 2D box on its largest slice, and a click or two where the box holds more:",
    ]
    for row in rows:
        lines.append(
            f"  {row['name']:14} found on {row['slices']:2} slices, {row['true_slices']:2} are true; "
            f"{row['volume_ml']:8.1f} ml; Dice {row['dice']:.3f}"
        )
    lines.append(f"took {seconds:.1f} s; one box leaves ends to correct: a click or two each, in `promptseg app`")
    lines += [f"wrote {name}" for name in files]
    picture = next(name for name in files if name.endswith(".png"))
    return [*lines, f"look at {picture}, or open {files[0]} with {files[1]} over it in any viewer"]
