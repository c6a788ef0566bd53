"""``promptseg export``, ``import``, ``measure`` and ``evaluate``: masks to other systems, and numbers from masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

Mask = Annotated[
    Path, typer.Argument(help="Mask: NIfTI, NRRD, MHA, TIFF, PNG, or a DICOM SEG or RTSTRUCT.", metavar="MASK")
]
Image = Annotated[
    Path | None, typer.Option("--image", help="Image (file or DICOM folder) that a DICOM mask was drawn on.")
]
Series = Annotated[str | None, typer.Option(help="Which DICOM series of the image's folder.")]
AnyReference = Annotated[
    bool,
    typer.Option("--any-frame-of-reference", help="Read a mask whose frame of reference differs from the image's."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the program."""
    app.command()(export)
    app.command("import")(import_mask)
    app.command()(measure)
    app.command()(evaluate)


def export(
    mask: Mask,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .dcm, .stl, .obj.")],
    image: Annotated[
        Path | None, typer.Option("--image", help="The DICOM image (folder or file) that the mask was drawn on.")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--as", help="What a .dcm becomes: seg, labelmap, rtstruct, or sr (measurements of a SEG).", metavar="KIND"
        ),
    ] = "seg",
    log: Annotated[Path | None, typer.Option(help="Prompt log: model and prompts go into the object.")] = None,
    holes: Annotated[str, typer.Option(help="RTSTRUCT: keyhole or xor.")] = "keyhole",
    label: Annotated[list[str] | None, typer.Option(help="Meshes: which label. Repeatable.")] = None,
    keep_identity: Annotated[
        bool, typer.Option("--keep-identity", help="Copy the patient's name, id and dates into the DICOM object.")
    ] = False,
    series: Series = None,
    frame: Annotated[int | None, typer.Option(help="Which frame of a 4D image, from 0.")] = None,
) -> None:
    """Write a mask as DICOM SEG or RTSTRUCT (for its DICOM image), a SEG's measurements, or a surface (STL, OBJ)."""
    from promptseg.export.masks import ExportRequest, export_mask
    from promptseg.session.prompt_log import read_log

    logged = read_log(log) if log is not None else None
    request = ExportRequest(image, kind, logged, holes, tuple(label or ()), keep_identity, series, frame)
    lines, notes = export_mask(mask, output, request)
    _tell(notes)
    for line in lines:
        typer.echo(line)


def import_mask(
    source: Annotated[Path, typer.Argument(help="DICOM SEG or RTSTRUCT file.", metavar="FILE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Mask file (.nii.gz, .seg.nrrd, .nrrd, .mha, ...).")],
    image: Image = None,
    overlap: Annotated[str, typer.Option(help="Voxels of two objects: refuse, first or last.")] = "refuse",
    any_frame_of_reference: AnyReference = False,
    series: Series = None,
) -> None:
    """Read a DICOM SEG or RTSTRUCT and write it as a mask on the image's grid."""
    from promptseg.export.masks import import_segmentation

    lines, notes = import_segmentation(source, output, image, series, overlap, not any_frame_of_reference)
    _tell(notes)
    for line in lines:
        typer.echo(line)


def measure(
    mask: Mask,
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
    frame: Annotated[int | None, typer.Option(help="Which frame of a 4D image, from 0.")] = None,
) -> None:
    """Measure masks: volume, surface, RECIST and 3D diameters, sphericity, intensities; units and sources with each."""
    from promptseg.export.masks import read_masks
    from promptseg.io import read_volume
    from promptseg.measure.rows import MeasureRequest, measure_masks
    from promptseg.measure.tables import write_table

    volume = read_volume(image, series=series, frame=frame) if image is not None else None
    masks, notes = read_masks(mask, image, series)
    _tell(notes)
    systole, before = (read_masks(path, None, None)[0] if path else None for path in (end_systole, earlier))
    request = MeasureRequest(tuple(label or ()), tuple(fraction or ()), tuple(cup_to_disc or ()), systole, before)
    rows = measure_masks(masks, volume, request)
    for row in rows:
        typer.echo(f"{row['label']:16} {row['name']:20} {row['text']:>24} {row['unit']}".rstrip())
    if output is not None:
        table = [{key: value for key, value in row.items() if key != "text"} for row in rows]
        typer.echo(f"wrote {write_table(table, output)}")


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
    image: Image = None,
    series: Series = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Table to write: .csv or .json.")] = None,
) -> None:
    """Compare two masks: Dice, IoU, NSD, HD95, ASSD and volume error per label."""
    from promptseg.export.masks import read_pair
    from promptseg.measure.tables import write_table
    from promptseg.score.evaluate import evaluate as score

    judged, reference, notes = read_pair(prediction, truth, image, series)
    _tell(notes)
    scores = score(judged, reference, labels=label, tolerance_mm=tolerance, resample=resample)
    typer.echo(f"{'label':20} {'Dice':>7} {'IoU':>7} {'NSD':>7} {'HD95 mm':>9} {'ASSD mm':>9} {'volume':>8}")
    for row in scores:
        typer.echo(
            f"{row.label:20} {row.dice:7.4f} {row.iou:7.4f} {row.nsd:7.4f} {row.hd95_mm:9.3f} {row.assd_mm:9.3f} "
            f"{100 * row.volume_error:+7.1f}%"
        )
    typer.echo(f"NSD at {tolerance:g} mm")
    if output is not None:
        typer.echo(f"wrote {write_table([row.to_dict() for row in scores], output)}")


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
