"""A short run of benchmarks/fuzz_readers.py: mutated files are read or refused with a sentence, nothing else."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

COUNT = 200
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz_readers.py"


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_readers"] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)  # as for a script that is run from there
        spec.loader.exec_module(module)
        yield module


@pytest.mark.slow
def test_two_hundred_mutated_files(fuzz: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seeds = fuzz.seeds(None)
    assert len({seed.format for seed in seeds}) == 10
    outcomes: Counter[str] = Counter()
    for number in range(COUNT):
        outcome, said = fuzz.try_input(seeds[number % len(seeds)], number, tmp_path / "in")
        assert outcome in fuzz.GOOD, said
        outcomes[outcome] += 1
    assert min(outcomes["compared"], outcomes["refused"]) > COUNT // 10  # mutations neither break every file nor none
    assert capfd.readouterr() == ("", "")


ALONE = ("hex.nrrd", "list.nhdr", "numbered.nhdr", "mosaic", "j2k")  # no other reader here knows them


def test_the_sound_seeds_are_read(fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nrrd")
    seal = sys.modules["fuzz_inputs"].SEALS
    monkeypatch.setattr(fuzz, "mutated", lambda seed, number: seal[seed.seal](seed.files[0][1]))
    for seed in fuzz.seeds(None):
        wanted = (
            "refused" if seed.format == "DICOM mask" else "read" if seed.name in ALONE else "compared"
        )  # as an image
        assert fuzz.try_input(seed, 0, tmp_path / "in") == (wanted, ""), seed.name


def test_another_image_is_told(fuzz: ModuleType) -> None:
    """A reader that is wrong in one voxel, in the place or in the size does not pass."""
    from promptseg.volume import Geometry, Volume

    truth = sys.modules["fuzz_truth"].Truth(np.arange(24).reshape(2, 3, 4), (np.diag([0.5, 1.0, 2.0, 1.0]),))
    geometry = Geometry((2, 3, 4), (0.5, 1.0, 2.0))
    right = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    wrong = right.copy()
    wrong[1, 2, 3] += 1
    told = fuzz.difference
    assert told(Volume.from_array(right, geometry), truth) == ""
    assert "1 of 24 voxels" in told(Volume.from_array(wrong, geometry), truth)
    assert "another place" in told(Volume.from_array(right, Geometry((2, 3, 4), (0.5, 1.0, 2.1))), truth)
    assert "shape" in told(Volume.from_array(right[:1], Geometry((1, 3, 4), (0.5, 1.0, 2.0))), truth)


def test_a_broken_input_is_kept_and_the_run_goes_on(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([("read", "", 1), ("hang", "no answer", 0), None, ("died", "the process ended with -11", 0)])
    started = []

    class Scripted:
        """A worker whose answers are known."""

        def __init__(self, data: Path | None) -> None:
            started.append(self)
            self.number: int | None = None
            self.since = 0.0
            self.connection = self.process = self

        def give(self, number: int) -> None:
            self.number = number

        def answer(self, first: bool) -> tuple[str, str, int] | None:
            return next(answers)

        def send(self, message: None) -> None:
            pass

        def join(self, timeout: float) -> None:
            pass

    monkeypatch.setattr(fuzz, "Worker", Scripted)
    tally = fuzz.run(0, 3, 1, tmp_path, None)
    assert tally.counts == {"NRRD": {"read": 1}, "MetaImage": {"hang": 1, "died": 1}}
    assert tally.table().splitlines()[-1] == "| all | 3 | 1 | 0 | 0 | 2 |"
    assert len(started) == 3
    assert len(list((tmp_path / "failed").glob("*.txt"))) == 2
    assert fuzz.run(0, 3, 1, tmp_path, None).counts == tally.counts  # done already: nothing is tried again
