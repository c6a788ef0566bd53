"""What the README says runs as it stands there."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import promptseg

from promptseg.example import example_path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
COMMANDS = re.findall(r"^    (promptseg [^\n]*?)(?:  +#.*)?$", TEXT, re.M)


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the README's examples name."""
    shutil.copy(example_path(), tmp_path / "scan.nii.gz")
    return tmp_path


def test_there_is_something_to_run():
    assert PYTHON
    assert len(COMMANDS) >= 2


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_snippets_run(folder, code):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(folder, shared_data, command):
    (folder / "dicom_folder").symlink_to(shared_data / "ct_ts_dicom_j2k" / "dicom")
    done = promptseg(*shlex.split(command)[1:], cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_two_commands_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", TEXT, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
