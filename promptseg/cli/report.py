"""``promptseg report``: one page on a study, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptseg.report import Report, ReportOptions
    from promptseg.session.prompt_log import PromptLog
    from promptseg.volume import Volume

__all__ = ["report"]


def report(
    image: Annotated[Path, typer.Argument(help="Image file, or a folder with one DICOM series.", metavar="IMAGE")],
    mask: Annotated[
        Path | None,
        typer.Argument(
            help="Its mask, DICOM SEG and RTSTRUCT too. Without one --log makes it again.", metavar="[MASK]"
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="report.html, .pdf, .csv or .json; or a folder for all four.")
    ] = Path("report"),
    log: Annotated[
        Path | None, typer.Option(help="Prompt log: model, prompts; without MASK also the confidences.")
    ] = None,
    keep_identity: Annotated[
        bool, typer.Option("--keep-identity", help="Print the patient's name, id and dates of a DICOM image.")
    ] = False,
    series: Annotated[
        str | None, typer.Option(help="Which DICOM series of a folder (number, or part of its UID).")
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Which frame of a 4D image, from 0.")] = None,
    window: Annotated[str | None, typer.Option(help="Intensity window: a CT preset or LEVEL,WIDTH.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; where --log makes the masks.")] = "auto",
) -> None:
    """Write one page on a study: pictures, measurements, confidence, model, prompts, findings."""
    from promptseg.export.source import identity_of
    from promptseg.io import read_volume
    from promptseg.report import ReportOptions, write_report
    from promptseg.session.prompt_log import read_log
    from promptseg.volume.intensity import parse_window

    content = read_log(log) if log is not None else None
    chosen = parse_window(window) if window is not None else None
    volume = read_volume(image, series=series, frame=frame, window=chosen)
    who = identity_of(image, series=series) if keep_identity else {}
    if mask is not None:
        made = _from_mask(volume, mask, ReportOptions(content, identity=who), image, series)
    elif content is not None:
        made = _again(volume, content, who, device)
    else:
        raise typer.BadParameter("expected a MASK, or --log to make it again, got neither")
    for path in write_report(made, output):
        typer.echo(f"wrote {path}")


def _from_mask(volume: Volume, mask: Path, options: ReportOptions, image: Path, series: str | None) -> Report:
    """Report on a mask from a file; objects that overlap are measured whole."""
    from dataclasses import replace

    from promptseg.export.masks import read_masks
    from promptseg.report import build_report
    from promptseg.volume import Labelmap

    masks, notes = read_masks(mask, image, series)
    flat = masks if isinstance(masks, Labelmap) else masks.labelmap(overlap="last")
    return build_report(volume, flat, replace(options, findings=notes), masks=masks)


def _again(volume: Volume, log: PromptLog, who: dict[str, str], device: str) -> Report:
    """Report on the session that a log tells of, made again with its model."""
    from promptseg.report import session_report
    from promptseg.session.restoring import predictor_of, restore

    return session_report(restore(volume, log, predictor_of(log, device)), identity=who)
