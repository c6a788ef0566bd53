"""``promptseg check`` and ``promptseg deidentify``: is an image where it says, and what does it say of a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import Frame, Series
from promptseg.cli.terminal import note, tell, wrote

if TYPE_CHECKING:
    from promptseg.io.selfcheck import SelfCheck

__all__ = ["FOUND_ERRORS", "check", "deidentify"]

FOUND_ERRORS = 3  # exit code of a check that found errors


def check(
    path: Annotated[Path, typer.Argument(help="Image file, folder with DICOM files, or FILE.slices.json with --back.")],
    against: Annotated[
        Path | None, typer.Option(help="Compare the image's grid with this mask's or image's.", metavar="MASK")
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            help="Resample a tilted or unevenly spaced DICOM series, or a sheared NIfTI file, onto a regular grid and "
            "write it here; "
            "OUT.slices.json beside it keeps the way back.",
            metavar="OUT",
        ),
    ] = None,
    back: Annotated[
        Path | None,
        typer.Option(help="Bring a mask made on the fixed image PATH back to the original slices.", metavar="MASK"),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the slices of --back.")] = None,
    series: Series = None,
    frame: Frame = None,
) -> None:
    """Say what is wrong with an image's geometry and tags. Exit code: 0 no error found, 3 errors found."""
    from promptseg.io.selfcheck import check_against, check_path

    if sum(option is not None for option in (against, fix, back)) > 1:
        raise typer.BadParameter("expected one of --against, --fix and --back, got several")
    if back is not None:
        _bring_back(path, back, output)
        return
    if fix is not None:
        report = _fix(path, fix, series, frame)
    elif against is not None:
        report = check_against(path, against, series=series)
    else:
        report = check_path(path, series=series)
    tell(_lines(report), report.to_dict())
    if report.worst.value == "error":
        raise typer.Exit(FOUND_ERRORS)


def _lines(report: SelfCheck) -> list[str]:
    lines = []
    for part in report.parts:
        lines.append(part.name)
        for finding in part.findings:
            lines.append(f"  {finding.severity.value:8} {finding.code:24} {finding} [{finding.done}]")
        if not part.findings:
            lines.append("  no findings")
    return lines


def _fix(path: Path, output: Path, series: str | None, frame: int | None) -> SelfCheck:
    """Write the regular grid and the way back; return what was wrong and is no longer."""
    from promptseg.check.finding import Finding
    from promptseg.io.outputs import require_output
    from promptseg.io.regrid import read_regridded, slices_path, write_slices
    from promptseg.io.selfcheck import Checked, SelfCheck
    from promptseg.io.write import IMAGE_EXTENSIONS, write_volume

    output = require_output(output, IMAGE_EXTENSIONS, inputs=[path])
    made = read_regridded(path, series=series, frame=frame)
    written = [*write_volume(made.volume, output), write_slices(made.slices, slices_path(output))]
    for name in wrote(written):
        note(name, "wrote")
    return SelfCheck(str(path), (Checked(output.name, tuple(Finding.of(text) for text in made.volume.findings)),))


def _bring_back(path: Path, mask: Path, output: Path | None) -> None:
    from promptseg.io import read_labelmap
    from promptseg.io.outputs import require_folder
    from promptseg.io.regrid import read_slices, write_mask_slices

    if output is None:
        raise typer.BadParameter("--back needs -o FOLDER for the slices")
    require_folder(output, inputs=[path, mask])
    slices = read_slices(path)
    written = write_mask_slices(slices, read_labelmap(mask), output)
    lines = [f"wrote {len(written)} slices to {output}, each where the original lies"]
    tell(lines, {"files": wrote(written)})


def deidentify(
    path: Annotated[Path, typer.Argument(help="DICOM file or folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for the copies.")],
) -> None:
    """Copy DICOM images without what names a person (PS3.15 basic profile). Pixels are not changed."""
    from promptseg.export.deidentify import deidentify as run

    done = run(path, output)
    for finding in done.findings:
        note(finding, finding.severity.value)
    tell([f"wrote {len(done.files)} images to {output}"], {"files": wrote(done.files)})
