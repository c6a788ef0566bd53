"""What the jobs make of a case, in this process: against the plain API, and against masks known beforehand."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tiny_weights
from dicom_phantoms import write_dicom
from phantoms import PHANTOMS, volume_of

import promptseg
from promptseg.batch.case import Case, Hints
from promptseg.batch.inputs import find_cases
from promptseg.batch.job import JobSpec, make_job
from promptseg.batch.worker import run_step
from promptseg.errors import PromptError, SettingsError
from promptseg.io.foreign import recist_box
from promptseg.volume import Geometry

# timm and torch say this of each other when TotalSegmentator's networks are loaded
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
TRUTH, SLICE, (ROW, COLUMN) = PHANTOMS["drifts"]
POINT = {"type": "point", "voxel": [SLICE, ROW, COLUMN], "positive": True}
SPEC = JobSpec("segment", {"model": "classical"}, formats=("nii.gz",), device="cpu")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("doe_jane") / "scan.nii.gz"
    promptseg.write_volume(volume_of(TRUTH), path)
    return path


@pytest.fixture
def run(tmp_path):
    """Take a case through the three steps as worker processes do, each with a job of its own."""

    def through(spec, case):
        for role in ("prepare", "infer", "finish"):
            job = make_job(spec)
            job.load() if role == "infer" else job.warm()
            receipt = run_step(job, spec, role, case, tmp_path, tmp_path / "result")
        return receipt, tmp_path / "result"

    return through


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_prompts_give_what_the_api_gives_and_the_log_replays(run, scan):
    receipt, folder = run(SPEC, Case("x", str(scan), hints=Hints(prompts=(POINT,), label="tumour")))
    plain = promptseg.segment(scan, [promptseg.Point(voxel=(SLICE, ROW, COLUMN))], "classical", "cpu")
    assert np.array_equal(array(folder / "mask.nii.gz"), plain.array)
    again = promptseg.replay(scan, folder / "prompts.json")
    assert np.array_equal(again.array, plain.array)
    (row,) = receipt["labels"]
    assert (row["label"], row["value"]) == ("tumour", 1)
    image, mask = array(scan), plain.array == 1
    assert row["volume_ml"] == pytest.approx(mask.sum() * 0.8 * 0.8 * 4.0 / 1000, rel=1e-5)
    assert row["mean"] == pytest.approx(image[mask].mean())
    assert row["std"] == pytest.approx(image[mask].std())
    assert sorted(receipt["files"]) == ["mask.label.txt", "mask.nii.gz", "prompts.json", "thumbnail.jpg"]


def test_each_recist_line_is_a_label_of_its_own(run, scan):
    lines = ((SLICE, ROW, COLUMN - 8, ROW, COLUMN + 8), (SLICE + 3, ROW + 3.6, COLUMN - 2, ROW + 3.6, COLUMN + 14))
    receipt, folder = run(SPEC, Case("x", str(scan), hints=Hints(recist=lines)))
    assert {row["label"] for row in receipt["labels"]} <= {"lesion 1", "lesion 2"}
    volume = promptseg.read_volume(scan)
    log = json.loads((folder / "prompts.json").read_text())
    first = next(entry for entry in log["entries"] if entry["op"] == "prompt")["prompts"][0]
    z, y0, x0, y1, x1 = lines[0]
    assert first["voxel"] == [list(end) for end in recist_box((z, y0, x0), (z, y1, x1), volume.geometry).voxel]


def test_the_boxes_of_a_challenge_file(run, tmp_path):
    image = np.where(TRUTH, 200, 0).astype(np.uint8)
    rows, columns = np.flatnonzero(TRUTH[SLICE].any(1)), np.flatnonzero(TRUTH[SLICE].any(0))
    boxes = np.array([[columns[0], rows[0], SLICE, columns[-1], rows[-1], SLICE]])
    np.savez(tmp_path / "case.npz", imgs=image, boxes=boxes, spacing=(0.8, 0.8, 4.0))
    (case,), _ = find_cases([tmp_path / "case.npz"])
    _, folder = run(SPEC, case)
    found = array(folder / "mask.nii.gz") == 1
    assert 2 * (found & TRUTH).sum() / (found.sum() + TRUTH.sum()) > 0.9


def test_a_dicom_series_gives_a_dicom_seg_without_the_patients_name(run, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    volume = volume_of(TRUTH)
    write_dicom(tmp_path / "dicom", volume.array, volume.geometry)
    (case,), _ = find_cases([tmp_path / "dicom"])
    case = Case(case.id, case.image, case.series, case.files, hints=Hints(prompts=(POINT,)))
    spec = JobSpec("segment", {"model": "classical"}, formats=("nii.gz", "dicom-labelmap", "dicom-sr"), device="cpu")
    receipt, folder = run(spec, case)
    assert {"mask.dcm", "mask-labelmap.dcm", "measurements.dcm"} <= set(receipt["files"])
    report = pydicom.dcmread(folder / "measurements.dcm")
    assert report.Modality == "SR"
    referred = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    seg = pydicom.dcmread(folder / "mask.dcm").SOPInstanceUID
    assert any(item.ReferencedSOPInstanceUID == seg for one in referred for item in one.ReferencedSOPSequence)
    assert pydicom.dcmread(folder / "mask-labelmap.dcm").SegmentationType == "LABELMAP"
    made = pydicom.dcmread(folder / "mask.dcm")
    assert str(made.PatientName) == ""
    pixels = sum(int(np.count_nonzero(frame)) for frame in made.pixel_array)
    assert pixels == np.count_nonzero(array(folder / "mask.nii.gz"))


def test_a_case_without_prompts_says_where_to_put_them(run, scan):
    with pytest.raises(PromptError, match=r"expected prompts for this image.*scan\.prompts\.json"):
        run(SPEC, Case("x", str(scan)))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (JobSpec("segment", {"task": "total"}), "knows the options model, texts, fast, fastest, not task"),
        (JobSpec("wholebody", {"model": "builtin"}), "knows the options task"),
        (
            JobSpec("wholebody", {"resampling_order": "7"}),
            "expected resampling_order to be a number from 0 to 5, got 7",
        ),
        (JobSpec("segment", formats=("nii",)), "did you mean 'nii.gz'"),
    ],
)
def test_options_and_formats_that_do_not_fit(spec, sentence):
    with pytest.raises(SettingsError, match=sentence):
        make_job(spec)


# --- with TotalSegmentator and a network whose masks are known beforehand ---------------------------------------------


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Write a whole-body network that answers class k where the intensity is ``band_centre(k)``."""
    pytest.importorskip("totalsegmentator")
    folder = tmp_path_factory.mktemp("weights")
    tiny_weights.write_task(folder, "total", "bands", fast=True)
    return folder


@pytest.fixture
def blocks(bands, tmp_path, monkeypatch):
    """A CT-like image on the network's own grid: spleen (1), left kidney (3) and liver (5) as blocks in air."""
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(bands))
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "home"))
    truth = np.zeros((26, 34, 44), np.uint8)
    truth[4:20, 5:17, 6:18], truth[4:20, 5:17, 22:40], truth[6:22, 20:31, 10:30] = 1, 3, 5
    image = np.where(truth, tiny_weights.band_centre(0) + 16.0 * truth, -1100.0).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    geometry = promptseg.Geometry(truth.shape, (3.0, 3.0, 3.0), (-60.0, -45.0, 300.0))
    promptseg.write_volume(promptseg.Volume.from_array(image, geometry), path)
    return path, truth


def agreement(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.torch
def test_wholebody_finds_known_blocks(run, blocks):
    path, truth = blocks
    spec = JobSpec("wholebody", {"task": "total", "fast": True}, ("seg.nrrd",), "cpu")
    receipt, folder = run(spec, Case("x", str(path)))
    names = {row["label"]: row["value"] for row in receipt["labels"]}
    assert {"spleen", "kidney_left", "liver"} <= set(names)
    found = array(folder / "mask.seg.nrrd")
    for name, value in (("spleen", 1), ("kidney_left", 3), ("liver", 5)):
        assert agreement(found == names[name], truth == value) > 0.9
    assert re.fullmatch(r"TotalSegmentator 2\.\d+\.\d+ total fast", receipt["algorithm"])


@pytest.mark.torch
def test_text_names_an_organ_for_every_case(run, blocks):
    path, truth = blocks
    spec = JobSpec("segment", {"model": "classical", "texts": ["left kidney"], "fast": True}, ("nii.gz",), "cpu")
    receipt, folder = run(spec, Case("x", str(path), hints=Hints(texts=("liver",))))
    assert [row["label"] for row in receipt["labels"]] == ["kidney_left", "liver"]
    found = array(folder / "mask.nii.gz")
    assert agreement(found == 1, truth == 3) > 0.9
    assert agreement(found == 2, truth == 5) > 0.9
    with pytest.raises(PromptError, match="no structure 'left kidny'"):
        make_job(JobSpec("segment", {"texts": ["left kidny"]}))


def test_the_job_of_the_tutorial_runs_as_it_stands(tmp_path, monkeypatch):
    """Its name is looked for in the folder that the batch is started from."""
    from promptseg.cli.main import main

    page = (Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "own-job.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (command,) = re.findall(r"^    promptseg (batch .*)$", page, re.M)
    (tmp_path / "airways.py").write_text(block)
    body = np.full((6, 30, 34), -1000, np.int16)
    body[:, 4:26, 5:29] = 40
    body[2:4, 12:18, 10:16] = -800  # 72 voxels of lung
    (tmp_path / "scans").mkdir()
    grid = Geometry(body.shape, (0.7, 0.9, 3.5), (-11.0, 40.5, 7.0))
    promptseg.write_volume(promptseg.Volume.from_array(body, grid, modality="CT"), tmp_path / "scans" / "one.nii.gz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main([*command.split(), "--parquet", "--format", "seg.nrrd"]) == 0
    made = promptseg.read_labelmap(tmp_path / "results" / "cases" / "one" / "mask.seg.nrrd")
    assert np.argwhere(made.mask("air inside")).min(axis=0).tolist() == [2, 12, 10]
    assert made.mask("air inside").sum() == 72
    parquet = pytest.importorskip("pyarrow.parquet")
    row = parquet.read_table(tmp_path / "results" / "measurements.parquet").to_pylist()[0]
    assert (row["id"], row["label"]) == ("one", "air inside")
    assert row["volume_ml"] == pytest.approx(72 * 0.7 * 0.9 * 3.5 / 1000)
