"""Slices into networks' inputs, one way per project; each against an independent implementation."""

import cv2
import numpy as np
import pytest

from promptseg.errors import ModelError
from promptseg.models.families.sam.frames import KINDS, Frame, content, prepare, prepare_cut
from promptseg.models.families.sam.planes import inputs

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("which", [0, 1, 2], ids=["CT grows", "X-ray shrinks", "ultrasound in colour"])
def test_medsam_s_input_is_its_own_script_s_to_the_bit(slices, which):
    """The lines of MedSAM_Inference.py."""
    transform = pytest.importorskip("skimage.transform", reason="scikit-image is not installed")
    image = slices[which]
    rgb = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image
    grown = transform.resize(rgb, (256, 256), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    expected = (grown - grown.min()) / np.clip(grown.max() - grown.min(), a_min=1e-8, a_max=None)
    planes, frame = prepare("medsam", image.astype(np.float32) / 255, 256)
    made = inputs([planes])[0]
    assert frame.inner == (256, 256)
    assert np.array_equal(made, expected.transpose(2, 0, 1).astype(np.float32))


def test_lite_medsam_keeps_the_shape_and_pads(slices):
    image = slices[1]
    scale = 256 / max(image.shape)
    size = (int(image.shape[1] * scale + 0.5), int(image.shape[0] * scale + 0.5))
    small = cv2.resize(np.repeat(image[..., None], 3, 2), size, interpolation=cv2.INTER_AREA)
    expected = np.pad((small - small.min()) / (small.max() - small.min()), ((0, 256 - size[1]), (0, 0), (0, 0)))
    planes, frame = prepare("lite-medsam", image.astype(np.float32) / 255, 256)
    made = inputs([planes])[0]
    assert frame.inner == size[::-1]
    assert np.abs(made - expected.transpose(2, 0, 1)).max() < 1e-6


def test_sam_med2d_normalises_then_takes_the_nearest(slices):
    image = slices[2]
    normalised = (image - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    expected = cv2.resize(normalised, (256, 256), interpolation=cv2.INTER_NEAREST).transpose(2, 0, 1)
    planes, frame = prepare("sam-med2d", image.astype(np.float32) / 255, 256)
    made = inputs([planes])[0]
    assert frame.inner == (256, 256)
    assert np.abs(made - expected).max() < 1e-5


def test_sam2_agrees_with_torch_s_antialiased_resampling(slices):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    image = slices[2]
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)[0]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (resized - mean[:, None, None]) / deviation[:, None, None]
    planes, _ = prepare("sam2", image.astype(np.float32) / 255, 224)
    made = inputs([planes])[0]
    assert np.abs(made - expected.numpy()).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (8, 8), (130, 77), (60, 50, 3)])
def test_any_shape_and_value_is_taken_and_given_back(kind, shape):
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    pixels.flat[0], pixels.flat[-1] = np.nan, np.inf
    planes, frame = prepare(kind, pixels, 64)
    made = inputs([planes])[0]
    assert np.isfinite(made).all()
    assert made.shape == ((3, *shape[:2]) if kind == "as-is" else (3, 64, 64))
    assert made.dtype == np.float32
    low = np.zeros(shape[:2] if kind == "as-is" else (16, 16), np.float32)
    assert frame.restore(low).shape == shape[:2]
    assert frame.lower(np.ones(shape[:2], np.float32), (16, 16), 16).shape == (16, 16)


def test_coordinates_follow_the_slice_into_its_frame():
    frame = Frame("sam", (100, 200), (512, 1024), 1024)
    assert frame.to_input(np.array([[10, 20], [99, 0]], np.float32)).tolist() == pytest.approx(
        np.array([[102.4, 51.2], [0, 506.88]]), abs=1e-3
    )
    stretched = Frame("sam2", (100, 200), (1024, 1024), 1024)
    assert stretched.to_input(np.array([[50, 50]], np.float32)).tolist() == [[256, 512]]


def test_a_mask_goes_down_and_up_again():
    frame = Frame("sam", (120, 200), (154, 256), 256)
    logits = np.full((120, 200), -6, np.float32)
    logits[30:80, 50:150] = 6
    low = frame.lower(logits, (64, 64), 64)
    assert (low[39:] == -10).all()  # where there is no slice
    back = frame.restore(low) > 0
    assert (back & (logits > 0)).sum() / (back | (logits > 0)).sum() > 0.9


def test_what_is_cut_out_on_all_sides_comes_back_where_it_was():
    pixels = np.zeros((128, 128), np.float32)
    pixels[40:80, 56:120] = 0.5
    planes, frame = prepare_cut("sam", pixels, 256)
    assert frame.cut == (32, 48, 88, 128)
    assert planes.edges == (112, 160)
    low = np.full((28, 40), -8, np.float32)  # a quarter of the input, as the decoder answers
    low[4:24, 4:36] = 8  # the object, as it lies in the cut
    back = frame.restore(low, 64) > 0
    union = (back | (pixels > 0)).sum()
    assert (back & (pixels > 0)).sum() > 0.95 * union
    assert np.abs(frame.lower(np.where(pixels > 0, 8, -8).astype(np.float32), (28, 40), 64) - low).max() < 1e-3
    assert frame.to_input(np.array([[32, 48]], np.float32)).tolist() == [[0, 0]]


def test_a_table_is_cut_off_and_what_is_thick_stays():
    y, x = np.mgrid[:200, :200].astype(np.float32)
    body = (y - 90) ** 2 + (x - 100) ** 2 < 40**2
    arm = (y - 90) ** 2 + (x - 20) ** 2 < 8**2
    table = (np.abs(y - 150) < 2) & (np.abs(x - 100) < 90)  # 3 pixels thick
    pixels = (0.5 * (body | arm | table)).astype(np.float32)
    assert content(pixels, (1.0, 1.0)) == (50 - 7, 12 - 7, 131 + 7, 140 + 8)
    assert content(pixels, (4.0, 4.0))[2] > 150  # there the same pixels are 12 mm thick
    alone = content(0.5 * table.astype(np.float32))
    assert alone is not None  # nothing else is there, so it is what is meant
    assert alone[2] > 150
    assert content(np.zeros((9, 9), np.float32)) is None
    assert content(np.ones((9, 9, 3), np.float32)) is None


def test_padding_is_left_out_in_whole_patches_and_stretched_inputs_stay():
    pixels = np.random.default_rng(0).random((50, 128)).astype(np.float32)
    assert prepare_cut("sam", pixels, 128)[0].edges == (64, 128)
    assert prepare_cut("lite-medsam", pixels, 256)[0].edges == (112, 256)
    assert prepare_cut("medsam", pixels, 64)[0].edges == (64, 64)


def test_an_unknown_way_is_named():
    with pytest.raises(ModelError, match="did you mean 'medsam'"):
        prepare("medsamm", np.zeros((5, 5), np.float32), 64)
