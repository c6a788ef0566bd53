"""Files of weights: what is safe and whole is read, everything else is refused with what was expected and found."""

import os
import pickle
import zipfile
from collections import OrderedDict

import pytest

from promptseg.errors import ModelError
from promptseg.models.checkpoints import match_keys, read_state

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return (os.system, (f"touch {self.touched}",))


@pytest.fixture
def state():
    return OrderedDict(
        {"image_encoder.pos_embed": torch.rand(1, 4, 4, 768), "mask_decoder.iou_token.weight": torch.rand(1, 8)}
    )


def same(a, b):
    return set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


def test_containers_and_wrappers_are_taken_off(tmp_path, state):
    forms = {
        "plain": state,
        "sam2": {"model": state},
        "lightning": {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3},
        "torch_em": {"model_state": {f"sam.{k}": v for k, v in state.items()}},
        "parallel": {f"module.{k}": v for k, v in state.items()},
    }
    for name, content in forms.items():
        torch.save(content, tmp_path / f"{name}.pth")
        assert same(read_state(tmp_path / f"{name}.pth"), state), name


def test_old_layout_and_safetensors(tmp_path, state):
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_state(tmp_path / "old.pth"), state)
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    safetensors.save_file(dict(state), tmp_path / "w.safetensors")
    assert same(read_state(tmp_path / "w.safetensors"), state)
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        read_state(tmp_path / "cut.safetensors")


@pytest.mark.parametrize("new", [True, False])
def test_code_is_refused_and_never_run(tmp_path, state, new):
    touched = tmp_path / "touched"
    torch.save({"model": state, "extra": Evil(touched)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(ModelError, match=r"refused.*run any code.*system"):
        read_state(tmp_path / "evil.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Evil(touched)))
    with pytest.raises(ModelError, match=r"refused|damaged"):
        read_state(tmp_path / "bare.pth")
    assert not touched.exists()


def test_cut_off_and_foreign_files(tmp_path, state):
    torch.save(state, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ModelError, match="cut off"):
        read_state(tmp_path / "cut.pth")
    (tmp_path / "page.pth").write_bytes(b"<html>login</html>")
    with pytest.raises(ModelError, match="expected a torch checkpoint"):
        read_state(tmp_path / "page.pth")
    with pytest.raises(ModelError, match=r"expected 5 bytes, got"):
        read_state(tmp_path / "whole.pth", expected_bytes=5)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="found list"):
        read_state(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="found epoch"):
        read_state(tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="cannot read"):
        read_state(tmp_path / "absent.pth")


def test_a_packed_file_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * 10_000_000)
    with pytest.raises(ModelError, match=r"unpack to 10,000,000 bytes"):
        read_state(tmp_path / "bomb.pth")


def test_a_file_larger_than_the_memory_is_not_read(tmp_path, state, monkeypatch):
    torch.save(state, tmp_path / "w.pth")
    monkeypatch.setattr("promptseg.models.checkpoints.available_memory_bytes", lambda: 10)
    with pytest.raises(ModelError, match="only 10 bytes of memory are free"):
        read_state(tmp_path / "w.pth")


def test_keys_and_shapes_are_counted_and_named(state):
    expected = {"a": torch.zeros(2), "b": torch.zeros(3), "image_encoder.pos_embed": torch.zeros(1, 4, 4, 32)}
    with pytest.raises(ModelError) as caught:
        match_keys(state, expected, "tiny in w.pth")
    text = str(caught.value)
    assert "2 missing (a, b)" in text
    assert "1 unexpected (mask_decoder.iou_token.weight)" in text
    assert "image_encoder.pos_embed is (1, 4, 4, 768) instead of (1, 4, 4, 32)" in text
    assert "looks like SAM vit_b for 64 px" in text
    kept = match_keys(state, {"image_encoder.pos_embed": torch.zeros(1, 4, 4, 768)}, "x", ignored=("mask_decoder.",))
    assert list(kept) == ["image_encoder.pos_embed"]
