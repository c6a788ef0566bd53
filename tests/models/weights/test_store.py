"""Weights on disk: pull, resume, refuse, verify, remove; against a real web server."""

import hashlib
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from promptseg.errors import Cancelled, ModelError
from promptseg.models.settings import model_settings
from promptseg.models.weights import download
from promptseg.models.weights.registry import ModelCard, WeightFile
from promptseg.models.weights.store import Store

CONTENT = bytes(range(256)) * 5000  # 1.28 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def card_for(*files, **changes):
    row = ModelCard("toy", "sam", "a toy", 2, ("point",), "Apache-2.0", True, "nowhere", files=files)
    return replace(row, **changes)


@pytest.fixture
def file(file_server):
    file_server.files["/toy.pth"] = CONTENT
    return WeightFile("toy.pth", urls=(f"{file_server.url}/toy.pth",), hashes=(f"sha256:{SHA256}",), bytes=len(CONTENT))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


def test_pull_then_ensure_without_a_network(store, file, file_server):
    card, seen = card_for(file), []
    with pytest.raises(ModelError, match="promptseg models pull toy"):
        store.ensure(card)
    found = store.pull(card, on_bytes=lambda done, total: seen.append((done, total)))
    assert found["checkpoint"].read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert store.ensure(card) == found
    assert store.pull(card) == found
    assert len(file_server.requests) == 1
    assert sorted(p.name for p in store.folder("toy").iterdir()) == ["toy.pth"]


def test_a_cut_connection_is_resumed(store, file, file_server):
    file_server.cut_after = 500_000
    store.pull(card_for(file))
    assert [wanted for _, wanted in file_server.requests] == ["", "bytes=500000-"]


def test_a_part_of_another_version_is_not_continued(store, file, file_server):
    file_server.cut_after = 500_000
    folder = store.folder("toy")
    folder.mkdir(parents=True)
    (folder / "toy.pth.part").write_bytes(b"old" * 1000)
    (folder / "toy.pth.part.etag").write_text('"another version"')
    found = store.pull(card_for(file))
    assert found["checkpoint"].read_bytes() == CONTENT
    assert file_server.requests[0][1] == "bytes=3000-"


def test_a_wrong_hash_leaves_nothing(store, file):
    wrong = replace(file, hashes=("sha256:" + "1" * 64,))
    with pytest.raises(ModelError, match=r"expected sha256 1111.*got .*thrown away"):
        store.pull(card_for(wrong))
    assert list(store.folder("toy").iterdir()) == []
    with pytest.raises(ModelError, match="expected 17 bytes"):
        store.pull(card_for(replace(file, bytes=17)))
    assert list(store.folder("toy").iterdir()) == []


def test_a_mirror_is_tried_first_and_its_failure_is_survived(own_folders, file, file_server):
    file_server.files["/mirror/toy/toy.pth"] = b"spoiled"
    settings = replace(own_folders, mirrors=(f"{file_server.url}/gone", f"{file_server.url}/mirror"))
    found = Store(settings).pull(card_for(file))
    assert [path for path, _ in file_server.requests] == ["/gone/toy/toy.pth", "/mirror/toy/toy.pth", "/toy.pth"]
    assert found["checkpoint"].read_bytes() == CONTENT


def test_a_shared_folder_is_a_mirror_even_offline(own_folders, file, file_server, tmp_path):
    (tmp_path / "share" / "toy").mkdir(parents=True)
    (tmp_path / "share" / "toy" / "toy.pth").write_bytes(CONTENT)
    settings = replace(own_folders, mirrors=((tmp_path / "share").as_uri(),), offline=True)
    Store(settings).pull(card_for(file))
    assert file_server.requests == []


def test_the_hub_can_be_replaced(own_folders, file_server, file):
    file_server.files["/a/b/resolve/main/toy.pth"] = CONTENT
    at_hub = replace(file, urls=("https://huggingface.co/a/b/resolve/main/toy.pth",))
    Store(replace(own_folders, hf_endpoint=file_server.url)).pull(card_for(at_hub))
    assert file_server.requests == [("/a/b/resolve/main/toy.pth", "")]


def test_offline_says_what_to_do_and_asks_nobody(own_folders, file, file_server):
    store = Store(replace(own_folders, offline=True))
    with pytest.raises(ModelError, match=r"the settings say offline.*models import FILE --as toy"):
        store.pull(card_for(file))
    assert file_server.requests == []


@pytest.mark.parametrize(
    ("knob", "message"), [({"web_page": True}, "sent a web page"), ({"files": {}}, "answered HTTP 404")]
)
def test_what_is_not_the_file_is_named(store, file, file_server, knob, message):
    for name, value in knob.items():
        setattr(file_server, name, value)
    with pytest.raises(ModelError, match=message):
        store.pull(card_for(replace(file, how="ask Anna")))
    assert not store.is_here(card_for(file))


@pytest.mark.parametrize("is_own", [False, True])
def test_without_a_published_hash_the_first_use_pins(store, file, file_server, is_own):
    card = card_for(replace(file, hashes=(), bytes=0, hash_source="none published"))
    with pytest.raises(ModelError, match=r"none published.*--trust-on-first-use"):
        store.pull(card)
    assert file_server.requests == []
    store.pull(replace(card, user=is_own), trust_on_first_use=True)
    assert store.trust.pinned("toy", "toy.pth").sha256 == SHA256
    assert store.trust.pinned("toy", "toy.pth").checked_by == "trust-on-first-use"
    store.path("toy", file).unlink()
    file_server.files["/toy.pth"] = b"something else"
    with pytest.raises(ModelError, match=f"expected sha256 {SHA256} as pinned on"):
        store.pull(card)
    assert not store.is_here(card)


def test_a_changed_file_is_noticed(store, file):
    card = card_for(file)
    path = store.pull(card)["checkpoint"]
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ModelError, match="expected sha256"):
        store.ensure(card)
    assert [f.state for f in store.verify(card)] == ["wrong"]


def test_verify_reads_the_content_even_when_size_and_time_are_the_same(store, file):
    card = card_for(file)
    path = store.pull(card)["checkpoint"]
    kept = path.stat()
    path.write_bytes(CONTENT[:-1] + b"!")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert [f.state for f in store.verify(card)] == ["wrong"]


def test_verify_of_copied_files(store, file):
    unpublished = replace(file, name="other.pth", hashes=(), bytes=0)
    card = card_for(file, unpublished)
    assert [f.state for f in store.verify(card)] == ["absent", "absent"]
    for f in card.files:
        store.path("toy", f).parent.mkdir(parents=True, exist_ok=True)
        store.path("toy", f).write_bytes(CONTENT)
    assert [f.state for f in store.verify(card)] == ["ok", "unpinned"]
    assert [f.state for f in store.verify(card, trust_on_first_use=True)] == ["ok", "ok"]
    store.ensure(card)


def test_a_restricting_licence_is_accepted_once(store, file):
    card = card_for(file, commercial_use=False, licence="CC-BY-NC-4.0")
    with pytest.raises(ModelError, match=r"CC-BY-NC-4.0.*--accept-licence"):
        store.pull(card)
    store.pull(card, accept_licence=True)
    assert store.ensure(card)
    assert Store(store.settings).ensure(card)
    with pytest.raises(ModelError, match="another licence"):
        store.ensure(replace(card, licence="another licence"))


def test_a_row_cannot_write_outside_of_its_folder(store, file):
    for name in ("../evil.pth", "/etc/evil", "a/../../b", "a\\b"):
        with pytest.raises(ModelError, match="inside the folder"):
            store.pull(card_for(replace(file, name=name)))


def test_remove_frees_the_space_and_forgets(store, file):
    card = card_for(file)
    store.pull(card)
    assert store.remove(card) == len(CONTENT)
    assert store.trust.pinned("toy", "toy.pth") is None
    assert store.remove(card) == 0


def _pull_in_a_process(folder, card, results):
    os.environ["PROMPTSEG_MODELS"] = folder
    results.put(str(Store(model_settings()).pull(card)["checkpoint"]))


def test_two_processes_pull_once(store, file, file_server):
    file_server.delay_s = 0.3
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    args = (str(store.settings.models_dir), card_for(file), results)
    workers = [context.Process(target=_pull_in_a_process, args=args) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {results.get(), results.get()} == {str(store.path("toy", file))}
    assert len(file_server.requests) == 1


def test_a_pull_on_a_thread_can_be_cancelled_and_goes_on_later(store, file, file_server):
    """As a page does it: progress to a callback, which raises ``Cancelled`` once somebody has pressed the button."""
    card, pressed, seen = card_for(file), threading.Event(), []

    def on_bytes(done, total):
        seen.append((done, total))
        if pressed.is_set():
            raise Cancelled("the download was stopped")
        pressed.set()

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Cancelled, match="was stopped"):
            pool.submit(store.pull, card, on_bytes=on_bytes).result()
        assert not store.is_here(card)
        kept = store.path("toy", file).with_name("toy.pth.part").stat().st_size
        assert 0 < kept < len(CONTENT)
        found = pool.submit(store.pull, card).result()
    assert found["checkpoint"].read_bytes() == CONTENT
    assert [wanted for _, wanted in file_server.requests] == ["", f"bytes={kept}-"]
    assert seen[0][1] == len(CONTENT)


def test_two_threads_pull_once(store, file, file_server):
    file_server.delay_s = 0.1
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(store.pull, card_for(file)) for _ in range(2)]
        assert futures[0].result() == futures[1].result()
    assert len(file_server.requests) == 1


def test_a_proxy_is_asked_where_the_platform_names_one(store, file, file_server, monkeypatch):
    file_server.files["http://weights.invalid/toy.pth"] = CONTENT
    monkeypatch.setenv("http_proxy", file_server.url)
    far = replace(file, urls=("http://weights.invalid/toy.pth",))
    assert store.pull(card_for(far))["checkpoint"].read_bytes() == CONTENT
    assert file_server.requests == [("http://weights.invalid/toy.pth", "")]
