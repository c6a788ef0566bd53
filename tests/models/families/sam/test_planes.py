"""Slices on their way to a network: what a device makes of bytes is what the host makes, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from promptseg.models.families.sam.frames import KINDS, prepare, prepare_cut
from promptseg.models.families.sam.planes import ROUNDING_BITS, inputs, taps

torch = pytest.importorskip("torch", reason="torch is not installed")

from promptseg.models.families.sam.planes_on_torch import made_on  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_a_line_of_bytes_is_resampled_as_pillow_does(size, wanted, seed):
    line = np.random.default_rng(seed).integers(0, 256, (1, size), np.uint8)
    theirs = np.asarray(Image.fromarray(line).resize((wanted, 1), Image.Resampling.BILINEAR))[0]
    places, weights = taps(size, wanted)
    total = (line[0].astype(np.int64)[places] * weights).sum(1) + (1 << (ROUNDING_BITS - 1))
    assert np.array_equal(np.clip(total >> ROUNDING_BITS, 0, 255), theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 40), (130, 77), (64, 64), (60, 50, 3)])
def test_a_device_makes_of_planes_what_the_host_makes(kind, shape):
    random = np.random.default_rng(0)
    batch = [prepare(kind, random.random(shape).astype(np.float32) * (0.5 + i), 64)[0] for i in range(3)]
    assert np.array_equal(made_on(CPU, batch).numpy(), inputs(batch))


def test_what_nobody_sees_stays_on_the_host():
    pixels = np.zeros((128, 128), np.float32)
    pixels[40:80, 56:120] = np.linspace(0.2, 0.9, 64)
    planes, _ = prepare_cut("sam", pixels, 256)
    assert planes.levels.dtype == np.uint8
    assert planes.levels.size < pixels.size // 2
    assert np.array_equal(made_on(CPU, [planes]).numpy(), inputs([planes]))


def test_grey_is_sent_once_and_slices_of_other_sizes_go_apart():
    grey, _ = prepare("sam", np.zeros((30, 40), np.float32), 64)
    colour, _ = prepare("sam", np.zeros((30, 40, 3), np.float32), 64)
    larger, _ = prepare("sam", np.zeros((60, 80), np.float32), 64)
    assert grey.levels.nbytes == 30 * 40
    assert len({planes.likeness for planes in (grey, colour, larger)}) == 3
    assert np.array_equal(inputs([grey]), inputs([colour]))
