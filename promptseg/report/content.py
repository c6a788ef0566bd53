"""Gathering what a report says: from an image with a mask, or from a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from promptseg.check.finding import Finding
from promptseg.export.provenance import Provenance, provenance_of, software
from promptseg.measure import Quantity, intensities_of, measure_shape
from promptseg.measure.size import in_units_of
from promptseg.prompts import Prompt, prompt_to_dict
from promptseg.report.overlay import is_unplaced
from promptseg.report.parts import SHOWN_NOTES, Report, ReviewNote, Structure
from promptseg.report.pictures import label_boxes, near, overview
from promptseg.session.prompt_log import PromptLog, entry_prompts
from promptseg.volume import Labelmap, Volume
from promptseg.volume.masks import Masks

if TYPE_CHECKING:
    from promptseg.session.session import Session
    from promptseg.session.verbs import SliceReview

__all__ = ["NEAR_LIMIT", "ReportOptions", "build_report", "session_report"]

NEAR_LIMIT = 6  # structures with pictures of their own; with more, the first ones have them and the table has all


@dataclass(frozen=True)
class ReportOptions:
    """What a report knows besides image and mask.

    Attributes:
        log: how the masks were made.
        prompts: (label value, prompt) that are in force; None: those of the log.
        review: for each label value what the engine measured on its slices, least certain first.
        identity: name, id and dates of the patient by name, printed as given; empty unless a person asked.
        findings: sentences besides the image's own.
        pictures: False for tables only.
    """

    log: PromptLog | None = None
    prompts: Sequence[tuple[int, Prompt]] | None = None
    review: Mapping[int, Sequence[SliceReview]] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[str] = ()
    pictures: bool = True


def build_report(
    volume: Volume, labelmap: Labelmap, options: ReportOptions | None = None, *, masks: Masks | None = None
) -> Report:
    """Gather a report.

    Args:
        volume: the image.
        labelmap: masks on its grid, for the pictures.
        options: what else is known.
        masks: what is measured, where objects overlap and a labelmap cannot hold them whole; default: ``labelmap``.

    Raises:
        GeometryMismatchError: image and masks lie on different grids.
    """
    options = options or ReportOptions()
    volume.geometry.require_same(labelmap.geometry, "the mask and the image")
    made = provenance_of(options.log) if options.log is not None else None
    prompts = _logged(options.log) if options.prompts is None else options.prompts
    boxes = label_boxes(labelmap.array)
    structures: list[Structure] = []
    for label in sorted(labelmap.labels.values(), key=lambda known: known.value):
        pictured = options.pictures and label.value in boxes and len(structures) < NEAR_LIMIT
        review = options.review.get(label.value, ())
        structures.append(
            Structure(
                label.value,
                label.name,
                label.color,
                _measures((masks or labelmap).mask(label.value), volume),
                near(volume, labelmap, label, boxes[label.value]) if pictured else (),
                _prompt_words([prompt for value, prompt in prompts if value == label.value]),
                min((step.confidence for step in review), default=None),
                tuple(_note(step) for step in review[:SHOWN_NOTES]),
            )
        )
    return Report(
        image=_image_facts(volume),
        made=_made_facts(made),
        structures=tuple(structures),
        overview=overview(volume, labelmap, [prompt for _, prompt in prompts]) if options.pictures else (),
        findings=tuple(Finding.of(text).to_dict() for text in (*volume.findings, *options.findings)),
        identity=dict(options.identity),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def session_report(session: Session, *, identity: Mapping[str, str] | None = None, pictures: bool = True) -> Report:
    """Gather the report of a session as it stands: masks, prompts, confidences, model.

    Args:
        session: at least one label.
        identity: see ``ReportOptions``.
        pictures: see ``ReportOptions``.
    """
    review = {value: session.review(value) for value in session.labels}
    prompts = [(kept.label, kept.prompt) for kept in session.prompts]
    options = ReportOptions(session.prompt_log(), prompts, review, identity or {}, pictures=pictures)
    return build_report(session.volume, session.labelmap, options, masks=_SessionMasks(session))


class _SessionMasks:
    """A session's objects whole, also where they overlap; see ``promptseg.volume.masks.Masks``."""

    def __init__(self, session: Session) -> None:
        self.geometry = session.volume.geometry
        self.labels = session.labels
        self.mask = session.mask


def _measures(mask: Any, volume: Volume) -> tuple[Quantity, ...]:
    """Return all measures; of a single slice its area, for it has no volume."""
    if not mask.any():
        return ()
    found = list(in_units_of(measure_shape(mask, volume.geometry).quantities(), volume.geometry))
    if not volume.is_rgb:
        found += intensities_of(mask, volume)
    return tuple(found)


def _note(step: SliceReview) -> ReviewNote:
    return ReviewNote(f"{step.plane.value} slice {step.index}", step.confidence, step.reason)


def _logged(log: PromptLog | None) -> list[tuple[int, Prompt]]:
    entries = [entry for entry in log.entries if entry["op"] == "prompt"] if log is not None else []
    return [(int(entry["label"]), prompt) for entry in entries for prompt in entry_prompts(entry)]


def _prompt_words(prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """Return prompts counted: ``("1 box", "2 points (1 negative)")``."""
    items = [prompt_to_dict(prompt) for prompt in prompts]
    words = []
    for kind, count in Counter(item["type"] for item in items).items():
        negative = sum(item["type"] == kind and item.get("positive") is False for item in items)
        text = f"{count} {kind}" + ("" if count == 1 else "es" if kind.endswith(("x", "s")) else "s")
        words.append(f"{text} ({negative} negative)" if negative else text)
    return tuple(words)


def _image_facts(volume: Volume) -> dict[str, str]:
    geometry = volume.geometry
    size = " × ".join(str(n) for n in geometry.shape[::-1])
    spacing = " × ".join(f"{v:.4g}" for v in geometry.spacing)
    window = volume.window
    facts = {"Modality": volume.modality or "not stated", "Size": f"{size} voxels", "Spacing": f"{spacing} mm"}
    if is_unplaced(geometry):
        facts["Size"] = f"{geometry.shape[2]} × {geometry.shape[1]} pixels"
    if not geometry.measured:
        facts["Spacing"] = "not stated"
    if not volume.is_rgb:
        facts["Window"] = f"W {window.width:.4g}, L {window.level:.4g} ({window.source})"
    facts["Image digest"] = f"sha256 {volume.content_hash}"
    return facts


def _made_facts(made: Provenance | None) -> dict[str, str]:
    if made is None:
        return {"Masks": "read from a file; how they were made is not known", "Software": software()}
    facts = {"Model": made.model_id or "none"}
    if made.model_hash:
        facts["Weights"] = made.model_hash.replace(":", " ")
    licence = _licence(made.model_id)
    if licence:
        facts["Licence"] = licence
    facts["Prompt log"] = f"sha256 {made.log_sha256}"
    facts["Software"] = software()
    return facts


def _licence(model_id: str) -> str:
    from promptseg.errors import UnknownModelError
    from promptseg.models.weights.registry import model_card

    try:
        card = model_card(model_id)
    except UnknownModelError:
        return ""
    return card.licence if card.commercial_use else f"{card.licence} (no commercial use)"
