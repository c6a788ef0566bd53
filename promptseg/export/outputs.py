"""Where a result goes: each output checked before the work, and written by its extension after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import PromptsegError, WriteError, did_you_mean
from promptseg.export.formats import DICOM_KINDS, FORMATS, Content, format_of
from promptseg.export.provenance import Provenance
from promptseg.io.outputs import has_extension, require_folder, require_output
from promptseg.io.write import write_labelmap

if TYPE_CHECKING:
    from promptseg.export.source import DicomSource
    from promptseg.volume import Labelmap, Volume

__all__ = ["OUTPUT_EXTENSIONS", "OutputPlan", "OutputRequest", "Written", "plan_outputs", "stem_of"]

DICOM = (".dcm",)
OUTPUT_EXTENSIONS = tuple(dict.fromkeys(one.extension for one in FORMATS.values()))
CLASS_EXTENSION = ".nii.gz"  # of one file per class, as TotalSegmentator's pipelines read them


@dataclass(frozen=True)
class OutputRequest:
    """How outputs are written.

    Attributes:
        kind: what a .dcm becomes: "seg" (one bit per class), "labelmap" or "rtstruct".
        keep_identity: copy the patient's name, id and dates into a DICOM object.
        per_class: a folder gets one file for each class instead of one for all.
        names: files that are written into a folder.
    """

    kind: str = "seg"
    keep_identity: bool = False
    per_class: bool = False
    names: tuple[str, ...] = ("segmentation.nii.gz",)


@dataclass
class Written:
    """What became of the outputs: files that stand, and a sentence for each that could not be written."""

    files: list[Path] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OutputPlan:
    """Outputs that can be written; see ``plan_outputs``."""

    paths: tuple[Path, ...]
    request: OutputRequest
    source: DicomSource | None = None

    def write(
        self,
        labelmap: Labelmap,
        volume: Volume,
        made: Provenance,
        into_folder: Callable[[Path], Iterable[Path]] | None = None,
    ) -> Written:
        """Write every output; one that cannot be written keeps none of the others back.

        Args:
            labelmap: the result.
            volume: the image, for measurements.
            made: who made it, for DICOM objects.
            into_folder: writes what a folder gets; None: the labels, as the request says.
        """
        done = Written()
        keep = self.request.keep_identity
        content = Content(labelmap, volume, self.source, made, keep_identity=keep)
        for path in self.paths:
            try:
                if has_extension(path, OUTPUT_EXTENSIONS):
                    done.files += self._file(path, content)
                else:
                    done.files += (into_folder or (lambda folder: self._folder(folder, labelmap)))(_made(path))
            except PromptsegError as exc:
                done.missed.append(str(exc))
        return done

    def _file(self, path: Path, content: Content) -> Sequence[Path]:
        known = FORMATS[DICOM_KINDS[self.request.kind]] if has_extension(path, DICOM) else format_of(path)
        return tuple(known.write(content, path))

    def _folder(self, folder: Path, labelmap: Labelmap) -> Sequence[Path]:
        if not self.request.per_class:
            return write_labelmap(labelmap, folder / self.request.names[0])
        written: list[Path] = []
        for value, label in labelmap.labels.items():
            one = type(labelmap)(
                (labelmap.array == value).astype("u1"), labelmap.geometry, {1: replace(label, value=1)}
            )
            written += write_labelmap(one, folder / f"{file_name(label.name)}{CLASS_EXTENSION}")[:1]
        return written


def plan_outputs(
    paths: Sequence[Path],
    image: Path,
    request: OutputRequest,
    *,
    series: str | None = None,
    frame: int | None = None,
    inputs: Iterable[Path] = (),
) -> OutputPlan:
    """Say before the work what could not be written after it.

    Args:
        paths: mask files, ``.dcm`` for a DICOM object that refers to its images, ``.stl`` and ``.obj`` surfaces,
            ``.csv`` and ``.json`` measurements, or folders (made when missing).
        image: what is segmented, a file or a DICOM folder.
        request: how they are written.
        series: of the folder.
        frame: of a 4D series.
        inputs: other files that are read; no output may replace one, nor the image.

    Raises:
        WriteError: an unknown format, a folder that is missing or read-only, an output that is an input, or two alike.
        ReadError: a DICOM object is asked for and the image is no DICOM image.
    """
    if request.kind not in DICOM_KINDS:
        raise WriteError(
            f"expected --as {', '.join(DICOM_KINDS)}, got {request.kind!r}{did_you_mean(request.kind, DICOM_KINDS)}"
        )
    read = [image, *inputs]
    checked = tuple(_require(Path(path).expanduser(), request, read) for path in paths)
    if len(set(checked)) < len(checked):
        raise WriteError(f"expected outputs of different names, got {', '.join(map(str, paths))}")
    source = None
    if any(has_extension(path, DICOM) for path in checked):
        from promptseg.export.source import read_source

        source = read_source(image, series=series, frame=frame)
    return OutputPlan(checked, request, source)


def stem_of(path: Path) -> str:
    """Return a result's name without its extension."""
    extension = next((end for end in OUTPUT_EXTENSIONS if has_extension(path, (end,))), "")
    return path.name[: len(path.name) - len(extension)] if extension else path.name


def file_name(text: str) -> str:
    """Return a label's name as a file name on every system."""
    return "".join(c if c.isalnum() or c in "-_.+" else "_" for c in text).strip(".") or "label"


def _require(path: Path, request: OutputRequest, read: Sequence[Path]) -> Path:
    if has_extension(path, OUTPUT_EXTENSIONS) and not path.is_dir():
        return require_output(path, OUTPUT_EXTENSIONS, inputs=read)
    if path.suffix and not path.is_dir():
        raise WriteError(
            f"cannot write {path}: expected a name that ends with one of {', '.join(OUTPUT_EXTENSIONS)}, or a folder"
            f"{did_you_mean(path.suffix, OUTPUT_EXTENSIONS)}"
        )
    return require_folder(path, request.names, inputs=read)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {folder}: {exc.strerror or type(exc).__name__}") from exc
    return folder
