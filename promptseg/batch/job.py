"""What is done with each case, in three steps that run in three processes; and how a job is named.

A job is any class that keeps the contract of ``Job``. ``wholebody`` and ``segment`` are ours; ``package.module:Class``
names your own, which is called with the batch's ``JobSpec``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from promptseg.batch.case import Case
from promptseg.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from promptseg.session.prompt_log import PromptLog
    from promptseg.volume import Labelmap, Volume

__all__ = ["FORMATS", "OUR_JOBS", "REPORT", "Job", "JobSpec", "Result", "make_job"]

REPORT = "dicom-sr"  # measurements as a DICOM structured report, which refers to the DICOM SEG beside it
FORMATS = ("nii.gz", "seg.nrrd", "nrrd", "mha", "dicom-seg", "dicom-labelmap", "rtstruct", REPORT)  # of export.formats
OUR_JOBS = {
    "segment": "promptseg.batch.job_segment:SegmentJob",
    "wholebody": "promptseg.batch.job_wholebody:WholeBodyJob",
}
OWN_JOB = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class JobSpec:
    """Which job with which options; plain values, so that it travels to workers and into the manifest.

    Attributes:
        job: "wholebody", "segment" or "package.module:Class".
        options: the job's own options, JSON values.
        formats: what to write, among ``FORMATS``.
        device: "auto", "cpu", "cuda" or "cuda:N" as the worker sees it.
    """

    job: str
    options: Mapping[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ("nii.gz",)
    device: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        """Return what makes two batches the same: everything but the device."""
        data = asdict(self)
        del data["device"]
        return data


@dataclass(frozen=True)
class Result:
    """What a job hands over to be written.

    Attributes:
        volume: the image.
        labelmap: on its grid.
        log: the prompt log that made it; None where no prompts were used.
        algorithm: name of the model or task, for DICOM objects and reports.
        findings: sentences that a person should read.
    """

    volume: Volume
    labelmap: Labelmap
    log: PromptLog | None = None
    algorithm: str = ""
    findings: tuple[str, ...] = ()


class Job(Protocol):
    """Three steps, each in a process of its own that lives on and takes one case at a time.

    *Contract.* The constructor is cheap and raises ``PromptsegError`` on impossible options; it runs in every process
    and once where the batch is started. ``load`` and ``warm`` are done before any case's time is measured. ``prepare``
    and ``finish`` run on the CPU and never need ``load``; ``infer`` alone touches the device. What ``prepare`` and
    ``infer`` return can be pickled. Steps raise ``PromptsegError`` with a sentence for people; any other exception
    counts as a failed case too. Nothing is written but what the caller writes from the ``Result``.
    """

    def __init__(self, spec: JobSpec) -> None: ...

    def load(self) -> None:
        """Load the network; called once per ``infer`` process before the first case."""

    def warm(self) -> None:
        """Import what the other steps need; called once per ``prepare`` and ``finish`` process."""

    def prepare(self, case: Case) -> Any:
        """Read and preprocess."""

    def infer(self, prepared: Any) -> Any:
        """Run the network."""

    def finish(self, prepared: Any, inferred: Any) -> Result:
        """Bring the answer back onto the image's grid."""


def make_job(spec: JobSpec) -> Job:
    """Make the job that a spec names.

    Raises:
        SettingsError: no such job or format, or impossible options.
    """
    for name in spec.formats:
        if name not in FORMATS:
            raise SettingsError(f"expected mask formats among {', '.join(FORMATS)}, got {name!r}"
                                f"{did_you_mean(name, FORMATS)}")  # fmt: skip
    home = OUR_JOBS.get(spec.job, spec.job)
    if not OWN_JOB.fullmatch(home):
        raise SettingsError(
            f"expected a job among {', '.join(OUR_JOBS)} or package.module:Class, got {spec.job!r}"
            f"{did_you_mean(spec.job, OUR_JOBS)}"
        )
    module, _, name = home.partition(":")
    try:
        made: Job = getattr(import_module(module), name)(spec)
    except (ImportError, AttributeError) as exc:
        raise SettingsError(f"the job {spec.job!r} cannot be loaded: {exc}") from exc
    return made
