"""Job "wholebody": every case through one task of TotalSegmentator, its networks kept loaded."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from promptseg.batch.case import Case
from promptseg.batch.job import JobSpec, Result
from promptseg.batch.job_segment import read_case
from promptseg.errors import SettingsError

if TYPE_CHECKING:
    from promptseg.wholebody import WholeBody

__all__ = ["WholeBodyJob"]

OPTIONS = ("task", "fast", "fastest", "roi_subset", "model_folder")
NOT_FOR_MANY = {"probabilities", "statistics_extra", "statistics_aggregation", "statistics_incomplete"}  # of RunOptions


def _value(given: Any) -> Any:
    """Return what the command line's text says: true, 200, small."""
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return given


class WholeBodyJob:
    """See ``promptseg.batch.job.Job``. Options: those of ``promptseg.wholebody.WholeBody`` and ``RunOptions``."""

    def __init__(self, spec: JobSpec) -> None:
        from promptseg.wholebody import RunOptions, WholeBody

        more = {field.name for field in fields(RunOptions)} - NOT_FOR_MANY
        unknown = set(spec.options) - set(OPTIONS) - more
        if unknown:
            known = ", ".join((*OPTIONS, *sorted(more)))
            raise SettingsError(f"the job wholebody knows the options {known}, not {', '.join(sorted(unknown))}")
        options = {name: value for name, value in spec.options.items() if name in OPTIONS}
        run = {name: _value(value) for name, value in spec.options.items() if name in more}
        self._engine: WholeBody = WholeBody(**options, device=spec.device, options=RunOptions(**run))

    def load(self) -> None:
        """Load the task's networks."""
        self._engine.load()

    def warm(self) -> None:
        """Import TotalSegmentator and find out which steps the task has."""
        _ = self._engine.models

    def prepare(self, case: Case) -> Any:
        """Read the image and bring it onto the first network's grid."""
        volume, _ = read_case(case)
        return self._engine.prepare(volume)

    def infer(self, prepared: Any) -> Any:
        """Run the networks."""
        return self._engine.infer(prepared)

    def finish(self, prepared: Any, inferred: Any) -> Result:
        """Bring the classes back onto the image's grid."""
        from promptseg.wholebody.modality import misfit

        labelmap = self._engine.finish(prepared, inferred)
        warning = misfit(prepared.volume, self._engine.task)
        findings = (*prepared.volume.findings, *([warning] if warning else []))
        return Result(prepared.volume, labelmap, None, self._engine.made_by, findings)
