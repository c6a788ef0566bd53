"""Copies of DICOM images without what names a person: PS3.15 Annex E, Basic Application Level Confidentiality Profile.

Which attribute is removed, emptied or replaced is the business of dicom-anonymizer, which takes it from the standard's
Table E.1-1 (here its edition 2026c). Added here: every nested level, a second look for the person's own identifiers in
whatever text remains, new file names, and a warning where text may be burned into the pixels. Pixels are not changed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.check.finding import Finding, Severity
from promptseg.check.header import burned_in_findings
from promptseg.errors import MissingExtraError, ReadError, WriteError
from promptseg.io.dicom_header import burned_in, modality, uid
from promptseg.io.dicom_series import files_below
from promptseg.io.quiet import quiet_pydicom
from promptseg.io.sniff import is_dicom

__all__ = ["Deidentified", "deidentify"]

TABLE = "dicomfields_2026c"  # edition of PS3.15 Table E.1-1
METHOD = "PS3.15 Basic Application Confidentiality Profile"
METHOD_CODE = ("113100", "DCM", "Basic Application Confidentiality Profile")  # PS3.16 CID 7050
# What identifies a person directly; these values are looked for in all text that the profile leaves.
IDENTITY = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "AccessionNumber",
    "InstitutionName",
    "InstitutionAddress",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "StudyID",
)
SHORTEST = 4  # characters; a shorter word ("Li", "1") is in too many innocent texts
DUMMIES = ("ANONYMIZED", "00010101")
TEXTS = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT")  # free text; numbers and codes hold no names


@dataclass(frozen=True)
class Deidentified:
    """The files written, and what a person should know of them."""

    files: tuple[Path, ...]
    findings: tuple[Finding, ...]


def deidentify(source: str | Path, folder: str | Path) -> Deidentified:
    """Write copies of all DICOM images of a file or folder, without identity, into a new folder.

    UIDs are replaced by new random ones, the same for the same old one within this call, so that series stay
    together; patients become ``anonymous-01``, ``anonymous-02`` ... in the order met. Files are called
    ``series_01/image_0001.dcm`` ...: old names may name a person. Objects without pixels (reports, documents, contours,
    plans) are left out: their text cannot be cleaned safely.

    Args:
        source: a DICOM file or a folder.
        folder: made here; must not exist, or be empty.

    Raises:
        MissingExtraError: dicom-anonymizer is not installed.
        ReadError: no DICOM image there.
        WriteError: the folder is not empty or cannot be written. Nothing is left then.
    """
    source, folder = Path(source).expanduser(), Path(folder).expanduser()
    _require_library()
    if not source.exists():
        raise ReadError(f"cannot read {source}: there is no such file or folder")
    files = [path for path in (files_below(source) if source.is_dir() else [source]) if is_dicom(path)]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WriteError(f"cannot write to {folder}: expected a new or empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    except OSError as exc:
        raise WriteError(f"cannot write to {folder}: {exc.strerror or type(exc).__name__}") from exc
    try:
        names, findings = _write_all(files, partial)
        if not names:
            raise ReadError(f"cannot de-identify {source}: expected DICOM images, found none among {len(files)} files")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as exc:
        raise WriteError(f"cannot write to {folder}: {exc.strerror or type(exc).__name__}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Deidentified(tuple(folder / name for name in names), tuple(findings))


def _require_library() -> None:
    try:
        import dicomanonymizer  # noqa: F401 - is it there?
    except ImportError as exc:
        raise MissingExtraError("dicom-anonymizer", "privacy") from exc


def _write_all(files: list[Path], folder: Path) -> tuple[list[str], list[Finding]]:
    """Write every image; return names relative to ``folder`` and what was left out or may still show text."""
    from dicomanonymizer import simpledicomanonymizer

    simpledicomanonymizer.dictionary.clear()  # old UID to new UID; two calls must not be linked by it
    rules = simpledicomanonymizer.initialize_actions(TABLE)
    series: dict[str, int] = {}
    patients: dict[tuple[str, str], int] = {}
    counts: dict[int, int] = {}
    names: list[str] = []
    plain = damaged = burned = 0
    for path in files:
        with quiet_pydicom():
            try:
                dataset = _read(path)
                if dataset is None:
                    plain += 1
                    continue
                burned += bool(burned_in_findings(burned_in(dataset), modality(dataset), uid(dataset, "SOPClassUID")))
                number = series.setdefault(str(dataset.get("SeriesInstanceUID", "")), len(series) + 1)
                person = (str(dataset.get("PatientID", "")), str(dataset.get("PatientName", "")))
                patient = patients.setdefault(person, len(patients) + 1)
                clean(dataset, rules)
                dataset.PatientID = dataset.PatientName = f"anonymous-{patient:02d}"
                name = f"series_{number:02d}/image_{counts.get(number, 0) + 1:04d}.dcm"
                (folder / name).parent.mkdir(exist_ok=True)
                dataset.save_as(folder / name, enforce_file_format=True)
            except OSError:
                raise
            except Exception:  # noqa: BLE001 - a damaged header raises many kinds; such a file is not passed on
                damaged += 1
                continue
        counts[number] = counts.get(number, 0) + 1
        names.append(name)
    return names, _findings(plain, damaged, burned)


def _findings(plain: int, damaged: int, burned: int) -> list[Finding]:
    found = []
    if plain:
        sentence = f"{plain} DICOM file(s) without pixels (reports, documents, contours) were left out"
        found.append(Finding(sentence, "non-images-left-out", Severity.WARNING, "left out"))
    if damaged:
        sentence = f"{damaged} damaged DICOM file(s) were left out"
        found.append(Finding(sentence, "unreadable-left-out", Severity.WARNING, "left out"))
    if burned:
        sentence = (
            f"{burned} image(s) may show text burned into the pixels, which was not removed: "
            "look at every one before sharing"
        )
        found.append(Finding(sentence, "burned-in-text", Severity.WARNING, "not removed"))
    return found


def _read(path: Path) -> Any | None:
    """Return the whole data set, None for an object without pixels."""
    import pydicom

    dataset = pydicom.dcmread(path, force=True)
    pixels = any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    return dataset if pixels and dataset.get("Rows") and dataset.get("Columns") else None


def clean(dataset: Any, rules: dict[Any, Any]) -> None:
    """Apply the profile to a data set and everything nested in it, in place.

    Args:
        dataset: a pydicom file data set.
        rules: actions by tag, from ``dicomanonymizer``'s ``initialize_actions``.
    """
    from dicomanonymizer.simpledicomanonymizer import anonymize_dataset
    from pydicom.dataset import Dataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    identity = _identity(dataset)
    for level in [dataset, *_nested(dataset)]:
        anonymize_dataset(level, base_rules_gen=lambda: dict(rules))
    for level in [dataset, *_nested(dataset)]:
        _remove_what_remains(level, identity)
    dataset.preamble = b"\0" * 128  # may hold anything
    meta = dataset.file_meta
    for keyword in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "ReceivingApplicationEntityTitle",
                    "PrivateInformationCreatorUID", "PrivateInformation"):  # fmt: skip
        if keyword in meta:
            delattr(meta, keyword)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if "TransferSyntaxUID" not in meta:
        implicit = dataset.original_encoding[0]
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = METHOD_CODE
    dataset.DeidentificationMethodCodeSequence = [code]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def _nested(dataset: Any) -> Iterator[Any]:
    """Yield all data sets inside sequences, at any depth, outer before inner."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _nested(item)


def _identity(dataset: Any) -> tuple[str, ...]:
    """Return the words that name this person, place or visit, in lower case."""
    words: set[str] = set()
    for level in [dataset, *_nested(dataset)]:
        for keyword in IDENTITY:
            value = level.get(keyword)
            for part in re.split(r"[\^=\\,;\s]+", "\\".join(_parts(value))):
                words.add(part.strip("()[].").lower())
    return tuple(word for word in words if len(word) >= SHORTEST)


def _parts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    if isinstance(value, MutableSequence):  # several values; a PersonName is iterable too, letter by letter
        return [str(part) for part in value]
    return [str(value)]


def _remove_what_remains(level: Any, identity: tuple[str, ...]) -> None:
    """Empty every text that still holds one of the words, and every name of a person."""
    for element in list(level):
        if element.VR not in TEXTS:
            continue
        text = "\\".join(_parts(element.value))
        held = any(word in text.lower() for word in identity)
        if text and text not in DUMMIES and (element.VR == "PN" or held):
            element.value = b"" if element.VR == "UN" else ""
