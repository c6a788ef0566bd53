"""Weights without a network: files, folders and archives."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace

import pytest

from promptseg.errors import ModelError, WriteError
from promptseg.models import registry, transfer
from promptseg.models.registry import ModelCard, WeightFile
from promptseg.models.settings import model_settings
from promptseg.models.store import Store

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


def test_pack_here_import_there(store, brought, tmp_path):
    transfer.import_weights(brought, store)
    archive = tmp_path / "weights.tar"
    assert transfer.pack_weights(["toy"], archive, store) == archive.stat().st_size
    with pytest.raises(WriteError, match="exists already"):
        transfer.pack_weights(["toy"], archive, store)
    there = Store(replace(model_settings(), models_dir=tmp_path / "there", offline=True))
    assert transfer.import_weights(archive, there) == ("toy/toy.pth",)
    assert there.ensure(TOY)["checkpoint"].read_bytes() == CONTENT


def test_a_users_own_model_travels_with_its_row(store, tmp_path):
    own = store.folder("mine")
    own.mkdir(parents=True)
    (own / "model.toml").write_text(
        '[mine]\nfamily = "sam"\narch = "vit_b"\ntitle = "mine"\ndimensions = 2\nprompts = ["point"]\n'
        'licence = "own"\ncommercial_use = true\nsource = "me"\n[[mine.files]]\nname = "w.pth"\n'
    )
    (own / "w.pth").write_bytes(b"w")
    card = registry.model_card("mine")
    store.verify(card, trust_on_first_use=True)
    archive = tmp_path / "mine.tar"
    transfer.pack_weights(["mine"], archive, store)
    there = Store(replace(model_settings(), models_dir=tmp_path / "there"))
    assert transfer.import_weights(archive, there) == ("mine/w.pth",)
    assert registry.model_card("mine", there.settings.models_dir).user


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
