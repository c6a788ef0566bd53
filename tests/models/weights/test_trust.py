"""A shared folder of weights that this user may only read."""

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from promptseg.errors import ModelError
from promptseg.models.weights.registry import ModelCard, WeightFile
from promptseg.models.weights.store import Store

CONTENT = b"weights" * 1000
FILE = WeightFile("toy.pth", hashes=("sha256:" + hashlib.sha256(CONTENT).hexdigest(),))
TOY = ModelCard("toy", "sam", "a toy", 2, ("point",), "Apache-2.0", True, "nowhere", files=(FILE,))
UNPUBLISHED = replace(TOY, files=(replace(FILE, hashes=()),))
NOBODY = 65534

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's rights")


@pytest.fixture
def brought(tmp_path):
    path = tmp_path / "toy.pth"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def shared(own_folders):
    """A folder that everybody may read, as an administrator sees it; pytest's own are their owner's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Store(replace(own_folders, models_dir=Path(name)))


@contextmanager
def as_reader(store):
    """Nobody may write there, and this is not root."""
    folder = store.settings.models_dir
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError):
            (folder / "new").touch()
        yield Store(store.settings)
    finally:
        if was_root:
            os.seteuid(0)
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def later(path):
    """The same content at another time, as after a copy."""
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("has_lock_file", [True, False])
def test_a_published_hash_is_enough_where_nothing_can_be_written(shared, brought, has_lock_file, monkeypatch):
    path = shared.adopt(TOY, FILE, brought)
    expected = shared.fingerprint(TOY)
    later(path)
    if not has_lock_file:
        shared.trust.path.unlink()
    with as_reader(shared) as store:
        assert store.ensure(TOY) == {"checkpoint": path}
        assert store.fingerprint(TOY) == expected
        assert [finding.state for finding in store.verify(TOY)] == ["ok"]
        with monkeypatch.context() as patched:  # once in a process is enough: these are gigabytes
            patched.setattr("promptseg.models.weights.store.check_hashes", lambda *_: pytest.fail("it was read again"))
            assert Store(store.settings).ensure(TOY) == {"checkpoint": path}
        with pytest.raises(ModelError, match="cannot write into"):
            store.pull(replace(TOY, id="other"))


def test_a_pinned_file_is_checked_by_its_pin(shared, brought):
    path = shared.adopt(UNPUBLISHED, UNPUBLISHED.files[0], brought, trust_on_first_use=True)
    later(path)
    with as_reader(shared) as store:
        assert store.ensure(UNPUBLISHED) == {"checkpoint": path}
    path.write_bytes(CONTENT[:-1] + b"!")
    with as_reader(shared) as store, pytest.raises(ModelError, match="expected sha256"):
        store.ensure(UNPUBLISHED)


def test_a_first_use_must_be_written_down(shared, brought):
    path = shared.path("toy", FILE)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    with as_reader(shared) as store:
        [finding] = store.verify(UNPUBLISHED, trust_on_first_use=True)
        assert (finding.state, "cannot write the lock file" in finding.text) == ("unpinned", True)
        with pytest.raises(ModelError, match="never checked"):
            store.ensure(UNPUBLISHED)
        with pytest.raises(ModelError, match="cannot write the lock file"):
            store.trust.accept("toy", "a licence")
