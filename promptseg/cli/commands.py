"""What the longer commands do, apart from parsing and printing: each returns the lines to show."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import WriteError

if TYPE_CHECKING:
    from promptseg.engine.progress import OnProgress
    from promptseg.session.session import Session
    from promptseg.volume import Labelmap, Volume

__all__ = ["describe", "run_demo", "save_results"]


def describe(volume: Volume) -> list[str]:
    """Return what a person wants to know of an image, a fact a line."""
    geometry = volume.geometry
    size = " x ".join(str(n) for n in geometry.shape[::-1])
    extent = " x ".join(f"{n * s:.1f}" for n, s in zip(geometry.shape[::-1], geometry.spacing, strict=True))
    rows = [geometry.direction[i : i + 3] for i in (0, 3, 6)]
    kind = "RGB, 8 bit" if volume.is_rgb else f"{volume.array.dtype}, {volume.array.min():g} to {volume.array.max():g}"
    return [
        f"size (x, y, z)   {size} voxels, {extent} mm",
        f"spacing          {' x '.join(f'{v:g}' for v in geometry.spacing)} mm",
        f"origin (LPS)     {', '.join(f'{v:g}' for v in geometry.origin)} mm",
        f"direction        {' | '.join(' '.join(f'{v:.4f}' for v in row) for row in rows)}",
        f"values           {kind}",
        f"modality         {volume.modality or 'not stated'}",
        f"window           {volume.window.low:g} to {volume.window.high:g} ({volume.window.source})",
        *(f"note             {finding}" for finding in volume.findings),
    ]


def save_results(session: Session, output: Path) -> list[str]:
    """Write a session's mask to a file, or mask, prompt log and overlay into a folder.

    Args:
        session: with at least one label.
        output: a mask file (known extension), or a folder, which is made when it is missing.

    Returns:
        A line per label and per file.
    """
    from promptseg.io.write import MASK_EXTENSIONS

    labelmap = session.labelmap
    lines = [f"{label.name}: {_size(labelmap, label.value)}" for label in labelmap.labels.values()]
    if output.name.lower().endswith(MASK_EXTENSIONS):
        return lines + [f"wrote {path}" for path in session.save(output)]
    return lines + [f"wrote {path}" for path in save_folder(session, output)]


def _size(labelmap: Labelmap, value: int) -> str:
    """Volume in ml; of a single slice the area in mm², or in pixels where the file states no pixel size."""
    geometry, count = labelmap.geometry, int(labelmap.mask(value).sum())
    if geometry.shape[0] > 1:
        return f"{labelmap.volume_ml(value):.2f} ml"
    x_mm, y_mm, _ = geometry.spacing
    return f"{count} pixels" if (x_mm, y_mm) == (1.0, 1.0) else f"{count * x_mm * y_mm:.1f} mm²"


def save_folder(session: Session, folder: Path) -> list[Path]:
    """Write ``mask.nii.gz``, ``prompts.json`` and ``overlay.png`` into a folder; return every file."""
    from promptseg.report.overlay import write_overlay_png
    from promptseg.session.prompt_log import logged_prompts

    if folder.suffix:
        raise WriteError(f"expected a mask file of a known format or a folder without a suffix, got {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {folder}: {exc.strerror}") from exc
    written = [*session.save(folder / "mask.nii.gz"), session.export_prompts(folder / "prompts.json")]
    overlay = folder / "overlay.png"
    write_overlay_png(session.volume, session.labelmap, overlay, prompts=logged_prompts(session.log))
    return [*written, overlay]


def run_demo(output: Path, model: str, device: str, on_progress: OnProgress) -> list[str]:
    """Segment the example volume from its prompts; return what was used, reached and written."""
    from promptseg.api import apply_log, open_session
    from promptseg.example import example_prompts_path, example_truth, example_volume
    from promptseg.score.metrics import dice
    from promptseg.session.prompt_log import read_log

    volume, truth = example_volume(), example_truth()
    log = read_log(example_prompts_path())
    started = time.perf_counter()
    session = open_session(volume, model, device)
    apply_log(session, log, on_progress=on_progress)
    seconds = time.perf_counter() - started
    made = session.labelmap
    size = " x ".join(str(n) for n in volume.shape[::-1])
    lines = [f"example: a CT phantom of {size} voxels (made by this project, no patient data); model {model}"]
    for entry in session.log:
        if entry["op"] != "prompt":
            continue
        label = made.labels[entry["label"]]
        kinds = ", ".join(prompt["type"] for prompt in entry["prompts"])
        score = dice(made.mask(label.value), truth.mask(label.name))
        lines.append(f"{label.name:14} from {kinds:12} Dice {score:.3f}, {made.volume_ml(label.value):8.1f} ml")
    lines.append(f"took {seconds:.1f} s")
    return lines + [f"wrote {path}" for path in save_folder(session, output)]
