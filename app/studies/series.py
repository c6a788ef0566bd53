"""What a study holds: its series, their grids and frames, and how each becomes a Volume.

A study is a folder of files. Its description is plain JSON, made once; a volume is read when a session needs it and
shared by all sessions that show it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.app.studies.about import about, looks_like_labels
from promptseg.check.finding import Finding
from promptseg.errors import GeometryError, PromptsegError, ReadError
from promptseg.io.atomic import all_or_nothing
from promptseg.io.dicom_pixels import decode
from promptseg.io.dicom_series import SeriesInfo, find_series
from promptseg.io.dicom_stack import stack_frames
from promptseg.io.estimate import header_size
from promptseg.io.nifti_bytes import display_array, nifti_header
from promptseg.io.read import read_volume
from promptseg.io.sniff import is_dicom
from promptseg.volume import Volume, choose_window

__all__ = ["Content", "Series", "VolumeCache", "describe"]

THUMBNAIL_PX = 160
READING = threading.Lock()  # one file at a time is read whole only to be described: it may take gigabytes
BYTES_PER_VOXEL = 4  # that stay of an image, at most; what reading takes for a moment is the reader's to look at
LABEL_COPIES = 2  # bytes per voxel of a session's labels: the engine's and the shown ones
JUST_USED_S = 60.0
MAX_PICTURES = 500  # files of a folder that are each an image of their own


@dataclass(frozen=True)
class Series:
    """One image of a study.

    Attributes:
        id: "1", "2", ... within the study.
        title: for people: modality and size, or the file's name.
        modality: e.g. "CT", None where unknown.
        shape: (z, y, x), None where the images make no regular grid.
        spacing_mm: (x, y, z), or None.
        frames: times, echoes or directions of a 4D image, else 1.
        colour: True for RGB.
        file: path below the study's folder; "" for the whole folder.
        dicom: which DICOM series of it, or None.
        error: why it cannot be opened, or "".
        description: the series' own, DICOM (0008,103E), or "".
        first: a DICOM file of it, below the study's folder, or "".
        labels: True for an image that looks like a labelmap: whole numbers, few of them.
    """

    id: str
    title: str
    modality: str | None
    shape: tuple[int, int, int] | None
    spacing_mm: tuple[float, float, float] | None
    frames: int
    colour: bool
    file: str = ""
    dicom: str | None = None
    error: str = ""
    description: str = ""
    first: str = ""
    labels: bool = False


@dataclass(frozen=True)
class Content:
    """A study's series, and findings {code, severity, sentence, done} about its files."""

    series: tuple[Series, ...]
    findings: tuple[Mapping[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"series": [asdict(one) for one in self.series], "findings": [dict(one) for one in self.findings]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Content:
        """Return what ``to_dict`` wrote."""
        series = []
        for one in data["series"]:
            shape, spacing = one["shape"], one["spacing_mm"]
            series.append(Series(**{**one, "shape": shape and tuple(shape), "spacing_mm": spacing and tuple(spacing)}))
        return Content(tuple(series), tuple(data["findings"]))

    def get(self, series_id: str | None) -> Series:
        """Return a series by id; the first that can be opened when ``series_id`` is None.

        Raises:
            ReadError: no such series, or none that can be opened.
        """
        if series_id is None:
            best = next((one for one in self.series if not one.error), None)
            if best is None:
                raise ReadError(self.series[0].error if self.series else "the study holds no image")
            return best
        for one in self.series:
            if one.id == series_id:
                return one
        raise ReadError(f"no series {series_id!r} in this study; known: {', '.join(s.id for s in self.series)}")


def describe(folder: Path, names: Mapping[str, str], *, voxels: int) -> Content:
    """Look at every file of a folder, or at one file, and say what can be opened.

    Args:
        folder: the study's folder, or a single file.
        names: path below the folder to the name that people know; {} where they are the same.
        voxels: largest number of voxels of one volume.

    Raises:
        ReadError: nothing in it is an image.
    """
    files = [folder] if folder.is_file() else sorted(f for f in folder.rglob("*") if f.is_file())
    dicom = [file for file in files if is_dicom(file)]
    series: list[Series] = []
    findings: list[Mapping[str, str]] = []
    refused: list[str] = []
    if dicom:
        try:
            found = find_series(dicom, "the files")
        except ReadError as exc:
            refused.append(_plain(exc, folder, names))
        else:
            findings += [finding.to_dict() for finding in found.findings]
            series += [_dicom_series(info, folder, voxels) for info in found.series]
    rest = [file for file in files if file not in set(dicom)]
    for file in rest[:MAX_PICTURES]:
        try:
            made, notes = _single(file, folder, names, voxels)
        except PromptsegError as exc:
            if not _is_companion(file, rest):
                refused.append(_plain(exc, folder, names))
            continue
        series.append(made)
        findings += notes
    if not series:
        raise ReadError(refused[0] if refused else "expected an image, got nothing")
    if refused:
        code = {"code": "files-left-out", "severity": "info", "done": "left out"}
        findings.append({**code, "sentence": f"{len(refused)} file(s) are no image and were left out"})
    numbered = [Series(**{**vars(one), "id": str(n)}) for n, one in enumerate(series, start=1)]
    return Content(tuple(numbered), tuple(findings))


def _dicom_series(info: SeriesInfo, folder: Path, voxels: int) -> Series:
    kind = "localizer, " if info.localizer else "secondary capture, " if info.secondary else ""
    title = f"{kind}{info.modality or 'image'} {info.size[0]} x {info.size[1]}, {info.images} image(s)"
    colour = info.frames[0].samples > 1 or info.frames[0].photometric.startswith("PALETTE")
    first = info.files[0]
    place = "" if first == folder else first.relative_to(folder).as_posix()
    description = about(first).get("series", "")
    plain = Series("", description or title, info.modality or None, None, None, 1, colour, dicom=info.id)
    plain = replace(plain, description=description, first=place)
    try:
        stack = stack_frames(info.frames, "the series")
        _require_fits(stack.geometry.shape, voxels)
    except (ReadError, GeometryError) as exc:
        return Series(**{**vars(plain), "error": str(exc)})
    grid = {"shape": stack.geometry.shape, "spacing_mm": stack.geometry.spacing}
    return Series(**{**vars(plain), **grid, "frames": len(stack.volumes)})


def _single(file: Path, folder: Path, names: Mapping[str, str], voxels: int) -> tuple[Series, list[dict[str, str]]]:
    below = "" if file == folder else file.relative_to(folder).as_posix()
    title = Path(names.get(below, file.name).replace("\\", "/")).name
    frames = _frames(file, voxels)
    with READING:
        volume = read_volume(file)
    made = Series("", title, volume.modality, volume.shape, volume.geometry.spacing, frames, volume.is_rgb, file=below)
    made = replace(made, labels=frames == 1 and looks_like_labels(volume))
    return made, [Finding.of(note).to_dict() for note in volume.findings]


def _frames(file: Path, voxels: int) -> int:
    """Return the number of frames that a file's header tells; refuse what is too large before it is read."""
    size = header_size(file)
    _require_fits((size.values,), voxels)
    return size.frames


def _require_fits(shape: tuple[int, ...], voxels: int) -> None:
    count = int(np.prod(shape, dtype=object))
    if count > voxels:
        raise ReadError(
            f"expected a volume of at most {voxels:,} voxels, each of its colours counted, got {count:,}; "
            "crop or resample it first"
        )


def _is_companion(file: Path, files: list[Path]) -> bool:
    """Return True for the data file of a header that lies beside it."""
    return file.suffix.lower() in (".raw", ".zraw", ".img", ".gz") and any(
        other.parent == file.parent and other.suffix.lower() in (".mhd", ".nhdr", ".hdr") for other in files
    )


def _plain(exc: Exception, folder: Path, names: Mapping[str, str]) -> str:
    """Return an error's sentence with the names that people know in place of ours."""
    text = str(exc).replace(f"{folder}/", "").replace(str(folder), "the file")
    for stored, name in names.items():
        if stored in text:
            text = text.replace(stored, Path(name.replace("\\", "/")).name)
            break
    return text


@dataclass(eq=False)
class VolumeCache:
    """Volumes in memory, each once, as long as somebody uses it; and what a viewer loads of them.

    Args:
        cache: folder for files made of studies; one folder per study id.
        most_bytes: of the images among them.
    """

    cache: Path
    most_bytes: int = 20 * 1024**3
    _held: weakref.WeakValueDictionary[tuple[str, str, int | None], Volume] = field(
        default_factory=weakref.WeakValueDictionary
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def volume(self, study_id: str, folder: Path, series: Series, frame: int | None) -> Volume:
        """Return the volume of a series' frame.

        Raises:
            ReadError: it cannot be read.
        """
        if series.error:
            raise ReadError(series.error)
        if series.frames > 1 and frame is None:
            frame = 0
        key = (study_id, series.id, frame)
        with self._lock:  # one reader at a time: reading is bound by memory and disk
            volume = self._held.get(key)
            if volume is None:
                path = folder / series.file if series.file else folder
                volume = read_volume(path, series=series.dicom, frame=frame if series.frames > 1 else None)
                self._held[key] = volume
        return volume

    def needed(self, study_id: str, series: Series, frame: int | None) -> int:
        """Return the bytes that a session on a series' frame will take, by its header: nothing is read."""
        voxels = int(np.prod(series.shape or (0,), dtype=object)) * (3 if series.colour else 1)
        there = (study_id, series.id, 0 if series.frames > 1 and frame is None else frame) in self._held
        return voxels * (LABEL_COPIES if there else LABEL_COPIES + BYTES_PER_VOXEL)

    def held_bytes(self) -> int:
        """Return the bytes of all volumes in memory."""
        return sum(int(volume.array.nbytes) for volume in list(self._held.values()))

    def image_file(self, study_id: str, series: Series, frame: int | None, volume: Volume) -> Path:
        """Return an uncompressed NIfTI file of a volume, made at the first call."""
        path = self.cache / study_id / f"{series.id}-{frame or 0}.nii"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            array = display_array(volume)
            with all_or_nothing(path) as folder, (folder / path.name).open("wb") as file:
                file.write(nifti_header(array, volume.geometry))
                array.tofile(file)
            self._tidy()
        else:
            path.touch()
        return path

    def _tidy(self) -> None:
        """Delete the images that were not used for longest, but none of the last minute: somebody may be loading it."""
        left = sorted((file.stat().st_mtime, file) for file in self.cache.glob("*/*.nii"))
        total = sum(file.stat().st_size for _, file in left)
        for used, file in left:
            if total <= self.most_bytes or used > time.time() - JUST_USED_S:
                return
            total -= file.stat().st_size
            file.unlink(missing_ok=True)

    def thumbnail(self, study_id: str, folder: Path, series: Series) -> Path:
        """Return a PNG of a series' middle slice, made at the first call.

        Raises:
            ReadError: the series cannot be read.
        """
        path = self.cache / study_id / f"{series.id}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels, ratio = self._middle(study_id, folder, series)
            _write_png(pixels, ratio, path)
        return path

    def _middle(self, study_id: str, folder: Path, series: Series) -> tuple[Any, float]:
        """Return the middle slice as uint8, and its rows' spacing over its columns'."""
        spacing = series.spacing_mm or (1.0, 1.0, 1.0)
        if series.dicom is not None and not series.error:
            frames = next(
                one.frames
                for one in find_series(sorted(folder.rglob("*")), "the study").series
                if one.id == series.dicom
            )
            stack = stack_frames(frames, "the series")
            middle = len(stack.volumes[0]) // 2
            array = decode(stack.volumes[0][middle : middle + 1])
        else:
            volume = self.volume(study_id, folder, series, None)
            array = volume.array[volume.shape[0] // 2][None]
        if array.ndim == 4:
            return array[0].astype(np.uint8), spacing[1] / spacing[0]
        window = choose_window(array, modality=series.modality)
        return (window.apply(array[0]) * 255).astype(np.uint8), spacing[1] / spacing[0]


def _write_png(pixels: Any, ratio: float, path: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(pixels)
    height, width = picture.height * ratio, float(picture.width)
    scale = THUMBNAIL_PX / max(height, width)
    picture = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    with all_or_nothing(path) as folder:
        picture.save(folder / path.name)
