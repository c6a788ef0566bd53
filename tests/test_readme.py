"""What the README and the tutorials say runs as it stands there."""

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import promptseg

from promptseg.example import example_path

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (promptseg [^\n]*?)(?:  +#.*)?$", TEXT, re.M)
MOST_WORDS = 800
PAGES = (
    "README.md",
    "docs/tutorials/from-python.md",
    "docs/tutorials/correct-a-result.md",
    "docs/tutorials/own-model.md",
)


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the README's examples name."""
    shutil.copy(example_path(), tmp_path / "scan.nii.gz")
    return tmp_path


def test_the_readme_is_short_and_has_something_to_run():
    assert len(TEXT.split()) <= MOST_WORDS
    assert TEXT.count("```python") == 1
    assert len(COMMANDS) >= 2


@pytest.mark.parametrize("page", PAGES)
def test_python_runs_from_the_first_block_to_the_last(folder, page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    assert blocks
    with contextlib.chdir(folder):
        exec(compile("\n".join(blocks), page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(folder, shared_data, command):
    (folder / "dicom_folder").symlink_to(shared_data / "ct_ts_dicom_j2k" / "dicom")
    done = promptseg(*shlex.split(command)[1:], cwd=folder)
    assert done.returncode == 0, done.stderr


def test_what_make_is_asked_for_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"`make (\w+)`", TEXT)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)
