"""Hashes as the registry writes them."""

import subprocess

import pytest

from promptseg.errors import ModelError
from promptseg.models.weights.digests import check_hashes, digest_file, parse_hash


@pytest.fixture
def hello(tmp_path):
    path = tmp_path / "hello.bin"
    path.write_bytes(b"hello\n")
    return path


def test_known_values(hello):
    found = digest_file(hello, ("sha256", "git-blob"))
    assert found["sha256"] == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert found["git-blob"] == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_git_agrees(hello):
    try:
        said = subprocess.run(["git", "hash-object", str(hello)], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert said.stdout.strip() == digest_file(hello, ("git-blob",))["git-blob"]


def test_xxh128_agrees_with_the_package(hello):
    xxhash = pytest.importorskip("xxhash", reason="xxhash is not installed")
    assert digest_file(hello, ("xxh128",))["xxh128"] == xxhash.xxh128(b"hello\n").hexdigest()


def test_a_mismatch_is_a_sentence(hello):
    sha256, text = check_hashes(hello, ("sha256:" + "0" * 64,))
    assert sha256.startswith("5891b5b5")
    assert text.startswith("expected sha256 000")
    assert "got 5891" in text
    assert check_hashes(hello, ("git-blob:ce013625030ba8dba906f756967f9e9ca394464a",)) == (sha256, "")


@pytest.mark.parametrize("text", ["md5:00", "sha256:12", "sha256:" + "x" * 64, "5891"])
def test_a_malformed_hash_is_refused(text):
    with pytest.raises(ModelError, match="expected a hash like"):
        parse_hash(text)
