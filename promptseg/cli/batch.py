"""``promptseg batch``: one job over many images, resumable."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.terminal import mode

if TYPE_CHECKING:
    from promptseg.batch.events import Finished

__all__ = ["SOME_FAILED", "batch"]

SOME_FAILED = 4  # exit code: the batch ran to its end, and some cases failed


def batch(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders (DICOM series are found), patterns, CSV or Parquet tables.", metavar="INPUTS"
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, report and manifest.")] = ...,  # type: ignore[assignment]
    job: Annotated[str, typer.Option(help="wholebody, segment, or your own package.module:Class.")] = ...,  # type: ignore[assignment]
    task: Annotated[str | None, typer.Option(help="wholebody: which task (total, total_mr, ...).")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="wholebody: 3 mm model.")] = False,
    fastest: Annotated[bool, typer.Option("--fastest", help="wholebody: 6 mm model.")] = False,
    roi_subset: Annotated[
        list[str] | None, typer.Option(help="wholebody: only these classes, with spaces or commas.", metavar="NAME")
    ] = None,
    model_folder: Annotated[Path | None, typer.Option(help="wholebody: your own trained nnU-Net.")] = None,
    model: Annotated[str | None, typer.Option(help="segment: model id; default builtin.")] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="segment: an organ's name, for every case. Repeatable.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of your own job, or of RunOptions for wholebody. Repeatable.", metavar="NAME=VALUE"
        ),
    ] = None,
    mask_format: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="nii.gz, seg.nrrd, nrrd, mha, dicom-seg, dicom-labelmap, rtstruct, dicom-sr (measurements).",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (all GPUs) or cuda:N,cuda:M.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Networks kept loaded at once; default: one per GPU, one on the CPU.", min=1)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what the output folder holds.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: try failed cases again.")
    ] = False,
    retries: Annotated[
        int, typer.Option(help="How often a failed case is tried again; a broken image never is.", min=0)
    ] = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds of work on one case.", min=0.001)] = None,
    memory_limit: Annotated[int | None, typer.Option(help="MiB of each worker process.", min=1)] = None,
    private_ids: Annotated[
        bool, typer.Option("--private-ids", help="Name cases by hashes, not after their files, which may hold names.")
    ] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Tables as Parquet too.")] = False,
    cluster: Annotated[str | None, typer.Option(help="Ray cluster: ray://HOST:PORT, HOST:PORT or auto.")] = None,
) -> None:
    """Run one job over many images. Killed at any moment, the same command with --resume finishes it.

    Exit code 0: all done; 4: some cases failed; 130: interrupted; 1: it could not run. Research use only.
    """
    from promptseg.batch.job import JobSpec
    from promptseg.batch.progress import shown
    from promptseg.batch.run import BatchOptions, run_batch

    given: dict[str, Any] = {
        "task": task, "fast": fast, "fastest": fastest, "roi_subset": _names(roi_subset),
        "model_folder": str(model_folder.absolute()) if model_folder else None, "model": model, "texts": text or [],
    }  # fmt: skip
    named = {name: value for name, value in given.items() if value} | _own_options(option or [])
    sys.path.append(str(Path.cwd()))  # your own job may lie here; its workers look here too
    spec = JobSpec(job, named, tuple(mask_format or ["nii.gz"]), device)
    options = BatchOptions(workers, resume, retry_failed, retries, timeout, memory_limit, cluster, private_ids, parquet)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what Slurm and Docker send ends it as cleanly as Ctrl-C
    with shown(as_json=mode().as_json, write=typer.echo) as listener:
        finished = run_batch(inputs or [], spec, output, options, listener)
    code = _exit_code(finished)
    if code:
        raise typer.Exit(code)


def _names(texts: list[str] | None) -> list[str]:
    return [name.strip() for text in texts or () for name in text.split(",") if name.strip()]


def _own_options(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"expected NAME=VALUE, got {pair!r}", param_hint="--option")
        found[name] = value
    return found


def _exit_code(finished: Finished) -> int:
    if finished.interrupted:
        return 130
    return SOME_FAILED if finished.failed else 0
