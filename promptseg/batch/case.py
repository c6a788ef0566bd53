"""One case of a batch: where its image is, what is asked of it, and its id."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptseg.errors import SettingsError

__all__ = ["Case", "Hints", "checked_id", "new_id"]

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # a folder's name on every file system
ID_DIGITS = 16  # of sha256: among a million cases two alike come once in 37 million batches


@dataclass(frozen=True)
class Hints:
    """What a case is asked for, beside what the whole batch is asked for.

    Attributes:
        log: path of a prompt log or of a JSON list of prompts; None without one.
        prompts: prompts as JSON objects, for one label.
        recist: longest diameters (z, y0, x0, y1, x1) in voxels; each becomes a label of its own.
        texts: names of organs.
        label: name of the label that ``prompts`` draw; None: "label 1".
        others: further labels, each with its name (or None) and its prompts.
    """

    log: str | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    recist: tuple[tuple[float, float, float, float, float], ...] = ()
    texts: tuple[str, ...] = ()
    label: str | None = None
    others: tuple[tuple[str | None, tuple[Mapping[str, Any], ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.log or self.prompts or self.recist or self.texts)


@dataclass(frozen=True)
class Case:
    """One image and what is asked of it.

    Attributes:
        id: names its folder and stands in reports: the file's or folder's name, or a hash, or what a table's ``id``
            column says. The same in every run of a batch. Never made from names or dates in the image.
        image: the file, or the folder of a DICOM series.
        series: id of the DICOM series in it; None where there is no choice.
        files: the files of the DICOM series, so that nobody has to look for them again; () for other images.
        frame: which frame of a 4D image, from 0; None: the first.
        hints: see ``Hints``.
        key: a hash of where the image lies, or of its series' UID, and of what is asked; "" where the id was given.
    """

    id: str
    image: str
    series: str | None = None
    files: tuple[str, ...] = ()
    frame: int | None = None
    hints: Hints = field(default_factory=Hints)
    key: str = ""

    def to_json(self) -> str:
        """Return one line of JSON without the id."""
        data = {name: value for name, value in vars(self).items() if name != "id"}
        return json.dumps({**data, "hints": vars(self.hints)}, separators=(",", ":"))

    @staticmethod
    def from_json(case_id: str, text: str) -> Case:
        """Read what ``to_json`` wrote."""
        data = json.loads(text)
        hints = data.pop("hints")
        hints["prompts"], hints["texts"] = tuple(hints["prompts"]), tuple(hints["texts"])
        hints["others"] = tuple((name, tuple(prompts)) for name, prompts in hints.get("others", ()))
        hints["recist"] = tuple(tuple(line) for line in hints["recist"])
        return Case(case_id, hints=Hints(**hints), **{**data, "files": tuple(data["files"])})


def new_id(image: str | Path, series: str | None = None, frame: int | None = None, hints: Hints | None = None) -> str:
    """Return an id of hexadecimal digits, which tells nothing about the patient.

    A DICOM series is known by its UID wherever it lies, any other image by its absolute path. Frame and prompts count:
    two rows of a table may ask different things of one image.
    """
    place = f"series {series}" if series is not None else f"path {Path(image).expanduser().absolute()}"
    said = {name: value for name, value in asdict(hints or Hints()).items() if value or name != "others"}
    asked = json.dumps([frame, said]) if hints or frame is not None else ""
    return hashlib.sha256(f"{place}\n{asked}".encode()).hexdigest()[:ID_DIGITS]


def checked_id(text: str) -> str:
    """Return an id from a table.

    Raises:
        SettingsError: it cannot be the name of a folder.
    """
    if not ID_PATTERN.fullmatch(text):
        raise SettingsError(
            "expected ids of 1 to 64 letters, digits, '.', '_' and '-' that begin with a letter or digit, "
            f"got {text!r}; ids name folders and reports, so they must not hold a patient's name"
        )
    return text
