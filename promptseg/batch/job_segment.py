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
    from promptseg.prompts import Prompt
    from promptseg.session.prompt_log import PromptLog
    from promptseg.volume import Labelmap, Volume
    from promptseg.wholebody import WholeBody
    from promptseg.wholebody.names import Anatomy

__all__ = ["Prepared", "SegmentJob", "read_case"]

CHALLENGE_SUFFIX = ".npz"
OPTIONS = ("model", "texts", "fast", "fastest")


@dataclass(frozen=True)
class Prepared:
    """An image, the structures to find in it by name, and the prompts to apply to it."""

    volume: Volume
    named: tuple[Anatomy, ...]
    log: PromptLog


class SegmentJob:
    """See ``promptseg.batch.job.Job``.

    Options: ``model`` answers prompts; ``texts`` are names of structures that every case is searched for, beside what
    its own row says, by TotalSegmentator's networks (``fast``, ``fastest``: its 3 and 6 mm models).
    """

    def __init__(self, spec: JobSpec) -> None:
        options = dict(spec.options)
        unknown = set(options) - set(OPTIONS)
        if unknown:
            raise SettingsError(f"the job segment knows the options {', '.join(OPTIONS)}, not {', '.join(unknown)}")
        self.model = str(options.get("model", "builtin"))
        self.device = spec.device
        self.texts: tuple[str, ...] = tuple(options.get("texts", ()))
        self._fast, self._fastest = bool(options.get("fast")), bool(options.get("fastest"))
        self._predictor: Any = None
        self._engines: dict[str, WholeBody] = {}
        self._usual = {_resolved(text, None).task for text in self.texts}

    def load(self) -> None:
        """Load the model, and the networks that the batch's texts usually need."""
        from promptseg.models.loading import load_predictor

        self._predictor = load_predictor(self.model, self.device)
        for task in self._usual:
            self._engine(task).load()

    def warm(self) -> None:
        """Import what reading needs."""
        import promptseg.io
        import promptseg.io.foreign
        import promptseg.session.prompt_log

        if self.texts:
            import promptseg.wholebody.names  # noqa: F401 - so that the first case does not wait for it

    def prepare(self, case: Case) -> Prepared:
        """Read the image and its prompts.

        Raises:
            ReadError: the image cannot be read.
            PromptError: no prompts, or malformed ones; a text that names nothing, or several structures.
        """
        volume, boxes = read_case(case)
        texts = dict.fromkeys((*self.texts, *case.hints.texts))
        named = tuple(_resolved(text, volume) for text in texts)
        log = _log(case.hints, boxes, volume, len(named))
        return Prepared(volume if log.window is None else replace(volume, window=log.window), named, log)

    def infer(self, prepared: Prepared) -> tuple[Labelmap, PromptLog]:
        """Find what was named, then apply the prompts; return the labels and the log that makes them again."""
        from promptseg.prompts import MaskPrompt
        from promptseg.session.prompt_log import PromptLog
        from promptseg.session.restoring import repeat, restore

        named = PromptLog((), options=prepared.log.options) if prepared.named else prepared.log
        session = restore(prepared.volume, named, self._predictor)
        found: dict[str, Labelmap] = {}
        for anatomy in prepared.named:
            if anatomy.task not in found:
                found[anatomy.task] = self._engine(anatomy.task).segment(prepared.volume)
            session.new_label(anatomy.class_name)
            session.add(MaskPrompt(found[anatomy.task].mask(anatomy.class_name)))
        if prepared.named:  # then the prompts are a person's list, never a log
            repeat(session, prepared.log.entries)
        return session.labelmap, session.prompt_log()

    def finish(self, prepared: Prepared, inferred: tuple[Labelmap, PromptLog]) -> Result:
        """Hand everything over."""
        labelmap, log = inferred
        return Result(prepared.volume, labelmap, log, log.model_id or "", prepared.volume.findings)

    def _engine(self, task: str) -> WholeBody:
        """Return a task's networks, loaded once."""
        if task not in self._engines:
            from promptseg.wholebody import WholeBody

            self._engines[task] = WholeBody(task, fast=self._fast, fastest=self._fastest, device=self.device)
        return self._engines[task]


def _resolved(text: str, volume: Volume | None) -> Anatomy:
    from promptseg.wholebody.modality import guess_modality
    from promptseg.wholebody.names import resolve

    modality = guess_modality(volume) if volume is not None else None
    return resolve(text, modality=modality if modality in ("CT", "MR") else None)


def read_case(case: Case) -> tuple[Volume, tuple[Prompt, ...]]:
    """Read a case's image, and the boxes that stand in a challenge file beside it."""
    if case.image.lower().endswith(CHALLENGE_SUFFIX):
        from promptseg.io.foreign import read_challenge_npz

        return read_challenge_npz(case.image)
    from promptseg.io import read_volume

    where = [Path(file) for file in case.files] or Path(case.image)
    return read_volume(where, series=case.series, frame=case.frame), ()


def _log(hints: Hints, boxes: tuple[Prompt, ...], volume: Volume, named: int) -> PromptLog:
    """Return every prompt of a case as one log: a log's own labels, else a label per object behind ``named`` others.

    Raises:
        PromptError: there is no prompt.
        ReplayError: the log cannot be read.
    """
    from promptseg.io.foreign import recist_box
    from promptseg.prompts import prompt_to_dict
    from promptseg.session.prompt_log import PromptLog, read_log

    if hints.log is not None:
        if hints.prompts or hints.recist or named:
            raise PromptError("expected a prompt log, or prompts, diameters and texts, got both")
        return read_log(Path(hints.log))
    objects: list[tuple[str | None, list[Mapping[str, Any]]]] = []
    if hints.prompts:
        objects.append((hints.label, list(hints.prompts)))
    lines = [recist_box((z, y0, x0), (z, y1, x1), volume.geometry) for z, y0, x0, y1, x1 in hints.recist]
    for number, line in enumerate(lines, start=1):
        objects.append((f"lesion {number}", [prompt_to_dict(line)]))
    objects += [(f"box {number}", [prompt_to_dict(box)]) for number, box in enumerate(boxes, start=1)]
    if not objects and not named:
        raise PromptError(
            "expected prompts for this image, found none: put them into a table's prompts or recist column, "
            "or into a file beside the image (scan.nii.gz: scan.prompts.json)"
        )
    entries: list[Mapping[str, Any]] = []
    for value, (name, prompts) in enumerate(objects, start=named + 1):
        entries.append({"op": "label", "name": name})
        entries.append({"op": "prompt", "label": value, "propagate": True, "prompts": prompts})
    return PromptLog(tuple(entries))
