"""Identifiers planted in DICOM files appear in nothing that promptseg prints, logs, writes or leaves behind."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import write_dicom

from promptseg.volume import Geometry

ARRAY = np.random.default_rng(0).integers(-200, 300, (4, 40, 36)).astype(np.int16)
GEOMETRY = Geometry(ARRAY.shape, (0.5, 0.6, 5.0), (3.0, -4.0, 20.0))
TAGS = {
    "PatientName": "Quarrington^Zebedeus",
    "PatientID": "PLANT-4711",
    "PatientBirthDate": "19370213",
    "PatientSex": "O",
    "PatientAddress": "7 Thistlewick Lane",
    "AccessionNumber": "ACC-998877",
    "InstitutionName": "Mossgrove Infirmary",
    "ReferringPhysicianName": "Featherby^Ann",
    "OperatorsName": "Nettleford^Bob",
    "StudyDate": "20190417",
    "StudyTime": "134455",
    "AcquisitionTime": "134501",
    "StudyID": "ST-55443",
    "StudyDescription": "follow-up of Zebedeus",
    "SeriesDescription": "thin Quarrington",
    "ImageComments": "Featherby asked",
    "DeviceSerialNumber": "SN-776655",
}
PLANTED = (
    "Quarrington", "Zebedeus", "PLANT-4711", "19370213", "1937", "Thistlewick", "ACC-998877", "Mossgrove", "Featherby",
    "Nettleford", "20190417", "2019-04-17", "134455", "134501", "13:44:55", "13:45:01", "ST-55443", "SN-776655",
)  # fmt: skip
LEANING = ["1", "0", "0", "0", f"{np.cos(0.2):.9f}", f"{-np.sin(0.2):.9f}"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folder with the inputs: a good series, a tilted one, a damaged one, one of several series; and ``work``."""
    write_dicom(tmp_path / "in" / "good", ARRAY, GEOMETRY, tags=TAGS)
    write_dicom(tmp_path / "in" / "tilted", ARRAY, GEOMETRY, tags={**TAGS, "ImageOrientationPatient": LEANING})
    damaged = write_dicom(tmp_path / "in" / "damaged", ARRAY, GEOMETRY, tags=TAGS)
    for file in damaged:
        file.write_bytes(file.read_bytes()[:-100])
    odd = {**TAGS, "Modality": "Zebedeus", "SeriesInstanceUID": "Quarrington 4711"}
    write_dicom(tmp_path / "in" / "odd", ARRAY, GEOMETRY, tags=odd)
    write_dicom(tmp_path / "in" / "two" / "a", ARRAY, GEOMETRY, tags=TAGS)
    write_dicom(tmp_path / "in" / "two" / "b", ARRAY, GEOMETRY, tags=TAGS, uid="1.2.3.4")
    (tmp_path / "work").mkdir()
    return tmp_path


SCRIPT = """
import logging
logging.basicConfig(filename="log.txt", level=logging.DEBUG)
from promptseg.cli.main import main
for line in open("commands.txt"):
    print("$", line.strip()); print(main(line.split()))
"""
COMMANDS = """\
info good
info tilted
info damaged
info odd
info two
check good
check tilted --json
check damaged
check odd
check two
check tilted --fix fixed.nii.gz
segment fixed.nii.gz -o fixed-mask.nrrd --point 4,20,18
check fixed.nii.gz --back fixed-mask.nrrd -o back
segment good -o result --point 2,20,18
segment good -o mask.seg.nrrd --box 1,5,5,2,20,20
convert good image.nii.gz
convert good image.nrrd
convert good image.mha
convert good image.tif
export mask.seg.nrrd -o seg.dcm --image good
export mask.seg.nrrd -o labelmap.dcm --image good --as labelmap
export mask.seg.nrrd -o contours.dcm --image good --as rtstruct --log result/prompts.json
export mask.seg.nrrd -o mesh.stl
import seg.dcm -o again.nii.gz --image good
report good mask.seg.nrrd -o study
report good --log result/prompts.json -o log.html
measure mask.seg.nrrd good -o numbers.csv
evaluate mask.seg.nrrd seg.dcm --image good -o scores.json
"""


def _contents(path: Path) -> bytes:
    """Return what a file holds, unpacked; of a DICOM object all but its UIDs, whose digits are anybody's."""
    if path.suffix == ".dcm":
        return "\n".join(str(item) for item in pydicom.dcmread(path).iterall() if item.VR not in ("UI", "SQ")).encode()
    data = path.read_bytes()
    if path.suffix in (".html", ".pdf"):  # packed pictures hold any four digits by chance
        return re.sub(rb"base64,[^\"]+|stream.*?endstream", b"", data, flags=re.DOTALL)
    if data[:2] == b"\x1f\x8b":
        return data + gzip.decompress(data)
    start = data.find(b"\n\n")
    return data[:start] + _unpacked(data[start + 2 :]) if data[:4] == b"NRRD" else data


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.slow
def test_nothing_planted_leaves_the_program(place: Path) -> None:
    work, temp = place / "work", place / "temp"
    temp.mkdir()
    names = ("good", "tilted", "damaged", "odd", "two")
    lines = [
        " ".join(str(place / "in" / word) if word in names else word for word in line.split())
        for line in COMMANDS.splitlines()
    ]
    (work / "commands.txt").write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "TMPDIR": str(temp)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=work, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("$ ") == len(lines)
    assert "wrote result/mask.nii.gz" in done.stdout
    written = [path for folder in (work, temp) for path in folder.rglob("*") if path.is_file()]
    wanted = """mask.nii.gz prompts.json overlay.png image.nrrd fixed.slices.json log.txt seg.dcm labelmap.dcm
        contours.dcm mesh.stl again.nii.gz report.html report.pdf report.csv report.json log.html numbers.csv
        scores.json"""
    assert set(wanted.split()) <= {path.name for path in written}
    texts = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    texts |= {path.name: _contents(path) for path in written}
    for name, content in texts.items():
        for word in PLANTED:
            assert word.lower().encode() not in content.lower(), f"{word} in {name}"


def test_no_temporary_copy_holds_an_identity() -> None:
    """12-bit JPEG is decoded from a temporary copy of the file: it must hold pixels only."""
    from promptseg.io import dicom_pixels

    assert not {"PatientName", "PatientID", "StudyDate", "InstitutionName"} & set(dicom_pixels.TAGS)


def test_identity_when_asked(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from promptseg.cli.main import main

    monkeypatch.chdir(place / "work")
    good = str(place / "in" / "good")
    assert main(["segment", good, "-o", "mask.nii.gz", "--box", "1,5,5,2,20,20"]) == 0
    assert main(["report", good, "mask.nii.gz", "-o", "who.json", "--keep-identity"]) == 0
    assert main(["export", "mask.nii.gz", "-o", "who.dcm", "--image", good, "--keep-identity"]) == 0
    assert '"Patient": "Quarrington^Zebedeus"' in Path("who.json").read_text(encoding="utf-8")
    assert pydicom.dcmread("who.dcm").PatientID == "PLANT-4711"
    assert "Quarrington" not in "".join(capsys.readouterr())
