"""Job "segment": every case by its own prompts, with one promptable model that stays loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.batch.case import Case, Hints
from promptseg.batch.job import JobSpec, Result
from promptseg.errors import PromptError, SettingsError

if TYPE_CHECKING:
    from promptseg.promptlog import PromptLog
    from promptseg.prompts import Prompt
    from promptseg.volume import Labelmap, Volume

__all__ = ["Prepared", "SegmentJob", "read_case"]

CHALLENGE_SUFFIX = ".npz"
OPTIONS = {"model": "builtin"}


@dataclass(frozen=True)
class Prepared:
    """An image and the prompts to apply to it."""

    volume: Volume
    log: PromptLog


class SegmentJob:
    """See ``promptseg.batch.job.Job``. Options: ``model``."""

    def __init__(self, spec: JobSpec) -> None:
        unknown = set(spec.options) - set(OPTIONS)
        if unknown:
            raise SettingsError(f"the job segment knows the options {', '.join(OPTIONS)}, not {', '.join(unknown)}")
        self.model = str(spec.options.get("model") or OPTIONS["model"])
        self.device = spec.device
        self._predictor: Any = None

    def load(self) -> None:
        """Load the model."""
        from promptseg.models.loading import load_predictor

        self._predictor = load_predictor(self.model, self.device)

    def prepare(self, case: Case) -> Prepared:
        """Read the image and its prompts.

        Raises:
            ReadError: the image cannot be read.
            PromptError: no prompts, or malformed ones.
        """
        volume, boxes = read_case(case)
        log = _log(case.hints, boxes, volume)
        return Prepared(volume if log.window is None else replace(volume, window=log.window), log)

    def infer(self, prepared: Prepared) -> tuple[Labelmap, PromptLog]:
        """Apply the prompts; return the labels and the log that makes them again."""
        from promptseg.api import apply_log
        from promptseg.promptlog import PromptLog
        from promptseg.session import Session

        if self._predictor is None:
            self.load()
        session = Session(prepared.volume, self._predictor, prepared.log.options)
        apply_log(session, prepared.log)
        image, window = session.volume.content_hash, session.volume.window
        return session.labelmap, PromptLog(session.log, session.model_id, image, window, session.options)

    def finish(self, prepared: Prepared, inferred: tuple[Labelmap, PromptLog]) -> Result:
        """Hand everything over."""
        labelmap, log = inferred
        return Result(prepared.volume, labelmap, log, log.model_id or "", prepared.volume.findings)


def read_case(case: Case) -> tuple[Volume, tuple[Prompt, ...]]:
    """Read a case's image, and the boxes that stand in a challenge file beside it."""
    if case.image.lower().endswith(CHALLENGE_SUFFIX):
        from promptseg.foreign import read_challenge_npz

        return read_challenge_npz(case.image)
    from promptseg.io import read_volume

    where = [Path(file) for file in case.files] or Path(case.image)
    return read_volume(where, series=case.series, frame=case.frame), ()


def _log(hints: Hints, boxes: tuple[Prompt, ...], volume: Volume) -> PromptLog:
    """Return every prompt of a case as one log: a log's own labels, else a label per object.

    Raises:
        PromptError: there is no prompt.
        ReplayError: the log cannot be read.
    """
    from promptseg.foreign import recist_box
    from promptseg.promptlog import PromptLog, read_log
    from promptseg.prompts import prompt_to_dict

    if hints.log is not None:
        if hints.prompts or hints.recist:
            raise PromptError("expected a prompt log, or prompts and diameters, got both")
        return read_log(Path(hints.log))
    objects: list[tuple[str | None, list[Mapping[str, Any]]]] = []
    if hints.prompts:
        objects.append((hints.label, list(hints.prompts)))
    lines = [recist_box((z, y0, x0), (z, y1, x1), volume.geometry) for z, y0, x0, y1, x1 in hints.recist]
    for number, line in enumerate(lines, start=1):
        objects.append((f"lesion {number}", [prompt_to_dict(line)]))
    objects += [(f"box {number}", [prompt_to_dict(box)]) for number, box in enumerate(boxes, start=1)]
    if not objects:
        raise PromptError(
            "expected prompts for this image, found none: put them into a table's prompts or recist column, "
            "or into a file beside the image (scan.nii.gz: scan.prompts.json)"
        )
    entries: list[Mapping[str, Any]] = []
    for value, (name, prompts) in enumerate(objects, start=1):
        entries.append({"op": "label", "name": name})
        entries.append({"op": "prompt", "label": value, "propagate": True, "prompts": prompts})
    return PromptLog(tuple(entries))
