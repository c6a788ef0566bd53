"""Measurements of masks as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptseg.errors import PromptError
from promptseg.measure.size import in_units_of, size_of
from promptseg.volume.labelmap import find_label

if TYPE_CHECKING:
    from promptseg.measure.quantity import Quantity
    from promptseg.volume import Volume
    from promptseg.volume.masks import Masks

__all__ = ["MeasureRequest", "measure_masks"]


@dataclass(frozen=True)
class MeasureRequest:
    """Options of ``promptseg measure``; see its help. Pairs are ``"A:B"`` of label names or values.

    Attributes:
        labels: which ones; () for all that have a voxel.
        fractions: lesion and organ. cups: cup and disc of a fundus photograph.
        end_systole: the same labels at end systole; the mask itself is at end diastole.
        earlier: the same labels at an earlier time.
    """

    labels: tuple[str, ...] = ()
    fractions: tuple[str, ...] = ()
    cups: tuple[str, ...] = ()
    end_systole: Masks | None = None
    earlier: Masks | None = None


def measure_masks(masks: Masks, volume: Volume | None, request: MeasureRequest | None = None) -> list[dict[str, Any]]:
    """Return one row per label and quantity: label, name, value, unit, definition, and the value as text.

    Masks of other times may lie on other grids: volumes and lengths are compared, not voxels.

    Raises:
        PromptError: no such label, an empty one asked for by name, or no label with a voxel.
        GeometryMismatchError: mask and image lie on two grids.
    """
    from promptseg.measure import cup_to_disc, intensities_of, lesion_fraction, measure_shape

    if volume is not None:
        volume.geometry.require_same(masks.geometry, "the image and the mask")
    request = request or MeasureRequest()
    labels = request.labels
    chosen = [find_label(masks.labels, label).value for label in labels] or list(masks.labels)
    rows: list[dict[str, Any]] = []
    for value in chosen:
        mask = masks.mask(value)
        if not labels and not mask.any():
            continue
        geometry = masks.geometry if volume is None else volume.geometry
        found = [*in_units_of(measure_shape(mask, geometry).quantities(), geometry)]
        if volume is not None:
            found += intensities_of(mask, volume)
        found += _over_time(masks, value, request)
        rows += [_row(masks.labels[value].name, quantity) for quantity in found]
    for text in request.fractions:
        lesion, organ = _pair(masks, text, "--fraction LESION:ORGAN")
        rows.append(_row(text, lesion_fraction(lesion, organ)))
    for text in request.cups:
        cup, disc = _pair(masks, text, "--cup-to-disc CUP:DISC")
        rows += [_row(text, quantity) for quantity in cup_to_disc(cup, disc, masks.geometry)]
    if not rows:
        raise PromptError("the mask holds no label with a voxel: there is nothing to measure")
    return rows


def _over_time(masks: Masks, value: int, request: MeasureRequest) -> list[Quantity]:
    """Return what compares one label with itself at another time; a label that is not there then has no voxel."""
    from promptseg.measure import change, ejection_fraction, measure_shape

    name, found = masks.labels[value].name, []
    if request.end_systole is not None:
        systole = request.end_systole
        found.append(ejection_fraction(_ml(masks, value), _ml(systole, find_label(systole.labels, name).value)))
    if request.earlier is not None:
        before = request.earlier
        other = find_label(before.labels, name).value
        sizes = [size_of(int(m.mask(v).sum()), m.geometry) for m, v in ((before, other), (masks, value))]
        for quantity in change(_number(sizes[0]), _number(sizes[1]), sizes[1].unit):
            found.append(replace(quantity, name=f"{sizes[1].name}_{quantity.name}"))
        first, last = (measure_shape(m.mask(v), m.geometry).axial.long for m, v in ((before, other), (masks, value)))
        length = "mm" if masks.geometry.measured else "px"
        for quantity in change(first.length_mm, last.length_mm, length):
            found.append(replace(quantity, name=f"axial_long_{quantity.name}"))
    return found


def _ml(masks: Masks, value: int) -> float:
    return int(masks.mask(value).sum()) * masks.geometry.voxel_volume_mm3 / 1000.0  # in a ratio: its unit is no matter


def _number(quantity: Quantity) -> float:
    return float(quantity.value)  # type: ignore[arg-type]  # sizes are single numbers


def _pair(masks: Masks, text: str, form: str) -> tuple[Any, Any]:
    first, separator, second = text.partition(":")
    if not separator:
        raise PromptError(f"expected {form}, got {text!r}")
    return masks.mask(find_label(masks.labels, first).value), masks.mask(find_label(masks.labels, second).value)


def _row(label: str, quantity: Quantity) -> dict[str, Any]:
    return {"label": label, **quantity.to_dict(), "text": quantity.text()}
