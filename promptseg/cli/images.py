"""``promptseg info``, ``convert``, ``example``: images as they are, in another format, and one to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.options import Frame, Image, Series, WindowText, read_image
from promptseg.cli.terminal import mode, tell, using, wrote

if TYPE_CHECKING:
    from promptseg.volume import Volume

__all__ = ["convert", "example", "info"]


def info(image: Image, series: Series = None, frame: Frame = None, window: WindowText = None) -> None:
    """Say what an image is: size, geometry, modality, window, findings. A folder of several series is listed."""
    from dataclasses import asdict, replace

    from promptseg.errors import SeriesChoiceError
    from promptseg.io import list_series

    try:
        with using(replace(mode(), quiet=True)):  # its findings are a part of the answer
            volume = read_image(image, series, frame, window)
    except SeriesChoiceError:
        if series is not None or not image.is_dir():
            raise
        found = list_series(image)
        lines = [f"{len(found)} DICOM series; choose one with --series", *(str(item) for item in found)]
        tell(lines, {"series": [{**asdict(item), "files": len(item.files)} for item in found]})
        return
    tell(_described(volume), _facts(volume))


def _facts(volume: Volume) -> dict[str, Any]:
    geometry, window = volume.geometry, volume.window
    return {
        "shape_zyx": geometry.shape,
        "spacing_xyz_mm": geometry.spacing,
        "origin_xyz_lps_mm": geometry.origin,
        "direction_lps": geometry.direction,
        "dtype": str(volume.array.dtype),
        "rgb": volume.is_rgb,
        "low": float(volume.array.min()),
        "high": float(volume.array.max()),
        "modality": volume.modality,
        "window": {"low": window.low, "high": window.high, "source": window.source},
        "sha256": volume.content_hash,
        "findings": [str(finding) for finding in volume.findings],
    }


def _described(volume: Volume) -> list[str]:
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


def convert(
    image: Annotated[Path, typer.Argument(help="Image file or DICOM folder.", metavar="IN")],
    output: Annotated[Path, typer.Argument(help="File to write; its extension says the format.", metavar="OUT")],
    series: Series = None,
    frame: Frame = None,
    mask: Annotated[bool, typer.Option("--mask", help="IN is a mask: keep labels, names and colours.")] = False,
) -> None:
    """Convert an image (or, with --mask, a mask) to another format on the same grid."""
    from promptseg.io import read_labelmap, write_labelmap, write_volume
    from promptseg.io.outputs import require_output
    from promptseg.io.write import IMAGE_EXTENSIONS, MASK_EXTENSIONS

    output = require_output(output, MASK_EXTENSIONS if mask else IMAGE_EXTENSIONS, inputs=[image])
    if mask:
        written = write_labelmap(read_labelmap(image), output)
    else:
        written = write_volume(read_image(image, series, frame), output)
    _tell_files(written)


def example(
    output: Annotated[Path, typer.Option("-o", "--output", help="Image to write (.nii.gz, .nrrd, .mha, ...).")] = Path(
        "scan.nii.gz"
    ),
    truth: Annotated[Path | None, typer.Option(help="Also write its true labels.", metavar="MASK")] = None,
) -> None:
    """Write the example: a CT of a torso, made by this project, to try every command on."""
    from promptseg.example import example_truth, example_volume
    from promptseg.io import write_labelmap, write_volume
    from promptseg.io.outputs import require_output
    from promptseg.io.write import IMAGE_EXTENSIONS, MASK_EXTENSIONS

    output = require_output(output, IMAGE_EXTENSIONS)
    truth = None if truth is None else require_output(truth, MASK_EXTENSIONS, inputs=[output])
    written = write_volume(example_volume(), output)
    if truth is not None:
        written += write_labelmap(example_truth(), truth)
    _tell_files(written)


def _tell_files(paths: tuple[Path, ...]) -> None:
    files = wrote(paths)
    tell([f"wrote {name}" for name in files], {"files": files})
