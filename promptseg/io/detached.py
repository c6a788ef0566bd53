"""Headers whose voxels lie in another file (.mhd, .nhdr): say which one is missing or too short before ITK fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from promptseg.errors import ReadError
from promptseg.io.sniff import Family

__all__ = ["require_data_file"]

HEADER_BYTES = 65_536
META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}  # per element
IN_THIS_FILE = ("LOCAL", "LIST")


def require_data_file(path: Path, family: Family) -> None:
    """Raise where the file that a header names is not there, or is shorter than the header says.

    Raises:
        ReadError: with both names.
    """
    with path.open("rb") as file:
        text = file.read(HEADER_BYTES).decode("latin-1")
    fields = _fields(text, "=" if family is Family.META else ":")
    name = fields.get("elementdatafile" if family is Family.META else "data file") or fields.get("datafile")
    if not name or name.split()[0] in IN_THIS_FILE or "%" in name:
        return
    data = path.parent / name
    if not data.is_file():
        raise ReadError(f"cannot read {path}: its voxels should lie in {name}, which is missing")
    if family is Family.META:
        _require_length(path, data, fields)


def _fields(text: str, mark: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(mark)
        if not separator:
            if not line.strip() and mark == ":":
                break  # an empty line ends a NRRD header
            continue
        found[key.strip().lower()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    return found


def _require_length(path: Path, data: Path, fields: dict[str, str]) -> None:
    kind = fields.get("elementtype", "").removeprefix("MET_").removesuffix("_ARRAY").removeprefix("U")
    try:
        sizes = [int(n) for n in fields.get("dimsize", "").split()]
        channels = int(fields.get("elementnumberofchannels", "1"))
    except ValueError:
        raise ReadError(f"cannot read {path}: its header gives no sizes (DimSize)") from None
    if fields.get("compresseddata", "false").lower() == "true" or kind not in META_BYTES or not sizes:
        return
    expected = int(np.prod(sizes, dtype=object)) * channels * META_BYTES[kind]
    there = data.stat().st_size
    if there < expected:
        raise ReadError(f"cannot read {path}: {data.name} is cut short; expected {expected} bytes, found {there}")
