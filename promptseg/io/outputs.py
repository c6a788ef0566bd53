"""Whether a result may lie where it is asked for: said before any work, and never on top of what it is made from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from promptseg.errors import WriteError, did_you_mean
from promptseg.io.dicom_series import files_below
from promptseg.io.label_description import description_path
from promptseg.io.picture import note_path
from promptseg.io.sniff import is_dicom
from promptseg.io.text_header import voxel_files

__all__ = ["checked_extension", "has_extension", "require_folder", "require_output"]

VOXELS_BESIDE = {".mhd": (".raw", ".zraw")}  # written by ITK under the header's stem


def has_extension(path: Path, extensions: Iterable[str]) -> bool:
    """Return True where a name ends with one of the extensions and is longer than it."""
    name = path.name.lower()
    return any(name.endswith(extension) and len(name) > len(extension) for extension in extensions)


def checked_extension(path: Path, extensions: tuple[str, ...]) -> str:
    """Return the extension of a file to write.

    Args:
        path: the file.
        extensions: known ones, the longer of two with one end first (".seg.nrrd", ".nrrd").

    Raises:
        WriteError: another one.
    """
    for extension in extensions:
        if has_extension(path, (extension,)):
            return extension
    ending = path.suffix or path.name
    raise WriteError(
        f"cannot write {path}: expected a name that ends with one of {', '.join(extensions)}"
        f"{did_you_mean(ending, extensions)}"
    )


def require_output(path: str | Path, extensions: tuple[str, ...] = (), *, inputs: Iterable[str | Path] = ()) -> Path:
    """Check before the work that a file can be written after it.

    Args:
        path: the file; may exist, and is then replaced.
        extensions: formats that it may have; () for any.
        inputs: files and folders of images that the work reads. None of them is ever replaced, under whatever name:
            through a link, a relative path, another case, or as the voxels beside a header.

    Returns:
        ``path`` with the home folder spelt out.

    Raises:
        WriteError: an unknown extension, a folder that is missing or cannot be written, or a file that is read.
    """
    path = Path(path).expanduser()
    extension = checked_extension(path, extensions) if extensions else path.suffix.lower()
    if path.is_dir():
        raise WriteError(f"cannot write {path}: it is a folder; expected the name of a file")
    _require_writable(path.parent, path)
    sources = [Path(source).expanduser() for source in inputs]
    for written in (path, *_companions(path, extension)):
        for source in sources:
            _require_other(written, source)
    return path


def require_folder(path: str | Path, names: Iterable[str] = (), *, inputs: Iterable[str | Path] = ()) -> Path:
    """Check before the work that files can be written into a folder after it, which is made then where it is missing.

    Args:
        path: the folder.
        names: of the files.
        inputs: as in ``require_output``.

    Raises:
        WriteError: there is a file of that name, it cannot be made or written, or one of the files is read.
    """
    path = Path(path).expanduser()
    if path.exists() and not path.is_dir():
        raise WriteError(f"cannot write into {path}: it is a file; expected a folder")
    _require_writable(next(parent for parent in (path, *path.parents) if parent.exists()), path)
    sources = [Path(source).expanduser() for source in inputs]
    for name in names:
        for source in sources:
            _require_other(path / name, source)
    return path


def _require_writable(folder: Path, path: Path) -> None:
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise WriteError(f"cannot write {path}: the folder {folder} {what}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"cannot write {path}: the folder {folder} is read-only")


def _companions(path: Path, extension: str) -> Iterator[Path]:
    """The files that may be written beside one: voxels, names and colours, the frame of a picture."""
    stem = path.name[: len(path.name) - len(extension)]
    for other in VOXELS_BESIDE.get(extension, ()):
        yield path.with_name(stem + other)
    if extension:
        yield description_path(path, extension)
        yield note_path(path)


def _require_other(path: Path, source: Path) -> None:
    """Raise where ``path`` is ``source``, its voxels, or one of the images of that folder."""
    if source.is_dir():
        if path.exists() and any(_is_same(path, file) for file in files_below(source)) and is_dicom(path):
            raise WriteError(f"cannot write {path}: it is one of the images of {source}, which it would replace; "
                             "choose another name")  # fmt: skip
        return
    for read in (source, *_voxels_of(source)):
        if _is_same(path, read):
            raise WriteError(
                f"cannot write {path}: it is the input {read}, which it would replace; choose another name"
            )


def _voxels_of(source: Path) -> list[Path]:
    """The other file of an image in two: a header's voxels, an Analyze or NIfTI pair's other half."""
    pair = {".img": ".hdr", ".hdr": ".img"}.get(source.suffix.lower())
    if pair is not None:
        return [source.with_suffix(pair)]
    return voxel_files(source)


def _is_same(path: Path, other: Path) -> bool:
    """True for one file under two names; names that differ by case only are one file on many systems."""
    try:
        return path.samefile(other)
    except OSError:
        return str(path.resolve()).casefold() == str(other.resolve()).casefold()
