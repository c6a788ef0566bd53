from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from promptseg.app.errors import FrameError
from promptseg.app.protocols.frames import pack, unpack

serialization = pytest.importorskip("nnInteractive.inference.remote.serialization")
LIMIT = 1 << 24
DTYPES = ["bool", "uint8", "int16", "uint16", "float16", "float32", "float64", "int64"]
EXAMPLE = bytes.fromhex(  # published in the protocol's description for [[1, 0], [0, 1]] of uint8
    "4e4e4941010102 05 75696e7438 0200000000000000 0200000000000000 01000000 0400000000000000 2400000000000000"
    "050107010400000004000000240000000000000000000500000000000000000001000001".replace(" ", "")
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1, 2, 3, 4)])
def test_2_the_published_client_reads_our_frames_and_we_read_its(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    theirs = serialization.unpack_array(pack(array))
    ours = unpack(serialization.pack_array(array), limit=LIMIT)
    for got in (theirs, ours):
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_the_published_example_is_read() -> None:
    np.testing.assert_array_equal(unpack(EXAMPLE, limit=LIMIT), [[1, 0], [0, 1]])


def test_2_big_endian_arrays_travel_as_little_endian() -> None:
    array = np.arange(12, dtype=">i2").reshape(3, 4)
    np.testing.assert_array_equal(serialization.unpack_array(pack(array)), array)


def test_2_zeros_whose_length_is_odd_survive() -> None:
    array = np.zeros(707_658, np.uint8)
    np.testing.assert_array_equal(serialization.unpack_array(pack(array)), array)
    np.testing.assert_array_equal(unpack(serialization.pack_array(array), limit=LIMIT), array)


@given(hnp.arrays(hnp.scalar_dtypes().filter(lambda d: d.name in DTYPES), hnp.array_shapes(max_dims=4)))
def test_every_array_comes_back(array: np.ndarray) -> None:
    got = unpack(pack(array), limit=LIMIT)
    assert got.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(got, array)


def _frame(name: bytes = b"uint8", shape: tuple[int, ...] = (4,), magic: bytes = b"NNIA", version: int = 1) -> bytes:
    good = pack(np.ones(4, np.uint8))
    chunks = good[4 + 4 + 5 + 8 :]
    return (
        magic
        + struct.pack("<BBBB", version, 1, len(shape), len(name))
        + name
        + struct.pack(f"<{len(shape)}q", *shape)
        + chunks
    )


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"NNIA",
        _frame(magic=b"XXXX"),
        _frame(version=2),
        _frame(name=b"object"),
        _frame(name=b"<f4"),
        _frame(name=b"S4"),
        _frame(shape=(1 << 60,)),
        _frame(shape=(-4,)),
        _frame(shape=(5,)),
        _frame(shape=(3,)),
        _frame()[:-3],
        _frame()[:-36] + b"\0" * 36,
        _frame().replace(struct.pack("<QQ", 4, 36), struct.pack("<QQ", 3, 36)),
    ],
    ids=str,
)
def test_2_damaged_frames_are_refused_before_memory_is_taken(frame: bytes) -> None:
    with pytest.raises(FrameError, match=r"expected|chunk"):
        unpack(frame, limit=LIMIT)


def test_the_unchanged_frame_of_those_above_is_good() -> None:
    np.testing.assert_array_equal(unpack(_frame(), limit=LIMIT), np.ones(4, np.uint8))


@given(st.binary(max_size=200), st.integers(0, 84))
def test_no_bytes_crash_the_reader(noise: bytes, at: int) -> None:
    for frame in (noise, EXAMPLE[:at] + noise + EXAMPLE[at + len(noise) :]):
        try:
            unpack(frame, limit=1 << 20)
        except FrameError:
            continue
