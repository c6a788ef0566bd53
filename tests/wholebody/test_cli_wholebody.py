"""The command line on a real scan, offline: every class, by its right name, in every format."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nrrd_names
import numpy as np
import pydicom
import pytest
import tiny_weights
from numpy.typing import NDArray
from wholebody_phantoms import blocks, write_ct_series

import promptseg
from promptseg.volume import Geometry, Volume

Run = Callable[..., tuple[int, str, str]]


def names_of(values: NDArray[np.uint8]) -> dict[int, str]:
    """The names that these label values must carry, read from TotalSegmentator's own table."""
    from totalsegmentator.map_to_binary import class_map

    return {value: class_map["total"][value] for value in np.unique(values).tolist() if value}


def require_known_labels(volume: Volume, found: NDArray[Any]) -> None:
    """The scan has the network's voxel size: labels are known from the intensities, but at the bands' edges."""
    place = (np.clip(volume.array.astype(np.float64), -1000, None) + 1000) / tiny_weights.BAND_WIDTH
    bands = np.rint(place).astype(np.int64)
    inside = (np.abs(place - bands) < 0.4) & (bands >= 1) & (bands <= 117)
    assert inside.mean() > 0.2
    # nnU-Net adds up in half precision: in the image's corners, where its window's weight is tiny, a few differ
    assert (found[inside] == bands[inside]).mean() > 0.999


def test_a_real_scan_offline_with_all_classes_and_their_names_in_every_format(
    use_tiny: Callable[[str], Path], shared_data: Path, run: Run, blocked_network: list[Any], tmp_path: Path
) -> None:
    models = use_tiny("bands")
    volume = promptseg.read_volume(shared_data / "ct_ts_trunk3mm" / "image.nii.gz")
    series = write_ct_series(volume, tmp_path / "series")
    outputs = [tmp_path / name for name in ("organs.seg.nrrd", "organs.nii.gz", "organs.dcm")]
    flags = [part for path in outputs for part in ("-o", path)]
    code, out, err = run("wholebody", series, *flags, "--as", "labelmap", "--fast", "--device", "cpu")
    assert code == 0, err
    assert blocked_network == []
    assert "117 of 117 classes found" in out
    assert "on cpu: read " in out
    config = json.loads((models / "totalsegmentator" / "config.json").read_text())
    assert config["send_usage_stats"] is False
    assert config["prediction_counter"] == 0

    made = nifti(outputs[1])
    wanted = names_of(made)
    assert len(wanted) == 117
    read = promptseg.read_labelmap(outputs[1])
    assert {value: label.name for value, label in read.labels.items()} == wanted
    assert read.geometry.same_as(volume.geometry)
    require_known_labels(volume, made)
    assert nrrd_names.segments(outputs[0]) == wanted
    np.testing.assert_array_equal(promptseg.read_labelmap(outputs[0]).array, made)
    require_same_in_dicom(outputs[2], series, made, wanted)


def test_all_classes_as_binary_segments_and_statistics(
    use_tiny: Callable[[str], Path], shared_data: Path, run: Run, blocked_network: list[Any], tmp_path: Path
) -> None:
    use_tiny("bands")
    whole = promptseg.read_volume(shared_data / "ct_ts_trunk3mm" / "image.nii.gz")
    array, grid = np.ascontiguousarray(whole.array[::9]), whole.geometry  # highdicom writes a frame per class and slice
    coarse = Geometry(array.shape, (*grid.spacing[:2], 27.0), grid.origin, grid.direction)
    series = write_ct_series(Volume.from_array(array, coarse), tmp_path / "series")
    outputs = ("-o", tmp_path / "organs.dcm", "-o", tmp_path / "organs.nii.gz", "--statistics")
    code, out, err = run("wholebody", series, *outputs, "--fast", "--device", "cpu")
    assert code == 0, err
    assert blocked_network == []
    assert "117 of 117 classes found" in out
    made = nifti(tmp_path / "organs.nii.gz")
    require_same_in_dicom(tmp_path / "organs.dcm", series, made, names_of(made))
    statistics = json.loads((tmp_path / "organs.statistics.json").read_text())
    assert set(statistics) == set(names_of(made).values())


def nifti(path: Path) -> NDArray[np.uint8]:
    """Labels (z, y, x), read by an independent reader."""
    import nibabel

    return np.asanyarray(nibabel.load(path).dataobj).astype(np.uint8).transpose(2, 1, 0)


def require_same_in_dicom(path: Path, series: Path, array: NDArray[np.uint8], names: dict[int, str]) -> None:
    """All segments have their names, and every voxel its own, read by highdicom alone."""
    import highdicom

    seg = highdicom.seg.segread(path)
    described = {number: seg.get_segment_description(number) for number in seg.segment_numbers}
    assert [item.segment_label for item in described.values()] == [names[value] for value in sorted(names)]
    assert {item.algorithm_type.value for item in described.values()} == {"AUTOMATIC"}
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.iterdir()]
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    found = seg.get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in images], combine_segments=True, assert_missing_frames_are_empty=True
    )
    values = {name: value for value, name in names.items()}
    by_number = np.zeros(max(described) + 1, np.uint8)
    for number, item in described.items():
        by_number[number] = values[item.segment_label]
    np.testing.assert_array_equal(by_number[found], array)


def test_a_text_keeps_one_structure_and_names_it(use_tiny: Callable[[str], Path], run: Run, tmp_path: Path) -> None:
    use_tiny("bands")
    geometry = Geometry((14, 30, 32), (3.0, 3.0, 3.0), (5.0, -7.5, 40.0))
    promptseg.write_volume(blocks(geometry), tmp_path / "scan.nii.gz")
    where = ("-o", tmp_path / "out", "--session", tmp_path / "work")
    code, out, err = run("wholebody", tmp_path / "scan.nii.gz", *where, "--fast", "--device", "cpu", "--text", "左肾")
    assert code == 0, err
    assert "kidney_left of the task total" in err
    assert "1 of 1 classes found" in out
    made = promptseg.read_labelmap(tmp_path / "out" / "segmentation.nii.gz")
    assert [label.name for label in made.labels.values()] == ["kidney_left"]
    assert made.mask("kidney_left").any()
    session = promptseg.resume(tmp_path / "work")
    np.testing.assert_array_equal(session.mask("kidney_left"), made.mask("kidney_left"))
    code, _, err = run("wholebody", tmp_path / "scan.nii.gz", "-o", tmp_path / "out", "--text", "kidney")
    assert code == 1
    assert "kidney_left, kidney_cyst_left" in err.replace("kidney_right, ", "")


def test_impossible_wishes_are_told_before_any_work(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    scan = tmp_path / "scan.nii.gz"
    promptseg.write_volume(blocks(Geometry((14, 30, 32), (3.0, 3.0, 3.0))), scan)
    there = tmp_path / "x.nii.gz"
    cases = [
        (("-o", there, "--task", "totl"), "did you mean 'total'"),
        (("-o", there, "--task", "lung_vessels", "--fast"), "has no fast model"),
        (("-o", there, "--fast", "--fastest"), "got both"),
        (("-o", there, "--roi-subset", "liver,kidny_left"), "did you mean 'kidney_left'"),
        (("-o", there, "--task", "lung_nodules", "--roi-subset", "lung"), "subset"),
        (("-o", there, "--radiomics"), "pyradiomics"),
        (("-o", tmp_path / "x.docx"), "expected a name that ends with"),
        (("-o", tmp_path / "missing" / "x.nii.gz"), "does not exist"),
        (("-o", tmp_path / "x.dcm"), "DICOM"),
        (("-o", there, "--licence-number", "short"), "18 characters"),
        (("-o", there, "--text", "liver", "--text", "airways"), "different tasks"),
        (("-o", there, "--fast", "--device", "cuda:7"), "cuda"),
    ]
    for options, sentence in cases:
        code, out, err = run("wholebody", scan, *options)
        assert code == 1, options
        assert sentence.lower() in err.lower(), (options, err)
        assert "Traceback" not in err
        assert out == ""
    assert not there.exists()


def test_licensed_tasks_ask_for_a_number_and_open_ones_never(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    from totalsegmentator.map_to_binary import commercial_models

    from promptseg.errors import ModelError
    from promptseg.wholebody.tasks import checked_task
    from promptseg.wholebody.totalseg import all_tasks

    for task in all_tasks():
        if task in commercial_models:
            with pytest.raises(ModelError, match="licence number"):
                checked_task(task)
        else:
            assert checked_task(task).name == task
    scan = tmp_path / "scan.nii.gz"
    promptseg.write_volume(blocks(Geometry((14, 30, 32), (3.0, 3.0, 3.0))), scan)
    number = "aca_" + "X" * 14
    code, _, err = run("wholebody", scan, "-o", tmp_path / "x.nii.gz", "--task", "face", "--licence-number", number)
    assert code == 1
    assert "weights of the whole-body task 'face'" in err  # the number was taken: the weights are next
    assert number not in err
    assert checked_task("face").needs_licence
    kept = json.loads((tmp_path / "models" / "totalsegmentator" / "config.json").read_text())
    assert kept["license_number"] == number
    assert kept["send_usage_stats"] is False


def test_a_person_is_asked_for_the_licence_number_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")

    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    number = "aca_" + "Y" * 14
    monkeypatch.setattr(sys, "stdin", Keyboard(f"{number}\n"))
    scan = tmp_path / "scan.nii.gz"
    promptseg.write_volume(blocks(Geometry((14, 30, 32), (3.0, 3.0, 3.0))), scan)
    _, _, err = run("wholebody", scan, "-o", tmp_path / "x.nii.gz", "--task", "total", "--device", "cpu")
    assert "licence" not in err  # an open task never asks
    for asked in (True, False):
        code, _, err = run("wholebody", scan, "-o", tmp_path / "x.nii.gz", "--task", "face", "--device", "cpu")
        assert code == 1
        assert ("license-academic" in err) == asked
        assert "weights of the whole-body task 'face'" in err
    kept = json.loads((tmp_path / "models" / "totalsegmentator" / "config.json").read_text())
    assert kept["license_number"] == number


def test_the_lists_are_the_registrys(run: Run) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    from totalsegmentator import registry

    code, out, _ = run("wholebody", "--tasks")
    assert code == 0
    listed = {line.split()[0]: line for line in out.splitlines()}
    assert list(listed) == [task for task in registry.TASKS if task in listed]
    assert {t for t in registry.TASKS if t not in listed} <= {"total_highres_test"}
    for task, line in listed.items():
        assert ("licence number" in line) == registry.requires_license(task)
        assert f" {registry.task_modality(task)} " in line
    code, out, _ = run("wholebody", "--classes", "total_mr")
    assert [line.split()[1] for line in out.splitlines()] == [
        name for _, name in sorted(registry.get_task_classes("total_mr").items())
    ]
    assert run("wholebody", "--classes", "liver")[0] == 1
    assert run("wholebody")[0] == 2


def test_an_mr_for_a_ct_task_is_warned_about(
    shared_data: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    monkeypatch.setattr(promptseg.WholeBody, "require", lambda _: None)  # as if the weights were here
    mr = shared_data / "mr_ts_abdomen_small" / "image.nii.gz"
    code, _, err = run("wholebody", mr, "-o", tmp_path / "x.nii.gz", "--fast", "--device", "cpu")
    assert code == 1  # no weights here
    assert "try --task total_mr" in err
