"""DICOMDIR: the index of a medium (PS3.3 F.3). Only the names of its files are read, none of its patients."""

from __future__ import annotations

from pathlib import Path

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError
from promptseg.io.quiet import quiet_pydicom

__all__ = ["files_of_directory"]


def files_of_directory(path: Path) -> tuple[list[Path], list[Finding]]:
    """Return the files that a DICOMDIR lists and that are there, in its order, and a finding where some are missing.

    A name that leads out of the folder is passed over. An index without records gives an empty list.

    Raises:
        ReadError: damaged, or not one of the listed files is there.
    """
    names = _listed(path)
    found = list(dict.fromkeys(file for name in names if (file := _resolved(path.parent, name)) is not None))
    if names and not found:
        raise ReadError(
            f"cannot read {path}: it is a DICOMDIR, an index of other files, and none of the {len(names)} files that "
            "it lists is beside it; give the folder with the images instead"
        )
    if len(found) == len(names):
        return found, []
    sentence = f"{len(names) - len(found)} of the {len(names)} files that the DICOMDIR lists are missing"
    return found, [Finding(sentence, "listed-files-missing", Severity.WARNING, "left out")]


def _listed(path: Path) -> list[tuple[str, ...]]:
    """Return ReferencedFileID (0004,1500) of every record, as the components of a relative path."""
    import pydicom

    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(path, specific_tags=["DirectoryRecordSequence"], force=True)
            values = [record.get("ReferencedFileID") for record in dataset.get("DirectoryRecordSequence") or ()]
        except Exception as exc:
            raise ReadError(f"cannot read {path}: the DICOMDIR is damaged or cut short") from exc
    return [(value,) if isinstance(value, str) else tuple(str(part) for part in value) for value in values if value]


def _resolved(folder: Path, name: tuple[str, ...]) -> Path | None:
    """Return the file, whichever case its name has on this disk; None where there is none."""
    where = folder
    for part in name:
        if part in ("", ".", "..") or "/" in part or "\\" in part or not where.is_dir():
            return None
        exact = where / part
        if not exact.exists():
            match = next((entry for entry in where.iterdir() if entry.name.casefold() == part.casefold()), None)
            if match is None:
                return None
            exact = match
        where = exact
    return where if where.is_file() else None
