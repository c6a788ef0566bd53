"""The program: its commands, and the one place where errors become a paragraph and an exit code.

Exit codes: 0 success; 2 bad usage; 3 `check` found errors; 4 `batch` ended with failed cases; 5 some outputs could not
be written, or nothing was found; 130 interrupted; 1 anything else that went wrong.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from promptseg.cli.app import app_command
from promptseg.cli.batch import batch
from promptseg.cli.bench import bench
from promptseg.cli.bundle import bundle_command
from promptseg.cli.check import check, deidentify
from promptseg.cli.demo import demo
from promptseg.cli.doctor import doctor
from promptseg.cli.grand_challenge import grand_challenge
from promptseg.cli.groups import Group, explained
from promptseg.cli.images import convert, example, info
from promptseg.cli.masks import combine_masks, evaluate, export, import_mask, measure
from promptseg.cli.mcp import mcp
from promptseg.cli.models import cache_app, models_app
from promptseg.cli.report import report
from promptseg.cli.segment import segment
from promptseg.cli.serve import audit, recover, serve, users_app
from promptseg.cli.terminal import Mode, using
from promptseg.cli.wholebody import wholebody
from promptseg.errors import ChangedError, PromptsegError

__all__ = ["app", "main"]

RESEARCH_ONLY = "Research use only: not a medical device."
app = typer.Typer(
    name="promptseg",
    cls=Group,
    help=f"Promptable segmentation of medical images: clicks, boxes and scribbles into 3D masks.\n\n{RESEARCH_ONLY}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models", cls=Group)
app.add_typer(cache_app, name="cache", cls=Group)
app.add_typer(users_app, name="users", cls=Group)

explained(
    app,
    "promptseg segment scan.nii.gz --box 26,27,25,27,101,114 --label liver -o liver.nii.gz",
    "promptseg segment scan.nii.gz --point 26,60,60 26,80,70 --not-point 26,60,130 -o results",
    "promptseg segment dicom_folder --recist 12,240,180,262,210 -o lesion.dcm -o lesion.csv",
)(segment)
explained(
    app,
    "promptseg wholebody scan.nii.gz --fast -o organs.seg.nrrd",
    "promptseg wholebody dicom_folder --roi-subset liver spleen kidney_left -o organs.dcm --statistics",
    "promptseg wholebody scan.nii.gz --text 'left kidney' -o kidney.nii.gz",
)(wholebody)
explained(
    app,
    "promptseg batch scans -o results --job wholebody --fast",
    "promptseg batch clicks.csv -o results --job segment",
    "promptseg batch scans -o results --job wholebody --fast --resume",
)(batch)
explained(app, "promptseg info scan.nii.gz", "promptseg info dicom_folder --json")(info)
explained(
    app,
    "promptseg check dicom_folder",
    "promptseg check dicom_folder --fix straight.nii.gz",
    "promptseg check scan.nii.gz --against mask.nii.gz",
)(check)
explained(app, "promptseg convert dicom_folder scan.nii.gz", "promptseg convert --mask mask.nii.gz mask.seg.nrrd")(
    convert
)
explained(app, "promptseg deidentify dicom_folder -o anonymous")(deidentify)
explained(app, "promptseg example -o scan.nii.gz", "promptseg example -o scan.nii.gz --truth truth.nii.gz")(example)
explained(app, "promptseg measure mask.nii.gz scan.nii.gz -o table.csv", "promptseg measure lesion.dcm --json")(measure)
explained(app, "promptseg evaluate mask.nii.gz truth.nii.gz --tolerance 2 -o scores.csv")(evaluate)
explained(app, "promptseg report scan.nii.gz mask.nii.gz -o study", "promptseg report scan.nii.gz --log prompts.json")(
    report
)
explained(
    app,
    "promptseg export mask.nii.gz --image dicom_folder -o seg.dcm",
    "promptseg export mask.nii.gz --image dicom_folder --as rtstruct -o contours.dcm",
    "promptseg export mask.nii.gz --label liver -o liver.stl",
)(export)
explained(
    app,
    "promptseg combine masks_folder -o all.seg.nrrd",
    "promptseg combine organs.nii.gz --label 'lung=lung_*' --label bones=hip_left,hip_right -o lung.nii.gz",
    name="combine",
)(combine_masks)
explained(app, "promptseg import contours.dcm --image dicom_folder -o mask.nii.gz", name="import")(import_mask)
explained(app, "promptseg app", "promptseg app scan.nii.gz", name="app")(app_command)
explained(
    app,
    "promptseg serve --root /data/scans",
    "promptseg serve --host 0.0.0.0 --auth password --data /srv/promptseg",
)(serve)
explained(app, "promptseg audit --since 2026-01-31")(audit)
explained(app, "promptseg recover", "promptseg recover --owner anna")(recover)
explained(app, "promptseg mcp --url http://127.0.0.1:7860")(mcp)
explained(app, "promptseg bench --cases my_cases --dimension 3 -o out/bench")(bench)
explained(app, "promptseg demo -o out")(demo)
explained(
    app,
    "promptseg bundle -o stick --extras app,sam --model sam-vit-b",
    "promptseg bundle --bring stick",
    name="bundle",
)(bundle_command)
explained(app, "promptseg doctor", "promptseg doctor --json")(doctor)
explained(app, "promptseg grand-challenge --input /input --output /output")(grand_challenge)


def _version(value: bool) -> None:
    if value:
        import promptseg

        typer.echo(f"promptseg {promptseg.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version_flag: Annotated[
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Parse the options that stand before the command."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code. This is the program's entry point."""
    chosen, rest = Mode.taken_from(sys.argv[1:] if arguments is None else arguments)
    with using(chosen):
        return _run(chosen, rest)


def _run(chosen: Mode, arguments: list[str]) -> int:
    try:
        app(args=arguments, prog_name="promptseg")
    except SystemExit as exc:  # how typer ends: 0, 2 for bad usage, or the code of typer.Exit
        return exc.code if isinstance(exc.code, int) else 0
    except PromptsegError as exc:
        if chosen.debug:
            raise
        hint = "; the option --again does that" if isinstance(exc, ChangedError) and "again" in exc.choices else ""
        return _fail(f"{exc}{hint}", 1)
    except Exception as exc:  # the last line of defence: a person gets a sentence, never a traceback
        if chosen.debug:
            raise
        return _fail(f"unexpected {type(exc).__name__}: {exc} (this is a bug; add --debug to see where)", 1)
    return 0


def _fail(message: str, code: int) -> int:
    typer.echo(f"promptseg: {message}", err=True)
    return code
