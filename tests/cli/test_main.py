"""The command line, as a person runs it: its exit codes, its one-sentence errors."""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from command_line import promptseg as run
from phantoms import PHANTOMS, volume_of

import promptseg
from promptseg.errors import ReadError


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A CT-like phantom on disk: its path, truth, and a box on its anchor slice."""
    truth, k, _ = PHANTOMS["drifts"]
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    promptseg.write_volume(volume_of(truth), path)
    rows, columns = np.flatnonzero(truth[k].any(1)), np.flatnonzero(truth[k].any(0))
    return path, truth, f"{k},{rows[0]},{columns[0]},{k + 1},{rows[-1] + 1},{columns[-1] + 1}"


def test_version():
    command = [sys.executable, "-m", "promptseg", "--version"]  # as its own process
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"promptseg {promptseg.__version__}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".seg.nrrd", ".mha"])
def test_segment_writes_a_mask_on_the_images_grid(scan, tmp_path, suffix):
    path, truth, box = scan
    out = tmp_path / f"mask{suffix}"
    done = run("segment", path, "--box", box, "--model", "classical", "--label", "tumour", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "tumour" in done.stdout
    image, mask = sitk.ReadImage(str(path)), sitk.ReadImage(str(out))
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-5)
    found = sitk.GetArrayFromImage(mask) == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


def test_segment_into_a_folder_and_again_from_its_log(scan, tmp_path):
    path, _, box = scan
    given = ("--box", box, "--not-point", "11,2,2", "--model", "classical", "--fuse", "auto")
    done = run("segment", path, *given, "-o", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    files = {p.name for p in (tmp_path / "one").iterdir()}
    assert {"mask.nii.gz", "prompts.json", "overlay.png"} <= files
    log = json.loads((tmp_path / "one/prompts.json").read_text())
    assert log["engine"]["fuse"] == "auto"
    assert [p["type"] for p in log["entries"][0]["prompts"]] == ["point", "box"]
    again = run(
        "segment", path, "--prompts", tmp_path / "one/prompts.json", "--model", "classical", "-o", tmp_path / "two"
    )
    assert again.returncode == 0, again.stderr
    first, second = (promptseg.read_labelmap(tmp_path / name / "mask.nii.gz") for name in ("one", "two"))
    assert np.array_equal(first.array, second.array)


def test_info_says_size_geometry_and_window(scan):
    done = run("info", scan[0])
    assert done.returncode == 0
    assert "92 x 70 x 24 voxels" in done.stdout
    assert "0.8 x 0.8 x 4 mm" in done.stdout


def test_convert_keeps_voxels_and_frame(scan, tmp_path):
    out = tmp_path / "scan.mha"
    done = run("convert", scan[0], out)
    assert done.returncode == 0, done.stderr
    before, after = promptseg.read_volume(scan[0]), promptseg.read_volume(out)
    assert np.array_equal(before.array, after.array)
    assert before.geometry.same_as(after.geometry)


def test_models():
    listed = run("models", "list")
    assert listed.returncode == 0
    assert "builtin" in listed.stdout
    assert "classical" in listed.stdout
    shown = run("models", "show", "builtin")
    assert shown.returncode == 0
    assert "synthetic" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["segment", "{scan}", "-o", "{out}"],
            2,
            "at least one of --point, --box, --recist, --scribble, --mask, --text and --prompts",
        ),
        (["segment", "{scan}", "--point", "1,2", "-o", "{out}"], 2, "expected Z,Y,X"),
        (["segment", "{scan}", "--point", "1,2,3"], 2, "--output"),
        (["frobnicate"], 2, "No such command"),
        (["segment", "{scan}", "--point", "99,2,3", "-o", "{out}"], 1, "outside the image"),
        (["segment", "{scan}", "--box", "5,5,5,5,9,9", "-o", "{out}"], 1, "half-open box"),
        (["segment", "{scan}", "--point", "1,2,3", "--model", "bultin", "-o", "{out}"], 1, "did you mean 'builtin'"),
        (["segment", "{scan}", "--point", "1,2,3", "--device", "cuda:7", "-o", "{out}"], 1, "CUDA device number 7"),
        (["segment", "{scan}", "--point", "1,2,3", "--device", "gpu:7", "-o", "{out}"], 1, "CUDA device number 7"),
        (["segment", "{scan}", "--point", "1,2,3", "--device", "mps", "-o", "{out}"], 1, "Apple's GPU is not used"),
        (["segment", "{scan}", "--point", "1,2,3", "--window", "lug", "-o", "{out}"], 1, "did you mean 'lung'"),
        (["segment", "{scan}", "--point", "1,2,3", "--prompts", "{none}", "-o", "{out}"], 1, "prompt log"),
        (["segment", "{scan}", "--point", "11,33,42", "-o", "{out}/a/b.nii.gz"], 1, "does not exist"),
        (["segment", "{scan}", "--point", "11,33,42", "-o", "{out}.xyz"], 1, "expected a name that ends with"),
        (["segment", "{scan}", "--point", "11,33,42", "-o", "{out}.dcm"], 1, "holds no DICOM image"),
        (["segment", "{none}", "--point", "1,2,3", "-o", "{out}"], 1, "no such file"),
        (["info", "{text}"], 1, "cannot read"),
        (["info", "{empty}"], 1, "cannot read"),
        (["info", "{cut}"], 1, "cannot read"),
        (["convert", "{scan}", "{out}.xyz"], 1, ".nii.gz"),
        (["models", "show", "clasical"], 1, "did you mean 'classical'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(scan, tmp_path, arguments, code, sentence):
    given = {
        "scan": scan[0],
        "out": tmp_path / "out",
        "none": tmp_path / "none.nii.gz",
        "text": tmp_path / "text.nii.gz",
        "empty": tmp_path / "empty.nrrd",
        "cut": tmp_path / "cut.nii.gz",
    }
    given["text"].write_text("not an image")
    given["empty"].touch()
    given["cut"].write_bytes(scan[0].read_bytes()[: scan[0].stat().st_size // 2])
    done = run(*(argument.format(**given) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert "this is a bug" not in done.stderr
    assert {p.name for p in tmp_path.iterdir()} <= {"text.nii.gz", "empty.nrrd", "cut.nii.gz"}


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ReadError):
        run("--debug", "info", tmp_path / "none.nii.gz")
