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
    from promptseg.wholebody.by_name import Structures, Wanted

__all__ = ["Prepared", "SegmentJob", "read_case"]

CHALLENGE_SUFFIX = ".npz"
OPTIONS = ("model", "texts", "fast", "fastest")


@dataclass(frozen=True)
class Prepared:
    """An image, the structures to find in it by name, and the prompts to apply to it."""

    volume: Volume
    named: tuple[Wanted, ...]
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
        self._usual = [self._wanted(text, None) for text in self.texts]
        self._structures: Structures | None = None

    def load(self) -> None:
        """Load the model, and the networks that the batch's texts usually need."""
        from promptseg.models.loading import load_predictor

        self._predictor = load_predictor(self.model, self.device)
        for wanted in self._usual:
            self._engines().engine(self._engines().checked(wanted)).load()

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
        named = tuple(self._wanted(text, volume) for text in texts)
        log = _log(case.hints, boxes, volume, named=bool(named))
        return Prepared(volume if log.window is None else replace(volume, window=log.window), named, log)

    def infer(self, prepared: Prepared) -> tuple[Labelmap, PromptLog, tuple[str, ...]]:
        """Find what was named, then apply the prompts; return the labels, their log, and what was not found."""
        from promptseg.session.comparing import repeat
        from promptseg.session.restoring import restore
        from promptseg.wholebody.by_name import land

        if not prepared.named:
            session = restore(prepared.volume, prepared.log, self._predictor)
            return session.labelmap, session.prompt_log(), ()
        session = restore(prepared.volume, replace(prepared.log, entries=()), self._predictor)
        missing = []
        for wanted in prepared.named:
            found = self._engines().segment(prepared.volume, self._engines().checked(wanted))
            if not land(session, found, wanted.only, missing_ok=True):
                missing.append(f"{wanted.only[0]} was not found in this image")
        first = max(session.labels, default=0)
        repeat(session, [{**e, "label": e["label"] + first} if "label" in e else e for e in prepared.log.entries])
        return session.labelmap, session.prompt_log(), tuple(missing)

    def finish(self, prepared: Prepared, inferred: tuple[Labelmap, PromptLog, tuple[str, ...]]) -> Result:
        """Hand everything over."""
        labelmap, log, missing = inferred
        return Result(prepared.volume, labelmap, log, log.model_id or "", (*prepared.volume.findings, *missing))

    def _wanted(self, text: str, volume: Volume | None) -> Wanted:
        from promptseg.wholebody.by_name import Wanted, anatomy_of

        anatomy = anatomy_of(text, volume)
        return Wanted(anatomy.task, self._fast, self._fastest, (anatomy.class_name,))

    def _engines(self) -> Structures:
        """Return the networks, each loaded once."""
        if self._structures is None:
            from promptseg.wholebody.by_name import Structures

            self._structures = Structures(self.device)
        return self._structures


def read_case(case: Case) -> tuple[Volume, tuple[Prompt, ...]]:
    """Read a case's image, and the boxes that stand in a challenge file beside it."""
    if case.image.lower().endswith(CHALLENGE_SUFFIX):
        from promptseg.io.foreign import read_challenge_npz

        return read_challenge_npz(case.image)
    from promptseg.io import read_volume

    where = [Path(file) for file in case.files] or Path(case.image)
    return read_volume(where, series=case.series, frame=case.frame), ()


def _log(hints: Hints, boxes: tuple[Prompt, ...], volume: Volume, *, named: bool) -> PromptLog:
    """Return every prompt of a case as one log: a log's own labels, else a label per object, from 1 on.

    ``named``: structures are looked for by name too, so there need not be a prompt.

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
    objects += [(name, list(prompts)) for name, prompts in hints.others]
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
    for value, (name, prompts) in enumerate(objects, start=1):
        entries.append({"op": "label", "name": name})
        entries.append({"op": "prompt", "label": value, "propagate": True, "prompts": prompts})
    return PromptLog(tuple(entries))
