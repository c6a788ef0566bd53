"""Slices that make no regular grid, resampled onto one, and the JSON file that brings masks back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.check.slices import SliceSet, plan_slices
from promptseg.check.stack import SAME_PLACE_MM, measure_stack, stack_findings
from promptseg.errors import ReadError
from promptseg.io.atomic import all_or_nothing
from promptseg.io.dicom import content_findings, dicom_window, files_of
from promptseg.io.dicom_header import Frame
from promptseg.io.dicom_pixels import decode
from promptseg.io.dicom_series import choose_series, find_series
from promptseg.io.dicom_stack import layers, pixel_spacing_of, slice_axes
from promptseg.io.frames import check_frame
from promptseg.io.itk import RawImage
from promptseg.io.sniff import Family, is_dicom, sniff
from promptseg.io.unshear import read_sheared
from promptseg.volume.intensity import Window
from promptseg.volume.labelmap import Labelmap
from promptseg.volume.volume import Volume

__all__ = ["Regridded", "read_regridded", "read_slices", "slices_path", "write_mask_slices", "write_slices"]


@dataclass(frozen=True)
class Regridded:
    """A volume on a regular grid, and where its slices were."""

    volume: Volume
    slices: SliceSet


def read_regridded(
    source: str | Path | Sequence[Path],
    *,
    series: str | None = None,
    frame: int | None = None,
    window: Window | None = None,
) -> Regridded:
    """Read parallel slices that may be tilted, unevenly spaced or repeated, onto a regular grid.

    A DICOM series, or a NIfTI file with a sheared affine.

    In-plane each slice is shifted with linear interpolation; between slices values are mixed linearly along the
    normal. What no slice covers gets the darkest value. A series that is regular already keeps its voxels.

    Args:
        source: a file, a folder, or the files of one series.
        series: see ``read_volume``.
        frame: see ``read_volume``.
        window: see ``read_volume``.

    Raises:
        ReadError: neither of these, slices without a place, of mixed size, or fewer than two places.
    """
    from promptseg.io.finishing import finish

    where = Path(source).expanduser() if isinstance(source, str | Path) else list(source)
    if isinstance(where, Path) and where.is_file() and not is_dicom(where):
        return _unsheared(where, frame, window)
    files, what, listing = files_of(where)
    info, left_out = choose_series(find_series(files, what), series, what)
    frames, repeats = _without_repeats(info.frames)
    volumes, _ = layers(frames, what)
    chosen = volumes[check_frame(frame, len(volumes), what)]
    if len(chosen) < 2:
        raise ReadError(f"cannot resample {what}: expected slices at two places at least, found one")
    slices = _plan(chosen, pixel_spacing_of(chosen, what))
    array = _resampled(decode(chosen), slices)
    findings = [*listing, *left_out, *repeats, *_faults(chosen, slices), *content_findings(chosen[0])]
    raw = RawImage(array, slices.grid, findings)
    return Regridded(finish(raw, modality=info.modality or None, dicom=dicom_window(chosen), window=window), slices)


def _unsheared(path: Path, frame: int | None, window: Window | None) -> Regridded:
    """Return a sheared NIfTI file on a regular grid.

    Raises:
        ReadError: another format, or a NIfTI file that has a regular grid.
    """
    from promptseg.io.finishing import finish

    family = sniff(path)
    stack = read_sheared(path, frame=frame) if family is Family.NIFTI else None
    if stack is None:
        raise ReadError(
            f"cannot resample {path}: expected a DICOM series or a sheared NIfTI file, got {family.value} "
            "that needs no fix, or one that cannot be fixed"
        )
    sentence = (
        f"its axes were sheared by {stack.degrees:.1f} degrees; resampled onto a regular grid of "
        f"{stack.slices.grid.spacing[2]:.3g} mm steps"
    )
    fixed = Finding(sentence, "sheared-grid", Severity.WARNING, "resampled")
    raw = RawImage(_resampled(stack.array, stack.slices), stack.slices.grid, [fixed])
    return Regridded(finish(raw, window=window, what=str(path)), stack.slices)


def _plan(frames: Sequence[Frame], spacing: tuple[float, float]) -> SliceSet:
    return plan_slices(
        np.asarray([frame.position for frame in frames], dtype=np.float64),
        slice_axes(frames[0]),
        frames[0].shape,
        spacing,
        numbers=[frame.number for frame in frames],
        thickness_mm=frames[0].thickness,
    )


def _faults(frames: Sequence[Frame], slices: SliceSet) -> list[Finding]:
    """Say what was wrong with the series, now that it is right, and how far a mask's voxels lie from the pixels."""
    points = np.asarray(slices.positions)
    facts = measure_stack(points, slice_axes(frames[0])[2], min(slices.spacing))
    told = [fault for fault in stack_findings(facts) if fault.severity is Severity.ERROR]
    if not told:
        return [Finding("the slices lie on a regular grid already: nothing was resampled", "regular", Severity.INFO)]
    step = f"{slices.grid.spacing[2]:.3g} mm"
    return [
        Finding(f"{fault}; resampled onto a regular grid of {step} steps", fault.code, Severity.WARNING, "resampled")
        for fault in told
    ]


def _without_repeats(frames: Sequence[Frame]) -> tuple[list[Frame], list[Finding]]:
    """Leave out images that repeat another one: same place, same tags that tell frames apart, same pixels."""
    if any(frame.position is None or frame.orientation is None or frame.loop for frame in frames):
        return list(frames), []
    normal = slice_axes(frames[0])[2]

    def key(frame: Frame) -> tuple[int, str]:
        return round(float(np.asarray(frame.position) @ normal) / SAME_PLACE_MM), repr(frame.times)

    kept: list[Frame] = []
    for _, group in groupby(sorted(frames, key=key), key=key):
        same = list(group)
        arrays = [decode([frame]) for frame in same] if len(same) > 1 else []
        kept += [f for i, f in enumerate(same) if not any(np.array_equal(arrays[i], a) for a in arrays[:i])]
    repeated = len(frames) - len(kept)
    if not repeated:
        return list(frames), []
    sentence = f"{repeated} image(s) repeat another one (same place, same pixels) and were left out"
    return kept, [Finding(sentence, "duplicate-slices", Severity.WARNING, "left out")]


def _resampled(array: NDArray[Any], slices: SliceSet) -> NDArray[Any]:
    """Return (z, y, x[, 3]) on the grid, of the same type."""
    fill = float(array.min())
    planes = slices.offsets[:, 0]
    out = np.empty((*slices.grid.shape, *array.shape[3:]), dtype=array.dtype)
    shifted: dict[int, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
    for plane in range(out.shape[0]):
        upper = int(np.clip(np.searchsorted(planes, plane), 1, len(planes) - 1))
        weight = float(np.clip((plane - planes[upper - 1]) / (planes[upper] - planes[upper - 1]), 0, 1))
        shifted = {k: shifted.get(k) or _shifted(array[k], slices, k) for k in (upper - 1, upper)}
        mixed = _mix(*shifted[upper - 1], *shifted[upper], weight, fill)
        out[plane] = np.rint(mixed) if array.dtype.kind in "iu" else mixed
    return out


def _mix(
    low: NDArray[Any], low_inside: NDArray[np.bool_], high: NDArray[Any], high_inside: NDArray[np.bool_],
    weight: float, fill: float,
) -> NDArray[Any]:  # fmt: skip
    """Mix two neighbours; where only one of them reaches, it alone counts, unless the plane lies on the other."""
    colours = (..., *(None,) * (low.ndim - 2))
    shares = (1 - weight) * low_inside[colours] + weight * high_inside[colours]
    total = (1 - weight) * low * low_inside[colours] + weight * high * high_inside[colours]
    return np.where(shares > 0, total / np.where(shares > 0, shares, 1), fill)


def _shifted(pixels: NDArray[Any], slices: SliceSet, index: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return one slice on the grid's rows and columns as float64 (linear interpolation), and where it reaches."""
    import SimpleITK as sitk

    _, y, x = slices.offsets[index]
    image = sitk.GetImageFromArray(pixels.astype(np.float64), isVector=pixels.ndim == 3)
    image.SetOrigin((x, y))
    reach = sitk.GetImageFromArray(np.ones(pixels.shape[:2], dtype=np.uint8))
    reach.SetOrigin((x, y))
    _, rows, columns = slices.grid.shape
    frame = sitk.Image(columns, rows, sitk.sitkUInt8)
    moved = sitk.Resample(image, frame, sitk.Transform(2, sitk.sitkIdentity), sitk.sitkLinear, 0.0)
    inside = sitk.Resample(reach, frame, sitk.Transform(2, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0)
    return sitk.GetArrayFromImage(moved), sitk.GetArrayFromImage(inside).astype(bool)


def slices_path(image: Path) -> Path:
    """Return the name of the file beside a resampled image that tells where its slices were: ``<stem>.slices.json``."""
    name = image.name
    for ending in (".nii.gz", ".seg.nrrd"):
        if name.lower().endswith(ending):
            return image.with_name(name[: -len(ending)] + ".slices.json")
    return image.with_name(image.stem + ".slices.json")


def write_slices(slices: SliceSet, path: Path) -> Path:
    """Write the way back from a regular grid to its slices, whole or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    with all_or_nothing(path) as folder:
        (folder / path.name).write_text(json.dumps(slices.to_dict(), indent=1) + "\n", encoding="utf-8")
    return path


def read_slices(path: Path) -> SliceSet:
    """Read what ``write_slices`` wrote, given its name or the name of the image beside it.

    Raises:
        ReadError: no such file, or damaged.
    """
    file = path if path.name.endswith(".slices.json") else slices_path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ReadError(
            f"cannot read {file}: it should tell where the slices of {path.name} were, but is missing"
        ) from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise ReadError(f"cannot read {file}: it is damaged or no JSON file") from exc
    try:
        return SliceSet.from_dict(content)
    except ReadError as exc:
        raise ReadError(f"cannot read {file}: {exc}") from exc


def write_mask_slices(slices: SliceSet, mask: Labelmap, folder: Path) -> list[Path]:
    """Write a mask made on the regular grid as one ``.seg.nrrd`` per original slice, each with its own true frame.

    Files are called ``slice_0001.seg.nrrd`` ... in the order along the normal.

    Raises:
        GeometryMismatchError: the mask lies on another grid.
        WriteError: the folder cannot be written.
    """
    from promptseg.errors import WriteError
    from promptseg.io.write import write_labelmap

    parts = slices.to_labelmaps(mask)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {folder}: {exc.strerror}") from exc
    written: list[Path] = []
    for index, part in enumerate(parts, start=1):
        written += write_labelmap(part, folder / f"slice_{index:04d}.seg.nrrd")
    return written
