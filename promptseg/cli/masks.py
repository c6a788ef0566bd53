"""``promptseg export``, ``import``, ``combine``, ``measure`` and ``evaluate``: masks elsewhere, and their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import Frame, KeepIdentity, MaskFile, Series, read_image
from promptseg.cli.terminal import note, tell, wrote

__all__ = ["combine_masks", "evaluate", "export", "import_mask", "measure"]

DrawnOn = Annotated[
    Path | None, typer.Option("--image", help="Image (file or DICOM folder) that a DICOM mask was drawn on.")
]
AnyReference = Annotated[
    bool,
    typer.Option("--any-frame-of-reference", help="Read a mask whose frame of reference differs from the image's."),
]


def export(
    mask: MaskFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .dcm, .stl, .obj.")],
    image: DrawnOn = None,
    kind: Annotated[
        str,
        typer.Option(
            "--as", help="What a .dcm becomes: seg, labelmap, rtstruct, or sr (measurements of a SEG).", metavar="KIND"
        ),
    ] = "seg",
    log: Annotated[Path | None, typer.Option(help="Prompt log: model and prompts go into the object.")] = None,
    holes: Annotated[str, typer.Option(help="RTSTRUCT: keyhole or xor.")] = "keyhole",
    label: Annotated[list[str] | None, typer.Option(help="Meshes: which label. Repeatable.")] = None,
    keep_identity: KeepIdentity = False,
    series: Series = None,
    frame: Frame = None,
) -> None:
    """Write a mask as DICOM SEG or RTSTRUCT (for its DICOM image), a SEG's measurements, or a surface (STL, OBJ)."""
    from promptseg.export.masks import EXTENSIONS, ExportRequest, export_mask
    from promptseg.io.outputs import require_output
    from promptseg.session.prompt_log import read_log

    if output.suffix.lower() in EXTENSIONS:  # of others export_mask says which command writes them
        output = require_output(output, EXTENSIONS, inputs=_given(mask, image, log))
    logged = read_log(log) if log is not None else None
    request = ExportRequest(image, kind, logged, holes, tuple(label or ()), keep_identity, series, frame)
    lines, notes = export_mask(mask, output, request)
    _tell(notes)
    tell(lines, {"files": wrote([output])})


def import_mask(
    source: Annotated[Path, typer.Argument(help="DICOM SEG or RTSTRUCT file.", metavar="FILE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Mask file (.nii.gz, .seg.nrrd, .nrrd, .mha, ...).")],
    image: DrawnOn = None,
    overlap: Annotated[str, typer.Option(help="Voxels of two objects: refuse, first or last.")] = "refuse",
    any_frame_of_reference: AnyReference = False,
    series: Series = None,
) -> None:
    """Read a DICOM SEG or RTSTRUCT and write it as a mask on the image's grid."""
    from promptseg.export.masks import import_segmentation
    from promptseg.io.outputs import require_output
    from promptseg.io.write import MASK_EXTENSIONS

    output = require_output(output, MASK_EXTENSIONS, inputs=_given(source, image))
    lines, notes = import_segmentation(source, output, image, series, overlap, not any_frame_of_reference)
    _tell(notes)
    tell(lines, {"files": wrote([output]), "lines": lines})


def combine_masks(
    masks: Annotated[
        list[Path], typer.Argument(help="Mask files, or folders of them (liver.nii.gz, ...).", metavar="MASK...")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Mask file (.nii.gz, .seg.nrrd, .nrrd, .mha, ...).")],
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Several labels under one name; * stands for any letters. Repeatable; others are left out.",
            metavar="NAME=LABEL,LABEL",
        ),
    ] = None,
    overlap: Annotated[str, typer.Option(help="Voxels of two labels: refuse, first or last.")] = "refuse",
) -> None:
    """Put masks together: files of one class each into one, or several labels under one name."""
    from promptseg.io import read_labelmap, write_labelmap
    from promptseg.io.outputs import require_output
    from promptseg.io.write import MASK_EXTENSIONS
    from promptseg.volume.combining import combine

    output = require_output(output, MASK_EXTENSIONS, inputs=masks)
    groups = dict(_group(text) for text in label) if label else None
    files = [file for path in masks for file in _mask_files(path)]
    made = combine(((_stem(file), read_labelmap(file)) for file in files), groups, overlap)
    written = wrote(write_labelmap(made, output))
    names = [one.name for one in made.labels.values()]
    tell([f"{len(names)} labels", *(f"wrote {name}" for name in written)], {"labels": names, "files": written})


def _group(text: str) -> tuple[str, list[str]]:
    name, equals, patterns = text.partition("=")
    if not (name and equals and patterns):
        raise typer.BadParameter(f"expected NAME=LABEL,LABEL (lung=lung_*), got {text!r}", param_hint="--label")
    return name.strip(), [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]


def _mask_files(path: Path) -> list[Path]:
    from promptseg.errors import ReadError
    from promptseg.io.outputs import has_extension
    from promptseg.io.write import MASK_EXTENSIONS

    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if has_extension(file, MASK_EXTENSIONS))
    if not files:
        raise ReadError(f"expected masks ({', '.join(MASK_EXTENSIONS)}) in the folder {path}, found none")
    return files


def _stem(path: Path) -> str:
    from promptseg.export.outputs import stem_of

    return stem_of(path)


def measure(
    mask: MaskFile,
    image: Annotated[Path | None, typer.Argument(help="Image, for intensities.", metavar="[IMAGE]")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Name or value. Repeatable; all by default.")] = None,
    fraction: Annotated[
        list[str] | None,
        typer.Option(help="Share of an organ that a lesion takes, by label names. Repeatable.", metavar="LESION:ORGAN"),
    ] = None,
    cup_to_disc: Annotated[
        list[str] | None,
        typer.Option(help="Cup-to-disc ratios of a fundus photograph's mask. Repeatable.", metavar="CUP:DISC"),
    ] = None,
    end_systole: Annotated[
        Path | None, typer.Option(help="The mask at end systole; MASK is at end diastole: ejection fraction.")
    ] = None,
    earlier: Annotated[
        Path | None, typer.Option(help="The mask at an earlier time: change of volume and axial diameter.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Table to write: .csv or .json.")] = None,
    series: Series = None,
    frame: Frame = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Put MASK onto IMAGE's grid (nearest neighbour) if they differ.")
    ] = False,
) -> None:
    """Measure masks: volume, surface, RECIST and 3D diameters, sphericity, intensities; units and sources with each."""
    from promptseg.export.masks import read_masks
    from promptseg.io.outputs import require_output
    from promptseg.measure.rows import MeasureRequest, measure_masks
    from promptseg.measure.tables import TABLE_EXTENSIONS, write_table
    from promptseg.volume.labelmap import Labelmap
    from promptseg.volume.onto_grid import labels_onto

    if output is not None:
        output = require_output(output, TABLE_EXTENSIONS, inputs=_given(mask, image, end_systole, earlier))
    volume = read_image(image, series, frame) if image is not None else None
    masks, notes = read_masks(mask, image, series)
    if volume is not None and isinstance(masks, Labelmap):
        masks, more = labels_onto(masks, volume.geometry, resample=resample)
        notes = (*notes, *more)
    _tell(notes)
    systole, before = (read_masks(path, None, None)[0] if path else None for path in (end_systole, earlier))
    request = MeasureRequest(tuple(label or ()), tuple(fraction or ()), tuple(cup_to_disc or ()), systole, before)
    rows = measure_masks(masks, volume, request)
    table = [{key: value for key, value in row.items() if key != "text"} for row in rows]
    lines = [f"{row['label']:16} {row['name']:20} {row['text']:>24} {row['unit']}".rstrip() for row in rows]
    if output is not None:
        lines += [f"wrote {name}" for name in wrote([write_table(table, output)])]
    tell(lines, table)


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Mask that is judged.", metavar="PRED")],
    truth: Annotated[Path, typer.Argument(help="Reference mask.", metavar="TRUTH")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="Name or value, or PREDICTED=TRUE. Repeatable; all by default.", metavar="LABEL"),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Of the surface Dice (NSD), mm.")] = 1.0,
    resample: Annotated[
        bool, typer.Option("--resample", help="Put PRED onto TRUTH's grid (nearest neighbour) if they differ.")
    ] = False,
    image: DrawnOn = None,
    series: Series = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Table to write: .csv or .json.")] = None,
) -> None:
    """Compare two masks: Dice, IoU, NSD, HD95, ASSD and volume error per label."""
    from promptseg.export.masks import read_pair
    from promptseg.io.outputs import require_output
    from promptseg.measure.tables import TABLE_EXTENSIONS, write_table
    from promptseg.score.evaluate import evaluate as score

    if output is not None:
        output = require_output(output, TABLE_EXTENSIONS, inputs=_given(prediction, truth, image))
    judged, reference, notes = read_pair(prediction, truth, image, series)
    _tell(notes)
    scores = score(judged, reference, labels=label, tolerance_mm=tolerance, resample=resample)
    table = [row.to_dict() for row in scores]
    unit = "mm" if reference.geometry.measured else "px"
    names = f"{f'HD95 {unit}':>9} {f'ASSD {unit}':>9}"
    lines = [f"{'label':20} {'Dice':>7} {'IoU':>7} {'NSD':>7} {names} {'volume':>8}"]
    for row in scores:
        lines.append(
            f"{row.label:20} {row.dice:7.4f} {row.iou:7.4f} {row.nsd:7.4f} {row.hd95_mm:9.3f} {row.assd_mm:9.3f} "
            f"{100 * row.volume_error:+7.1f}%"
        )
    lines.append(f"NSD at {tolerance:g} {unit}")
    if output is not None:
        lines += [f"wrote {name}" for name in wrote([write_table(table, output)])]
    tell(lines, table)


def _given(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path is not None]


def _tell(notes: Iterable[str]) -> None:
    for sentence in notes:
        note(sentence)
