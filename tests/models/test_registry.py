"""The list of models, and the choice of a device."""

import pytest

from promptseg.errors import DeviceError, UnknownModelError
from promptseg.models.loading import load_predictor
from promptseg.models.registry import model_card, model_cards
from promptseg.models.runtime import choose_device, onnx_distributions


def test_every_row_has_card_licence_and_source():
    assert "builtin" in model_cards()
    for card in model_cards().values():
        assert card.text.startswith(f"# {card.id}")
        assert "not a medical device" in card.text
        assert card.licence
        assert card.source
        assert set(card.prompts) <= {"point", "box", "scribble", "lasso", "mask", "text"}


def test_an_unknown_model_names_the_near_ones():
    with pytest.raises(UnknownModelError, match=r"did you mean 'builtin'"):
        model_card("bilt-in")
    with pytest.raises(UnknownModelError):
        load_predictor("nothing", device="cuda:99")  # the model is reported before the device


def test_cpu_is_cpu_and_a_missing_gpu_is_an_error():
    assert str(choose_device("cpu")) == "cpu"
    with pytest.raises(DeviceError, match=r"number 99.*use device='cpu'"):
        choose_device("cuda:99")
    with pytest.raises(DeviceError, match="expected a device"):
        choose_device("tpu")


def test_exactly_one_onnx_runtime_is_installed():
    assert len(onnx_distributions()) == 1
