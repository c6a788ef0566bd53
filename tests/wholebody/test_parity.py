"""The same masks as TotalSegmentator's own command with the same weights; steps, threads, progress and cancelling."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
from numpy.typing import NDArray
from phantoms import turned

import promptseg
from promptseg.errors import Cancelled
from promptseg.score.metrics import dice
from promptseg.volume import Geometry, Labelmap, Volume
from promptseg.wholebody import STEPS, StepProgress, WholeBody

from .conftest import OWN_VARIABLES

SUBSET = ("liver", "kidney_left", "vertebrae_L1")
RUNS = {"fast": ("--fast",), "subset": ("--fast", "--roi_subset", *SUBSET), "mr": ("--task", "total_mr")}
NO_TORCHVISION = 3
PROGRAM = f"""
import json, sys
try:
    import torchvision
except Exception:
    sys.exit({NO_TORCHVISION})
from totalsegmentator.bin.TotalSegmentator import main
for line in sys.argv[1:]:
    sys.argv[1:] = json.loads(line)
    main()
"""


@pytest.fixture(scope="module")
def scan(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of a real CT, anisotropic, oblique, flipped and off origin: neither grid nor spacing is the network's."""
    whole = promptseg.read_volume(shared_data / "ct_ts_trunk3mm" / "image.nii.gz")
    array = np.ascontiguousarray(whole.array[40:66, 20:76, 30:90])
    flipped = np.asarray(turned(9, -14, 11)).reshape(3, 3) * [-1, 1, 1]
    geometry = Geometry(array.shape, (2.2, 2.6, 3.7), (81.25, -40.5, 312.0), tuple(flipped.ravel().tolist()))
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    promptseg.write_volume(Volume.from_array(array, geometry), path)
    return path


@pytest.fixture(scope="module")
def models(_tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of all the tasks below."""
    folder = tmp_path_factory.mktemp("parity") / "models"
    shutil.copytree(_tiny("random"), folder)
    tiny_weights.write_task(folder / "totalsegmentator" / "nnunet" / "results", "total_mr")
    return folder


@pytest.fixture(scope="module")
def by_totalsegmentator(
    scan: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, NDArray[np.uint8]]:
    """Run TotalSegmentator's own command for each of ``RUNS``; its labels (z, y, x), read by an independent reader.

    All in one process: importing torch and nnU-Net takes longer than to segment.
    """
    import nibabel

    folder = tmp_path_factory.mktemp("by_totalsegmentator")
    environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    environment |= {"TOTALSEG_HOME_DIR": str(models / "totalsegmentator"), "HOME": str(folder)}
    lines = [
        json.dumps(["-i", str(scan), "-o", str(folder / f"{name}.nii.gz"), "--ml", "-d", "cpu", "-ns", "1", *options])
        for name, options in RUNS.items()
    ]
    command = [sys.executable, "-c", PROGRAM, *lines]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode == NO_TORCHVISION:
        pytest.skip("child processes cannot import torchvision; run: make setup")
    assert done.returncode == 0, done.stderr[-2000:]
    return {
        name: np.asanyarray(nibabel.load(folder / f"{name}.nii.gz").dataobj).astype(np.uint8).transpose(2, 1, 0)
        for name in RUNS
    }


def require_same_classes(made: Labelmap, reference: NDArray[np.uint8], fewest: int) -> None:
    values = sorted({*np.unique(made.array).tolist(), *np.unique(reference).tolist()} - {0})
    assert len(values) >= fewest
    scores = {made.labels[value].name: dice(made.array == value, reference == value) for value in values}
    assert min(scores.values()) >= 0.999, scores


def test_same_masks_as_its_own_command(
    warm: Callable[[str], WholeBody], scan: Path, by_totalsegmentator: dict[str, NDArray[np.uint8]]
) -> None:
    made = warm("random").segment(promptseg.read_volume(scan))
    require_same_classes(made, by_totalsegmentator["fast"], fewest=20)


def test_same_masks_of_a_subset_that_another_network_finds_first(
    use_tiny: Callable[[str], Path], scan: Path, by_totalsegmentator: dict[str, NDArray[np.uint8]]
) -> None:
    use_tiny("random")
    engine = WholeBody("total", fast=True, roi_subset=SUBSET, device="cpu")
    assert [model.dataset_id for model in engine.models] == [298, 297]
    made = engine.segment(promptseg.read_volume(scan))
    assert {label.name for label in made.labels.values()} == set(SUBSET)
    require_same_classes(made, by_totalsegmentator["subset"], fewest=2)
    volume = promptseg.read_volume(scan)
    prepared = engine.prepare(volume)
    np.testing.assert_array_equal(engine.finish(prepared, engine.infer(prepared)).array, made.array)


def test_same_masks_of_an_mr_task_of_two_networks(
    scan: Path, models: Path, by_totalsegmentator: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``benchmarks/wholebody_against_cli.py`` compares more tasks; each costs half a minute and more."""
    monkeypatch.setenv("PROMPTSEG_MODELS", str(models))
    made = WholeBody("total_mr", device="cpu").segment(promptseg.read_volume(scan))
    require_same_classes(made, by_totalsegmentator["mr"], fewest=10)


def test_steps_in_different_processes_give_the_same_labels(warm: Callable[[str], WholeBody], scan: Path) -> None:
    engine, volume = warm("random"), promptseg.read_volume(scan)
    at_once = engine.run(volume)
    cold = pickle.loads(pickle.dumps(engine))  # what a process for the first or last step holds: no networks
    prepared = pickle.loads(pickle.dumps(cold.prepare(volume)))
    inferred = pickle.loads(pickle.dumps(engine.infer(prepared)))
    finished = cold.finished(prepared, inferred)
    np.testing.assert_array_equal(finished.labelmap.array, at_once.labelmap.array)
    assert len(pickle.dumps(inferred)) < 2 * volume.array.size  # class ids, not logits of 118 classes
    for result in (at_once, finished):
        assert set(result.seconds) == set(STEPS)
        assert all(seconds >= 0 for seconds in result.seconds.values())
        assert result.seconds["infer"] > 0
    assert cold.__dict__.get("_networks") is None


def test_threads_share_one_engine(warm: Callable[[str], WholeBody], scan: Path) -> None:
    engine, volume = warm("random"), promptseg.read_volume(scan)
    other = Volume.from_array(volume.array[::-1].copy(), volume.geometry)
    alone = [engine.segment(volume).array, engine.segment(other).array]
    found: dict[int, NDArray[np.uint8]] = {}

    def work(number: int, image: Volume) -> None:
        found[number] = engine.segment(image).array

    threads = [threading.Thread(target=work, args=item) for item in enumerate((volume, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, wanted in enumerate(alone):
        np.testing.assert_array_equal(found[number], wanted)
    assert (alone[0] != alone[1]).any()


def test_progress_counts_tiles_and_a_case_can_be_cancelled(warm: Callable[[str], WholeBody], scan: Path) -> None:
    engine, volume = warm("random"), promptseg.read_volume(scan)
    seen: list[StepProgress] = []
    engine.segment(volume, on_progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, seen[-1].total + 1))

    def stop(progress: StepProgress) -> None:
        raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled, match="by the test"):
        engine.segment(volume, on_progress=stop)
    again: list[StepProgress] = []
    engine.segment(volume, on_progress=again.append)
    assert len(again) == len(seen)


def test_outside_our_cases_totalsegmentator_is_as_it_was(warm: Callable[[str], WholeBody]) -> None:
    from totalsegmentator import nnunet, resampling

    warm("random")
    from totalsegmentator.python_api import show_license_info

    assert nnunet.change_spacing is not resampling.change_spacing  # ours stands before it ...
    with pytest.raises(SystemExit):  # ... and steps aside: its own behaviour without a licence
        show_license_info()
