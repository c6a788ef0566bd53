"""One DICOM file into its frames: single slices, mosaics, enhanced multi-frame, dose grids, tomograms, cine loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError
from promptseg.io.dicom_header import (
    Frame,
    burned_in,
    first,
    first_item,
    image_type,
    modality,
    numbers,
    pixel_padding,
    pixel_spacing,
    private_b_value,
    read_header,
    read_window,
    require_image,
    series_uid,
    uid,
    whole,
)
from promptseg.io.quiet import quiet_pydicom
from promptseg.io.siemens_mosaic import is_mosaic, mosaic_frames

__all__ = ["read_frames"]

STACKED = ("CT", "MR", "PT")  # modalities whose frames are slices unless tags say time
MAX_FRAMES = 100_000  # a header that claims more is damaged
TIME_TAGS = (
    "TemporalPositionIdentifier",
    "EchoNumbers",
    "EchoTime",
    "DiffusionBValue",
    "AcquisitionNumber",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "AcquisitionTime",
)


def read_frames(path: Path) -> tuple[Frame, ...]:
    """Return the frames of one file, in the file's order.

    Raises:
        ReadError: no image, or damaged.
    """
    dataset = read_header(path)
    with quiet_pydicom():
        try:
            return _frames(dataset, path)
        except ReadError:
            raise
        except Exception as exc:
            # pydicom converts values when they are looked at, and raises many kinds where they are damaged.
            raise ReadError(f"cannot read {path}: the DICOM header is damaged") from exc


def _frames(dataset: Any, path: Path) -> tuple[Frame, ...]:
    require_image(dataset, path)
    count = _frame_count(dataset, path)
    base = _classic(dataset, path, count)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is not None and len(groups) > 0:
        return _enhanced(dataset, base, path, count)
    if count == 1:
        return mosaic_frames(base) if is_mosaic(base) else (base,)
    offsets = numbers(dataset, "GridFrameOffsetVector", count)
    if offsets is not None:
        return _along_normal(base, _relative(offsets, base))
    if "RECON TOMO" in base.image_type:
        return _tomogram(dataset, base)
    if base.between and base.modality in STACKED and not has_time(dataset):
        note = (
            f"the positions of its {count} frames are missing; they were stacked in the file's order, "
            f"{base.between:g} mm apart (SpacingBetweenSlices)"
        )
        found = Finding(note, "assumed-positions", Severity.WARNING, "assumed")
        placed = replace(base, notes=(*base.notes, found))
        return _along_normal(placed, tuple(base.between * i for i in range(count)))
    return tuple(replace(base, index=i, loop=True) for i in range(count))


def has_time(dataset: Any) -> bool:
    """Return True where tags say that frames follow each other in time."""
    return any(first(dataset, tag) is not None for tag in ("FrameTime", "FrameTimeVector", "CineRate"))


def _frame_count(dataset: Any, path: Path) -> int:
    if dataset.get("NumberOfFrames") is None:
        return 1
    count = whole(dataset, "NumberOfFrames")
    if not 1 <= count <= MAX_FRAMES:
        raise ReadError(f"cannot read {path}: NumberOfFrames (0028,0008) is no number of frames")
    return count


def _classic(dataset: Any, path: Path, count: int) -> Frame:
    spacing, notes = pixel_spacing(dataset)
    stored = whole(dataset, "BitsStored") or whole(dataset, "BitsAllocated") or 16
    dose = first(dataset, "DoseGridScaling") if str(dataset.get("Modality", "")) == "RTDOSE" else None
    slope = dose if dose is not None else first(dataset, "RescaleSlope")
    times = [(tag, value) for tag in TIME_TAGS if (value := first(dataset, tag)) is not None]
    if dataset.get("DiffusionBValue") is None and (b_value := private_b_value(dataset)) is not None:
        times.append(("DiffusionBValue", b_value))
    return Frame(
        path=path,
        index=0,
        count=count,
        series=series_uid(dataset),
        modality=modality(dataset),
        shape=(whole(dataset, "Rows"), whole(dataset, "Columns")),
        samples=whole(dataset, "SamplesPerPixel") or 1,
        photometric=str(dataset.get("PhotometricInterpretation", "") or "MONOCHROME2").upper(),
        bits_stored=stored,
        signed=whole(dataset, "PixelRepresentation") == 1,
        position=numbers(dataset, "ImagePositionPatient", 3),
        orientation=_orientation(dataset),
        spacing=spacing,
        notes=notes,
        thickness=_positive(dataset, "SliceThickness"),
        between=_positive(dataset, "SpacingBetweenSlices"),
        slope=slope if slope else 1.0,  # a slope of 0 would erase the image: taken for a missing one
        intercept=first(dataset, "RescaleIntercept") or 0.0,
        lut=bool(dataset.get("ModalityLUTSequence")),
        window=read_window(dataset),
        image_type=image_type(dataset),
        number=whole(dataset, "InstanceNumber"),
        times=tuple(times),
        loop=False,
        sop_class=uid(dataset, "SOPClassUID"),
        instance=uid(dataset, "SOPInstanceUID"),
        rescaled=slope is not None or first(dataset, "RescaleIntercept") is not None,
        padding=pixel_padding(dataset),
        burned_in=burned_in(dataset),
    )


def _positive(dataset: Any, keyword: str) -> float | None:
    value = first(dataset, keyword)
    return abs(value) if value else None


def _orientation(dataset: Any) -> tuple[float, ...] | None:
    """Return the two direction cosines, made exactly unit length and perpendicular (six decimals are common)."""
    found = numbers(dataset, "ImageOrientationPatient", 6)
    if found is None:
        return None
    row, column = np.asarray(found[:3]), np.asarray(found[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5 or abs(float(row @ column)) > 0.01 * lengths[0] * lengths[1]:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    return (*row.tolist(), *(column / np.linalg.norm(column)).tolist())


def _enhanced(dataset: Any, base: Frame, path: Path, count: int) -> tuple[Frame, ...]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if len(per_frame) != count:
        raise ReadError(
            f"cannot read {path}: NumberOfFrames (0028,0008) says {count}, "
            f"PerFrameFunctionalGroupsSequence (5200,9230) has {len(per_frame)} items"
        )
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    frames = [_enhanced_frame(base, index, own, shared) for index, own in enumerate(per_frame)]
    if count > 1 and all(frame.position is None for frame in frames):
        return tuple(replace(frame, loop=True) for frame in frames)
    return tuple(frames)


def _enhanced_frame(base: Frame, index: int, own: Any, shared: Any) -> Frame:
    def group(keyword: str) -> Any:
        return first_item(own if keyword in own else shared, keyword)

    measures, transform = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
    content, diffusion = group("FrameContentSequence"), group("MRDiffusionSequence")
    spacing, notes = pixel_spacing(measures)
    slope = first(transform, "RescaleSlope")
    kind = next((image_type_of(group(k)) for k in FRAME_TYPES if k in own or k in shared), base.image_type)
    times = [
        ("TemporalPositionIndex", first(content, "TemporalPositionIndex")),
        ("EffectiveEchoTime", first(group("MREchoSequence"), "EffectiveEchoTime")),
        ("DiffusionBValue", first(diffusion, "DiffusionBValue")),
        ("DiffusionGradient", _gradient(diffusion)),
    ]
    return replace(
        base,
        index=index,
        position=numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3) or base.position,
        orientation=_orientation(group("PlaneOrientationSequence")) or base.orientation,
        spacing=spacing or base.spacing,
        notes=notes if spacing else base.notes,
        thickness=_positive(measures, "SliceThickness") or base.thickness,
        between=_positive(measures, "SpacingBetweenSlices") or base.between,
        slope=slope if slope else base.slope,
        rescaled=base.rescaled or slope is not None or first(transform, "RescaleIntercept") is not None,
        intercept=value if (value := first(transform, "RescaleIntercept")) is not None else base.intercept,
        window=read_window(group("FrameVOILUTSequence")) or base.window,
        image_type=kind or base.image_type,
        number=index + 1,
        times=tuple((name, value) for name, value in times if value is not None),
    )


FRAME_TYPES = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XRay3DFrameTypeSequence",
)


def image_type_of(item: Any) -> tuple[str, ...]:
    """Return the values of FrameType in capitals."""
    return tuple(str(part).upper() for part in item.get("FrameType") or ())


def _gradient(diffusion: Any) -> float | None:
    """Return one number per diffusion direction, so that directions of one b-value are told apart."""
    vector = numbers(first_item(diffusion, "DiffusionGradientDirectionSequence"), "DiffusionGradientOrientation", 3)
    return round(vector[0] * 1e4) + round(vector[1] * 1e4) * 1e-5 + vector[2] * 1e-10 if vector else None


def _relative(offsets: tuple[float, ...], base: Frame) -> tuple[float, ...]:
    """Return offsets from the first plane (PS3.3 C.8.8.3.2: a first value that is not 0 means z coordinates)."""
    if offsets[0] == 0 or base.position is None:
        return offsets
    return tuple(offset - offsets[0] for offset in offsets)


def _along_normal(base: Frame, offsets: tuple[float, ...]) -> tuple[Frame, ...]:
    orientation = base.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    normal = np.cross(orientation[:3], orientation[3:])
    start = np.asarray(base.position or (0.0, 0.0, 0.0))
    return tuple(
        replace(base, index=i, orientation=orientation, position=tuple((start + normal * offset).tolist()))
        for i, offset in enumerate(offsets)
    )


def _tomogram(dataset: Any, base: Frame) -> tuple[Frame, ...]:
    """Place the slices of a reconstructed NM tomogram (PS3.3 C.8.4.15: signed spacing along the first normal)."""
    detector = first_item(dataset, "DetectorInformationSequence")
    step = first(dataset, "SpacingBetweenSlices") or base.thickness
    placed = replace(
        base,
        position=base.position or numbers(detector, "ImagePositionPatient", 3),
        orientation=base.orientation or _orientation(detector),
    )
    if step is None or placed.position is None or placed.orientation is None:
        return tuple(replace(base, index=i, loop=True) for i in range(base.count))
    return _along_normal(placed, tuple(step * i for i in range(base.count)))
