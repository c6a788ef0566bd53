"""How well a segmentation agrees with a reference, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from promptseg.errors import PromptError, SettingsError, UnknownNameError
from promptseg.score.metrics import dice, iou, surface_distances, volume_error
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import find_label
from promptseg.volume.masks import BoolArray, Masks

__all__ = ["DEFAULT_TOLERANCE_MM", "LabelScore", "evaluate", "resample_mask"]

DEFAULT_TOLERANCE_MM = 1.0  # of the surface Dice; what counts as agreement is the reader's to say


@dataclass(frozen=True)
class LabelScore:
    """Agreement of one label; definitions in ``promptseg.score.metrics``.

    Attributes:
        label: its name (in the reference, where it is there).
        dice, iou: overlap, 0 to 1.
        nsd: share of both surfaces within ``tolerance_mm`` of the other, 0 to 1.
        tolerance_mm: of ``nsd``.
        hd95_mm: 95th percentile of the surface distances; inf where one mask is empty.
        assd_mm: mean surface distance; inf where one mask is empty.
        volume_error: (predicted - true) / true; inf where only the truth is empty.
        truth_ml, prediction_ml: the volumes; None where the reference has no voxel size: distances are in pixels then.
    """

    label: str
    dice: float
    iou: float
    nsd: float
    tolerance_mm: float
    hd95_mm: float
    assd_mm: float
    volume_error: float
    truth_ml: float | None
    prediction_ml: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, in the order of the attributes."""
        return asdict(self)


def evaluate(
    prediction: Masks,
    truth: Masks,
    *,
    labels: Sequence[str] | None = None,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    resample: bool = False,
) -> tuple[LabelScore, ...]:
    """Score a prediction against a reference.

    Labels belong together when they have one name; where the two share no name, when they have one value; where each
    has a single label, those two. A label that only one side has is scored against an empty mask.

    Args:
        prediction: what is judged.
        truth: the reference; distances are measured on its grid.
        labels: which ones, as name or value, or ``"PREDICTED=TRUE"`` where they differ; None: all.
        tolerance_mm: of the surface Dice, >= 0.
        resample: put the prediction onto the reference's grid (nearest neighbour) when theirs differ.

    Raises:
        GeometryMismatchError: two grids and not ``resample``.
        PromptError: no such label, or no label at all.
        SettingsError: a negative tolerance.
    """
    if not tolerance_mm >= 0:
        raise SettingsError(f"expected a tolerance of 0 mm or more, got {tolerance_mm}")
    if not resample:
        truth.geometry.require_same(prediction.geometry, "prediction and truth (or ask for resampling, --resample)")
    pairs = _named_pairs(labels, prediction, truth) if labels else _all_pairs(prediction, truth)
    return tuple(_score(prediction, truth, pair, tolerance_mm) for pair in pairs)


def resample_mask(mask: BoolArray, source: Geometry, target: Geometry) -> BoolArray:
    """Return a mask on another grid: each voxel takes the value of the nearest one, outside is empty.

    Args:
        mask: bool (z, y, x) on ``source``.
        source, target: the grids.
    """
    import SimpleITK as sitk

    from promptseg.volume.exchange import as_sitk

    if source.same_as(target):
        return mask
    image = as_sitk(mask.astype(np.uint8), source)
    reference = as_sitk(np.zeros(target.shape, np.uint8), target)
    moved = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    return np.asarray(sitk.GetArrayFromImage(moved)) > 0


@dataclass(frozen=True)
class _Pair:
    name: str
    prediction: int | None
    truth: int | None


def _named_pairs(labels: Sequence[str], prediction: Masks, truth: Masks) -> list[_Pair]:
    pairs = []
    for text in labels:
        first, _, second = text.partition("=")
        wanted = (_find(prediction, first), _find(truth, second or first))
        if wanted == (None, None) or (second and None in wanted):
            known = ", ".join(label.name for label in (*truth.labels.values(), *prediction.labels.values()))
            raise PromptError(f"no label {text!r} in prediction and truth; known: {known or 'none'}")
        name = truth.labels[wanted[1]].name if wanted[1] is not None else first
        pairs.append(_Pair(name, *wanted))
    return pairs


def _find(masks: Masks, key: str) -> int | None:
    """Return the value of the label with this name or number, None where there is none: the other mask may have it."""
    try:
        return find_label(masks.labels, key).value
    except UnknownNameError:
        return None


def _all_pairs(prediction: Masks, truth: Masks) -> list[_Pair]:
    guessed, true = prediction.labels, truth.labels
    if not guessed and not true:
        raise PromptError("neither the prediction nor the truth holds a label: there is nothing to evaluate")
    names = [label.name for label in true.values()]
    common = set(names) & {label.name for label in guessed.values()}
    if common:
        names += [label.name for label in guessed.values() if label.name not in names]
        by_name = [{label.name: value for value, label in side.items()} for side in (guessed, true)]
        return [_Pair(name, by_name[0].get(name), by_name[1].get(name)) for name in dict.fromkeys(names)]
    if len(guessed) == len(true) == 1:
        return [_Pair(names[0], next(iter(guessed)), next(iter(true)))]
    return [
        _Pair(
            (true.get(value) or guessed[value]).name,
            value if value in guessed else None,
            value if value in true else None,
        )
        for value in sorted({*guessed, *true})
    ]


def _score(prediction: Masks, truth: Masks, pair: _Pair, tolerance_mm: float) -> LabelScore:
    wanted = np.zeros(truth.geometry.shape, np.bool_) if pair.truth is None else truth.mask(pair.truth)
    if pair.prediction is None:
        got = np.zeros(truth.geometry.shape, np.bool_)
    else:
        got = resample_mask(prediction.mask(pair.prediction), prediction.geometry, truth.geometry)
    distances = surface_distances(wanted, got, truth.geometry.spacing_zyx)
    return LabelScore(
        pair.name,
        dice(wanted, got),
        iou(wanted, got),
        distances.nsd(tolerance_mm),
        tolerance_mm,
        distances.percentile(95.0),
        distances.mean(),
        volume_error(wanted, got),
        truth.geometry.volume_ml(int(np.count_nonzero(wanted))),
        truth.geometry.volume_ml(int(np.count_nonzero(got))),
    )
