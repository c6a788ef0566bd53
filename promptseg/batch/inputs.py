"""From what a person names on the command line to cases: files, folders, patterns, DICOM trees and tables."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from promptseg.batch.case import Case, Hints, new_id
from promptseg.batch.table import TABLE_SUFFIXES, read_cases
from promptseg.errors import ReadError

__all__ = ["find_cases", "named_after_files"]

# What counts as an image in a folder. Pictures are taken when named: folders hold too many that are no scans.
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgh", ".mgz", ".gipl", ".gipl.gz", ".npz")
PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
MASKS = (".seg.nrrd",)
SIDECAR = ".prompts.json"  # scan.nii.gz -> scan.prompts.json
LONGEST_NAME, KEY_DIGITS = 57, 6  # of an id: 64 characters with "-" and digits of the key


def find_cases(inputs: Sequence[str | Path]) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Find the cases that inputs name.

    Args:
        inputs: image files; folders, searched with the folders in them for images and DICOM series (by header, whatever
            the files are called); patterns with ``*``, ``?`` or ``**``; tables (``.csv``, ``.parquet``).

    Returns:
        Cases, each id once, in the order found; and notes about what was left out.

    Raises:
        ReadError: an input is not there, or holds no image.
        SettingsError: a table that cannot be understood.
    """
    cases: dict[str, Case] = {}
    notes: list[str] = []
    for given in inputs:
        for path in _expanded(given):
            for case in _cases_of(path, notes):
                cases.setdefault(case.id, case)
    return tuple(cases.values()), tuple(dict.fromkeys(notes))


def named_after_files(cases: Iterable[Case], known: Iterable[Case] = ()) -> list[Case]:
    """Return cases whose ids are the names of their files or folders; ids that a table gave stay.

    Of two files of one name the later one's id ends with digits of its key. A case that is known keeps its id.

    Args:
        cases: from ``find_cases``.
        known: cases of the batch that they are added to.
    """
    cases = list(cases)
    ids = {case.key: case.id for case in known}
    taken = {case_id.casefold() for case_id in (*ids.values(), *(case.id for case in cases if not case.key))}
    made = []
    for case in cases:
        if case.key and case.key not in ids:
            name = re.sub(r"[^A-Za-z0-9._-]", "_", _stem(Path(case.image))).lstrip("._-")[:LONGEST_NAME] or case.key
            tried = (name, f"{name}-{case.key[:KEY_DIGITS]}", case.key)
            ids[case.key] = next(one for one in tried if one.casefold() not in taken)
            taken.add(ids[case.key].casefold())
        made.append(replace(case, id=ids.get(case.key, case.id) if case.key else case.id))
    return made


def _expanded(given: str | Path) -> list[Path]:
    path = Path(given).expanduser()
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute, too
        if found:
            return found
        raise ReadError(f"no file fits the pattern {given}")
    raise ReadError(f"expected an image, folder, pattern or table to work on; there is no {given}")


def _cases_of(path: Path, notes: list[str]) -> Iterable[Case]:
    if path.is_dir():
        return _in_folder(path, notes)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return read_cases(path)
    return [_file_case(path)]


def _file_case(path: Path) -> Case:
    path = path.absolute()
    sidecar = path.with_name(_stem(path) + SIDECAR)
    hints = Hints(log=str(sidecar)) if sidecar.is_file() else Hints()
    key = new_id(path)  # the log may be edited and keep its case: it is not in the key
    return Case(key, str(path), hints=hints, key=key)


def _stem(path: Path) -> str:
    name = path.name
    extension = next((end for end in sorted(VOLUMES, key=len, reverse=True) if name.lower().endswith(end)), path.suffix)
    return name[: len(name) - len(extension)] if extension else name


def _in_folder(folder: Path, notes: list[str]) -> list[Case]:
    from promptseg.io.dicom_series import files_below
    from promptseg.io.sniff import is_dicom

    files = files_below(folder.absolute())
    masks = [path for path in files if path.name.lower().endswith(MASKS)]
    volumes = [path for path in files if path.name.lower().endswith(VOLUMES) and path not in masks]
    dicom = [path for path in files if path not in set(volumes) and is_dicom(path)]
    if masks:
        notes.append(f"{len(masks)} mask file(s) (.seg.nrrd) in {folder} were left out")
    pictures = [path for path in files if path.name.lower().endswith(PICTURES)]
    if pictures:
        notes.append(
            f"{len(pictures)} picture(s) ({', '.join(sorted({path.suffix.lower() for path in pictures}))}) in {folder} "
            "were left out: name them, or a pattern, to take them"
        )
    cases = [_file_case(path) for path in volumes]
    cases += _series(dicom, folder, notes) if dicom else []
    if not cases:
        raise ReadError(f"expected images or DICOM series in {folder}, found none among {len(files)} files")
    return cases


def _series(files: Sequence[Path], folder: Path, notes: list[str]) -> list[Case]:
    from promptseg.io.dicom_series import find_series

    try:
        found = find_series(files, str(folder))
    except ReadError as exc:
        notes.append(str(exc))
        return []
    aside = [info for info in found.series if info.localizer or info.secondary]
    if aside:
        notes.append(f"{len(aside)} localizer or secondary capture series in {folder} were left out")
    notes += [str(finding) for finding in found.findings]
    cases = []
    for info in found.series:
        if info in aside:
            continue
        home = info.files[0].parent
        names = tuple(str(file) for file in info.files)
        key = new_id(home, series=info.id)
        cases.append(Case(key, str(home), series=info.id, files=names, key=key))
    return cases
