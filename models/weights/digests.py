"""Hashes as "algorithm:hex", computed while a file streams by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from promptseg.errors import MissingExtraError, ModelError

__all__ = ["ALGORITHMS", "check_computable", "check_hashes", "digest_file", "parse_hash"]

ALGORITHMS = {"sha256": 64, "xxh128": 32, "git-blob": 40}
"""Algorithm to length of its hex digits; git-blob is the SHA-1 of "blob <size>\\0" and the content."""

CHUNK_BYTES = 1 << 20


def parse_hash(text: str) -> tuple[str, str]:
    """Split "algorithm:hex".

    Raises:
        ModelError: unknown algorithm or wrong length.
    """
    algorithm, _, digits = text.partition(":")
    digits = digits.lower()
    length = ALGORITHMS.get(algorithm)
    if length is None or len(digits) != length or any(c not in "0123456789abcdef" for c in digits):
        raise ModelError(f"expected a hash like sha256:<64 hex digits> ({', '.join(ALGORITHMS)}), got {text!r}")
    return algorithm, digits


def _new(algorithm: str, size: int) -> Any:
    if algorithm == "sha256":
        return hashlib.sha256()
    if algorithm == "git-blob":
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    try:
        import xxhash
    except ImportError as exc:
        raise MissingExtraError("xxhash", "sam") from exc
    return xxhash.xxh128()


def digest_file(
    path: Path, algorithms: Iterable[str] = ("sha256",), on_bytes: Callable[[int], None] | None = None
) -> dict[str, str]:
    """Hash a file once for all algorithms.

    Args:
        path: the file.
        algorithms: names of ``ALGORITHMS``.
        on_bytes: called with the number of bytes of every chunk.

    Returns:
        Algorithm to lower-case hex.

    Raises:
        MissingExtraError: xxh128 is asked for and the package xxhash is not installed.
    """
    size = path.stat().st_size
    hashers = {name: _new(name, size) for name in algorithms}
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            for hasher in hashers.values():
                hasher.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def _wanted(expected: tuple[str, ...]) -> dict[str, str]:
    """Algorithm to hex; xxh128 needs an extra package: it is left out when a stronger hash is expected as well."""
    wanted = dict(parse_hash(text) for text in expected)
    if "sha256" in wanted:
        wanted.pop("xxh128", None)
    return wanted


def check_computable(expected: tuple[str, ...]) -> None:
    """Say before a long download, not after it, that a package is missing.

    Raises:
        MissingExtraError: ``check_hashes`` would need a package that is not installed.
    """
    for algorithm in _wanted(expected):
        _new(algorithm, 0)


def check_hashes(path: Path, expected: tuple[str, ...]) -> tuple[str, str]:
    """Hash a file and compare with every expected hash that is needed; see ``_wanted``.

    Returns:
        (its sha256, the first mismatch as a sentence or "").

    Raises:
        MissingExtraError: see ``check_computable``.
    """
    wanted = _wanted(expected)
    found = digest_file(path, {"sha256", *wanted})
    for algorithm, digits in wanted.items():
        if found[algorithm] != digits:
            return found["sha256"], f"expected {algorithm} {digits}, got {found[algorithm]}"
    return found["sha256"], ""
