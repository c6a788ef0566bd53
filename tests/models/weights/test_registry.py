"""The list of models, and the choice of a device."""

import re

import pytest

from promptseg.errors import DeviceError, ModelError, UnknownModelError
from promptseg.models.loading import load_predictor
from promptseg.models.runtime import choose_device, onnx_distributions
from promptseg.models.table import markdown_table, size_text
from promptseg.models.weights.digests import parse_hash
from promptseg.models.weights.registry import card_from_row, model_card, model_cards

NAMED = {
    *("sam-vit-b", "sam-vit-l", "sam-vit-h", "medico-sam-vit-b", "medsam-vit-b", "mobile-sam", "lite-medsam"),
    *("sam-med2d", "sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large", "medsam2"),
    *("efficient-sam-ti", "nninteractive"),
}


def test_every_row_has_card_licence_and_source():
    assert "builtin" in model_cards()
    assert set(model_cards()) >= NAMED
    for card in model_cards().values():
        assert card.text.startswith(f"# {card.id}")
        assert "not a medical device" in card.text
        assert card.licence
        assert card.source
        assert set(card.prompts) <= {"point", "box", "scribble", "lasso", "mask", "text"}


def test_every_file_has_a_cited_hash_or_says_that_there_is_none():
    for card in model_cards().values():
        for file in card.files:
            for text in file.hashes:
                parse_hash(text)
            assert file.hash_source, f"{card.id}: no source of the hash of {file.name}"
            assert bool(file.hashes) != ("none published" in file.hash_source)
            assert file.urls or file.how
            assert all(u.startswith("https://") for u in file.urls)
            if not file.hashes:
                assert "--trust-on-first-use" in card.text


def test_an_unknown_model_names_the_near_ones():
    with pytest.raises(UnknownModelError, match=r"did you mean 'builtin'"):
        model_card("bilt-in")
    with pytest.raises(UnknownModelError):
        load_predictor("nothing", device="cuda:99")  # the model is reported before the device


def test_a_broken_row_is_named():
    with pytest.raises(ModelError, match=r"'x' has unknown fields: colour"):
        card_from_row("x", {"colour": "red"})
    with pytest.raises(ModelError, match="'x' is incomplete"):
        card_from_row("x", {"family": "sam"})


def test_a_users_broken_row_is_reported_when_it_is_asked_for(own_folders):
    row = own_folders.models_dir / "mine" / "model.toml"
    row.parent.mkdir(parents=True)
    row.write_text("[mine]\nfamily = ")
    assert "mine" not in model_cards()
    with pytest.raises(ModelError, match=r"expected a table \[mine\] in"):
        model_card("mine")
    row.write_text('[mine]\nfamily = "sam"')
    with pytest.raises(ModelError, match="'mine' is incomplete"):
        model_card("mine")


def test_a_licence_alone_can_be_accepted(store):
    card = model_card("nninteractive")
    with pytest.raises(ModelError, match="CC-BY-NC-SA"):
        store.pull(card)
    assert store.pull(card, accept_licence=True) == {}
    assert store.trust.has_accepted("nninteractive", card.licence)


def test_the_table_has_one_line_per_model():
    lines = markdown_table(model_cards().values()).splitlines()
    assert len(lines) == 2 + len(model_cards())
    assert all(line.count("|") == 7 for line in lines)
    assert re.search(r"`sam-vit-b` .* 375 MB \| sha256, xxh128 \|", "\n".join(lines))
    assert re.search(r"`medsam2` .* on first use .*no commercial use", "\n".join(lines))


def test_sizes_for_people():
    assert [size_text(n) for n in (0, 12, 3200, 40_728_226, 2_564_550_879)] == [
        "?",
        "12 B",
        "3.2 kB",
        "41 MB",
        "2.6 GB",
    ]


def test_cpu_is_cpu_and_a_missing_gpu_is_an_error():
    assert str(choose_device("cpu")) == "cpu"
    with pytest.raises(DeviceError, match=r"number 99.*use device='cpu'"):
        choose_device("cuda:99")
    with pytest.raises(DeviceError, match="expected a device"):
        choose_device("tpu")


def test_exactly_one_onnx_runtime_is_installed():
    assert len(onnx_distributions()) == 1
