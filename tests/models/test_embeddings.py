"""Embeddings made once: in memory, on disk, by several processes, and ahead of time."""

import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

from promptseg.models import embedding_files
from promptseg.models.embedding_files import EmbeddingFiles, clear_embeddings, embedding_info
from promptseg.models.embeddings import CachedPredictor, EmbeddingCache
from promptseg.models.families.oracle_volume import OracleVolumePredictor
from promptseg.models.predictor import Embedding, Prediction, Predictor, SliceImage, SlicePrompts
from promptseg.models.volume_predictor import volume_predictor_of


class Counting:
    """A fake whose embedding is the slice, a kilobyte-sized one."""

    model_id = "counting"
    nbytes = 7
    described = "a fake"

    def __init__(self, delay_s=0.0):
        self.embedded = []
        self.delay_s = delay_s
        self.lock = threading.Lock()

    def embed(self, image):
        with self.lock:
            self.embedded.append(float(image.pixels[0, 0]))
        time.sleep(self.delay_s)
        if image.pixels[0, 0] < 0:
            raise ValueError("negative")
        return Embedding(self.model_id, image.shape, image.spacing_mm, {"pixels": image.pixels * np.float32(1 / 3)})

    def predict(self, embedding, prompts, prior=None):
        return Prediction(embedding.features["pixels"], 1.0)


def image(value, shape=(10, 12)):
    return SliceImage(np.full(shape, value, np.float32), (0.5, 0.7))


def test_the_same_content_is_embedded_once():
    inner = Counting()
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    assert isinstance(predictor, Predictor)
    assert (predictor.model_id, predictor.nbytes, predictor.described) == ("counting", 7, "a fake")
    first = predictor.embed(image(0.5))
    assert predictor.embed(image(0.5)) is first
    predictor.embed(SliceImage(image(0.5).pixels, (1.0, 1.0)))  # another spacing is another slice
    predictor.embed(image(0.5, (12, 10)))
    made = predictor.embed_batch([image(0.1), image(0.5), image(0.1)])
    assert made[1] is first
    assert made[0] is made[2]
    assert inner.embedded == pytest.approx([0.5, 0.5, 0.5, 0.1])
    assert predictor.predict(first, SlicePrompts()).score == 1.0


def test_memory_is_bounded_by_the_least_recently_used():
    inner = Counting()
    predictor = CachedPredictor(inner, EmbeddingCache("m", memory_bytes=3 * 480))
    for value in (0.1, 0.2, 0.3, 0.1, 0.4, 0.1, 0.2):
        predictor.embed(image(value))
    assert inner.embedded == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.2])


def test_the_disk_gives_the_same_bits_as_the_first_time(tmp_path):
    def fresh(key="m"):
        return CachedPredictor(Counting(), EmbeddingCache(key, disk=tmp_path, disk_bytes=10**6))

    first = fresh().embed(image(0.1))
    later = fresh()
    again = later.embed(image(0.1))
    assert later.inner.embedded == []
    assert np.array_equal(first.features["pixels"], again.features["pixels"])
    assert again.features["pixels"].dtype == np.float32
    assert (again.model_id, again.shape, again.spacing_mm) == ("counting", (10, 12), (0.5, 0.7))
    other = fresh("another model")
    other.embed(image(0.1))
    assert len(other.inner.embedded) == 1
    assert embedding_info(tmp_path).count == 2
    assert clear_embeddings(tmp_path).count == 2
    assert embedding_info(tmp_path).nbytes == 0


def test_a_spoiled_file_is_made_anew(tmp_path):
    cache = EmbeddingCache("m", disk=tmp_path, disk_bytes=10**6)
    CachedPredictor(Counting(), cache).embed(image(0.1))
    (path,) = tmp_path.glob("*/*.npz")
    path.write_bytes(path.read_bytes()[:100])
    later = CachedPredictor(Counting(), EmbeddingCache("m", disk=tmp_path, disk_bytes=10**6))
    later.embed(image(0.1))
    assert len(later.inner.embedded) == 1


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").write_text("in the way")
    predictor = CachedPredictor(Counting(), EmbeddingCache("m", disk=tmp_path / "file", disk_bytes=10**6))
    assert predictor.embed(image(0.1)).shape == (10, 12)


def on_disk(folder, limit):
    return CachedPredictor(Counting(), EmbeddingCache("m", disk=folder, disk_bytes=limit))


def test_the_disk_never_holds_more_than_its_limit(tmp_path):
    predictor, most = on_disk(tmp_path, 20_000), 0
    for value in np.linspace(0.1, 0.9, 60):
        predictor.embed(image(value))
        most = max(most, sum(path.stat().st_size for path in tmp_path.glob("*/*.npz")))
    assert 10_000 < most <= 20_000
    later = on_disk(tmp_path, 20_000)
    later.embed(image(0.9))  # the newest is still there
    assert later.inner.embedded == []


@pytest.mark.parametrize("from_memory", [False, True])
def test_the_least_recently_used_go_first(tmp_path, monkeypatch, from_memory):
    predictor = on_disk(tmp_path, 10**6)
    for value in (0.1, 0.2, 0.3, 0.4):
        predictor.embed(image(value))
    key = EmbeddingCache("m").key
    (folder,) = tmp_path.glob("*/")
    for age, value in enumerate((0.4, 0.3, 0.2, 0.1)):  # made in this order, an hour ago
        when = time.time() - 3600 - age
        os.utime(folder / f"{key(image(value))}.npz", (when, when))
    monkeypatch.setattr(embedding_files, "TOUCH_S", 0.0)
    reader = predictor if from_memory else on_disk(tmp_path, 10**6)
    reader.embed(image(0.1))  # the oldest is wanted again
    size = (folder / f"{key(image(0.1))}.npz").stat().st_size
    EmbeddingFiles(tmp_path, folder.name, 4 * size).sweep()
    left = {path.stem for path in folder.glob("*.npz")}
    assert left == {key(image(value)) for value in (0.1, 0.3, 0.4)}


def test_what_killed_processes_left_goes_in_a_sweep(tmp_path):
    predictor = on_disk(tmp_path, 10**6)
    predictor.embed(image(0.1))
    (folder,) = tmp_path.glob("*/")
    for name, age_s in ((".part-old", 7200), (".part-new", 10)):
        (folder / name).write_bytes(b"x" * 500)
        os.utime(folder / name, (time.time() - age_s,) * 2)
    EmbeddingFiles(tmp_path, folder.name, 10**6).sweep()
    assert [path.name for path in folder.glob(".part-*")] == [".part-new"]
    assert len(list(folder.glob("*.npz"))) == 1


LIMIT = 30_000


def _write_some(folder, values):
    predictor = on_disk(folder, LIMIT)
    for value in values:
        predictor.embed(image(value))


def test_two_processes_share_the_folder_within_its_limit(tmp_path):
    context = multiprocessing.get_context("fork")
    values = np.linspace(0.1, 0.9, 40).tolist()
    workers = [context.Process(target=_write_some, args=(tmp_path, order)) for order in (values, values[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert list(tmp_path.glob("*/.part-*")) == []
    assert LIMIT / 2 < embedding_info(tmp_path).nbytes <= LIMIT
    reader = on_disk(tmp_path, 10**9)
    for value in values:
        found = reader.embed(image(value)).features["pixels"]
        assert np.array_equal(found, (image(value).pixels * np.float32(1 / 3)).astype(np.float16).astype(np.float32))
    assert len(reader.inner.embedded) < len(values)  # the others were read


def test_two_threads_make_one_embedding():
    inner = Counting(delay_s=0.1)
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    made = []
    threads = [threading.Thread(target=lambda: made.append(predictor.embed(image(0.3)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(m) for m in made}) == 1
    assert len(inner.embedded) == 1


def test_an_error_reaches_the_caller_and_is_tried_again():
    predictor = CachedPredictor(Counting(), EmbeddingCache("m"))
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            predictor.embed(image(-1.0))


def test_slices_are_made_ahead_and_a_new_wish_replaces_the_old():
    inner = Counting(delay_s=0.05)
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    predictor.prefetch([image(v) for v in (0.1, 0.2, 0.3, 0.4)])
    time.sleep(0.01)
    predictor.prefetch([image(-1.0), image(0.9)])  # the first one fails in silence
    assert predictor.embed(image(0.9)).shape == (10, 12)
    assert inner.embedded.count(pytest.approx(0.9)) == 1
    assert len(inner.embedded) <= 4


def test_a_3d_member_is_reached_through_the_cache():
    inner = Counting()
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    assert volume_predictor_of(predictor) is None
    inner.volume_predictor = OracleVolumePredictor()
    assert volume_predictor_of(predictor) is inner.volume_predictor
