"""``promptseg report``: one page on a study, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import Again, DeviceName, Frame, Image, KeepIdentity, Series, WindowText, read_image
from promptseg.cli.terminal import tell, wrote

if TYPE_CHECKING:
    from promptseg.report import Report, ReportOptions
    from promptseg.session.prompt_log import PromptLog
    from promptseg.volume import Volume

__all__ = ["report"]


def report(
    image: Image,
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
    keep_identity: KeepIdentity = False,
    series: Series = None,
    frame: Frame = None,
    window: WindowText = None,
    device: DeviceName = "auto",
    again: Again = False,
) -> None:
    """Write one page on a study: pictures, measurements, confidence, model, prompts, findings."""
    from promptseg.export.source import identity_of
    from promptseg.report import ReportOptions, write_report
    from promptseg.report.write import require_report
    from promptseg.session.comparing import require_image
    from promptseg.session.prompt_log import read_log

    content = read_log(log) if log is not None else None
    output = require_report(output, inputs=[path for path in (image, mask, log) if path is not None])
    volume = read_image(image, series, frame, window)
    who = identity_of(image, series=series) if keep_identity else {}
    if content is not None:
        require_image(volume, content, strict=not again)
    if mask is not None:
        made = _from_mask(volume, mask, ReportOptions(content, identity=who), image, series)
    elif content is not None:
        made = _again(volume, content, who, device, strict=not again)
    else:
        raise typer.BadParameter("expected a MASK, or --log to make it again, got neither")
    files = wrote(write_report(made, output))
    tell([f"wrote {name}" for name in files], {"files": files})


def _from_mask(volume: Volume, mask: Path, options: ReportOptions, image: Path, series: str | None) -> Report:
    """Report on a mask from a file; objects that overlap are measured whole."""
    from dataclasses import replace

    from promptseg.export.masks import read_masks
    from promptseg.report import build_report
    from promptseg.volume import Labelmap

    masks, notes = read_masks(mask, image, series)
    flat = masks if isinstance(masks, Labelmap) else masks.labelmap(overlap="last")
    return build_report(volume, flat, replace(options, findings=notes), masks=masks)


def _again(volume: Volume, log: PromptLog, who: dict[str, str], device: str, *, strict: bool) -> Report:
    """Report on the session that a log tells of, made again with its model."""
    from promptseg.report import session_report
    from promptseg.session.restoring import predictor_of, restore

    return session_report(restore(volume, log, predictor_of(log, device), strict=strict), identity=who)
