"""Weights without a network: files, folders and archives."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import pytest

from promptseg.errors import ModelError, WriteError
from promptseg.models import transfer
from promptseg.models.export import exported
from promptseg.models.settings import model_settings
from promptseg.models.weights import registry
from promptseg.models.weights.registry import ModelCard, WeightFile
from promptseg.models.weights.store import Store

CONTENT = b"weights" * 1000
TOY = ModelCard(
    "toy",
    "sam",
    "a toy",
    2,
    ("point",),
    "Apache-2.0",
    True,
    "nowhere",
    files=(WeightFile("toy.pth", hashes=("sha256:" + hashlib.sha256(CONTENT).hexdigest(),)),),
)


@pytest.fixture(autouse=True)
def toy_in_the_registry(monkeypatch):
    monkeypatch.setattr(registry, "_package_cards", lambda: {"toy": TOY})


@pytest.fixture
def brought(tmp_path):
    path = tmp_path / "stick" / "toy" / "toy.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def test_a_file_is_known_by_its_name_or_by_as(store, brought):
    assert transfer.import_weights(brought, store) == ("toy/toy.pth",)
    assert store.ensure(TOY)["checkpoint"].read_bytes() == CONTENT
    store.remove(TOY)
    renamed = brought.rename(brought.with_name("download(1).bin"))
    with pytest.raises(ModelError, match=r"toy\.pth\) or --as ID"):
        transfer.import_weights(renamed, store)
    assert transfer.import_weights(renamed, store, model_id="toy") == ("toy/toy.pth",)


def test_a_spoiled_file_is_refused(store, brought):
    brought.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="expected sha256"):
        transfer.import_weights(brought, store)
    assert not store.is_here(TOY)


def test_a_folder(store, brought):
    assert transfer.import_weights(brought.parent.parent, store) == ("toy/toy.pth",)


def test_pack_here_import_there(store, there, brought, tmp_path):
    transfer.import_weights(brought, store)
    archive = tmp_path / "weights.tar"
    assert transfer.pack_weights(["toy"], archive, store) == archive.stat().st_size
    with pytest.raises(WriteError, match="exists already"):
        transfer.pack_weights(["toy"], archive, store)
    assert transfer.import_weights(archive, there) == ("toy/toy.pth",)
    assert there.ensure(TOY)["checkpoint"].read_bytes() == CONTENT


ROW = """[mine]
family = "sam"
arch = "vit_b"
title = "mine"
dimensions = 2
prompts = ["point"]
licence = "own"
commercial_use = true
source = "me"
[[mine.files]]
name = "w.pth"
bytes = 7
"""


def write_own(folder, row=ROW, weights=b"weights"):
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(row)
    if weights is not None:
        (folder / "w.pth").write_bytes(weights)
    return folder


def write_export(folder, source_sha256):
    folder.mkdir(parents=True)
    for name in ("encoder.onnx", "decoder.onnx"):
        (folder / name).write_bytes(f"{name} of {source_sha256}".encode())
    (folder / "export.json").write_text(json.dumps({"source_sha256": source_sha256}))


@pytest.fixture
def there(tmp_path):
    """Another machine."""
    return Store(replace(model_settings(), models_dir=tmp_path / "there", offline=True))


def test_a_users_own_model_travels_with_its_row_and_exports(store, there, tmp_path):
    own = write_own(store.folder("mine"))
    sha256 = hashlib.sha256(b"weights").hexdigest()
    write_export(own / "onnx-fp32", sha256)
    write_export(own / "onnx-int8", "0" * 64)  # of other weights
    write_export(own / ".export-abc", sha256)  # left by a program that was killed
    (own / "other.pth.part").write_bytes(b"w")
    store.verify(registry.model_card("mine"), trust_on_first_use=True)
    transfer.pack_weights(["mine"], tmp_path / "mine.tar", store)
    files = ("w.pth", "onnx-fp32/decoder.onnx", "onnx-fp32/encoder.onnx", "onnx-fp32/export.json")
    with tarfile.open(tmp_path / "mine.tar") as tar:
        assert sorted(tar.getnames()) == sorted(f"mine/{name}" for name in (*files, "model.toml"))
    assert transfer.import_weights(tmp_path / "mine.tar", there) == tuple(f"mine/{name}" for name in files)
    for name in (*files, "model.toml"):
        assert (there.folder("mine") / name).read_bytes() == (own / name).read_bytes()
    card = registry.model_card("mine", there.settings.models_dir)
    assert card.user
    assert set(exported(there.folder("mine"), there.fingerprint(card))) == {"fp32"}


def test_exports_are_taken_with_their_own_weights_only(store, there, brought):
    write_export(brought.parent / "onnx-fp32", "0" * 64)
    write_export(brought.parent / "onnx-fp16", hashlib.sha256(CONTENT).hexdigest())
    (brought.parent / "onnx-int8").mkdir()
    (brought.parent / "onnx-int8" / "export.json").write_text("[]")
    taken = transfer.import_weights(brought.parent.parent, there)
    assert taken == ("toy/toy.pth", *(f"toy/onnx-fp16/{n}" for n in ("decoder.onnx", "encoder.onnx", "export.json")))
    assert sorted(p.name for p in there.folder("toy").iterdir()) == ["onnx-fp16", "toy.pth"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mine", {"weights": None}, r"expected the weights of model 'mine' beside .*, found no w\.pth"),
        ("mine", {"weights": b"weigh"}, "expected 7 bytes, got 5"),
        ("mine", {"row": ROW.replace("w.pth", "../../toy/w.pth")}, "found no|inside the folder"),
        ("mine", {"row": ROW + "colour = 1\n"}, "'mine' is incomplete"),
        ("mine", {"row": "[mine]\nfamily = "}, r"expected a table \[mine\]"),
        ("My Model", {"row": ROW.replace("[mine", '["My Model"')}, "expected an id"),
    ],
)
def test_an_own_model_is_taken_whole_or_not_at_all(there, tmp_path, name, changes, message):
    write_own(tmp_path / "stick" / name, **changes)
    with pytest.raises(ModelError, match=message):
        transfer.import_weights(tmp_path / "stick", there)
    assert set(registry.model_cards(there.settings.models_dir)) == {"toy"}
    assert not there.folder(name).exists()
    assert not list(there.settings.models_dir.glob("[!.]*"))


def test_what_cannot_be_packed_says_why(store, brought, tmp_path, monkeypatch):
    transfer.import_weights(brought, store)
    with pytest.raises(WriteError, match=r"cannot write .*absent.w\.tar"):
        transfer.pack_weights(["toy"], tmp_path / "absent" / "w.tar", store)
    monkeypatch.setattr(registry, "_package_cards", lambda: {"toy": replace(TOY, files=())})
    with pytest.raises(ModelError, match="'toy' has no weights to pack"):
        transfer.pack_weights(["toy"], tmp_path / "w.tar", store)
    assert not (tmp_path / "w.tar").exists()


def test_an_archive_that_is_cut_off_is_refused(there, brought, tmp_path):
    with tarfile.open(tmp_path / "w.tar.gz", "w:gz") as tar:
        tar.add(brought, arcname="toy/toy.pth")
    whole = (tmp_path / "w.tar.gz").read_bytes()
    (tmp_path / "w.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cannot be unpacked"):
        transfer.import_weights(tmp_path / "w.tar.gz", there)


def test_archives_that_reach_outside_are_refused(store, tmp_path):
    bad_tar = tmp_path / "bad.tar"
    with tarfile.open(bad_tar, "w") as tar:
        info = tarfile.TarInfo("../evil")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ModelError, match="cannot be unpacked"):
        transfer.import_weights(bad_tar, store)
    bad_zip = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad_zip, "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(ModelError, match="outside of its folder"):
        transfer.import_weights(bad_zip, store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="found none"):
        transfer.import_weights(tmp_path / "empty", store)
    with pytest.raises(ModelError, match="found nothing"):
        transfer.import_weights(tmp_path / "absent", store)
