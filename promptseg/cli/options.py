"""Options that several commands have, said once: image, series, frame, window, model, device, identity."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.terminal import note

if TYPE_CHECKING:
    from promptseg.volume import Volume

__all__ = [
    "IMAGE_HELP",
    "SPACED",
    "Again",
    "DeviceName",
    "Frame",
    "Image",
    "KeepIdentity",
    "MaskFile",
    "Model",
    "Series",
    "WindowText",
    "joined",
    "read_image",
]


IMAGE_HELP = "Image file, a folder with one DICOM series, or a zip archive of either."
Image = Annotated[Path, typer.Argument(help=IMAGE_HELP, metavar="IMAGE")]
MaskFile = Annotated[
    Path, typer.Argument(help="Mask: NIfTI, NRRD, MHA, TIFF, PNG, or a DICOM SEG or RTSTRUCT.", metavar="MASK")
]
Series = Annotated[str | None, typer.Option(help="Which DICOM series of a folder (number, or part of its UID).")]
Frame = Annotated[int | None, typer.Option(help="Which frame of a 4D image, from 0.")]
WindowText = Annotated[
    str | None,
    typer.Option("--window", help="Intensity window: a CT preset (soft-tissue, lung, bone, ...) or LEVEL,WIDTH."),
]
Model = Annotated[str, typer.Option(help="Model id; see `promptseg models list`.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N (gpu means cuda).")]
Again = Annotated[
    bool,
    typer.Option(
        "--again",
        help="A log's prompts as they are answered now, though image, weights or masks are not those of then.",
    ),
]
KeepIdentity = Annotated[
    bool, typer.Option("--keep-identity", help="Copy the patient's name, id and dates from a DICOM image.")
]

# Options that take several values with spaces between them, as TotalSegmentator's do, and what such a value looks like:
# whatever looks otherwise, or is a file or folder that is there, is the command's next argument.
NUMBERS = re.compile(r"-?[\d.]+(,-?[\d.]+)+(/[-\d.,/]+)?")
NAME = re.compile(r"[A-Za-z]\w*(,\w+)*,?")
SPACED = {
    "--point": NUMBERS,
    "--not-point": NUMBERS,
    "--box": NUMBERS,
    "--recist": NUMBERS,
    "--scribble": NUMBERS,
    "--roi-subset": NAME,
}


def joined(arguments: list[str], repeatable: set[str]) -> list[str]:
    """Return arguments with ``--option a b`` written as ``--option a --option b``, for the options in ``SPACED``.

    An option's underscores are hyphens: ``--roi_subset``, as TotalSegmentator spells it, is ``--roi-subset``.

    Args:
        arguments: of one command.
        repeatable: its options that may be repeated.
    """
    words = [_hyphens(word) for word in arguments]
    made: list[str] = []
    option, given = "", 0  # the option that may take more, and how many values it has
    for word in words:
        if word.startswith("-") and not NUMBERS.fullmatch(word):
            option, given = (word, 0) if word in SPACED and word in repeatable else ("", 0)
        elif option:
            fits = SPACED[option].fullmatch(word) and not Path(word).exists()
            if given and fits:
                made.append(option)
            elif given:
                option = ""
            given += 1
        made.append(word)
    return made


def _hyphens(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if re.fullmatch(r"--[a-z_-]+", name) else word


def read_image(image: Path, series: str | None = None, frame: int | None = None, window: str | None = None) -> Volume:
    """Read the image that the options name, and say what a person should know of it."""
    from promptseg.io import read_volume
    from promptseg.volume import parse_window

    chosen = None if window is None else parse_window(window)
    volume = read_volume(image, series=series, frame=frame, window=chosen)
    for finding in volume.findings:
        note(finding)
    return volume
