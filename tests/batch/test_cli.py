"""``promptseg batch`` as a person runs it: its exit codes, its lines, its reports."""

import csv
import functools
import json

import pytest
from command_line import promptseg as command
from phantoms import PHANTOMS, volume_of

import promptseg

pytestmark = pytest.mark.slow

TRUTH, SLICE, PLACE = PHANTOMS["ends"]


run = functools.partial(command, "batch")


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Run one batch with a good, a broken and a promptless case; return the folder, and what the run said."""
    folder = tmp_path_factory.mktemp("doe_jane")
    for name in ("good", "promptless"):
        promptseg.write_volume(volume_of(TRUTH), folder / f"{name}.nii.gz")
    (folder / "broken.nii.gz").write_bytes((folder / "good.nii.gz").read_bytes()[:900])
    table = folder / "cases.csv"
    point = json.dumps([{"type": "point", "voxel": [SLICE, *PLACE]}]).replace('"', '""')
    table.write_text(f'image,id,prompts,label\ngood.nii.gz,g,"{point}",=tumour\nbroken.nii.gz,b,"{point}",\n'
                     "promptless.nii.gz,p,,\n")  # fmt: skip
    arguments = [table, "-o", folder / "out", "--job", "segment", "--model", "classical", "--retries", "0"]
    return folder, arguments, run(*arguments, "--format", "seg.nrrd", "--json")


def test_failed_cases_give_their_own_exit_code_and_events_are_json_lines(ended):
    folder, _, done = ended
    assert done.returncode == 4, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["started", "finished"]
    cases = {event["id"]: event for event in events if event["event"] == "case"}
    assert {case_id: event["state"] for case_id, event in cases.items()} == {"g": "done", "b": "failed", "p": "failed"}
    assert "expected prompts" in cases["p"]["reason"]
    assert events[-1] | {"seconds": 0} == {
        "event": "finished", "total": 3, "done": 1, "failed": 2, "pending": 0, "seconds": 0, "interrupted": False,
        "warned": 0, "report": str(folder / "out" / "report.html"),
    }  # fmt: skip


def test_the_page_has_failures_first_a_picture_and_no_path(ended):
    page = (ended[0] / "out" / "report.html").read_text()
    assert page.index("<h2>Failed</h2>") < page.index("<td>b</td>") < page.index("<h2>Done</h2>")
    assert '<img loading=lazy src="cases/g/thumbnail.jpg"' in page
    assert "not a medical device" in page
    assert "=tumour" in page
    assert "doe_jane" not in page
    picture = (ended[0] / "out" / "cases" / "g" / "thumbnail.jpg").read_bytes()
    assert picture.startswith(b"\xff\xd8")


def test_the_tables(ended):
    with (ended[0] / "out" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["failed", "failed", "done"]
    assert rows[-1]["image"] == str(ended[0] / "good.nii.gz")  # this table alone leads back to the files
    with (ended[0] / "out" / "measurements.csv").open() as file:
        (row,) = list(csv.DictReader(file))
    assert (row["id"], row["label"]) == ("g", "'=tumour")  # no formula for a spreadsheet
    mask = promptseg.read_labelmap(ended[0] / "out" / "cases" / "g" / "mask.seg.nrrd")
    assert float(row["volume_ml"]) == pytest.approx(mask.volume_ml(1), rel=1e-4)


def test_resume_with_nothing_left_says_so_in_plain_lines(ended):
    folder, arguments, _ = ended
    refused = run(*arguments)
    assert refused.returncode == 1
    assert "add --resume" in refused.stderr
    again = run(*arguments, "--resume", "--format", "seg.nrrd")
    assert again.returncode == 4
    assert again.stdout.splitlines()[0] == "3 cases, 1 done and 2 failed before; 0 worker(s)"
    assert "1 of 3 done, 2 failed" in again.stdout
    other = run(*arguments, "--resume")
    assert other.returncode == 1
    assert "was begun with formats ['seg.nrrd'], not ['nii.gz']" in other.stderr
    assert folder.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["scan.nii.gz", "-o", "{out}", "--job", "segment"], 1, "there is no scan.nii.gz"),
        (["-o", "{out}", "--job", "segment", "--resume"], 1, "expected a batch to go on with"),
        (["-o", "{out}", "--job", "segment"], 1, "name its inputs"),
        (["x", "-o", "{out}", "--job", "segmnt"], 1, "did you mean 'segment'"),
        (["x", "-o", "{out}", "--job", "segment", "--format", "dcm"], 1, "expected mask formats among"),
        (["x", "-o", "{out}", "--job", "segment", "--option", "a"], 2, "expected NAME=VALUE"),
        (["x", "--job", "segment"], 2, "--output"),
        (["x", "-o", "{out}"], 2, "--job"),
        (["x", "-o", "{out}", "--job", "segment", "--workers", "0"], 2, "--workers"),
    ],
)
def test_bad_usage_is_one_sentence(tmp_path, arguments, code, sentence):
    done = run(*(argument.format(out=tmp_path / "out") for argument in arguments))
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/[a-z]*"))
